//! What waits, as a file for central. Enters: the folder of a stopped agent's spool, however damaged. Leaves:
//! batches in a file. It reads the files themselves and changes nothing. Or enters: such a file. Leaves: its
//! batches, for people; central has a reader of its own.
//!
//! ```text
//! 0  4  "HTGX"
//! 4  1  version (1)
//! 5     per batch: length u32, little-endian; the batch, as it would be published
//! ```

use std::fs::File;
use std::io::{self, BufWriter, Read, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use hangtag_agent_core::spool::value::Value;
use hangtag_protocol::batch::{Batch, FORMAT, Header, MAX_BYTES};
use hangtag_protocol::clock::ClockAnchor;
use hangtag_protocol::event::Event;
use hangtag_protocol::id::Seq;
use hangtag_protocol::range::SeqRange;
use hangtag_protocol::topic::Gateway;

use super::carve::CarvedEpoch;
use super::look::{Damage, Look};

/// The first bytes of an export, whatever its version.
pub(crate) const MAGIC: [u8; 4] = *b"HTGX";
const VERSION: u8 = 1;
/// Lost ranges in one batch.
const LOST_PER_BATCH: usize = 64;

/// What was exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exported {
    pub(crate) batches: u64,
    pub(crate) events: u64,
    /// Of these, events that do not wait: central knows them, and they share values with others that do.
    pub(crate) known: u64,
    pub(crate) lost: u64,
    /// What is wrong with the spool, if anything is.
    pub(crate) damage: Option<Damage>,
}

/// Writes what waits, or with `all` everything that is held, to a file.
pub(crate) fn export(data: &Path, gateway: Gateway, all: bool, to: &Path) -> anyhow::Result<Exported> {
    if to.try_exists().with_context(|| format!("cannot write {}", to.display()))? {
        bail!("{} is there already: name another file, or remove it if it was imported", to.display());
    }
    let look = Look::at(data, all)?;
    let written = write(&look, gateway, to).with_context(|| format!("cannot write {}", to.display()));
    if written.is_err() {
        // Half of an export would only stand in the way of the next.
        let _ = std::fs::remove_file(to);
    }
    written
}

fn write(look: &Look, gateway: Gateway, to: &Path) -> anyhow::Result<Exported> {
    let Look { carved, epochs, .. } = look;
    let anchors = carved.meta.as_ref().map(|meta| meta.anchors.clone()).unwrap_or_default();
    let mut out = BufWriter::new(File::create_new(to)?);
    out.write_all(&MAGIC)?;
    out.write_all(&[VERSION])?;
    let mut exported = Exported { damage: look.damage, ..Exported::default() };
    for CarvedEpoch { record, values } in epochs {
        let mut lost: Vec<SeqRange> = record.lost.ranges().to_vec();
        exported.lost += record.lost.len();
        let mut put = |first: Seq, events: Vec<Event>, lost: &mut Vec<SeqRange>| -> anyhow::Result<()> {
            let header = Header {
                format: FORMAT,
                replayed: true,
                gateway,
                epoch: record.epoch,
                first,
                count: u32::try_from(events.len())?,
            };
            let of_boots = |anchor: &&ClockAnchor| events.iter().any(|event| event.boot == anchor.boot);
            let batch = Batch {
                header,
                oldest_held: record.oldest,
                lost: lost.drain(..lost.len().min(LOST_PER_BATCH)).collect(),
                anchors: anchors.iter().filter(of_boots).copied().collect(),
                lineage: record.lineage.clone(),
                events,
            };
            let payload = batch.encode()?;
            out.write_all(&u32::try_from(payload.len())?.to_le_bytes())?;
            out.write_all(&payload)?;
            exported.batches += 1;
            exported.events += u64::from(header.count);
            let range = SeqRange { first, last: Seq((first.0 + u64::from(header.count)).saturating_sub(1)) };
            let open = if range.is_empty() { Vec::new() } else { record.settled.missing_in(range) };
            exported.known += u64::from(header.count) - open.iter().map(SeqRange::len).sum::<u64>();
            Ok(())
        };
        for first in values.iter().copied() {
            let bytes = carved.value(record.epoch, first)?;
            let events = Value::read(&bytes).and_then(|value| value.events());
            match events {
                Ok(events) => put(first, events, &mut lost)?,
                // Its checksum is good: another program wrote it.
                Err(why) => bail!("event {first} of epoch {}: {why}", record.epoch),
            }
        }
        while !lost.is_empty() {
            put(record.next, Vec::new(), &mut lost)?;
        }
    }
    out.into_inner().map_err(|why| why.into_error())?.sync_all()?;
    Ok(exported)
}

/// The batches of an export, each with the place at which it begins in the file.
pub(crate) struct Batches<R> {
    file: R,
    at: u64,
}

/// Why the rest of an export cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("byte 4: an export of version {0}; this program reads version {VERSION}")]
    Version(u8),
    #[error("byte {at}: ends in the middle of a batch: {found} of {wanted} bytes")]
    Cut { at: u64, found: usize, wanted: usize },
    #[error("byte {at}: a batch of {length} bytes; one has at most {MAX_BYTES}")]
    Length { at: u64, length: usize },
    #[error("byte {at}: {why}")]
    Read { at: u64, why: io::Error },
}

impl<R: Read> Batches<R> {
    /// Takes an export whose magic was read.
    pub(crate) fn new(file: R) -> Result<Self, Broken> {
        let mut batches = Self { file, at: MAGIC.len() as u64 };
        match batches.take(1)?.as_deref() {
            Some(&[VERSION]) => Ok(batches),
            Some(&[other]) => Err(Broken::Version(other)),
            _ => Err(Broken::Cut { at: batches.at, found: 0, wanted: 1 }),
        }
    }

    /// The next batch, as it would be published, and the byte at which it begins; none at the end.
    ///
    /// # Errors
    /// When it cannot be told where it ends.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, Broken> {
        let Some(length) = self.take(4)? else { return Ok(None) };
        let length = u32::from_le_bytes(length.try_into().expect("four were asked for")) as usize;
        let at = self.at;
        if length > MAX_BYTES {
            return Err(Broken::Length { at: at - 4, length });
        }
        let cut = Broken::Cut { at, found: 0, wanted: length };
        let payload = if length == 0 { Vec::new() } else { self.take(length)?.ok_or(cut)? };
        Ok(Some((at, payload)))
    }

    /// So many bytes; none at the end of the file.
    fn take(&mut self, wanted: usize) -> Result<Option<Vec<u8>>, Broken> {
        let mut bytes = Vec::new();
        let read = (&mut self.file).take(wanted as u64).read_to_end(&mut bytes);
        read.map_err(|why| Broken::Read { at: self.at, why })?;
        match bytes.len() {
            0 => Ok(None),
            found if found < wanted => Err(Broken::Cut { at: self.at, found, wanted }),
            _ => {
                self.at += wanted as u64;
                Ok(Some(bytes))
            }
        }
    }
}

//! What waits, as a file for central. Enters: the folder of a stopped agent's spool, however damaged. Leaves:
//! batches in a file. It reads the files themselves and changes nothing.
//!
//! ```text
//! 0  4  "HTGX"
//! 4  1  version (1)
//! 5     per batch: length u32, little-endian; the batch, as it would be published
//! ```

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use hangtag_agent_core::spool::value::Value;
use hangtag_protocol::batch::{Batch, FORMAT, Header};
use hangtag_protocol::clock::ClockAnchor;
use hangtag_protocol::event::Event;
use hangtag_protocol::id::Seq;
use hangtag_protocol::range::SeqRange;
use hangtag_protocol::topic::Gateway;

use super::carve::{Carved, CarvedEpoch};
use super::disk::Folder;
use super::store::StoreError;

/// The first bytes of an export.
const BEGIN: &[u8; 5] = b"HTGX\x01";
/// Lost ranges in one batch.
const LOST_PER_BATCH: usize = 64;

/// What was exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exported {
    pub(crate) batches: u64,
    pub(crate) events: u64,
    pub(crate) lost: u64,
}

/// The spool of a stopped agent, as its files tell; what is settled only with `all`.
pub(crate) fn look(data: &Path, all: bool) -> anyhow::Result<(Carved, Vec<CarvedEpoch>)> {
    let folder = Folder::new(data);
    let dir = folder.latest();
    if !dir.join("db").exists() && !folder.before().exists() {
        bail!("there is no spool in {}: the agent has not run here, or its files are gone", dir.display());
    }
    // An agent that runs changes the files under the reader. On a read-only disk none can run.
    let _lock = match folder.lock() {
        Err(StoreError::InUse) => bail!("the spool in {} is in use: stop the agent first", dir.display()),
        other => other.ok(),
    };
    let witness = folder.testimony();
    let carved = Carved::look(&[dir.clone(), folder.before()])
        .with_context(|| format!("cannot read {}", dir.display()))?;
    let epochs = carved.epochs(witness, all);
    Ok((carved, epochs))
}

/// Writes what waits, or with `all` everything that is held, to a file.
pub(crate) fn export(data: &Path, gateway: Gateway, all: bool, to: &Path) -> anyhow::Result<Exported> {
    let (carved, epochs) = look(data, all)?;
    let anchors = carved.meta.as_ref().map(|meta| meta.anchors.clone()).unwrap_or_default();
    let writing = || format!("cannot write {}", to.display());
    let mut out = BufWriter::new(File::create_new(to).with_context(writing)?);
    out.write_all(BEGIN).with_context(writing)?;
    let mut exported = Exported::default();
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
            Ok(())
        };
        for first in values {
            let bytes = carved.value(record.epoch, first)?;
            let events = Value::read(&bytes).and_then(|value| value.events());
            match events {
                Ok(events) => put(first, events, &mut lost).with_context(writing)?,
                // Its checksum is good: another program wrote it.
                Err(why) => bail!("event {first} of epoch {}: {why}", record.epoch),
            }
        }
        while !lost.is_empty() {
            put(record.next, Vec::new(), &mut lost).with_context(writing)?;
        }
    }
    out.into_inner()
        .map_err(|why| why.into_error())
        .and_then(|file| file.sync_all())
        .with_context(writing)?;
    Ok(exported)
}

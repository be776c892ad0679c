//! What a spool held, as `spool export` wrote it. Enters: a file, the events that were accepted. Leaves: the
//! batches in it, and a verdict. It is a second opinion beside central's import.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use hangtag_protocol::batch::Batch;
use hangtag_protocol::id::Epoch;
use hangtag_protocol::line::EventLine;
use hangtag_protocol::range::SeqSet;

const BEGIN: &[u8] = b"HTGX\x01";

/// Accepted events by number.
pub type Accepted = BTreeMap<u64, EventLine>;

/// The events of an accepted log whose last line is whole.
///
/// # Errors
/// When the file cannot be read, or a line does not decode.
pub fn read_log(path: &Path) -> anyhow::Result<Accepted> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let parse = |line| Ok((serde_json::from_str::<EventLine>(line)?.seq.0, serde_json::from_str(line)?));
    text.lines().map(parse).collect()
}

/// What is in an export.
#[derive(Debug, Default)]
pub struct Export {
    /// The events, per epoch and number.
    pub events: BTreeMap<(Epoch, u64), EventLine>,
    /// What is declared lost.
    pub lost: BTreeMap<Epoch, SeqSet>,
}

/// What became of accepted events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// They are there as they were.
    pub there: u64,
    /// They are declared lost, and are not there.
    pub lost: u64,
    /// They are neither there nor declared lost.
    pub missing: u64,
    /// They are there and declared lost.
    pub contradicted: u64,
    /// They are there with another content.
    pub changed: u64,
}

impl Fates {
    /// Whether every accepted event is there as it was or known to be lost.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        (self.missing, self.contradicted, self.changed) == (0, 0, 0)
    }
}

impl Export {
    /// Reads an export.
    ///
    /// # Errors
    /// When the file is not one, or holds a batch that does not decode, or an event twice.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut rest = bytes.strip_prefix(BEGIN).context("is no export of version 1")?;
        let mut export = Self::default();
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk().context("ends within a length")?;
            let length = usize::try_from(u32::from_le_bytes(*length))?;
            let (payload, after) = after.split_at_checked(length).context("ends within a batch")?;
            rest = after;
            let (header, body) = Batch::decode_header(payload)?;
            let batch = Batch::decode_body(header, body)?;
            let lost = export.lost.entry(batch.header.epoch).or_default();
            batch.lost.iter().for_each(|range| lost.insert(*range));
            for (event, seq) in batch.events.iter().zip(batch.header.first.0..) {
                let line = EventLine::new(hangtag_protocol::id::Seq(seq), event);
                let before = export.events.insert((batch.header.epoch, seq), line);
                ensure!(before.is_none(), "event {seq} of epoch {} is there twice", batch.header.epoch);
            }
        }
        Ok(export)
    }

    /// What became of events that were accepted in an epoch.
    #[must_use]
    pub fn fates(&self, epoch: Epoch, accepted: &Accepted) -> Fates {
        let mut fates = Fates::default();
        let lost = self.lost.get(&epoch).cloned().unwrap_or_default();
        for (seq, line) in accepted {
            let is_lost = lost.contains(hangtag_protocol::id::Seq(*seq));
            match (self.events.get(&(epoch, *seq)), is_lost) {
                (Some(_), true) => fates.contradicted += 1,
                (Some(found), false) if found == line => fates.there += 1,
                (Some(_), false) => fates.changed += 1,
                (None, true) => fates.lost += 1,
                (None, false) => fates.missing += 1,
            }
        }
        fates
    }

    /// The epoch of which there are events, or losses, when there is only one.
    ///
    /// # Errors
    /// When there are several, or none.
    pub fn epoch(&self) -> anyhow::Result<Epoch> {
        let epochs: Vec<Epoch> = self.lost.keys().copied().collect();
        match epochs.as_slice() {
            [epoch] => Ok(*epoch),
            epochs => bail!("it holds epochs {epochs:?}"),
        }
    }
}

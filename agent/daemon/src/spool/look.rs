//! What the files of a stopped agent's spool tell, without opening the database. Enters: the data folder. Leaves:
//! what waits in it, how old and how large that is, and why nothing would be accepted. It changes nothing.

use std::io;
use std::path::Path;

use anyhow::{Context as _, bail};
use hangtag_agent_core::spool::DISK_FACTOR;
use hangtag_agent_core::spool::value::Value;
use hangtag_protocol::clock::{BootId, UnixMillis, Uptime, time_of_day};
use hangtag_protocol::event::Event;
use hangtag_protocol::id::Epoch;
use hangtag_protocol::range::SeqRange;

use super::carve::{Carved, CarvedEpoch};
use super::disk::{self, Folder, RESERVE};
use super::store::StoreError;
use super::{Fault, keep};
use crate::config::WhenFull;

/// What a stopped agent's spool holds.
pub(crate) struct Look {
    pub(crate) carved: Carved,
    /// Oldest first; the last one takes new events.
    pub(crate) epochs: Vec<CarvedEpoch>,
    /// What is wrong with the files, if anything is.
    pub(crate) damage: Option<Damage>,
    folder: Folder,
}

/// What is wrong with the files of a spool. At the next start the agent rescues what can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{missing} accepted events are not found, {found} are", if *.recorded { "" } else { "its own record is not found; " })]
pub(crate) struct Damage {
    /// Its own record was found.
    recorded: bool,
    /// Events that should be there.
    missing: u64,
    /// Events that can be read.
    found: u64,
}

impl Damage {
    fn of(carved: &Carved, epochs: &[CarvedEpoch]) -> Option<Self> {
        let known = carved.meta.as_ref().map(|meta| &meta.epochs[..]).unwrap_or_default();
        let missing = |epoch: &CarvedEpoch| {
            let before = known.iter().find(|record| record.epoch == epoch.record.epoch);
            let lost = epoch.record.lost.ranges().iter();
            let new = |range: &SeqRange| match before {
                Some(record) => record.lost.missing_in(*range).iter().map(SeqRange::len).sum(),
                None => range.len(),
            };
            lost.map(new).sum::<u64>()
        };
        let missing = epochs.iter().map(missing).sum();
        let recorded = carved.meta.is_some();
        let found = epochs.iter().flat_map(|epoch| carved.values(epoch)).map(|(range, _)| range.len()).sum();
        (!recorded || missing > 0).then_some(Self { recorded, missing, found })
    }
}

/// Events, and the bytes of the values that hold them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

impl Look {
    /// Reads the files of a spool; what is settled only with `all`.
    ///
    /// # Errors
    /// When there is none, it is in use, or may not be read.
    pub(crate) fn at(data: &Path, all: bool) -> anyhow::Result<Self> {
        let folder = Folder::new(data);
        let dir = folder.latest();
        let reading = || format!("cannot read the spool in {}", dir.display());
        if !there(&dir.join("db")).with_context(reading)? && !there(&folder.before()).with_context(reading)? {
            bail!(
                "there is no spool in {}: the agent has not run here, or its files are gone",
                dir.display()
            );
        }
        // An agent that runs changes the files under the reader.
        let _lock = match folder.lock_to_look() {
            Err(StoreError::InUse) => bail!("the spool in {} is in use: stop the agent first", dir.display()),
            other => other.with_context(reading)?,
        };
        let carved = Carved::look(&[dir.clone(), folder.before()]).with_context(reading)?;
        let epochs = carved.epochs(folder.testimony(), all);
        if epochs.is_empty() {
            bail!(
                "the spool in {} holds nothing that this program can read: it is damaged, or another version of it \
                 wrote the spool and can read it",
                data.display()
            );
        }
        let damage = Damage::of(&carved, &carved.epochs(folder.testimony(), true));
        Ok(Self { carved, epochs, damage, folder })
    }

    /// What is held of an epoch, and what of that is not settled.
    pub(crate) fn amounts(&self, epoch: &CarvedEpoch) -> (Amount, Amount) {
        let (mut held, mut waiting) = (Amount::default(), Amount::default());
        for (range, bytes) in self.carved.values(epoch) {
            held.events += range.len();
            held.bytes += bytes;
            let open = epoch.record.settled.missing_in(range);
            waiting.events += open.iter().map(SeqRange::len).sum::<u64>();
            waiting.bytes += if open.is_empty() { 0 } else { bytes };
        }
        (held, waiting)
    }

    /// The age of the oldest event that waits, in milliseconds; none when nothing waits, or when it is of an
    /// earlier boot that never saw a clock.
    pub(crate) fn oldest_ms(&self, boot: BootId, uptime: Uptime, wall: UnixMillis) -> Option<u64> {
        let event = self.epochs.iter().find_map(|epoch| self.oldest(epoch))?;
        if event.boot == boot {
            return Some(uptime.since(event.at));
        }
        let anchors = self.carved.meta.as_ref().map(|meta| meta.anchors.as_slice()).unwrap_or_default();
        let (then, _) = time_of_day(anchors, event.boot, event.at)?;
        u64::try_from(wall.0.saturating_sub(then.0)).ok()
    }

    fn oldest(&self, epoch: &CarvedEpoch) -> Option<Event> {
        let mut open =
            self.carved.values(epoch).flat_map(|(range, _)| epoch.record.settled.missing_in(range));
        let seq = open.next()?.first;
        let bytes = self.carved.value_at(epoch.record.epoch, seq)?;
        let value = Value::read(&bytes).ok()?;
        let at = usize::try_from(seq.0.checked_sub(value.first.0)?).ok()?;
        value.events().ok()?.into_iter().nth(at)
    }

    /// Why the agent would accept nothing if it ran.
    pub(crate) fn fault(&self, cap: u64, when_full: WhenFull) -> Option<String> {
        if self.folder.is_read_only() {
            return Some(Fault::ReadOnly.to_string());
        }
        let free = self.folder.free().ok()?;
        // The ballast goes first.
        if free + self.folder.ballast_bytes().unwrap_or(0) < RESERVE {
            return Some(Fault::DiskFull { free }.to_string());
        }
        let amounts: Vec<_> = self.epochs.iter().map(|epoch| self.amounts(epoch)).collect();
        let taken = amounts.iter().map(|(held, _)| held.bytes).sum::<u64>() * DISK_FACTOR;
        let waiting = amounts.iter().map(|(_, waiting)| waiting.bytes).sum::<u64>() * DISK_FACTOR;
        let room = keep(disk::quota(cap, free, self.carved.disk_bytes()), taken, cap);
        let is_full = when_full == WhenFull::Refuse && taken > room && waiting > room;
        is_full.then(|| Fault::Full { taken, cap: room }.to_string())
    }

    /// The epochs from before of which something waits, or a loss is not told.
    pub(crate) fn unsent(&self) -> Vec<Epoch> {
        let (_, earlier) = self.epochs.split_last().expect("there is an epoch");
        let unsent = |epoch: &&CarvedEpoch| {
            let lost = epoch.record.lost.ranges().iter();
            let untold = lost.flat_map(|range| epoch.record.settled.missing_in(*range)).next().is_some();
            untold || self.amounts(epoch).1.events > 0
        };
        earlier.iter().filter(unsent).map(|epoch| epoch.record.epoch).collect()
    }
}

/// What is free for the agent on the disk that its data is on, in bytes.
///
/// # Errors
/// When the disk does not say it.
pub(crate) fn free(data: &Path) -> io::Result<u64> {
    Folder::new(data).free()
}

/// What the spool in a folder may take on disk, when it is told a cap and takes so many bytes: on a small disk
/// that is less than the cap.
///
/// # Errors
/// When the disk does not say what is free.
pub(crate) fn room(data: &Path, cap: u64, taken: u64) -> io::Result<u64> {
    Ok(disk::quota(cap, Folder::new(data).free()?, taken))
}

fn there(path: &Path) -> io::Result<bool> {
    path.try_exists()
}

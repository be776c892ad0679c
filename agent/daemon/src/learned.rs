//! Keeps what a site teaches over restarts. Enters: what inference has learned, the file of before. Leaves: one
//! file in the data folder, replaced as a whole every ten minutes if it changed and at an orderly stop.
//!
//! ```text
//! learned           what was learned, see hangtag_agent_core::infer
//! learned.tmp       the next one, while it is written
//! learned.set-aside one that could not be read, or is another gateway's: for people; the latest is kept
//! ```
//!
//! It is a help, never what an event is accepted by: what cannot be written is tried again ten minutes later. It is
//! made ready in slices between reads, and written on another thread.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hangtag_agent_core::infer::{Inference, Learned, LearnedError, MOST_LEARNED_BYTES, Writing};
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::topic::Gateway;
use rustix::fs::statvfs;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::spool::disk::RESERVE;

/// How often it is written, in milliseconds.
const EVERY_MS: u64 = 600_000;
/// Garments of one slice: well below a millisecond on a slow gateway.
const SLICE: usize = 512;
/// A slice comes at least so long after the one before, in milliseconds.
const PAUSE_MS: u64 = 5;
/// What the disk is given at the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a file says nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is larger than {} MiB", MOST_LEARNED_BYTES >> 20)]
    Large,
    #[error("{0}")]
    Learned(#[from] LearnedError),
    #[error("it was learned by {0}")]
    Other(String),
}

/// The name of the file in the data folder.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("learned")
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Learned, ReadError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_LEARNED_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_LEARNED_BYTES {
        return Err(ReadError::Large);
    }
    Ok(Learned::read(&bytes)?)
}

/// Keeps the file of one gateway.
pub(crate) struct Keeper {
    path: PathBuf,
    /// Whose it is, as files say it.
    of: String,
    due: Uptime,
    state: State,
    /// The bytes of the file, as far as is known.
    kept: Option<u32>,
}

enum State {
    Idle,
    /// It is made ready; when the next slice comes.
    Slicing(Writing, Uptime),
    /// It is written; the checksum of its bytes.
    Saving(u32, JoinHandle<io::Result<()>>),
}

impl Keeper {
    /// Takes up what was learned before, if there is a file that says it.
    pub(crate) fn open(data: &Path, gateway: &Gateway, inference: &mut Inference, now: Uptime) -> Self {
        let (path, of) = (path(data), name(gateway));
        let read = read(&path).and_then(|learned| match learned.of() {
            other if other != of => Err(ReadError::Other(other.to_owned())),
            _ => Ok(learned),
        });
        match read {
            Ok(learned) => {
                let known = inference.remember(&learned);
                info!(file = %path.display(), garments = learned.tags(), known, "remembered what was learned");
            }
            Err(ReadError::Io(why)) if why.kind() == ErrorKind::NotFound => {}
            // The disk may answer again: the file is left where it is until it is replaced.
            Err(ReadError::Io(why)) => {
                warn!(file = %path.display(), %why, "cannot read what was learned: learning begins anew");
            }
            Err(why) => {
                let aside = path.with_extension("set-aside");
                let moved = fs::rename(&path, &aside);
                let (file, aside) = (path.display(), aside.display());
                warn!(%file, %why, %aside, ?moved, "not what was learned here: set aside, learning begins anew");
            }
        }
        Self { path, of, due: now + EVERY_MS, state: State::Idle, kept: None }
    }

    /// When [`step`](Self::step) is due.
    pub(crate) fn due(&self, now: Uptime) -> Uptime {
        match &self.state {
            State::Idle => self.due,
            State::Slicing(_, next) => *next,
            State::Saving(_, task) if task.is_finished() => now,
            State::Saving(..) => now + 1_000,
        }
    }

    /// Does a little of what is due.
    pub(crate) async fn step(&mut self, inference: &Inference, now: Uptime) {
        self.state = match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle if now < self.due => State::Idle,
            State::Idle => {
                self.due = now + EVERY_MS;
                State::Slicing(inference.begin_learned(&self.of), now + PAUSE_MS)
            }
            early @ State::Slicing(_, next) if now < next => early,
            State::Slicing(mut writing, _) => match inference.write_learned(&mut writing, SLICE, now) {
                true => self.save(writing.finish()),
                false => State::Slicing(writing, now + PAUSE_MS),
            },
            State::Saving(crc, task) if task.is_finished() => {
                self.saved(crc, task.await.map_err(io::Error::other).flatten());
                State::Idle
            }
            saving @ State::Saving(..) => saving,
        };
    }

    /// Writes what was learned up to the end, unless the disk hangs.
    pub(crate) async fn finish(mut self, inference: &Inference, now: Uptime) {
        if let State::Saving(crc, task) = std::mem::replace(&mut self.state, State::Idle)
            && !self.wait(crc, task).await
        {
            // It goes on, and two would write into one file.
            return;
        }
        let mut writing = inference.begin_learned(&self.of);
        while !inference.write_learned(&mut writing, SLICE, now) {}
        if let State::Saving(crc, task) = self.save(writing.finish()) {
            self.wait(crc, task).await;
        }
    }

    /// Whether it has ended.
    async fn wait(&mut self, crc: u32, task: JoinHandle<io::Result<()>>) -> bool {
        match timeout(PATIENCE, task).await {
            Ok(saved) => {
                self.saved(crc, saved.map_err(io::Error::other).flatten());
                true
            }
            Err(_) => {
                warn!(file = %self.path.display(), "what was learned is not written: the disk hangs");
                false
            }
        }
    }

    /// Begins to write bytes, unless the file holds them.
    fn save(&self, bytes: Vec<u8>) -> State {
        let crc = hangtag_protocol::batch::CRC.checksum(&bytes);
        if self.kept == Some(crc) {
            return State::Idle;
        }
        let path = self.path.clone();
        State::Saving(crc, tokio::task::spawn_blocking(move || replace(&path, &bytes)))
    }

    fn saved(&mut self, crc: u32, saved: io::Result<()>) {
        match saved {
            Ok(()) => {
                self.kept = Some(crc);
                debug!(file = %self.path.display(), "wrote what was learned");
            }
            Err(why) => warn!(file = %self.path.display(), %why, "cannot write what was learned"),
        }
    }
}

/// Whose file it is.
fn name(gateway: &Gateway) -> String {
    format!("gateway {} of store {} of tenant {}", gateway.gateway, gateway.store, gateway.tenant)
}

/// Replaces a file as a whole, durably: after a cut there is either.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let stat = statvfs(folder)?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < 2 * RESERVE + bytes.len() as u64 {
        // Events need the rest.
        return Err(io::Error::new(ErrorKind::StorageFull, format!("only {} KiB are free", free >> 10)));
    }
    let new = path.with_extension("tmp");
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(folder)?.sync_all()
    });
    if written.is_err() {
        // It would only take room.
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests;

//! The ballast: a file that holds room on the disk until it is needed. Enters: what is free. Leaves: more that is
//! free, or the file again once others have made room.
//!
//! It is given up when others have filled the disk: by an agent that runs, which then accepts events until no more
//! than the reserve is left, and by one that starts, since sled needs room to open. The reserve, which the agent
//! itself never takes, is left for an opening after that.

use std::fs::{self, OpenOptions};
use std::io;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};
use tokio::time::Instant;
use tracing::{info, warn};

use super::disk::{Folder, RESERVE};
use super::store::StoreError;
use super::{Fault, Spool};

/// What the ballast holds on the disk, in bytes.
pub(crate) const BALLAST: u64 = 8 << 20;
/// It is laid when so many bytes are free: far from where it would have to go at once.
const ROOM: u64 = 2 * BALLAST + RESERVE;
/// How long to wait before it is looked for again, and laid if it is not there.
const LAY_AGAIN: Duration = Duration::from_secs(10);

impl Folder {
    /// What the ballast holds, in bytes: 0 when there is none.
    ///
    /// # Errors
    /// When the folder may not be read.
    pub(crate) fn ballast_bytes(&self) -> io::Result<u64> {
        match fs::metadata(self.ballast()) {
            Ok(file) => Ok(file.len()),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(why) => Err(why),
        }
    }

    /// Lays the ballast, if there is none, and room for it and more.
    pub(super) fn lay_ballast(&self) {
        let there = self.ballast_bytes().is_ok_and(|bytes| bytes == BALLAST);
        if there || self.free().is_ok_and(|free| free < ROOM) {
            return;
        }
        let written = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(self.ballast())
            .and_then(|file| Ok(fallocate(&file, FallocateFlags::empty(), 0, BALLAST)?));
        match written {
            Ok(()) => info!(bytes = BALLAST, "laid the ballast"),
            Err(why) => {
                warn!(%why, "no ballast: on a full disk the spool may not open");
                self.drop_ballast();
            }
        }
    }

    /// Gives the ballast up; whether there was any.
    pub(super) fn drop_ballast(&self) -> bool {
        fs::remove_file(self.ballast()).is_ok()
    }
}

impl Spool {
    /// What is free for events, in bytes; on a full disk the ballast goes first.
    pub(super) fn room(&mut self) -> Result<u64, Fault> {
        let mut free = self.gauge.free().map_err(StoreError::Io)?;
        if free < RESERVE && self.folder.drop_ballast() {
            warn!(free, bytes = BALLAST, "the disk is full: giving up the ballast");
            free = self.folder.free().map_err(StoreError::Io)?;
        }
        if free < RESERVE {
            return Err(Fault::DiskFull { free });
        }
        if free >= ROOM && Instant::now() >= self.ballast_after {
            self.ballast_after = Instant::now() + LAY_AGAIN;
            self.folder.lay_ballast();
        }
        Ok(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ballast_is_laid_again_where_it_is_missing() {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::new(data.path());
        assert_eq!((folder.ballast_bytes().unwrap(), folder.drop_ballast()), (0, false));
        folder.lay_ballast();
        assert_eq!(folder.ballast_bytes().unwrap(), BALLAST);
        fs::write(folder.ballast(), b"cut short").unwrap();
        folder.lay_ballast();
        assert_eq!(folder.ballast_bytes().unwrap(), BALLAST);
        assert!(folder.drop_ballast());
        assert_eq!(folder.ballast_bytes().unwrap(), 0);
    }
}

//! What is done to the store itself while the agent runs. Enters: failures, a fork, a large and empty file.
//! Leaves: an open store, or none until the disk lets it be opened. It accepts nothing.

use std::time::Duration;

use hangtag_protocol::id::{Epoch, Seq};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::disk::{Folder, Testimony, Witness};
use super::rebuild::Fork;
use super::recovery::Opened;
use super::store::{StoreError, guarded};
use super::{RETRY, Spool, add_anchor, rebuild, recovery};

/// How long to wait before a spool that could not be built anew is built again.
const REBUILD_AGAIN: Duration = Duration::from_secs(60);
/// Above this size on disk, in bytes, a spool that holds little is built anew.
pub(super) const LARGE: u64 = 32 << 20;
/// What it may hold then, in bytes: building it holds everything up for a moment.
const LITTLE: u64 = 4 << 20;

impl Spool {
    /// Opens the store if it is not open.
    pub(super) fn reopen(&mut self) -> Result<(), StoreError> {
        let done = self.try_reopen();
        self.distrust |= matches!(done, Err(StoreError::Sync(_)));
        done
    }

    fn try_reopen(&mut self) -> Result<(), StoreError> {
        if self.opened.is_none() {
            self.folder.check(&self.lock)?;
            let mut opened = open_or_make_room(&self.folder, &self.witness, true)?;
            for anchor in &self.anchors {
                add_anchor(&mut opened.meta.anchors, *anchor);
            }
            if self.distrust {
                // The kernel shows what it failed to write, and forgets that it failed: only what is
                // written and synced anew is sure to be there.
                guarded(|| rebuild::rebuild(&self.folder, &opened, None))?;
                opened.store.close()?;
                opened = open_or_make_room(&self.folder, &self.witness, true)?;
                self.distrust = false;
            }
            self.opened = Some(opened);
            self.files = None;
            self.check_epoch();
        }
        Ok(())
    }

    /// After an opening: inference and uplink may number by an epoch that was closed.
    pub(super) fn check_epoch(&mut self) {
        let before = self.state.borrow().current().epoch;
        let now = self.opened.as_ref().map(|opened| opened.index.current().record().epoch);
        if now.is_some_and(|now| now != before) {
            error!(old = %before, "a new epoch began: the agent starts over");
            self.over = true;
        }
    }

    fn close_store(&mut self) -> Result<(), StoreError> {
        self.opened.take().map_or(Ok(()), |opened| opened.store.close())
    }

    /// The store failed: it is dropped, to be opened again; if its data is damaged, that is mended.
    pub(super) fn broken(&mut self, why: &StoreError) {
        // What was appended to the index and not written must be forgotten with it.
        let closed = self.close_store();
        self.distrust |= matches!(why, StoreError::Sync(_)) || closed.is_err();
        if why.is_damage() {
            let told = self.witness.read();
            if let Err(why) = guarded(|| recovery::rescue(&self.folder, told, why)) {
                error!(%why, "the damaged spool cannot be rescued at the moment");
            }
        }
        if let Err(why) = self.reopen() {
            error!(%why, "the spool cannot be opened at the moment");
        }
    }

    /// Central has other events under these numbers: a new epoch begins.
    pub(super) fn fork(&mut self, epoch: Epoch, from: Seq) {
        let Some(opened) = &self.opened else {
            self.forked = Some((epoch, from, Instant::now() + RETRY));
            return;
        };
        self.forked = None;
        let current = opened.index.current().record();
        let Some(held) = opened.index.epoch(epoch).map(|held| held.record()) else { return };
        if epoch != current.epoch && from >= held.next {
            return;
        }
        error!(
            %epoch, from = from.0, next = held.next.0,
            "central has other events under these numbers: this gateway's disk is a copy of another's, or was \
             restored from an old image. What is held from there on gets new numbers in a new epoch"
        );
        // The witness must not miss what moves.
        let end = held.next.min(from);
        self.witness.write(Testimony { epoch, next: end, oldest: end });
        if let Err(why) = self.rebuild(Some(Fork { epoch, from, run: self.run })) {
            error!(%why, "the new epoch cannot be begun at the moment");
            self.forked = Some((epoch, from, Instant::now() + REBUILD_AGAIN));
        }
        self.testify();
        self.tell();
    }

    /// Builds the spool anew and opens it; if that fails, the present one stays.
    pub(super) fn rebuild(&mut self, fork: Option<Fork>) -> Result<(), StoreError> {
        let Some(mut opened) = self.opened.take() else { return Ok(()) };
        let (epochs, marks) = opened.index.records();
        (opened.meta.epochs, opened.meta.marks) = (epochs, marks.to_vec());
        let done = guarded(|| rebuild::rebuild(&self.folder, &opened, fork));
        self.distrust |= opened.store.close().is_err();
        if let Err(why) = self.reopen() {
            error!(%why, "the spool cannot be opened at the moment");
        }
        done
    }

    /// sled's file never shrinks: a spool that was large and holds little is built anew.
    pub(super) fn compact(&mut self) {
        let Some(opened) = &self.opened else { return };
        let (disk, live) = (opened.store.disk_bytes(), opened.index.live_bytes());
        if disk < LARGE || live > LITTLE || disk < live * 8 || Instant::now() < self.rebuild_after {
            return;
        }
        match self.rebuild(None) {
            Ok(()) => info!(bytes = disk, "the spool was large and held little: it was built anew"),
            Err(why) => {
                error!(%why, "the spool cannot be built anew");
                self.rebuild_after = Instant::now() + REBUILD_AGAIN;
            }
        }
    }
}

/// Opens the spool; if the disk is full, the ballast goes first.
pub(super) fn open_or_make_room(
    folder: &Folder,
    witness: &Witness,
    again: bool,
) -> Result<Opened, StoreError> {
    let told = witness.read();
    match recovery::open(folder, told, again) {
        Err(why) if !why.is_damage() && folder.drop_ballast() => {
            warn!(%why, "the spool does not open: giving up the ballast");
            recovery::open(folder, told, again)
        }
        other => other,
    }
}

//! How far the frames of each reader node have come. Enters: marks of frames that were taken. Leaves: bytes that
//! the spool keeps with inference's snapshot, in the same step as the events that came of those frames; and what a
//! node that comes back is told.
//!
//! ```text
//! kept    bare snapshot                                    where no node was ever heard; begins with 01 or 02
//!         A0, postcard [Mark], snapshot                    else
//! ```

use alloc::vec::Vec;

use hangtag_protocol::link::message::NodeId;
use serde::{Deserialize, Serialize};

use super::Taken;

const BEGINS: u8 = 0xA0;
/// Runs of one node that are remembered: a node tells how three runs before its own ended.
const RUNS: usize = 4;
/// Runs that are remembered altogether.
const ALL: usize = 128;

/// How far the frames of one run of a node have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The node.
    pub node: NodeId,
    /// Its run.
    pub boot: u32,
    /// Every frame below this number was taken.
    pub below: u32,
    /// Reads in these frames.
    pub reads: u64,
    /// Reads that the node says it had no room for, in these frames; when it was told how the run ended, also those
    /// that were lost then.
    pub dropped: u64,
}

/// The marks of all nodes, the latest last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(Vec<Mark>);

/// Why bytes are not what is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the marks of reader nodes do not decode: {0}")]
pub struct MarksError(postcard::Error);

impl Marks {
    /// Remembers a mark in the place of an older one of its run. Old runs are forgotten.
    pub fn put(&mut self, mark: Mark) {
        self.0.retain(|old| (old.node, old.boot) != (mark.node, mark.boot));
        if self.0.iter().filter(|old| old.node == mark.node).count() >= RUNS
            && let Some(oldest) = self.0.iter().position(|old| old.node == mark.node)
        {
            self.0.remove(oldest);
        }
        if self.0.len() >= ALL {
            self.0.remove(0);
        }
        self.0.push(mark);
    }

    /// Remembers what a frame says of its run, and of an earlier one.
    pub fn take(&mut self, taken: &Taken) {
        if let Some(before) = taken.before {
            // Not the latest: it keeps its place.
            match self.0.iter_mut().find(|old| (old.node, old.boot) == (before.node, before.boot)) {
                Some(old) => *old = before,
                None => self.put(before),
            }
        }
        self.put(taken.mark);
    }

    /// The mark of a run.
    #[must_use]
    pub fn of(&self, node: NodeId, boot: u32) -> Option<Mark> {
        self.0.iter().find(|mark| (mark.node, mark.boot) == (node, boot)).copied()
    }

    /// All marks.
    #[must_use]
    pub fn all(&self) -> &[Mark] {
        &self.0
    }

    /// What the spool is to keep: the marks and a snapshot of inference.
    #[must_use]
    pub fn with(&self, snapshot: Vec<u8>) -> Vec<u8> {
        if self.0.is_empty() {
            return snapshot;
        }
        let mut kept = postcard::to_extend(&self.0, alloc::vec![BEGINS]).expect("numbers always encode");
        kept.extend(snapshot);
        kept
    }

    /// What the spool kept: the marks and the snapshot.
    ///
    /// # Errors
    /// When the marks do not decode.
    pub fn split(kept: &[u8]) -> Result<(Self, &[u8]), MarksError> {
        match kept.split_first() {
            Some((&BEGINS, rest)) => {
                postcard::take_from_bytes(rest).map(|(marks, rest)| (Self(marks), rest)).map_err(MarksError)
            }
            Some(_) | None => Ok((Self::default(), kept)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(node: u64, boot: u32, below: u32) -> Mark {
        Mark { node: NodeId(node), boot, below, reads: 10, dropped: 1 }
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let mut marks = Marks::default();
        assert_eq!(marks.with(alloc::vec![1, 2]), [1, 2], "a shop without nodes keeps what it always kept");
        assert_eq!(Marks::split(&[1, 2]), Ok((Marks::default(), &[1, 2][..])));
        marks.put(mark(1, 7, 3));
        marks.put(mark(2, 8, 4));
        let kept = marks.with(alloc::vec![1, 2]);
        assert_eq!(Marks::split(&kept), Ok((marks.clone(), &[1, 2][..])));
        assert!(Marks::split(&kept[..4]).is_err());
        // Gateways hold such bytes through upgrades: fix the code, never these bytes.
        assert_eq!(hex::encode(kept), "a0020107030a010208040a010102");
    }

    #[test]
    fn word_of_how_a_run_ended_forgets_no_later_run() {
        let mut marks = Marks::default();
        (10..14).for_each(|boot| marks.put(mark(1, boot, 2)));
        let mut tell = |of: u32, by: u32| {
            let before = Mark { dropped: 7, ..marks.of(NodeId(1), of).unwrap() };
            let (reads, motions, occupancy) = (Vec::new(), Vec::new(), Vec::new());
            let mark = mark(1, by, 2);
            marks.take(&Taken {
                mark,
                before: Some(before),
                count: 0,
                reads,
                motions,
                occupancy,
                hurry: true,
            });
            assert_eq!(marks.of(NodeId(1), of), Some(before));
        };
        tell(11, 14);
        tell(12, 15);
        tell(13, 15);
        assert_eq!(marks.of(NodeId(1), 10), None, "the oldest");
    }

    #[test]
    fn the_latest_runs_are_remembered() {
        let mut marks = Marks::default();
        for boot in 1..=6 {
            marks.put(mark(1, boot, boot));
            marks.put(mark(1, boot, boot + 1));
        }
        assert_eq!(marks.all(), [mark(1, 3, 4), mark(1, 4, 5), mark(1, 5, 6), mark(1, 6, 7)]);
        for node in 2..300 {
            marks.put(mark(node, 1, 1));
        }
        assert_eq!((marks.all().len(), marks.of(NodeId(1), 5)), (ALL, None));
    }
}

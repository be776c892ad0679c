//! What central has settled of one gateway's events: published retained on the gateway's `ack`
//! topic, as JSON. The agent deletes what is settled, and sends again what is not.
//!
//! ```json
//! {"v":1,"epochs":[{"epoch":"00000000deadbeef","contiguous_to":120,"ranges":[[130,140]],
//!   "highest":140,"lineage":[[1,305419896]]}]}
//! ```
//!
//! An epoch that is not listed has nothing settled.
//!
//! *Settled* is: stored; or declared lost by the agent; or set aside in quarantine with a readable
//! header. A broker's PUBACK is none of these.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, Seq};
use crate::lineage::Lineage;
use crate::range::{SeqRange, SeqSet};

/// The version of the JSON.
pub const VERSION: u8 = 1;

/// How many ranges beyond `contiguous_to` one epoch may list.
pub const MAX_RANGES: usize = 16;

/// How many unreadable payloads are named.
pub const MAX_UNREADABLE: usize = 16;

/// What is settled of one gateway's events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// [`VERSION`].
    pub v: u8,
    /// One entry per epoch that central has seen and that is still open.
    pub epochs: Vec<EpochMark>,
    /// Payloads that came lately on the gateway's topic and whose header could not be read, at most
    /// [`MAX_UNREADABLE`]: the CRC-32C of each. Their events are to be encoded anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<u32>,
}

/// What is settled of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochMark {
    /// The epoch.
    pub epoch: Epoch,
    /// Everything from 1 to here is settled; 0 for nothing.
    pub contiguous_to: Seq,
    /// Settled ranges beyond, at most [`MAX_RANGES`], lowest first.
    #[serde(default)]
    pub ranges: Vec<SeqRange>,
    /// The highest number that is stored or declared lost; 0 for none.
    #[serde(default)]
    pub highest: Seq,
    /// The runs that wrote the epoch, as recorded.
    #[serde(default, skip_serializing_if = "Lineage::is_empty")]
    pub lineage: Lineage,
}

impl EpochMark {
    /// The watermark of a set of settled numbers, of an epoch with this lineage whose events are stored up
    /// to `highest`.
    #[must_use]
    pub fn of(epoch: Epoch, settled: &SeqSet, highest: Seq, lineage: Lineage) -> Self {
        let contiguous_to = settled.contiguous_to();
        let beyond = settled.ranges().iter().filter(|r| r.first > contiguous_to);
        let ranges = beyond.take(MAX_RANGES).copied().collect();
        Self { epoch, contiguous_to, ranges, highest, lineage }
    }

    /// The settled numbers it tells of.
    #[must_use]
    pub fn settled(&self) -> SeqSet {
        let mut set = SeqSet::from(self.ranges.clone());
        set.insert(SeqRange { first: Seq::FIRST, last: self.contiguous_to });
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_lowest_ranges_when_there_are_too_many() {
        let mut settled = SeqSet::default();
        settled.insert(SeqRange::new(1, 10));
        for n in 0..40 {
            settled.insert(SeqRange::new(20 + 2 * n, 20 + 2 * n));
        }
        let mark = EpochMark::of(Epoch(7), &settled, Seq(98), Lineage::default());
        assert_eq!(mark.contiguous_to, Seq(10));
        assert_eq!(mark.ranges.len(), MAX_RANGES);
        assert_eq!(mark.ranges[0], SeqRange::new(20, 20));
        assert!(mark.settled().contains(Seq(50)));
        assert!(!mark.settled().contains(Seq(52)), "beyond the limit nothing is claimed");
    }

    #[test]
    fn json_is_as_documented() {
        let text = r#"{"v":1,"epochs":[{"epoch":"00000000deadbeef","contiguous_to":120,"ranges":[[130,140]],"highest":140,"lineage":[[1,305419896]]}],"unreadable":[7]}"#;
        let mark: Watermark = serde_json::from_str(text).unwrap();
        assert_eq!(mark.epochs[0].settled().ranges(), [SeqRange::new(1, 120), SeqRange::new(130, 140)]);
        assert_eq!(mark.epochs[0].lineage.last().map(|run| run.id), Some(0x1234_5678));
        assert_eq!(serde_json::to_string(&mark).unwrap(), text);
        let older = r#"{"v":1,"epochs":[{"epoch":"00000000deadbeef","contiguous_to":120}]}"#;
        let mark: Watermark = serde_json::from_str(older).unwrap();
        assert_eq!((mark.epochs[0].highest, mark.unreadable.len()), (Seq(0), 0));
    }
}

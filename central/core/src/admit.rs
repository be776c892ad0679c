//! The last check before a batch is stored. Enters: a batch that decoded. Leaves: nothing, or why
//! its content is impossible. What passes fits the database's signed 64-bit numbers and can be
//! computed with; no batch that an agent makes is ever refused.

use hangtag_protocol::batch::{Batch, Header};
use hangtag_protocol::clock::{ClockAnchor, Uptime};
use hangtag_protocol::id::Seq;
use hangtag_protocol::range::SeqRange;

/// The highest event number that is stored: 34,000 years at one event a second. Sums of ranges of millions
/// of epochs stay within the database's signed 64 bits.
pub const MAX_SEQ: Seq = Seq(1 << 40);
/// The longest uptime that is believed, in milliseconds: 34 years.
pub const MAX_UPTIME: Uptime = Uptime(1 << 40);
/// The most lost ranges, clock anchors and runs in one batch.
pub const MAX_LISTED: usize = 256;
/// The latest time of day that is believed, in milliseconds: the start of the year 2200.
const MAX_WALL_MS: i64 = 7_258_118_400_000;

/// Why a batch is not stored although it decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A number is higher than any that is stored.
    #[error("event number {0} is above {MAX_SEQ}")]
    Number(Seq),
    /// More is listed than one batch may list.
    #[error("lists {count} {what}; a batch lists at most {MAX_LISTED}")]
    TooMany {
        /// What is listed.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// A lost range is empty or does not start at 1 or above.
    #[error("lost range {0:?} is empty or starts at 0")]
    Lost(SeqRange),
    /// An event's uptime is not one that a kernel reaches.
    #[error("event {seq}: uptime {} ms is above {} ms", .at.0, MAX_UPTIME.0)]
    Uptime {
        /// The event.
        seq: Seq,
        /// Its uptime.
        at: Uptime,
    },
    /// A percentage is above 100.
    #[error("event {seq}: confidence {percent} % is above 100 %")]
    Confidence {
        /// The event.
        seq: Seq,
        /// Its confidence.
        percent: u8,
    },
}

/// Checks the numbers of a header.
///
/// # Errors
/// When they cannot be stored.
pub fn admit_header(header: &Header) -> Result<(), Refusal> {
    let last = header.range().last.max(header.first);
    if last > MAX_SEQ { Err(Refusal::Number(last)) } else { Ok(()) }
}

/// Checks the content of a batch whose header was admitted.
///
/// # Errors
/// When it cannot be stored.
pub fn admit(batch: &Batch) -> Result<(), Refusal> {
    let (lost, anchors, runs) = (batch.lost.len(), batch.anchors.len(), batch.lineage.runs().len());
    for (what, count) in [("lost ranges", lost), ("clock anchors", anchors), ("runs", runs)] {
        if count > MAX_LISTED {
            return Err(Refusal::TooMany { what, count });
        }
    }
    if batch.oldest_held > MAX_SEQ {
        return Err(Refusal::Number(batch.oldest_held));
    }
    for range in &batch.lost {
        if range.is_empty() || range.first < Seq::FIRST {
            return Err(Refusal::Lost(*range));
        }
        if range.last > MAX_SEQ {
            return Err(Refusal::Number(range.last));
        }
    }
    for (event, seq) in batch.events.iter().zip(batch.header.first.0..) {
        if event.at > MAX_UPTIME {
            return Err(Refusal::Uptime { seq: Seq(seq), at: event.at });
        }
        if event.confidence > 100 {
            return Err(Refusal::Confidence { seq: Seq(seq), percent: event.confidence });
        }
    }
    Ok(())
}

/// Whether an anchor can be believed. Others are left out; the events stay without a time of day.
#[must_use]
pub fn plausible(anchor: &ClockAnchor) -> bool {
    anchor.uptime <= MAX_UPTIME && (0..=MAX_WALL_MS).contains(&anchor.wall.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use hangtag_protocol::batch::FORMAT;
    use hangtag_protocol::clock::{BootId, UnixMillis};
    use hangtag_protocol::event::{Event, What};
    use hangtag_protocol::id::{Epoch, GatewayId, StoreId, TenantId};
    use hangtag_protocol::lineage::Lineage;
    use hangtag_protocol::topic::Gateway;

    fn batch() -> Batch {
        let gateway = Gateway {
            tenant: TenantId::new("t").unwrap(),
            store: StoreId::new("s").unwrap(),
            gateway: GatewayId::new("g").unwrap(),
        };
        Batch {
            header: Header {
                format: FORMAT,
                replayed: false,
                gateway,
                epoch: Epoch(1),
                first: Seq(5),
                count: 1,
            },
            oldest_held: Seq(5),
            lost: vec![SeqRange::new(1, 4)],
            anchors: Vec::new(),
            lineage: Lineage::default(),
            events: vec![Event {
                boot: BootId(1),
                at: Uptime(1),
                confidence: 100,
                what: What::Retracted { seq: Seq(4) },
            }],
        }
    }

    #[test]
    fn an_ordinary_batch_is_admitted() {
        assert_eq!(admit(&batch()), Ok(()));
        assert_eq!(admit_header(&batch().header), Ok(()));
    }

    #[test]
    fn impossible_content_is_named() {
        let change = |change: fn(&mut Batch)| {
            let mut batch = batch();
            change(&mut batch);
            admit(&batch)
        };
        let none = SeqRange::new(4, 3);
        assert_eq!(change(|b| b.lost.push(SeqRange::new(4, 3))), Err(Refusal::Lost(none)));
        assert_eq!(change(|b| b.lost.push(SeqRange::new(0, 3))), Err(Refusal::Lost(SeqRange::new(0, 3))));
        assert_eq!(change(|b| b.lost.push(SeqRange::new(9, u64::MAX))), Err(Refusal::Number(Seq(u64::MAX))));
        assert_eq!(
            change(|b| b.lost = vec![SeqRange::new(1, 1); MAX_LISTED + 1]),
            Err(Refusal::TooMany { what: "lost ranges", count: MAX_LISTED + 1 })
        );
        assert_eq!(change(|b| b.oldest_held = Seq(u64::MAX)), Err(Refusal::Number(Seq(u64::MAX))));
        assert_eq!(
            change(|b| b.events[0].at = Uptime(u64::MAX)),
            Err(Refusal::Uptime { seq: Seq(5), at: Uptime(u64::MAX) })
        );
        assert_eq!(
            change(|b| b.events[0].confidence = 101),
            Err(Refusal::Confidence { seq: Seq(5), percent: 101 })
        );
        let far = Header { first: Seq(MAX_SEQ.0 + 1), ..batch().header };
        assert_eq!(admit_header(&far), Err(Refusal::Number(far.first)));
    }

    #[test]
    fn anchors_outside_the_calendar_are_not_believed() {
        let anchor = |uptime, wall| ClockAnchor {
            boot: BootId(1),
            uptime: Uptime(uptime),
            wall: UnixMillis(wall),
            error_ms: 0,
        };
        assert!(plausible(&anchor(5, 1_800_000_000_000)));
        assert!(!plausible(&anchor(5, -1)));
        assert!(!plausible(&anchor(5, i64::MAX)));
        assert!(!plausible(&anchor(u64::MAX, 1_800_000_000_000)));
    }
}

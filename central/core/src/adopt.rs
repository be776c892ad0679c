//! Events whose numbers another run has used, on their way into an epoch of their own. Enters: a batch that
//! does not continue what is recorded, and where they part. Leaves: the part that does, and the rest under
//! an epoch that depends on nothing but the gateway, the old epoch and the run that went its own way: the
//! same events come to the same epoch, however often they come. Numbers stay what they were, so that a visit
//! and a retraction go on to name their event.
//!
//! ```text
//! recorded    (1, a) (501, b) (820, d)
//! told        (1, a) (501, b) (790, c) (900, e)      events 700 to 950
//! common      (1, a) (501, b)                        events 700 to 789, the old epoch
//! branch                      (790, c) (900, e)      events 790 to 950, the epoch of run c
//! ```

use alloc::string::ToString;
use alloc::vec::Vec;

use hangtag_protocol::batch::{Batch, Header};
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::{Apart, Lineage, Run};
use hangtag_protocol::range::SeqRange;
use hangtag_protocol::topic::Gateway;

/// CRC-64/XZ: its values are what databases hold.
const DIGEST: crc::Crc<u64> = crc::Crc::<u64>::new(&crc::CRC_64_XZ);

/// A batch in two parts. A part without events and losses is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parted {
    /// What lies before the fork.
    pub common: Option<Batch>,
    /// What lies behind it: its lineage begins with the run that went its own way, and its epoch is still the
    /// old one.
    pub branch: Option<Batch>,
}

/// The epoch of the events that a run and those after it wrote apart from the recorded ones.
#[must_use]
pub fn epoch(gateway: &Gateway, epoch: Epoch, root: Run) -> Epoch {
    let mut digest = DIGEST.digest();
    for name in [gateway.tenant.as_str(), gateway.store.as_str(), gateway.gateway.as_str()] {
        digest.update(name.as_bytes());
        digest.update(b"/");
    }
    digest.update(epoch.to_string().as_bytes());
    digest.update(&root.first.0.to_be_bytes());
    digest.update(&root.id.to_be_bytes());
    Epoch(digest.finalize())
}

/// Parts a batch where it leaves what is recorded; everything when there is nothing in common.
#[must_use]
pub fn part(batch: &Batch, apart: Apart) -> Parted {
    let from = match apart {
        Apart::Fork(from) => from,
        Apart::Unknown => Seq(0),
    };
    let before = Seq(from.0.saturating_sub(1));
    let runs = batch.lineage.runs();
    let root = runs.iter().rposition(|run| run.first <= from).unwrap_or(0);
    let common = piece(batch, SeqRange { first: Seq(0), last: before }, batch.lineage.before(from));
    let branch = piece(
        batch,
        SeqRange { first: from, last: Seq(u64::MAX) },
        Lineage::from(runs.get(root..).unwrap_or_default().to_vec()),
    );
    Parted {
        common: common.filter(|_| from > Seq(0)),
        // What the agent holds no more of it was either settled or told to be lost.
        branch: branch.map(|branch| Batch { oldest_held: Seq::FIRST, ..branch }),
    }
}

/// What a batch says of some numbers.
fn piece(batch: &Batch, of: SeqRange, lineage: Lineage) -> Option<Batch> {
    let clip = |range: SeqRange| SeqRange { first: range.first.max(of.first), last: range.last.min(of.last) };
    let lost: Vec<SeqRange> = batch.lost.iter().map(|range| clip(*range)).filter(|r| !r.is_empty()).collect();
    let numbered = (batch.header.first.0..).map(Seq).zip(&batch.events);
    let own = numbered.filter(|(seq, _)| (of.first..=of.last).contains(seq));
    // A piece without events must not seem to reach beyond what it is of.
    let nowhere = batch.header.first.clamp(of.first, Seq(of.last.0.saturating_add(1)));
    let first = own.clone().next().map_or(nowhere, |(seq, _)| seq);
    let events: Vec<_> = own.map(|(_, event)| event.clone()).collect();
    if events.is_empty() && lost.is_empty() {
        return None;
    }
    let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
    let header = Header { first, count, ..batch.header };
    let anchors = batch.anchors.clone();
    Some(Batch { header, oldest_held: batch.oldest_held.min(first), lost, anchors, lineage, events })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use hangtag_protocol::batch::FORMAT;
    use hangtag_protocol::clock::{BootId, Uptime};
    use hangtag_protocol::event::{Event, What};
    use hangtag_protocol::id::{GatewayId, StoreId, TenantId};

    const A: Run = Run { first: Seq(1), id: 0xa };
    const B: Run = Run { first: Seq(501), id: 0xb };
    const C: Run = Run { first: Seq(790), id: 0xc };
    const E: Run = Run { first: Seq(900), id: 0xe };

    fn gateway() -> Gateway {
        Gateway {
            tenant: TenantId::new("t").unwrap(),
            store: StoreId::new("s").unwrap(),
            gateway: GatewayId::new("g").unwrap(),
        }
    }

    fn batch(first: u64, count: u32, lost: &[SeqRange], runs: &[Run]) -> Batch {
        let header = Header {
            format: FORMAT,
            replayed: true,
            gateway: gateway(),
            epoch: Epoch(1),
            first: Seq(first),
            count,
        };
        let event = |n| Event {
            boot: BootId(1),
            at: Uptime(n),
            confidence: 90,
            what: What::Retracted { seq: Seq(n) },
        };
        Batch {
            header,
            oldest_held: Seq(first),
            lost: lost.to_vec(),
            anchors: vec![],
            lineage: Lineage::from(runs.to_vec()),
            events: (first..first + u64::from(count)).map(event).collect(),
        }
    }

    #[test]
    fn a_batch_is_parted_where_its_run_left_the_recorded_ones() {
        let whole = batch(700, 251, &[SeqRange::new(600, 650), SeqRange::new(951, 960)], &[A, B, C, E]);
        let Parted { common: Some(common), branch: Some(branch) } = part(&whole, Apart::Fork(Seq(790)))
        else {
            panic!("two parts");
        };
        assert_eq!(
            (common.header.range(), branch.header.range()),
            (SeqRange::new(700, 789), SeqRange::new(790, 950))
        );
        assert_eq!((&common.lineage.runs(), branch.lineage.runs()), (&&[A, B][..], &[C, E][..]));
        assert_eq!(
            (common.lost, branch.lost),
            (vec![SeqRange::new(600, 650)], vec![SeqRange::new(951, 960)])
        );
        assert_eq!(
            [common.events, branch.events].concat(),
            whole.events,
            "every event is in one of them, in order"
        );
    }

    #[test]
    fn the_original_that_goes_on_after_its_copy_is_parted_within_its_run() {
        let Parted { common, branch } = part(&batch(785, 10, &[], &[A, B]), Apart::Fork(C.first));
        assert_eq!(common.map(|b| b.header.range()), Some(SeqRange::new(785, 789)));
        let branch = branch.unwrap();
        assert_eq!((branch.header.range(), branch.lineage.runs()), (SeqRange::new(790, 794), &[B][..]));
    }

    #[test]
    fn what_has_nothing_in_common_stays_whole() {
        let whole = batch(700, 3, &[SeqRange::new(1, 9)], &[B, C]);
        let Parted { common: None, branch: Some(branch) } = part(&whole, Apart::Unknown) else {
            panic!("one part");
        };
        assert_eq!(branch, Batch { oldest_held: Seq::FIRST, ..whole });
        assert_eq!(
            part(&batch(700, 3, &[], &[B, C]), Apart::Fork(C.first)),
            Parted { common: Some(batch(700, 3, &[], &[B])), branch: None }
        );
    }

    #[test]
    fn losses_without_events_are_parted_too() {
        let lost = [SeqRange::new(780, 800)];
        let Parted { common: Some(common), branch: Some(branch) } =
            part(&batch(801, 0, &lost, &[A, B, C]), Apart::Fork(C.first))
        else {
            panic!("two parts");
        };
        assert_eq!(common.header.range().last, Seq(789), "it does not reach beyond the fork");
        assert_eq!((common.lost, common.events), (vec![SeqRange::new(780, 789)], vec![]));
        assert_eq!((branch.lost, branch.events), (vec![SeqRange::new(790, 800)], vec![]));
    }

    /// These values are in databases.
    #[test]
    fn an_epoch_depends_on_gateway_epoch_and_run_alone() {
        let of = |gw: Gateway, from: u64, run| epoch(&gw, Epoch(from), run);
        let adopted = of(gateway(), 1, C);
        assert_eq!(adopted.to_string(), "15bbd3bd434b030a");
        let other = Gateway { gateway: GatewayId::new("h").unwrap(), ..gateway() };
        for differs in
            [of(other, 1, C), of(gateway(), 2, C), of(gateway(), 1, E), of(gateway(), 1, Run { id: 9, ..C })]
        {
            assert_ne!(adopted, differs);
        }
    }
}

//! Whether visits keep shoppers apart. Enters: the truth and concluded events. Leaves: how many concluded visits hold
//! garments of two booths, or of two stays in one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hangtag_protocol::event::Kind;
use hangtag_protocol::id::Seq;
use hangtag_protocol::line::EventLine;
use serde::Serialize;

use crate::shop::Truth;

use super::tolerance_ms;

/// How well visits were told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Visits {
    /// Visits that were concluded, with at least one garment that was really carried in somewhere.
    pub concluded: usize,
    /// Those of them whose garments were really carried into different booths.
    pub mix_booths: usize,
    /// Those whose garments were carried into one booth, by people who were there after one another.
    pub mix_stays: usize,
}

/// Compares concluded visits with real ones. A garment's real stay is the one it was carried in for at the time, into
/// whichever booth; events that were retracted do not count.
#[must_use]
pub fn visits(truths: &[Truth], events: &[EventLine], offset_ms: u64) -> Visits {
    let retracted: BTreeSet<_> = events.iter().filter_map(|event| event.retracts).collect();
    let (earliest, latest) = tolerance_ms(Kind::CarriedIn).expect("it has a truth");
    let carried_in: Vec<&Truth> = truths.iter().filter(|truth| truth.kind == Kind::CarriedIn).collect();
    let mut stays: BTreeMap<Seq, BTreeSet<_>> = BTreeMap::new();
    for event in events {
        let (Kind::CarriedIn, Some(visit), false) = (event.kind, event.visit, retracted.contains(&event.seq))
        else {
            continue;
        };
        let delay = |truth: &Truth| i128::from(event.at.0) - i128::from(offset_ms) - i128::from(truth.at_ms);
        let fits = |truth: &&&Truth| {
            Some(truth.epc) == event.epc && (earliest.into()..=latest.into()).contains(&delay(truth))
        };
        let nearest = carried_in.iter().filter(fits).min_by_key(|truth| delay(truth).abs());
        stays.entry(visit).or_default().extend(nearest.map(|truth| (truth.zone, truth.visit)));
    }
    stays.retain(|_, real| !real.is_empty());
    let booths = |real: &BTreeSet<_>| real.iter().map(|(zone, _)| *zone).collect::<BTreeSet<_>>().len();
    let mix_booths = stays.values().filter(|real| booths(real) > 1).count();
    let mixed = stays.values().filter(|real| real.len() > 1).count();
    Visits { concluded: stays.len(), mix_booths, mix_stays: mixed - mix_booths }
}

impl fmt::Display for Visits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { concluded, mix_booths, mix_stays } = self;
        write!(f, "visits: {concluded}, of which {mix_booths} mix booths and {mix_stays} mix stays in one")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hangtag_protocol::epc::Epc;
    use hangtag_protocol::id::ZoneId;

    fn truth(at_ms: u64, epc: &str, zone: &str, visit: u32) -> Truth {
        let (epc, zone) = (Epc::from_hex(epc).unwrap(), ZoneId::new(zone).unwrap());
        Truth { at_ms, kind: Kind::CarriedIn, epc, zone, visit: Some(visit) }
    }

    fn event(seq: u64, at: u64, epc: &str, visit: u64) -> EventLine {
        let json = format!(
            r#"{{"seq":{seq},"boot":"00000000000000aa","at":{at},"kind":"carried_in","confidence":90,"epc":"{epc}","zone":"booth-1","visit":{visit}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn a_visit_mixes_what_belongs_to_two_booths_or_two_stays() {
        let truths = [
            truth(10_000, "e201", "booth-1", 1),
            truth(11_000, "e202", "booth-2", 2),
            truth(12_000, "e203", "booth-1", 1),
            truth(300_000, "e204", "booth-1", 3),
        ];
        let first = [event(1, 511_000, "e201", 1), event(2, 513_000, "e203", 1)];
        let judged = |more: &[EventLine]| visits(&truths, &[&first[..], more].concat(), 500_000);
        assert_eq!(judged(&[]), Visits { concluded: 1, ..Visits::default() });
        let next_door = event(3, 512_000, "e202", 1);
        assert_eq!(judged(std::slice::from_ref(&next_door)).mix_booths, 1);
        let mut taken_back = event(4, 515_000, "e202", 1);
        (taken_back.kind, taken_back.epc, taken_back.visit) = (Kind::Retracted, None, None);
        taken_back.retracts = serde_json::from_str("3").unwrap();
        assert_eq!(judged(&[next_door, taken_back]).mix_booths, 0);
        assert_eq!(judged(&[event(5, 801_000, "e204", 1)]).mix_stays, 1);
        let apart = judged(&[event(5, 801_000, "e204", 5), event(6, 900_000, "e2ff", 6)]);
        assert_eq!(apart, Visits { concluded: 2, ..Visits::default() }, "nobody carried e2ff anywhere");
    }
}

//! Concluded events against the truth. Enters: lines of [`EventLine`] and of [`Truth`]. Leaves: for each
//! kind, precision, recall, F1, how far off the stated times are and how late the agent knew, and whether [`visits()`]
//! keep shoppers apart.
//!
//! An event and a truth match when kind, tag and zone are the same and the event's time is within the
//! tolerance; each matches at most once, the earliest first. Retracted events do not count.
//!
//! | kind | the event's time minus the truth's |
//! |---|---|
//! | picked up, put down | -2 s to 8 s |
//! | carried in, carried out | -3 s to 30 s |
//! | tried on | -5 s to 75 s after it was put on |

mod visits;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::Kind;
use hangtag_protocol::id::ZoneId;
use hangtag_protocol::line::EventLine;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::shop::Truth;

pub use visits::{Visits, visits};

/// How well one kind of event was concluded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// The kind.
    pub kind: Kind,
    /// How often it really happened.
    pub truths: usize,
    /// How often it was concluded and not retracted.
    pub events: usize,
    /// How many of both match.
    pub matched: usize,
    /// The share of events that match, 0 to 1; absent without events.
    pub precision: Option<f64>,
    /// The share of truths that match, 0 to 1; absent without truths.
    pub recall: Option<f64>,
    /// The harmonic mean of both; absent when one is.
    pub f1: Option<f64>,
    /// The median of event time minus true time, in milliseconds; absent without matches.
    pub median_delay_ms: Option<i64>,
    /// The same that 95 of 100 matches do not exceed.
    pub p95_delay_ms: Option<i64>,
    /// The median of when the agent knew minus true time, in milliseconds; absent without matches of which that is told.
    pub median_known_ms: Option<i64>,
    /// The same that 95 of 100 of these do not exceed.
    pub p95_known_ms: Option<i64>,
}

/// Why a line is not what its file should hold.
#[derive(Debug, thiserror::Error)]
#[error("{file}:{line}: {why}")]
pub struct LineError {
    /// The file's name.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: serde_json::Error,
}

/// The times of truths and of events about one garment in one zone, in milliseconds; of events also when they were
/// known.
type Cases = BTreeMap<(Kind, Epc, ZoneId), (Vec<u64>, Vec<(u64, Option<u64>)>)>;

/// The kinds that have a truth.
pub const KINDS: [Kind; 5] =
    [Kind::PickedUp, Kind::PutDown, Kind::CarriedIn, Kind::TriedOn, Kind::CarriedOut];

/// Reads JSON lines; blank ones are skipped. `file` is only for the error's text.
///
/// # Errors
/// At the first line that is not a `T`.
pub fn read_lines<T: DeserializeOwned>(file: &str, text: &str) -> Result<Vec<T>, LineError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            serde_json::from_str(line).map_err(|why| LineError { file: file.into(), line: at + 1, why })
        })
        .collect()
}

/// Scores every kind that has a truth. `offset_ms` is taken off the events' times: the uptime at which
/// the shop's time was 0.
#[must_use]
pub fn score(truths: &[Truth], events: &[EventLine], offset_ms: u64) -> Vec<Score> {
    let retracted: BTreeSet<_> = events.iter().filter_map(|event| event.retracts).collect();
    let mut cases = Cases::new();
    for truth in truths {
        cases.entry((truth.kind, truth.epc, truth.zone)).or_default().0.push(truth.at_ms);
    }
    for event in events.iter().filter(|event| !retracted.contains(&event.seq)) {
        if let (Some(epc), Some(zone)) = (event.epc, event.zone) {
            let ms = |at: Uptime| at.0.saturating_sub(offset_ms);
            let times = (ms(event.at), event.known.map(ms));
            cases.entry((event.kind, epc, zone)).or_default().1.push(times);
        }
    }
    KINDS.into_iter().map(|kind| score_kind(kind, &mut cases)).collect()
}

/// Earliest and latest time of an event after its truth, in milliseconds; nothing for kinds without
/// truth.
fn tolerance_ms(kind: Kind) -> Option<(i64, i64)> {
    match kind {
        Kind::PickedUp | Kind::PutDown => Some((-2_000, 8_000)),
        Kind::CarriedIn | Kind::CarriedOut => Some((-3_000, 30_000)),
        Kind::TriedOn => Some((-5_000, 75_000)),
        Kind::Retracted | Kind::Coverage | Kind::Scanned => None,
    }
}

fn score_kind(kind: Kind, cases: &mut Cases) -> Score {
    let (mut truth_count, mut event_count, mut delays, mut known) = (0, 0, Vec::new(), Vec::new());
    let (earliest, latest) = tolerance_ms(kind).expect("only kinds with a truth are scored");
    for (truths, events) in cases.iter_mut().filter(|((k, _, _), _)| *k == kind).map(|(_, case)| case) {
        truth_count += truths.len();
        event_count += events.len();
        truths.sort_unstable();
        events.sort_unstable();
        // All tolerances are equally wide, so that taking the earliest event that fits is never worse
        // than any other choice.
        let mut waiting = events.iter().peekable();
        for truth in truths {
            let delay = |event: u64| (i128::from(event) - i128::from(*truth)) as i64;
            while waiting.next_if(|event| delay(event.0) < earliest).is_some() {}
            if let Some(event) = waiting.next_if(|event| delay(event.0) <= latest) {
                delays.push(delay(event.0));
                known.extend(event.1.map(delay));
            }
        }
    }
    delays.sort_unstable();
    known.sort_unstable();
    let matched = delays.len();
    let share = |of: usize| (of > 0).then(|| matched as f64 / of as f64);
    let (precision, recall) = (share(event_count), share(truth_count));
    let f1 = precision.zip(recall).map(|(p, r)| if p + r > 0.0 { 2.0 * p * r / (p + r) } else { 0.0 });
    Score {
        kind,
        truths: truth_count,
        events: event_count,
        matched,
        precision,
        recall,
        f1,
        median_delay_ms: at_share(&delays, 50),
        p95_delay_ms: at_share(&delays, 95),
        median_known_ms: at_share(&known, 50),
        p95_known_ms: at_share(&known, 95),
    }
}

/// What so many percent of sorted values do not exceed.
fn at_share(sorted: &[i64], percent: usize) -> Option<i64> {
    sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied()
}

/// Scores as a table for people.
pub struct Table<'a>(pub &'a [Score]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "kind         truths  events  matched  precision  recall     F1  median s   p95 s  known s   p95 s"
        )?;
        for s in self.0 {
            let share = |v: Option<f64>| v.map_or("-".into(), |v| format!("{v:.3}"));
            let seconds = |v: Option<i64>| v.map_or("-".into(), |v| format!("{:.1}", v as f64 / 1000.0));
            writeln!(
                f,
                "{:<12} {:>6} {:>7} {:>8} {:>10} {:>7} {:>6} {:>9} {:>7} {:>8} {:>7}",
                s.kind.name(),
                s.truths,
                s.events,
                s.matched,
                share(s.precision),
                share(s.recall),
                share(s.f1),
                seconds(s.median_delay_ms),
                seconds(s.p95_delay_ms),
                seconds(s.median_known_ms),
                seconds(s.p95_known_ms),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(at_ms: u64, kind: Kind, zone: &str) -> Truth {
        Truth {
            at_ms,
            kind,
            epc: Epc::from_hex("e200").unwrap(),
            zone: ZoneId::new(zone).unwrap(),
            visit: None,
        }
    }

    fn event(seq: u64, at: u64, kind: Kind, zone: &str) -> EventLine {
        let name = kind.name();
        let json = format!(
            r#"{{"seq":{seq},"boot":"00000000000000aa","at":{at},"kind":"{name}","confidence":90,"epc":"e200","zone":"{zone}"}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn of(kind: Kind, scores: &[Score]) -> Score {
        scores.iter().find(|s| s.kind == kind).unwrap().clone()
    }

    #[test]
    fn matches_one_to_one_within_the_tolerance() {
        let truths = [
            truth(10_000, Kind::PickedUp, "rail-a"),
            truth(14_000, Kind::PickedUp, "rail-a"),
            truth(60_000, Kind::PickedUp, "rail-a"),
        ];
        let events = [
            event(1, 13_000, Kind::PickedUp, "rail-a"),
            event(2, 13_500, Kind::PickedUp, "rail-a"),
            event(3, 14_000, Kind::PickedUp, "rail-a"),
            event(4, 68_001, Kind::PickedUp, "rail-a"),
        ];
        let score = of(Kind::PickedUp, &score(&truths, &events, 0));
        assert_eq!((score.truths, score.events, score.matched), (3, 4, 2));
        assert_eq!((score.precision, score.recall), (Some(0.5), Some(2.0 / 3.0)));
        assert_eq!((score.median_delay_ms, score.p95_delay_ms), (Some(-500), Some(3_000)));
    }

    #[test]
    fn another_zone_or_kind_does_not_match_and_retracted_events_do_not_count() {
        let truths = [truth(10_000, Kind::CarriedIn, "booth-1")];
        let mut retraction = event(3, 12_000, Kind::Retracted, "booth-1");
        (retraction.epc, retraction.zone) = (None, None);
        retraction.retracts = serde_json::from_str("2").unwrap();
        let events = [
            event(1, 11_000, Kind::CarriedIn, "booth-2"),
            event(2, 11_000, Kind::CarriedIn, "booth-1"),
            retraction,
            event(4, 11_000, Kind::CarriedOut, "booth-1"),
        ];
        let scores = score(&truths, &events, 0);
        let carried_in = of(Kind::CarriedIn, &scores);
        assert_eq!((carried_in.events, carried_in.matched, carried_in.f1), (1, 0, Some(0.0)));
        let carried_out = of(Kind::CarriedOut, &scores);
        assert_eq!((carried_out.truths, carried_out.events, carried_out.recall), (0, 1, None));
    }

    #[test]
    fn the_offset_is_taken_off_the_events_times() {
        let truths = [truth(1_000, Kind::TriedOn, "booth-1")];
        let events = [event(1, 541_000, Kind::TriedOn, "booth-1")];
        assert_eq!(of(Kind::TriedOn, &score(&truths, &events, 500_000)).median_delay_ms, Some(40_000));
        assert_eq!(of(Kind::TriedOn, &score(&truths, &events, 0)).matched, 0);
    }

    #[test]
    fn when_it_was_known_is_told_of_what_matches() {
        let truths = [truth(1_000, Kind::PickedUp, "rail-a"), truth(20_000, Kind::PickedUp, "rail-a")];
        let known = |seq, at, known| EventLine {
            known: Some(Uptime(known)),
            ..event(seq, at, Kind::PickedUp, "rail-a")
        };
        let events = [known(1, 501_500, 503_000), known(2, 520_500, 525_000), known(3, 590_000, 599_000)];
        let told = of(Kind::PickedUp, &score(&truths, &events, 500_000));
        assert_eq!((told.median_delay_ms, told.p95_delay_ms), (Some(500), Some(500)));
        assert_eq!((told.median_known_ms, told.p95_known_ms), (Some(2_000), Some(5_000)));
        let untold = score(&truths, &[event(1, 501_500, Kind::PickedUp, "rail-a")], 500_000);
        assert_eq!(of(Kind::PickedUp, &untold).median_known_ms, None);
    }

    #[test]
    fn a_wrong_line_is_named() {
        let error = read_lines::<Truth>("truth.jsonl", "\n{}\n").unwrap_err();
        assert!(error.to_string().starts_with("truth.jsonl:2: "), "{error}");
    }
}

//! Here or a stray: which of the tags heard in a stocked shop are in the box before the reader. Enters:
//! captures of about 30 s, in sets of labels. Leaves: how often the agent's rule
//! ([`presence`](hangtag_agent_core::infer::presence)) and the plain one, a number of reads, are right, for
//! the whole captures and for their first three seconds.
//!
//! ```text
//! SET/samples_labels/*.csv    the box alone: what is in all of these files is in the box
//! SET/samples_PLACE/*.csv     the box in the shop
//! ```
//!
//! What is known of a tag from elsewhere is learned from the captures of the same place with *other* sets of
//! labels, without their truth: as an agent has learned a shop's stock before the next customer comes.
//! The plain rule's number is fitted to the other sets, with their truth.

use std::collections::{BTreeMap, BTreeSet};

use hangtag_agent_core::infer::presence::{Heard, Surest, presence};
use hangtag_protocol::epc::Epc;

use super::EvaluateError;
use super::files::Recording;
use super::score::{Counts, Rule, Split, Task};
use super::table::Table;

/// Seconds of a capture that are looked at.
const SPANS_S: [(f64, &str); 2] = [(f64::INFINITY, "whole captures"), (3.0, "their first 3 s")];
/// The folder of the captures that tell the truth.
const LABELS: &str = "samples_labels";
/// The set on which numbers were chosen.
const TUNING: (&str, &str) = ("labelset1", "samples_location1");

struct Capture<'a> {
    set: &'a str,
    place: &'a str,
    /// Per tag: seconds since the first read and milliwatts of each read.
    tags: BTreeMap<Epc, Vec<(f64, f64)>>,
}

/// How a tag was heard in a capture, and whether it was in the box.
struct Case {
    heard: Heard,
    surest: f32,
    elsewhere_dbm: Option<f32>,
    in_box: bool,
}

pub(super) fn evaluate(recordings: &[&Recording]) -> Result<Vec<Task>, EvaluateError> {
    let mut captures = Vec::new();
    for recording in recordings {
        captures.push(Capture { set: recording.name(2), place: recording.name(1), tags: tags(recording)? });
    }
    let mut boxes: BTreeMap<&str, BTreeSet<Epc>> = BTreeMap::new();
    for capture in captures.iter().filter(|capture| capture.place == LABELS) {
        let tags: BTreeSet<Epc> = capture.tags.keys().copied().collect();
        boxes.entry(capture.set).and_modify(|known| *known = &*known & &tags).or_insert(tags);
    }
    captures.retain(|capture| capture.place != LABELS);
    for (recording, set) in recordings.iter().map(|recording| (recording, recording.name(2))) {
        if !boxes.contains_key(set) {
            let why = format!("nothing tells what was in the box: {set}/{LABELS} has no captures");
            return Err(EvaluateError::Label { path: recording.path.clone(), why });
        }
    }
    let tasks = SPANS_S.map(|span| task(span, &captures, &boxes));
    Ok(tasks.into_iter().filter(|task| !task.rules[0].groups.is_empty()).collect())
}

fn task(
    (seconds, span): (f64, &str),
    captures: &[Capture<'_>],
    boxes: &BTreeMap<&str, BTreeSet<Epc>>,
) -> Task {
    let mut own = Rule::new("share of surest, rise");
    let mut plain = Rule::new("reads, fitted to other sets");
    let of = |set: &str, place: &str| -> Vec<Case> {
        let here = captures.iter().filter(|capture| capture.set == set && capture.place == place);
        here.flat_map(|capture| cases(capture, seconds, captures, &boxes[set])).collect()
    };
    let sets: BTreeSet<(&str, &str)> = captures.iter().map(|capture| (capture.place, capture.set)).collect();
    for &(place, set) in &sets {
        let split = if (set, place) == TUNING { Split::Tuning } else { Split::Reporting };
        let others = sets.iter().filter(|(p, s)| *p == place && *s != set);
        let others: Vec<Case> = others.flat_map(|(place, other)| of(other, place)).collect();
        let fewest = fewest_reads(&others);
        for case in of(set, place) {
            let judged = presence(case.heard, case.surest, case.elsewhere_dbm);
            own.add(&format!("{place}/{set}"), split, judged.present, case.in_box);
            plain.add(&format!("{place}/{set}"), split, case.heard.reads >= fewest, case.in_box);
        }
    }
    let about = "A case is a tag in a capture. Numbers were chosen on labelset1. What each tag is like from elsewhere \
                 is learned, without labels, from the captures with other sets; the plain rule's number is fitted \
                 to those, with labels.";
    Task { name: format!("here or a stray, {span}"), about: about.into(), rules: vec![own, plain] }
}

/// Columns: beam_id, epc, frequency, phase, rssi in tenths of a dBm, time in seconds.
fn tags(recording: &Recording) -> Result<BTreeMap<Epc, Vec<(f64, f64)>>, EvaluateError> {
    let table = Table::named(&recording.path)?;
    let mut tags: BTreeMap<Epc, Vec<(f64, f64)>> = BTreeMap::new();
    for row in table.rows() {
        let milliwatts = 10f64.powf(row.number("rssi", -1_000.0, 0.0)? / 100.0);
        tags.entry(row.epc("epc")?).or_default().push((row.seconds("time")?, milliwatts));
    }
    let first = tags.values().flatten().map(|(at, _)| *at).min_by(f64::total_cmp).unwrap_or(0.0);
    tags.values_mut().flatten().for_each(|(at, _)| *at -= first);
    Ok(tags)
}

fn cases(capture: &Capture<'_>, seconds: f64, captures: &[Capture<'_>], in_box: &BTreeSet<Epc>) -> Vec<Case> {
    let heard_then = |epc: &Epc| {
        let reads = capture.tags.get(epc).into_iter().flatten();
        heard(reads.filter(|(at, _)| *at < seconds))
    };
    let epcs: BTreeSet<Epc> = capture.tags.keys().chain(in_box).copied().collect();
    let surest = epcs.iter().map(|epc| heard_then(epc).reads).collect::<Surest>().reads();
    let others = || captures.iter().filter(|other| other.place == capture.place && other.set != capture.set);
    let elsewhere = |epc: &Epc| {
        let levels = others().filter_map(|other| Some(heard(other.tags.get(epc)?.iter()).level_dbm));
        levels.max_by(f32::total_cmp)
    };
    let case = |epc: &Epc| Case {
        heard: heard_then(epc),
        surest,
        elsewhere_dbm: elsewhere(epc),
        in_box: in_box.contains(epc),
    };
    epcs.iter().map(case).collect()
}

fn heard<'a>(reads: impl Iterator<Item = &'a (f64, f64)>) -> Heard {
    let (count, milliwatts) = reads.fold((0u32, 0.0), |(count, sum), (_, mw)| (count + 1, sum + mw));
    let mean = milliwatts / f64::from(count.max(1));
    Heard { reads: count as f32, level_dbm: 10.0 * mean.max(1e-12).log10() as f32 }
}

/// The number of reads that tells best what is in the box; infinite without cases.
fn fewest_reads(cases: &[Case]) -> f32 {
    let numbers: BTreeSet<u32> = cases.iter().map(|case| case.heard.reads as u32).collect();
    let f1 = |number: u32| {
        let mut counts = Counts::default();
        cases.iter().for_each(|case| counts.add(case.heard.reads >= number as f32, case.in_box));
        counts.f1().unwrap_or(0.0)
    };
    let best = numbers.iter().map(|number| f1(*number)).max_by(f64::total_cmp).unwrap_or(0.0);
    // Of several that are equally good, the middle one.
    let best: Vec<u32> = numbers.into_iter().filter(|number| f1(*number) >= best).collect();
    best.get(best.len() / 2).map_or(f32::INFINITY, |number| *number as f32)
}

//! Moved or still, in windows of two seconds. Enters: recordings of a tag that lies or is carried, and of
//! still tags that hands pass over. Leaves: how often the agent's rule
//! ([`motion`](hangtag_agent_core::infer::motion)) and the plain one, the level's deviation, are right.

use std::collections::BTreeMap;

use hangtag_agent_core::infer::motion::{Comparer, Noise, Signs};
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::read::Read;

use super::EvaluateError;
use super::files::Recording;
use super::score::{Rule, Split, Task};
use super::table::Table;

/// Length of a window in milliseconds.
const WINDOW_MS: u64 = 2_000;
/// A tag with fewer reads in a recording strayed into it.
const FEWEST_READS: usize = 20;
/// The plain rule: the mean over antennas of the level's standard deviation in the window, in dB.
const DEVIATION_DB: f64 = 2.5;

/// A window, judged by both rules.
struct Judged {
    moved: bool,
    deviates: bool,
    has_step: bool,
}

/// A tag that lies at a known point or is carried along lines and about.
pub(super) fn carried(recordings: &[&Recording]) -> Result<Option<Task>, EvaluateError> {
    let (mut own, mut plain) = rules();
    let (mut still, mut with_step) = (0, 0);
    for recording in recordings {
        let Some(moves) = is_carried(recording) else { continue };
        let mut reads = carried_reads(recording)?;
        // One tag was there; others are strays.
        let Some(most) = reads.values().map(Vec::len).max() else { continue };
        reads.retain(|_, of_tag| of_tag.len() == most && most >= FEWEST_READS);
        for judged in reads.values_mut().flat_map(|reads| windows(reads)) {
            let (group, split) = (recording.name(1), carried_split(recording));
            own.add(group, split, judged.moved, moves);
            plain.add(group, split, judged.deviates, moves);
            still += u64::from(!moves);
            with_step += u64::from(!moves && judged.has_step);
        }
    }
    let about = format!(
        "A case is a window of 2 s. Numbers were chosen on Test7, MoveTest1 and quadrants 1 and 2. Of {still} \
         windows at rest {with_step} have reads close enough to compare phases: what the rule does with dense \
         reads of still tags is told by the hand recordings."
    );
    let task = Task { name: "moved or still".into(), about, rules: vec![own, plain] };
    Ok((!task.rules[0].groups.is_empty()).then_some(task))
}

/// Hands pass over still tags: whatever fires is wrong.
pub(super) fn hand(recordings: &[&Recording]) -> Result<Option<Task>, EvaluateError> {
    let (mut own, mut plain) = rules();
    for recording in recordings {
        let mut reads = hand_reads(recording)?;
        reads.retain(|_, of_tag| of_tag.len() >= FEWEST_READS);
        for judged in reads.values_mut().flat_map(|reads| windows(reads)) {
            let (group, split) = (recording.name(1), hand_split(recording));
            own.add(group, split, judged.moved, false);
            plain.add(group, split, judged.deviates, false);
        }
    }
    let about = "A case is a window of 2 s of one tag; nothing moved, so that all that fires is wrong. Numbers \
                 were chosen on trials 1 to 3 of each gesture.";
    let task = Task { name: "a hand over still tags".into(), about: about.into(), rules: vec![own, plain] };
    Ok((!recordings.is_empty()).then_some(task))
}

fn rules() -> (Rule, Rule) {
    (Rule::new("phase steps and level"), Rule::new("level deviates 2.5 dB"))
}

/// Whether the tag was carried, told by the folder; nothing where that is not known.
fn is_carried(recording: &Recording) -> Option<bool> {
    let names = recording.names();
    let any = |starts: &[&str]| names.iter().any(|name| starts.iter().any(|start| name.starts_with(start)));
    let file = recording.name(0);
    if any(&["MovementTesting", "MoveTest", "quadTesting"]) || file.starts_with("quad") {
        Some(true)
    } else if file.starts_with('(') && recording.name(1).starts_with("Test") {
        Some(false)
    } else {
        None
    }
}

fn carried_split(recording: &Recording) -> Split {
    let quadrants = ["quad1_train", "quad2_train", "quadz1_train", "quadz2_train"];
    let tuning = ["Test7", "MoveTest1"].contains(&recording.name(1))
        || quadrants.iter().any(|quadrant| recording.name(0).starts_with(quadrant));
    if tuning { Split::Tuning } else { Split::Reporting }
}

fn hand_split(recording: &Recording) -> Split {
    let trial = recording.name(0).trim_end_matches(".txt");
    let tuning = trial.starts_with("exp-") && ["-1", "-2", "-3"].iter().any(|number| trial.ends_with(number));
    if tuning { Split::Tuning } else { Split::Reporting }
}

type Reads = BTreeMap<Epc, Vec<Read>>;

/// Columns: timestamp, antenna, rssi in dBm, epc, phase_angle of 4096, channel_index, Doppler (not used).
fn carried_reads(recording: &Recording) -> Result<Reads, EvaluateError> {
    let table = Table::named(&recording.path)?;
    let mut reads = Reads::new();
    for row in table.rows() {
        let read = Read {
            at: Uptime((row.seconds("timestamp")? * 1e3) as u64),
            epc: row.epc("epc")?,
            antenna: row.number("antenna", 1.0, 255.0)? as u8,
            rssi_cdbm: (row.number("rssi", -90.0, -20.0)? * 100.0) as i16,
            phase_ddeg: Some(ddeg(row.number("phase_angle", 0.0, 4_095.0)?)),
            // The hop table of the recordings: 50 channels of the United States, counted from 1.
            channel_khz: Some(902_250 + 500 * row.number("channel_index", 1.0, 50.0)? as u32),
        };
        reads.entry(read.epc).or_default().push(read);
    }
    Ok(reads)
}

/// Columns: epc, atendanum (antenna), phase of 4096, RSS in dBm, timestamp in µs. One channel.
fn hand_reads(recording: &Recording) -> Result<Reads, EvaluateError> {
    let table = Table::named(&recording.path)?;
    let mut reads = Reads::new();
    for row in table.rows() {
        let read = Read {
            at: Uptime((row.number("timestamp", 0.0, 4e15)? / 1e3) as u64),
            epc: row.epc("epc")?,
            antenna: row.number("atendanum", 1.0, 255.0)? as u8,
            rssi_cdbm: (row.number("RSS", -90.0, -20.0)? * 100.0) as i16,
            phase_ddeg: Some(ddeg(row.number("phase", 0.0, 4_095.0)?)),
            channel_khz: Some(0),
        };
        reads.entry(read.epc).or_default().push(read);
    }
    Ok(reads)
}

fn ddeg(of_4096: f64) -> u16 {
    (of_4096 * 3_600.0 / 4_096.0) as u16
}

/// The whole windows of a tag's reads, from the first read on; those without reads are left out.
fn windows(reads: &mut [Read]) -> Vec<Judged> {
    reads.sort_by_key(|read| read.at);
    let (Some(first), Some(last)) = (reads.first(), reads.last()) else { return Vec::new() };
    let whole = last.at.since(first.at) / WINDOW_MS;
    let mut comparers: BTreeMap<u8, Comparer> = BTreeMap::new();
    let mut seen: BTreeMap<u64, (Signs, BTreeMap<u8, Vec<f64>>)> = BTreeMap::new();
    for read in reads.iter() {
        let compared = comparers.entry(read.antenna).or_default().compare(read);
        let window = read.at.since(first.at) / WINDOW_MS;
        if window < whole {
            let (signs, levels) = seen.entry(window).or_default();
            *signs += compared.signs(Noise::default());
            levels.entry(read.antenna).or_default().push(f64::from(read.rssi_cdbm) / 100.0);
        }
    }
    let judged = seen.into_values().map(|(signs, levels)| Judged {
        moved: signs.motion().moved,
        deviates: mean_deviation(levels.values()) >= DEVIATION_DB,
        has_step: signs.steps > 0,
    });
    judged.collect()
}

/// The mean over antennas of the standard deviation of the level, in dB; antennas with one read say nothing.
fn mean_deviation<'a>(levels: impl Iterator<Item = &'a Vec<f64>>) -> f64 {
    let deviations: Vec<f64> =
        levels.filter(|levels| levels.len() > 1).map(|levels| deviation(levels)).collect();
    if deviations.is_empty() { 0.0 } else { mean(&deviations) }
}

fn deviation(values: &[f64]) -> f64 {
    let middle = mean(values);
    mean(&values.iter().map(|value| (value - middle).powi(2)).collect::<Vec<_>>()).sqrt()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

//! Worn and walking, read by read. Enters: trials of people who wear a tag with an accelerometer at the
//! breastbone (UCI data set 427). Leaves: how often the agent's rule
//! ([`walking`]) and a plain one, acceleration alone,
//! are right.
//!
//! Columns, without names: seconds, acceleration forward, up and sideways in g, antenna, RSSI in dBm, phase
//! in radians, MHz, label (1 sits on the bed, 2 on a chair, 3 lies, 4 walks).

use std::collections::BTreeMap;

use hangtag_agent_core::infer::acceleration::{Shake, Usual, WALKING_MG, walking};
use hangtag_agent_core::infer::motion::{Comparer, Noise, Signs};
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::read::Read;

use super::EvaluateError;
use super::files::Recording;
use super::score::{Rule, Split, Task};
use super::table::Table;

const COLUMNS: [&str; 9] =
    ["seconds", "forward", "up", "sideways", "antenna", "RSSI", "phase", "MHz", "label"];
/// The axis that points up on an upright wearer.
const UP: usize = 1;
/// A read is judged by those up to so many milliseconds before and after it.
const AROUND_MS: u64 = 1_000;

/// A read and what the rule needs of it.
struct Sample {
    at: Uptime,
    mg: [f32; 3],
    signs: Signs,
    rise_db: f32,
    walks: bool,
}

pub(super) fn evaluate(recordings: &[&Recording]) -> Result<Option<Task>, EvaluateError> {
    let mut own = Rule::new("upright, louder or shaken");
    let mut plain = Rule::new("acceleration strays 100 mg");
    for recording in recordings {
        let samples = samples(recording)?;
        let (name, mut from, mut to) = (recording.name(0), 0, 0);
        let split = if is_odd(name) { Split::Tuning } else { Split::Reporting };
        for sample in &samples {
            while sample.at.since(samples[from].at) > AROUND_MS {
                from += 1;
            }
            while to < samples.len() && samples[to].at.since(sample.at) <= AROUND_MS {
                to += 1;
            }
            let near = &samples[from..to];
            let mut shake = Shake::default();
            near.iter().for_each(|sample| shake.add(sample.mg));
            let signs = near.iter().map(|sample| sample.signs).sum();
            let rise_db = near.iter().map(|sample| sample.rise_db).fold(f32::MIN, f32::max);
            own.add(name, split, walking(&shake, UP, signs, rise_db).walks, sample.walks);
            plain.add(name, split, shake.stray_mg() >= WALKING_MG, sample.walks);
        }
    }
    let about = "A case is a read, judged by what was read within a second before and after it. Numbers were chosen \
                 on trials with odd numbers. A person may be in several trials: the files do not say.";
    let task = Task { name: "worn and walking".into(), about: about.into(), rules: vec![own, plain] };
    Ok((!recordings.is_empty()).then_some(task))
}

/// Whether the number in a trial's name, as 2 in `d1p02M`, is odd.
fn is_odd(name: &str) -> bool {
    name.trim_end_matches(['M', 'F']).ends_with(['1', '3', '5', '7', '9'])
}

fn samples(recording: &Recording) -> Result<Vec<Sample>, EvaluateError> {
    let table = Table::unnamed(&recording.path, &COLUMNS)?;
    let epc = Epc::new(&[0]).expect("one byte is an EPC");
    let mut comparers: BTreeMap<u8, Comparer> = BTreeMap::new();
    let (mut usual, mut samples) = (Usual::default(), Vec::<Sample>::new());
    for row in table.rows() {
        let g = |name| row.number(name, -16.0, 16.0);
        let phase_deg = row.number("phase", 0.0, 6.3)?.to_degrees().rem_euclid(360.0);
        let read = Read {
            at: Uptime((row.number("seconds", 0.0, 1e6)? * 1e3).round() as u64),
            epc,
            antenna: row.number("antenna", 1.0, 255.0)? as u8,
            rssi_cdbm: (row.number("RSSI", -90.0, -20.0)? * 100.0) as i16,
            phase_ddeg: Some((phase_deg * 10.0) as u16),
            channel_khz: Some((row.number("MHz", 860.0, 960.0)? * 1e3).round() as u32),
        };
        if samples.last().is_some_and(|last| last.at > read.at) {
            return Err(row.error(format!("{} ms is earlier than the line before", read.at.0)));
        }
        let compared = comparers.entry(read.antenna).or_default().compare(&read);
        samples.push(Sample {
            at: read.at,
            mg: [g("forward")?, g("up")?, g("sideways")?].map(|g| (g * 1e3) as f32),
            signs: compared.signs(Noise::default()),
            rise_db: usual.rise_db(f32::from(read.rssi_cdbm) / 100.0),
            walks: row.number("label", 1.0, 4.0)? == 4.0,
        });
    }
    Ok(samples)
}

//! A package, or a door, that is moved or not, in windows of half a second. Enters: accelerations at a
//! steady rate. Leaves: how often the agent's rule
//! ([`acceleration`](hangtag_agent_core::infer::acceleration)) and a plain one, the peak-to-peak of the
//! acceleration's magnitude, are right.
//!
//! What happened is told by the file's name: `stationary…`, `still…`; `motion`, `shake`, `open…`, `close…`.

use std::collections::BTreeSet;

use hangtag_agent_core::infer::acceleration::Shake;

use super::EvaluateError;
use super::files::Recording;
use super::score::{Rule, Split, Task};
use super::table::Table;

/// Samples in a window: half a second at 26 Hz, as the sensor's maker counts.
const WINDOW: usize = 13;
/// The plain rule: peak-to-peak of the magnitude in mg. The maker's own number is in no public file; this
/// is the same as the agent's, which is measured otherwise.
const PEAK_MG: f32 = 10.0;

pub(super) fn evaluate(recordings: &[&Recording]) -> Result<Vec<Task>, EvaluateError> {
    let mut package = task("package moved", "Numbers were chosen on stationary.csv and motion.csv.");
    let mut door = task("door moved", "No number was chosen on these files.");
    let mut known: BTreeSet<Vec<[i32; 3]>> = BTreeSet::new();
    for recording in recordings {
        let Some(moved) = is_moved(recording.name(0)) else { continue };
        let samples = samples(recording)?;
        // The same recording is there in several units.
        let whole_mg = samples.iter().map(|mg| mg.map(|along| along.round() as i32)).collect();
        if !known.insert(whole_mg) {
            continue;
        }
        let is_door = recording.names().iter().any(|name| name.starts_with("door"));
        let task = if is_door { &mut door } else { &mut package };
        let split = match recording.name(0) {
            "stationary.csv" | "motion.csv" => Split::Tuning,
            _ => Split::Reporting,
        };
        for window in samples.chunks_exact(WINDOW) {
            let mut shake = Shake::default();
            window.iter().for_each(|mg| shake.add(*mg));
            let (group, peak) = (recording.name(0), peak_to_peak(window));
            task.rules[0].add(group, split, shake.moved().moved, moved);
            task.rules[1].add(group, split, peak >= PEAK_MG, moved);
        }
    }
    Ok([package, door].into_iter().filter(|task| !task.rules[0].groups.is_empty()).collect())
}

fn task(name: &str, chosen: &str) -> Task {
    Task {
        name: name.into(),
        about: format!(
            "A case is a window of {WINDOW} samples. {chosen} Copies in another unit are left out."
        ),
        rules: vec![Rule::new("strays 10 mg"), Rule::new("peak to peak 10 mg")],
    }
}

/// Whether the thing was moved, told by the file's name; nothing where that is not known.
fn is_moved(name: &str) -> Option<bool> {
    let begins = |starts: &[&str]| starts.iter().any(|start| name.starts_with(start));
    if begins(&["motion", "shake", "open", "close"]) {
        Some(true)
    } else if begins(&["stationary", "still"]) {
        Some(false)
    } else {
        None
    }
}

/// Accelerations in mg. The first three columns are named with their unit: `acc_x[mg]` or `accX[g]`.
fn samples(recording: &Recording) -> Result<Vec<[f32; 3]>, EvaluateError> {
    let table = Table::named(&recording.path)?;
    let names = table.names();
    let unit_mg = if names[0].ends_with("[mg]") { 1.0 } else { 1_000.0 };
    let rows = table.rows().map(|row| {
        let mut mg = [0.0; 3];
        for (along, name) in mg.iter_mut().zip(names) {
            *along = (row.number(name, -32_000.0, 32_000.0)? * unit_mg) as f32;
        }
        Ok(mg)
    });
    rows.collect()
}

fn peak_to_peak(window: &[[f32; 3]]) -> f32 {
    let magnitudes = window.iter().map(|mg| mg.iter().map(|along| along * along).sum::<f32>().sqrt());
    let (least, most) =
        magnitudes.fold((f32::MAX, 0.0f32), |(least, most), of| (least.min(of), most.max(of)));
    most - least
}

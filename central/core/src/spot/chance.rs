//! How much counts of rails vary by chance. Enters: the pick-ups of rails by hour and day. Leaves: how many times as much
//! as Poisson's they vary beyond what the rails of a gateway share.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::handled::Map;
use crate::rail::Slot;

use super::{Case, FEWEST_DEGREES};

/// How many times as much as Poisson's counts vary.
pub(super) fn dispersion(cases: &[Case<'_>]) -> Option<f64> {
    let mut groups: BTreeMap<(u32, u32), Vec<&[Slot]>> = BTreeMap::new();
    for case in cases.iter().filter(|case| !case.rail.slots.is_empty()) {
        groups.entry((case.key.0, case.watch.group)).or_default().push(&case.rail.slots);
    }
    let by = |column: &dyn Fn(&Slot) -> (i32, u8)| {
        let tables = groups.values().map(|rails| chi_squared(rails, column));
        let (sum, degrees) = tables.fold((0.0, 0), |(sum, degrees), (s, d)| (sum + s, degrees + d));
        (degrees >= FEWEST_DEGREES).then(|| sum / degrees as f64)
    };
    let (hours, days) = (by(&|slot| (slot.day, slot.hour)), by(&|slot| (slot.day, 0)));
    // Neither below what is known to hold.
    hours.into_iter().chain(days).reduce(f64::max).map(|most| most.max(1.0))
}

/// Counts by day, or by day and hour.
type Counts = Map<(i32, u8), f64>;

/// Pearson's χ² of rails × columns against what rails and columns alone would give, and its degrees of freedom.
fn chi_squared(rails: &[&[Slot]], column: &dyn Fn(&Slot) -> (i32, u8)) -> (f64, u64) {
    let mut columns = Counts::default();
    let mut cells: Vec<(f64, Counts)> = Vec::new();
    for rail in rails {
        let mut row = Counts::default();
        for slot in *rail {
            let n = f64::from(slot.picked_up);
            *row.entry(column(slot)).or_insert(0.0) += n;
            *columns.entry(column(slot)).or_insert(0.0) += n;
        }
        cells.push((row.values().sum(), row));
    }
    let total: f64 = columns.values().sum();
    // Σ (n − μ)² / μ is Σ n² / μ − Σ n, and cells without anything add nothing to that.
    let squares: f64 = cells
        .iter()
        .flat_map(|(row, of)| of.iter().map(move |(at, n)| (row, at, n)))
        .map(|(row, at, n)| columns.get(at).map_or(0.0, |column| n * n * total / (row * column)))
        .sum();
    let degrees = (cells.len() as u64).saturating_sub(1) * (columns.len() as u64).saturating_sub(1);
    (if total > 0.0 { squares - total } else { 0.0 }, degrees)
}

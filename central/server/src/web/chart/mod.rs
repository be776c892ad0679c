//! Drawings for the page, made on the server. Enters: numbers, and texts in the reader's language. Leaves: SVG that
//! needs no script and stands in the page as it is, with a title, a description, and a tooltip on every shape.
//!
//! | module | draws |
//! |---|---|
//! | [`bars`] | up to three series by hour or by day |
//! | [`funnel`] | stages, each of those that came through the one before |
//! | [`heat`] | a matrix such as weekday by hour |
//! | [`ladder`] | sizes, tried against sold |
//! | [`quadrant`] | styles by try-ons and sales, with links |
//! | [`spread`] | counts by what was expected, within the limits of chance |
//! | [`share`] | a share with its interval, in a table's cell |
//!
//! Nothing is told apart by colour alone: series are also hatched and dotted, and what was not measured is crossed
//! out. Colours are classes of `templates/chart.css`, which has them for light and dark and for paper. A drawing
//! keeps its size whatever the numbers are, and comes out the same, byte for byte, for the same input.

pub(crate) mod bars;
pub(crate) mod funnel;
pub(crate) mod heat;
pub(crate) mod ladder;
mod legend;
mod place;
pub(crate) mod quadrant;
pub(crate) mod share;
pub(crate) mod spread;
pub(crate) mod svg;
mod width;

#[cfg(test)]
mod tests;

/// Writes a number for people, in their language.
pub(crate) type Number<'a> = &'a dyn Fn(u64) -> String;

/// The share of `top` that `value` is, 0 to 1; 0 of nothing.
fn share_of(value: u64, top: u64) -> f64 {
    if top == 0 { 0.0 } else { value.min(top) as f64 / top as f64 }
}

/// Round values from 0 to the first that is not below `most`, at most six.
fn ticks(most: u64) -> Vec<u64> {
    let step = step(most.max(1));
    let mut ticks = vec![0];
    while let Some(last) = ticks.last().copied().filter(|last| *last < most.max(1)) {
        ticks.push(last.saturating_add(step));
    }
    ticks
}

/// The smallest of 1, 2, 5, 10, 20, 50 … that needs at most five lines.
fn step(most: u64) -> u64 {
    let mut unit: u64 = 1;
    loop {
        let steps = [1, 2, 5].into_iter().map(|n| unit.saturating_mul(n));
        if let Some(step) = steps.into_iter().find(|step| most.div_ceil(*step) <= 5) {
            return step;
        }
        unit = unit.saturating_mul(10);
    }
}

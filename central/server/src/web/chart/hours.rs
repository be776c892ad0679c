//! The bar chart of the hours, drawn on the server. Enters: counts per hour. Leaves: the coordinates
//! that the template writes as SVG. Both series are told apart by colour and by hatching.

/// One hour.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slot {
    /// Left edge of the group.
    pub x: u32,
    /// What stands under it; empty where labels would run together.
    pub label: String,
    /// The bars of the group.
    pub bars: Vec<Bar>,
}

/// One bar, and what it says when it is pointed at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bar {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Height.
    pub height: u32,
    /// Class in the style sheet.
    pub class: &'static str,
    /// What it says.
    pub title: String,
}

/// A line with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    /// How far down.
    pub y: u32,
    /// The value.
    pub value: u64,
}

/// A chart in user units.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chart {
    /// Width of the whole.
    pub width: u32,
    /// Width of a bar.
    pub bar: u32,
    /// The groups.
    pub slots: Vec<Slot>,
    /// The lines behind them.
    pub ticks: Vec<Tick>,
}

/// Height of the plot and room above and left of it.
const HEIGHT: u32 = 180;
const TOP: u32 = 12;
const LEFT: u32 = 44;
/// Width that the groups share, and the least and the most that one of them takes.
const PLOT: u32 = 1_000;
const SLOT: (u32, u32) = (48, 96);

/// The names and classes of the two series.
const SERIES: [(&str, &str); 2] = [("picked up", "picked"), ("tried on", "tried")];

impl Chart {
    /// Draws hours: label, picked up, tried on.
    #[must_use]
    pub(crate) fn new(hours: &[(String, [u64; 2])]) -> Self {
        let count = u32::try_from(hours.len()).unwrap_or(1).max(1);
        let slot = (PLOT / count).clamp(SLOT.0, SLOT.1);
        let bar = slot * 3 / 8;
        let most = hours.iter().flat_map(|(_, counts)| *counts).max().unwrap_or(0).max(1);
        let step = step(most);
        let top = most.div_ceil(step) * step;
        let y = |value: u64| TOP + HEIGHT - scaled(value, top);
        let ticks = (0..=top / step).map(|n| Tick { y: y(n * step), value: n * step }).collect();
        let slots = hours
            .iter()
            .zip(0u32..)
            .map(|((label, counts), at)| {
                let x = LEFT + at * slot;
                let bars = counts
                    .iter()
                    .zip(SERIES)
                    .zip(0u32..)
                    .map(|((value, (name, class)), n)| Bar {
                        x: x + slot / 10 + n * (bar + 3),
                        y: y(*value),
                        height: scaled(*value, top),
                        class,
                        title: format!("{label}: {value} {name}"),
                    })
                    .collect();
                Slot { x: x + slot / 2, label: label.clone(), bars }
            })
            .collect();
        let width = LEFT + slot * count + 8;
        Self { width, bar, slots, ticks }
    }
}

fn scaled(value: u64, top: u64) -> u32 {
    u32::try_from(value * u64::from(HEIGHT) / top).expect("not above the plot")
}

/// The smallest of 1, 2, 5, 10, 20, 50 … that needs at most five lines.
fn step(most: u64) -> u64 {
    let mut unit = 1;
    loop {
        if let Some(step) = [1, 2, 5].into_iter().map(|n| n * unit).find(|step| most.div_ceil(*step) <= 5) {
            return step;
        }
        unit *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_stay_in_the_plot() {
        let chart = Chart::new(&[("10:00".into(), [0, 10]), ("11:00".into(), [20, 7])]);
        let heights: Vec<u32> = chart.slots.iter().flat_map(|s| &s.bars).map(|b| b.height).collect();
        assert_eq!(heights, [0, 90, 180, 63]);
        assert!(chart.slots.iter().flat_map(|s| &s.bars).all(|b| b.y + b.height == TOP + HEIGHT));
        assert_eq!(chart.ticks.iter().map(|t| t.value).collect::<Vec<_>>(), [0, 5, 10, 15, 20]);
    }

    #[test]
    fn steps_are_round() {
        assert_eq!([1, 5, 6, 11, 26, 1_234].map(step), [1, 1, 2, 5, 10, 500]);
        assert_eq!(Chart::new(&[]).ticks.len(), 2);
    }
}

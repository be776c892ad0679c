//! Grouped bars over labelled slots, such as hours or days. Enters: up to three series of counts. Leaves: SVG, as wide as
//! its slots need, with a legend, round ticks, and labels that do not run into each other.

use super::svg::{Anchor, Area, Canvas, Caption, Paint, Role, Svg};
use super::{Number, legend, share_of, ticks, width};

/// On which side the axis and the legend stand: where looking begins when the drawing is wider than its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Beside the first slot.
    Left,
    /// Beside the last one.
    Right,
}

/// What is drawn.
pub(crate) struct Bars<'a> {
    /// What it is called.
    pub caption: Caption<'a>,
    /// The names of one to three series, for the legend.
    pub series: &'a [&'a str],
    /// The slots from left to right; up to 120 can be told apart.
    pub slots: &'a [Slot],
    /// Where the axis stands.
    pub axis: Side,
    /// What is said of a slot in which nothing was measured.
    pub unmeasured: &'a str,
    /// Writes a count.
    pub number: Number<'a>,
}

/// An hour or a day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Stands under it where there is room.
    pub label: String,
    /// Its name where it is pointed at.
    pub name: String,
    /// A count for each series; empty when nothing was measured.
    pub values: Vec<u64>,
}

/// The widest and the narrowest drawing; the latter fits a telephone.
const WIDEST: f64 = 1_040.0;
const NARROWEST: f64 = 320.0;
/// What is wider than this may be shown smaller than it is drawn.
const LONG: f64 = 880.0;
/// Beside the plot: the axis, and nothing.
const AXIS: f64 = 52.0;
const EDGE: f64 = 8.0;
const PLOT: f64 = 180.0;
/// Above it, and under it.
const ABOVE: f64 = 12.0;
const LABELS: f64 = 28.0;
/// No slot is wider.
const SLOT: f64 = 80.0;
/// How much of a slot its bars fill.
const FILLED: f64 = 0.8;

impl Bars<'_> {
    /// Draws them.
    #[must_use]
    pub(crate) fn draw(&self) -> Svg {
        let legend = self.legend();
        let slot = ((WIDEST - AXIS - EDGE) / self.slots.len().max(1) as f64).min(SLOT);
        let width = (AXIS + slot * self.slots.len() as f64 + EDGE).clamp(NARROWEST, WIDEST);
        let (first, last) = match self.axis {
            Side::Left => (AXIS, width - EDGE),
            Side::Right => (width - AXIS - slot * self.slots.len() as f64, width - AXIS),
        };
        let room = match self.axis {
            Side::Left => last - first,
            // All of it must be seen where only the last slots are.
            Side::Right => NARROWEST,
        };
        let top = legend::height(&legend, room) + ABOVE;
        let kind = if width > LONG { "bars long" } else { "bars" };
        let mut canvas = Canvas::new(kind, self.caption, Role::Img, width, top + PLOT + LABELS);
        let begin = match self.axis {
            Side::Left => first,
            Side::Right => width - legend::width(&legend, room),
        };
        legend::draw(&mut canvas, &legend, (begin, 0.0), room);
        let most = self.slots.iter().flat_map(|slot| &slot.values).max().copied().unwrap_or(0);
        let ticks = ticks(most);
        let scale = Scale { base: top + PLOT, most: ticks.last().copied().unwrap_or(1) };
        for tick in &ticks {
            let y = scale.base - scale.height(*tick);
            canvas.line("grid", (first, y), (last, y));
            let text = width::cut(&(self.number)(*tick), AXIS - 8.0);
            match self.axis {
                Side::Left => canvas.text("axis", (first - 8.0, y + 4.0), Anchor::End, &text),
                Side::Right => canvas.text("axis", (last + 8.0, y + 4.0), Anchor::Start, &text),
            }
        }
        let shown = width::every(self.slots.iter().map(|slot| width::width(&slot.label)), slot);
        for (at, of) in self.slots.iter().enumerate() {
            let x = first + at as f64 * slot;
            self.slot(&mut canvas, of, x, slot, scale);
            // Where labels are thinned, the slot at the axis has one.
            let from_axis = match self.axis {
                Side::Left => at,
                Side::Right => self.slots.len() - 1 - at,
            };
            if from_axis % shown == 0 {
                canvas.text("axis", (x + slot / 2.0, scale.base + 18.0), Anchor::Middle, &of.label);
            }
        }
        canvas.finish()
    }

    fn slot(&self, canvas: &mut Canvas, slot: &Slot, x: f64, room: f64, scale: Scale) {
        let left = x + room * (1.0 - FILLED) / 2.0;
        if slot.values.is_empty() {
            let area = Area { x: left, y: scale.base - PLOT, width: room * FILLED, height: PLOT };
            canvas.rect(Paint::Unmeasured, area, &format!("{}: {}", slot.name, self.unmeasured));
            return;
        }
        let bar = room * FILLED / self.series.len().max(1) as f64;
        for (n, (value, name)) in slot.values.iter().zip(self.series).enumerate() {
            let height = scale.height(*value);
            // A tenth of a bar keeps neighbours apart.
            let area = Area { x: left + n as f64 * bar, y: scale.base - height, width: bar * 0.9, height };
            let tip = format!("{} · {name}: {}", slot.name, (self.number)(*value));
            canvas.rect(Paint::Series(n), area, &tip);
        }
    }

    fn legend(&self) -> Vec<legend::Entry> {
        let series = self.series.iter().enumerate().map(|(n, name)| (Paint::Series(n), (*name).to_owned()));
        let unmeasured = self.slots.iter().any(|slot| slot.values.is_empty());
        series.chain(unmeasured.then(|| (Paint::Unmeasured, self.unmeasured.to_owned()))).collect()
    }
}

/// Where the bars stand, and what is as high as the plot.
#[derive(Clone, Copy)]
struct Scale {
    base: f64,
    most: u64,
}

impl Scale {
    fn height(self, value: u64) -> f64 {
        share_of(value, self.most) * PLOT
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Shapes, caption, plain};
    use super::*;

    fn slot(label: &str, values: &[u64]) -> Slot {
        Slot { label: label.into(), name: label.into(), values: values.into() }
    }

    fn draw(slots: &[Slot]) -> Shapes {
        drawn(slots, Side::Left)
    }

    fn drawn(slots: &[Slot], axis: Side) -> Shapes {
        let series = ["picked up", "tried on"];
        let unmeasured = "not measured";
        Shapes::of(
            &Bars { caption: caption(), series: &series, slots, axis, unmeasured, number: &plain }.draw(),
        )
    }

    #[test]
    fn bars_are_in_proportion_and_stand_on_the_line() {
        let shapes = draw(&[slot("10:00", &[0, 10]), slot("11:00", &[20, 7])]);
        let bars = shapes.areas(|tip| tip.contains("·"));
        assert_eq!(bars.iter().map(|bar| bar.height).collect::<Vec<_>>(), [0.0, 90.0, 180.0, 63.0]);
        assert!(bars.iter().all(|bar| bar.y + bar.height == legend::LINE + ABOVE + PLOT), "{bars:?}");
        assert!(bars.windows(2).all(|pair| pair[0].x + pair[0].width < pair[1].x), "{bars:?}");
        assert_eq!(shapes.texts("axis"), ["0", "5", "10", "15", "20", "10:00", "11:00"]);
        assert_eq!(shapes.texts("name"), ["picked up", "tried on"]);
        assert!(shapes.tips().contains(&"11:00 · tried on: 7".to_owned()));
    }

    #[test]
    fn what_was_not_measured_is_no_zero() {
        let shapes = draw(&[slot("Mon", &[]), slot("Tue", &[0, 0])]);
        assert_eq!(shapes.areas(|tip| tip == "Mon: not measured")[0].height, PLOT);
        assert_eq!(shapes.areas(|tip| tip.starts_with("Tue"))[0].height, 0.0);
        assert_eq!(shapes.texts("name"), ["picked up", "tried on", "not measured"]);
    }

    #[test]
    fn seven_days_are_as_wide_as_they_need_and_the_last_is_beside_the_axis() {
        let slots: Vec<Slot> = (15..22).map(|n| slot(&format!("{n} Nov"), &[n, 3])).collect();
        let shapes = drawn(&slots, Side::Right);
        shapes.stay_inside();
        let width = AXIS + 7.0 * SLOT + EDGE;
        assert!(shapes.svg.contains(&format!(" width=\"{width}\"")), "{}", shapes.svg);
        let last = shapes.areas(|tip| tip.starts_with("21 Nov"));
        assert!(last.iter().all(|bar| bar.x + bar.width > width - AXIS - SLOT), "{last:?}");
        let ticks = format!("<text class=\"axis\" x=\"{}\"", width - AXIS + 8.0);
        assert_eq!(shapes.svg.matches(&ticks).count(), 6, "{}", shapes.svg);
        // Of one day the drawing is as wide as its legend may be.
        drawn(&slots[..1], Side::Right).stay_inside();
        let many: Vec<Slot> = (0..50).map(|n| slot(&format!("{n} Nov"), &[n])).collect();
        let labels = drawn(&many, Side::Right).texts("axis");
        assert!(
            labels.contains(&"49 Nov".to_owned()) && !labels.contains(&"48 Nov".to_owned()),
            "{labels:?}"
        );
        drawn(&[], Side::Right).stay_inside();
    }

    #[test]
    fn labels_of_120_days_are_thinned_and_everything_stays_inside() {
        let slots: Vec<Slot> = (0..120).map(|n| slot(&format!("{n} Nov"), &[n, u64::MAX / 2])).collect();
        let shapes = draw(&slots);
        let labels = shapes.texts("axis").iter().filter(|text| text.contains("Nov")).count();
        assert!((10..40).contains(&labels), "{labels}");
        shapes.stay_inside();
        draw(&[]).stay_inside();
        draw(&[slot("only", &[u64::MAX, 1])]).stay_inside();
    }
}

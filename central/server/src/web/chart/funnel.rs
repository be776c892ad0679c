//! A funnel: how much of each stage came through to the next. Enters: three to five stages. Leaves: SVG with a
//! bar per stage from the same left edge, so that lengths can be compared, and between them what became of it.

use super::svg::{Anchor, Area, Canvas, Caption, Paint, Role, Svg};
use super::{Number, share_of};

/// What is drawn.
pub(crate) struct Funnel<'a> {
    /// What it is called.
    pub caption: Caption<'a>,
    /// The stages from the first.
    pub stages: &'a [Stage],
    /// Writes a count.
    pub number: Number<'a>,
}

/// A stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stage {
    /// Its name.
    pub label: String,
    /// How many; `None` when nobody counted, which is drawn crossed out.
    pub value: Option<u64>,
    /// What part of the stage before it is, or why it is not known; empty for the first.
    pub note: String,
}

const WIDTH: f64 = 460.0;
/// A stage: its label, its bar, and the way to the next.
const LABEL: f64 = 20.0;
const BAR: f64 = 24.0;
const WAY: f64 = 30.0;
const STAGE: f64 = LABEL + BAR + WAY;
/// So long is a bar that is not nothing.
const LEAST: f64 = 1.0;

impl Funnel<'_> {
    /// Draws it.
    #[must_use]
    pub(crate) fn draw(&self) -> Svg {
        let height = (self.stages.len() as f64 * STAGE - WAY + 4.0).max(4.0);
        let mut canvas = Canvas::new("funnel", self.caption, Role::Img, WIDTH, height);
        let most = self.stages.iter().filter_map(|stage| stage.value).max().unwrap_or(0);
        let long = |stage: &Stage| match stage.value {
            Some(0) => 0.0,
            Some(value) => (share_of(value, most) * WIDTH).max(LEAST),
            None => WIDTH,
        };
        for (n, stage) in self.stages.iter().enumerate() {
            let y = n as f64 * STAGE;
            let value = stage.value.map_or("–".into(), self.number);
            if let Some(before) = n.checked_sub(1).map(|before| &self.stages[before]) {
                let (up, down) = (y - WAY, y + LABEL);
                if before.value.is_some() && stage.value.is_some() {
                    let corners = [(0.0, up), (long(before), up), (long(stage), down), (0.0, down)];
                    canvas.polygon(Paint::Class("way"), &corners, "");
                }
                canvas.text("note", (4.0, up + 19.0), Anchor::Start, &stage.note);
            }
            canvas.text("name", (4.0, y + 15.0), Anchor::Start, &stage.label);
            canvas.text("value", (WIDTH - 4.0, y + 15.0), Anchor::End, &value);
            let area = Area { x: 0.0, y: y + LABEL, width: long(stage), height: BAR };
            let paint = if stage.value.is_some() { Paint::Class("main") } else { Paint::Unmeasured };
            let tip = [format!("{}: {value}", stage.label), stage.note.clone()];
            canvas.rect(paint, area, tip.join(" · ").trim_end_matches(" · "));
        }
        canvas.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Shapes, caption, plain};
    use super::*;

    fn draw(values: &[Option<u64>]) -> Shapes {
        let stage = |(n, value): (usize, &Option<u64>)| Stage {
            label: format!("stage {n}"),
            value: *value,
            note: if n == 0 { String::new() } else { format!("note {n}") },
        };
        let stages: Vec<Stage> = values.iter().enumerate().map(stage).collect();
        Shapes::of(&Funnel { caption: caption(), stages: &stages, number: &plain }.draw())
    }

    #[test]
    fn bars_are_in_proportion_to_the_longest() {
        let shapes = draw(&[Some(200), Some(50), Some(0)]);
        let bars = shapes.areas(|tip| tip.starts_with("stage"));
        assert_eq!(bars.iter().map(|bar| bar.width).collect::<Vec<_>>(), [WIDTH, WIDTH / 4.0, 0.0]);
        assert_eq!(shapes.tips(), ["stage 0: 200", "stage 1: 50 · note 1", "stage 2: 0 · note 2"]);
        assert_eq!(shapes.texts("note"), ["note 1", "note 2"]);
        shapes.stay_inside();
    }

    #[test]
    fn a_stage_that_nobody_counted_is_crossed_out_and_has_no_way_to_it() {
        let shapes = draw(&[Some(10), None, Some(20)]);
        assert!(shapes.svg.contains("class=\"crossed\"") && !shapes.svg.contains("class=\"way\""));
        assert_eq!(shapes.texts("value"), ["10", "–", "20"]);
        assert_eq!(shapes.areas(|tip| tip.starts_with("stage 0"))[0].width, WIDTH / 2.0, "a stage may grow");
    }

    #[test]
    fn no_number_breaks_it() {
        for values in [&[][..], &[Some(0); 3], &[Some(u64::MAX), Some(1), Some(u64::MAX / 2)], &[None; 5]] {
            draw(values).stay_inside();
        }
        assert_eq!(draw(&[Some(u64::MAX), Some(1)]).areas(|tip| tip.starts_with("stage 1"))[0].width, LEAST);
    }
}

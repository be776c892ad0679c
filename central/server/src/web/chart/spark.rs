//! A line over days, small enough for a table's cell. Enters: a value per day, or none where nothing was measured.
//! Leaves: SVG in which the line is broken there: a gap is no zero.

use super::svg::{Area, Canvas, Caption, Paint, Role, Svg};

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spark<'a> {
    /// What it is called.
    pub caption: Caption<'a>,
    /// The days, in order.
    pub days: &'a [Day],
}

/// A day.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Day {
    /// What it says, day and value, when it is pointed at.
    pub tip: String,
    /// How much, not below 0; `None` when it was not measured.
    pub value: Option<f64>,
}

const WIDTH: f64 = 160.0;
const HEIGHT: f64 = 36.0;
/// Round the line, so that its ends are whole.
const EDGE: f64 = 4.0;
/// A dot for a day between gaps, and for the last.
const DOT: f64 = 2.5;

impl Spark<'_> {
    /// Draws it. What is no number counts as not measured.
    #[must_use]
    pub(crate) fn draw(&self) -> Svg {
        let mut canvas = Canvas::new("spark", self.caption, Role::Img, WIDTH, HEIGHT);
        let base = HEIGHT - EDGE;
        canvas.line("grid", (EDGE, base), (WIDTH - EDGE, base));
        let values: Vec<_> =
            self.days.iter().map(|day| day.value.filter(|value| value.is_finite())).collect();
        let most = values.iter().flatten().copied().fold(0.0, f64::max);
        let step = (WIDTH - 2.0 * EDGE) / values.len().saturating_sub(1).max(1) as f64;
        let points: Vec<Option<(f64, f64)>> = values
            .iter()
            .enumerate()
            .map(|(n, value)| {
                let part = value.map(|value| if most > 0.0 { (value / most).max(0.0) } else { 0.0 })?;
                Some((EDGE + n as f64 * step, base - part * (base - EDGE)))
            })
            .collect();
        for run in points.split(Option::is_none) {
            let run: Vec<(f64, f64)> = run.iter().flatten().copied().collect();
            match run[..] {
                [] => {}
                [one] => canvas.circle(Paint::Class("dot"), one, DOT, ""),
                _ => canvas.polyline("trace", &run),
            }
        }
        if let Some(last) = points.iter().rev().flatten().next() {
            canvas.circle(Paint::Class("dot"), *last, DOT, "");
        }
        // A strip per day, not seen, says what the day says.
        for (n, day) in self.days.iter().enumerate() {
            let x = (EDGE + (n as f64 - 0.5) * step).max(0.0);
            let width = (EDGE + (n as f64 + 0.5) * step).min(WIDTH) - x;
            canvas.rect(Paint::Class("unseen"), Area { x, y: 0.0, width, height: HEIGHT }, &day.tip);
        }
        canvas.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Shapes, caption};
    use super::*;

    fn draw(values: &[Option<f64>]) -> Shapes {
        let day = |(n, value): (usize, &Option<f64>)| Day { tip: format!("day {n}"), value: *value };
        let days: Vec<Day> = values.iter().enumerate().map(day).collect();
        Shapes::of(&Spark { caption: caption(), days: &days }.draw())
    }

    #[test]
    fn the_line_breaks_where_nothing_was_measured() {
        let shapes = draw(&[Some(0.0), Some(2.0), None, Some(1.0), None]);
        let high = HEIGHT - 2.0 * EDGE;
        let line = format!("points=\"{EDGE},{} {},{EDGE}\"", HEIGHT - EDGE, EDGE + 38.0);
        assert_eq!(shapes.svg.matches("<polyline").count(), 1);
        assert!(shapes.svg.contains(&line), "{line}: {}", shapes.svg);
        let alone = format!("cx=\"{}\" cy=\"{}\"", EDGE + 3.0 * 38.0, EDGE + high / 2.0);
        assert!(shapes.svg.contains(&alone), "{alone}: {}", shapes.svg);
        assert_eq!(shapes.tips().len(), 5, "gaps say something too");
        shapes.stay_inside();
    }

    #[test]
    fn no_number_breaks_it() {
        for values in [&[][..], &[None; 3], &[Some(0.0)], &[Some(f64::MAX), Some(1e-300)]] {
            draw(values).stay_inside();
        }
        let shapes = draw(&[Some(f64::NAN), Some(-5.0), Some(f64::INFINITY)]);
        assert!(!shapes.svg.contains("<polyline"), "{}", shapes.svg);
        shapes.stay_inside();
    }
}

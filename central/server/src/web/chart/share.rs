//! A share with its interval: a dot on a whisker, small enough for a table's cell. Enters: value and interval, 0 to 1.
//! Leaves: SVG that is as wide as all others with the same upper end, so that a column can be compared.

use super::svg::{Area, Canvas, Caption, Paint, Role, Svg};

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share<'a> {
    /// What it is called; the title says the numbers.
    pub caption: Caption<'a>,
    /// The share, 0 to 1.
    pub value: f64,
    /// Its interval, 0 to 1.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// What the right end stands for, above 0 and at most 1; the same in all rows of a column.
    pub top: f64,
    /// A share to compare with, such as that of the whole shop: a line across.
    pub mark: Option<f64>,
}

const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 20.0;
const MIDDLE: f64 = HEIGHT / 2.0;
/// The dot and the ends of the whisker need room beside the scale.
const EDGE: f64 = 6.0;
const DOT: f64 = 4.5;

impl Share<'_> {
    /// Draws it.
    #[must_use]
    pub(crate) fn draw(&self) -> Svg {
        let mut canvas = Canvas::new("share", self.caption, Role::Img, WIDTH, HEIGHT);
        canvas.line("grid", (EDGE, MIDDLE), (WIDTH - EDGE, MIDDLE));
        canvas.line("grid", (EDGE, 2.0), (EDGE, HEIGHT - 2.0));
        if let Some(mark) = self.mark {
            let x = self.x(mark);
            canvas.line("median", (x, 0.0), (x, HEIGHT));
        }
        let (low, high) = (self.x(self.low.min(self.value)), self.x(self.high.max(self.value)));
        let whisker = Area { x: low, y: MIDDLE - 1.0, width: high - low, height: 2.0 };
        canvas.rect(Paint::Class("whisker"), whisker, self.caption.title);
        for x in [low, high] {
            canvas.rect(
                Paint::Class("whisker"),
                Area { x: x - 0.5, y: MIDDLE - 4.0, width: 1.0, height: 8.0 },
                "",
            );
        }
        canvas.circle(Paint::Class("dot"), (self.x(self.value), MIDDLE), DOT, self.caption.title);
        canvas.finish()
    }

    /// How far right a share is. What is no number is at the left end, what is beyond the right end there.
    fn x(&self, share: f64) -> f64 {
        let top = if self.top > 0.0 && self.top.is_finite() { self.top } else { 1.0 };
        let part = if share.is_nan() { 0.0 } else { (share / top).clamp(0.0, 1.0) };
        EDGE + part * (WIDTH - 2.0 * EDGE)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Shapes, caption};
    use super::*;

    fn draw(value: f64, low: f64, high: f64, top: f64) -> Shapes {
        Shapes::of(&Share { caption: caption(), value, low, high, top, mark: Some(0.5) }.draw())
    }

    #[test]
    fn the_whisker_reaches_from_low_to_high() {
        let shapes = draw(0.25, 0.125, 0.5, 0.5);
        let [whisker] = shapes.areas(|_| true)[..] else { panic!("{}", shapes.svg) };
        let scale = WIDTH - 2.0 * EDGE;
        assert_eq!([whisker.x, whisker.width], [EDGE + scale / 4.0, scale * 0.75]);
        assert!(shapes.svg.contains(&format!("cx=\"{}\"", EDGE + scale / 2.0)), "{}", shapes.svg);
        shapes.stay_inside();
    }

    #[test]
    fn no_number_breaks_it() {
        for (value, top) in [(f64::NAN, 1.0), (7.0, 0.5), (-1.0, 0.0), (f64::INFINITY, f64::NAN)] {
            draw(value, value, f64::NAN, top).stay_inside();
        }
    }
}

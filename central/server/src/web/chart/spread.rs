//! Counts by what was expected: a funnel plot. Enters: points with what was expected of each, how many times that it
//! was, and the limits that chance keeps to. Leaves: SVG with two funnels round the line of once; points that stand out
//! point up or down and have their names beside them.

use super::place::{self, Spot};
use super::svg::{Anchor, Area, Canvas, Caption, Paint, Role, Svg};
use super::{Number, ticks, width};

/// What is drawn.
pub(crate) struct Spread<'a> {
    /// What it is called.
    pub caption: Caption<'a>,
    /// What the axes say: across, up.
    pub axes: [&'a str; 2],
    /// What the wide and the narrow funnel are called.
    pub funnels: [&'a str; 2],
    /// The points.
    pub points: &'a [Point],
    /// The wide and the narrow limits, lower and upper, as times of what was expected.
    pub limits: &'a dyn Fn(f64) -> [[f64; 2]; 2],
    /// Writes a count.
    pub number: Number<'a>,
}

/// How a point stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// Upwards,
    Up,
    /// downwards,
    Down,
    /// or not at all.
    Among,
}

/// A point.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    /// Its name.
    pub label: String,
    /// What was expected, above 0.
    pub expected: f64,
    /// How many times that it was.
    pub times: f64,
    /// Whether it stands out.
    pub stand: Stand,
    /// What is said of it where it is pointed at.
    pub tip: String,
}

const WIDTH: f64 = 680.0;
const HEIGHT: f64 = 380.0;
const LEGEND: f64 = 24.0;
const PLOT: Area =
    Area { x: 48.0, y: LEGEND + 22.0, width: WIDTH - 48.0 - 14.0, height: HEIGHT - LEGEND - 22.0 - 46.0 };
/// Room inside the plot round the points.
const PAD: f64 = 12.0;
const DOT: f64 = 5.0;
/// Of so many points the names are shown, cut to so much.
const NAMED: usize = 14;
const NAME: f64 = 150.0;
/// Along the funnels' edges.
const STEPS: u32 = 32;
/// The axis goes as far as this, in doublings; what is beyond stands at its end.
const MOST: f64 = 3.0;

impl Spread<'_> {
    /// Draws it.
    #[must_use]
    pub(crate) fn draw(&self) -> Svg {
        let mut canvas = Canvas::new("spread", self.caption, Role::Img, WIDTH, HEIGHT);
        let top = self.points.iter().map(|point| point.expected).fold(0.0, f64::max);
        // An axis of counts; what is expected is finite and far below what a float counts exactly.
        let ticks = ticks(top.ceil().clamp(1.0, 1e15) as u64);
        let scale = Scale::new(self.points, ticks.last().copied().unwrap_or(1));
        for (limits, class) in [(0, "way"), (1, "band")] {
            canvas.polygon(Paint::Class(class), &self.funnel(scale, limits), "");
        }
        self.frame(&mut canvas, scale, &ticks);
        let mut order: Vec<&Point> = self.points.iter().collect();
        let weight = |point: &Point| (point.stand != Stand::Among, scale.doublings(point.times).abs());
        order.sort_by(|a, b| weight(b).partial_cmp(&weight(a)).unwrap_or(std::cmp::Ordering::Equal));
        let places: Vec<_> = order.iter().map(|point| scale.place(point.expected, point.times)).collect();
        let named = order.iter().take(NAMED).filter(|point| point.stand != Stand::Among);
        let names: Vec<_> = named.map(|point| width::cut(&point.label, NAME)).collect();
        let widths: Vec<_> = names.iter().map(|name| width::width(name)).collect();
        let spots = place::spots(&places, &widths, DOT, PLOT, &[]);
        for (point, at) in order.iter().zip(&places) {
            mark(&mut canvas, point.stand, *at, &point.tip);
        }
        for (name, spot) in names.iter().zip(&spots) {
            if let Some(Spot { at, anchor }) = spot {
                canvas.text("point-name", *at, *anchor, name);
            }
        }
        canvas.finish()
    }

    /// The outline between two limits.
    fn funnel(&self, scale: Scale, which: usize) -> Vec<(f64, f64)> {
        let expected = |step: u32| {
            // Closer together at the left, where the funnel bends.
            let part = f64::from(step) / f64::from(STEPS);
            (part * part * scale.top as f64).max(0.05)
        };
        let edge = |side: usize| {
            let at = move |step: u32| {
                let expected = expected(step);
                scale.place(expected, (self.limits)(expected)[which][side])
            };
            (0..=STEPS).map(at)
        };
        edge(1).chain(edge(0).rev()).collect()
    }

    fn frame(&self, canvas: &mut Canvas, scale: Scale, ticks: &[u64]) {
        let (right, bottom) = (PLOT.x + PLOT.width, PLOT.y + PLOT.height);
        let mut x = PLOT.x;
        for (class, name) in ["band", "way"].into_iter().zip([self.funnels[1], self.funnels[0]]) {
            canvas.rect(Paint::Class(class), Area { x, y: 3.0, width: 14.0, height: 14.0 }, "");
            let name = width::cut(name, PLOT.width / 2.0 - 40.0);
            canvas.text("name", (x + 20.0, 14.0), Anchor::Start, &name);
            x += 38.0 + width::width(&name);
        }
        for tick in ticks {
            let (x, _) = scale.place(*tick as f64, 1.0);
            canvas.line("grid", (x, PLOT.y), (x, bottom));
            let text = width::cut(&(self.number)(*tick), PLOT.width / 6.0);
            let x = x.min(WIDTH - width::width(&text) / 2.0);
            canvas.text("axis", (x, bottom + 17.0), Anchor::Middle, &text);
        }
        for doubling in -3..=3 {
            let times = f64::from(doubling).exp2();
            if f64::from(doubling).abs() > scale.doublings {
                continue;
            }
            let (_, y) = scale.place(0.0, times);
            canvas.line(if doubling == 0 { "median" } else { "grid" }, (PLOT.x, y), (right, y));
            let text =
                if doubling < 0 { format!("1/{}", 1 << -doubling) } else { format!("{}", 1 << doubling) };
            canvas.text("axis", (PLOT.x - 8.0, y + 4.0), Anchor::End, &format!("× {text}"));
        }
        canvas.text("name", (right, HEIGHT - 8.0), Anchor::End, &width::cut(self.axes[0], PLOT.width));
        canvas.text("name", (4.0, LEGEND + 13.0), Anchor::Start, &width::cut(self.axes[1], PLOT.width));
    }
}

/// Up and down are told apart by shape.
fn mark(canvas: &mut Canvas, stand: Stand, (x, y): (f64, f64), tip: &str) {
    let side = DOT * 1.3;
    match stand {
        Stand::Up => canvas.polygon(
            Paint::Class("out"),
            &[(x - side, y + side * 0.8), (x + side, y + side * 0.8), (x, y - side)],
            tip,
        ),
        Stand::Down => canvas.polygon(
            Paint::Class("s3"),
            &[(x - side, y - side * 0.8), (x + side, y - side * 0.8), (x, y + side)],
            tip,
        ),
        Stand::Among => canvas.circle(Paint::Class("dot"), (x, y), DOT, tip),
    }
}

/// Where things stand.
#[derive(Clone, Copy)]
struct Scale {
    /// The right end.
    top: u64,
    /// From the middle to the upper and the lower end.
    doublings: f64,
}

impl Scale {
    fn new(points: &[Point], top: u64) -> Self {
        let far = points.iter().filter(|point| point.times > 0.0).map(|point| point.times.log2().abs());
        let doublings = far.fold(1.0, f64::max).ceil().clamp(1.0, MOST);
        Self { top, doublings }
    }

    /// How far from once, in doublings, not beyond the ends.
    fn doublings(self, times: f64) -> f64 {
        if times > 0.0 { times.log2().clamp(-self.doublings, self.doublings) } else { -self.doublings }
    }

    fn place(self, expected: f64, times: f64) -> (f64, f64) {
        let part = if self.top == 0 { 0.0 } else { (expected / self.top as f64).clamp(0.0, 1.0) };
        let up = (self.doublings(times) / self.doublings + 1.0) / 2.0;
        (
            PLOT.x + PAD + part * (PLOT.width - 2.0 * PAD),
            PLOT.y + PAD + (1.0 - up) * (PLOT.height - 2.0 * PAD),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Shapes, caption, plain};
    use super::*;

    fn point(label: &str, expected: f64, times: f64, stand: Stand) -> Point {
        Point { label: label.into(), expected, times, stand, tip: format!("{label}: {times}") }
    }

    fn draw(points: &[Point]) -> Shapes {
        let spread = Spread {
            caption: caption(),
            axes: ["expected", "times"],
            funnels: ["99.8 %", "95 %"],
            points,
            limits: &|expected| {
                let far = 2.0 / expected.sqrt();
                [[1.0 - far * 1.5, 1.0 + far * 1.5], [1.0 - far, 1.0 + far]]
            },
            number: &plain,
        };
        Shapes::of(&spread.draw())
    }

    #[test]
    fn what_stands_out_points_away_and_is_named() {
        let shapes = draw(&[
            point("rail-1", 100.0, 2.0, Stand::Up),
            point("rail-2", 80.0, 0.5, Stand::Down),
            point("rail-3", 90.0, 1.1, Stand::Among),
        ]);
        assert_eq!(shapes.texts("point-name"), ["rail-1", "rail-2"]);
        assert!(
            ["rail-1: 2", "rail-2: 0.5", "rail-3: 1.1"]
                .iter()
                .all(|tip| shapes.tips().contains(&(*tip).into()))
        );
        assert_eq!(shapes.svg.matches("<polygon class=\"out\"").count(), 1);
        assert_eq!(shapes.svg.matches("<polygon class=\"s3\"").count(), 1);
        assert_eq!(shapes.texts("axis").iter().filter(|text| text.starts_with('×')).count(), 3);
        shapes.stay_inside();
    }

    #[test]
    fn as_many_times_more_is_as_far_as_so_many_times_less() {
        let scale = Scale::new(&[point("a", 10.0, 4.0, Stand::Among)], 10);
        let [up, once, down] = [4.0, 1.0, 0.25].map(|times| scale.place(5.0, times).1);
        assert!((once - up - (down - once)).abs() < 1e-9 && up < once, "{up} {once} {down}");
    }

    #[test]
    fn no_number_breaks_it() {
        draw(&[]).stay_inside();
        let all = [0.0, f64::NAN, f64::INFINITY, -1.0, 1e-30, 1e30];
        let odd =
            |e: f64, t: f64| Point { tip: String::new(), ..point("a rail of a long name", e, t, Stand::Up) };
        let points: Vec<Point> = all.iter().flat_map(|e| all.iter().map(|t| odd(*e, *t))).collect();
        draw(&points).stay_inside();
    }
}

//! Styles by how often they were tried on and how often sold. Enters: up to some sixty points. Leaves: SVG with
//! dashed lines at the medians, a name for each corner, and every point a link. The points that stand out have their
//! names beside them as far as there is room; all have them where they are pointed at.

use super::place::{self, Spot};
use super::svg::{Anchor, Area, Canvas, Caption, Paint, Role, Svg};
use super::{Number, share_of, ticks, width};

/// What is drawn.
pub(crate) struct Quadrant<'a> {
    /// What it is called.
    pub caption: Caption<'a>,
    /// What the axes count: across, up.
    pub axes: [&'a str; 2],
    /// What it means to be in a corner: below at the left and at the right, above at the left and at the right.
    pub corners: [&'a str; 4],
    /// The points.
    pub points: &'a [Point],
    /// Writes a count.
    pub number: Number<'a>,
}

/// A style.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Point {
    /// Its name.
    pub label: String,
    /// How often it was tried on.
    pub x: u64,
    /// How often it was sold.
    pub y: u64,
    /// Where it leads to; empty for nowhere.
    pub href: String,
    /// What else is said of it.
    pub note: String,
}

const WIDTH: f64 = 680.0;
const HEIGHT: f64 = 460.0;
const PLOT: Area = Area { x: 56.0, y: 22.0, width: WIDTH - 56.0 - 14.0, height: HEIGHT - 22.0 - 46.0 };
/// Room inside the plot round the points: the names of the corners stand above and below them.
const PAD: (f64, f64) = (14.0, 24.0);
/// A point, and the largest place that can be hit for it: 24 units across.
const DOT: f64 = 5.0;
const HIT: f64 = 12.0;
/// Of so many points the names are shown, cut to so much.
const NAMED: usize = 14;
const NAME: f64 = 140.0;

impl Quadrant<'_> {
    /// Draws it.
    #[must_use]
    pub(crate) fn draw(&self) -> Svg {
        let mut canvas = Canvas::new("quadrant", self.caption, Role::Group, WIDTH, HEIGHT);
        let scales = [|point: &Point| point.x, |point: &Point| point.y].map(|of| Scale::new(self.points, of));
        self.frame(&mut canvas, &scales);
        let mut weighed: Vec<&Point> = self.points.iter().collect();
        weighed.sort_by(|a, b| weight(&scales, b).total_cmp(&weight(&scales, a)));
        let places: Vec<_> = weighed.iter().map(|point| place(&scales, point)).collect();
        let names: Vec<_> = weighed.iter().take(NAMED).map(|point| width::cut(&point.label, NAME)).collect();
        let widths: Vec<_> = names.iter().map(|name| width::width(name)).collect();
        let spots = place::spots(&places, &widths, DOT, PLOT, &corners(self.corners));
        for (n, point) in weighed.iter().enumerate() {
            self.point(&mut canvas, point, &places, n);
            if let (Some(Some(Spot { at, anchor })), Some(name)) = (spots.get(n), names.get(n)) {
                canvas.text("point-name", *at, *anchor, name);
            }
            canvas.close(&point.href);
        }
        canvas.finish()
    }

    fn point(&self, canvas: &mut Canvas, point: &Point, places: &[(f64, f64)], own: usize) {
        let counts = [(self.axes[0], point.x), (self.axes[1], point.y)];
        let mut tip = point.label.clone();
        for (axis, value) in counts {
            tip.push_str(&format!(" · {axis}: {}", (self.number)(value)));
        }
        if !point.note.is_empty() {
            tip.push_str(&format!(" · {}", point.note));
        }
        canvas.open(&point.href, &tip);
        canvas.circle(Paint::Class("unseen"), places[own], reach(places, own), "");
        canvas.circle(Paint::Class("dot"), places[own], DOT, "");
    }

    fn frame(&self, canvas: &mut Canvas, scales: &[Scale; 2]) {
        let (right, bottom) = (PLOT.x + PLOT.width, PLOT.y + PLOT.height);
        for tick in &scales[0].ticks {
            let x = across(scales[0].part(*tick));
            canvas.line("grid", (x, PLOT.y), (x, bottom));
            let text = width::cut(&(self.number)(*tick), PLOT.width / 6.0);
            // The outermost must not leave the drawing.
            let x = x.min(WIDTH - width::width(&text) / 2.0);
            canvas.text("axis", (x, bottom + 17.0), Anchor::Middle, &text);
        }
        for tick in &scales[1].ticks {
            let y = up(scales[1].part(*tick));
            canvas.line("grid", (PLOT.x, y), (right, y));
            let text = width::cut(&(self.number)(*tick), PLOT.x - 10.0);
            canvas.text("axis", (PLOT.x - 8.0, y + 4.0), Anchor::End, &text);
        }
        canvas.text("name", (right, HEIGHT - 8.0), Anchor::End, &width::cut(self.axes[0], PLOT.width));
        canvas.text("name", (4.0, 13.0), Anchor::Start, &width::cut(self.axes[1], PLOT.width));
        if !self.points.is_empty() {
            let x = across(scales[0].median);
            let y = up(scales[1].median);
            canvas.line("median", (x, PLOT.y), (x, bottom));
            canvas.line("median", (PLOT.x, y), (right, y));
        }
        for (area, (text, anchor)) in corners(self.corners).iter().zip(self.corners.iter().zip(CORNERS)) {
            let x = if anchor == Anchor::Start { area.x } else { area.x + area.width };
            canvas.text("corner", (x, area.y + 11.0), anchor, &width::cut(text, PLOT.width / 2.0 - 12.0));
        }
    }
}

/// The sides on which the corners' names stand.
const CORNERS: [Anchor; 4] = [Anchor::Start, Anchor::End, Anchor::Start, Anchor::End];

/// What the corners' names cover: below left, below right, above left, above right.
fn corners(texts: [&str; 4]) -> [Area; 4] {
    let room = PLOT.width / 2.0 - 12.0;
    let widths = texts.map(|text| width::width(text).min(room));
    let area = |at: usize, low: bool| {
        let width = widths[at];
        let x = if CORNERS[at] == Anchor::Start { PLOT.x + 6.0 } else { PLOT.x + PLOT.width - 6.0 - width };
        let y = if low { PLOT.y + PLOT.height - 20.0 } else { PLOT.y + 5.0 };
        Area { x, y, width, height: 14.0 }
    };
    [area(0, true), area(1, true), area(2, false), area(3, false)]
}

/// One axis.
struct Scale {
    ticks: Vec<u64>,
    /// Where the median is, 0 to 1.
    median: f64,
}

impl Scale {
    fn new(points: &[Point], of: impl Fn(&Point) -> u64) -> Self {
        let mut values: Vec<u64> = points.iter().map(of).collect();
        values.sort_unstable();
        let ticks = ticks(values.last().copied().unwrap_or(0));
        let mut scale = Self { ticks, median: 0.0 };
        let middle = values.len() / 2;
        let middles = match values.len() {
            0 => None,
            n if n % 2 == 1 => Some([values[middle]; 2]),
            _ => Some([values[middle - 1], values[middle]]),
        };
        scale.median = middles.map_or(0.0, |[a, b]| (scale.part(a) + scale.part(b)) / 2.0);
        scale
    }

    fn most(&self) -> u64 {
        self.ticks.last().copied().unwrap_or(1)
    }

    fn part(&self, value: u64) -> f64 {
        share_of(value, self.most())
    }
}

fn place(scales: &[Scale; 2], point: &Point) -> (f64, f64) {
    (across(scales[0].part(point.x)), up(scales[1].part(point.y)))
}

/// Where on the drawing a part of the axis is, 0 to 1.
fn across(part: f64) -> f64 {
    PLOT.x + PAD.0 + part * (PLOT.width - 2.0 * PAD.0)
}

fn up(part: f64) -> f64 {
    PLOT.y + PAD.1 + (1.0 - part) * (PLOT.height - 2.0 * PAD.1)
}

/// How far a point is from both medians.
fn weight(scales: &[Scale; 2], point: &Point) -> f64 {
    let off = [scales[0].part(point.x) - scales[0].median, scales[1].part(point.y) - scales[1].median];
    off[0].hypot(off[1])
}

/// How far round a point it can be hit: halfway to the nearest other at most, but never less than what is seen.
fn reach(places: &[(f64, f64)], own: usize) -> f64 {
    let near = |(n, at): (usize, &(f64, f64))| {
        (n != own).then(|| (at.0 - places[own].0).hypot(at.1 - places[own].1) / 2.0)
    };
    let nearest = places.iter().enumerate().filter_map(near).fold(HIT, f64::min);
    nearest.max(DOT)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Shapes, caption, plain};
    use super::*;

    fn point(label: &str, x: u64, y: u64) -> Point {
        Point {
            label: label.into(),
            x,
            y,
            href: format!("/style/{label}?a=1&b=2"),
            note: "in 3 sizes".into(),
        }
    }

    fn draw(points: &[Point]) -> Shapes {
        let corners = ["quiet", "fit or price?", "placement?", "stars"];
        let axes = ["try-ons", "sales"];
        Shapes::of(&Quadrant { caption: caption(), axes, corners, points, number: &plain }.draw())
    }

    #[test]
    fn points_stand_where_their_counts_are_and_lead_somewhere() {
        let shapes = draw(&[point("dress", 40, 0), point("shirt", 10, 20), point("coat", 0, 10)]);
        let corner = format!("class=\"dot\" cx=\"{:.0}\" cy=\"{:.0}\"", across(1.0), up(0.0));
        assert!(shapes.svg.contains(&corner), "{}", shapes.svg);
        assert!(shapes.svg.contains("<a href=\"/style/dress?a=1&#38;b=2\""), "{}", shapes.svg);
        assert!(shapes.tips().contains(&"shirt · try-ons: 10 · sales: 20 · in 3 sizes".to_owned()));
        let median = format!("class=\"median\" x1=\"{:.1}\"", across(0.25));
        assert!(shapes.svg.contains(&median), "{}", shapes.svg);
        assert_eq!(shapes.texts("corner"), ["quiet", "fit or price?", "placement?", "stars"]);
        let corner =
            |text: &str| shapes.svg.split("<text").find(|part| part.ends_with(&format!(">{text}</text>")));
        let below = format!("y=\"{}\"", PLOT.y + PLOT.height - 9.0);
        for (text, end, low) in [("fit or price?", true, true), ("placement?", false, false)] {
            let drawn = corner(text).unwrap_or_else(|| panic!("no {text}: {}", shapes.svg));
            assert_eq!((drawn.contains("\"end\""), drawn.contains(&below)), (end, low), "{drawn}");
        }
        assert_eq!(shapes.texts("point-name").len(), 3);
        assert!(shapes.svg.contains("role=\"group\""), "a picture would hide its links");
        shapes.stay_inside();
    }

    #[test]
    fn what_can_be_hit_is_24_wide_unless_a_neighbour_is_nearer() {
        assert_eq!(reach(&[(0.0, 0.0), (100.0, 0.0)], 0), HIT);
        assert_eq!(reach(&[(0.0, 0.0), (0.0, 16.0)], 0), 8.0);
        assert_eq!(reach(&[(0.0, 0.0), (0.0, 0.0)], 0), DOT, "never smaller than what is seen");
        assert_eq!(reach(&[(0.0, 0.0)], 0), HIT);
    }

    #[test]
    fn a_point_without_a_place_to_lead_to_is_no_link() {
        let alone = Point { label: "dress".into(), x: 1, y: 1, ..Point::default() };
        assert!(!draw(&[alone]).svg.contains("<a "));
    }

    #[test]
    fn no_number_breaks_it_and_names_stay_inside() {
        draw(&[]).stay_inside();
        draw(&[point("dress", 0, 0)]).stay_inside();
        let long = "a dress with a name that nobody could ever read in full";
        let points: Vec<Point> = (0..60).map(|n| point(long, n * n, u64::MAX / 2 * (n % 3))).collect();
        let shapes = draw(&points);
        assert!((1..=NAMED).contains(&shapes.texts("point-name").len()));
        assert!(shapes.texts("point-name").iter().all(|name| name.ends_with('…')));
        shapes.stay_inside();
    }
}

//! Looks into finished drawings, for the tests of each kind, and checks the colours of `templates/chart.css`.

use proptest::collection::vec;
use proptest::prelude::*;

use super::svg::{Area, Caption, Svg};
use super::*;

/// A caption.
pub(super) fn caption() -> Caption<'static> {
    Caption { id: "it", title: "A drawing", desc: "What it shows." }
}

/// A number without grouping.
pub(super) fn plain(n: u64) -> String {
    n.to_string()
}

/// What is in a drawing.
pub(super) struct Shapes {
    /// All of it.
    pub svg: String,
}

impl Shapes {
    /// Takes a drawing apart. It must be well formed, be named, and have no id twice.
    pub(super) fn of(svg: &Svg) -> Self {
        let shapes = Self { svg: svg.to_string() };
        let document = shapes.document();
        let root = document.root_element();
        let ids: Vec<_> = document.descendants().filter_map(|node| node.attribute("id")).collect();
        assert!(ids.iter().all(|id| ids.iter().filter(|other| *other == id).count() == 1), "{ids:?}");
        for name in ["aria-labelledby", "aria-describedby"] {
            assert!(root.attribute(name).is_none_or(|id| ids.contains(&id)), "{name}");
        }
        assert!(root.attribute("role").is_some() && root.attribute("aria-labelledby").is_some());
        for used in shapes.svg.split("url(#").skip(1) {
            let id = used.split(')').next().unwrap();
            assert!(ids.contains(&id), "{id} is not drawn");
        }
        assert!(!shapes.svg.contains("style=") && !shapes.svg.contains("NaN") && !shapes.svg.contains("inf"));
        shapes
    }

    fn document(&self) -> roxmltree::Document<'_> {
        roxmltree::Document::parse(&self.svg).unwrap_or_else(|why| panic!("{why}: {}", self.svg))
    }

    /// The texts of a class.
    pub(super) fn texts(&self, class: &str) -> Vec<String> {
        let document = self.document();
        let of = document.descendants().filter(|node| node.has_tag_name("text"));
        of.filter(|node| node.attribute("class") == Some(class))
            .map(|node| node.text().unwrap_or("").into())
            .collect()
    }

    /// What is said of the shapes.
    pub(super) fn tips(&self) -> Vec<String> {
        let document = self.document();
        let titles =
            document.descendants().filter(|node| node.has_tag_name("title") && !node.has_attribute("id"));
        titles.map(|node| node.text().unwrap_or("").into()).collect()
    }

    /// The rectangles of which something is said.
    pub(super) fn areas(&self, tip: impl Fn(&str) -> bool) -> Vec<Area> {
        let document = self.document();
        let rects = document.descendants().filter(|node| node.has_tag_name("rect"));
        let said = |node: &roxmltree::Node<'_, '_>| {
            node.children()
                .find(|child| child.has_tag_name("title"))
                .is_some_and(|t| tip(t.text().unwrap_or("")))
        };
        rects.filter(said).map(|node| area(&node)).collect()
    }

    /// No shape may leave the drawing, and the drawing is of a sane size.
    pub(super) fn stay_inside(&self) {
        let document = self.document();
        let size = |name| document.root_element().attribute(name).unwrap().parse::<f64>().unwrap();
        let (width, height) = (size("width"), size("height"));
        assert!(width <= 1_200.0 && height <= 800.0, "{width} by {height}");
        let drawn = |node: &roxmltree::Node<'_, '_>| !node.ancestors().any(|over| over.has_tag_name("defs"));
        for node in document.descendants().filter(drawn) {
            let at =
                |names: [&str; 2]| names.map(|name| node.attribute(name).map(|n| n.parse::<f64>().unwrap()));
            let mut points = vec![at(["x", "y"]), at(["x1", "y1"]), at(["x2", "y2"]), at(["cx", "cy"])];
            if node.has_tag_name("rect") {
                let area = area(&node);
                points.push([Some(area.x + area.width), Some(area.y + area.height)]);
            }
            let points = points.iter().filter_map(|[x, y]| Some((x.as_ref()?, y.as_ref()?)));
            for (x, y) in points {
                // An edge and a width are each written to a tenth of a unit.
                assert!(
                    (0.0..=width + 0.15).contains(x) && (0.0..=height + 0.15).contains(y),
                    "{x},{y}: {node:?}"
                );
            }
        }
    }
}

fn area(node: &roxmltree::Node<'_, '_>) -> Area {
    let [x, y, width, height] =
        ["x", "y", "width", "height"].map(|name| node.attribute(name).map_or(0.0, |n| n.parse().unwrap()));
    Area { x, y, width, height }
}

#[test]
fn ticks_are_round_and_few() {
    assert_eq!([1, 5, 6, 11, 26, 1_234].map(step), [1, 1, 2, 5, 10, 500]);
    assert_eq!(ticks(0), [0, 1]);
    assert_eq!(ticks(11), [0, 5, 10, 15]);
    for most in [1, 7, 99, 1_000_001, u64::MAX / 2, u64::MAX] {
        let ticks = ticks(most);
        assert!(ticks.len() <= 6 && ticks.last().is_some_and(|last| *last >= most), "{ticks:?}");
        assert!(ticks.is_sorted_by(|a, b| a < b), "{ticks:?}");
    }
}

/// The colours of a scheme, by name. What the dark scheme does not say is as in the light one.
fn colours(css: &str, dark: bool) -> std::collections::BTreeMap<String, [f64; 3]> {
    let (light, rest) = css.split_once("@media screen and (prefers-color-scheme: dark)").unwrap();
    let parts = if dark { vec![light, rest] } else { vec![light] };
    let lines =
        parts.into_iter().flat_map(str::lines).filter_map(|line| line.trim().strip_prefix("--chart-"));
    let colour = |line: &str| {
        let (name, value) = line.split_once(": #")?;
        let channel = |at: usize| u8::from_str_radix(value.get(at..at + 2)?, 16).ok().map(f64::from);
        Some((name.to_owned(), [channel(0)?, channel(2)?, channel(4)?]))
    };
    lines.filter_map(colour).collect()
}

/// The contrast of WCAG 2.2, 1 to 21.
fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
    let luminance = |colour: [f64; 3]| {
        let [r, g, b] = colour.map(|channel| {
            let c = channel / 255.0;
            if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    };
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn colours_can_be_seen_in_light_and_dark() {
    let css = include_str!("../../../templates/chart.css");
    for dark in [false, true] {
        let colours = colours(css, dark);
        let of = |name: &str| *colours.get(name).unwrap_or_else(|| panic!("no {name}, dark: {dark}"));
        let check = |name: &str, on: &str, least: f64| {
            let seen = contrast(of(name), of(on));
            assert!(seen >= least, "{name} on {on}, dark: {dark}: {seen:.2}");
        };
        for shape in ["main", "s1", "s2", "s3", "blank-mark", "median", "edge", "out"] {
            check(shape, "paper", 3.0);
        }
        for text in ["ink", "muted"] {
            check(text, "paper", 4.5);
            check(text, "way", 4.5);
        }
        check("out", "paper", 4.5);
        for n in 0..=6 {
            check(&format!("on{n}"), &format!("step{n}"), 4.5);
        }
        let steps: Vec<f64> = (0..=6).map(|n| contrast(of(&format!("step{n}")), of("paper"))).collect();
        assert!(steps.is_sorted_by(|a, b| *a * 1.1 < *b), "every step is stronger than the last: {steps:?}");
    }
}

/// A count as it may come, and as it never should.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..2u64, 0..500u64, any::<u64>(), Just(u64::MAX)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_and_any_number_makes_a_sound_drawing(
        texts in vec(any::<String>(), 4),
        cells in vec(proptest::option::of(number()), 0..40),
        share in vec(any::<f64>(), 4),
    ) {
        let text = |n: usize| texts[n % texts.len()].clone();
        let caption = Caption { id: &texts[0], title: &texts[1], desc: &texts[2] };
        let write = |n: u64| format!("{n}{}", text(3));
        let number: Number<'_> = &write;
        let count = |n: usize| cells.get(n).copied().flatten().unwrap_or(0);
        let numbered = || cells.iter().copied().enumerate();

        let slot = |(n, cell): (usize, Option<u64>)| bars::Slot {
            label: text(n),
            name: text(n + 1),
            values: cell.map_or(Vec::new(), |first| vec![first, count(n + 1)]),
        };
        let slots: Vec<_> = numbered().map(slot).collect();
        let series = [texts[0].as_str(), &texts[3]];
        for axis in [bars::Side::Left, bars::Side::Right] {
            let (series, slots, unmeasured) = (&series, &slots, &texts[2]);
            Shapes::of(&bars::Bars { caption, series, slots, axis, unmeasured, number }.draw()).stay_inside();
        }

        let stage = |(n, value)| funnel::Stage { label: text(n), value, note: text(n + 2) };
        let stages: Vec<_> = numbered().take(5).map(stage).collect();
        Shapes::of(&funnel::Funnel { caption, stages: &stages, number }.draw()).stay_inside();

        let row = |n| heat::Row { label: text(n), values: cells.iter().skip(n).copied().collect() };
        let rows: Vec<_> = (0..7).map(row).collect();
        let columns: Vec<_> = (0..24).map(text).collect();
        Shapes::of(&heat::Heat { caption, columns: &columns, rows: &rows, unmeasured: &texts[1], number }.draw())
            .stay_inside();

        let size = |(n, stock)| ladder::Size { label: text(n), tried: count(n), sold: cells.get(n).copied().flatten(), stock };
        let sizes: Vec<_> = numbered().take(12).map(size).collect();
        let heads = [texts[0].as_str(), &texts[1], &texts[2]];
        Shapes::of(&ladder::Ladder { caption, heads, sizes: &sizes, number }.draw()).stay_inside();

        let point = |(n, y): (usize, Option<u64>)| quadrant::Point {
            label: text(n),
            x: count(n + 1),
            y: y.unwrap_or(0),
            href: text(n + 1),
            note: text(n + 2),
        };
        let points: Vec<_> = numbered().map(point).collect();
        let corners = [texts[0].as_str(), &texts[1], &texts[2], &texts[3]];
        let axes = [texts[3].as_str(), &texts[0]];
        Shapes::of(&quadrant::Quadrant { caption, axes, corners, points: &points, number }.draw()).stay_inside();

        let [value, low, high, top] = share[..] else { unreachable!("four were asked for") };
        Shapes::of(&share::Share { caption, value, low, high, top, mark: Some(low) }.draw()).stay_inside();

    }
}

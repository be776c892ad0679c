//! Looks into finished drawings, for the tests of each kind, and checks the colours of `templates/chart.css`.

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
                // Coordinates are written to a tenth of a unit.
                assert!(
                    (0.0..=width + 0.1).contains(x) && (0.0..=height + 0.1).contains(y),
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

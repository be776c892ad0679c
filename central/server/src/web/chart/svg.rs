//! Writes SVG. Enters: shapes with classes, coordinates and texts. Leaves: markup that stands in HTML as it is.
//! Every text goes through askama's escaping; no shape names a colour.

use std::fmt::{self, Display, Write as _};

use askama::filters::{Escaper as _, Html, HtmlSafe};

/// A drawing. A template writes it as it is, `{{ drawing }}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Svg(String);

impl Display for Svg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// All of it was escaped when it was written.
impl HtmlSafe for Svg {}

/// What a drawing is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caption<'a> {
    /// Begins every id in the drawing: letters, digits and hyphens, on one page once.
    pub id: &'a str,
    /// What is drawn.
    pub title: &'a str,
    /// What it shows, in a sentence; may be empty.
    pub desc: &'a str,
}

/// Whether a drawing is one picture, or has links in it, which a picture would hide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A picture.
    Img,
    /// A picture with links.
    Group,
}

/// What a shape is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    /// What a class says.
    Class(&'static str),
    /// The look of a series, from 0: solid, hatched, dotted; on one page always of the same measure.
    Series(usize),
    /// Of which nothing is known: crossed out.
    Unmeasured,
}

/// Where a text stands on its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// A rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Area {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width, not negative.
    pub width: f64,
    /// Height, not negative.
    pub height: f64,
}

/// A drawing that is being made.
pub(super) struct Canvas {
    out: String,
    id: String,
    used: [bool; PATTERNS.len()],
}

impl Canvas {
    /// Begins a drawing of a kind, which is a class, so wide and so high.
    pub(super) fn new(kind: &str, caption: Caption<'_>, role: Role, width: f64, height: f64) -> Self {
        let id: String = caption.id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let role = match role {
            Role::Img => "img",
            Role::Group => "group",
        };
        let (width, height) = (Num(width), Num(height));
        let mut canvas = Self { out: String::new(), id, used: [false; PATTERNS.len()] };
        let described = if caption.desc.is_empty() {
            String::new()
        } else {
            format!(" aria-describedby=\"{}-desc\"", canvas.id)
        };
        canvas.put(format_args!(
            "<svg class=\"drawing {kind}\" role=\"{role}\" aria-labelledby=\"{id}-title\"{described} \
             viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\
             <title id=\"{id}-title\">{title}</title>",
            id = canvas.id.clone(),
            title = Escaped(caption.title),
        ));
        if !caption.desc.is_empty() {
            canvas.put(format_args!(
                "<desc id=\"{}-desc\">{}</desc>",
                canvas.id.clone(),
                Escaped(caption.desc)
            ));
        }
        canvas
    }

    /// A rectangle that says something when it is pointed at.
    pub(super) fn rect(&mut self, paint: Paint, area: Area, tip: &str) {
        let Area { x, y, width, height } = area;
        let place = format!(
            "x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
            Num(x),
            Num(y),
            Num(width.max(0.0)),
            Num(height.max(0.0))
        );
        self.shape("rect", paint, &place, tip);
    }

    /// A filled outline through points.
    pub(super) fn polygon(&mut self, paint: Paint, points: &[(f64, f64)], tip: &str) {
        self.shape("polygon", paint, &format!("points=\"{}\"", joined(points)), tip);
    }

    /// A circle that says something when it is pointed at.
    pub(super) fn circle(&mut self, paint: Paint, at: (f64, f64), radius: f64, tip: &str) {
        let place = format!("cx=\"{}\" cy=\"{}\" r=\"{}\"", Num(at.0), Num(at.1), Num(radius));
        self.shape("circle", paint, &place, tip);
    }

    /// Begins a link, or what only belongs together if it leads nowhere. It says something when it is pointed at;
    /// what is drawn until [`close`](Self::close) is in it.
    pub(super) fn open(&mut self, href: &str, tip: &str) {
        let tip = Escaped(tip);
        if href.is_empty() {
            self.put(format_args!("<g><title>{tip}</title>"));
        } else {
            self.put(format_args!("<a href=\"{}\" aria-label=\"{tip}\"><title>{tip}</title>", Escaped(href)));
        }
    }

    /// Ends what was begun with the same address.
    pub(super) fn close(&mut self, href: &str) {
        self.out.push_str(if href.is_empty() { "</g>" } else { "</a>" });
    }

    /// A line from one point to another.
    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.put(format_args!(
            "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"></line>",
            Num(from.0),
            Num(from.1),
            Num(to.0),
            Num(to.1)
        ));
    }

    /// A text on its base line.
    pub(super) fn text(&mut self, class: &str, at: (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.put(format_args!(
            "<text class=\"{class}\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            Num(at.0),
            Num(at.1),
            Escaped(text)
        ));
    }

    /// Ends the drawing.
    pub(super) fn finish(mut self) -> Svg {
        if self.used.contains(&true) {
            self.out.push_str("<defs>");
            for (pattern, _) in PATTERNS.iter().zip(self.used).filter(|(_, used)| *used) {
                let Pattern { name, size, inner } = pattern;
                let place = format!("id=\"{}-{name}\" width=\"{size}\" height=\"{size}\"", self.id);
                self.put(format_args!("<pattern {place} patternUnits=\"userSpaceOnUse\">{inner}</pattern>"));
            }
            self.out.push_str("</defs>");
        }
        self.out.push_str("</svg>");
        Svg(self.out)
    }

    fn shape(&mut self, name: &str, paint: Paint, place: &str, tip: &str) {
        let pattern = match paint {
            Paint::Class(class) => return self.filled(name, &format!("class=\"{class}\""), place, tip),
            Paint::Series(0) => return self.filled(name, "class=\"s1\"", place, tip),
            Paint::Series(1) => HATCHED,
            Paint::Series(_) => DOTTED,
            Paint::Unmeasured => CROSSED,
        };
        self.used[pattern] = true;
        let Pattern { name: class, .. } = PATTERNS[pattern];
        let fill = format!("class=\"{class}\" fill=\"url(#{}-{class})\"", self.id);
        self.filled(name, &fill, place, tip);
    }

    fn filled(&mut self, name: &str, fill: &str, place: &str, tip: &str) {
        self.put(format_args!("<{name} {fill} {place}>"));
        if !tip.is_empty() {
            self.put(format_args!("<title>{}</title>", Escaped(tip)));
        }
        self.put(format_args!("</{name}>"));
    }

    fn put(&mut self, markup: fmt::Arguments<'_>) {
        self.out.write_fmt(markup).expect("a String takes everything");
    }
}

fn joined(points: &[(f64, f64)]) -> String {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{},{}", Num(*x), Num(*y))).collect();
    points.join(" ")
}

/// A pattern that fills shapes.
struct Pattern {
    /// Its class and the end of its id.
    name: &'static str,
    /// After how many units it begins again.
    size: u32,
    /// What it consists of.
    inner: &'static str,
}

const HATCHED: usize = 0;
const DOTTED: usize = 1;
const CROSSED: usize = 2;

const PATTERNS: [Pattern; 3] = [
    Pattern {
        name: "hatched",
        size: 6,
        inner: "<rect class=\"s2\" width=\"6\" height=\"6\"></rect>\
                <path class=\"s2-mark\" d=\"M-1 1L1 -1M0 6L6 0M5 7L7 5\"></path>",
    },
    Pattern {
        name: "dotted",
        size: 6,
        inner: "<rect class=\"s3\" width=\"6\" height=\"6\"></rect>\
                <circle class=\"s3-mark\" cx=\"3\" cy=\"3\" r=\"1.4\"></circle>",
    },
    Pattern {
        name: "crossed",
        size: 7,
        inner: "<rect class=\"blank\" width=\"7\" height=\"7\"></rect>\
                <path class=\"blank-mark\" d=\"M0 0L7 7M0 7L7 0\"></path>",
    },
];

/// A coordinate, to a tenth of a unit. What is no number is 0.
struct Num(f64);

impl Display for Num {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = if self.0.is_finite() { (self.0 * 10.0).round() } else { 0.0 };
        // Adding 0 makes of a negative zero a plain one.
        let value = tenths / 10.0 + 0.0;
        if tenths % 10.0 == 0.0 { write!(f, "{value:.0}") } else { write!(f, "{value:.1}") }
    }
}

/// A text as markup. Control characters, which no markup can hold, are left out.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holds = |c: &char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
        let text: String = self.0.chars().filter(holds).collect();
        Html.write_escaped_str(f, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_ids_are_plain() {
        let caption = Caption { id: "a\"b-1", title: "<script>\u{0}", desc: "\"x\" & y" };
        let mut canvas = Canvas::new("bars", caption, Role::Img, 10.0, 10.0);
        canvas.rect(Paint::Series(1), Area { x: 0.0, y: -0.04, width: 1.26, height: -3.0 }, "</title>");
        canvas.text("axis", (1.0, f64::NAN), Anchor::End, "a<b");
        let svg = canvas.finish().to_string();
        assert!(svg.contains("id=\"ab-1-title\">&#60;script&#62;</title>"), "{svg}");
        assert!(svg.contains("<title>&#60;/title&#62;</title>"), "{svg}");
        assert!(
            svg.contains("fill=\"url(#ab-1-hatched)\" x=\"0\" y=\"0\" width=\"1.3\" height=\"0\""),
            "{svg}"
        );
        assert!(svg.contains("y=\"0\" text-anchor=\"end\">a&#60;b</text>"), "{svg}");
        assert!(svg.contains("<pattern id=\"ab-1-hatched\""), "{svg}");
        assert!(!svg.contains("dotted"), "only what is used");
    }

    #[test]
    fn a_template_writes_a_drawing_as_it_is() {
        #[derive(askama::Template)]
        #[template(source = "{{ drawing }}{{ text }}", ext = "html")]
        struct Around {
            drawing: Svg,
            text: &'static str,
        }
        let around = Around { drawing: Svg("<svg></svg>".into()), text: "<" };
        assert_eq!(askama::Template::render(&around).unwrap(), "<svg></svg>&#60;");
    }
}

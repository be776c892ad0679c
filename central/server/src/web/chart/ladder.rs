//! Sizes as a ladder: what was tried on to the left, what was sold to the right, what is in stock beside it. Enters:
//! a count of each per size. Leaves: SVG with one scale for both sides. Stock of nothing is framed.

use super::svg::{Anchor, Area, Canvas, Caption, Paint, Role, Svg};
use super::{Number, share_of, width};

/// What is drawn.
pub(crate) struct Ladder<'a> {
    /// What it is called.
    pub caption: Caption<'a>,
    /// What stands over the left side, the right side, and the stock.
    pub heads: [&'a str; 3],
    /// The sizes, from the top.
    pub sizes: &'a [Size],
    /// Writes a count.
    pub number: Number<'a>,
}

/// A size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// Its name.
    pub label: String,
    /// How often it was tried on.
    pub tried: u64,
    /// How many were sold; `None` when no till tells.
    pub sold: Option<u64>,
    /// How many are there; `None` when nobody counted.
    pub stock: Option<u64>,
}

const WIDTH: f64 = 480.0;
/// The names in the middle, a number beside each bar, and the stock at the right.
const NAME: f64 = 60.0;
const NUMBER: f64 = 46.0;
const STOCK: f64 = 64.0;
/// The longest bar.
const BAR: f64 = (WIDTH - NAME - 2.0 * NUMBER - STOCK) / 2.0;
/// The middle of the names.
const MIDDLE: f64 = NUMBER + BAR + NAME / 2.0;
/// The heads, and a size.
const TOP: f64 = 24.0;
const STEP: f64 = 28.0;
const THICK: f64 = 20.0;

impl Ladder<'_> {
    /// Draws it.
    #[must_use]
    pub(crate) fn draw(&self) -> Svg {
        let height = TOP + self.sizes.len() as f64 * STEP;
        let mut canvas = Canvas::new("ladder", self.caption, Role::Img, WIDTH, height);
        let (left, right) = (MIDDLE - NAME / 2.0, MIDDLE + NAME / 2.0);
        let [tried, sold, stock] = self.heads;
        let head = |text| width::cut(text, BAR + NUMBER - 4.0);
        canvas.text("axis", (left, 14.0), Anchor::End, &head(tried));
        canvas.text("axis", (right, 14.0), Anchor::Start, &head(sold));
        canvas.text("axis", (WIDTH - 4.0, 14.0), Anchor::End, &width::cut(stock, STOCK + NUMBER - 8.0));
        let most = self.sizes.iter().map(|size| size.tried.max(size.sold.unwrap_or(0))).max().unwrap_or(0);
        for (n, size) in self.sizes.iter().enumerate() {
            let y = TOP + n as f64 * STEP;
            let base = y + THICK / 2.0 + 4.0;
            canvas.text("name", (MIDDLE, base), Anchor::Middle, &width::cut(&size.label, NAME - 6.0));
            let bar = |value| share_of(value, most) * BAR;
            let tip = |head: &str, value: &str| format!("{} · {head}: {value}", size.label);

            let (long, text) = (bar(size.tried), (self.number)(size.tried));
            let area = Area { x: left - long, y, width: long, height: THICK };
            canvas.rect(Paint::Series(1), area, &tip(tried, &text));
            canvas.text("axis", (left - long - 5.0, base), Anchor::End, &width::cut(&text, NUMBER - 5.0));

            let long = size.sold.map_or(0.0, bar);
            let text = size.sold.map_or("–".into(), self.number);
            if size.sold.is_some() {
                let area = Area { x: right, y, width: long, height: THICK };
                canvas.rect(Paint::Series(2), area, &tip(sold, &text));
            }
            canvas.text("axis", (right + long + 5.0, base), Anchor::Start, &width::cut(&text, NUMBER - 5.0));

            let text = size.stock.map_or("–".into(), self.number);
            if size.stock == Some(0) {
                let area = Area { x: WIDTH - 26.0, y, width: 25.0, height: THICK };
                canvas.rect(Paint::Class("frame"), area, &tip(stock, &text));
            }
            let class = if size.stock == Some(0) { "out" } else { "axis" };
            canvas.text(class, (WIDTH - 9.0, base), Anchor::End, &width::cut(&text, STOCK - 9.0));
        }
        canvas.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Shapes, caption, plain};
    use super::*;

    fn draw<S: Copy + Into<Option<u64>>>(sizes: &[(u64, S, Option<u64>)]) -> Shapes {
        let size = |(n, (tried, sold, stock)): (usize, &(u64, S, Option<u64>))| Size {
            label: format!("size {n}"),
            tried: *tried,
            sold: (*sold).into(),
            stock: *stock,
        };
        let sizes: Vec<Size> = sizes.iter().enumerate().map(size).collect();
        let heads = ["tried on", "sold", "in stock"];
        Shapes::of(&Ladder { caption: caption(), heads, sizes: &sizes, number: &plain }.draw())
    }

    #[test]
    fn both_sides_have_one_scale_and_grow_from_the_middle() {
        let shapes = draw(&[(40, 10, Some(3)), (20, 0, None)]);
        let tried = shapes.areas(|tip| tip.contains("tried"));
        let sold = shapes.areas(|tip| tip.contains("sold"));
        assert_eq!(
            [tried[0].width, tried[1].width, sold[0].width, sold[1].width],
            [BAR, BAR / 2.0, BAR / 4.0, 0.0]
        );
        let near = |a: f64, b: f64| (a - b).abs() < 0.11;
        assert!(tried.iter().all(|bar| near(bar.x + bar.width, MIDDLE - NAME / 2.0)), "{tried:?}");
        assert!(sold.iter().all(|bar| near(bar.x, MIDDLE + NAME / 2.0)), "{sold:?}");
        assert!(shapes.texts("axis").contains(&"–".to_owned()), "stock that nobody counted");
        shapes.stay_inside();
    }

    #[test]
    fn what_no_till_tells_is_not_drawn_as_nothing_sold() {
        let shapes = draw(&[(40, None, Some(3)), (20, Some(0), Some(1))]);
        let sold = shapes.areas(|tip| tip.contains("sold"));
        assert_eq!(sold.len(), 1, "{sold:?}");
        assert_eq!(shapes.texts("axis"), ["tried on", "sold", "in stock", "40", "–", "3", "20", "0", "1"]);
    }

    #[test]
    fn no_stock_is_framed_and_no_number_breaks_it() {
        let shapes = draw(&[(u64::MAX, 1, Some(0)), (u64::MAX / 2, u64::MAX, Some(u64::MAX))]);
        assert_eq!(shapes.areas(|tip| tip == "size 0 · in stock: 0").len(), 1);
        assert_eq!(shapes.texts("out"), ["0"]);
        shapes.stay_inside();
        draw(&[] as &[(u64, u64, Option<u64>)]).stay_inside();
        draw(&[(0, 0, Some(0))]).stay_inside();
    }
}

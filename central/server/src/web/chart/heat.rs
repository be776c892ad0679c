//! A matrix in six steps of one colour, such as weekday by hour. Enters: rows of counts. Leaves: SVG with the number
//! in every cell that has room for it, and a legend. What was closed or not measured is crossed out, and is no zero.

use super::svg::{Anchor, Area, Canvas, Caption, Paint, Role, Svg};
use super::{Number, legend, width};

/// What is drawn.
pub(crate) struct Heat<'a> {
    /// What it is called.
    pub caption: Caption<'a>,
    /// The names of the columns, from the left.
    pub columns: &'a [String],
    /// The rows, from the top.
    pub rows: &'a [Row],
    /// What is said of a cell without a value.
    pub unmeasured: &'a str,
    /// Writes a count.
    pub number: Number<'a>,
}

/// A row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its name.
    pub label: String,
    /// A value for each column; what is missing at the end was not measured.
    pub values: Vec<Option<u64>>,
}

/// A cell, and between cells.
const CELL: (f64, f64) = (36.0, 28.0);
const GAP: f64 = 2.0;
/// Above the cells, for the columns' names.
const TOP: f64 = 22.0;
/// Between the cells and the legend, which takes as much as the cells or this.
const ABOVE: f64 = 10.0;
const LEGEND: f64 = 360.0;
/// The rows' names take no more.
const WIDEST_NAME: f64 = 160.0;
/// Classes of the steps; the first is of zero.
const STEPS: [&str; 7] = ["step0", "step1", "step2", "step3", "step4", "step5", "step6"];
/// Classes of the writing on them.
const WRITING: [&str; 7] = ["on0", "on1", "on2", "on3", "on4", "on5", "on6"];

impl Heat<'_> {
    /// Draws it.
    #[must_use]
    pub(crate) fn draw(&self) -> Svg {
        let names = self.rows.iter().map(|row| width::width(&row.label)).fold(0.0, f64::max);
        let left = names.min(WIDEST_NAME) + 14.0;
        let most = self.rows.iter().flat_map(|row| &row.values).flatten().max().copied().unwrap_or(0);
        let legend = self.legend(most);
        let room = (self.columns.len() as f64 * (CELL.0 + GAP)).max(LEGEND);
        let down = TOP + self.rows.len() as f64 * (CELL.1 + GAP) + ABOVE;
        let height = down + legend::height(&legend, room);
        let mut canvas = Canvas::new("heat", self.caption, Role::Img, left + room, height);
        legend::draw(&mut canvas, &legend, (left, down), room);
        let shown = width::every(self.columns.iter().map(|name| width::width(name)), CELL.0 + GAP);
        for (n, name) in self.columns.iter().enumerate().step_by(shown) {
            let x = left + n as f64 * (CELL.0 + GAP) + CELL.0 / 2.0;
            canvas.text("axis", (x, TOP - 7.0), Anchor::Middle, name);
        }
        for (n, row) in self.rows.iter().enumerate() {
            let y = TOP + n as f64 * (CELL.1 + GAP);
            let label = width::cut(&row.label, WIDEST_NAME);
            canvas.text("axis", (left - 8.0, y + CELL.1 / 2.0 + 4.0), Anchor::End, &label);
            for (m, name) in self.columns.iter().enumerate() {
                let at = (left + m as f64 * (CELL.0 + GAP), y);
                self.cell(&mut canvas, at, &format!("{} {name}", row.label), row.values.get(m), most);
            }
        }
        canvas.finish()
    }

    fn cell(&self, canvas: &mut Canvas, at: (f64, f64), name: &str, value: Option<&Option<u64>>, most: u64) {
        let area = Area { x: at.0, y: at.1, width: CELL.0, height: CELL.1 };
        let Some(value) = value.copied().flatten() else {
            canvas.rect(Paint::Unmeasured, area, &format!("{name}: {}", self.unmeasured));
            return;
        };
        let (step, text) = (step(value, most), (self.number)(value));
        canvas.rect(Paint::Class(STEPS[step]), area, &format!("{name}: {text}"));
        if width::width(&text) <= CELL.0 - 4.0 {
            let middle = (at.0 + CELL.0 / 2.0, at.1 + CELL.1 / 2.0 + 4.0);
            canvas.text(WRITING[step], middle, Anchor::Middle, &text);
        }
    }

    /// The steps that have a number of their own, and what is crossed out where there is such a cell.
    fn legend(&self, most: u64) -> Vec<legend::Entry> {
        let bound = |n: u64| u64::try_from(u128::from(most) * u128::from(n) / 6).unwrap_or(most);
        let mut legend = vec![(Paint::Class(STEPS[0]), (self.number)(0))];
        for (n, class) in (0..).zip(&STEPS[1..]) {
            let (from, to) = (bound(n).saturating_add(1), bound(n + 1));
            if from < to {
                let text = format!("{}–{}", (self.number)(from), (self.number)(to));
                legend.push((Paint::Class(class), text));
            } else if from == to {
                legend.push((Paint::Class(class), (self.number)(to)));
            }
        }
        let missing =
            |row: &Row| (0..self.columns.len()).any(|m| row.values.get(m).copied().flatten().is_none());
        if self.rows.iter().any(missing) {
            legend.push((Paint::Unmeasured, self.unmeasured.into()));
        }
        legend
    }
}

/// 0 for zero, else 1 to 6.
fn step(value: u64, most: u64) -> usize {
    let most = u128::from(most.max(1));
    usize::try_from((u128::from(value) * 6).div_ceil(most).min(6)).unwrap_or(6)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Shapes, caption, plain};
    use super::*;

    fn draw(columns: usize, rows: &[Vec<Option<u64>>]) -> Shapes {
        let columns: Vec<String> = (0..columns).map(|n| format!("{n}")).collect();
        let row = |(n, values): (usize, &Vec<Option<u64>>)| Row {
            label: format!("row {n}"),
            values: values.clone(),
        };
        let rows: Vec<Row> = rows.iter().enumerate().map(row).collect();
        let heat =
            Heat { caption: caption(), columns: &columns, rows: &rows, unmeasured: "closed", number: &plain };
        Shapes::of(&heat.draw())
    }

    #[test]
    fn six_steps_and_nothing_is_none_of_them() {
        assert_eq!([0, 1, 10, 11, 59, 60].map(|value| step(value, 60)), [0, 1, 1, 2, 6, 6]);
        assert_eq!([0, 1, 2].map(|value| step(value, 2)), [0, 3, 6]);
        assert_eq!([0, u64::MAX / 2, u64::MAX].map(|value| step(value, u64::MAX)), [0, 3, 6]);
        assert_eq!(step(0, 0), 0);
    }

    #[test]
    fn numbers_stand_where_there_is_room_and_what_is_unknown_is_crossed_out() {
        let shapes = draw(3, &[vec![Some(0), Some(12), None], vec![Some(1_234_567)]]);
        assert_eq!(shapes.texts("on0"), ["0"]);
        assert_eq!(shapes.texts("on1"), ["12"]);
        assert!(shapes.texts("on6").is_empty(), "too long for its cell");
        assert_eq!(
            shapes.tips(),
            [
                "row 0 0: 0",
                "row 0 1: 12",
                "row 0 2: closed",
                "row 1 0: 1234567",
                "row 1 1: closed",
                "row 1 2: closed"
            ]
        );
        assert_eq!(shapes.svg.matches("class=\"crossed\"").count(), 4, "three cells and the legend");
        shapes.stay_inside();
    }

    #[test]
    fn the_legend_tells_every_step_that_can_be() {
        let legend = |most| draw(1, &[vec![Some(most)]]).texts("name");
        assert_eq!(legend(60), ["0", "1–10", "11–20", "21–30", "31–40", "41–50", "51–60"]);
        assert_eq!(legend(2), ["0", "1", "2"]);
        assert_eq!(legend(0), ["0"]);
    }

    #[test]
    fn no_number_breaks_it() {
        draw(0, &[]).stay_inside();
        draw(24, &[vec![Some(u64::MAX); 24], vec![Some(u64::MAX / 2); 30]]).stay_inside();
        draw(24, &[Vec::new()]).stay_inside();
    }
}

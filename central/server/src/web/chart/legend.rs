//! What the looks of a drawing mean. Enters: looks with their names, and how wide they may be together. Leaves:
//! lines of swatches, as many as are needed.

use super::svg::{Anchor, Area, Canvas, Paint};
use super::width;

/// One look: what it is filled with, and what it is called.
pub(super) type Entry = (Paint, String);

/// Height of a line.
pub(super) const LINE: f64 = 22.0;
const SWATCH: f64 = 14.0;
/// Between a swatch and its name, and after the name.
const GAP: f64 = 6.0;
const AFTER: f64 = 18.0;

/// The height that a legend takes.
pub(super) fn height(entries: &[Entry], room: f64) -> f64 {
    places(entries, room).last().map_or(0.0, |(_, y)| y + LINE)
}

/// The width that it takes, at most the room.
pub(super) fn width(entries: &[Entry], room: f64) -> f64 {
    let ends = entries.iter().zip(places(entries, room)).map(|((_, name), (x, _))| x + needed(name));
    ends.fold(0.0, f64::max).min(room)
}

/// Draws it, from its upper left corner.
pub(super) fn draw(canvas: &mut Canvas, entries: &[Entry], at: (f64, f64), room: f64) {
    for ((paint, name), (x, y)) in entries.iter().zip(places(entries, room)) {
        let (x, y) = (at.0 + x, at.1 + y);
        canvas.rect(*paint, Area { x, y: y + 3.0, width: SWATCH, height: SWATCH }, "");
        let name = width::cut(name, room - SWATCH - GAP);
        canvas.text("name", (x + SWATCH + GAP, y + 14.0), Anchor::Start, &name);
    }
}

fn places(entries: &[Entry], room: f64) -> Vec<(f64, f64)> {
    let (mut x, mut y) = (0.0, 0.0);
    let mut place = |(_, name): &Entry| {
        let needed = needed(name);
        if x > 0.0 && x + needed > room {
            (x, y) = (0.0, y + LINE);
        }
        let at = (x, y);
        x += needed + AFTER;
        at
    };
    entries.iter().map(&mut place).collect()
}

fn needed(name: &str) -> f64 {
    SWATCH + GAP + width::width(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_goes_to_the_next_line() {
        let entries: Vec<Entry> =
            ["picked up", "tried on", "sold"].map(|name| (Paint::Series(0), name.into())).into();
        assert_eq!(height(&entries, 1_000.0), LINE);
        assert_eq!(height(&entries, 200.0), LINE * 2.0);
        assert_eq!(height(&entries, 1.0), LINE * 3.0, "a line holds at least one");
        assert_eq!(height(&[], 100.0), 0.0);
    }
}

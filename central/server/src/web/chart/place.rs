//! Finds room for the names of points. Enters: points in the order of their weight, what else is there, and the
//! plot. Leaves: where each name stands, or nowhere: no name lies over another, over a point, or outside.

use super::svg::{Anchor, Area};

/// Where a name stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spot {
    /// On its base line.
    pub at: (f64, f64),
    /// Which of its ends is there.
    pub anchor: Anchor,
}

/// Height of a line of writing, and how much of it is above the base line.
const LINE: f64 = 14.0;
const RISE: f64 = 10.5;
/// Between a point's edge and its name.
const GAP: f64 = 4.0;

/// A spot for each of the widths, one per point; `radius` is that of the points.
pub(super) fn spots(
    points: &[(f64, f64)],
    widths: &[f64],
    radius: f64,
    plot: Area,
    taken: &[Area],
) -> Vec<Option<Spot>> {
    let mut taken = taken.to_vec();
    let dots: Vec<Area> = points
        .iter()
        .map(|(x, y)| Area { x: x - radius, y: y - radius, width: 2.0 * radius, height: 2.0 * radius })
        .collect();
    let spot = |(own, width): (usize, &f64)| {
        let free = |area: &Area| {
            within(area, &plot)
                && !taken.iter().any(|other| overlap(area, other))
                && !dots.iter().enumerate().any(|(n, dot)| n != own && overlap(area, dot))
        };
        let (spot, area) = around(points[own], *width, radius).into_iter().find(|(_, area)| free(area))?;
        taken.push(area);
        Some(spot)
    };
    widths.iter().enumerate().map(spot).collect()
}

/// The spots that are tried, and what a name covers there: right, left, above, below, and at last above and below to
/// one side.
fn around((x, y): (f64, f64), width: f64, radius: f64) -> [(Spot, Area); 8] {
    let off = radius + GAP;
    let (above, below) = (y - off, y + off + RISE - 2.0);
    let spot = |at: (f64, f64), anchor| {
        let left = match anchor {
            Anchor::Start => at.0,
            Anchor::Middle => at.0 - width / 2.0,
            Anchor::End => at.0 - width,
        };
        (Spot { at, anchor }, Area { x: left, y: at.1 - RISE, width, height: LINE })
    };
    [
        spot((x + off, y + 4.0), Anchor::Start),
        spot((x - off, y + 4.0), Anchor::End),
        spot((x, above), Anchor::Middle),
        spot((x, below), Anchor::Middle),
        spot((x + radius, above), Anchor::End),
        spot((x - radius, above), Anchor::Start),
        spot((x + radius, below), Anchor::End),
        spot((x - radius, below), Anchor::Start),
    ]
}

fn overlap(a: &Area, b: &Area) -> bool {
    a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height
}

fn within(inner: &Area, outer: &Area) -> bool {
    inner.x >= outer.x
        && inner.y >= outer.y
        && inner.x + inner.width <= outer.x + outer.width
        && inner.y + inner.height <= outer.y + outer.height
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLOT: Area = Area { x: 0.0, y: 0.0, width: 200.0, height: 100.0 };

    #[test]
    fn a_name_goes_right_then_left_then_above_then_nowhere() {
        let spots = |x: f64, taken: &[Area]| spots(&[(x, 50.0)], &[60.0], 5.0, PLOT, taken)[0];
        assert_eq!(spots(100.0, &[]).map(|spot| spot.anchor), Some(Anchor::Start));
        assert_eq!(spots(180.0, &[]).map(|spot| spot.anchor), Some(Anchor::End), "the edge");
        let beside = Area { x: 0.0, y: 45.0, width: 200.0, height: 10.0 };
        assert_eq!(spots(100.0, &[beside]).map(|spot| spot.at.1), Some(41.0), "above");
        assert_eq!(spots(100.0, &[PLOT]), None);
        let corner =
            super::spots(&[(195.0, 95.0)], &[90.0], 5.0, PLOT, &[Area { x: 0.0, y: 90.0, ..beside }]);
        assert_eq!(corner[0].map(|spot| spot.at), Some((200.0, 86.0)), "above, ending over the point");
    }

    #[test]
    fn names_lie_over_no_point_and_no_name() {
        // Of three at one place the first gets the room; the others' points are in each other's way nowhere.
        let points = [(100.0, 50.0), (115.0, 50.0), (100.0, 62.0)];
        let spots = spots(&points, &[50.0, 50.0, 50.0], 5.0, PLOT, &[]);
        assert_eq!(spots[0].map(|spot| spot.anchor), Some(Anchor::End), "a point is at its right");
        assert_eq!(spots[1].map(|spot| spot.anchor), Some(Anchor::Start));
        assert_eq!(spots[2].map(|spot| spot.at), Some((100.0, 79.5)), "below: a name is at its right");
    }
}

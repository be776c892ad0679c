//! Sizes that were looked for and not there. Enters: what a visit tried of a style, which products hang beside these in
//! the size run, and what was counted of them. Leaves: whether a neighbouring size was sold out.
//!
//! Which size a shopper wanted nobody says. Who tries two sizes or more of a style and buys at the right size stops there;
//! so a visit has *lost* a size when one that stands beside a tried one, in the same style and colour, was not tried and
//! was counted as 0. A count is good for [`HOLDS_MS`]. Where one of them was not counted in that time, nothing is known of
//! the visit: the one that was counted says more often that a size is gone than that both are there.

use alloc::collections::BTreeSet;

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::Gtin;

use crate::sale::{Place, StockCount};

/// How long a count says what is there, in milliseconds: 7 days.
pub const HOLDS_MS: i64 = 7 * 86_400_000;

/// What is known of a visit that compared sizes of a style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hunt {
    /// These sizes were sold out, numbered by the caller; none when all neighbours were there.
    Known(BTreeSet<u32>),
    /// A neighbouring size was not counted.
    Unknown,
}

/// The goods of a shop while a visit lasted.
#[derive(Clone, Copy)]
pub struct Shelf<'a> {
    /// The size of a product, numbered by the caller.
    pub size: &'a dyn Fn(Gtin) -> Option<u32>,
    /// The products that stand beside it in the size run of its style and colour.
    pub beside: &'a dyn Fn(Gtin) -> &'a [Gtin],
    /// How many pieces of it there were; `None` where nobody counted.
    pub stock: &'a dyn Fn(Gtin) -> Option<u64>,
}

/// What is known of a visit that tried these products of one style, in two sizes or more.
#[must_use]
pub fn hunt(tried: &[Gtin], shelf: Shelf<'_>) -> Hunt {
    let sizes: BTreeSet<u32> = tried.iter().filter_map(|gtin| (shelf.size)(*gtin)).collect();
    let mut lost = BTreeSet::new();
    for other in tried.iter().flat_map(|gtin| (shelf.beside)(*gtin)) {
        // In another colour it was tried: it is there.
        let Some(size) = (shelf.size)(*other).filter(|size| !sizes.contains(size)) else { continue };
        match (shelf.stock)(*other) {
            Some(0) => drop(lost.insert(size)),
            Some(_) => {}
            None => return Hunt::Unknown,
        }
    }
    Hunt::Known(lost)
}

/// How many pieces there were, by the latest count of each place: counts of parts of a shop go before a count of all of
/// it when both are newer. `None` of no counts.
#[must_use]
pub fn pieces(latest: &[StockCount]) -> Option<u64> {
    let whole = latest.iter().find(|count| count.place == Place::All);
    let parts = || latest.iter().filter(|count| count.place != Place::All);
    let are_newer = parts().count() == 2 && parts().all(|part| whole.is_none_or(|whole| part.at > whole.at));
    match whole {
        Some(whole) if !are_newer => Some(whole.quantity.into()),
        Some(_) | None => (!latest.is_empty()).then(|| parts().map(|count| u64::from(count.quantity)).sum()),
    }
}

/// How many pieces there were at a moment, by all counts of a product, oldest first. `None` when no count was good then.
#[must_use]
pub fn pieces_at(counts: &[StockCount], at: UnixMillis) -> Option<u64> {
    let good = || counts.iter().filter(|count| count.at <= at && count.at.0 + HOLDS_MS > at.0);
    let latest = Place::ALL.map(|place| good().rfind(|count| count.place == place).copied());
    let latest: alloc::vec::Vec<StockCount> = latest.into_iter().flatten().collect();
    // A part alone does not tell that nothing is left.
    let has_all = latest.len() > 1 || latest.iter().any(|count| count.place == Place::All);
    pieces(&latest).filter(|pieces| has_all || *pieces > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const GTINS: [u64; 4] = [80_614_141_123_458, 4_006_381_333_931, 9_780_306_406_157, 36_000_291_452];

    fn gtin(n: usize) -> Gtin {
        Gtin::from_number(GTINS[n]).unwrap()
    }

    /// A run of four sizes, of which so many are there.
    fn of(tried: &[usize], stock: [Option<u64>; 4]) -> Hunt {
        let run: Vec<Gtin> = (0..4).map(gtin).collect();
        let at = |gtin: Gtin| run.iter().position(|other| *other == gtin).unwrap();
        let beside: Vec<Vec<Gtin>> = (0..4_usize)
            .map(|n| {
                [n.checked_sub(1), Some(n + 1)].into_iter().flatten().filter(|n| *n < 4).map(gtin).collect()
            })
            .collect();
        let shelf = Shelf {
            size: &|gtin| u32::try_from(at(gtin)).ok(),
            beside: &|gtin| &beside[at(gtin)],
            stock: &|gtin| stock[at(gtin)],
        };
        hunt(&tried.iter().map(|n| gtin(*n)).collect::<Vec<_>>(), shelf)
    }

    #[test]
    fn a_neighbouring_size_that_is_sold_out_is_lost() {
        assert_eq!(
            of(&[0, 1], [Some(1), Some(1), Some(0), Some(0)]),
            Hunt::Known([2].into()),
            "the next one only"
        );
        assert_eq!(
            of(&[0, 1], [Some(0), Some(0), Some(3), Some(0)]),
            Hunt::Known([].into()),
            "those were tried"
        );
        assert_eq!(of(&[1, 3], [Some(0), None, Some(0), None]), Hunt::Known([0, 2].into()));
        assert_eq!(of(&[0, 1, 2, 3], [None; 4]), Hunt::Known([].into()), "there is no other");
        assert_eq!(of(&[1, 2], [None, None, None, Some(2)]), Hunt::Unknown);
        assert_eq!(of(&[1, 2], [Some(1), None, None, Some(0)]), Hunt::Known([3].into()));
        for seen in [0, 2] {
            let stock = [None, Some(1), Some(1), Some(seen)];
            assert_eq!(of(&[1, 2], stock), Hunt::Unknown, "whatever the other one was counted as: {seen}");
        }
    }

    #[test]
    fn a_count_is_good_for_a_week_and_one_of_a_part_is_not_all() {
        let count = |place, at, quantity| StockCount { gtin: gtin(0), place, at: UnixMillis(at), quantity };
        let all = [count(Place::All, 1_000, 0), count(Place::All, 5_000, 4)];
        let at = |counts: &[StockCount], at| pieces_at(counts, UnixMillis(at));
        assert_eq!(
            [999, 1_000, 5_000, 5_000 + HOLDS_MS].map(|time| at(&all, time)),
            [None, Some(0), Some(4), None]
        );
        assert_eq!(at(&[count(Place::Floor, 1, 0)], 2), None, "there may be some in the back room");
        assert_eq!(at(&[count(Place::Floor, 1, 2)], 2), Some(2));
        assert_eq!(at(&[count(Place::Floor, 1, 0), count(Place::BackRoom, 1, 0)], 2), Some(0));
        let newer = [count(Place::All, 1, 9), count(Place::Floor, 2, 1), count(Place::BackRoom, 2, 1)];
        assert_eq!((at(&newer, 1), at(&newer, 2)), (Some(9), Some(2)));
    }
}

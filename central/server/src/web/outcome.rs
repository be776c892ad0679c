//! What became of goods, as columns. Enters: sums of a style, a product or a size. Leaves: their values, with nothing said of
//! sales where no till tells.

use hangtag_central_core::measures::Share;
use hangtag_central_core::period::Sums;

use crate::report::Report;

use super::table::{Column, Kind, Value, column, minor};
use super::tables::{COUNTS, counts};

/// What became of goods.
pub(super) const OUTCOME: [Column; 10] = [
    COUNTS[0],
    COUNTS[1],
    COUNTS[2],
    COUNTS[3],
    minor("pick_to_try", "col-pick-to-try", Kind::Share),
    column("try_to_buy", "col-try-to-buy", Kind::Share),
    minor("put_back", "col-put-back", Kind::Share),
    minor("left_in_booth", "col-left-in-booth", Kind::Share),
    column("sold", "col-sold", Kind::Count),
    minor("returned", "col-returned", Kind::Count),
];

/// The values of these columns.
pub(super) fn outcome(report: &Report, sums: &Sums) -> impl Iterator<Item = Value> {
    counts(Some(sums.counts)).into_iter().chain([
        Value::Share(Share::of(sums.then_tried, sums.picked)),
        Value::Share(report.bought(sums.bought_product())),
        Value::Share(sums.put_back()),
        Value::Share(report.bought(sums.left())),
        report.passed(sums.sold),
        report.passed(sums.returned),
    ])
}

impl Report {
    /// Pieces that passed the till, where there is one.
    pub(super) fn passed(&self, pieces: u64) -> Value {
        if self.has_tills { Value::Count(pieces) } else { Value::Number(None) }
    }
}

/// By what goods are put in order.
pub(super) fn weight(sums: &Sums) -> (u64, u64, u64, u64) {
    (sums.counts.tried_on, sums.counts.picked_up, sums.counts.carried_in, sums.sold)
}

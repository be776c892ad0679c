//! Was what was tried on bought? Enters: the try-ons of one shop, and the lines of its receipts. Leaves: for each
//! try-on the line that it led to, or none.
//!
//! A sale can be of what was tried on in the [`WINDOW_MS`] before it. A try-on is matched once, by the closest that
//! can be said, and a line of n pieces is matched n times at most:
//!
//! 1. *tag*: the till read the same tag;
//! 2. *product*: the line names the product and no tag;
//! 3. *style*: the line is of another size or colour, or of another garment whose tag the till read.
//!
//! Of each, sales come oldest first, and each takes the latest try-ons before it. So the answer depends on what
//! happened, and not on the order in which it was told. Returns are no sales. `O(n log n)`.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::{Epc, Gtin};

use crate::sale::{Kind, Line};

/// How long after a try-on a sale is taken for its outcome, in milliseconds: 2 hours, both ends included. Longer, and
/// sales of popular products are taken for the outcome of others' try-ons; shorter, and who looks on before paying is
/// missed.
pub const WINDOW_MS: u64 = 2 * 3_600_000;

/// A garment that was tried on in a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TryOn {
    /// When it was first put on in the visit.
    pub at: UnixMillis,
    /// The visit, by any number that tells visits apart.
    pub visit: u64,
    /// The garment's tag.
    pub epc: Epc,
    /// Its product, where that is known.
    pub gtin: Option<Gtin>,
}

/// What a try-on led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sold {
    /// By what they were brought together.
    pub by: By,
    /// The line, by its position among the lines that were given.
    pub line: usize,
}

/// By what a try-on and a line were brought together, the closest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// The same tag.
    Tag,
    /// The same product.
    Product,
    /// The same style.
    Style,
}

/// Brings try-ons together with lines. The answer has one element per try-on, in the order given. `style` tells which
/// style a product is of; where it tells none, there are no matches by style.
#[must_use]
pub fn sold<S: Ord>(
    try_ons: &[TryOn],
    lines: &[Line],
    style: impl Fn(Gtin) -> Option<S>,
) -> Vec<Option<Sold>> {
    let mut all = Matching::new(try_ons, lines);
    all.step(By::Tag, |tried| Some(tried.epc), Line::epc);
    all.step(By::Product, |tried| tried.gtin, |line| line.gtin().filter(|_| line.epc().is_none()));
    let style = &style;
    all.step(By::Style, |tried| tried.gtin.and_then(style), |line| line.gtin().and_then(style));
    all.sold
}

struct Matching<'a> {
    try_ons: &'a [TryOn],
    lines: &'a [Line],
    /// Positions of the try-ons, the oldest first,
    tried_order: Vec<usize>,
    /// and of the sales among the lines.
    sale_order: Vec<usize>,
    /// So many pieces of each line are not matched.
    left: Vec<u32>,
    sold: Vec<Option<Sold>>,
}

/// What was tried on and what was sold of one tag, product or style, each the oldest first.
#[derive(Default)]
struct Same {
    tried: Vec<usize>,
    sales: Vec<usize>,
}

impl<'a> Matching<'a> {
    fn new(try_ons: &'a [TryOn], lines: &'a [Line]) -> Self {
        let mut tried_order: Vec<usize> = (0..try_ons.len()).collect();
        tried_order.sort_by_key(|at| try_ons[*at]);
        let mut sale_order: Vec<usize> =
            (0..lines.len()).filter(|at| lines[*at].kind == Kind::Sale).collect();
        sale_order.sort_by(|a, b| {
            let key = |at: usize| (lines[at].at, &lines[at].receipt, lines[at].line);
            key(*a).cmp(&key(*b))
        });
        let left = lines.iter().map(|line| line.quantity.get()).collect();
        Self { try_ons, lines, tried_order, sale_order, left, sold: vec![None; try_ons.len()] }
    }

    /// Matches what has the same key and is not matched.
    fn step<K: Ord>(
        &mut self,
        by: By,
        of_try_on: impl Fn(&TryOn) -> Option<K>,
        of_line: impl Fn(&Line) -> Option<K>,
    ) {
        let mut same: BTreeMap<K, Same> = BTreeMap::new();
        for at in self.sale_order.iter().filter(|at| self.left[**at] > 0) {
            if let Some(key) = of_line(&self.lines[*at]) {
                same.entry(key).or_default().sales.push(*at);
            }
        }
        for at in self.tried_order.iter().filter(|at| self.sold[**at].is_none()) {
            if let Some(same) = of_try_on(&self.try_ons[*at]).and_then(|key| same.get_mut(&key)) {
                same.tried.push(*at);
            }
        }
        for Same { tried, sales } in same.into_values() {
            let mut tried = tried.into_iter().peekable();
            // Those before the sale that are not matched, the latest last.
            let mut open: Vec<usize> = Vec::new();
            for line in sales {
                let paid = self.lines[line].at;
                while let Some(at) = tried.next_if(|at| self.try_ons[*at].at <= paid) {
                    open.push(at);
                }
                while self.left[line] > 0 {
                    let Some(at) = open.pop() else { break };
                    if paid.0.abs_diff(self.try_ons[at].at.0) > WINDOW_MS {
                        // So are those below it, for all later sales too.
                        open.clear();
                        break;
                    }
                    self.left[line] -= 1;
                    self.sold[at] = Some(Sold { by, line });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sale::{Goods, Receipt};
    use alloc::string::ToString;
    use hangtag_protocol::epc::{Serial, Sgtin};
    use proptest::prelude::*;

    const MINUTE: i64 = 60_000;

    fn tag(item: u64, serial: u64) -> Epc {
        let serial = Serial::Number(serial);
        Sgtin { filter: 1, company: 614_141, company_digits: 7, item, serial }.encode_96().unwrap()
    }

    fn gtin(item: u64) -> Gtin {
        tag(item, 0).sgtin().unwrap().gtin()
    }

    fn tried(at: i64, visit: u64, item: u64, serial: u64) -> TryOn {
        let epc = tag(item, serial);
        TryOn { at: UnixMillis(at), visit, epc, gtin: Some(gtin(item)) }
    }

    fn line(number: u32, at: i64, goods: Goods, quantity: u32) -> Line {
        Line {
            receipt: Receipt::new("r").unwrap(),
            line: number,
            at: UnixMillis(at),
            kind: Kind::Sale,
            quantity: goods.pieces(quantity).unwrap(),
            goods,
            price: None,
        }
    }

    fn product(item: u64) -> Goods {
        Goods::new(Some(gtin(item)), None).unwrap()
    }

    fn garment(item: u64, serial: u64) -> Goods {
        Goods::new(None, Some(tag(item, serial))).unwrap()
    }

    /// Items 0 and 1 are one style, 2 and 3 another; 4 has none.
    fn style(of: Gtin) -> Option<u64> {
        (0..4).find(|item| gtin(*item) == of).map(|item| item / 2)
    }

    fn by(try_ons: &[TryOn], lines: &[Line]) -> Vec<Option<By>> {
        sold(try_ons, lines, style).into_iter().map(|sold| sold.map(|sold| sold.by)).collect()
    }

    #[test]
    fn the_same_tag_goes_before_the_product_and_that_before_the_style() {
        let try_ons = [tried(0, 1, 0, 7), tried(1, 1, 0, 8), tried(2, 1, 1, 9), tried(3, 1, 2, 9)];
        let lines = [
            line(1, MINUTE, product(0), 1),
            line(2, MINUTE, garment(0, 8), 1),
            line(3, MINUTE, garment(0, 99), 1),
        ];
        assert_eq!(by(&try_ons, &lines), [Some(By::Product), Some(By::Tag), Some(By::Style), None]);
        // A tag that was read tells which garment it was: not the one of the same product that was tried on.
        assert_eq!(by(&try_ons[..1], &lines[2..]), [Some(By::Style)]);
        assert_eq!(sold(&try_ons[..1], &lines[2..], |_| None::<()>), [None]);
    }

    #[test]
    fn a_line_accounts_for_as_many_as_it_has_pieces_the_latest_first() {
        let try_ons = [tried(0, 1, 4, 1), tried(1, 2, 4, 2), tried(2, 3, 4, 3), tried(9, 4, 4, 4)];
        let two = [line(1, 5, product(4), 2)];
        assert_eq!(by(&try_ons, &two), [None, Some(By::Product), Some(By::Product), None]);
    }

    #[test]
    fn a_sale_before_the_try_on_or_long_after_it_or_a_return_is_not_its_outcome() {
        let window = i64::try_from(WINDOW_MS).unwrap();
        let once = [tried(MINUTE, 1, 0, 7)];
        for (at, is_sold) in
            [(MINUTE - 1, false), (MINUTE, true), (MINUTE + window, true), (MINUTE + window + 1, false)]
        {
            for goods in [product(0), garment(0, 7), product(1)] {
                assert_eq!(by(&once, &[line(1, at, goods, 1)])[0].is_some(), is_sold, "{at} {goods:?}");
            }
        }
        let back = Line { kind: Kind::Return, ..line(1, 2 * MINUTE, garment(0, 7), 1) };
        assert_eq!(by(&once, &[back]), [None]);
    }

    /// The rules as they are written, one pair at a time.
    fn naive(try_ons: &[TryOn], lines: &[Line]) -> Vec<Option<Sold>> {
        let mut found = vec![None; try_ons.len()];
        let mut left: Vec<u32> = lines.iter().map(|line| line.quantity.get()).collect();
        for by in [By::Tag, By::Product, By::Style] {
            let mut sales: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].kind == Kind::Sale).collect();
            sales.sort_by_key(|at| (lines[*at].at, lines[*at].receipt.clone(), lines[*at].line));
            for at in sales {
                let line = &lines[at];
                while left[at] > 0 {
                    let fits = |tried: &TryOn| {
                        let late = line.at.0 - tried.at.0;
                        let same = match by {
                            By::Tag => line.epc() == Some(tried.epc),
                            By::Product => line.epc().is_none() && line.gtin() == tried.gtin,
                            By::Style => {
                                let of = |gtin: Option<Gtin>| gtin.and_then(style);
                                of(line.gtin()).is_some() && of(line.gtin()) == of(tried.gtin)
                            }
                        };
                        same && late >= 0 && late.cast_unsigned() <= WINDOW_MS
                    };
                    let latest = (0..try_ons.len())
                        .filter(|at| found[*at].is_none() && fits(&try_ons[*at]))
                        .max_by_key(|at| try_ons[*at]);
                    let Some(latest) = latest else { break };
                    found[latest] = Some(Sold { by, line: at });
                    left[at] -= 1;
                }
            }
        }
        found
    }

    fn some_try_ons() -> impl Strategy<Value = Vec<TryOn>> {
        let one = (0..20_i64, 0..5_u64, 0..3_u64);
        prop::collection::vec(one, 0..25).prop_map(|all| {
            let tried = |(number, (at, item, serial))| tried(at * 15 * MINUTE, number, item, serial);
            (0..).zip(all).map(tried).collect()
        })
    }

    fn some_lines() -> impl Strategy<Value = Vec<Line>> {
        let one = (0..24_i64, 0..5_u64, prop::option::of(0..3_u64), 1..4_u32, prop::bool::weighted(0.2));
        prop::collection::vec(one, 0..25).prop_map(|all| {
            let lines = (0_u32..).zip(all).map(|(number, (at, item, serial, quantity, is_return))| {
                let goods = serial.map_or(product(item), |serial| garment(item, serial));
                let pieces = if serial.is_some() { 1 } else { quantity };
                let kind = if is_return { Kind::Return } else { Kind::Sale };
                let receipt = Receipt::new(&(number % 3).to_string()).unwrap();
                Line { kind, receipt, ..line(number, at * 15 * MINUTE, goods, pieces) }
            });
            lines.collect()
        })
    }

    proptest! {
        #[test]
        fn the_rules_are_kept(try_ons in some_try_ons(), lines in some_lines()) {
            prop_assert_eq!(sold(&try_ons, &lines, style), naive(&try_ons, &lines));
        }

        #[test]
        fn the_order_in_which_things_are_told_does_not_matter(
            (try_ons, shuffled) in some_try_ons().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
            (lines, other_lines) in some_lines().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        ) {
            let pairs = |try_ons: &[TryOn], lines: &[Line]| {
                let found = sold(try_ons, lines, style);
                let mut pairs: Vec<_> = try_ons.iter().zip(found)
                    .map(|(tried, sold)| (*tried, sold.map(|sold| (sold.by, lines[sold.line].line))))
                    .collect();
                pairs.sort();
                pairs
            };
            prop_assert_eq!(pairs(&try_ons, &lines), pairs(&shuffled, &other_lines));
        }
    }
}

//! What one local day of one shop adds up to. Enters: the events about garments and the scans of the day and of
//! the hours around it, oldest first, without the retracted ones. Leaves: counts per hour, product and zone; the
//! stays in booths with what was tried in each; and what became of the garments that were picked up and tried.
//!
//! - A **try-on** is a distinct pair of visit and tag: a garment put on twice in one visit is tried once. What is
//!   carried into a booth is counted apart, in the same way.
//! - A visit belongs to the day on which its first event happened, with all that is in it. For that the events of
//!   [`AROUND_MS`] before and after the day must come along; a stay that reaches further over midnight counts as two.
//! - A garment was **put back** when the next that happened to it after a pick-up is a put-down, within
//!   [`PUT_BACK_MS`].
//! - A garment that was tried on is **back** when it is put down or picked up again within [`AFTERWARDS_MS`], and
//!   **left in the booth** when nothing of the kind happens, nor a sale. While that time has not passed nothing is said.

use alloc::vec::Vec;

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::Gtin;
use hangtag_protocol::id::ZoneId;

use crate::handled::{Article, Counts, Handled, Map, Scanned};
use crate::matching;
use crate::sale::Line;

use sums::Sums;

mod sums;

/// How much before and after a day is needed to know it, in milliseconds: 3 hours.
pub const AROUND_MS: i64 = 3 * 3_600_000;
/// How long a garment may be in a hand to be put back, in milliseconds: 15 minutes.
pub const PUT_BACK_MS: i64 = 15 * 60_000;
/// How long after a try-on what happens to the garment is its outcome, in milliseconds: 2 hours.
pub const AFTERWARDS_MS: i64 = matching::WINDOW_MS.cast_signed();

/// One hour of the day: its start, and the hour that the shop's clock shows then, 0 to 23.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// When it starts.
    pub at: UnixMillis,
    /// What the shop's clock shows.
    pub clock: u8,
}

/// Which stretch is the day, and what is known of the time after it.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// The hours, in order; none when the calendar has no such day.
    pub hours: &'a [Start],
    /// The first moment after the day.
    pub end: UnixMillis,
    /// Until when events have come: the present, or later than [`AFTERWARDS_MS`] after the day.
    pub known_to: UnixMillis,
}

/// How often things happened in one hour to one product in one zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Index of the hour in the day.
    pub hour: u8,
    /// Index in [`Day::zones`].
    pub zone: u16,
    /// Index in [`Day::articles`].
    pub article: u32,
    /// How often; fits because a reader tells far less in an hour.
    pub counts: [u16; 4],
}

/// A stay in a booth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// Index of the hour in which it began.
    pub hour: u8,
    /// Index in [`Day::zones`].
    pub zone: u16,
    /// The first of its garments in [`Day::items`],
    pub first: u32,
    /// and how many there are.
    pub items: u32,
    /// From the first garment's coming until the last one's going, in tenths of a second; `None` while a garment
    /// has not gone, or its going was not noticed.
    pub dwell_ds: Option<u32>,
}

/// What became of a garment within [`AFTERWARDS_MS`] of its try-on, a sale aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The time has not passed.
    Open,
    /// It was seen on a rail or shelf, or taken from one.
    Back,
    /// Neither.
    NotSeen,
}

/// Whether a sale followed a try-on within [`AFTERWARDS_MS`], and of what: the closest that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sold {
    /// None did.
    #[default]
    No,
    /// Of another product of the same style.
    Style,
    /// Of the same product.
    Product,
    /// Of this very garment.
    Tag,
}

/// Pieces of one product that passed the till.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Till {
    /// Index in [`Day::articles`].
    pub article: u32,
    /// Sold,
    pub sold: u32,
    /// and brought back.
    pub returned: u32,
}

/// A garment in a stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Index in [`Day::articles`].
    pub article: u32,
    /// Whether it was tried on.
    pub tried: bool,
    /// What became of it after that,
    pub outcome: Outcome,
    /// and whether it was sold.
    pub sold: Sold,
}

/// A distinct garment that was picked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picked {
    /// Index in [`Day::articles`].
    pub article: u32,
    /// Whether it was tried on afterwards.
    pub then_tried: bool,
    /// How often it was picked up,
    pub times: u16,
    /// and how often of these it was put back.
    pub put_back: u16,
}

/// A garment that was on a rail or shelf: picked up from it, or put down on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shown {
    /// Index in [`Day::zones`].
    pub zone: u16,
    /// Index in [`Day::articles`].
    pub article: u32,
    /// Tells garments of one product apart, also those of different days: a part of a hash of the tag.
    pub tag: u32,
}

/// Codes that were scanned in one zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scans {
    /// Index in [`Day::zones`].
    pub zone: u16,
    /// Of shoppers.
    pub loyalty: u32,
    /// Of products.
    pub product: u32,
}

/// A day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Day {
    /// The hour that the shop's clock shows, per hour of the day.
    pub clock: Vec<u8>,
    /// What the other fields name by its place here.
    pub articles: Vec<Article>,
    /// The same for zones.
    pub zones: Vec<ZoneId>,
    /// Counts, by hour, zone and article.
    pub cells: Vec<Cell>,
    /// Stays; of those in which nothing but codes was scanned there are no items.
    pub stays: Vec<Stay>,
    /// The garments of the stays.
    pub items: Vec<Item>,
    /// Distinct garments that were picked up.
    pub picked: Vec<Picked>,
    /// Distinct garments on rails and shelves, by zone.
    pub shown: Vec<Shown>,
    /// Scans per zone.
    pub scans: Vec<Scans>,
    /// What passed the till.
    pub tills: Vec<Till>,
    /// Distinct tags that are no SGTIN.
    pub unknown_tags: u32,
}

impl Day {
    /// Adds up a day. Events and scans come oldest first; those that are not within [`AROUND_MS`] of it play no part.
    /// Lines are those of the day and of [`AFTERWARDS_MS`] after its last try-on. `style` tells which style a product
    /// is of.
    #[must_use]
    pub fn new<'e>(
        span: Span<'_>,
        handled: impl IntoIterator<Item = &'e Handled>,
        scanned: impl IntoIterator<Item = &'e Scanned>,
        lines: &[Line],
        style: &dyn Fn(Gtin) -> u64,
    ) -> Self {
        let Some(begin) = span.hours.first().map(|hour| hour.at) else { return Self::default() };
        let near = |at: UnixMillis| (begin.0 - AROUND_MS..span.end.0 + AROUND_MS).contains(&at.0);
        let mut sums = Sums::new(span, begin);
        for event in handled.into_iter().filter(|event| near(event.at)) {
            sums.add(event);
        }
        let mut scans: Map<u16, Scans> = Map::default();
        for scan in scanned.into_iter().filter(|scan| near(scan.at)) {
            if let Some(visit) = scan.visit {
                // A stay of which nothing but a scan tells began with it.
                sums.open(visit, scan.at, scan.zone);
            }
            if sums.is_of_day(scan.at) {
                let zone = sums.zone(scan.zone);
                let of = scans.entry(zone).or_insert(Scans { zone, ..Scans::default() });
                *if scan.is_product { &mut of.product } else { &mut of.loyalty } += 1;
            }
        }
        sums.finish(scans.into_values().collect(), lines, style)
    }

    /// The sums of all cells.
    #[must_use]
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.cells.iter().for_each(|cell| total += cell.sum());
        total
    }
}

impl Cell {
    /// The counts.
    #[must_use]
    pub fn sum(&self) -> Counts {
        let [picked_up, put_down, carried_in, tried_on] = self.counts.map(u64::from);
        Counts { picked_up, put_down, carried_in, tried_on }
    }
}

#[cfg(test)]
mod tests;

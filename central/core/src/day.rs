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
//!   **left behind** when nothing of the kind happens, nor a sale. While that time has not passed nothing is said.

use alloc::vec::Vec;

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::{Epc, Gtin};
use hangtag_protocol::event::Kind;
use hangtag_protocol::id::ZoneId;

use crate::handled::{Article, Counts, Handled, Map, Scanned, Visit};
use crate::matching::{self, By, TryOn};
use crate::sale::{self, Line};

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
    /// Scans per zone.
    pub scans: Vec<Scans>,
    /// What passed the till.
    pub tills: Vec<Till>,
    /// Distinct tags that are no SGTIN.
    pub unknown_tags: u32,
}

/// What is collected of a visit.
struct Open {
    stay: Stay,
    began: UnixMillis,
    /// The garments, by their number in [`Sums::tags`]: few.
    items: Vec<(u32, Seen)>,
}

/// What is collected of a garment in a visit.
#[derive(Default)]
struct Seen {
    came: Option<UnixMillis>,
    /// From when until when it was there, by what was said when it had gone.
    stayed: Option<(UnixMillis, UnixMillis)>,
    tried: Option<UnixMillis>,
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
        let mut sums = Sums {
            span,
            begin,
            articles: Map::default(),
            zones: Map::default(),
            cells: Map::default(),
            visits: Map::default(),
            tags: Map::default(),
        };
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

/// Places in [`Cell::counts`].
const PICKED_UP: usize = 0;
const PUT_DOWN: usize = 1;
const CARRIED_IN: usize = 2;
const TRIED_ON: usize = 3;

/// A tag, which is read many times.
#[derive(Default)]
struct Tag {
    /// What it stands for, when it counts on this day.
    article: Option<u32>,
    /// What happened to the garment, in order, as far as its outcome goes.
    life: Vec<(UnixMillis, Kind)>,
}

struct Sums<'a> {
    span: Span<'a>,
    begin: UnixMillis,
    articles: Map<Article, ()>,
    zones: Map<ZoneId, ()>,
    cells: Map<(u8, u16, u32), [u16; 4]>,
    visits: Map<Visit, Open>,
    tags: Map<Epc, Tag>,
}

impl Sums<'_> {
    fn is_of_day(&self, at: UnixMillis) -> bool {
        (self.begin.0..self.span.end.0).contains(&at.0)
    }

    /// The hour of a moment; what a visit brings after the day's end is counted in its last hour.
    fn hour(&self, at: UnixMillis) -> u8 {
        let hour = self.span.hours.partition_point(|hour| hour.at <= at).saturating_sub(1);
        u8::try_from(hour).unwrap_or(u8::MAX)
    }

    /// What a tag that counts on this day stands for.
    fn article(&mut self, tag: u32) -> u32 {
        let Some((epc, tag)) = self.tags.get_index_mut(tag as usize) else { return 0 };
        *tag.article.get_or_insert_with(|| index(self.articles.insert_full(Article::of(epc), ()).0))
    }

    /// The number of a tag.
    fn tag(&mut self, epc: Epc) -> u32 {
        let entry = self.tags.entry(epc);
        let number = index(entry.index());
        entry.or_default();
        number
    }

    fn zone(&mut self, zone: ZoneId) -> u16 {
        u16::try_from(self.zones.insert_full(zone, ()).0).unwrap_or(u16::MAX)
    }

    fn count(&mut self, at: UnixMillis, zone: u16, article: u32, what: usize) {
        let counts = self.cells.entry((self.hour(at), zone, article)).or_default();
        counts[what] = counts[what].saturating_add(1);
    }

    fn add(&mut self, event: &Handled) {
        let tag = self.tag(event.epc);
        match event.kind {
            Kind::PickedUp | Kind::PutDown | Kind::TriedOn => {
                if let Some((_, tag)) = self.tags.get_index_mut(tag as usize) {
                    tag.life.push((event.at, event.kind));
                }
            }
            Kind::CarriedIn | Kind::CarriedOut => {}
            Kind::Retracted | Kind::Coverage | Kind::Scanned => return,
        }
        let Some(visit) = event.visit else {
            if self.is_of_day(event.at) {
                let (zone, article) = (self.zone(event.zone), self.article(tag));
                let what = if event.kind == Kind::PickedUp { PICKED_UP } else { PUT_DOWN };
                self.count(event.at, zone, article, what);
            }
            return;
        };
        let items = &mut self.open(visit, event.at, event.zone).items;
        let place = items.iter().position(|(known, _)| *known == tag).unwrap_or_else(|| {
            items.push((tag, Seen::default()));
            items.len() - 1
        });
        let seen = &mut items[place].1;
        match event.kind {
            Kind::CarriedIn => {
                seen.came.get_or_insert(event.at);
                seen.stayed = None;
            }
            Kind::TriedOn => drop(seen.tried.get_or_insert(event.at)),
            Kind::CarriedOut => {
                // It left before that was concluded: its stay is what the event says.
                let stay = i64::from(event.dwell_ds) * 100;
                let came = seen.came.unwrap_or(UnixMillis(event.at.0 - stay));
                seen.stayed = Some((came, UnixMillis((came.0 + stay).min(event.at.0.max(came.0)))));
            }
            Kind::PickedUp | Kind::PutDown | Kind::Retracted | Kind::Coverage | Kind::Scanned => {}
        }
    }

    /// What is collected of a visit of which something happened at this time.
    fn open(&mut self, visit: Visit, at: UnixMillis, zone: ZoneId) -> &mut Open {
        let (place, hour) = (self.zone(zone), self.hour(at));
        let stay = Stay { hour, zone: place, first: 0, items: 0, dwell_ds: None };
        self.visits.entry(visit).or_insert(Open { stay, began: at, items: Vec::new() })
    }

    fn finish(mut self, scans: Vec<Scans>, lines: &[Line], style: &dyn Fn(Gtin) -> u64) -> Day {
        let (mut stays, mut items) = (Vec::new(), Vec::new());
        let (mut tried, mut places) = (Vec::new(), Vec::new());
        for (_, open) in core::mem::take(&mut self.visits) {
            if !self.is_of_day(open.began) {
                continue;
            }
            let mut stay = open.stay;
            (stay.first, stay.items) = (index(items.len()), index(open.items.len()));
            stay.dwell_ds = dwell(&open.items);
            let visit = stays.len() as u64;
            for (tag, seen) in open.items {
                let article = self.article(tag);
                if let Some(came) = seen.came {
                    self.count(came.max(self.begin), stay.zone, article, CARRIED_IN);
                }
                let mut outcome = Outcome::NotSeen;
                if let Some((at, (epc, of))) = seen.tried.zip(self.tags.get_index(tag as usize)) {
                    outcome = self.outcome(&of.life, at);
                    let gtin = match self.articles.get_index(article as usize) {
                        Some((Article::Product(gtin), ())) => Some(*gtin),
                        Some((Article::Unknown, ())) | None => None,
                    };
                    tried.push(TryOn { at, visit, epc: *epc, gtin });
                    places.push(items.len());
                    self.count(at, stay.zone, article, TRIED_ON);
                }
                items.push(Item { article, tried: seen.tried.is_some(), outcome, sold: Sold::No });
            }
            stays.push(stay);
        }
        let sold = matching::sold(&tried, lines, |gtin| Some(style(gtin)));
        for (place, sold) in places.into_iter().zip(sold) {
            items[place].sold = match sold.map(|sold| sold.by) {
                None => Sold::No,
                Some(By::Style) => Sold::Style,
                Some(By::Product) => Sold::Product,
                Some(By::Tag) => Sold::Tag,
            };
        }
        let (picked, tills) = (self.picked(), self.tills(lines));
        let mut cells: Vec<Cell> = self
            .cells
            .into_iter()
            .map(|((hour, zone, article), counts)| Cell { hour, zone, article, counts })
            .collect();
        cells.sort_unstable_by_key(|cell| (cell.hour, cell.zone, cell.article));
        let unknown = self.articles.get_index_of(&Article::Unknown).map(index);
        let unknown_tags =
            self.tags.values().filter(|tag| unknown.is_some() && tag.article == unknown).count();
        Day {
            clock: self.span.hours.iter().map(|hour| hour.clock).collect(),
            unknown_tags: index(unknown_tags),
            articles: self.articles.into_keys().collect(),
            zones: self.zones.into_keys().collect(),
            cells,
            stays,
            items,
            picked,
            scans,
            tills,
        }
    }

    /// What became of a garment after a try-on, a sale aside.
    fn outcome(&self, life: &[(UnixMillis, Kind)], tried: UnixMillis) -> Outcome {
        let until = tried.0 + AFTERWARDS_MS;
        let back = life
            .iter()
            .any(|(at, kind)| *at > tried && at.0 <= until && matches!(kind, Kind::PickedUp | Kind::PutDown));
        match back {
            true => Outcome::Back,
            false if self.span.known_to.0 >= until => Outcome::NotSeen,
            false => Outcome::Open,
        }
    }

    /// The garments that were picked up on the day.
    fn picked(&mut self) -> Vec<Picked> {
        let mut all = Vec::new();
        for number in 0..index(self.tags.len()) {
            let mut of = Picked { article: 0, then_tried: false, times: 0, put_back: 0 };
            let life = self.tags.get_index(number as usize).map_or(&[][..], |(_, tag)| &tag.life);
            for (at, (when, kind)) in life.iter().enumerate() {
                if *kind != Kind::PickedUp || !self.is_of_day(*when) {
                    continue;
                }
                of.times = of.times.saturating_add(1);
                let rest = &life[at + 1..];
                let is_back = rest
                    .first()
                    .is_some_and(|(then, kind)| *kind == Kind::PutDown && then.0 - when.0 <= PUT_BACK_MS);
                of.put_back = of.put_back.saturating_add(u16::from(is_back));
                of.then_tried |= rest.iter().any(|(_, kind)| *kind == Kind::TriedOn);
            }
            if of.times > 0 {
                of.article = self.article(number);
                all.push(of);
            }
        }
        all
    }

    /// What passed the till on the day.
    fn tills(&mut self, lines: &[Line]) -> Vec<Till> {
        let mut tills: Map<u32, Till> = Map::default();
        let day = self.begin..self.span.end;
        for line in lines.iter().filter(|line| day.contains(&line.at)) {
            let article = line.gtin().map_or(Article::Unknown, Article::Product);
            let article = index(self.articles.insert_full(article, ()).0);
            let till = tills.entry(article).or_insert(Till { article, sold: 0, returned: 0 });
            let pieces = match line.kind {
                sale::Kind::Sale => &mut till.sold,
                sale::Kind::Return => &mut till.returned,
            };
            *pieces = pieces.saturating_add(line.quantity.get());
        }
        tills.into_values().collect()
    }
}

/// From the first garment's coming until the last one's going, in tenths of a second.
fn dwell(items: &[(u32, Seen)]) -> Option<u32> {
    let each: Option<Vec<_>> = items.iter().map(|(_, seen)| seen.stayed).collect();
    let each = each?;
    let came = each.iter().map(|(came, _)| came.0).min()?;
    let went = each.iter().map(|(_, went)| went.0).max()?;
    u32::try_from((went - came) / 100).ok()
}

/// A place in a list of a day, which is far shorter than 2³².
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;

//! How a day is added up. Enters: events, one after the other. Leaves: the day.

use alloc::vec::Vec;
use core::hash::BuildHasher as _;

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::{Epc, Gtin};
use hangtag_protocol::event::Kind;
use hangtag_protocol::id::ZoneId;
use rustc_hash::FxBuildHasher;

use super::{
    AFTERWARDS_MS, Cell, Day, Item, Outcome, PUT_BACK_MS, Picked, Scans, Shown, Sold, Span, Stay, Till,
};
use crate::handled::{Article, Handled, Map, Visit};
use crate::matching::{self, By, TryOn};
use crate::sale::{self, Line};

/// What is collected of a visit.
pub(super) struct Open {
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

/// What is collected of a day.
pub(super) struct Sums<'a> {
    span: Span<'a>,
    begin: UnixMillis,
    articles: Map<Article, ()>,
    zones: Map<ZoneId, ()>,
    cells: Map<(u8, u16, u32), [u16; 4]>,
    visits: Map<Visit, Open>,
    tags: Map<Epc, Tag>,
    shown: Map<Shown, ()>,
}

impl<'a> Sums<'a> {
    /// Begins.
    pub(super) fn new(span: Span<'a>, begin: UnixMillis) -> Self {
        Self {
            span,
            begin,
            articles: Map::default(),
            zones: Map::default(),
            cells: Map::default(),
            visits: Map::default(),
            tags: Map::default(),
            shown: Map::default(),
        }
    }

    /// Whether a moment is in the day.
    pub(super) fn is_of_day(&self, at: UnixMillis) -> bool {
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

    /// The place of a zone.
    pub(super) fn zone(&mut self, zone: ZoneId) -> u16 {
        u16::try_from(self.zones.insert_full(zone, ()).0).unwrap_or(u16::MAX)
    }

    fn count(&mut self, at: UnixMillis, zone: u16, article: u32, what: usize) {
        let counts = self.cells.entry((self.hour(at), zone, article)).or_default();
        counts[what] = counts[what].saturating_add(1);
    }

    /// Takes an event.
    pub(super) fn add(&mut self, event: &Handled) {
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
                self.shown.insert(Shown { zone, article, tag: part_of_hash(&event.epc) }, ());
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
    pub(super) fn open(&mut self, visit: Visit, at: UnixMillis, zone: ZoneId) -> &mut Open {
        let (place, hour) = (self.zone(zone), self.hour(at));
        let stay = Stay { hour, zone: place, first: 0, items: 0, dwell_ds: None };
        self.visits.entry(visit).or_insert(Open { stay, began: at, items: Vec::new() })
    }

    /// The day.
    pub(super) fn finish(mut self, scans: Vec<Scans>, lines: &[Line], style: &dyn Fn(Gtin) -> u64) -> Day {
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
            shown: self.shown.into_keys().collect(),
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
        // What is put back is known at once, what is bought only later: before the time has passed, neither counts.
        match back {
            _ if self.span.known_to.0 < until => Outcome::Open,
            true => Outcome::Back,
            false => Outcome::NotSeen,
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

/// The same for the same tag, on every day and in every program of this version.
fn part_of_hash(epc: &Epc) -> u32 {
    let hash = FxBuildHasher.hash_one(epc);
    // Both halves, so that it does not matter in which of them the hash is good.
    (hash ^ (hash >> 32)) as u32
}

/// A place in a list of a day, which is far shorter than 2³².
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

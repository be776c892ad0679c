//! A day in an invented shop, without its nights: what inference would conclude, without reads. Enters:
//! a seed. Leaves: numbered events, the same ones every time, and what inference would remember.
//!
//! Shoppers come, handle garments at one of six rails and shelves, and one in four tries some on in one of
//! four booths. Staff bring garments back. Four readers tell every minute that they listen. An hour
//! brings about 1,400 events: 36 % picked up, 38 % put down, 14 % in booths, 12 % coverage.
//!
//! Times and evidence are as inference makes them: it looks every half second, what it concludes then is
//! sorted by when it happened, and that is a whole tick ago (a movement), or some read (a garment that
//! went missing or came up elsewhere).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use hangtag_protocol::clock::{BootId, Uptime};
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::{Coverage, Event, Evidence, Fitting, Handling, ReaderState, What};
use hangtag_protocol::id::{ReaderId, Seq, ZoneId};
use serde::Serialize;

use super::dice::Dice;
use super::stock::Stock;

/// Tags of the usual shop.
pub(super) const TAGS: usize = 2_000;
/// Rails and shelves; the zones after these are booths.
pub(super) const FLOOR: [&str; 6] = ["rail-1", "rail-2", "rail-3", "rail-4", "shelf-1", "shelf-2"];
pub(super) const BOOTHS: [&str; 4] = ["booth-1", "booth-2", "booth-3", "booth-4"];
pub(super) const READERS: [&str; 4] = ["floor-a", "floor-b", "booths-a", "booths-b"];
/// The mean time between two events, in milliseconds.
pub(super) const EVENT_EVERY_MS: u64 = 2_500;

/// How often inference looks, in milliseconds.
const TICK_MS: u64 = 500;
const COVERAGE_MS: u64 = 60_000;
const SHOPPER_EVERY_MS: f64 = 31_000.0;
const STAFF_EVERY_MS: f64 = 600_000.0;

/// An endless day.
pub(super) struct Day {
    dice: Dice,
    boot: BootId,
    next: Seq,
    now: Uptime,
    stock: Stock,
    zones: Vec<ZoneId>,
    readers: Vec<ReaderId>,
    /// What is to come: when it is concluded, when it happened, in which order it was planned.
    plans: BinaryHeap<Reverse<(Uptime, Uptime, u64, Step)>>,
    planned: u64,
    /// Per booth, the open visit and how many garments of it are in there.
    visits: [Option<(Seq, u32)>; BOOTHS.len()],
    in_hand: BTreeMap<u32, (Uptime, u8)>,
    in_booth: BTreeMap<u32, Stay>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stay {
    booth: u8,
    visit: Seq,
    since: Uptime,
    tried: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Shopper,
    Staff,
    Coverage(u8),
    PickUp { zone: u8, sign: Sign, then: Then },
    PutDown { tag: u32 },
    CarryIn { tag: u32, booth: u8, stay_ms: u64 },
    TryOn { tag: u32 },
    CarryOut { tag: u32, on_floor: bool },
    Restock { tag: u32 },
}

/// What shows that a garment was picked up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    Phase,
    Level,
    Elsewhere,
    Gone,
}

/// What becomes of a garment that is picked up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Then {
    PutDown { after_ms: u64 },
    TryOn { at: Uptime, booth: u8, stay_ms: u64 },
}

impl Day {
    /// Opens the shop at `start`. The first event gets the number `first`.
    pub(super) fn new(tags: usize, seed: u64, boot: BootId, start: Uptime, first: Seq) -> Self {
        let mut dice = Dice::new(seed);
        let stock = Stock::new(tags, FLOOR.len(), start, &mut dice);
        let name = |text: &&str| ZoneId::new(text).expect("a name");
        let mut day = Self {
            dice,
            boot,
            next: first,
            now: start,
            stock,
            zones: FLOOR.iter().chain(&BOOTHS).map(name).collect(),
            readers: READERS.iter().map(|text| ReaderId::new(text).expect("a name")).collect(),
            plans: BinaryHeap::new(),
            planned: 0,
            visits: [None; BOOTHS.len()],
            in_hand: BTreeMap::new(),
            in_booth: BTreeMap::new(),
        };
        day.plan(0, Step::Shopper);
        day.plan(0, Step::Staff);
        for reader in 0..day.readers.len() {
            day.plan(COVERAGE_MS, Step::Coverage(u8::try_from(reader).expect("four readers")));
        }
        day
    }

    /// What inference would keep for a restart: the snapshot of `hangtag_agent_core::infer`.
    pub(super) fn snapshot(&self) -> Vec<u8> {
        let zone = |zone: u8| self.zones[usize::from(zone)];
        let visit = |(booth, visit): (usize, &Option<(Seq, u32)>)| {
            Some((self.zones[FLOOR.len() + booth], visit.as_ref()?.0))
        };
        let epc = |tag: u32| self.stock.garments[tag as usize].epc;
        let hand = self.in_hand.iter().map(|(tag, (since, from))| Kept::Hand {
            epc: epc(*tag),
            since: *since,
            from: Some(zone(*from)),
        });
        let booth = self.in_booth.iter().map(|(tag, stay)| Kept::Booth {
            epc: epc(*tag),
            zone: zone(stay.booth),
            visit: stay.visit,
            since: stay.since,
            tried: stay.tried,
        });
        let visits: Vec<(ZoneId, Seq)> = self.visits.iter().enumerate().filter_map(visit).collect();
        let garments: Vec<Kept> = hand.chain(booth).collect();
        let snapshot = (self.boot, visits, garments);
        let mut bytes = vec![1];
        bytes.extend(postcard::to_allocvec(&snapshot).expect("numbers and names always encode"));
        bytes
    }

    fn plan(&mut self, in_ms: u64, step: Step) {
        self.plan_at(self.now + in_ms, 0, step);
    }

    /// Plans what inference concludes in the first look after `when`, and what happened `ago_ms` before.
    fn plan_at(&mut self, when: Uptime, ago_ms: u64, step: Step) {
        let concluded = Uptime(when.0.next_multiple_of(TICK_MS));
        self.planned += 1;
        self.plans.push(Reverse((concluded, concluded - ago_ms, self.planned, step)));
    }

    fn handle(&mut self, step: Step, at: Uptime) -> Option<Event> {
        match step {
            Step::Shopper => self.shopper(),
            Step::Staff => self.staff(),
            Step::Coverage(reader) => {
                self.plan(COVERAGE_MS, step);
                let reader = self.readers[usize::from(reader)];
                let state = ReaderState::Listening;
                let what = What::Coverage(Coverage { reader, state, from: at - COVERAGE_MS });
                return Some(Event { boot: self.boot, at, confidence: 100, what });
            }
            Step::PickUp { zone, sign, then } => return self.pick_up(zone, at, sign, then),
            Step::PutDown { tag } => return Some(self.put_down(tag, at)),
            Step::CarryIn { tag, booth, stay_ms } => return self.carry_in(tag, booth, stay_ms, at),
            Step::TryOn { tag } => return self.try_on(tag, at),
            Step::CarryOut { tag, on_floor } => return self.carry_out(tag, at, on_floor),
            Step::Restock { tag } => self.stock.of(tag).rests_since = Some(at),
        }
        None
    }

    /// Somebody comes to a rail, handles some garments, and perhaps takes a few to a booth.
    fn shopper(&mut self) {
        let pause = self.dice.wait(SHOPPER_EVERY_MS);
        self.plan(pause, Step::Shopper);
        let zone = self.any_floor();
        let handled = 1 + self.dice.wait(3.4);
        let fitted = if self.dice.chance(0.25) { self.dice.between(1, 4).min(handled) } else { 0 };
        let empty = (0u8..4).find(|booth| self.visits[usize::from(*booth)].is_none());
        let booth = empty.unwrap_or(self.dice.between(0, 3) as u8);
        // Some rummage, some look closely.
        let pace = if self.dice.chance(0.3) { 3_000.0 } else { 18_000.0 };
        let mut after = 0;
        let reached: Vec<u64> = (0..handled)
            .map(|_| {
                after += self.dice.wait(pace);
                after
            })
            .collect();
        let entry = self.now + after + 20_000 + self.dice.wait(40_000.0);
        let stay_ms = 60_000 + fitted * 40_000 + self.dice.wait(90_000.0);
        for (garment, after) in (0..).zip(reached) {
            let (sign, ago_ms) = self.sign();
            let then = if garment < fitted {
                let jitter = self.dice.wait(1_500.0);
                Then::TryOn { at: entry + jitter, booth, stay_ms: stay_ms + self.dice.wait(1_500.0) }
            } else {
                Then::PutDown { after_ms: 6_000 + self.dice.wait(9_000.0) }
            };
            self.plan_at(self.now + after + ago_ms, ago_ms, Step::PickUp { zone, sign, then });
        }
    }

    /// Somebody of the staff hangs garments back.
    fn staff(&mut self) {
        let pause = self.dice.wait(STAFF_EVERY_MS);
        self.plan(pause, Step::Staff);
        let zone = self.any_floor();
        let mut after = 0;
        for _ in 0..self.dice.between(4, 16) {
            after += 1_500 + self.dice.wait(3_500.0);
            if let Some(tag) = self.stock.reach(zone, &mut self.dice) {
                self.stock.of(tag).rests_since = None;
                self.in_hand.insert(tag, (self.now, zone));
                self.plan_at(self.now + after, 5_500, Step::PutDown { tag });
            }
        }
    }

    /// What will show a picking up, and how long after it: a movement at once, a garment that comes up
    /// elsewhere or is only missed later, counted from its last read.
    fn sign(&mut self) -> (Sign, u64) {
        let read_ago = self.dice.between(0, TICK_MS - 1);
        match self.dice.between(0, 99) {
            0..62 => (Sign::Phase, 1_500),
            62..80 => (Sign::Level, 1_500),
            80..94 => (Sign::Elsewhere, 1_500 + read_ago),
            _ => (Sign::Gone, 30_000 + read_ago),
        }
    }

    fn pick_up(&mut self, zone: u8, at: Uptime, sign: Sign, then: Then) -> Option<Event> {
        let tag = self.stock.reach(zone, &mut self.dice)?;
        let (confidence, margin_db, unrest) = match sign {
            Sign::Phase => (90, 0, 100),
            Sign::Level => (75, 0, 100),
            Sign::Elsewhere => (95, self.margin(), 0),
            Sign::Gone => (65, 0, 0),
        };
        let garment = self.stock.of(tag);
        let (epc, since) = (garment.epc, garment.rests_since.take()?);
        let (zone, mean) = (garment.zone, garment.reads);
        let evidence = Evidence {
            reads: small(self.dice.about(mean * 0.8, mean.sqrt())),
            margin_db,
            unrest,
            dwell_ds: deciseconds(self.now.since(since)),
        };
        self.in_hand.insert(tag, (at, zone));
        match then {
            Then::PutDown { after_ms } => self.plan_at(self.now + after_ms, 5_500, Step::PutDown { tag }),
            Then::TryOn { at, booth, stay_ms } => {
                let ticks_seen = self.dice.between(4, 10);
                let entry = at.max(self.now);
                self.plan_at(entry, ticks_seen * TICK_MS, Step::CarryIn { tag, booth, stay_ms });
            }
        }
        let what = What::PickedUp(Handling { epc, zone: self.zones[usize::from(zone)], evidence });
        Some(Event { boot: self.boot, at, confidence, what })
    }

    fn put_down(&mut self, tag: u32, at: Uptime) -> Event {
        let (since, from) = self.in_hand.remove(&tag).unwrap_or((at, 0));
        let at = at.max(since);
        let zone = if self.dice.chance(0.1) { self.any_floor() } else { from };
        let margin_db = self.margin();
        let garment = self.stock.of(tag);
        (garment.zone, garment.rests_since) = (zone, Some(at));
        let (epc, mean) = (garment.epc, garment.reads);
        let evidence = Evidence {
            reads: small(self.dice.about(mean, mean.sqrt())),
            margin_db,
            unrest: 0,
            dwell_ds: deciseconds(at.since(since)),
        };
        let what = What::PutDown(Handling { epc, zone: self.zones[usize::from(zone)], evidence });
        Event { boot: self.boot, at, confidence: if zone == from { 80 } else { 85 }, what }
    }

    fn carry_in(&mut self, tag: u32, booth: u8, stay_ms: u64, at: Uptime) -> Option<Event> {
        self.in_hand.remove(&tag)?;
        let visit = &mut self.visits[usize::from(booth)];
        let (visit, garments) = visit.get_or_insert((self.next, 0));
        *garments += 1;
        let visit = *visit;
        let zone = booth + FLOOR.len() as u8;
        self.in_booth.insert(tag, Stay { booth: zone, visit, since: at, tried: false });
        let on_floor = self.dice.chance(0.7);
        let read_ago = self.dice.between(0, TICK_MS - 1);
        let ago_ms = read_ago + if on_floor { 2_000 } else { 25_000 };
        self.plan_at(self.now + stay_ms + ago_ms, ago_ms, Step::CarryOut { tag, on_floor });
        if self.dice.chance(0.75) {
            let put_on_ago = self.dice.between(20, 60) * TICK_MS;
            let after = 31_000 + self.dice.between(0, stay_ms - 32_000);
            self.plan_at(self.now + after, put_on_ago, Step::TryOn { tag });
        }
        let margin_db = self.margin();
        let evidence = self.evidence(tag, 0.9, margin_db, 0, 0);
        let what = What::CarriedIn(self.fitting(tag, zone, visit, evidence));
        Some(Event { boot: self.boot, at, confidence: 70 + margin_db.min(25), what })
    }

    fn try_on(&mut self, tag: u32, at: Uptime) -> Option<Event> {
        let stay = self.in_booth.get_mut(&tag)?;
        stay.tried = true;
        let stay = *stay;
        // Concluded as soon as enough of the last 64 looks speak for it.
        let worn = 34 + if self.dice.chance(0.5) { 0 } else { self.dice.between(1, 20) as u8 };
        let margin_db = self.margin();
        let dwell = deciseconds(self.now.since(stay.since));
        let evidence = self.evidence(
            tag,
            0.4,
            margin_db,
            u8::try_from(u32::from(worn) * 100 / 64).unwrap_or(100),
            dwell,
        );
        let what = What::TriedOn(self.fitting(tag, stay.booth, stay.visit, evidence));
        Some(Event { boot: self.boot, at: at.max(stay.since), confidence: 60 + worn - 34, what })
    }

    fn carry_out(&mut self, tag: u32, at: Uptime, on_floor: bool) -> Option<Event> {
        let stay = self.in_booth.remove(&tag)?;
        let slot = &mut self.visits[usize::from(stay.booth) - FLOOR.len()];
        *slot = slot.map(|(visit, garments)| (visit, garments - 1)).filter(|(_, garments)| *garments > 0);
        if self.dice.chance(0.3) {
            // Bought. The shop does not run empty: another piece comes, for simplicity with the same tag.
            self.plan(3_600_000, Step::Restock { tag });
        } else {
            let from = self.stock.of(tag).zone;
            self.in_hand.insert(tag, (at, from));
            let back_ms = 20_000 + self.dice.wait(240_000.0);
            self.plan_at(self.now + back_ms, 5_500, Step::PutDown { tag });
        }
        let margin_db = if on_floor { self.margin() } else { 0 };
        let dwell = deciseconds(at.since(stay.since));
        let evidence = self.evidence(tag, 0.2, margin_db, 0, dwell);
        let what = What::CarriedOut(self.fitting(tag, stay.booth, stay.visit, evidence));
        Some(Event { boot: self.boot, at, confidence: if on_floor { 95 } else { 80 }, what })
    }

    fn fitting(&mut self, tag: u32, zone: u8, visit: Seq, evidence: Evidence) -> Fitting {
        Fitting { epc: self.stock.of(tag).epc, zone: self.zones[usize::from(zone)], visit, evidence }
    }

    fn evidence(&mut self, tag: u32, share: f64, margin_db: u8, unrest: u8, dwell_ds: u16) -> Evidence {
        let mean = self.stock.of(tag).reads * share;
        Evidence { reads: small(self.dice.about(mean, mean.sqrt())), margin_db, unrest, dwell_ds }
    }

    fn any_floor(&mut self) -> u8 {
        self.dice.between(0, FLOOR.len() as u64 - 1) as u8
    }

    /// By how many dB a zone wins when it wins.
    fn margin(&mut self) -> u8 {
        self.dice.about(17.0, 5.0).clamp(6, 40) as u8
    }
}

impl Iterator for Day {
    type Item = (Seq, Event);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Reverse((now, at, _, step)) = self.plans.pop()?;
            self.now = now;
            if let Some(event) = self.handle(step, at) {
                let seq = self.next;
                self.next = seq.plus(1);
                return Some((seq, event));
            }
        }
    }
}

fn small(reads: u64) -> u16 {
    u16::try_from(reads.max(1)).unwrap_or(u16::MAX)
}

fn deciseconds(ms: u64) -> u16 {
    u16::try_from(ms / 100).unwrap_or(u16::MAX)
}

#[derive(Serialize)]
enum Kept {
    Hand { epc: Epc, since: Uptime, from: Option<ZoneId> },
    Booth { epc: Epc, zone: ZoneId, visit: Seq, since: Uptime, tried: bool },
}

#[cfg(test)]
mod tests {
    use super::*;
    use hangtag_agent_core::infer::{Inference, Layout, Zone, ZoneKind};
    use hangtag_protocol::event::Kind;

    fn day() -> Day {
        Day::new(TAGS, 7, BootId(1), Uptime(10_000_000), Seq(501))
    }

    #[test]
    fn is_the_same_from_the_same_seed() {
        let events = |mut day: Day| day.by_ref().take(5_000).collect::<Vec<_>>();
        assert_eq!(events(day()), events(day()));
        let other = Day::new(TAGS, 8, BootId(1), Uptime(10_000_000), Seq(501));
        assert_ne!(events(day()), events(other));
    }

    #[test]
    fn looks_like_a_day() {
        const EVENTS: usize = 50_000;
        let events: Vec<(Seq, Event)> = day().take(EVENTS).collect();
        let share = |kind| {
            let of_kind = events.iter().filter(|(_, event)| event.kind() == kind).count();
            of_kind as f64 / EVENTS as f64
        };
        assert!((0.30..0.42).contains(&share(Kind::PickedUp)), "{}", share(Kind::PickedUp));
        assert!((0.30..0.45).contains(&share(Kind::PutDown)), "{}", share(Kind::PutDown));
        assert!((0.02..0.08).contains(&share(Kind::TriedOn)), "{}", share(Kind::TriedOn));
        assert!((0.08..0.20).contains(&share(Kind::Coverage)), "{}", share(Kind::Coverage));
        let last = events.last().unwrap().1.at;
        let every = last.since(Uptime(10_000_000)) / EVENTS as u64;
        assert!(every.abs_diff(EVENT_EVERY_MS) < EVENT_EVERY_MS / 10, "{every} ms");
    }

    #[test]
    fn every_visit_is_named_by_the_event_that_opened_it() {
        let events: Vec<(Seq, Event)> = day().take(20_000).collect();
        for ((seq, event), expected) in events.iter().zip(501..) {
            assert_eq!(seq.0, expected, "no gaps");
            let Some((_, zone, Some(visit), _)) = event.garment() else { continue };
            let opened = &events[usize::try_from(visit.0 - 501).unwrap()].1;
            assert_eq!((opened.kind(), opened.garment().unwrap().1), (Kind::CarriedIn, zone));
            assert!(visit <= *seq);
        }
    }

    #[test]
    fn inference_takes_up_the_snapshot() {
        let mut day = day();
        let now = day.by_ref().take(1_000).last().unwrap().1.at;
        let zone = |text: &&str| Zone { id: ZoneId::new(text).unwrap(), kind: ZoneKind::Rail };
        let layout = Layout::new(FLOOR.iter().chain(&BOOTHS).map(zone).collect());
        let mut inference = Inference::new(layout, BootId(1), Seq(1), now);
        inference.restore(&day.snapshot(), now).unwrap();
        assert_eq!(inference.tags(), day.in_hand.len() + day.in_booth.len());
        assert!(inference.tags() > 0);
    }
}

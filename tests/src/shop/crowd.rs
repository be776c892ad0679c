//! Everybody in the shop: who comes when, and whose turn it is. Enters: settings, and time through
//! [`Crowd::step`]. Leaves: turns for [`shopper`](super::shopper) and [`staff`](super::staff), which
//! change the [`floor`](super::floor). Nobody looks at what readers see.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use hangtag_protocol::epc::Epc;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::floor::{Body, Floor};
use super::space::{Point, Way};
use super::staff::{BACK_ROOM, Errand};
use super::stock::Product;
use super::{Difficulty, Pace, Sale, Settings};

pub(super) struct Crowd {
    pub(super) rng: ChaCha8Rng,
    pub(super) habits: Habits,
    pub(super) products: Vec<Product>,
    pub(super) people: BTreeMap<u32, Person>,
    pub(super) next_person: u32,
    pub(super) next_arrival_ms: u64,
    pub(super) next_visit: u32,
    pub(super) next_serial: u64,
    /// Zones of booths that somebody is in or on the way to.
    pub(super) taken_booths: Vec<usize>,
    pub(super) errands: VecDeque<Errand>,
    /// Whether some styles are bought more often than others.
    pub(super) tastes_differ: bool,
    pub(super) next_receipt: u32,
    pub(super) sales: Vec<Sale>,
}

pub(super) struct Person {
    pub(super) tasks: VecDeque<Task>,
    pub(super) wake_ms: u64,
    /// The zone it stands at.
    pub(super) zone: usize,
    pub(super) picks_left: u32,
    pub(super) held: Vec<Item>,
    pub(super) hooked: Vec<Item>,
    pub(super) to_try: Vec<Item>,
    pub(super) stay: Option<Stay>,
}

/// A garment in somebody's care.
#[derive(Clone, Copy)]
pub(super) struct Item {
    pub(super) garment: usize,
    pub(super) home: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Stay {
    pub(super) booth: usize,
    pub(super) visit: u32,
}

#[derive(Clone, Copy)]
pub(super) enum Task {
    Walk(Point),
    Linger(u64),
    /// Goes to a random spot before a zone.
    Visit(usize),
    Take,
    /// Put it back, take another one, or go and try.
    Decide,
    Lay(Item, usize),
    Settle(Item, usize),
    SeekBooth {
        tries: u32,
    },
    Enter,
    Hang,
    Fit,
    /// Worn for long enough to be tried on, and for so long still.
    GoOnWearing(Item, u64),
    TakeOff(Item),
    Collect,
    Leave,
    /// What was not bought goes back, the rest to the till.
    Disperse,
    Pay,
    Exit,
    Tidy,
    TakeErrand(Errand),
}

/// What a pace means. Times in milliseconds.
pub(super) struct Habits {
    /// Shoppers who stand before the zones when the shop opens, one at each.
    pub(super) wait_at_opening: u32,
    pub(super) arrival_ms: u64,
    pub(super) most_shoppers: usize,
    pub(super) metres_per_s: f64,
    pub(super) browse_ms: Range<u64>,
    pub(super) hold_ms: Range<u64>,
    pub(super) wear_ms: Range<u64>,
    pub(super) picks: Range<u32>,
    /// Shares of arrivals, decisions and garments, 0 to 1.
    pub(super) passes_by: f64,
    pub(super) puts_back: f64,
    pub(super) tries_on: f64,
    pub(super) tidy_ms: u64,
}

/// The share of garments that are bought of those about which somebody has made up their mind, where tastes do not
/// differ.
const BOUGHT: f64 = 0.35;

pub(super) const STAFF: u32 = 0;
pub(super) const ENTRANCE: Point = Point::new(10.0, 4.0, 0.0);
pub(super) const WAITING: Point = Point::new(7.0, 6.8, 0.0);
pub(super) const FLOOR_ZONES: Range<usize> = 0..3;

impl Habits {
    fn new(settings: Settings) -> Self {
        let passes_by = match settings.difficulty {
            Difficulty::Easy => 0.1,
            Difficulty::Normal => 0.25,
            Difficulty::Hard => 0.4,
        };
        match settings.pace {
            Pace::Demo => Self {
                wait_at_opening: 3,
                arrival_ms: 11_000,
                most_shoppers: 7,
                metres_per_s: 1.5,
                browse_ms: 800..2_500,
                hold_ms: 3_000..7_000,
                wear_ms: 30_000..50_000,
                picks: 1..4,
                passes_by,
                puts_back: 0.4,
                tries_on: 0.75,
                tidy_ms: 10_000,
            },
            Pace::Shop | Pace::Closed => Self {
                wait_at_opening: 0,
                arrival_ms: 60_000,
                most_shoppers: 10,
                metres_per_s: 0.9,
                browse_ms: 3_000..20_000,
                hold_ms: 3_000..15_000,
                wear_ms: 30_000..90_000,
                picks: 1..6,
                passes_by,
                puts_back: 0.5,
                tries_on: 0.7,
                tidy_ms: 40_000,
            },
        }
    }
}

impl Crowd {
    pub(super) fn new(settings: Settings, products: Vec<Product>) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(settings.seed ^ 0x7065_6f70_6c65_0000),
            habits: Habits::new(settings),
            products,
            people: BTreeMap::new(),
            next_person: STAFF,
            next_arrival_ms: if settings.pace == Pace::Closed { u64::MAX } else { 0 },
            next_visit: 1,
            next_serial: 1_000,
            taken_booths: Vec::new(),
            errands: VecDeque::new(),
            tastes_differ: false,
            next_receipt: 1,
            sales: Vec::new(),
        }
    }

    /// How likely it is that whoever has made up their mind buys a garment.
    pub(super) fn appeal(&self, epc: Epc) -> f64 {
        let gtin = epc.sgtin().map(|sgtin| sgtin.gtin()).filter(|_| self.tastes_differ);
        let product = self.products.iter().find(|product| Some(product.gtin) == gtin);
        product.map_or(BOUGHT, |product| product.appeal)
    }

    /// Garments go over the counter, on one receipt.
    pub(super) fn sell(&mut self, sold: &[Epc], at_ms: u64) {
        if !sold.is_empty() {
            let receipt = self.next_receipt;
            self.next_receipt += 1;
            let line = |(line, epc): (u32, &Epc)| Sale { at_ms, receipt, line, epc: *epc };
            self.sales.extend((1..).zip(sold).map(line));
        }
    }

    /// When somebody does something next.
    pub(super) fn next_ms(&self) -> u64 {
        self.people.values().map(|p| p.wake_ms).min().unwrap_or(u64::MAX).min(self.next_arrival_ms)
    }

    /// Does what is due at [`next_ms`](Self::next_ms).
    pub(super) fn step(&mut self, floor: &mut Floor) {
        let now_ms = self.next_ms();
        if self.next_arrival_ms <= now_ms {
            self.arrive(floor, now_ms);
            return;
        }
        let due = self.people.iter().find(|(_, p)| p.wake_ms <= now_ms).map(|(id, _)| *id);
        let id = due.expect("somebody is due at the next time");
        // Out of the map while it acts, so that it can touch everything else.
        let mut person = self.people.remove(&id).expect("just found");
        let task = person.tasks.pop_front().unwrap_or(if id == STAFF { Task::Tidy } else { Task::Exit });
        if let Some(ms) = self.act(id, &mut person, task, floor, now_ms) {
            person.wake_ms = now_ms + ms;
            self.people.insert(id, person);
        } else {
            floor.bodies().remove(&id);
        }
    }

    fn arrive(&mut self, floor: &mut Floor, now_ms: u64) {
        let id = self.next_person;
        let waiting = id <= self.habits.wait_at_opening;
        self.next_arrival_ms = now_ms
            + match (id, waiting) {
                (STAFF, _) => 100,
                (_, true) => 1_200,
                (_, false) => self.between(self.habits.arrival_ms / 3..self.habits.arrival_ms * 5 / 3),
            };
        if id != STAFF && self.people.len() > self.habits.most_shoppers {
            return;
        }
        self.next_person += 1;
        let mut person = Person {
            tasks: VecDeque::new(),
            wake_ms: now_ms,
            zone: self.rng.random_range(FLOOR_ZONES),
            picks_left: self.rng.random_range(self.habits.picks.clone()),
            held: Vec::new(),
            hooked: Vec::new(),
            to_try: Vec::new(),
            stay: None,
        };
        let mut at = if id == STAFF { BACK_ROOM } else { ENTRANCE };
        if id != STAFF {
            if waiting {
                person.zone = id as usize - 1;
                person.picks_left = person.picks_left.max(2);
                at = self.spot(floor, person.zone);
                person.tasks.extend([Task::Linger(2_500), Task::Take]);
            } else if self.rng.random_bool(self.habits.passes_by) {
                self.pass_by(floor, &mut person);
            } else {
                self.browse(&mut person);
            }
        }
        let body = Body {
            way: Way::rest(at),
            facing: floor.layout.zones[person.zone].front.unit() * -1.0,
            salt: self.rng.random(),
            restless_m: 0.03,
        };
        floor.bodies().insert(id, body);
        self.people.insert(id, person);
    }

    /// Along the rails and out again, without touching anything.
    fn pass_by(&mut self, floor: &Floor, person: &mut Person) {
        for zone in [1, 0, 2] {
            let z = &floor.layout.zones[zone];
            person.tasks.extend([Task::Walk(z.to + z.front), Task::Walk(z.from + z.front)]);
            if self.rng.random_bool(0.5) {
                person.tasks.push_back(Task::Linger(self.between(500..3_000)));
            }
        }
    }

    pub(super) fn browse(&mut self, person: &mut Person) {
        let zone = self.rng.random_range(FLOOR_ZONES);
        person.zone = zone;
        let look = self.between(self.habits.browse_ms.clone());
        person.tasks.extend([Task::Visit(zone), Task::Linger(look), Task::Take]);
    }

    pub(super) fn walk(&mut self, id: u32, floor: &mut Floor, to: Point, now: u64) -> u64 {
        let body = floor.bodies().get_mut(&id).expect("present");
        let (ms, to) = (now as f64, to.at_height(0.0));
        let from = body.way.at(ms);
        let length = from.distance(to);
        // Every other person is a little slower than the next.
        let speed = self.habits.metres_per_s * (0.85 + 0.3 * body.salt);
        let duration = length / speed * 1000.0 + 300.0;
        if length > 0.3 {
            body.facing = (to - from).unit();
        }
        body.way = Way { from, to, from_ms: ms, to_ms: ms + duration };
        duration as u64
    }

    pub(super) fn face(&self, id: u32, floor: &mut Floor, zone: usize) {
        let facing = floor.layout.zones[zone].front.unit() * -1.0;
        floor.bodies().get_mut(&id).expect("present").facing = facing;
    }

    /// A random spot before a zone.
    pub(super) fn spot(&mut self, floor: &Floor, zone: usize) -> Point {
        let z = &floor.layout.zones[zone];
        (z.from.towards(z.to, self.rng.random_range(0.1..0.9)) + z.front).at_height(0.0)
    }

    pub(super) fn between(&mut self, range: Range<u64>) -> u64 {
        self.rng.random_range(range)
    }
}

//! What people do next, one task at a time: browse, pick up, put back, try on, buy, or only walk past.
//! Enters: a person whose turn it is. Leaves: changes to the [`floor`](super::floor) and to the
//! person's plan.

use hangtag_protocol::event::Kind;
use rand::RngExt as _;

use super::SHORTEST_TRY_ON_MS;
use super::crowd::{Crowd, ENTRANCE, FLOOR_ZONES, Item, Person, STAFF, Stay, Task, WAITING};
use super::floor::{Floor, REACH_MS};
use super::layout::{CURTAIN_Y, ZoneKind};
use super::space::Point;
use super::staff::Errand;

impl Crowd {
    /// Does one thing and says how many milliseconds it takes; `None` when the person is gone.
    pub(super) fn act(
        &mut self,
        id: u32,
        person: &mut Person,
        task: Task,
        floor: &mut Floor,
        now: u64,
    ) -> Option<u64> {
        let standing = floor.bodies()[&id].at(now as f64);
        Some(match task {
            Task::Walk(to) => self.walk(id, floor, to, now),
            Task::Linger(ms) => ms,
            Task::Visit(zone) => {
                person.zone = zone;
                let spot = self.spot(floor, zone);
                let ms = self.walk(id, floor, spot, now);
                person.tasks.push_front(Task::Linger(300));
                ms
            }
            Task::Take => {
                if floor.layout.zones[person.zone].is_floor() {
                    self.face(id, floor, person.zone);
                }
                let near = floor.resting_in(person.zone, standing);
                let within = near.iter().take_while(|(_, d)| *d < 0.8).count();
                if within == 0 {
                    person.tasks.push_front(Task::Decide);
                    return Some(500);
                }
                let (garment, _) = near[self.rng.random_range(0..within.min(8))];
                floor.take(garment, id, now, &mut self.rng);
                person.held.push(Item { garment, home: person.zone });
                person.picks_left = person.picks_left.saturating_sub(1);
                person.tasks.push_front(Task::Decide);
                REACH_MS + self.between(self.habits.hold_ms.clone())
            }
            Task::Decide => {
                self.decide(person);
                0
            }
            Task::Lay(item, zone) => {
                person.held.retain(|held| held.garment != item.garment);
                let near = standing + Point::new(self.rng.random_range(-0.3..0.3), 0.0, 0.0);
                floor.lay(item.garment, zone, near, now);
                person.tasks.push_front(Task::Settle(item, zone));
                REACH_MS
            }
            Task::Settle(item, zone) => {
                floor.settle(item.garment, zone, now, &mut self.rng);
                400
            }
            Task::SeekBooth { tries } => self.seek_booth(id, person, tries, floor, now),
            Task::Enter => {
                let stay = person.stay.expect("only whoever got a booth enters");
                for item in &person.held {
                    floor.tell(Kind::CarriedIn, item.garment, stay.booth, Some(stay.visit), now);
                }
                person.to_try = person.held.clone();
                person.to_try.retain(|_| self.rng.random_bool(self.habits.tries_on));
                person.tasks.push_front(Task::Hang);
                let centre = floor.layout.zones[stay.booth].middle() + floor.layout.zones[stay.booth].front;
                self.walk(id, floor, centre, now)
            }
            Task::Hang => self.hang(id, person, floor, now),
            Task::Fit => self.fit(id, person, floor),
            Task::GoOnWearing(item, rest_ms) => {
                let stay = person.stay.expect("worn in a booth");
                floor.tell(
                    Kind::TriedOn,
                    item.garment,
                    stay.booth,
                    Some(stay.visit),
                    now - SHORTEST_TRY_ON_MS,
                );
                rest_ms
            }
            Task::TakeOff(item) => {
                let stay = person.stay.expect("worn in a booth");
                floor.lay(item.garment, stay.booth, standing, now);
                person.hooked.push(item);
                person.tasks.push_front(Task::Fit);
                person.tasks.push_front(Task::Settle(item, stay.booth));
                REACH_MS
            }
            Task::Collect => self.collect(id, person, floor, now),
            Task::Leave => {
                let stay = person.stay.take().expect("only whoever is in a booth leaves it");
                for item in &person.held {
                    floor.tell(Kind::CarriedOut, item.garment, stay.booth, Some(stay.visit), now);
                }
                self.taken_booths.retain(|booth| *booth != stay.booth);
                floor.bodies().get_mut(&id).expect("present").restless_m = 0.03;
                let front = booth_front(floor, stay.booth);
                person.tasks.push_front(if id == STAFF { Task::Tidy } else { Task::Disperse });
                self.walk(id, floor, front, now)
            }
            Task::Disperse => {
                self.disperse(floor, person);
                200
            }
            Task::Pay => {
                let mut sold = Vec::new();
                for item in std::mem::take(&mut person.held) {
                    if self.rng.random_bool(0.15) {
                        // Thought better of it: stays on the counter for staff to return.
                        floor.lay(item.garment, till(floor), standing, now);
                        floor.settle(item.garment, till(floor), now, &mut self.rng);
                        self.errands.push_back(Errand::FromTill(item));
                    } else {
                        sold.push(floor.epc(item.garment));
                        floor.remove(item.garment);
                    }
                }
                self.sell(&sold, now);
                4_000
            }
            Task::Exit => {
                if standing.distance(ENTRANCE) < 0.3 {
                    return None;
                }
                self.walk(id, floor, ENTRANCE, now)
            }
            Task::Tidy => self.tidy(id, person, floor, now),
            Task::TakeErrand(errand) => {
                let (Errand::FromBooth(item, _) | Errand::FromTill(item)) = errand;
                floor.take(item.garment, id, now, &mut self.rng);
                person.held.push(item);
                if let Errand::FromBooth(_, stay) = errand {
                    person.stay = Some(stay);
                    person.tasks.push_front(Task::Leave);
                    person.tasks.push_front(Task::Walk(curtain(floor, stay.booth)));
                }
                REACH_MS
            }
        })
    }

    fn decide(&mut self, person: &mut Person) {
        if let Some(last) = person.held.last().copied()
            && self.rng.random_bool(self.habits.puts_back)
        {
            person.tasks.push_back(Task::Lay(last, person.zone));
        }
        let full = person.held.len() >= 4;
        if person.picks_left > 0 && !full {
            if self.rng.random_bool(0.5) {
                self.browse(person);
            } else {
                let look = self.between(500..2_500);
                person.tasks.extend([Task::Linger(look), Task::Take]);
            }
        } else {
            person.tasks.push_back(Task::SeekBooth { tries: 8 });
        }
    }

    fn seek_booth(&mut self, id: u32, person: &mut Person, tries: u32, floor: &mut Floor, now: u64) -> u64 {
        if person.held.is_empty() {
            return 0;
        }
        // A few know that it fits.
        let wants = tries < 8 || self.rng.random_bool(0.8);
        if !wants || tries == 0 {
            person.tasks.push_front(Task::Disperse);
            return 0;
        }
        let booths = floor.layout.zones.iter().enumerate().filter(|(_, z)| z.kind == ZoneKind::Booth);
        let free: Vec<usize> =
            booths.map(|(at, _)| at).filter(|booth| !self.taken_booths.contains(booth)).collect();
        if free.is_empty() {
            person.tasks.push_front(Task::SeekBooth { tries: tries - 1 });
            return self.walk(id, floor, WAITING, now).max(5_000);
        }
        let booth = free[self.rng.random_range(0..free.len())];
        self.taken_booths.push(booth);
        person.stay = Some(Stay { booth, visit: self.next_visit });
        self.next_visit += 1;
        let front = booth_front(floor, booth);
        person.tasks.push_front(Task::Enter);
        person.tasks.push_front(Task::Walk(curtain(floor, booth)));
        self.walk(id, floor, front, now)
    }

    /// Hangs what is held on the hooks, one garment after the other.
    fn hang(&mut self, id: u32, person: &mut Person, floor: &mut Floor, now: u64) -> u64 {
        let stay = person.stay.expect("hooks are in booths");
        floor.bodies().get_mut(&id).expect("present").restless_m = 0.12;
        let Some(item) = person.held.pop() else {
            person.tasks.push_front(Task::Fit);
            return self.between(1_500..4_000);
        };
        let hooks = &floor.layout.zones[stay.booth];
        let hook = hooks.from.towards(hooks.to, 0.15 + 0.22 * person.held.len() as f64);
        floor.lay(item.garment, stay.booth, hook, now);
        person.hooked.push(item);
        person.tasks.push_front(Task::Hang);
        person.tasks.push_front(Task::Settle(item, stay.booth));
        REACH_MS
    }

    /// Puts the next garment on, or leaves.
    fn fit(&mut self, id: u32, person: &mut Person, floor: &mut Floor) -> u64 {
        let Some(item) = person.to_try.pop() else {
            person.tasks.push_front(Task::Collect);
            return self.between(2_000..8_000);
        };
        person.hooked.retain(|hooked| hooked.garment != item.garment);
        floor.wear(item.garment, id, &mut self.rng);
        // Some see in a moment that it is the wrong size.
        let short = self.rng.random_bool(0.05);
        let worn = if short { 6_000..14_000 } else { self.habits.wear_ms.clone() };
        let ms = self.between(worn);
        person.tasks.push_front(Task::TakeOff(item));
        let Some(rest_ms) = ms.checked_sub(SHORTEST_TRY_ON_MS) else { return ms };
        person.tasks.push_front(Task::GoOnWearing(item, rest_ms));
        SHORTEST_TRY_ON_MS
    }

    /// Takes the garments from the hooks; one in ten stays behind.
    fn collect(&mut self, id: u32, person: &mut Person, floor: &mut Floor, now: u64) -> u64 {
        let stay = person.stay.expect("hooks are in booths");
        if let Some(item) = person.hooked.pop() {
            if self.rng.random_bool(0.1) {
                self.errands.push_back(Errand::FromBooth(item, stay));
            } else {
                floor.take(item.garment, id, now, &mut self.rng);
                person.held.push(item);
            }
            person.tasks.push_front(Task::Collect);
            return REACH_MS;
        }
        person.tasks.push_front(Task::Leave);
        self.walk(id, floor, curtain(floor, stay.booth), now)
    }

    fn disperse(&mut self, floor: &Floor, person: &mut Person) {
        let mut keep = Vec::new();
        for item in person.held.clone() {
            if self.rng.random_bool(self.appeal(floor.epc(item.garment))) {
                keep.push(item);
                continue;
            }
            let wrong = self.rng.random_bool(0.12);
            let zone = if wrong { self.rng.random_range(FLOOR_ZONES) } else { item.home };
            let look = self.between(500..2_000);
            person.tasks.extend([Task::Visit(zone), Task::Linger(look), Task::Lay(item, zone)]);
        }
        if !keep.is_empty() {
            let till = &floor.layout.zones[till(floor)];
            person.tasks.extend([Task::Walk(till.middle() + till.front), Task::Linger(3_000), Task::Pay]);
        }
    }
}

pub(super) fn curtain(floor: &Floor, booth: usize) -> Point {
    Point::new(floor.layout.zones[booth].middle().x, CURTAIN_Y, 0.0)
}

pub(super) fn booth_front(floor: &Floor, booth: usize) -> Point {
    Point::new(floor.layout.zones[booth].middle().x, CURTAIN_Y - 0.6, 0.0)
}

pub(super) fn till(floor: &Floor) -> usize {
    floor.layout.zones.iter().position(|z| z.kind == ZoneKind::Till).expect("the shop has a till")
}

//! What staff does: carries home what lies about, and refills rails from the back room. Enters: the
//! member of staff whose turn it is. Leaves: tasks for it, and new garments with their own tags.

use rand::RngExt as _;

use super::crowd::{Crowd, FLOOR_ZONES, Item, Person, Stay, Task};
use super::floor::Floor;
use super::shopper::{booth_front, till};
use super::space::Point;
use super::stock::Product;

/// Something for staff to carry home.
#[derive(Clone, Copy)]
pub(super) enum Errand {
    FromBooth(Item, Stay),
    FromTill(Item),
}

pub(super) const BACK_ROOM: Point = Point::new(10.0, 8.5, 0.0);
/// A rail with fewer garments is refilled.
const SCARCE: usize = 30;

impl Crowd {
    /// Finds the next thing to do and says how many milliseconds until the turn after it.
    pub(super) fn tidy(&mut self, id: u32, person: &mut Person, floor: &mut Floor, now: u64) -> u64 {
        if let Some(item) = person.held.first().copied() {
            person.tasks.extend([Task::Visit(item.home), Task::Linger(500), Task::Lay(item, item.home)]);
            return 0;
        }
        if let Some(errand) = self.errands.pop_front() {
            match errand {
                Errand::FromBooth(_, stay) if self.taken_booths.contains(&stay.booth) => {
                    self.errands.push_back(errand);
                    return 3_000;
                }
                Errand::FromBooth(_, stay) => {
                    self.taken_booths.push(stay.booth);
                    let booth = &floor.layout.zones[stay.booth];
                    let centre = booth.middle() + booth.front;
                    person.tasks.extend([Task::Walk(booth_front(floor, stay.booth)), Task::Walk(centre)]);
                }
                Errand::FromTill(_) => {
                    person.tasks.push_back(Task::Walk(floor.layout.zones[till(floor)].middle()));
                }
            }
            person.tasks.push_back(Task::TakeErrand(errand));
            return 500;
        }
        let mut zones = FLOOR_ZONES;
        let scarce = zones.find(|zone| floor.resting_in(*zone, BACK_ROOM).len() < SCARCE);
        let at_back = floor.bodies()[&id].at(now as f64).distance(BACK_ROOM) < 0.3;
        match (scarce, floor.first_gone(), at_back) {
            (Some(_), Some(_), false) | (None, _, false) | (_, None, false) => {
                self.walk(id, floor, BACK_ROOM, now).max(1_000)
            }
            (Some(home), Some(garment), true) => {
                let fitting: Vec<&Product> = self.products.iter().filter(|p| p.home == home).collect();
                let product = fitting[self.rng.random_range(0..fitting.len())];
                floor.replace(garment, product.epc(self.next_serial));
                self.next_serial += 1;
                floor.take(garment, id, now, &mut self.rng);
                person.held.push(Item { garment, home });
                1_000
            }
            (None, _, true) | (_, None, true) => self.habits.tidy_ms,
        }
    }
}

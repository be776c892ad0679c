//! Where every garment and every body is at any moment. Enters: what people do with garments. Leaves:
//! positions as smooth functions of time, and the truth of what was done. It decides nothing: people's
//! plans are in [`shopper`](super::shopper).

use std::collections::BTreeMap;

use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::Kind;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::layout::{Layout, Zone, ZoneKind};
use super::radio::{Beam, Radio, Target};
use super::space::{Point, Way, ease, wave};
use super::{Handling, Truth};

pub(super) struct Floor {
    pub(super) layout: Layout,
    garments: Vec<Garment>,
    bodies: BTreeMap<u32, Body>,
    truths: Vec<Truth>,
    handling: Handling,
}

struct Garment {
    epc: Epc,
    turn_rad: f64,
    place: Place,
}

/// A person's body.
pub(super) struct Body {
    pub(super) way: Way,
    /// Where it looks, with length 1.
    pub(super) facing: Point,
    /// Shifts its swaying against that of others, 0 to 1.
    pub(super) salt: f64,
    /// How far it sways while it stands, in metres.
    pub(super) restless_m: f64,
}

enum Place {
    /// On a rail, shelf or hook.
    Rest { at: Point, zone: usize, loss_db: f64, swing: Swing },
    /// On its way back to rest.
    Laid { from: Point, to: Point, since_ms: u64 },
    /// In a hand.
    Held { by: u32, from: Point, since_ms: u64 },
    /// On a body.
    Worn { by: u32, shield_db: f64 },
    /// Sold, or not in the shop yet.
    Gone,
}

/// What is left of a touch: it dies away within two seconds.
#[derive(Clone, Copy)]
struct Swing {
    metres: f64,
    since_ms: u64,
}

/// How long a hand takes to reach for a garment or to lay it down.
pub(super) const REACH_MS: u64 = 800;

impl Floor {
    pub(super) fn new(layout: Layout, handling: Handling) -> Self {
        Self { layout, garments: Vec::new(), bodies: BTreeMap::new(), truths: Vec::new(), handling }
    }

    /// Hangs a garment up before the shop opens, a share of the way along a zone.
    pub(super) fn stock(&mut self, epc: Epc, zone: usize, share: f64, rng: &mut ChaCha8Rng) {
        let at = self.layout.zones[zone].from.towards(self.layout.zones[zone].to, share);
        let place = self.resting(at, zone, Swing { metres: 0.0, since_ms: 0 }, rng);
        self.garments.push(Garment { epc, turn_rad: rng.random_range(0.0..3.1), place });
    }

    pub(super) fn epc(&self, garment: usize) -> Epc {
        self.garments[garment].epc
    }

    pub(super) fn take_truths(&mut self) -> Vec<Truth> {
        std::mem::take(&mut self.truths)
    }

    pub(super) fn bodies(&mut self) -> &mut BTreeMap<u32, Body> {
        &mut self.bodies
    }

    /// The garments that an antenna hears with at least `least_dbm` when nothing is in the way.
    pub(super) fn in_reach(&self, radio: &Radio, beam: &Beam, ms: f64, least_dbm: f64) -> Vec<usize> {
        let heard = |garment: &usize| {
            self.aim(*garment, ms).is_some_and(|target| {
                Radio::is_near(beam, target.at) && radio.strength(beam, &target) >= least_dbm
            })
        };
        (0..self.garments.len()).filter(heard).collect()
    }

    /// A garment and the bodies that may be in its way; `None` when it is not in the shop.
    pub(super) fn target(&self, garment: usize, ms: f64) -> Option<(Target, Vec<Point>)> {
        let wearer = match self.garments[garment].place {
            Place::Worn { by, .. } => Some(by),
            Place::Rest { .. } | Place::Laid { .. } | Place::Held { .. } | Place::Gone => None,
        };
        let others = self.bodies.iter().filter(|(id, _)| Some(**id) != wearer);
        Some((self.aim(garment, ms)?, others.map(|(_, body)| body.at(ms)).collect()))
    }

    fn aim(&self, garment: usize, ms: f64) -> Option<Target> {
        let Garment { turn_rad, ref place, .. } = self.garments[garment];
        let loss_db = match *place {
            Place::Rest { loss_db, .. } => loss_db,
            Place::Laid { .. } => 3.0,
            // Turned over in the hands: the tag's angle to the antenna changes all the time.
            Place::Held { since_ms, .. } => 4.0 + 4.0 * wave(0.37, since_ms as f64 / 977.0, ms),
            Place::Worn { by, shield_db } => {
                let salt = self.bodies.get(&by)?.salt;
                shield_db + 5.0 * wave(0.14, salt, ms) + 4.0 * wave(0.41, 2.0 * salt, ms)
            }
            Place::Gone => return None,
        };
        Some(Target { at: self.position(place, ms)?, loss_db, turn_rad })
    }

    fn position(&self, place: &Place, ms: f64) -> Option<Point> {
        Some(match *place {
            Place::Rest { at, swing, .. } => at + swing.offset(ms),
            Place::Laid { from, to, since_ms } => {
                from.towards(to, ease(since_ms as f64, (since_ms + REACH_MS) as f64, ms))
            }
            Place::Held { by, from, since_ms } => {
                let hand = self.bodies.get(&by)?.hand(since_ms, ms);
                from.towards(hand, ease(since_ms as f64, (since_ms + REACH_MS) as f64, ms))
            }
            Place::Worn { by, .. } => {
                let body = self.bodies.get(&by)?;
                (body.at(ms) + body.facing * 0.12).at_height(1.3 + 0.04 * wave(0.5, body.salt, ms))
            }
            Place::Gone => return None,
        })
    }

    /// The garments at rest in a zone, nearest to a point first, with their distance in metres.
    pub(super) fn resting_in(&self, zone: usize, near: Point) -> Vec<(usize, f64)> {
        let mut found: Vec<(usize, f64)> = Vec::new();
        for (garment, g) in self.garments.iter().enumerate() {
            if let Place::Rest { at, zone: its, .. } = g.place
                && its == zone
            {
                found.push((garment, at.at_height(0.0).distance(near.at_height(0.0))));
            }
        }
        found.sort_by(|a, b| a.1.total_cmp(&b.1));
        found
    }

    pub(super) fn first_gone(&self) -> Option<usize> {
        self.garments.iter().position(|g| matches!(g.place, Place::Gone))
    }

    /// A hand takes a garment, wherever it is. From a rail or shelf that is a pick-up.
    pub(super) fn take(&mut self, garment: usize, by: u32, now_ms: u64, rng: &mut ChaCha8Rng) {
        let place = &self.garments[garment].place;
        let zone = match *place {
            Place::Rest { zone, .. } => Some(zone),
            Place::Laid { .. } | Place::Held { .. } | Place::Worn { .. } | Place::Gone => None,
        };
        let ms = now_ms as f64;
        let from = self.position(place, ms).unwrap_or_else(|| self.bodies[&by].at(ms).at_height(1.1));
        self.garments[garment].place = Place::Held { by, from, since_ms: now_ms };
        if let Some(zone) = zone.filter(|zone| self.layout.zones[*zone].is_floor()) {
            self.tell(Kind::PickedUp, garment, zone, None, now_ms);
            self.jostle(zone, from, now_ms, rng);
        }
    }

    /// A hand starts to lay a garment into a zone, near `near`; [`settle`](Self::settle) it
    /// [`REACH_MS`] later.
    pub(super) fn lay(&mut self, garment: usize, zone: usize, near: Point, now_ms: u64) {
        let from = self.position(&self.garments[garment].place, now_ms as f64).unwrap_or(near);
        let Zone { from: left, to: right, .. } = self.layout.zones[zone];
        let line = right - left;
        let along = (near - left).dot(line) / line.dot(line).max(1e-6);
        let to = left.towards(right, along.clamp(0.0, 1.0));
        self.garments[garment].place = Place::Laid { from, to, since_ms: now_ms };
    }

    /// A garment has come to rest; on a rail or shelf it is put down.
    pub(super) fn settle(&mut self, garment: usize, zone: usize, now_ms: u64, rng: &mut ChaCha8Rng) {
        let at = match self.garments[garment].place {
            Place::Laid { to, .. } => to,
            Place::Rest { at, .. } => at,
            Place::Held { .. } | Place::Worn { .. } | Place::Gone => self.layout.zones[zone].middle(),
        };
        let swing = Swing { metres: 0.03, since_ms: now_ms };
        self.garments[garment].place = self.resting(at, zone, swing, rng);
        if self.layout.zones[zone].is_floor() {
            self.tell(Kind::PutDown, garment, zone, None, now_ms);
            self.jostle(zone, at, now_ms, rng);
        }
    }

    /// Puts a garment on a body.
    pub(super) fn wear(&mut self, garment: usize, by: u32, rng: &mut ChaCha8Rng) {
        let shield_db = rng.random_range(self.handling.shield_db.clone());
        self.garments[garment].place = Place::Worn { by, shield_db };
    }

    /// Takes a garment out of the shop.
    pub(super) fn remove(&mut self, garment: usize) {
        self.garments[garment].place = Place::Gone;
    }

    /// A new garment comes out of the back room, with its own tag.
    pub(super) fn replace(&mut self, garment: usize, epc: Epc) {
        self.garments[garment].epc = epc;
    }

    pub(super) fn tell(&mut self, kind: Kind, garment: usize, zone: usize, visit: Option<u32>, at_ms: u64) {
        let (epc, zone) = (self.garments[garment].epc, self.layout.zones[zone].id);
        self.truths.push(Truth { at_ms, kind, epc, zone, visit });
    }

    fn resting(&self, at: Point, zone: usize, swing: Swing, rng: &mut ChaCha8Rng) -> Place {
        let tilt_db = rng.random_range(0.0..4.0);
        let loss_db = tilt_db + rng.random_range(0.0..self.handling.stack_db);
        Place::Rest { at, zone, loss_db, swing }
    }

    /// Whoever takes a garment out from between others moves those.
    fn jostle(&mut self, zone: usize, near: Point, now_ms: u64, rng: &mut ChaCha8Rng) {
        let neighbours: Vec<usize> =
            self.resting_in(zone, near).into_iter().filter(|(_, d)| *d < 0.12).map(|(g, _)| g).collect();
        let reach = self.handling.jostle_m;
        for garment in neighbours {
            let Place::Rest { at, swing, .. } = &mut self.garments[garment].place else { continue };
            at.x += rng.random_range(-reach..=reach);
            if swing.offset(now_ms as f64).length() < reach {
                *swing = Swing { metres: reach, since_ms: now_ms };
            }
        }
    }
}

impl Body {
    pub(super) fn at(&self, ms: f64) -> Point {
        let sway = Point::new(wave(0.23, self.salt, ms), wave(0.17, 3.0 * self.salt, ms), 0.0);
        self.way.at(ms) + sway * self.restless_m
    }

    /// A hand with a garment in it: before the body, never still.
    fn hand(&self, salt_ms: u64, ms: f64) -> Point {
        let salt = salt_ms as f64 / 1319.0;
        let aside = Point::new(-self.facing.y, self.facing.x, 0.0);
        let sway = Point::new(
            0.05 * wave(0.9, salt, ms) + 0.02 * wave(1.7, 2.0 * salt, ms),
            0.04 * wave(1.1, 3.0 * salt, ms),
            0.05 * wave(0.7, 5.0 * salt, ms),
        );
        let offset = self.facing * 0.35 + aside * (0.15 * wave(0.0, salt, 0.0));
        (self.at(ms) + offset).at_height(1.2) + sway
    }
}

impl Swing {
    fn offset(self, ms: f64) -> Point {
        let age = ms - self.since_ms as f64;
        if self.metres == 0.0 || !(0.0..4000.0).contains(&age) {
            return Point::new(0.0, 0.0, 0.0);
        }
        Point::new(0.3, 1.0, 0.0) * (self.metres * libm::exp(-age / 700.0) * wave(0.9, 0.0, age))
    }
}

impl Zone {
    /// Whether garments are picked up and put down here.
    pub(super) fn is_floor(&self) -> bool {
        match self.kind {
            ZoneKind::Rail | ZoneKind::Shelf => true,
            ZoneKind::Booth | ZoneKind::Till | ZoneKind::Exit => false,
        }
    }
}

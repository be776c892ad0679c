//! What sensors beside the readers say. Enters: motions of sensor tags that the configuration knows, and whether
//! somebody is in a booth. Leaves: pick-ups, and what [`tag`](super::tag) is told of its surroundings.
//!
//! - A sensor on a garment that moved while the garment rested: it was picked up. A sensor tag counts its own
//!   movements, so that some lost advertisements lose no pick-up; its time is then that of the next one. What moved
//!   until the garment had come to rest belongs to what brought it there, and of what moved while its receiver did
//!   not listen, or within more than a minute, nobody knows when.
//! - A sensor on a rail or shelf that moved shakes all that hangs there: for some seconds changes of the level are
//!   taken as while somebody walks past.
//! - In a booth that is said to be free nothing is tried on, and what is not heard there any more has left sooner.
//!   Where nobody says anything, or the sensor fails, silence is judged without it.

use alloc::vec;
use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::{Evidence, ReaderState};
use hangtag_protocol::link::message::BoothState;
use indexmap::IndexMap;

use super::Inference;
use super::acceleration::Shake;
use super::known::Known;
use super::layout::{Layout, SensorOn};
use super::rule::Rule;
use super::state::{Conclusion, State};
use crate::intake::{Mac, Motion};

/// A garment that was put down swings for so long, in milliseconds: an advertisement may come seconds later.
const SWINGS_MS: u64 = 10_000;
/// What a sensor tag counted over a longer time may have been at any time, in milliseconds.
const KNOWN_WHEN_MS: u64 = 60_000;
/// A rail that was moved shakes what hangs there for so long, in milliseconds: until its sensor is heard again, and as
/// long as levels are compared.
const SHAKES_MS: u64 = 8_000;
/// A booth is free when it has been said to be so for so long, in milliseconds.
const FREE_MS: u64 = 3_000;

/// What sensors said last.
#[derive(Debug)]
pub(super) struct Sensed {
    /// Per zone: when a sensor on its rail or shelf last moved.
    shaken: Vec<Option<Uptime>>,
    /// Per zone: since when nobody is in it.
    free: Vec<Option<Uptime>>,
    /// What sensors on garments last measured, in mg.
    lay: IndexMap<Mac, [i16; 3], rustc_hash::FxBuildHasher>,
}

impl Sensed {
    pub(super) fn new(layout: &Layout) -> Self {
        let zones = layout.zones().len();
        Self { shaken: vec![None; zones], free: vec![None; zones], lay: IndexMap::default() }
    }

    /// Whether what hangs in a zone is being shaken.
    pub(super) fn is_shaken(&self, zone: usize, now: Uptime) -> bool {
        self.shaken[zone].is_some_and(|at| now.since(at) < SHAKES_MS)
    }

    /// Per zone: whether nobody is in it, as far as is said.
    pub(super) fn free(&self, now: Uptime) -> Vec<bool> {
        self.free.iter().map(|free| free.is_some_and(|since| now.since(since) >= FREE_MS)).collect()
    }

    /// Nobody says anything of a zone any more.
    pub(super) fn lose(&mut self, zone: usize) {
        self.free[zone] = None;
    }

    /// Whether a sensor lies otherwise than when it was last heard; it does too where it never told.
    fn turned(&mut self, motion: &Motion) -> bool {
        let Some(now) = motion.acceleration_mg else { return true };
        let Some(before) = self.lay.insert(motion.sensor, now) else { return true };
        let mut shake = Shake::default();
        [before, now].iter().for_each(|mg| shake.add(mg.map(f32::from)));
        shake.moved().moved
    }
}

impl Inference {
    /// Takes what a sensor tag said of itself to the receiver with this number in the layout. Sensors that the
    /// layout does not name are ignored, and so are movements of garments that may have been while the receiver did
    /// not listen, or more than a minute ago.
    pub fn handle_motion(&mut self, reader: usize, motion: &Motion) {
        let Some(on) = self.layout.sensor(motion.sensor) else { return };
        let turned = self.sensed.turned(motion);
        if motion.moves == 0 || matches!(on, SensorOn::Garment(_)) && !self.knows_when(reader, motion) {
            return;
        }
        self.moved(on, turned, motion.since, motion.at);
    }

    /// Whether the receiver listened since it heard the sensor before, and that is not long ago.
    fn knows_when(&self, reader: usize, motion: &Motion) -> bool {
        let receiver = &self.readers[reader];
        receiver.state == ReaderState::Listening
            && receiver.since <= motion.since
            && motion.at.since(motion.since) <= KNOWN_WHEN_MS
    }

    /// Takes that a sensor that is wired to a reader node began to move. Sensors that the layout does not name are
    /// ignored.
    pub fn handle_node_motion(&mut self, reader: usize, number: u8, at: Uptime) {
        if let Some(on) = self.layout.node_sensor(reader, number) {
            // The node saw it begin: how it lay before and lies now it does not say.
            self.moved(on, true, at, at);
        }
    }

    fn moved(&mut self, on: SensorOn, turned: bool, after: Uptime, at: Uptime) {
        match on {
            SensorOn::Garment(epc) => self.garment_moved(epc, turned, after, at),
            SensorOn::Fixture(zone) => {
                if let Some(zone) = self.layout.zones().iter().position(|known| known.id == zone) {
                    self.sensed.shaken[zone] = Some(at);
                }
            }
        }
    }

    /// Takes what the sensor of a reader node says of the booth that the layout names for it.
    pub fn handle_occupancy(&mut self, reader: usize, state: BoothState, at: Uptime) {
        let Some(zone) = self.layout.occupancy_of(reader) else { return };
        let free = &mut self.sensed.free[zone];
        match state {
            BoothState::Free => *free = free.or(Some(at)),
            BoothState::Occupied | BoothState::Unsteady | BoothState::Stuck | BoothState::Failed => {
                *free = None;
            }
            // As it was, which nobody knew while it was unsteady: the next word tells.
            BoothState::Steady => {}
        }
    }

    /// A garment moved at some time between two moments.
    fn garment_moved(&mut self, epc: Epc, turned: bool, after: Uptime, at: Uptime) {
        let Some(tag) = self.tags.get_mut(&Known::from(epc)) else { return };
        match tag.state {
            State::Hand { .. } | State::Booth { .. } => tag.stir(),
            State::Rest { zone, antenna, since, .. } if after >= since && at.since(since) >= SWINGS_MS => {
                let track = tag.tracks().of(antenna);
                let reads = track.map_or(0, |track| track.reads_recently());
                let still = track.is_some_and(|track| track.is_calm());
                let evidence = Evidence {
                    reads: reads.try_into().unwrap_or(u16::MAX),
                    margin_db: 0,
                    unrest: 100,
                    dwell_ds: u16::try_from(at.since(since) / 100).unwrap_or(u16::MAX),
                };
                tag.lift(Some(zone), at);
                // Others that are pushed along the rail nudge it.
                let rule = if turned || reads > 0 && !still { Rule::SensorMoves } else { Rule::SensorAlone };
                let confidence = rule.confidence();
                if self.layout.zones()[usize::from(zone)].kind.is_floor() {
                    self.conclude(epc, Conclusion::PickedUp { at, zone, confidence, evidence }, at);
                }
            }
            State::New | State::Rest { .. } => {}
        }
    }
}

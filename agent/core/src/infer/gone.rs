//! Garments that fell silent in a booth, and whether they had left. Enters: who was carried out because nobody heard it
//! any more, and who is heard again. Leaves: a retraction.
//!
//! A body hides what it wears, so that silence may be a worn garment as well as one that was carried away. Nobody wants
//! to wait for long to hear of the second, so that it is concluded after 14 s. If the garment is then heard again in the
//! same booth, which was listened to but for moments, which was never free and which nobody else has taken since, and
//! was not heard on the floor, it had never left: that it did is retracted, its stay goes on, and the silence that was
//! listened to counts as worn. Where only the booth next door heard it meanwhile, that is so too, as soon as it turns out to be a mistake that it
//! was there.

use alloc::boxed::Box;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::id::Seq;
use serde::{Deserialize, Serialize};

use super::Inference;
use super::known::Known;
use super::layout::ZoneKind;
use super::rule::Rule;
use super::state::State;
use super::stay::Stay;
use super::track::TICK_MS;
use super::worn::Worn;

/// What is heard again after more than this was brought back, in milliseconds: a worn garment is heard now and then.
const BACK_MS: u64 = 150_000;
/// A booth that nobody listened to for longer than this may have been left meanwhile, in milliseconds.
const DEAF_MS: u64 = 20_000;

/// A garment that was said to have left because it was silent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Gone {
    /// The event that says so.
    pub(super) carried_out: Seq,
    /// A number of this run; the snapshot has its name.
    #[serde(skip)]
    pub(super) zone: u16,
    pub(super) visit: Seq,
    /// When it was heard last.
    pub(super) last: Uptime,
    /// When somebody listened there last, and for how many milliseconds in all since it was said to have left.
    pub(super) listened: Uptime,
    pub(super) silent_ms: u64,
    pub(super) stay: Stay,
    pub(super) worn: Box<Worn>,
}

impl Inference {
    /// Takes back that a garment had left which is heard in this booth, and says whether it had to be.
    pub(super) fn take_back(&mut self, epc: Epc, zone: u16, now: Uptime) -> bool {
        let known = Known::from(epc);
        // The booth next door may only hear it: then it is said to be here again.
        if self.gone.get(&known).is_none_or(|gone| gone.zone != zone) {
            return false;
        }
        let Some(mut gone) = self.gone.swap_remove(&known) else { return false };
        let Some(tag) = self.tags.get_mut(&known) else { return false };
        let taken = self.visits[usize::from(zone)].is_some_and(|open| open != gone.visit);
        let on_floor = tag.tracks().iter().any(|track| {
            let zone = &self.layout.zones()[self.layout.zone_of(track.antenna.into())];
            track.last > gone.last && zone.kind != ZoneKind::Booth
        });
        if taken || on_floor || now.since(gone.last) > BACK_MS {
            return false;
        }
        let Gone { carried_out, visit, stay, .. } = gone;
        gone.worn.was_hidden_for(gone.silent_ms + now.since(gone.listened).min(TICK_MS));
        tag.worn = Some(gone.worn);
        tag.state = State::Booth { zone, visit, since: stay.since, tried: stay.tried.is_some() };
        self.stays.insert(known, stay);
        self.visits[usize::from(zone)] = Some(visit);
        self.retract(carried_out, Rule::HadNotLeft, now);
        true
    }

    /// Forgets those that will not be taken back.
    pub(super) fn forget_gone(&mut self, listening: &[Option<Uptime>], now: Uptime) {
        let (layout, free) = (&self.layout, self.sensed.free(now));
        self.gone.retain(|_, gone| {
            let zone = usize::from(gone.zone);
            let mut here = (0..layout.antennas()).filter(|antenna| layout.zone_of(*antenna) == zone);
            let pause_ms = now.since(gone.listened);
            if here.any(|antenna| listening[layout.reader_of(antenna)].is_some()) {
                gone.silent_ms += pause_ms.min(TICK_MS);
                gone.listened = now;
            }
            !free[zone] && pause_ms <= DEAF_MS && now.since(gone.last) <= BACK_MS
        });
    }
}

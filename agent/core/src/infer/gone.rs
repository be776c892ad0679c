//! Garments that fell silent in a booth, and whether they had left. Enters: who was carried out because nobody heard it
//! any more, and who is heard again. Leaves: a retraction.
//!
//! A body hides what it wears, so that silence may be a worn garment as well as one that was carried away. Nobody wants
//! to wait for long to hear of the second, so that it is concluded after 14 s. If the garment is then heard again in the
//! same booth, which somebody listened to all the time, which was never free and which nobody else has taken since, and
//! was not heard on the floor, it had never left: that it did is retracted, its stay goes on, and the silence counts as
//! worn. Where only the booth next door heard it meanwhile, that is so too, as soon as it turns out to be a mistake that it
//! was there.
//!
//! This is forgotten at a restart: what is heard again is then carried in a second time.

use alloc::boxed::Box;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::id::Seq;

use super::Inference;
use super::known::Known;
use super::layout::ZoneKind;
use super::rule::Rule;
use super::state::State;
use super::stay::Stay;
use super::worn::Worn;

/// What is heard again after more than this was brought back, in milliseconds: a worn garment is heard now and then.
const BACK_MS: u64 = 150_000;

/// A garment that was said to have left because it was silent.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    /// The event that says so.
    pub(super) carried_out: Seq,
    pub(super) zone: u16,
    pub(super) visit: Seq,
    /// When it was heard last, and when that was concluded.
    pub(super) last: Uptime,
    pub(super) concluded: Uptime,
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
        let Gone { carried_out, visit, concluded, stay, .. } = gone;
        gone.worn.was_hidden_for(now.since(concluded));
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
            let here = (0..layout.antennas()).filter(|antenna| layout.zone_of(*antenna) == zone);
            let heard = here.filter_map(|antenna| listening[layout.reader_of(antenna)]).min();
            !free[zone] && heard.is_some_and(|since| since <= gone.last) && now.since(gone.last) <= BACK_MS
        });
    }
}

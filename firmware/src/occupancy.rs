//! Booth occupancy. Enters: the level of one digital pin (motion sensor, door contact, light barrier),
//! sampled at the times that [`Booth::poll_timeout`] asks for. Leaves: changes that lasted, and what is
//! wrong with the pin. Time in which the pin was not looked at never counts as time in which it held
//! its level, and a pin that cannot be read never changes what is known of the booth.
//!
//! ```text
//!          level differs                    held for settle_ms
//! steady ───────────────▶ doubt ──────────────────────────────────▶ steady (Changed, if it is another)
//!                         ▲   │ level differs, or no good sample for longer than settle_ms
//!                         └───┘ the hold starts again; after unsteady_ms of this: Unsteady, once
//! ```

use core::fmt;

use embedded_hal::digital::{InputPin, PinState};
use hangtag_protocol::clock::Uptime;

/// Whether somebody is in the booth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupancy {
    /// Nobody is.
    Free,
    /// Somebody is.
    Occupied,
}

/// What a booth's pin told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The booth is in another state, or in its first known one.
    Changed {
        /// The state.
        to: Occupancy,
        /// Since when: the first sample of the level that lasted.
        at: Uptime,
    },
    /// The pin has not held a level for [`Settings::unsteady_ms`]: a loose wire, or a sensor at the edge
    /// of its range. Told once; what was known of the booth stays until the pin holds a level again.
    Unsteady {
        /// When it last held one, or the first sample.
        since: Uptime,
    },
    /// The pin holds a level again after [`Unsteady`](Self::Unsteady), and the booth is as it was
    /// before. Where it is not, [`Changed`](Self::Changed) is told instead.
    Steady,
    /// The booth has been occupied for longer than anybody tries clothes on: the sensor is stuck or
    /// blocked. It is until the booth is seen free: told again in the place of [`Steady`](Self::Steady) and
    /// of [`Changed`](Self::Changed), and otherwise once. A pin stuck at *free* cannot be told from an empty
    /// booth here.
    Stuck {
        /// Since when it has been seen occupied without a break.
        since: Uptime,
    },
}

/// How a pin is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The level that means *occupied*.
    pub occupied: PinState,
    /// How long a level must hold to be believed, in milliseconds, 4 to 65,535; less counts as 4. The
    /// pin is to be sampled four times in it; where good samples are further apart than this, no level
    /// is believed at all.
    pub settle_ms: u16,
    /// After how long without a level that holds the pin is reported, in milliseconds.
    pub unsteady_ms: u32,
    /// How long a booth may be occupied before the pin is reported, in milliseconds.
    pub stuck_ms: u32,
}

impl Settings {
    /// For a sensor with this level when occupied: 50 ms to settle, unsteady after 10 s, stuck after
    /// 2 h.
    #[must_use]
    pub const fn new(occupied: PinState) -> Self {
        Self { occupied, settle_ms: 50, unsteady_ms: 10_000, stuck_ms: 2 * 60 * 60 * 1_000 }
    }
}

/// The pin could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the booth's pin cannot be read: {0:?}")]
pub struct PinError<E: fmt::Debug>(pub E);

/// One booth with its pin.
#[derive(Debug)]
pub struct Booth<P> {
    pin: P,
    settings: Settings,
    known: Option<Known>,
    /// Since when it is stuck, if it is.
    stuck: Option<Uptime>,
    /// The pin has left what is known, or nothing is known yet.
    doubt: Option<Doubt>,
    /// The last good sample.
    sampled: Option<Uptime>,
    due: Uptime,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    occupancy: Occupancy,
    seen_from: Uptime,
}

#[derive(Clone, Copy, Debug)]
struct Doubt {
    since: Uptime,
    level: Occupancy,
    held_from: Uptime,
    told: bool,
}

impl<P: InputPin> Booth<P> {
    /// A booth of which nothing is known. The pin is not touched yet; it is due at once.
    #[must_use]
    pub fn new(pin: P, settings: Settings) -> Self {
        let settings = Settings { settle_ms: settings.settle_ms.max(MIN_SETTLE_MS), ..settings };
        Self { pin, settings, known: None, stuck: None, doubt: None, sampled: None, due: Uptime(0) }
    }

    /// Understands the pin otherwise from here on, and knows nothing of the booth. A pin that is stuck stays it,
    /// unless its level means something else.
    pub fn begin_anew(&mut self, settings: Settings) {
        self.stuck = self.stuck.filter(|_| settings.occupied == self.settings.occupied);
        self.settings = Settings { settle_ms: settings.settle_ms.max(MIN_SETTLE_MS), ..settings };
        (self.known, self.doubt, self.sampled, self.due) = (None, None, None, Uptime(0));
    }

    /// Samples the pin. Call it when [`poll_timeout`](Self::poll_timeout) is due; an edge interrupt may
    /// call it earlier.
    ///
    /// # Errors
    /// When the pin cannot be read: it counts as not sampled, the state is kept, and the next sample is
    /// asked for as usual.
    pub fn handle_timeout(&mut self, now: Uptime) -> Result<Option<Notice>, PinError<P::Error>> {
        self.due = now + u64::from(self.settings.settle_ms) / SAMPLES;
        let high = self.pin.is_high().map_err(PinError)?;
        Ok(self.sample(high, now))
    }

    /// When the pin is to be sampled next.
    #[must_use]
    pub fn poll_timeout(&self) -> Uptime {
        self.due
    }

    /// What is known of the booth; `None` until the pin first held a level.
    #[must_use]
    pub fn occupancy(&self) -> Option<Occupancy> {
        self.known.map(|known| known.occupancy)
    }

    fn sample(&mut self, high: bool, now: Uptime) -> Option<Notice> {
        let settle = u64::from(self.settings.settle_ms);
        let unseen = self.sampled.replace(now).is_none_or(|last| now.since(last) > settle);
        let level = if PinState::from(high) == self.settings.occupied {
            Occupancy::Occupied
        } else {
            Occupancy::Free
        };
        if self.doubt.is_none() && self.occupancy() == Some(level) {
            return self.handle_known(now, unseen);
        }
        let fresh = Doubt { since: now, level, held_from: now, told: false };
        let doubt = self.doubt.get_or_insert(fresh);
        if unseen {
            *doubt = Doubt { told: doubt.told, ..fresh };
        } else if doubt.level != level {
            (doubt.level, doubt.held_from) = (level, now);
        }
        if now.since(doubt.held_from) >= settle {
            let (at, told) = (doubt.held_from, doubt.told);
            self.doubt = None;
            self.stuck = self.stuck.filter(|_| level == Occupancy::Occupied);
            let stuck = self.stuck.map(|since| Notice::Stuck { since });
            if self.occupancy() == Some(level) {
                return told.then_some(stuck.unwrap_or(Notice::Steady));
            }
            self.known = Some(Known { occupancy: level, seen_from: at });
            return Some(stuck.unwrap_or(Notice::Changed { to: level, at }));
        }
        if !doubt.told && now.since(doubt.since) >= u64::from(self.settings.unsteady_ms) {
            doubt.told = true;
            return Some(Notice::Unsteady { since: doubt.since });
        }
        None
    }

    /// Takes a sample of the level that is known.
    fn handle_known(&mut self, now: Uptime, unseen: bool) -> Option<Notice> {
        let known = self.known.as_mut()?;
        if unseen {
            known.seen_from = now;
        }
        let stuck = match known.occupancy {
            Occupancy::Free => false,
            Occupancy::Occupied => now.since(known.seen_from) >= u64::from(self.settings.stuck_ms),
        };
        if !stuck || self.stuck.is_some() {
            return None;
        }
        self.stuck = Some(known.seen_from);
        Some(Notice::Stuck { since: known.seen_from })
    }
}

const MIN_SETTLE_MS: u16 = 4;
/// Samples in the time that a level must hold.
const SAMPLES: u64 = 4;

#[cfg(test)]
mod tests;

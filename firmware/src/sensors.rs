//! The sensors beside the reader. Enters: the accelerometer's bus, the booth's pin, the configuration, time. Leaves:
//! what they tell the gateway, how they are, and what is wrong with them.
//!
//! | sensor | is there when | how it is |
//! |---|---|---|
//! | accelerometer | it answers: it is looked for at the start, and every five seconds while it does not | absent: nobody answers, or another; works; failed: it cannot be read, or says what cannot be |
//! | booth's pin | the configuration says which level means *occupied*: nobody can be asked whether a wire is connected | unused; works; failed: it cannot be read, holds no level, or has been *occupied* for two hours and not free since |
//!
//! Nothing is waited for: the pin is read at once, and a look at the accelerometer takes as long as its bus says,
//! and no more than one transfer that hangs ([`accelerometer`](crate::accelerometer)).

use embedded_hal::digital::{InputPin, PinState};
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::link::command::{Configure, Level};
use hangtag_protocol::link::message::{self, BoothState, SensorFault, SensorState};
use hangtag_protocol::link::sender::Told;

use crate::accelerometer::Accelerometer;
use crate::accelerometer::bus::Bus;
use crate::config::Config;
use crate::motion::{Detector, Implausible, Thresholds};
use crate::occupancy::{Booth, Notice, Occupancy, Settings};

/// A node's sensors.
#[derive(Debug)]
pub struct Sensors<B, P> {
    accelerometer: Accelerometer<B>,
    /// None until it is known what a movement is.
    detector: Option<Detector>,
    booth: Booth<P>,
    occupancy: SensorState,
    occupancy_fault: Option<SensorFault>,
    works_by: Option<Wanted>,
}

/// How a node's sensors are, and what is wrong with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct States {
    /// How they are.
    pub sensors: message::Sensors,
    /// What is wrong with the accelerometer.
    pub accelerometer_fault: Option<SensorFault>,
    /// What is wrong with the booth's sensor.
    pub occupancy_fault: Option<SensorFault>,
}

/// What of the configuration is for sensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    thresholds: Thresholds,
    booth: Option<Settings>,
}

impl<B: Bus, P: InputPin> Sensors<B, P> {
    /// Sensors at this bus and pin, if there are any.
    #[must_use]
    pub fn new(bus: B, pin: P) -> Self {
        Self {
            accelerometer: Accelerometer::new(bus),
            detector: None,
            booth: Booth::new(pin, Settings::new(PinState::High)),
            occupancy: SensorState::Unused,
            occupancy_fault: None,
            works_by: None,
        }
    }

    /// Asks those that are due, and hands on what they tell. Call it at least every 10 ms, with what the node works
    /// by.
    pub fn handle_timeout(&mut self, config: Option<&Config>, now: Uptime, mut take: impl FnMut(&Told)) {
        let wanted = config.map(|config| Wanted::of(config.told()));
        if self.works_by != wanted {
            self.work_by(wanted);
        }
        if self.accelerometer.poll_timeout() <= now {
            let detector = &mut self.detector;
            // What is wrong stands in its state.
            let _ = self.accelerometer.handle_timeout(now, |sample| {
                let motion = detector.as_mut().and_then(|detector| detector.handle_sample(sample));
                if let Some(motion) = motion {
                    take(&Told::Motion(motion));
                }
            });
        }
        if let Some(settings) = wanted.and_then(|wanted| wanted.booth)
            && self.booth.poll_timeout() <= now
            && let Some((at, state)) = self.look_into_booth(settings, now)
        {
            take(&Told::Occupancy(message::Occupancy { at, state }));
        }
    }

    /// How they are.
    #[must_use]
    pub fn states(&self) -> States {
        let wrong = self.detector.as_ref().and_then(Detector::wrong).map(|wrong| match wrong {
            Implausible::Stuck => SensorFault::Stuck,
            Implausible::NoGravity => SensorFault::NoGravity,
        });
        let (accelerometer, accelerometer_fault) = match self.accelerometer.state() {
            SensorState::Works if wrong.is_some() => (SensorState::Failed, wrong),
            state => (state, self.accelerometer.fault()),
        };
        States {
            sensors: message::Sensors { accelerometer, occupancy: self.occupancy },
            accelerometer_fault,
            occupancy_fault: self.occupancy_fault,
        }
    }

    fn work_by(&mut self, wanted: Option<Wanted>) {
        let before = self.works_by.and_then(|before| before.booth);
        self.works_by = wanted;
        let Some(Wanted { thresholds, booth }) = wanted else {
            self.detector = None;
            self.leave_booth();
            return;
        };
        match &mut self.detector {
            Some(detector) => detector.work_by(thresholds),
            None => self.detector = Some(Detector::new(ACCELEROMETER, thresholds)),
        }
        match booth {
            Some(settings) if before != Some(settings) => self.booth.begin_anew(settings),
            Some(_) => {}
            None => self.leave_booth(),
        }
    }

    fn leave_booth(&mut self) {
        (self.occupancy, self.occupancy_fault) = (SensorState::Unused, None);
    }

    fn look_into_booth(&mut self, settings: Settings, now: Uptime) -> Option<(Uptime, BoothState)> {
        let Ok(notice) = self.booth.handle_timeout(now) else {
            // As soon as it can be read, it tells again what it knows.
            self.booth.begin_anew(settings);
            self.occupancy_fault = Some(SensorFault::Unreadable);
            let told = core::mem::replace(&mut self.occupancy, SensorState::Failed);
            return (told != SensorState::Failed).then_some((now, BoothState::Failed));
        };
        if self.occupancy == SensorState::Unused {
            self.occupancy = SensorState::Works;
        }
        let (at, state) = match notice? {
            Notice::Changed { to: Occupancy::Free, at } => (at, BoothState::Free),
            Notice::Changed { to: Occupancy::Occupied, at } => (at, BoothState::Occupied),
            Notice::Unsteady { since } => (since, BoothState::Unsteady),
            Notice::Steady => (now, BoothState::Steady),
            Notice::Stuck { since } => (since, BoothState::Stuck),
        };
        (self.occupancy, self.occupancy_fault) = match state {
            BoothState::Free | BoothState::Occupied | BoothState::Steady => (SensorState::Works, None),
            BoothState::Unsteady => (SensorState::Failed, Some(SensorFault::Unsteady)),
            BoothState::Stuck => (SensorState::Failed, Some(SensorFault::Stuck)),
            BoothState::Failed => (SensorState::Failed, Some(SensorFault::Unreadable)),
        };
        Some((at, state))
    }
}

impl Wanted {
    fn of(told: &Configure) -> Self {
        let &Configure { motion_mg, settle_ms, occupied, .. } = told;
        let occupied = occupied.map(|level| match level {
            Level::Low => PinState::Low,
            Level::High => PinState::High,
        });
        let booth = occupied.map(|occupied| Settings { settle_ms, ..Settings::new(occupied) });
        Self { thresholds: Thresholds { motion_mg, settle_ms }, booth }
    }
}

/// The accelerometer's number among a node's sensors.
const ACCELEROMETER: u8 = 1;

#[cfg(test)]
mod tests;

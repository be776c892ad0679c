//! An ST LIS2DH12 or LIS3DH. Enters: its registers on a [`Bus`], time. Leaves: accelerations in mg with their times,
//! or why there are none. Sources: data sheets LIS2DH12 (DocID025056) and LIS3DH (DocID17530), application notes
//! AN5005 and AN3308; both sensors have these registers and one identity.
//!
//! ```text
//!         identity, settings, settings read back                 a transfer fails, settings are lost,
//! away ────────────────────────────────────────────▶ measuring ──── nonsense, silence ──▶ away
//!   ▲ │ otherwise: again after 5 s                                                          again after 100 ms
//!   └─┘
//! ```
//!
//! It measures 50 times a second with 12 bits, ±2 g, and keeps 32 samples, which are 640 ms. One digit is 1 mg on a
//! LIS3DH and 0.98 mg on a LIS2DH12; both count as 1. Its own high-pass filter is off: how a thing lies is wanted too.
//! Its filter at 12 bits lets through what is slower than 5.6 Hz, a ninth of its rate.
//!
//! Nothing wrong is told: settings are read back behind each look at the samples, because a sensor that lost its
//! power for a moment measures nothing, and says zeros; the four lowest bits are 0 in what it says, and not in what
//! a loose wire says; and no sample is exactly nothing.
//!
//! A look is three transfers, of 1, up to 192, and 5 bytes: on I²C of 100 kHz 4 ms as a rule, and 19 ms after 640 ms
//! in which nobody looked. A search is at most seven transfers of up to 6 bytes. What fails ends both: no more than
//! one transfer of either takes as long as the bus lets it.

pub mod bus;

use core::fmt;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::link::message::{SensorFault, SensorState};

use crate::motion::Sample;
use bus::{Bus, BusError};

/// The I²C address where pin SA0 is low; where it is high, one more.
pub const ADDRESS: u8 = 0x18;

/// One sensor.
#[derive(Debug)]
pub struct Accelerometer<B> {
    bus: B,
    state: State,
    due: Uptime,
    overruns: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Why, unless nobody answers.
    Away { fault: Option<SensorFault> },
    /// Its samples were taken out last at `looked`; the last came at `heard`. What was wrong with it is until one
    /// comes: what is set up need not measure.
    Measuring { looked: Uptime, heard: Uptime, unsettled: usize, fault: Option<SensorFault> },
}

/// Why there are no samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault<E: fmt::Debug> {
    /// Nobody answers.
    #[error("no accelerometer answers")]
    Absent,
    /// Something with another identity answers.
    #[error("not an accelerometer of this kind: its identity is {0:#04x}, not {WHO:#04x}")]
    Stranger(u8),
    /// The bus says so.
    #[error("the bus fails at register {register:#04x}: {why:?}")]
    Bus {
        /// Where.
        register: u8,
        /// What it says.
        why: E,
    },
    /// It does not hold what was written: it lost its power, or a bit was lost on the way.
    #[error("register {register:#04x} holds {found:#04x} and not {written:#04x}")]
    Forgot {
        /// Where.
        register: u8,
        /// What was written.
        written: u8,
        /// What is there.
        found: u8,
    },
    /// It says what it cannot say.
    #[error("its samples are none")]
    Garbled,
    /// It says that it measures, and no sample comes.
    #[error("it measures nothing")]
    Silent,
}

impl<B: Bus> Accelerometer<B> {
    /// A sensor of which nothing is known. It is due at once.
    #[must_use]
    pub fn new(bus: B) -> Self {
        Self { bus, state: State::Away { fault: None }, due: Uptime(0), overruns: 0 }
    }

    /// Takes out what it has measured, or looks for it. Call it when [`poll_timeout`](Self::poll_timeout) is due.
    ///
    /// # Errors
    /// When there is none, or it fails: then nothing is told of it until it was set up anew.
    pub fn handle_timeout(&mut self, now: Uptime, take: impl FnMut(Sample)) -> Result<(), Fault<B::Error>> {
        self.due = now + LOOK_MS;
        let (done, again_ms) = match self.state {
            State::Measuring { .. } => (self.look(now, take), LOOK_MS),
            State::Away { .. } => (self.search(now), SEARCH_MS),
        };
        if let Err(why) = &done {
            self.state = State::Away { fault: why.told() };
            self.due = now + again_ms;
        }
        done
    }

    /// When it is to be asked next.
    #[must_use]
    pub fn poll_timeout(&self) -> Uptime {
        self.due
    }

    /// How it is.
    #[must_use]
    pub fn state(&self) -> SensorState {
        match self.state {
            State::Away { fault: None | Some(SensorFault::Stranger(_)) } => SensorState::Absent,
            State::Away { fault: Some(_) } | State::Measuring { fault: Some(_), .. } => SensorState::Failed,
            State::Measuring { fault: None, .. } => SensorState::Works,
        }
    }

    /// What is wrong with it.
    #[must_use]
    pub fn fault(&self) -> Option<SensorFault> {
        match self.state {
            State::Away { fault } | State::Measuring { fault, .. } => fault,
        }
    }

    /// How often samples may have been lost because nobody came for 640 ms.
    #[must_use]
    pub fn overruns(&self) -> u32 {
        self.overruns
    }

    fn search(&mut self, now: Uptime) -> Result<(), Fault<B::Error>> {
        // An I²C bus asks the other address the second time.
        let who = match self.identity() {
            Err(Fault::Absent) => self.identity()?,
            found => found?,
        };
        if who != WHO {
            return Err(Fault::Stranger(who));
        }
        self.write(CONTROL_1, &SETTINGS)?;
        self.write(FIFO_CONTROL, &[FIFO_OFF])?;
        self.write(FIFO_CONTROL, &[FIFO_STREAM])?;
        self.check(CONTROL_1, SETTINGS)?;
        self.check(FIFO_CONTROL, [FIFO_STREAM])?;
        let fault = self.fault().filter(|fault| !matches!(fault, SensorFault::Stranger(_)));
        self.state = State::Measuring { looked: now, heard: now, unsettled: UNSETTLED, fault };
        Ok(())
    }

    fn identity(&mut self) -> Result<u8, Fault<B::Error>> {
        match self.read(WHO_AM_I)? {
            // Wires that nobody drives.
            [0x00 | 0xFF] => Err(Fault::Absent),
            [who] => Ok(who),
        }
    }

    fn look(&mut self, now: Uptime, mut take: impl FnMut(Sample)) -> Result<(), Fault<B::Error>> {
        let State::Measuring { looked, heard, unsettled, .. } = self.state else { return Ok(()) };
        let [source] = self.read(FIFO_SOURCE)?;
        let overrun = source & OVERRUN != 0;
        let count = if overrun { FIFO } else { usize::from(source & UNREAD) };
        if count > 0 && source & EMPTY != 0 {
            return Err(Fault::Garbled);
        }
        let mut bytes = [0; FIFO * SAMPLE];
        let bytes = &mut bytes[..count * SAMPLE];
        if count > 0 {
            self.bus.read(OUT, bytes).map_err(|why| fault(OUT, why))?;
        }
        self.check(CONTROL_1, SETTINGS)?;
        if count == 0 {
            return if now.since(heard) < SILENCE_MS { Ok(()) } else { Err(Fault::Silent) };
        }
        let mut samples = [[0; 3]; FIFO];
        for (mg, bytes) in samples.iter_mut().zip(bytes.chunks_exact(SAMPLE)) {
            *mg = decode(bytes).ok_or(Fault::Garbled)?;
        }
        let left = unsettled.saturating_sub(count);
        self.state = State::Measuring { looked: now, heard: now, unsettled: left, fault: None };
        self.overruns = self.overruns.saturating_add(overrun.into());
        // They came one after the other since the last look, whatever the sensor's own clock says.
        let from = if overrun { looked.max(Uptime(now.0.saturating_sub(FIFO_MS))) } else { looked };
        let (count, span) = (count as u64, now.since(from));
        for (number, mg) in (1..=count).zip(samples).skip(unsettled) {
            take(Sample { at: from + span * number / count, mg });
        }
        Ok(())
    }

    fn read<const N: usize>(&mut self, register: u8) -> Result<[u8; N], Fault<B::Error>> {
        let mut bytes = [0; N];
        self.bus.read(register, &mut bytes).map_err(|why| fault(register, why))?;
        Ok(bytes)
    }

    fn write(&mut self, register: u8, bytes: &[u8]) -> Result<(), Fault<B::Error>> {
        self.bus.write(register, bytes).map_err(|why| fault(register, why))
    }

    fn check<const N: usize>(&mut self, register: u8, written: [u8; N]) -> Result<(), Fault<B::Error>> {
        let found = self.read::<N>(register)?;
        for (register, (written, found)) in (register..).zip(written.into_iter().zip(found)) {
            if written != found {
                return Err(Fault::Forgot { register, written, found });
            }
        }
        Ok(())
    }
}

impl<E: fmt::Debug> Fault<E> {
    /// What the gateway is told of it: nothing, where nobody answers.
    fn told(&self) -> Option<SensorFault> {
        match self {
            Self::Absent => None,
            Self::Stranger(who) => Some(SensorFault::Stranger(*who)),
            Self::Bus { .. } => Some(SensorFault::Unreadable),
            Self::Forgot { .. } => Some(SensorFault::Forgetful),
            Self::Garbled => Some(SensorFault::Garbled),
            Self::Silent => Some(SensorFault::Silent),
        }
    }
}

fn fault<E: fmt::Debug>(register: u8, why: BusError<E>) -> Fault<E> {
    match why {
        BusError::NoAnswer => Fault::Absent,
        BusError::Failed(why) => Fault::Bus { register, why },
    }
}

/// Three numbers of 16 bits, of which the upper 12 count; `None` for what is no sample.
fn decode(bytes: &[u8]) -> Option<[i16; 3]> {
    let [x0, x1, y0, y1, z0, z1] = *bytes else { return None };
    let digits = [[x0, x1], [y0, y1], [z0, z1]].map(i16::from_le_bytes);
    let is_sample = digits.iter().all(|along| along & 0xF == 0) && digits != [0; 3];
    is_sample.then(|| digits.map(|along| along >> 4))
}

/// How often it is asked what it measured, in milliseconds: five samples.
const LOOK_MS: u64 = 100;
/// How often a sensor is looked for that is not there, in milliseconds.
const SEARCH_MS: u64 = 5_000;
/// A sensor from which nothing comes for so long does not measure, in milliseconds.
const SILENCE_MS: u64 = 500;
/// So many samples are measured before those of 12 bits are good.
const UNSETTLED: usize = 7;
/// Samples that it keeps, and how long it measures them, in milliseconds.
const FIFO: usize = 32;
const FIFO_MS: u64 = 640;
const SAMPLE: usize = 6;

const WHO_AM_I: u8 = 0x0F;
const WHO: u8 = 0x33;
/// Settings from here on: 50 Hz and all axes; no high-pass filter; no interrupts; whole samples only, ±2 g, 12 bits;
/// the FIFO.
const CONTROL_1: u8 = 0x20;
const SETTINGS: [u8; 5] = [0x47, 0x00, 0x00, 0x88, 0x40];
/// From here on it rolls around while samples are read.
const OUT: u8 = 0x28;
const FIFO_CONTROL: u8 = 0x2E;
/// Empties it.
const FIFO_OFF: u8 = 0x00;
/// The oldest sample makes room.
const FIFO_STREAM: u8 = 0x80;
const FIFO_SOURCE: u8 = 0x2F;
const OVERRUN: u8 = 0x40;
const EMPTY: u8 = 0x20;
const UNREAD: u8 = 0x1F;

#[cfg(test)]
pub(crate) mod chip;
#[cfg(test)]
mod tests;

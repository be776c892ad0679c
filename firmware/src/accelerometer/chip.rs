//! An invented LIS2DH12 on an I²C or SPI bus, with a clock of its own, whose power and wires fail when they are told
//! to. Its samples count themselves, so that a wrong one is known.

extern crate std;

use embedded_hal::i2c::{self, ErrorKind, I2c, NoAcknowledgeSource};
use embedded_hal::spi::{self, SpiDevice};
use hangtag_protocol::clock::Uptime;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::vec::Vec;

/// What becomes of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// Nobody acknowledges the address.
    NoAnswer,
    /// The bus fails.
    Bus,
    /// The wire is held low, or high, while the sensor would speak.
    Wire(u8),
    /// The sensor is without power for a moment before.
    PowerLoss,
}

/// The chip, and the test's hand on it.
#[derive(Clone)]
pub(crate) struct Chip(Rc<RefCell<Inside>>);

pub(crate) struct Inside {
    pub(crate) now: Uptime,
    pub(crate) address: u8,
    pub(crate) identity: u8,
    /// The time from sample to sample, in microseconds.
    pub(crate) period_us: u64,
    /// What happens from the first transfer to the second of these numbers; they count from 1.
    pub(crate) mishap: Option<(Mishap, std::ops::RangeInclusive<u32>)>,
    /// It says nothing new.
    pub(crate) frozen: bool,
    /// What it measures instead of counting.
    pub(crate) measures: Option<fn(u64) -> [i16; 3]>,
    pub(crate) transfers: u32,
    /// All that it measured: when, and what.
    pub(crate) measured: Vec<(Uptime, [i16; 3])>,
    registers: [u8; 64],
    begun: Uptime,
    next: u64,
    fifo: VecDeque<[i16; 3]>,
    overrun: bool,
    /// The next byte of the oldest sample.
    at: usize,
}

/// The sample with this number: no two of 1,500 are alike.
fn counted(number: u64) -> [i16; 3] {
    let digit = |of: u64| i16::try_from(of).unwrap();
    [digit(number % 1_500) - 700, digit(number / 1_500 % 100) + 1, -1_000]
}

impl Chip {
    pub(crate) fn new() -> Self {
        let mut inside = Inside {
            now: Uptime(0),
            address: 0x19,
            identity: 0x33,
            period_us: 20_000,
            mishap: None,
            frozen: false,
            measures: None,
            transfers: 0,
            measured: Vec::new(),
            registers: [0; 64],
            begun: Uptime(0),
            next: 0,
            fifo: VecDeque::new(),
            overrun: false,
            at: 0,
        };
        inside.reset();
        Self(Rc::new(RefCell::new(inside)))
    }

    pub(crate) fn hand(&self) -> std::cell::RefMut<'_, Inside> {
        self.0.borrow_mut()
    }

    /// One transfer: bytes to it, bytes from it.
    fn transfer(&self, told: &[u8], said: &mut [u8], on: u8) -> Result<(), Mishap> {
        let inside = &mut *self.hand();
        inside.transfers += 1;
        let number = inside.transfers;
        let mishap = inside.mishap.clone().filter(|(_, when)| when.contains(&number)).map(|(what, _)| what);
        match mishap {
            Some(Mishap::NoAnswer | Mishap::Bus) => return Err(mishap.unwrap()),
            Some(Mishap::PowerLoss) => inside.reset(),
            Some(Mishap::Wire(_)) | None => {}
        }
        inside.measure();
        let (first, values) = told.split_first().unwrap();
        assert!(first & on != 0 || values.len() + said.len() == 1, "the next register with each byte");
        let mut register = usize::from(first & 0x3F);
        for value in values {
            inside.write(register, *value);
            register += 1;
        }
        for byte in said {
            *byte = inside.read(register);
            register = if register == 0x2D { 0x28 } else { register + 1 };
            if let Some(Mishap::Wire(held)) = mishap {
                *byte = held;
            }
        }
        Ok(())
    }
}

impl Inside {
    fn reset(&mut self) {
        self.registers = [0; 64];
        self.registers[0x20] = 0x07;
        self.fifo.clear();
        (self.at, self.overrun) = (0, false);
    }

    fn measure(&mut self) {
        while self.registers[0x20] == 0x47 && !self.frozen {
            let at = self.begun + (self.next + 1) * self.period_us / 1_000;
            if at > self.now {
                return;
            }
            let mg = self.measures.map_or_else(|| counted(self.next), |what| what(self.next));
            self.next += 1;
            let settles = self.next <= 7;
            if !settles {
                self.measured.push((at, mg));
            }
            if self.registers[0x24] & 0x40 != 0 && self.registers[0x2E] & 0x80 != 0 {
                if self.fifo.len() == 32 {
                    self.fifo.pop_front();
                }
                self.fifo.push_back(mg);
                self.overrun = self.fifo.len() == 32;
            }
        }
    }

    fn write(&mut self, register: usize, value: u8) {
        assert!((0x1E..=0x26).contains(&register) || register == 0x2E, "{register:#x} is not to be written");
        if register == 0x20 && self.registers[0x20] != value {
            (self.begun, self.next) = (self.now, 0);
        }
        if register == 0x2E && value == 0 {
            self.fifo.clear();
            (self.at, self.overrun) = (0, false);
        }
        self.registers[register] = value;
    }

    fn read(&mut self, register: usize) -> u8 {
        match register {
            0x0F => self.identity,
            0x28..=0x2D => {
                let Some(mg) = self.fifo.front() else { return 0 };
                let byte = (mg[self.at / 2] << 4).to_le_bytes()[self.at % 2];
                self.at = (self.at + 1) % 6;
                if self.at == 0 {
                    self.fifo.pop_front();
                    self.overrun = false;
                }
                byte
            }
            0x2F => {
                let unread = u8::try_from(self.fifo.len().min(31)).unwrap();
                unread | u8::from(self.overrun) << 6 | u8::from(unread == 0) << 5
            }
            _ => self.registers[register],
        }
    }
}

impl i2c::Error for Mishap {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoAnswer => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address),
            Self::Bus | Self::Wire(_) | Self::PowerLoss => ErrorKind::Bus,
        }
    }
}

impl i2c::ErrorType for Chip {
    type Error = Mishap;
}

impl I2c for Chip {
    fn transaction(&mut self, address: u8, operations: &mut [i2c::Operation<'_>]) -> Result<(), Mishap> {
        if address != self.hand().address {
            return Err(Mishap::NoAnswer);
        }
        match operations {
            [i2c::Operation::Write(told)] => self.transfer(told, &mut [], 0x80),
            [i2c::Operation::Write(told), i2c::Operation::Read(said)] => self.transfer(told, said, 0x80),
            other => panic!("{other:?}"),
        }
    }
}

/// The same on an SPI bus, where nobody can refuse.
pub(crate) struct OnSpi(pub(crate) Chip);

impl spi::Error for Mishap {
    fn kind(&self) -> spi::ErrorKind {
        spi::ErrorKind::Other
    }
}

impl spi::ErrorType for OnSpi {
    type Error = Mishap;
}

impl SpiDevice for OnSpi {
    fn transaction(&mut self, operations: &mut [spi::Operation<'_, u8>]) -> Result<(), Mishap> {
        let reads = |told: &[u8]| told[0] & 0x80 != 0;
        match operations {
            [spi::Operation::Write(told)] if !reads(told) => self.0.transfer(told, &mut [], 0x40),
            [spi::Operation::Write(told), spi::Operation::Read(said)] if reads(told) => {
                let told: Vec<u8> = told.iter().map(|byte| byte & 0x7F).collect();
                self.0.transfer(&told, said, 0x40)
            }
            other => panic!("{other:?}"),
        }
    }
}

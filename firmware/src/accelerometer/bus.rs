//! The registers of a sensor behind an I²C or an SPI bus. Enters: the number of a register, and bytes. Leaves: bytes
//! of registers one behind the other. How long a transfer may take is the bus's to say.

use core::fmt::Debug;

use embedded_hal::i2c::{Error as _, ErrorKind, I2c as Wires, NoAcknowledgeSource};
use embedded_hal::spi::{Operation, SpiDevice};

/// Where a sensor's registers are.
pub trait Bus {
    /// What a bus may say.
    type Error: Debug;

    /// Reads registers from this one on.
    ///
    /// # Errors
    /// When nobody answers, or the bus fails.
    fn read(&mut self, register: u8, bytes: &mut [u8]) -> Result<(), BusError<Self::Error>>;

    /// Writes at most [`MOST_WRITTEN`] registers from this one on.
    ///
    /// # Errors
    /// When nobody answers, or the bus fails.
    fn write(&mut self, register: u8, bytes: &[u8]) -> Result<(), BusError<Self::Error>>;
}

/// Why a transfer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusError<E> {
    /// Nobody is at that address.
    NoAnswer,
    /// The bus says so.
    Failed(E),
}

/// The most registers that are written at once.
pub const MOST_WRITTEN: usize = 5;

/// A sensor on an I²C bus, at whichever of two addresses its pin SA0 gives it.
#[derive(Clone, Debug)]
pub struct I2c<W> {
    wires: W,
    address: u8,
}

impl<W: Wires> I2c<W> {
    /// A sensor at this address or at the one that differs in its lowest bit: where nobody answers, the other is
    /// asked next time.
    #[must_use]
    pub fn new(wires: W, address: u8) -> Self {
        Self { wires, address }
    }

    fn outcome(&mut self, done: Result<(), W::Error>) -> Result<(), BusError<W::Error>> {
        let Err(why) = done else { return Ok(()) };
        match why.kind() {
            ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address | NoAcknowledgeSource::Unknown) => {
                self.address ^= 1;
                Err(BusError::NoAnswer)
            }
            _ => Err(BusError::Failed(why)),
        }
    }
}

impl<W: Wires> Bus for I2c<W> {
    type Error = W::Error;

    fn read(&mut self, register: u8, bytes: &mut [u8]) -> Result<(), BusError<W::Error>> {
        let done = self.wires.write_read(self.address, &[register | I2C_ON], bytes);
        self.outcome(done)
    }

    fn write(&mut self, register: u8, bytes: &[u8]) -> Result<(), BusError<W::Error>> {
        let (told, length) = behind(register | I2C_ON, bytes);
        let done = self.wires.write(self.address, &told[..length]);
        self.outcome(done)
    }
}

/// A sensor on an SPI bus of mode 3, of at most 10 MHz. It cannot be told from nobody by a transfer alone.
#[derive(Clone, Debug)]
pub struct Spi<D>(pub D);

impl<D: SpiDevice> Bus for Spi<D> {
    type Error = D::Error;

    fn read(&mut self, register: u8, bytes: &mut [u8]) -> Result<(), BusError<D::Error>> {
        let asked = [register | SPI_READ | SPI_ON];
        let done = self.0.transaction(&mut [Operation::Write(&asked), Operation::Read(bytes)]);
        done.map_err(BusError::Failed)
    }

    fn write(&mut self, register: u8, bytes: &[u8]) -> Result<(), BusError<D::Error>> {
        let (told, length) = behind(register | SPI_ON, bytes);
        self.0.write(&told[..length]).map_err(BusError::Failed)
    }
}

/// Bytes behind the number of their first register, and how many these are together.
fn behind(register: u8, bytes: &[u8]) -> ([u8; MOST_WRITTEN + 1], usize) {
    let mut told = [0; MOST_WRITTEN + 1];
    told[0] = register;
    told[1..=bytes.len()].copy_from_slice(bytes);
    (told, bytes.len() + 1)
}

/// The next register with each byte.
const I2C_ON: u8 = 0x80;
const SPI_READ: u8 = 0x80;
const SPI_ON: u8 = 0x40;

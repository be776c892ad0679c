//! An I²C master that never waits for ever. Enters: transfers, by embedded-hal's trait, and a controller as STM32F1, F2
//! and F4 have it. Leaves: bytes, or why there are none, within a limit.
//!
//! Such a controller takes the next byte while the last still waits to be taken out. The last byte must be refused
//! and the stop said before it comes, or one more is clocked out of the sensor: so the controller is made to hold the
//! clock before it, as RM0090 (27.3.3) has it for masters that may be interrupted at any moment. Only before a byte that
//! comes alone it cannot: there nothing may interrupt between the address and the stop.

use embedded_hal::i2c::{Error as _, ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};

/// The registers of a controller. None of this waits.
pub trait Controller {
    /// Microseconds on a clock that may begin anew at 2³².
    fn micros(&self) -> u32;
    /// The first status register: [`SB`] and so on.
    fn status(&mut self) -> u16;
    /// Ends [`AF`].
    fn clear_refused(&mut self);
    /// Reads the second status register, which ends [`ADDR`]: whether the bus is busy.
    fn is_busy(&mut self) -> bool;
    /// Asks for a start; bytes that come are taken. With `two` their end is said one byte ahead (POS).
    fn start(&mut self, two: bool);
    /// Refuses the byte that comes: the next, or with `two` the one behind it.
    fn refuse(&mut self);
    /// Refuses the byte that comes, ends [`ADDR`] and asks for a stop, or for a start, behind that byte. From the end of
    /// ADDR on nothing may come in between.
    fn begin_one(&mut self, stop: bool);
    /// Ends [`ADDR`] and refuses, with nothing in between.
    fn begin_two(&mut self);
    /// Asks for a stop behind the byte that comes.
    fn stop(&mut self);
    /// Asks for a start behind the byte that comes.
    fn restart(&mut self);
    /// Whether the stop is still to be said.
    fn is_stopping(&mut self) -> bool;
    /// Sends a byte.
    fn put(&mut self, byte: u8);
    /// Takes the byte that came.
    fn take(&mut self) -> u8;
    /// Frees the bus, and starts as after a reset.
    fn begin_anew(&mut self);
}

/// A start was said.
pub const SB: u16 = 1 << 0;
/// An address was answered; the clock is held.
pub const ADDR: u16 = 1 << 1;
/// Two bytes wait, one each way; the clock is held.
pub const BTF: u16 = 1 << 2;
/// A byte came.
pub const RXNE: u16 = 1 << 6;
/// A byte can be put.
pub const TXE: u16 = 1 << 7;
/// Somebody else spoke.
pub const ARLO: u16 = 1 << 9;
/// A byte or an address was refused.
pub const AF: u16 = 1 << 10;

/// A master.
#[derive(Clone, Debug)]
pub struct Master<C> {
    controller: C,
    limit_us: u32,
    /// When the transfer began.
    begun: u32,
}

/// Why a transfer failed. One that took too long is [`ErrorKind::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(ErrorKind);

impl<C: Controller> Master<C> {
    /// A master whose transfers take at most so many microseconds: with all that a sensor makes it wait, and less than
    /// 2³¹. The controller is started.
    #[must_use]
    pub fn new(mut controller: C, limit_us: u32) -> Self {
        controller.begin_anew();
        Self { controller, limit_us, begun: 0 }
    }

    fn transfer(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), Error> {
        if self.controller.is_busy() {
            self.controller.begin_anew();
        }
        let mut started = false;
        let mut runs = operations.chunk_by_mut(|a, b| is_read(a) == is_read(b)).peekable();
        while let Some(run) = runs.next() {
            let reads = is_read(&run[0]);
            let count = run.iter().map(length).sum();
            if !started {
                self.controller.start(reads && count == 2);
            }
            let is_last = runs.peek().is_none();
            self.call(address << 1 | u8::from(reads))?;
            if reads {
                self.receive(&mut run.iter_mut().flat_map(read_bytes), count, is_last)?;
            } else {
                self.send(run.iter().flat_map(written_bytes))?;
                if is_last {
                    self.controller.stop();
                }
            }
            // Behind bytes that came it had to be asked for before the last of them.
            started = reads;
        }
        Ok(())
    }

    /// Says an address; who is there holds the clock until that is acknowledged.
    fn call(&mut self, address: u8) -> Result<(), Error> {
        self.wait(SB)?;
        self.controller.put(address);
        let answered = self.wait(ADDR);
        answered.map_err(|why| match why {
            Error(ErrorKind::NoAcknowledge(_)) => {
                Error(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address))
            }
            other => other,
        })
    }

    fn send(&mut self, bytes: impl Iterator<Item = u8>) -> Result<(), Error> {
        self.controller.is_busy();
        for byte in bytes {
            self.wait(TXE)?;
            self.controller.put(byte);
            self.wait(BTF)?;
        }
        Ok(())
    }

    fn receive(
        &mut self,
        into: &mut dyn Iterator<Item = &mut u8>,
        count: usize,
        is_last: bool,
    ) -> Result<(), Error> {
        match count {
            // Who is asked to speak cannot be asked for nothing: one byte is taken and forgotten.
            0 => self.receive_one(&mut core::iter::once(&mut 0), is_last),
            1 => self.receive_one(into, is_last),
            2 => {
                self.controller.begin_two();
                self.wait(BTF)?;
                self.end(is_last);
                self.take(into);
                self.take(into);
                Ok(())
            }
            _ => {
                self.controller.is_busy();
                for _ in 3..count {
                    self.wait(RXNE)?;
                    self.take(into);
                }
                self.wait(BTF)?;
                self.controller.refuse();
                self.take(into);
                self.wait(BTF)?;
                self.end(is_last);
                self.take(into);
                self.wait(RXNE)?;
                self.take(into);
                Ok(())
            }
        }
    }

    fn receive_one(&mut self, into: &mut dyn Iterator<Item = &mut u8>, is_last: bool) -> Result<(), Error> {
        self.controller.begin_one(is_last);
        self.wait(RXNE)?;
        self.take(into);
        Ok(())
    }

    fn end(&mut self, is_last: bool) {
        if is_last { self.controller.stop() } else { self.controller.restart() }
    }

    fn take(&mut self, into: &mut dyn Iterator<Item = &mut u8>) {
        let byte = self.controller.take();
        if let Some(to) = into.next() {
            *to = byte;
        }
    }

    fn wait(&mut self, until: u16) -> Result<(), Error> {
        loop {
            let status = self.controller.status();
            if status & AF != 0 {
                self.controller.clear_refused();
                return Err(Error(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Data)));
            }
            if status & ARLO != 0 {
                return Err(Error(ErrorKind::ArbitrationLoss));
            }
            if status & until != 0 {
                return Ok(());
            }
            if self.is_late() {
                return Err(Error(ErrorKind::Other));
            }
        }
    }

    fn is_late(&self) -> bool {
        self.controller.micros().wrapping_sub(self.begun) > self.limit_us
    }
}

impl<C> ErrorType for Master<C> {
    type Error = Error;
}

impl embedded_hal::i2c::Error for Error {
    fn kind(&self) -> ErrorKind {
        self.0
    }
}

impl<C: Controller> I2c for Master<C> {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), Error> {
        self.begun = self.controller.micros();
        let done = self.transfer(address, operations);
        match done.map_err(|why| why.kind()) {
            Ok(()) => {}
            Err(ErrorKind::NoAcknowledge(_)) => self.controller.stop(),
            Err(_) => {
                self.controller.begin_anew();
                return done;
            }
        }
        // The next start must not be asked for before the stop was said.
        while self.controller.is_stopping() {
            if self.is_late() {
                self.controller.begin_anew();
                break;
            }
        }
        done
    }
}

fn is_read(operation: &Operation<'_>) -> bool {
    matches!(operation, Operation::Read(_))
}

fn length(operation: &Operation<'_>) -> usize {
    match operation {
        Operation::Read(bytes) => bytes.len(),
        Operation::Write(bytes) => bytes.len(),
    }
}

fn read_bytes<'b>(operation: &'b mut Operation<'_>) -> core::slice::IterMut<'b, u8> {
    match operation {
        Operation::Read(bytes) => bytes.iter_mut(),
        Operation::Write(_) => [].iter_mut(),
    }
}

fn written_bytes<'b>(operation: &'b Operation<'_>) -> core::iter::Copied<core::slice::Iter<'b, u8>> {
    match operation {
        Operation::Write(bytes) => bytes.iter().copied(),
        Operation::Read(_) => [].iter().copied(),
    }
}

#[cfg(test)]
mod chip;
#[cfg(test)]
mod tests;

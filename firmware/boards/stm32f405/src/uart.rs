//! Serial ports. Enters: bytes by interrupt, because none may be missed. Leaves: embedded-io's ports that never
//! wait. Bytes out are polled: QEMU 7.2 never interrupts when there is room for one.

use core::cell::RefCell;

use cortex_m::interrupt::{Mutex, free};
use cortex_m::peripheral::NVIC;
use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write, WriteReady};
use heapless::Deque;
use stm32f4xx_hal::nb;
use stm32f4xx_hal::pac::{Interrupt, USART2, USART3, interrupt};
use stm32f4xx_hal::prelude::*;
use stm32f4xx_hal::serial::{Instance, Rx, Serial, Tx};

/// What the gateway says.
pub static GATEWAY: Ears<USART2> = Ears::new();
/// What the reader's module says.
pub static READER: Ears<USART3> = Ears::new();

/// The receiving half of a port, which interrupts and the loop share.
pub struct Ears<U: Instance>(Mutex<RefCell<Option<Inbox<U>>>>);

struct Inbox<U: Instance> {
    rx: Rx<U>,
    bytes: Deque<u8, ROOM>,
    /// A byte was lost, by an overrun, a framing error or noise, since the last time that this was said.
    lost: bool,
}

impl<U: Instance> Ears<U> {
    const fn new() -> Self {
        Self(Mutex::new(RefCell::new(None)))
    }

    fn with<T>(&self, what: impl FnOnce(&mut Inbox<U>) -> T) -> Option<T> {
        free(|cs| self.0.borrow(cs).borrow_mut().as_mut().map(what))
    }

    fn handle_interrupt(&self) {
        self.with(|Inbox { rx, bytes, lost }| {
            // At least once: an overrun without a byte interrupts until it is read.
            loop {
                match rx.read() {
                    Ok(byte) => *lost |= bytes.push_back(byte).is_err(),
                    Err(nb::Error::Other(_)) => *lost = true,
                    Err(nb::Error::WouldBlock) => {}
                }
                if !rx.is_rx_not_empty() {
                    return;
                }
            }
        });
    }

    fn is_empty(&self) -> bool {
        self.with(|inbox| inbox.bytes.is_empty() && !inbox.lost).unwrap_or(true)
    }
}

/// A port.
pub struct Port<U: Instance + 'static> {
    tx: Tx<U>,
    ears: &'static Ears<U>,
}

impl<U: Instance> Port<U> {
    /// Lets bytes come in.
    pub fn open(serial: Serial<U>, ears: &'static Ears<U>, by: Interrupt) -> Self {
        let (tx, mut rx) = serial.split();
        rx.listen();
        let inbox = Inbox { rx, bytes: Deque::new(), lost: false };
        free(|cs| ears.0.borrow(cs).replace(Some(inbox)));
        // SAFETY: the interrupt's handler touches only `ears`, which is whole.
        unsafe { NVIC::unmask(by) };
        Self { tx, ears }
    }
}

impl<U: Instance> ErrorType for Port<U> {
    type Error = ErrorKind;
}

impl<U: Instance> Read for Port<U> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        let read = self.ears.with(|Inbox { bytes, lost, .. }| {
            if bytes.is_empty() && core::mem::take(lost) {
                return Err(ErrorKind::Other);
            }
            let mut count = 0;
            while let Some(to) = buffer.get_mut(count)
                && let Some(byte) = bytes.pop_front()
            {
                *to = byte;
                count += 1;
            }
            Ok(count)
        });
        read.unwrap_or(Ok(0))
    }
}

impl<U: Instance> ReadReady for Port<U> {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        Ok(!self.ears.is_empty())
    }
}

impl<U: Instance> Write for Port<U> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        let Some(byte) = bytes.first() else { return Ok(0) };
        match self.tx.write(*byte) {
            Ok(()) => Ok(1),
            Err(nb::Error::WouldBlock) => Ok(0),
            Err(nb::Error::Other(_)) => Err(ErrorKind::Other),
        }
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        nb::block!(self.tx.flush()).map_err(|_| ErrorKind::Other)
    }
}

impl<U: Instance> WriteReady for Port<U> {
    fn write_ready(&mut self) -> Result<bool, ErrorKind> {
        Ok(self.tx.is_tx_empty())
    }
}

/// Waits for an interrupt unless bytes are there. None is missed between the question and the sleep: with
/// interrupts held back one that comes ends the sleep all the same.
pub fn sleep() {
    free(|_| {
        if GATEWAY.is_empty() && READER.is_empty() {
            cortex_m::asm::wfi();
        }
    });
}

#[interrupt]
fn USART2() {
    GATEWAY.handle_interrupt();
}

#[interrupt]
fn USART3() {
    READER.handle_interrupt();
}

/// What comes in 80 ms at 115,200 baud. While an area of the flash is erased nothing is heard, for up to a second:
/// the gateway says it again, and the module has just been started.
const ROOM: usize = 1_024;

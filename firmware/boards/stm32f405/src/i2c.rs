//! The registers of I2C1, for the accelerometer at 100 kHz. Enters and leaves: what `hangtag-firmware`'s master asks
//! of a controller. The chip's library waits for ever where a wire is held low, and only the watchdog would end it.
//!
//! What ends badly is followed by a new start of the controller, which otherwise may call the bus busy for good
//! (STM32F405 errata, I2C), and by clock pulses for a sensor that was cut off in the middle of a byte and still
//! holds its wire (I²C specification UM10204, 3.1.16). In QEMU, which has no I2C, each transfer runs into its limit.

use hangtag_firmware::i2c::Controller;
use stm32f4xx_hal::gpio::{Alternate, OpenDrain, PB8, PB9, PinState, Pull};
use stm32f4xx_hal::pac::I2C1;
use stm32f4xx_hal::rcc::{Enable as _, Rcc, Reset as _};

use crate::clock::Micros;

/// How long a transfer may take, with all that a sensor makes it wait: 192 bytes take 18 ms.
pub const LIMIT_US: u32 = 25_000;

/// The controller and its wires.
pub struct I2c1 {
    i2c: I2C1,
    scl: PB8<Alternate<4, OpenDrain>>,
    sda: PB9<Alternate<4, OpenDrain>>,
    micros: Micros,
    /// The clock of the controller in MHz, and half a period of the bus in periods of that.
    mhz: u8,
    half: u16,
}

impl I2c1 {
    /// The controller, not started yet. The pins' own pull-ups are too weak to work with, and enough to say that nobody
    /// is there.
    pub fn new(i2c: I2C1, scl: PB8, sda: PB9, micros: Micros, rcc: &mut Rcc) -> Self {
        I2C1::enable(rcc);
        I2C1::reset(rcc);
        let hz = rcc.clocks.pclk1().raw();
        let mut scl = scl.into_alternate_open_drain();
        let mut sda = sda.into_alternate_open_drain();
        scl.set_internal_resistor(Pull::Up);
        sda.set_internal_resistor(Pull::Up);
        let mhz = u8::try_from(hz / 1_000_000).expect("APB1 has at most 42 MHz");
        let half = u16::try_from(hz / (2 * BUS_HZ)).expect("at most 210");
        Self { i2c, scl, sda, micros, mhz, half }
    }

    /// Makes a sensor that was cut off let go, and says a stop.
    fn free(&mut self) {
        let Self { scl, sda, micros, .. } = self;
        scl.with_open_drain_output_in_state(PinState::High, |scl| {
            sda.with_open_drain_output_in_state(PinState::High, |sda| {
                for _ in 0..9 {
                    micros.pass(HALF_US);
                    if sda.is_high() {
                        break;
                    }
                    scl.set_low();
                    micros.pass(HALF_US);
                    scl.set_high();
                }
                sda.set_low();
                micros.pass(HALF_US);
                sda.set_high();
                micros.pass(HALF_US);
            });
        });
    }
}

impl Controller for I2c1 {
    fn micros(&self) -> u32 {
        self.micros.count()
    }

    fn status(&mut self) -> u16 {
        self.i2c.sr1().read().bits()
    }

    fn clear_refused(&mut self) {
        self.i2c.sr1().modify(|_, w| w.af().clear_bit());
    }

    fn is_busy(&mut self) -> bool {
        self.i2c.sr2().read().busy().bit_is_set()
    }

    fn start(&mut self, two: bool) {
        self.i2c.cr1().modify(|_, w| w.start().set_bit().ack().set_bit().pos().bit(two));
    }

    fn refuse(&mut self) {
        self.i2c.cr1().modify(|_, w| w.ack().clear_bit());
    }

    fn begin_one(&mut self, stop: bool) {
        self.refuse();
        cortex_m::interrupt::free(|_| {
            self.is_busy();
            if stop { self.stop() } else { self.restart() }
        });
    }

    fn begin_two(&mut self) {
        cortex_m::interrupt::free(|_| {
            self.is_busy();
            self.refuse();
        });
    }

    fn stop(&mut self) {
        self.i2c.cr1().modify(|_, w| w.stop().set_bit());
    }

    fn restart(&mut self) {
        self.i2c.cr1().modify(|_, w| w.start().set_bit());
    }

    fn is_stopping(&mut self) -> bool {
        self.i2c.cr1().read().stop().bit_is_set()
    }

    fn put(&mut self, byte: u8) {
        self.i2c.dr().write(|w| w.dr().set(byte));
    }

    fn take(&mut self) -> u8 {
        self.i2c.dr().read().dr().bits()
    }

    fn begin_anew(&mut self) {
        self.i2c.cr1().reset();
        self.free();
        self.i2c.cr1().write(|w| w.swrst().set_bit());
        self.i2c.cr1().reset();
        // SAFETY: 16 or 42 MHz, of which the field takes 2 to 50.
        self.i2c.cr2().write(|w| unsafe { w.freq().bits(self.mhz) });
        // SAFETY: at 16 or 42 MHz 80 or 210, of which the field takes 4 to 4,095.
        self.i2c.ccr().write(|w| unsafe { w.ccr().bits(self.half) });
        // One microsecond, as the specification lets a wire rise.
        self.i2c.trise().write(|w| w.trise().set(self.mhz + 1));
        self.i2c.cr1().modify(|_, w| w.pe().set_bit());
    }
}

/// Cables to a rail are long, and pull-ups on sensors' boards weak.
const BUS_HZ: u32 = 100_000;
const HALF_US: u32 = 5;

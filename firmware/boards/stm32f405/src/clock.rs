//! Time since the start. Enters: a timer of 32 bits that counts microseconds. Leaves: milliseconds that never go
//! back. SysTick would lose time in an emulator, which drops interrupts when its host is busy.

use hangtag_protocol::clock::Uptime;
use stm32f4xx_hal::pac::TIM2;
use stm32f4xx_hal::rcc::{Enable as _, Rcc, Reset as _};

/// The time. It must be asked at least once an hour: the timer begins anew after 71 minutes.
pub struct Clock {
    timer: TIM2,
    last: u32,
    micros: u64,
}

impl Clock {
    /// Starts the timer, whose own clock is this fast.
    pub fn start(timer: TIM2, timer_hz: u32, rcc: &mut Rcc) -> Self {
        TIM2::enable(rcc);
        TIM2::reset(rcc);
        let divisor = u16::try_from(timer_hz / 1_000_000 - 1).expect("a timer is slower than 65 GHz");
        timer.psc().write(|w| w.psc().set(divisor));
        timer.arr().write(|w| w.arr().set(u32::MAX));
        // The divisor counts from the next update on.
        timer.egr().write(|w| w.ug().set_bit());
        timer.cr1().write(|w| w.cen().set_bit());
        Self { timer, last: 0, micros: 0 }
    }

    /// How long ago that was.
    pub fn now(&mut self) -> Uptime {
        Uptime(self.passed_us() / 1_000)
    }

    /// The same in microseconds.
    pub fn passed_us(&mut self) -> u64 {
        let count = self.timer.cnt().read().cnt().bits();
        self.micros += u64::from(count.wrapping_sub(self.last));
        self.last = count;
        self.micros
    }

    /// The same timer, for those that wait for something else.
    pub fn micros(&self) -> Micros {
        Micros(())
    }

    /// How unevenly the timer and the program run beside each other: an emulator's host is never still. On the
    /// chip itself both run from one clock, and this says nothing.
    pub fn jitter(&mut self) -> u32 {
        (0..JITTERS).fold(0, |mixed: u32, _| {
            let before = self.timer.cnt().read().cnt().bits();
            let mut turns: u32 = 0;
            while self.timer.cnt().read().cnt().bits().wrapping_sub(before) < JITTER_US {
                turns += 1;
            }
            mixed.rotate_left(5).wrapping_mul(0x9E37_79B1) ^ turns
        })
    }
}

/// Microseconds on a timer that was started. They begin anew after 71 minutes.
#[derive(Clone, Copy)]
pub struct Micros(());

impl Micros {
    /// How many there were.
    pub fn count(self) -> u32 {
        // SAFETY: the counter is only read.
        let timer = unsafe { &*TIM2::ptr() };
        timer.cnt().read().cnt().bits()
    }

    /// Lets some pass.
    pub fn pass(self, micros: u32) {
        let begun = self.count();
        while self.count().wrapping_sub(begun) <= micros {}
    }
}

const JITTERS: u32 = 32;
const JITTER_US: u32 = 100;

//! How the board does. Enters: the stack, and when the processor slept. Leaves: how much of the stack was never used,
//! and for how much of the time the processor was awake.

use cortex_m::register::msp;
use hangtag_firmware::node::Vitals;
use hangtag_protocol::clock::Uptime;

use crate::clock::Clock;

/// What is watched of the board.
pub struct Watch {
    from_us: u64,
    asleep_us: u64,
    due: Uptime,
}

impl Watch {
    /// Begins, and fills the stack that is not used yet with something that is known again.
    pub fn begin(clock: &mut Clock) -> Self {
        // What this very function uses is left out.
        let end = (msp::read() as usize - MARGIN) & !3;
        let mut at = bottom();
        while at < end {
            // SAFETY: the linker gives this RAM to the stack only, which ends above it.
            unsafe { (at as *mut u32).write_volatile(PAINT) };
            at += WORD;
        }
        Self { from_us: clock.passed_us(), asleep_us: 0, due: Uptime(0) }
    }

    /// Sleeps by those means.
    pub fn sleep(&mut self, clock: &mut Clock, sleep: impl FnOnce()) {
        let before = clock.passed_us();
        sleep();
        self.asleep_us += clock.passed_us() - before;
    }

    /// How the board did since it was last said; once a second.
    pub fn poll(&mut self, clock: &mut Clock, now: Uptime) -> Option<Vitals> {
        if now < self.due {
            return None;
        }
        self.due = now + EVERY_MS;
        let passed_us = clock.passed_us() - self.from_us;
        let awake_us = passed_us.saturating_sub(self.asleep_us);
        let awake_pm = (awake_us * 1_000).checked_div(passed_us).and_then(|pm| u16::try_from(pm).ok());
        (self.from_us, self.asleep_us) = (self.from_us + passed_us, 0);
        Some(Vitals { stack_free: Some(stack_free()), awake_pm, ..Vitals::default() })
    }
}

/// Bytes of the stack that nothing was ever written to.
fn stack_free() -> u32 {
    let begin = bottom();
    let mut at = begin;
    // SAFETY: it is within the RAM, and ends at the latest where the stack is used, by this function.
    while unsafe { (at as *const u32).read_volatile() } == PAINT {
        at += WORD;
    }
    (at - begin) as u32
}

/// Where the stack would meet the program's data.
fn bottom() -> usize {
    unsafe extern "C" {
        static _stack_end: u32;
    }
    // The linker puts it at the end of a word.
    (&raw const _stack_end) as usize
}

const PAINT: u32 = 0x5ac1_ed5a;
const WORD: usize = size_of::<u32>();
/// More than a call of a function takes.
const MARGIN: usize = 256;
const EVERY_MS: u64 = 1_000;

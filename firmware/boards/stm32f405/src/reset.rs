//! Why this run started, and RAM that outlives a reset. Enters: panics, faults, the chip's word. Leaves: what the next
//! run finds. What is in that RAM, and whether it is to be believed, `hangtag_firmware::past` says.

use core::fmt::Write as _;
use core::mem::MaybeUninit;
use core::panic::PanicInfo;

use cortex_m::peripheral::SCB;
use cortex_m_rt::ExceptionFrame;
use hangtag_firmware::past::{Past, RAM_WORDS, Ram, leave_words};
use hangtag_protocol::link::message::{BootReason, MAX_WORDS};
use heapless::String;
use stm32f4xx_hal::pac::RCC;

/// RAM that nothing initialises.
#[derive(Debug)]
pub struct Kept(());

impl Kept {
    /// That RAM. Whoever has it is the only one to use it, but for a panic, from which nobody comes back.
    pub fn take() -> Self {
        Self(())
    }
}

impl Ram for Kept {
    fn load(&self, at: usize) -> u32 {
        assert!(at < RAM_WORDS);
        // SAFETY: it is within; every pattern of bits is a word; no reference to it is ever made.
        unsafe { (&raw const RAM).cast::<u32>().add(at).read_volatile() }
    }

    fn store(&mut self, at: usize, word: u32) {
        assert!(at < RAM_WORDS);
        // SAFETY: as in `load`. Volatile writes stay in their order, and a Cortex-M4 has no cache before its RAM.
        unsafe { (&raw mut RAM).cast::<u32>().add(at).write_volatile(word) }
    }
}

/// Why this run started. To be asked once: the next reset has another reason.
pub fn reason(past: &Past<Kept>, rcc: &RCC) -> BootReason {
    let flags = rcc.csr().read();
    rcc.csr().modify(|_, w| w.rmvf().set_bit());
    // Several are set at once: the pin's with every other, that of power with that of a low supply.
    if past.panicked() {
        BootReason::Panic
    } else if flags.wdgrstf().bit_is_set() || flags.wwdgrstf().bit_is_set() {
        BootReason::Watchdog
    } else if flags.sftrstf().bit_is_set() {
        BootReason::Software
    } else if flags.porrstf().bit_is_set() {
        BootReason::Power
    } else if flags.borrstf().bit_is_set() {
        BootReason::BrownOut
    } else if flags.padrstf().bit_is_set() {
        BootReason::Pin
    } else {
        BootReason::Unknown
    }
}

#[panic_handler]
fn panicked(why: &PanicInfo<'_>) -> ! {
    cortex_m::interrupt::disable();
    let mut words = String::<MAX_WORDS>::new();
    // The place first: what does not fit is left out.
    if let Some(place) = why.location() {
        let file = place.file().rsplit_once("src/").map_or(place.file(), |(_, file)| file);
        let _ = write!(words, "{file}:{}: ", place.line());
    }
    let _ = write!(Cut(&mut words), "{}", why.message());
    end(&words)
}

/// A fault is a panic whose words are addresses.
#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    let mut words = String::<MAX_WORDS>::new();
    let _ = write!(words, "fault at {:08x} from {:08x}", frame.pc(), frame.lr());
    end(&words)
}

fn end(words: &str) -> ! {
    leave_words(&mut Kept::take(), words);
    SCB::sys_reset()
}

/// Takes the beginning of what does not fit.
struct Cut<'s>(&'s mut String<MAX_WORDS>);

impl core::fmt::Write for Cut<'_> {
    fn write_str(&mut self, words: &str) -> core::fmt::Result {
        words.chars().try_for_each(|word| self.0.push(word)).map_err(|_| core::fmt::Error)
    }
}

#[unsafe(link_section = ".uninit.past")]
static mut RAM: MaybeUninit<[u32; RAM_WORDS]> = MaybeUninit::uninit();

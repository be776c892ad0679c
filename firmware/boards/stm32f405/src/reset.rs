//! What outlives a reset: why the last run ended, and its number. Enters: panics, faults, the chip's word. Leaves:
//! the reason for this start, and a number for this run. The record lies in RAM that nothing initialises, where a
//! debugger finds the words of the last panic; its magic says whether anything was written.

use core::fmt::Write as _;
use core::mem::MaybeUninit;
use core::panic::PanicInfo;

use cortex_m::peripheral::SCB;
use cortex_m_rt::ExceptionFrame;
use hangtag_protocol::link::message::BootReason;
use heapless::String;
use stm32f4xx_hal::pac::RCC;

/// Why this run started. To be asked once: the next reset has another reason.
pub fn reason(rcc: &RCC) -> BootReason {
    let record = read();
    write(Record { ended: Ended::Otherwise as u32, ..record });
    let flags = rcc.csr().read();
    rcc.csr().modify(|_, w| w.rmvf().set_bit());
    // Several are set at once: the pin's with every other, that of power with that of a low supply.
    if record.magic == MAGIC && record.ended == Ended::Panic as u32 {
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

/// A number for this run that is not the one before, and not 0.
pub fn draw_boot(noise: u32) -> u32 {
    let record = read();
    let before = if record.magic == MAGIC { record.boot } else { 0 };
    let mixed = noise ^ before.wrapping_mul(0x9E37_79B1);
    let boot =
        [mixed, mixed.wrapping_add(1), mixed.wrapping_add(2)].into_iter().find(|n| *n != 0 && *n != before);
    let boot = boot.expect("of three numbers one is neither of two");
    write(Record { magic: MAGIC, boot, ..record });
    boot
}

#[panic_handler]
fn panicked(why: &PanicInfo<'_>) -> ! {
    cortex_m::interrupt::disable();
    let mut words = String::<WORDS>::new();
    // What does not fit is left out.
    let _ = write!(words, "{why}");
    end(&words)
}

/// A fault is a panic without words.
#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    let mut words = String::<WORDS>::new();
    let _ = write!(words, "fault at {:08x} from {:08x}", frame.pc(), frame.lr());
    end(&words)
}

fn end(why: &str) -> ! {
    let mut words = [0; WORDS];
    words[..why.len()].copy_from_slice(why.as_bytes());
    write(Record { magic: MAGIC, ended: Ended::Panic as u32, words, ..read() });
    SCB::sys_reset()
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Record {
    magic: u32,
    ended: u32,
    boot: u32,
    /// UTF-8, padded with 0.
    words: [u8; WORDS],
}

#[repr(u32)]
enum Ended {
    Panic = 0x0dea_d0e5,
    Otherwise = 0,
}

const MAGIC: u32 = 0x4a6e_0405;
const WORDS: usize = 116;

#[unsafe(link_section = ".uninit.record")]
static mut RECORD: MaybeUninit<Record> = MaybeUninit::uninit();

fn read() -> Record {
    // SAFETY: every pattern of bits is a record; there is one core, and who interrupts this does not come back.
    unsafe { (&raw const RECORD).cast::<Record>().read_volatile() }
}

fn write(record: Record) {
    // SAFETY: as in `read`; no reference to it is ever made.
    unsafe { (&raw mut RECORD).cast::<Record>().write_volatile(record) }
}

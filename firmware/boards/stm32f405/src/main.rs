//! The reader node on an STM32F405. Enters: bytes of two UARTs. Leaves: bytes on both. What is decided is decided
//! in `hangtag-firmware`; here are pins, clocks, flash and the loop.
//!
//! | pin | is |
//! |---|---|
//! | PA2, PA3 | USART2 to the gateway, 115,200 baud |
//! | PB10, PB11 | USART3 to the R200 module, 115,200 baud |
//! | PB8, PB9 | I2C1 to an accelerometer, if there is one: SCL and SDA, 100 kHz |
//! | PB12 | a booth's occupancy sensor, if the configuration names one; pulled up |
//!
//! The loop comes every 10 ms. It waits for nobody: a look at the accelerometer takes 4 ms ten times a second, 19 ms
//! after a pause of 640 ms, and 25 ms when the bus hangs, then every five seconds.
//!
//! The same image runs in QEMU's `netduinoplus2`. The oscillator that the chip starts with is ready after every
//! reset of a real one, and never in QEMU, which has no RCC: so the image knows where it is. In QEMU there are no
//! PLL, watchdog, flash to write, random numbers and serial number of the chip: the configuration lives in RAM
//! there, which a reset of the system leaves alone, and the number of a run comes of the jitter of the host.

#![no_std]
#![no_main]

mod clock;
mod flash;
mod i2c;
mod reset;
mod uart;
mod vitals;

use core::alloc::{GlobalAlloc, Layout};

use cortex_m::peripheral::syst::SystClkSource;
use hangtag_firmware::accelerometer::{self, bus};
use hangtag_firmware::i2c::Master;
use hangtag_firmware::keep::Keeper;
use hangtag_firmware::line::Line;
use hangtag_firmware::node::{Node, Vitals};
use hangtag_firmware::past::Past;
use hangtag_firmware::sensors::Sensors;
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::link::message::{Firmware, NodeId};
use hangtag_protocol::link::sender::Identity;
use stm32f4xx_hal::pac;
use stm32f4xx_hal::prelude::*;
use stm32f4xx_hal::rcc::{self, Rcc};
use stm32f4xx_hal::signature::Uid;
use stm32f4xx_hal::watchdog::IndependentWatchdog;

use clock::Clock;
use flash::Flash;
use reset::Kept;
use uart::Port;
use vitals::Watch;

/// Room for frames that were sent, messages that wait, and tags that are condensed at a time.
type Board = Node<16_384, 40_960, 64>;

#[cortex_m_rt::entry]
fn main() -> ! {
    let chip = pac::Peripherals::take().expect("nobody took them before");
    let mut core = cortex_m::Peripherals::take().expect("nobody took them before");
    let emulated = chip.RCC.cr().read().hsirdy().bit_is_clear();
    let mut past = Past::open(Kept::take());
    let reason = reset::reason(&past, &chip.RCC);
    let (mut rcc, core_hz, timer_hz) = if emulated {
        (chip.RCC.constrain(), EMULATED_CORE_HZ, EMULATED_TIMER_HZ)
    } else {
        let fast = rcc::Config::hse(CRYSTAL_HZ.Hz()).sysclk(FULL_SPEED_HZ.Hz()).require_pll48clk();
        let rcc = chip.RCC.freeze(fast);
        let (core_hz, timer_hz) = (rcc.clocks.sysclk().raw(), rcc.clocks.timclk1().raw());
        (rcc, core_hz, timer_hz)
    };
    let mut watchdog = IndependentWatchdog::new(chip.IWDG);
    watchdog.start(WATCHDOG_MS.millis());
    let mut clock = Clock::start(chip.TIM2, timer_hz, &mut rcc);
    let mut watch = Watch::begin(&mut clock);

    let pins_a = chip.GPIOA.split(&mut rcc);
    let pins_b = chip.GPIOB.split(&mut rcc);
    let (gateway, reader) = (BAUD.bps(), BAUD.bps());
    let gateway = chip.USART2.serial((pins_a.pa2, pins_a.pa3), gateway, &mut rcc).expect("a common speed");
    let reader = chip.USART3.serial((pins_b.pb10, pins_b.pb11), reader, &mut rcc).expect("a common speed");
    let mut gateway = Line::new(Port::open(gateway, &uart::GATEWAY, pac::Interrupt::USART2));
    let mut reader = Line::new(Port::open(reader, &uart::READER, pac::Interrupt::USART3));

    let wires = i2c::I2c1::new(chip.I2C1, pins_b.pb8, pins_b.pb9, clock.micros(), &mut rcc);
    let accelerometer = bus::I2c::new(Master::new(wires, i2c::LIMIT_US), accelerometer::ADDRESS);
    let mut sensors = Sensors::new(accelerometer, pins_b.pb12.into_pull_up_input());

    let noise = if emulated { clock.jitter() } else { random(chip.RNG, &mut rcc) };
    let node = if emulated { EMULATED_NODE } else { serial_number() };
    let identity = Identity { node, firmware: VERSION, reason, boot: past.draw_boot(noise) };
    past.begin(identity.boot, reason);
    let mut flash = Flash::new(chip.FLASH, emulated);
    let keeper = Keeper::new(flash.areas());
    let kept = keeper.load(&mut flash);
    let begun = clock.now();
    // On the stack, where it is made: in a static it would be made on the stack too and copied, and take both.
    let mut node = Board::new(identity, kept, begun);
    past.untold().for_each(|ended| node.handle_ended(&ended));

    core.SYST.set_clock_source(SystClkSource::Core);
    core.SYST.set_reload(core_hz / WAKES_HZ - 1);
    core.SYST.clear_current();
    core.SYST.enable_counter();
    core.SYST.enable_interrupt();
    loop {
        watchdog.feed();
        let now: Uptime = clock.now();
        gateway.hear(|bytes| node.handle_gateway(bytes, now));
        reader.hear(|bytes| node.handle_module(bytes, now));
        let config = node.sensing().copied();
        sensors.handle_timeout(config.as_ref(), now, |told| node.handle_told(told, now));
        node.handle_sensors(sensors.states());
        if let Some(config) = node.poll_keep() {
            let kept = keeper.store(&mut flash, &config).is_ok();
            node.handle_kept(kept, clock.now());
        }
        if let Some(vitals) = watch.poll(&mut clock, now) {
            let (line_errors, reader_line_errors) = (gateway.errors(), reader.errors());
            node.handle_vitals(Vitals { line_errors, reader_line_errors, ..vitals });
        }
        // Before anything of it is told.
        past.note(node.reads(), now);
        if node.is_past_durable() {
            past.forget();
        }
        let unsent = gateway.say(|| node.poll_gateway(now));
        let unsaid = reader.say(|| node.poll_module(now));
        if node.is_spent() {
            cortex_m::peripheral::SCB::sys_reset();
        }
        if !unsent && !unsaid {
            watch.sleep(&mut clock, uart::sleep);
        }
    }
}

/// The protocol names `alloc` for its other users. Nothing on a node allocates: what would gets nothing, and panics.
struct NoHeap;

// SAFETY: it hands out nothing.
unsafe impl GlobalAlloc for NoHeap {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: NoHeap = NoHeap;

/// Only wakes the loop.
#[cortex_m_rt::exception]
fn SysTick() {}

/// A word of the chip's random numbers; 0 where they fail, and the number of the run is then drawn from the one
/// before.
fn random(rng: pac::RNG, rcc: &mut Rcc) -> u32 {
    use stm32f4xx_hal::hal_02::blocking::rng::Read as _;
    let mut word = [0; 4];
    match rng.constrain(rcc).read(&mut word) {
        Ok(()) => u32::from_le_bytes(word),
        Err(_) => 0,
    }
}

/// The chip's own number: where on which wafer of which lot it was.
fn serial_number() -> NodeId {
    let uid = Uid::get();
    let place = u64::from(uid.x()) | u64::from(uid.y()) << 16 | u64::from(uid.waf_num()) << 32;
    let lot = uid.lot_num().bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(131).wrapping_add(byte.into()));
    NodeId(place ^ lot.rotate_left(40))
}

const VERSION: Firmware = Firmware { major: 0, minor: 1, patch: 0 };
const BAUD: u32 = 115_200;
/// The crystal of an Olimex STM32-H405.
const CRYSTAL_HZ: u32 = 8_000_000;
const FULL_SPEED_HZ: u32 = 168_000_000;
/// What QEMU's clocks do, whatever the RCC says.
const EMULATED_CORE_HZ: u32 = 168_000_000;
const EMULATED_TIMER_HZ: u32 = 1_000_000_000;
const EMULATED_NODE: NodeId = NodeId(0x0405_e301_a7ed_0001);
/// The longest erasure of an area of the flash is one second.
const WATCHDOG_MS: u32 = 4_000;
const WAKES_HZ: u32 = 100;

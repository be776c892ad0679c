//! Sensors of a node whose loop comes every 10 ms: an invented chip, and a pin that fails when it is told to.

extern crate std;

use super::*;
use crate::accelerometer::ADDRESS;
use crate::accelerometer::bus::I2c;
use crate::accelerometer::chip::{Chip, Mishap};
use crate::config::tests::good;
use embedded_hal::digital::{Error, ErrorKind, ErrorType};
use hangtag_protocol::link::message::{Motion, Moved};
use std::cell::Cell;
use std::rc::Rc;
use std::vec::Vec;

/// `None` where it cannot be read.
#[derive(Clone)]
struct Pin(Rc<Cell<Option<bool>>>);

#[derive(Clone, Copy, Debug)]
struct Broken;

impl Error for Broken {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

impl ErrorType for Pin {
    type Error = Broken;
}

impl InputPin for Pin {
    fn is_high(&mut self) -> Result<bool, Broken> {
        self.0.get().ok_or(Broken)
    }

    fn is_low(&mut self) -> Result<bool, Broken> {
        self.is_high().map(|high| !high)
    }
}

struct Bench {
    sensors: Sensors<I2c<Chip>, Pin>,
    chip: Chip,
    pin: Pin,
    config: Option<Config>,
    now: Uptime,
    told: Vec<Told>,
}

fn bench() -> Bench {
    let (chip, pin) = (Chip::new(), Pin(Rc::new(Cell::new(Some(true)))));
    chip.hand().measures = Some(lies);
    let sensors = Sensors::new(I2c::new(chip.clone(), ADDRESS), pin.clone());
    Bench { sensors, chip, pin, config: None, now: Uptime(0), told: Vec::new() }
}

fn lies(number: u64) -> [i16; 3] {
    [0, if number.is_multiple_of(2) { 1 } else { 0 }, 1_000]
}

/// From the third second on it is shaken for one.
fn is_shaken(number: u64) -> [i16; 3] {
    if (100..150).contains(&number) {
        [if number.is_multiple_of(2) { 500 } else { -300 }, 0, 900]
    } else {
        lies(number)
    }
}

fn watches(occupied: Level) -> Option<Config> {
    Config::new(Configure { occupied: Some(occupied), settle_ms: 400, ..good() }).ok()
}

impl Bench {
    fn run(&mut self, ms: u64) -> &mut Self {
        let end = self.now + ms;
        while self.now < end {
            self.now = self.now + 10;
            self.chip.hand().now = self.now;
            let (before, told) = (self.chip.hand().transfers, &mut self.told);
            self.sensors.handle_timeout(self.config.as_ref(), self.now, |what| told.push(*what));
            assert!(self.chip.hand().transfers - before <= 7, "a call takes no longer");
        }
        self
    }

    fn states(&self) -> (SensorState, SensorState) {
        let message::Sensors { accelerometer, occupancy } = self.sensors.states().sensors;
        (accelerometer, occupancy)
    }

    fn faults(&self) -> (Option<SensorFault>, Option<SensorFault>) {
        let States { accelerometer_fault, occupancy_fault, .. } = self.sensors.states();
        (accelerometer_fault, occupancy_fault)
    }

    fn motions(&self) -> Vec<Motion> {
        let motions = self.told.iter().map(|told| match told {
            Told::Motion(motion) => *motion,
            other => panic!("{other:?}"),
        });
        motions.collect()
    }

    fn booth(&self) -> Vec<(u64, BoothState)> {
        let booth = self.told.iter().map(|told| match told {
            Told::Occupancy(message::Occupancy { at, state }) => (at.0, *state),
            other => panic!("{other:?}"),
        });
        booth.collect()
    }
}

#[test]
fn a_movement_is_told_from_the_wires_to_the_message() {
    let mut bench = bench();
    bench.config = Config::new(good()).ok();
    bench.chip.hand().measures = Some(is_shaken);
    bench.run(2_200);
    assert!(matches!(bench.motions()[..], [Motion { how: Moved::PickedUp, sensor: 1, peak_mg: 509.., .. }]));
    bench.run(2_000);
    let motions = bench.motions();
    // Samples 100 to 149, each 20 ms after the one before.
    assert!(motions[0].at.0.abs_diff(2_030) <= 20, "{motions:?}");
    assert!(motions[1].at.0.abs_diff(3_030) <= 20 && motions[1].how == Moved::PutDown, "{motions:?}");
    assert_eq!((motions.len(), bench.states()), (2, (SensorState::Works, SensorState::Unused)));
}

#[test]
fn nothing_is_told_before_it_is_known_what_a_movement_is() {
    let mut bench = bench();
    bench.chip.hand().measures = Some(is_shaken);
    bench.run(4_000);
    assert_eq!((bench.told.len(), bench.states().0), (0, SensorState::Works));
}

#[test]
fn an_accelerometer_is_looked_for_and_what_is_wrong_with_it_is_said() {
    let mut bench = bench();
    bench.config = Config::new(good()).ok();
    bench.chip.hand().address = 0x40;
    bench.run(3_000);
    assert_eq!((bench.states().0, bench.faults().0), (SensorState::Absent, None));
    (bench.chip.hand().address, bench.chip.hand().identity) = (0x18, 0x11);
    bench.run(5_000);
    let another = (SensorState::Absent, Some(SensorFault::Stranger(0x11)));
    assert_eq!((bench.states().0, bench.faults().0), another, "not as if its wire were cut");
    bench.chip.hand().identity = 0x33;
    bench.run(5_000);
    assert_eq!((bench.states().0, bench.faults().0), (SensorState::Works, None));
    let next = bench.chip.hand().transfers + 1;
    bench.chip.hand().mishap = Some((Mishap::Bus, next..=u32::MAX));
    bench.run(1_000);
    assert_eq!((bench.states().0, bench.faults().0), (SensorState::Failed, Some(SensorFault::Unreadable)));
    bench.chip.hand().mishap = None;
    bench.run(6_000);
    assert_eq!(bench.states().0, SensorState::Works);
    bench.chip.hand().measures = Some(|_| [0, 0, 1_000]);
    bench.run(6_000);
    let stuck = (SensorState::Failed, Some(SensorFault::Stuck));
    assert_eq!((bench.states().0, bench.faults().0), stuck, "it says the same all the time");
    bench.chip.hand().measures = Some(|number| [lies(number)[1], 0, 500]);
    bench.run(2_000);
    assert_eq!(bench.faults().0, Some(SensorFault::NoGravity));
    bench.chip.hand().measures = Some(lies);
    bench.run(2_000);
    assert_eq!((bench.states().0, bench.faults().0, bench.told.len()), (SensorState::Works, None, 0));
    // One that is set up and measures nothing is not good for a moment each time.
    bench.chip.hand().frozen = true;
    bench.run(1_000);
    for _ in 0..200 {
        bench.run(10);
        let silent = (SensorState::Failed, Some(SensorFault::Silent));
        assert_eq!((bench.states().0, bench.faults().0), silent);
    }
}

#[test]
fn a_booth_is_told_of_when_the_configuration_says_how() {
    let mut bench = bench();
    bench.config = Config::new(good()).ok();
    bench.run(2_000);
    assert_eq!((bench.booth(), bench.states().1), (std::vec![], SensorState::Unused));
    bench.config = watches(Level::High);
    bench.run(1_000);
    assert_eq!(
        (bench.booth(), bench.states().1),
        (std::vec![(2_010, BoothState::Occupied)], SensorState::Works)
    );
    bench.config = watches(Level::Low);
    bench.run(1_000);
    assert_eq!(bench.booth()[1..], [(3_010, BoothState::Free)]);
    bench.config = Config::new(good()).ok();
    bench.run(10).pin.0.set(Some(false));
    bench.run(1_000);
    assert_eq!((bench.told.len(), bench.states().1), (2, SensorState::Unused));
}

#[test]
fn a_configuration_that_is_taken_back_leaves_sensors_without() {
    let mut bench = bench();
    bench.config = watches(Level::High);
    bench.chip.hand().measures = Some(is_shaken);
    bench.run(1_500).config = None;
    assert_eq!(bench.told.len(), 1);
    bench.run(3_000);
    assert_eq!((bench.told.len(), bench.states()), (1, (SensorState::Works, SensorState::Unused)));
}

#[test]
fn a_pin_that_fails_is_said_and_what_it_shows_is_told_again() {
    let mut bench = bench();
    bench.config = watches(Level::High);
    bench.run(1_000).pin.0.set(None);
    bench.run(1_000);
    assert_eq!((bench.states().1, bench.faults().1), (SensorState::Failed, Some(SensorFault::Unreadable)));
    bench.pin.0.set(Some(true));
    bench.run(1_000);
    assert_eq!(bench.faults().1, None);
    let expected = [(10, BoothState::Occupied), (1_010, BoothState::Failed), (2_010, BoothState::Occupied)];
    assert_eq!((bench.booth(), bench.states().1), (expected.to_vec(), SensorState::Works));
    bench.run(2 * 60 * 60 * 1_000);
    assert_eq!(
        (bench.booth()[3..].to_vec(), bench.states().1),
        (std::vec![(2_010, BoothState::Stuck)], SensorState::Failed)
    );
    for _ in 0..100 {
        bench.pin.0.set(Some(false));
        bench.run(100).pin.0.set(Some(true));
        bench.run(100);
    }
    assert_eq!((bench.booth()[4..].len(), bench.states().1), (1, SensorState::Failed), "it holds no level");
    assert_eq!(bench.faults().1, Some(SensorFault::Unsteady));
    bench.run(1_000).pin.0.set(None);
    bench.run(1_000).pin.0.set(Some(true));
    bench.run(1_000);
    let states: Vec<BoothState> = bench.booth()[5..].iter().map(|(_, state)| *state).collect();
    assert_eq!(states, [BoothState::Stuck; 2], "it was not free since it stuck");
    assert_eq!((bench.states().1, bench.faults().1), (SensorState::Failed, Some(SensorFault::Stuck)));
    bench.pin.0.set(Some(false));
    bench.run(1_000);
    assert_eq!((bench.booth()[7].1, bench.states().1), (BoothState::Free, SensorState::Works));
}

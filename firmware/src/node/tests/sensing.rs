//! What other sensors tell, and what they are to work by.

use super::*;
use crate::accelerometer::ADDRESS;
use crate::accelerometer::bus::I2c;
use crate::accelerometer::chip::Chip;
use embedded_hal::digital::{ErrorType, InputPin};
use hangtag_protocol::link::message::{SensorFault, Sensors};
use std::convert::Infallible;

/// A pin that is high.
struct High;

impl ErrorType for High {
    type Error = Infallible;
}

impl InputPin for High {
    fn is_high(&mut self) -> Result<bool, Infallible> {
        Ok(true)
    }

    fn is_low(&mut self) -> Result<bool, Infallible> {
        Ok(false)
    }
}

/// From the third second on it is shaken for one.
fn is_shaken(number: u64) -> [i16; 3] {
    let odd = !number.is_multiple_of(2);
    match number {
        100..150 => [if odd { 500 } else { -300 }, 0, 900],
        _ => [0, i16::from(odd), 1_000],
    }
}

#[test]
fn what_other_sensors_tell_comes_and_how_they_are_with_its_health() {
    let mut bench = bench(Some(config(1)));
    bench.run(100).away = true;
    let motion = Motion { at: bench.now, sensor: 1, how: Moved::PickedUp, peak_mg: 300 };
    let booth = Occupancy { at: bench.now, state: BoothState::Occupied };
    bench.node.handle_told(&Told::Motion(motion), bench.now);
    bench.node.handle_told(&Told::Occupancy(booth), bench.now);
    let states = States {
        sensors: Sensors { accelerometer: SensorState::Absent, occupancy: SensorState::Failed },
        accelerometer_fault: Some(SensorFault::Stranger(0x11)),
        occupancy_fault: Some(SensorFault::Unsteady),
    };
    bench.node.handle_sensors(states);
    bench.node.handle_vitals(Vitals { line_errors: 3, reader_line_errors: 4, ..Vitals::default() });
    bench.away = false;
    bench.run(3_000);
    assert_eq!((&bench.motions[..], &bench.booth[..]), (&[motion][..], &[booth][..]));
    let Health { sensors, accelerometer_fault, occupancy_fault, .. } = bench.health.unwrap();
    assert_eq!(States { sensors, accelerometer_fault, occupancy_fault }, states);
    let health = bench.health.unwrap();
    assert_eq!((health.line_errors, health.reader_line_errors), (3, 4));
}

#[test]
fn a_gateway_that_begins_anew_is_told_how_the_booth_is() {
    let watches = |occupied| Configure { occupied, ..good() };
    let mut bench = bench(Config::new(watches(Some(Level::High))).ok());
    let again = bench.node.config().copied().unwrap();
    bench.run(100).configure(*again.told()).run(100);
    assert_eq!(bench.booth, [], "nothing is known");
    let tell = |bench: &mut Bench, at, state| {
        let booth = Occupancy { at: Uptime(at), state };
        bench.node.handle_told(&Told::Occupancy(booth), bench.now);
        bench.run(100);
        booth
    };
    tell(&mut bench, 150, BoothState::Occupied);
    let free = tell(&mut bench, 160, BoothState::Free);
    tell(&mut bench, 170, BoothState::Unsteady);
    assert_eq!(bench.configure(*again.told()).run(100).booth.len(), 3, "nobody knows");
    tell(&mut bench, 180, BoothState::Steady);
    bench.configure(*again.told()).run(100);
    assert_eq!(bench.booth[4..], [free], "as it was before");
    let other = Configure { id: 8, window_ms: 0, ..watches(Some(Level::High)) };
    bench.configure(other).run(200);
    assert_eq!(bench.booth[5..], [free], "told to work otherwise");
    bench.configure(Configure { id: 9, antennas: 2, ..other }).run(100);
    assert_eq!(bench.booth[6..], [free], "told what it refuses");
    bench.configure(watches(Some(Level::Low))).run(200).configure(watches(Some(Level::Low))).run(100);
    assert_eq!(bench.booth.len(), 7, "with another level it is not known");
}

#[test]
fn sensors_work_while_the_module_is_silent() {
    let chip = Chip::new();
    chip.hand().measures = Some(is_shaken);
    let mut sensors = crate::sensors::Sensors::new(I2c::new(chip.clone(), ADDRESS), High);
    let mut bench = bench(None);
    bench.deaf = true;
    bench.run(100).configure(Configure { occupied: Some(Level::High), ..good() });
    for _ in 0..500 {
        let now = bench.run(10).now;
        chip.hand().now = now;
        let config = bench.node.sensing().copied();
        sensors.handle_timeout(config.as_ref(), now, |told| bench.node.handle_told(told, now));
        bench.node.handle_sensors(sensors.states());
    }
    let how: Vec<Moved> = bench.motions.iter().map(|motion| motion.how).collect();
    let booth: Vec<BoothState> = bench.booth.iter().map(|booth| booth.state).collect();
    assert_eq!((how, booth), (std::vec![Moved::PickedUp, Moved::PutDown], std::vec![BoothState::Occupied]));
    let health = bench.health.unwrap();
    let works = Sensors { accelerometer: SensorState::Works, occupancy: SensorState::Works };
    assert_eq!((health.sensors, health.reader_listens), (works, false));
    assert_eq!((&bench.answers[..], bench.node.config()), (&[][..], None), "its module has not answered");
}

#[test]
fn what_sensors_work_by_goes_with_a_refusal() {
    let other = Configure { id: 2, motion_mg: 400, ..good() };
    let sensing = |bench: &Bench| bench.node.sensing().map(|config| config.told().motion_mg);
    let mut bench = bench(None);
    bench.refuses = Some(POWER);
    bench.run(100).configure(other);
    assert_eq!(sensing(&bench), Some(400), "it was not refused yet");
    bench.run(100);
    assert_eq!((&bench.answers[..], sensing(&bench)), (&[(2, Outcome::Power)][..], None));
    bench.configure(good()).run(3_000);
    assert_eq!((bench.answers.len(), sensing(&bench)), (2, Some(120)));
    bench.refuses = Some(POWER);
    bench.configure(other);
    assert_eq!(sensing(&bench), Some(400));
    bench.run(100);
    assert_eq!((bench.answers.len(), sensing(&bench)), (3, Some(120)), "as before");
}

#[test]
fn a_booth_that_is_known_while_the_module_is_silent_is_told_with_the_answer() {
    let mut bench = bench(Some(config(1)));
    bench.run(100).deaf = true;
    bench.run(3_000).configure(Configure { id: 2, occupied: Some(Level::High), ..good() }).run(100);
    let booth = Occupancy { at: bench.now, state: BoothState::Free };
    bench.node.handle_told(&Told::Occupancy(booth), bench.now);
    bench.run(3_000).deaf = false;
    bench.run(6_000);
    assert_eq!((&bench.booth[..], &bench.answers[..]), (&[booth, booth][..], &[(2, Outcome::Taken)][..]));
}

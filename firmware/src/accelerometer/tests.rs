//! The driver against the bytes of the data sheet, and against a chip that fails at any of its transfers.

extern crate std;

use super::bus::{I2c, Spi};
use super::chip::{Chip, Mishap, OnSpi};
use super::*;
use embedded_hal_mock::eh1::{i2c, spi};
use std::vec;
use std::vec::Vec;

/// A sensor that is asked when it is due.
struct Bench<B> {
    chip: Chip,
    sensor: Accelerometer<B>,
    now: Uptime,
    samples: Vec<Sample>,
    faults: Vec<Fault<Mishap>>,
}

fn bench() -> Bench<I2c<Chip>> {
    let chip = Chip::new();
    let sensor = Accelerometer::new(I2c::new(chip.clone(), ADDRESS));
    Bench { chip, sensor, now: Uptime(3), samples: Vec::new(), faults: Vec::new() }
}

fn bench_on_spi() -> Bench<Spi<OnSpi>> {
    let chip = Chip::new();
    let sensor = Accelerometer::new(Spi(OnSpi(chip.clone())));
    Bench { chip, sensor, now: Uptime(3), samples: Vec::new(), faults: Vec::new() }
}

impl<B: Bus<Error = Mishap>> Bench<B> {
    fn run(&mut self, ms: u64) -> &mut Self {
        let end = self.now + ms;
        while self.sensor.poll_timeout() <= end {
            self.now = self.now.max(self.sensor.poll_timeout());
            self.look();
        }
        self.now = end;
        self
    }

    fn look(&mut self) {
        self.chip.hand().now = self.now;
        let Self { sensor, samples, now, .. } = self;
        self.faults.extend(sensor.handle_timeout(*now, |sample| samples.push(sample)).err());
    }

    /// What was told was measured, then, and once. Says how much was measured and not told.
    fn check(&self) -> usize {
        let measured = &self.chip.hand().measured;
        let mut next = 0;
        for sample in &self.samples {
            let same = |(at, mg): &(Uptime, [i16; 3])| *mg == sample.mg && at.0.abs_diff(sample.at.0) <= 25;
            let found = measured[next..].iter().position(same);
            next += found.unwrap_or_else(|| panic!("{sample:?} was not measured then")) + 1;
        }
        assert!(self.samples.is_sorted_by(|a, b| a.at < b.at));
        measured.len() - self.samples.len()
    }
}

#[test]
fn the_bytes_on_i2c_are_those_of_the_data_sheet() {
    use i2c::Transaction as T;
    let nack = embedded_hal::i2c::ErrorKind::NoAcknowledge(embedded_hal::i2c::NoAcknowledgeSource::Address);
    let mut mock = i2c::Mock::new(&[
        T::write_read(0x18, vec![0x8F], vec![0]).with_error(nack),
        T::write_read(0x19, vec![0x8F], vec![0x33]),
        T::write(0x19, vec![0xA0, 0x47, 0x00, 0x00, 0x88, 0x40]),
        T::write(0x19, vec![0xAE, 0x00]),
        T::write(0x19, vec![0xAE, 0x80]),
        T::write_read(0x19, vec![0xA0], vec![0x47, 0x00, 0x00, 0x88, 0x40]),
        T::write_read(0x19, vec![0xAE], vec![0x80]),
        T::write_read(0x19, vec![0xAF], vec![0x08]),
        // 350 mg and 1 g, as AN5005 shows them in its table of data; 1.024 g below zero.
        T::write_read(0x19, vec![0xA8], [0xE0, 0x15, 0x00, 0x40, 0x00, 0xC0].repeat(8)),
        T::write_read(0x19, vec![0xA0], vec![0x47, 0x00, 0x00, 0x88, 0x40]),
    ]);
    let mut sensor = Accelerometer::new(I2c::new(mock.clone(), ADDRESS));
    let mut samples = Vec::new();
    assert_eq!(sensor.poll_timeout(), Uptime(0));
    sensor.handle_timeout(Uptime(0), |sample| samples.push(sample)).unwrap();
    assert_eq!(sensor.poll_timeout(), Uptime(100));
    sensor.handle_timeout(Uptime(160), |sample| samples.push(sample)).unwrap();
    assert_eq!(samples, [Sample { at: Uptime(160), mg: [350, 1_024, -1_024] }], "seven are not settled");
    mock.done();
}

#[test]
fn the_bytes_on_spi_are_those_of_the_data_sheet() {
    use spi::Transaction as T;
    let asked = |register, said: Vec<u8>| {
        [T::transaction_start(), T::write(register), T::read_vec(said), T::transaction_end()]
    };
    let told = |bytes| [T::transaction_start(), T::write_vec(bytes), T::transaction_end()];
    let settings = vec![0x47, 0x00, 0x00, 0x88, 0x40];
    let mut mock = spi::Mock::new(
        &[
            &asked(0xCF, vec![0x33])[..],
            &told(vec![0x60, 0x47, 0x00, 0x00, 0x88, 0x40]),
            &told(vec![0x6E, 0x00]),
            &told(vec![0x6E, 0x80]),
            &asked(0xE0, settings.clone()),
            &asked(0xEE, vec![0x80]),
            &asked(0xEF, vec![0x20]),
            &asked(0xE0, settings),
        ]
        .concat(),
    );
    let mut sensor = Accelerometer::new(Spi(mock.clone()));
    for now in [0, 100] {
        sensor.handle_timeout(Uptime(now), |sample| panic!("{sample:?}")).unwrap();
    }
    mock.done();
}

#[test]
fn every_sample_is_told_once_with_its_time_whatever_the_sensors_clock() {
    for period_us in [18_500, 20_000, 21_500] {
        let mut bench = bench();
        bench.chip.hand().period_us = period_us;
        bench.run(60_000);
        assert!(bench.samples.len() > 2_700 && bench.check() < 6);
        assert_eq!((bench.faults.len(), bench.sensor.overruns()), (0, 0));
    }
    let mut bench = bench_on_spi();
    assert!(bench.run(60_000).check() < 6 && bench.samples.len() > 2_900);
}

#[test]
fn nobody_somebody_else_and_one_that_comes_later() {
    let mut bench = bench();
    bench.chip.hand().address = 0x20;
    bench.run(14_000);
    assert_eq!(bench.faults, [Fault::Absent; 3]);
    assert_eq!((bench.chip.hand().transfers, bench.sensor.state()), (0, SensorState::Absent));
    (bench.chip.hand().address, bench.chip.hand().identity) = (0x18, 0x44);
    bench.run(5_000);
    assert_eq!(bench.faults[3..], [Fault::Stranger(0x44)]);
    assert_eq!(bench.sensor.state(), SensorState::Absent);
    assert_eq!(bench.sensor.fault(), Some(SensorFault::Stranger(0x44)));
    bench.chip.hand().identity = 0x33;
    bench.run(6_000);
    assert_eq!((bench.sensor.state(), bench.check(), bench.faults.len()), (SensorState::Works, 0, 4));
    assert!(bench.samples.len() > 30);
    for held in [0x00, 0xFF] {
        let mut bench = bench_on_spi();
        bench.chip.hand().mishap = Some((Mishap::Wire(held), 1..=100));
        bench.run(1_000);
        assert_eq!(bench.faults, [Fault::Absent], "nobody drives the wire");
    }
}

#[test]
fn a_sensor_that_falls_silent_is_set_up_anew() {
    let mut bench = bench();
    bench.run(1_000).chip.hand().frozen = true;
    bench.run(700);
    assert_eq!((&bench.faults[..], bench.sensor.fault()), (&[Fault::Silent][..], Some(SensorFault::Silent)));
    bench.chip.hand().frozen = false;
    bench.run(1_000);
    assert_eq!(
        (bench.faults.len(), bench.sensor.state(), bench.sensor.fault()),
        (1, SensorState::Works, None)
    );
}

#[test]
fn what_nobody_fetched_in_time_is_lost_and_counted() {
    let mut bench = bench();
    bench.run(1_000);
    let before = bench.samples.len();
    bench.now = bench.now + 3_000;
    bench.run(1_000);
    assert_eq!((bench.sensor.overruns(), bench.faults.len()), (1, 0));
    let gap = bench.samples[before].at.since(bench.samples[before - 1].at);
    assert!((2_300..2_500).contains(&gap), "{gap} ms");
    let lost = bench.check();
    assert!((115..130).contains(&lost), "of 150 all but 32: {lost}");
}

/// Whatever fails at whichever transfer, and how often: nothing is told that was not measured, and it passes.
#[test]
fn whatever_fails_at_any_transfer_tells_nothing_wrong_and_passes() {
    let low_or_high = [Mishap::Wire(0x00), Mishap::Wire(0xFF)];
    let mishaps = [&[Mishap::NoAnswer, Mishap::Bus, Mishap::PowerLoss], &low_or_high[..]].concat();
    let mut all = 0;
    for mishap in mishaps {
        for length in [1, 2, 5] {
            for at in 1..=60 {
                let mut bench = bench();
                bench.chip.hand().mishap = Some((mishap, at..=at + length - 1));
                bench.run(30_000);
                let (fails, lost) = (bench.faults.len(), bench.check());
                let what = std::format!("{mishap:?} at {at} for {length}: {:?}", bench.faults);
                assert!(fails <= 5, "{what}");
                all += fails;
                assert!(
                    lost <= 255 * fails && bench.sensor.state() == SensorState::Works,
                    "{lost} lost, {what}"
                );
                assert!(bench.now.since(bench.samples.last().unwrap().at) < 200, "{what}");
            }
        }
    }
    assert!(all > 500, "{all} failures");
}

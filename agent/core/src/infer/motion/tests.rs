//! Tags that lie, are carried, are pushed aside or stand beside a body, as two seconds of reads.

use super::*;
use hangtag_protocol::epc::Epc;

/// Reads every `every_ms` for two seconds; level in hundredths of a dBm, phase in tenths of a degree and
/// channel by number of the read.
fn signs(every_ms: u64, look: impl Fn(u64) -> (i16, Option<u16>, u32)) -> Signs {
    let mut comparer = Comparer::default();
    let reads = (0..2_000 / every_ms).map(|n| {
        let (rssi_cdbm, phase_ddeg, khz) = look(n);
        Read {
            at: Uptime(5_000 + n * every_ms),
            epc: Epc::new(&[1]).unwrap(),
            antenna: 1,
            rssi_cdbm,
            phase_ddeg,
            channel_khz: Some(khz),
        }
    });
    reads.map(|read| comparer.compare(&read).signs(Noise::default())).sum()
}

#[test]
fn a_tag_that_lies_is_still() {
    let motion = signs(100, |n| (-6_000 - (n % 2 * 100) as i16, Some(900 + (n % 3 * 20) as u16), 866_300));
    let motion = motion.motion();
    assert!(!motion.moved && motion.score < -5.0, "{motion:?}");
}

#[test]
fn a_slow_hand_is_seen_at_forty_reads_a_second() {
    // 12 cm/s: 0.11 rad from read to read, five times that until the next anchor.
    let motion = signs(25, |n| (-6_000, Some((900 + n * 65) as u16 % 3_600), 866_300)).motion();
    assert!(motion.moved && motion.level < 0.0, "{motion:?}");
}

#[test]
fn a_half_turn_more_or_less_is_no_movement() {
    let motion = signs(100, |n| (-6_000, Some(900 + (n % 2) as u16 * 1_800), 866_300)).motion();
    assert!(!motion.moved, "{motion:?}");
}

#[test]
fn the_level_never_decides() {
    let wild = |n: u64| -5_000 - (n % 2 * 3_000) as i16;
    for phase in [None, Some(900)] {
        let motion = signs(100, |n| (wild(n), phase, 866_300)).motion();
        assert!(!motion.moved && motion.level == 1.0, "{phase:?}: {motion:?}");
    }
}

#[test]
fn one_odd_phase_decides_nothing_but_confirms_the_level() {
    // Every read has its own channel, but for two.
    let khz = |n: u64| if n == 7 { 902_750 + 6 * 500 } else { 902_750 + n as u32 * 500 };
    let odd = |n: u64| Some(if n == 7 { 1_500 } else { 900 });
    let still = signs(100, |n| (-6_000, odd(n), khz(n)));
    assert_eq!((still.steps, still.votes), (1, 100));
    assert!(!still.motion().moved, "{:?}", still.motion());
    let carried = signs(100, |n| (-6_000 - (n % 2 * 600) as i16, odd(n), khz(n)));
    assert!(carried.motion().moved, "{:?}", carried.motion());
}

#[test]
fn a_noisy_tag_must_turn_further() {
    let noisy = |n: u64| (-6_000, Some([900, 1_080, 990, 830, 1_000][n as usize % 5]), 866_300);
    let first = signs(100, noisy);
    let mut noise = Noise::default();
    (0..200).for_each(|_| noise.learn(first));
    assert!(noise.step_rad() > 0.12 && !noise.is_deaf(), "{noise:?}");
    let mut comparer = Comparer::default();
    let mut read = Read {
        at: Uptime(1_000),
        epc: Epc::new(&[1]).unwrap(),
        antenna: 1,
        rssi_cdbm: 0,
        phase_ddeg: Some(0),
        channel_khz: Some(1),
    };
    comparer.compare(&read);
    (read.at, read.phase_ddeg) = (Uptime(1_050), Some(150));
    let step = comparer.compare(&read);
    assert!(step.signs(Noise::default()).votes > 0 && step.signs(noise).votes < 0);
    let still = signs(100, |_| (-6_000, Some(900), 866_300));
    (0..200).for_each(|_| noise.learn(still));
    assert_eq!(noise.step_rad(), Noise::default().step_rad(), "never less");
    let random = Signs { steps: 10, step_mrad: 7_850, ..Signs::default() };
    (0..200).for_each(|_| noise.learn(random));
    assert!(noise.is_deaf());
}

#[test]
fn a_tag_is_away_when_its_phase_is_not_the_one_at_rest() {
    let read = |n: u64, phase_ddeg| Read {
        at: Uptime(1_000 + n * 200),
        epc: Epc::new(&[1]).unwrap(),
        antenna: 1,
        rssi_cdbm: -6_000,
        phase_ddeg: Some(phase_ddeg),
        channel_khz: Some(866_300),
    };
    let rested = |phase: fn(u64) -> u16| {
        let mut comparer = Comparer::default();
        for n in 0..30 {
            comparer.compare(&read(n, phase(n)));
            comparer.learn_rest(&read(n, phase(n)));
        }
        comparer
    };
    let mut steady = rested(|n| 880 + (n % 3 * 20) as u16);
    let vote = |comparer: &Comparer, ddeg| comparer.turned(&read(31, ddeg)).map(|turn| away_vote(turn.rad()));
    assert_eq!(vote(&steady, 900), Some(-1.0));
    assert_eq!(vote(&steady, 2_700), Some(-1.0), "a half turn more is the same");
    assert_eq!(vote(&steady, 1_500), Some(1.0));
    let beside_a_body = vote(&steady, 1_130).unwrap();
    assert!(beside_a_body < 0.0, "{beside_a_body}");
    (0..40).for_each(|n| steady.learn_rest(&read(32 + n, 1_500)));
    assert_eq!(vote(&steady, 1_500), Some(-1.0), "pushed aside, it rests there");
    steady.forget_rest();
    assert_eq!(vote(&steady, 1_500), None);
    let unsteady = rested(|n| (n * 613 % 1_800) as u16);
    assert_eq!(vote(&unsteady, 900), None, "a reader that does not keep its phase");
}

#[test]
fn reads_far_apart_or_of_other_channels_are_not_compared() {
    let far = signs(700, |n| (-6_000, Some((n * 400) as u16), 866_300));
    assert_eq!((far.steps, far.changes), (0, 1));
    let hopping = signs(100, |n| (-6_000, Some((n * 170) as u16), 902_750 + n as u32 * 500));
    assert_eq!((hopping.steps, hopping.changes), (0, 19));
}

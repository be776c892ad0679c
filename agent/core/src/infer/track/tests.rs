//! One tag before one antenna: when it is calm, when it moves, and what only looks so.

use super::*;
use hangtag_protocol::epc::Epc;

fn read(at: u64, rssi_cdbm: i16, phase: Option<u16>) -> Read {
    Read {
        at: Uptime(at),
        epc: Epc::new(&[1]).unwrap(),
        antenna: 1,
        rssi_cdbm,
        phase_ddeg: phase,
        channel_khz: phase.map(|_| 866_300),
    }
}

/// Ten seconds at rest, four reads a second, a dB up and down.
fn rested(phase: Option<u16>) -> Track {
    let mut track = Track::new(0, Uptime(0));
    for n in 0..40u64 {
        track.handle_read(&read(n * 250, if n % 3 == 0 { -6_100 } else { -6_000 }, phase), true);
        if n % 2 == 1 {
            track.end_tick(true);
        }
    }
    track
}

fn moves(track: &Track) -> bool {
    track.phase_moves() || track.level_moves(false)
}

#[test]
fn a_track_is_small() {
    assert!(size_of::<Track>() <= 144, "{} bytes", size_of::<Track>());
}

#[test]
fn a_tag_at_rest_does_not_move() {
    let track = rested(Some(900));
    assert!(!moves(&track) && track.is_calm() && !track.is_restless());
    assert!((track.level_dbm() + 60.3).abs() < 0.5, "{}", track.level_dbm());
    assert!((track.rest_rate() - 2.0).abs() < 0.2, "two reads a tick: {}", track.rest_rate());
}

#[test]
fn a_turning_phase_is_movement_whatever_the_level() {
    let mut track = rested(Some(900));
    for n in 0..12u16 {
        track.handle_read(&read(10_000 + u64::from(n) * 250, -6_000, Some(900 + n * 400)), true);
        if n % 2 == 1 {
            track.end_tick(false);
        }
    }
    assert!(track.phase_moves() && !track.level_moves(false));
    assert_eq!(track.moves_since(), Uptime(10_250), "the first read that differed");
}

#[test]
fn a_garment_that_is_pushed_aside_is_not_carried() {
    let mut track = rested(Some(900));
    // It swings for a second, and then hangs 2 cm from where it was.
    let swing = [700u16, 1_700, 900, 1_600];
    for n in 0..60u16 {
        let phase = swing.get(usize::from(n)).copied().unwrap_or(1_300 + n % 2 * 30);
        track.handle_read(&read(10_000 + u64::from(n) * 250, -6_000, Some(phase)), true);
        if n % 2 == 1 {
            track.end_tick(true);
            assert!(!track.phase_moves(), "after {} ms: {track:?}", u64::from(n) * 250);
        }
    }
    assert_eq!(track.moved_last(), Some(Uptime(11_000)), "the step to where it hangs now");
}

#[test]
fn a_phase_that_means_nothing_is_not_listened_to() {
    let mut track = rested(None);
    for n in 0..200u16 {
        track.handle_read(&read(10_000 + u64::from(n) * 250, -6_000, Some(n % 7 * 513 % 1_800)), true);
        if n % 2 == 1 {
            track.learn_noise();
            track.end_tick(true);
        }
    }
    assert!(!moves(&track) && track.is_calm() && !track.is_restless());
    for n in 0..10 {
        let at = 60_000 + n * 500;
        track.handle_read(
            &read(at, [-5_400, -6_300, -5_800][n as usize % 3], Some(n as u16 * 513 % 1_800)),
            true,
        );
        track.end_tick(false);
    }
    assert!(track.level_moves(false), "the level decides in its place");
}

#[test]
fn a_half_turn_more_or_less_is_no_movement() {
    let mut track = rested(Some(900));
    for n in 0..8u16 {
        track.handle_read(&read(10_000 + u64::from(n) * 250, -6_000, Some(900 + n % 2 * 1_800)), true);
    }
    assert!(!moves(&track));
}

#[test]
fn a_level_that_goes_up_and_down_is_movement() {
    let mut track = rested(None);
    for n in 0..10 {
        track.handle_read(&read(10_000 + n * 500, [-5_400, -6_300, -5_800][n as usize % 3], None), true);
        track.end_tick(false);
    }
    assert!(track.level_moves(false), "{:?}", track.level_change(LEVEL_TICKS));
    assert!(!track.is_calm() && track.is_restless());
}

#[test]
fn a_stray_is_known_by_how_loud_it_ever_was() {
    let mut stray = rested(None);
    assert_eq!(stray.presence(10.0), None, "nothing is known");
    let mut at = 10_000;
    for cdbm in [-6_000, -6_200, -6_000, -6_100] {
        (0..40).for_each(|_| {
            at += 250;
            stray.handle_read(&read(at, cdbm, None), true);
            stray.learn_elsewhere();
            stray.end_tick(false);
        });
    }
    let judged = stray.presence(5.0).unwrap();
    assert!(!judged.present && judged.rise_db.unwrap() < 1.5, "{judged:?}");
    (0..20).for_each(|_| {
        at += 250;
        stray.handle_read(&read(at, -5_000, None), true);
        stray.end_tick(false);
    });
    assert!(stray.presence(5.0).unwrap().present, "{:?}", stray.presence(5.0));
    assert!(!stray.presence(50.0).unwrap().present, "others are read more often");
}

#[test]
fn one_jump_of_the_level_is_another_channel() {
    let mut track = rested(None);
    for n in 0..8 {
        track.handle_read(&read(10_000 + n * 250, -5_300, None), true);
    }
    assert!(!moves(&track));
}

#[test]
fn somebody_walking_past_is_no_movement() {
    let mut track = rested(None);
    for (n, cdbm) in [-6_200, -6_700, -6_800, -6_700, -6_300, -6_000].into_iter().enumerate() {
        track.handle_read(&read(10_000 + n as u64 * 300, cdbm, None), true);
    }
    assert!(!moves(&track));
}

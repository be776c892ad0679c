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
        track.handle_read(&read(n * 250, if n % 3 == 0 { -6_100 } else { -6_000 }, phase), Whereabouts::Here);
        if n % 2 == 1 {
            track.end_tick(true);
        }
    }
    track
}

fn moves(track: &Track) -> bool {
    track.moves_by_phase().is_some() || track.moves_by_level(false).is_some()
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
        track.handle_read(&read(10_000 + u64::from(n) * 250, -6_000, Some(900 + n * 400)), Whereabouts::Here);
        if n % 2 == 1 {
            track.end_tick(false);
        }
    }
    assert_eq!(track.moves_by_level(false), None);
    assert_eq!(track.moves_by_phase(), Some(Uptime(10_250)), "the first read that differed");
}

#[test]
fn a_garment_that_is_pushed_aside_is_not_carried() {
    let mut track = rested(Some(900));
    // It swings less and less for a second, and then hangs 2 cm from where it was.
    let swing = [700u16, 1_600, 1_150, 1_400];
    for n in 0..60u16 {
        let phase = swing.get(usize::from(n)).copied().unwrap_or(1_300 + n % 2 * 30);
        track.handle_read(&read(10_000 + u64::from(n) * 250, -6_000, Some(phase)), Whereabouts::Here);
        if n % 2 == 1 {
            track.end_tick(true);
            assert!(!moves(&track), "after {} ms: {track:?}", u64::from(n) * 250);
        }
    }
}

/// A read on one of the four channels of the EU, each of which the reader tells with a phase of its own.
fn hopped(n: u64, at: u64, phase: u16) -> Read {
    let channel = n / 4 % 4;
    let phase_ddeg = Some((phase + channel as u16 * 370) % 1_800);
    Read { channel_khz: Some(865_700 + channel as u32 * 600), ..read(at, -6_000, phase_ddeg) }
}

/// A minute at rest before a reader that hops.
fn rested_before_a_hopping_reader() -> Track {
    let mut track = Track::new(0, Uptime(0));
    (0..240).for_each(|n| track.handle_read(&hopped(n, n * 250, 900), Whereabouts::Here));
    track.end_tick(true);
    track
}

#[test]
fn a_garment_that_comes_to_rest_is_known_across_channels() {
    let mut track = rested_before_a_hopping_reader();
    track.lift();
    let mut at = 60_000;
    for n in 0..40 {
        at += 250;
        track.handle_read(&hopped(n, at, (n * 613 % 1_800) as u16), Whereabouts::Unknown);
        assert_eq!(track.laid(), None, "it is carried");
    }
    let laid = at;
    let since = (0..40).find_map(|n| {
        at += 250;
        track.handle_read(&hopped(n, at, 300), Whereabouts::Unknown);
        track.laid()
    });
    let since = since.expect("it has come to rest");
    assert!(since.0 >= laid && since.0 <= laid + 500 && at <= laid + 2_500, "{since:?} {at}");
    track.rest_here();
    for n in 0..40 {
        at += 250;
        track.handle_read(&hopped(n, at, 300), Whereabouts::Here);
        track.end_tick(true);
        assert!(!moves(&track), "it rests where it was put down");
    }
}

#[test]
fn a_garment_that_is_pushed_aside_can_be_picked_up_there() {
    let mut track = rested_before_a_hopping_reader();
    let mut at = 60_000;
    let mut goes_on = |track: &mut Track, reads: u64, phase: fn(u64) -> u16| {
        (0..reads).any(|n| {
            at += 250;
            track.handle_read(&hopped(n, at, phase(n)), Whereabouts::Here);
            track.end_tick(true);
            moves(track)
        })
    };
    assert!(!goes_on(&mut track, 40, |_| 1_500), "it hangs 5 cm further");
    assert!(!goes_on(&mut track, 1, |_| 200), "one odd read");
    assert!(!goes_on(&mut track, 40, |_| 1_500));
    assert!(goes_on(&mut track, 12, |n| (n * 613 % 1_800) as u16));
}

#[test]
fn a_level_that_is_even_again_is_rest() {
    let mut track = rested(None);
    track.lift();
    let mut at = 10_000;
    for n in 0..20 {
        at += 250;
        track.handle_read(&read(at, [-5_400, -6_300, -5_800][n % 3], None), Whereabouts::Unknown);
        assert_eq!(track.laid(), None, "it is carried");
    }
    for n in 0..20 {
        at += 250;
        track.handle_read(&read(at, if n % 3 == 0 { -5_700 } else { -5_600 }, None), Whereabouts::Unknown);
    }
    let since = track.laid().expect("it has come to rest");
    assert!((15_000..=15_500).contains(&since.0), "{since:?}");
}

#[test]
fn a_phase_that_means_nothing_is_not_listened_to() {
    let mut track = rested(None);
    for n in 0..200u16 {
        track.handle_read(
            &read(10_000 + u64::from(n) * 250, -6_000, Some(n % 7 * 513 % 1_800)),
            Whereabouts::Here,
        );
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
            Whereabouts::Here,
        );
        track.end_tick(false);
    }
    assert!(track.moves_by_level(false).is_some(), "the level decides in its place");
}

#[test]
fn a_half_turn_more_or_less_is_no_movement() {
    let mut track = rested(Some(900));
    for n in 0..8u16 {
        track.handle_read(
            &read(10_000 + u64::from(n) * 250, -6_000, Some(900 + n % 2 * 1_800)),
            Whereabouts::Here,
        );
    }
    assert!(!moves(&track));
}

#[test]
fn a_level_that_goes_up_and_down_is_movement() {
    let mut track = rested(None);
    for n in 0..10 {
        track.handle_read(
            &read(10_000 + n * 500, [-5_400, -6_300, -5_800][n as usize % 3], None),
            Whereabouts::Here,
        );
        track.end_tick(false);
    }
    assert!(track.moves_by_level(false).is_some(), "{track:?}");
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
            stray.handle_read(&read(at, cdbm, None), Whereabouts::Here);
            stray.learn_elsewhere();
            stray.end_tick(false);
        });
    }
    let judged = stray.presence(5.0).unwrap();
    assert!(!judged.present && judged.rise_db.unwrap() < 1.5, "{judged:?}");
    (0..20).for_each(|_| {
        at += 250;
        stray.handle_read(&read(at, -5_000, None), Whereabouts::Here);
        stray.end_tick(false);
    });
    assert!(stray.presence(5.0).unwrap().present, "{:?}", stray.presence(5.0));
    assert!(!stray.presence(50.0).unwrap().present, "others are read more often");
}

#[test]
fn one_jump_of_the_level_is_another_channel() {
    let mut track = rested(None);
    for n in 0..8 {
        track.handle_read(&read(10_000 + n * 250, -5_300, None), Whereabouts::Here);
    }
    assert!(!moves(&track));
}

#[test]
fn somebody_walking_past_is_no_movement() {
    let mut track = rested(None);
    for (n, cdbm) in [-6_200, -6_700, -6_800, -6_700, -6_300, -6_000].into_iter().enumerate() {
        track.handle_read(&read(10_000 + n as u64 * 300, cdbm, None), Whereabouts::Here);
    }
    assert!(!moves(&track));
}

#[test]
fn what_was_before_a_pause_does_not_say_when_it_was_put_down() {
    for tells in [true, false] {
        let phase = |ddeg| tells.then_some(ddeg);
        let mut track = rested(phase(900));
        track.lift();
        for n in 0..5 {
            // Held still for a moment, and carried off.
            track.handle_read(&read(10_000 + n * 250, -5_500, phase(300)), Whereabouts::Unknown);
        }
        assert_eq!(track.laid(), None);
        for n in 0..12 {
            track.handle_read(&read(70_000 + n * 250, -5_500, phase(300)), Whereabouts::Unknown);
        }
        assert!(track.laid().is_some_and(|since| since.0 >= 70_000), "{:?}", track.laid());
    }
}

#[test]
fn what_was_put_down_where_it_is_seldom_read_has_the_same_phase_each_time() {
    for (phase, laid) in [(300, true), (1_100, false)] {
        let mut track = rested(Some(900));
        track.lift();
        for n in 0..4 {
            track.handle_read(&read(10_000 + n * 250, -5_500, Some(300)), Whereabouts::Unknown);
        }
        assert_eq!(track.laid(), None, "too few reads");
        for n in 0..4 {
            track.handle_read(&read(20_000 + n * 250, -5_500, Some(phase)), Whereabouts::Unknown);
        }
        assert_eq!(track.laid().is_some(), laid, "{phase}");
    }
}

#[test]
fn what_is_calm_from_the_first_read_after_a_pause_on_was_put_down_before_it() {
    for (carried, since) in [(0, 10_250..=11_250), (4, 25_000..=27_000)] {
        let mut track = rested(Some(900));
        track.lift();
        for n in 0..5u16 {
            let phase = Some(n * 613 % 1_800);
            track.handle_read(&read(10_000 + u64::from(n) * 250, -5_500, phase), Whereabouts::Unknown);
        }
        // Twice as far from each other as reads that agree, for as long as somebody brings it back.
        for n in 0..16u16 {
            let phase = if n < carried { 400 + n * 500 } else { 300 };
            track.handle_read(&read(25_000 + u64::from(n) * 250, -5_500, Some(phase)), Whereabouts::Unknown);
        }
        let laid = track.laid().map(|laid| laid.0);
        assert!(laid.is_some_and(|laid| since.contains(&laid)), "carried for {carried} reads: {laid:?}");
    }
}

#[test]
fn that_it_came_to_rest_is_no_vote_that_it_moves() {
    let mut track = rested(None);
    track.lift();
    (0..40).for_each(|n| track.handle_read(&read(10_000 + n * 250, -5_500, None), Whereabouts::Unknown));
    assert!(track.laid().is_some());
    track.stir();
    for (n, cdbm) in [-5_500, -6_100, -6_100, -6_100].into_iter().enumerate() {
        track.handle_read(&read(20_000 + n as u64 * 250, cdbm, None), Whereabouts::Here);
        track.end_tick(true);
        assert!(!moves(&track), "the reader changed its channel");
    }
}

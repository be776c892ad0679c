//! The simulated shop is reproducible, and its physics is sane: what real readers see of still,
//! carried and worn tags, it shows too.

use std::collections::BTreeMap;

use super::*;

const MINUTE: u64 = 60_000;

fn settings(seed: u64, pace: Pace) -> Settings {
    Settings { seed, pace, difficulty: Difficulty::Normal }
}

/// A day, run in steps.
fn run(settings: Settings, until_ms: u64, step_ms: u64) -> (Vec<Sighting>, Vec<Truth>) {
    let mut shop = Shop::new(settings);
    let mut sightings = Vec::new();
    let mut now_ms = 0;
    while now_ms < until_ms {
        now_ms = (now_ms + step_ms).min(until_ms);
        sightings.extend(shop.run_to(now_ms));
    }
    (sightings, shop.take_truth())
}

fn of(truths: &[Truth], kind: Kind) -> Vec<&Truth> {
    truths.iter().filter(|t| t.kind == kind).collect()
}

/// From when to when each tried-on garment was worn for certain, and its booth's antenna.
fn worn(truths: &[Truth]) -> Vec<(Epc, u64, u64, u8)> {
    let antenna = |zone: ZoneId| zone.as_str().trim_start_matches("booth-").parse().unwrap();
    of(truths, Kind::TriedOn)
        .iter()
        .map(|t| (t.epc, t.at_ms, t.at_ms + SHORTEST_TRY_ON_MS, antenna(t.zone)))
        .collect()
}

/// Steps of the doubled phase, in degrees 0 to 180, between reads of one antenna and channel less than
/// 0.6 s apart; by tag.
fn phase_steps(sightings: &[Sighting]) -> BTreeMap<Epc, Vec<(u64, f64)>> {
    let mut last: BTreeMap<(Epc, u8, u32), (u64, u16)> = BTreeMap::new();
    let mut steps: BTreeMap<Epc, Vec<(u64, f64)>> = BTreeMap::new();
    for s in sightings {
        let Some(phase) = s.phase_ddeg else { continue };
        if let Some((at_ms, before)) = last.insert((s.epc, s.antenna, s.channel_khz), (s.at_ms, phase))
            && s.at_ms - at_ms < 600
        {
            let turn = f64::from(phase.abs_diff(before)) / 10.0 * 2.0;
            steps.entry(s.epc).or_default().push((s.at_ms, turn.min(360.0 - turn)));
        }
    }
    steps
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn deviation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

#[test]
fn the_same_seed_gives_the_same_day_in_any_steps() {
    let once = run(settings(3, Pace::Demo), MINUTE, 1_000);
    assert_eq!(once, run(settings(3, Pace::Demo), MINUTE, 7));
    assert_ne!(once.0, run(settings(4, Pace::Demo), MINUTE, 1_000).0);
}

#[test]
fn sightings_come_in_the_order_of_time_from_every_antenna_at_a_readers_rate() {
    let (sightings, _) = run(settings(1, Pace::Demo), MINUTE, 50);
    assert!(sightings.is_sorted_by_key(|s| s.at_ms));
    let mut rates = [0; 3];
    for s in &sightings {
        rates[s.reader] += 1;
    }
    for (reader, rate) in rates.map(|count| count / 60).into_iter().enumerate() {
        assert!((60..=250).contains(&rate), "reader {reader}: {rate} reads/s");
    }
    for antenna in 1..=4 {
        assert!(sightings.iter().any(|s| s.reader == 2 && s.antenna == antenna));
    }
    assert!(sightings.iter().all(|s| s.phase_ddeg.is_some() == (s.reader == 2)));
}

#[test]
fn nearly_every_garment_is_seen_before_the_first_is_touched() {
    let (sightings, _) = run(settings(1, Pace::Demo), 2_500, 2_500);
    let seen: std::collections::BTreeSet<Epc> = sightings.iter().map(|s| s.epc).collect();
    assert!(seen.len() >= 125, "{} of 129", seen.len());
}

#[test]
fn a_try_on_is_told_as_soon_as_it_has_lasted() {
    let mut shop = Shop::new(settings(2, Pace::Demo));
    let mut told = 0;
    for now_ms in (1_000..4 * MINUTE).step_by(1_000) {
        drop(shop.run_to(now_ms));
        for tried in of(&shop.take_truth(), Kind::TriedOn) {
            let lasted_ms = now_ms - tried.at_ms;
            assert!((SHORTEST_TRY_ON_MS..SHORTEST_TRY_ON_MS + 1_000).contains(&lasted_ms), "{lasted_ms} ms");
            told += 1;
        }
    }
    assert!(told > 3, "{told}");
}

#[test]
fn the_demo_shows_something_at_once() {
    for seed in 0..5 {
        let (_, truths) = run(settings(seed, Pace::Demo), 3 * MINUTE, 3 * MINUTE);
        assert!(of(&truths, Kind::PickedUp)[0].at_ms <= 5_000, "seed {seed}");
        let first_worn = of(&truths, Kind::TriedOn)[0].at_ms;
        assert!(first_worn <= 60_000, "seed {seed}: first try-on begins after {first_worn} ms");
        let booths: std::collections::BTreeSet<ZoneId> =
            of(&truths, Kind::CarriedIn).iter().map(|t| t.zone).collect();
        assert!(booths.len() >= 2, "seed {seed}");
        for kind in [Kind::PutDown, Kind::CarriedOut] {
            assert!(!of(&truths, kind).is_empty(), "seed {seed}: no {kind:?}");
        }
    }
}

#[test]
fn an_ordinary_day_holds_together() {
    let (_, truths) = run(settings(5, Pace::Shop), 20 * MINUTE, MINUTE);
    let carried_in = of(&truths, Kind::CarriedIn);
    assert!(carried_in.len() > 5, "{}", carried_in.len());
    for tried_on in of(&truths, Kind::TriedOn) {
        assert!(
            carried_in.iter().any(|c| c.epc == tried_on.epc
                && c.visit == tried_on.visit
                && c.zone == tried_on.zone
                && c.at_ms < tried_on.at_ms),
            "{tried_on:?}"
        );
    }
    let tried_on = of(&truths, Kind::TriedOn).len();
    assert!(tried_on < carried_in.len(), "some are carried in and not tried on");
}

#[test]
fn a_still_tag_is_steady() {
    let (sightings, truths) = run(settings(2, Pace::Shop), 5 * MINUTE, MINUTE);
    let still = |epc: &Epc| truths.iter().all(|t| t.epc != *epc);
    let mut rssi: BTreeMap<(Epc, usize, u8, u64), Vec<f64>> = BTreeMap::new();
    for s in sightings.iter().filter(|s| still(&s.epc)) {
        let window = (s.epc, s.reader, s.antenna, s.at_ms / 5_000);
        rssi.entry(window).or_default().push(f64::from(s.rssi_cdbm) / 100.0);
    }
    let deviations: Vec<f64> = rssi.values().filter(|v| v.len() >= 4).map(|v| deviation(v)).collect();
    let mean = deviations.iter().sum::<f64>() / deviations.len() as f64;
    assert!(deviations.len() > 1_000 && mean < 2.0, "{mean} dB");
    let mut steps: Vec<f64> = phase_steps(&sightings)
        .iter()
        .filter(|(epc, _)| still(epc))
        .flat_map(|(_, steps)| steps.iter().map(|(_, step)| *step))
        .collect();
    let median = median(&mut steps);
    assert!(steps.len() > 1_000 && median < 17.0, "{median} degrees");
}

#[test]
fn a_tag_in_a_hand_turns_its_phase() {
    let mut moved: Vec<f64> = Vec::new();
    for seed in 2..4 {
        let (sightings, truths) = run(settings(seed, Pace::Demo), 12 * MINUTE, MINUTE);
        let steps = phase_steps(&sightings);
        for t in of(&truths, Kind::PickedUp).iter().filter(|t| t.zone.as_str() == "shelf-c") {
            let held = t.at_ms..t.at_ms + 3_000;
            moved.extend(steps[&t.epc].iter().filter(|(at, _)| held.contains(at)).map(|(_, step)| *step));
        }
    }
    let median = median(&mut moved);
    assert!(moved.len() > 25 && median > 40.0, "{median} degrees in {} steps", moved.len());
}

#[test]
fn a_worn_tag_answers_much_less_often_than_one_on_a_hook() {
    let (sightings, truths) = run(settings(2, Pace::Demo), 12 * MINUTE, MINUTE);
    let (mut worn_reads, mut worn_s, mut hung_reads, mut hung_s) = (0, 0, 0, 0);
    let worn = worn(&truths);
    let reads = |epc: Epc, antenna: u8, from: u64, to: u64| {
        sightings
            .iter()
            .filter(|s| s.reader == 2 && s.epc == epc && s.antenna == antenna)
            .filter(|s| (from..to).contains(&s.at_ms))
            .count()
    };
    for (epc, from, to, antenna) in &worn {
        worn_reads += reads(*epc, *antenna, *from, *to);
        worn_s += 20;
        // What came in with it and is neither worn in this visit hangs there all the time.
        let tried = truths.iter().find(|t| t.kind == Kind::TriedOn && t.epc == *epc && t.at_ms == *from);
        let visit = tried.unwrap().visit;
        for other in of(&truths, Kind::CarriedIn) {
            let tried_too =
                truths.iter().any(|t| t.kind == Kind::TriedOn && t.visit == visit && t.epc == other.epc);
            if other.visit == visit && !tried_too {
                hung_reads += reads(other.epc, *antenna, *from, *to);
                hung_s += 20;
            }
        }
    }
    assert!(worn_s > 200 && hung_s > 100, "worn {worn_s} s, hung {hung_s} s");
    let (worn_rate, hung_rate) =
        (worn_reads as f64 / f64::from(worn_s), hung_reads as f64 / f64::from(hung_s));
    assert!(hung_rate > 4.0, "{hung_rate} reads/s");
    assert!(worn_rate < hung_rate / 2.0, "worn {worn_rate}, hung {hung_rate} reads/s");
    assert!(worn_rate > 0.05, "not silent for ever");
}

#[test]
fn a_garment_leaves_its_rail_at_the_time_of_its_pick_up() {
    let (sightings, truths) = run(settings(6, Pace::Demo), 10 * MINUTE, MINUTE);
    let mut changes = Vec::new();
    for t in of(&truths, Kind::PickedUp).iter().filter(|t| t.zone.as_str() == "rail-a") {
        let rssi = |from: u64, to: u64| -> Vec<f64> {
            let seen = sightings.iter().filter(|s| s.epc == t.epc && s.reader == 0);
            seen.filter(|s| (from..to).contains(&s.at_ms)).map(|s| f64::from(s.rssi_cdbm) / 100.0).collect()
        };
        let (before, after) = (rssi(t.at_ms.saturating_sub(3_000), t.at_ms), rssi(t.at_ms, t.at_ms + 3_000));
        if before.len() >= 4 && after.len() >= 2 {
            changes.push(deviation(&after) > 1.5 * deviation(&before));
        }
    }
    let share = changes.iter().filter(|c| **c).count() as f64 / changes.len() as f64;
    assert!(changes.len() >= 10 && share > 0.7, "{share} of {}", changes.len());
}

#[test]
fn where_tastes_differ_some_styles_are_tried_on_and_seldom_bought() {
    let mut shop = Shop::new(settings(1, Pace::Demo)).with_tastes();
    // What people do does not depend on what readers see.
    while shop.crowd.next_ms() < 180 * MINUTE {
        shop.crowd.step(&mut shop.floor);
    }
    let (truths, sales) = (shop.take_truth(), shop.take_sales());
    let products = stock::products();
    let style = |epc: Epc| {
        let gtin = epc.sgtin().map(|sgtin| sgtin.gtin());
        products.iter().find(|product| Some(product.gtin) == gtin).map(|product| product.style)
    };
    let bought = |wanted: &str| {
        let sold = sales.iter().filter(|sale| style(sale.epc) == Some(wanted)).count();
        let tried = of(&truths, Kind::TriedOn).iter().filter(|t| style(t.epc) == Some(wanted)).count();
        (sold, tried)
    };
    let (dresses, jumpers) = (bought("1002"), bought("3001"));
    assert!(dresses.1 >= 40 && jumpers.1 >= 40, "{dresses:?} {jumpers:?}");
    assert!(dresses.0 * jumpers.1 * 2 < jumpers.0 * dresses.1, "{dresses:?} {jumpers:?}");
    // A garment is sold once, on a line of its own.
    let lines: std::collections::BTreeSet<_> = sales.iter().map(|sale| (sale.receipt, sale.line)).collect();
    let garments: std::collections::BTreeSet<_> = sales.iter().map(|sale| sale.epc).collect();
    assert_eq!((lines.len(), garments.len()), (sales.len(), sales.len()));
    assert!(sales.is_sorted_by_key(|sale| sale.at_ms));
}

//! How fast events are stored. Ignored, because it measures: run it alone, in release, with
//! `cargo test --release -p hangtag-central rate -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use hangtag_protocol::event::{Coverage, ReaderState};
use hangtag_protocol::id::ReaderId;

use super::*;

/// Events of a shop with 2,000 garments on 12 rails and in 4 booths.
fn day(first: u64, count: u64) -> Batch {
    let event = |n: u64| {
        let random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let epc = Epc::from_hex(&format!("3074257bf7194e40{:08x}", random % 2_000)).unwrap();
        let evidence = Evidence { reads: 20, margin_db: 9, unrest: 40, dwell_ds: (random % 900) as u16 };
        let handling =
            Handling { epc, zone: ZoneId::new(&format!("rail-{}", random % 12)).unwrap(), evidence };
        let zone = ZoneId::new(&format!("booth-{}", random % 4)).unwrap();
        let what = match n % 10 {
            0..=3 => What::PickedUp(handling),
            4..=6 => What::PutDown(handling),
            7 => What::CarriedIn(Fitting { epc, zone, visit: Seq(n), evidence }),
            8 => What::TriedOn(Fitting { epc, zone, visit: Seq(n - 1), evidence }),
            _ => What::Coverage(Coverage {
                reader: ReaderId::new("ceiling-1").unwrap(),
                state: ReaderState::Listening,
                from: Uptime(n * 700 - 500),
            }),
        };
        Event { boot: BootId(0xb007), at: Uptime(n * 700), confidence: 80, what }
    };
    let mut batch = batch(first, (first..first + count).map(event).collect());
    batch.anchors = vec![anchor(0, 1_790_000_000_000, 20), anchor(40_000_000, 1_790_040_000_000, 20)];
    batch
}

#[test]
#[ignore = "measures; asserts nothing that a busy machine could break"]
fn rate() {
    const BATCHES: u64 = 1_600;
    let mut bench = Bench::new();
    let messages: Vec<Message> = (0..BATCHES)
        .map(|n| Message {
            topic: gateway().topic(Channel::Events),
            payload: day(1 + 256 * n, 256).encode().unwrap(),
            received: UnixMillis(1_790_000_000_000),
        })
        .collect();
    for what in ["new", "known"] {
        let (mut taken, mut longest, began) = (0, Duration::ZERO, Instant::now());
        while taken < messages.len() {
            let group = Instant::now();
            taken += bench.store.append(messages[taken..].iter().take(64)).unwrap().taken;
            longest = longest.max(group.elapsed());
        }
        let rate = (256 * BATCHES) as f64 / began.elapsed().as_secs_f64();
        println!("{what}: {rate:.0} events/s, the longest transaction {} ms", longest.as_millis());
    }
    let size: i64 = match &bench.address {
        Address::File(path) => std::fs::metadata(path).unwrap().len().cast_signed(),
        Address::Server(_) => bench.ask("SELECT pg_total_relation_size('event')"),
    };
    println!("{} bytes/event", size / (256 * BATCHES).cast_signed());
}

//! A dense source of events, for tests that need many in a short time. Enters: a seed, a folder. Leaves:
//! bytes on pseudo-terminals, paced by the clock. It runs on a thread of its own, so that the readers live
//! on while agents die.
//!
//! Before one reader garments change places without rest: each hangs before one antenna for about five
//! seconds and then before the next. It is read a little better at each place than at the one before, so
//! that the agent sees at once where it is. Every fifth one stays before the booth's antenna as long as it
//! takes to be tried on, and is moved there. Even so it takes some seconds of reading until garments make
//! events. Readers with loose plugs make some from the first moment on: what a reader is doing is an event
//! too.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hangtag_protocol::epc::Epc;
use hangtag_protocol::id::{ReaderId, ZoneId};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use super::line::Line;
use super::port::Port;
use crate::shop::Sighting;
use crate::shop::layout::{Antenna, Layout, Protocol, Reader, Zone, ZoneKind};
use crate::shop::space::Point;
use crate::shop::stock::products;

/// The reader with the garments.
pub const READER: &str = "carousel";
/// How many readers have loose plugs.
const LOOSE: u8 = 12;
/// How long a loose plug holds, and how long it is out, in milliseconds. An agent that finds a port good
/// for three seconds looks for it again at once.
const HOLDS_MS: std::ops::Range<u64> = 3_200..6_000;
const OUT_MS: std::ops::Range<u64> = 50..500;
/// How long a garment stays, in milliseconds.
const STAY_MS: std::ops::Range<u64> = 4_000..6_000;
/// One of so many garments is tried on in the booth, and how long that takes, in milliseconds.
const TRIED_OF: u16 = 5;
const TRY_MS: std::ops::Range<u64> = 38_000..50_000;
/// The phase of a garment that hangs, and all phases that there are, in tenths of a degree.
const PHASE_DDEG: u16 = 900;
const PHASES_DDEG: std::ops::Range<u16> = 0..3_600;
/// How long from one read of a garment to the next, in milliseconds.
const READ_MS: std::ops::Range<u64> = 200..350;
/// The weakest level, in hundredths of a dBm, and how many steps of one dB lead to the strongest.
const WEAKEST_CDBM: i16 = -7_000;
const STEPS: u32 = 40;
const ANTENNAS: u8 = 4;
/// The one before the booth.
const BOOTH: u8 = 2;
const CHANNEL_KHZ: u32 = 866_300;
/// About as often as a USB adapter hands over bytes.
const TICK: Duration = Duration::from_millis(16);

/// A carousel that turns until it is dropped.
#[derive(Debug)]
pub struct Carousel {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Carousel {
    /// Plugs the readers in under their names in `folder` and lets garments move before one of them: a
    /// hundred make about forty events a second, and the loose plugs ten more.
    ///
    /// # Errors
    /// When a port or the thread cannot be made.
    pub fn start(folder: &Path, seed: u64, garments: u16) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut turning = {
            let _inside = runtime.enter();
            Turning::plug(folder, seed, garments)?
        };
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name(READER.into()).spawn(move || {
            runtime.block_on(async {
                let begin = Instant::now();
                let mut tick = tokio::time::interval(TICK);
                while !told.load(Ordering::Relaxed) {
                    tick.tick().await;
                    let now_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
                    if let Err(why) = turning.run_to(now_ms).await {
                        eprintln!("a reader with a loose plug: {why}");
                    }
                }
            });
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Carousel {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // If it panicked, it has printed its message.
            let _ = thread.join();
        }
    }
}

/// The ports of a carousel that turns.
struct Turning {
    script: Script,
    port: Port,
    /// Each with the moment at which it is plugged in or out.
    loose: Vec<(Port, u64)>,
    plugs: ChaCha8Rng,
}

impl Turning {
    fn plug(folder: &Path, seed: u64, garments: u16) -> io::Result<Self> {
        let mut plugs = ChaCha8Rng::seed_from_u64(!seed);
        let plugged = |name: &str, protocol| {
            let mut port = Port::new(&folder.join(name), protocol, Line::clean());
            port.plug().map(|()| port)
        };
        let port = plugged(READER, Protocol::ThingMagic)?;
        let loose = (1..=LOOSE)
            .map(|n| Ok((plugged(&loose_reader(n), Protocol::R200)?, plugs.random_range(0..HOLDS_MS.end))))
            .collect::<io::Result<_>>()?;
        Ok(Self { script: Script::new(seed, garments), port, loose, plugs })
    }

    async fn run_to(&mut self, now_ms: u64) -> io::Result<()> {
        self.port.feed(now_ms, self.script.run_to(now_ms));
        for (port, due_ms) in &mut self.loose {
            if now_ms >= *due_ms {
                if port.is_plugged() {
                    *due_ms = now_ms + self.plugs.random_range(OUT_MS);
                    port.unplug().await?;
                } else {
                    *due_ms = now_ms + self.plugs.random_range(HOLDS_MS);
                    port.plug()?;
                }
            }
            port.feed(now_ms, Vec::new());
        }
        Ok(())
    }
}

fn loose_reader(number: u8) -> String {
    format!("loose-{number}")
}

/// The shop around it: two rails, a booth and a shelf, one before each antenna; the readers with loose
/// plugs see none of them.
///
/// # Panics
/// Never: all names are good.
#[must_use]
pub fn layout() -> Layout {
    let zones = [
        ("rail-1", ZoneKind::Rail),
        ("booth-1", ZoneKind::Booth),
        ("rail-2", ZoneKind::Rail),
        ("shelf-1", ZoneKind::Shelf),
    ];
    let nowhere = Point::new(0.0, 0.0, 0.0);
    let zone = |(id, kind)| Zone {
        id: ZoneId::new(id).expect("a name"),
        kind,
        from: nowhere,
        to: nowhere,
        front: nowhere,
    };
    let reader = |id: &str, protocol, antennas| Reader {
        id: ReaderId::new(id).expect("a name"),
        protocol,
        power_dbm: 24.0,
        antennas: (0..antennas).map(|zone| Antenna { at: nowhere, zone }).collect(),
    };
    let mut readers = vec![reader(READER, Protocol::ThingMagic, zones.len())];
    readers.extend((1..=LOOSE).map(|number| reader(&loose_reader(number), Protocol::R200, 1)));
    Layout { zones: zones.into_iter().map(zone).collect(), readers }
}

/// What the antennas see.
#[derive(Debug)]
pub(super) struct Script {
    rng: ChaCha8Rng,
    garments: Vec<Garment>,
}

#[derive(Debug)]
struct Garment {
    epc: Epc,
    is_tried: bool,
    antenna: u8,
    moves: u32,
    leaves_ms: u64,
    read_ms: u64,
}

impl Garment {
    fn is_worn(&self) -> bool {
        self.is_tried && self.antenna == BOOTH
    }
}

impl Script {
    pub(super) fn new(seed: u64, garments: u16) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let products = products();
        let garments = (0..garments)
            .map(|n| Garment {
                is_tried: n % TRIED_OF == 0,
                // Seeds do not share garments: two carousels in one shop are told apart.
                epc: products[usize::from(n) % products.len()]
                    .epc(1_000 + seed % 1_000 * 1_000 + u64::from(n)),
                antenna: rng.random_range(1..=ANTENNAS),
                moves: rng.random_range(0..STEPS),
                leaves_ms: rng.random_range(0..STAY_MS.end),
                read_ms: rng.random_range(0..READ_MS.end),
            })
            .collect();
        Self { rng, garments }
    }

    /// A read of the garment whose turn it is, as if it hung still; `None` when there is none.
    pub(super) fn in_turn(&self, turn: u64) -> Option<Sighting> {
        let count = u64::try_from(self.garments.len()).ok()?;
        let garment = self.garments.get(usize::try_from(turn.checked_rem(count)?).ok()?)?;
        Some(Sighting {
            at_ms: 0,
            reader: 0,
            antenna: 1,
            epc: garment.epc,
            rssi_cdbm: -5_500,
            phase_ddeg: None,
            channel_khz: CHANNEL_KHZ,
        })
    }

    /// Every read up to a moment that was not told before, in order of time.
    pub(super) fn run_to(&mut self, now_ms: u64) -> Vec<Sighting> {
        let mut seen = Vec::new();
        for garment in &mut self.garments {
            while garment.read_ms <= now_ms {
                if garment.read_ms >= garment.leaves_ms {
                    garment.antenna = garment.antenna % ANTENNAS + 1;
                    garment.moves += 1;
                    let stay_ms = if garment.is_worn() { TRY_MS } else { STAY_MS };
                    garment.leaves_ms += self.rng.random_range(stay_ms);
                }
                let phase_ddeg =
                    if garment.is_worn() { self.rng.random_range(PHASES_DDEG) } else { PHASE_DDEG };
                let step = i16::try_from(garment.moves % STEPS).expect("few steps");
                seen.push(Sighting {
                    at_ms: garment.read_ms,
                    reader: 0,
                    antenna: garment.antenna,
                    epc: garment.epc,
                    rssi_cdbm: WEAKEST_CDBM + 100 * step,
                    phase_ddeg: Some(phase_ddeg),
                    channel_khz: CHANNEL_KHZ,
                });
                garment.read_ms += self.rng.random_range(READ_MS);
            }
        }
        seen.sort_by_key(|sighting| sighting.at_ms);
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garments_move_without_rest_and_always_alike() {
        let run = || {
            let mut script = Script::new(7, 50);
            (1..=60).flat_map(|second| script.run_to(second * 1_000)).collect::<Vec<_>>()
        };
        let seen = run();
        assert_eq!(seen, run());
        // Those that are tried on and the others: how many, how often they move.
        let mut moves = [(0, 0); 2];
        for garment in &Script::new(7, 50).garments {
            let places: Vec<u8> = seen.iter().filter(|s| s.epc == garment.epc).map(|s| s.antenna).collect();
            let (count, sum) = &mut moves[usize::from(garment.is_tried)];
            *count += 1;
            *sum += places.windows(2).filter(|two| two[0] != two[1]).count();
        }
        let [(40, others), (10, tried)] = moves else { panic!("every fifth of 50 is tried on: {moves:?}") };
        assert!((40 * 9..=40 * 15).contains(&others), "{others} moves of 40 garments in a minute");
        assert!((10 * 2..=10 * 7).contains(&tried), "{tried} moves of 10 garments that are tried on");
    }
}

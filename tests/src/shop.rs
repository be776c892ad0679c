//! A clothing shop with readers in it, simulated. Enters: a seed, settings, and the time as an
//! argument. Leaves: what the readers see, and the truth of what people did. The same seed and
//! settings give the same sightings and the same truth, whatever steps the time is asked in; no clock
//! is read and nothing waits.
//!
//! | module | holds |
//! |---|---|
//! | [`layout`] | zones, readers, antennas; configuration files that say the same |
//! | [`stock`] | products, EPCs, the catalogue |
//! | [`till`] | what the till tells of what was sold |
//! | `crowd` | who comes when, and whose turn it is |
//! | `shopper`, `staff` | what they do next |
//! | `floor` | where garments and bodies are at any moment |
//! | `radio` | what an antenna hears of a tag |
//! | `inventory` | which tag a reader reads when |
//! | [`space`] | points and ways |

mod crowd;
mod floor;
mod inventory;
pub mod layout;
mod radio;
mod shopper;
pub mod space;
mod staff;
pub mod stock;
pub mod till;

use std::ops::Range;

use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::Kind;
use hangtag_protocol::id::ZoneId;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crowd::Crowd;
use floor::Floor;
use inventory::Inventory;
use layout::Layout;
use radio::Radio;

/// What kind of day it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Everything random comes from it.
    pub seed: u64,
    /// How much happens.
    pub pace: Pace,
    /// How hard the readers have it.
    pub difficulty: Difficulty,
}

/// How much happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Somebody always does something: the first pick-up within five seconds, the first try-on within
    /// two minutes, two or three booths in use.
    Demo,
    /// An ordinary day.
    Shop,
    /// Nobody comes: every garment rests.
    Closed,
}

/// How hard the readers have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difficulty {
    /// Thick booth walls, few echoes, careful hands.
    Easy,
    /// What a fitted shop should be like.
    Normal,
    /// Curtains for walls, many echoes, piles of garments, people who push others along.
    Hard,
}

/// A tag that answered a reader, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// When, in milliseconds of the shop.
    pub at_ms: u64,
    /// The reader, as an index into the layout.
    pub reader: usize,
    /// Its port, from 1 on.
    pub antenna: u8,
    /// The tag.
    pub epc: Epc,
    /// Signal strength in hundredths of a dBm, -9000 to -2000.
    pub rssi_cdbm: i16,
    /// Phase in tenths of a degree, 0 to 1799, when the reader can tell it.
    pub phase_ddeg: Option<u16>,
    /// Carrier in kHz.
    pub channel_khz: u32,
}

/// What somebody really did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// When, in milliseconds of the shop: when the garment left its rest, came to rest, crossed the
    /// curtain, or was put on.
    pub at_ms: u64,
    /// What. Try-ons shorter than [`SHORTEST_TRY_ON_MS`] are not told.
    pub kind: Kind,
    /// The garment.
    pub epc: Epc,
    /// The rail, shelf or booth.
    pub zone: ZoneId,
    /// The stay in a booth, counted from 1; absent on the floor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visit: Option<u32>,
}

/// A garment that went over the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sale {
    /// When, in milliseconds of the shop.
    pub at_ms: u64,
    /// The receipt, from 1 on.
    pub receipt: u32,
    /// The line on it, from 1 on.
    pub line: u32,
    /// The garment.
    pub epc: Epc,
}

/// A garment worn for less than this many milliseconds was not tried on.
pub const SHORTEST_TRY_ON_MS: u64 = 20_000;

/// A clothing shop with readers in it.
pub struct Shop {
    floor: Floor,
    crowd: Crowd,
    radio: Radio,
    inventories: Vec<Inventory>,
    radio_rng: ChaCha8Rng,
}

/// What a difficulty means for garments.
struct Handling {
    /// What garments on a tag take at most, in dB both ways.
    stack_db: f64,
    /// How far neighbours move when a garment is taken, in metres.
    jostle_m: f64,
    /// What a body takes from the tag that it wears, in dB both ways.
    shield_db: Range<f64>,
}

const UNWRITTEN_TAGS: u32 = 9;

impl Shop {
    /// Opens the shop at time 0, stocked and empty of people.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::with_layout(settings, Layout::demo())
    }

    /// The same with another floor plan of the same zones.
    #[must_use]
    pub fn with_layout(settings: Settings, layout: Layout) -> Self {
        let handling = match settings.difficulty {
            Difficulty::Easy => Handling { stack_db: 2.0, jostle_m: 0.004, shield_db: 19.0..25.0 },
            Difficulty::Normal => Handling { stack_db: 4.0, jostle_m: 0.015, shield_db: 17.0..26.0 },
            Difficulty::Hard => Handling { stack_db: 8.0, jostle_m: 0.04, shield_db: 13.0..28.0 },
        };
        let mut stock_rng = ChaCha8Rng::seed_from_u64(settings.seed);
        let mut floor = Floor::new(layout, handling);
        let products = stock::products();
        let mut garments: Vec<(usize, Epc)> = Vec::new();
        for product in &products {
            garments
                .extend((1..=stock::GARMENTS_PER_PRODUCT).map(|serial| (product.home, product.epc(serial))));
        }
        garments.extend((0..UNWRITTEN_TAGS).map(|n| (n as usize % 3, stock::unwritten_epc(n))));
        for zone in 0..3 {
            let mut here: Vec<Epc> = garments.iter().filter(|(z, _)| *z == zone).map(|(_, e)| *e).collect();
            for at in (1..here.len()).rev() {
                here.swap(at, stock_rng.random_range(0..=at));
            }
            for (at, epc) in here.iter().enumerate() {
                let share = (at as f64 + stock_rng.random_range(0.2..0.8)) / here.len() as f64;
                floor.stock(*epc, zone, share, &mut stock_rng);
            }
        }
        Self {
            inventories: (0..floor.layout.readers.len()).map(|r| Inventory::new(r, &floor.layout)).collect(),
            floor,
            crowd: Crowd::new(settings, products),
            radio: Radio::new(settings.seed, settings.difficulty),
            radio_rng: ChaCha8Rng::seed_from_u64(settings.seed ^ 0x7261_6469_6f00_0000),
        }
    }

    /// The same shop, whose shoppers buy some styles often and others seldom, as [`stock`] says. What they try on
    /// is not changed by it, what they do afterwards is.
    #[must_use]
    pub fn with_tastes(mut self) -> Self {
        self.crowd.tastes_differ = true;
        self
    }

    /// The floor plan.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.floor.layout
    }

    /// Lets the shop run until `now_ms` and returns what the readers saw since the last call, in the
    /// order of time. A time in the past changes nothing.
    pub fn run_to(&mut self, now_ms: u64) -> Vec<Sighting> {
        let mut sightings = Vec::new();
        let now_us = now_ms.saturating_mul(1000);
        loop {
            let slot = self.inventories.iter_mut().min_by_key(|i| i.next_us).expect("the shop has readers");
            let person_us = self.crowd.next_ms().saturating_mul(1000);
            if person_us.min(slot.next_us) > now_us {
                return sightings;
            }
            if person_us <= slot.next_us {
                self.crowd.step(&mut self.floor);
            } else {
                sightings.extend(slot.step(&self.floor, &self.radio, &mut self.radio_rng));
            }
        }
    }

    /// What people did since the last call, in the order in which it became certain: a try-on is told
    /// when it ends.
    pub fn take_truth(&mut self) -> Vec<Truth> {
        self.floor.take_truths()
    }

    /// What was sold since the last call, in the order of time.
    pub fn take_sales(&mut self) -> Vec<Sale> {
        std::mem::take(&mut self.crowd.sales)
    }
}

#[cfg(test)]
mod tests;

//! The garments of the invented shop. Enters: how many, chance. Leaves: their tags, and which of them
//! somebody reaches for.
//!
//! A tag is an SGTIN-96: one of three brands, of 200 products in five sizes, with a random serial
//! number of 38 bits. Garments are asked for by Zipf's law: the second half as often as the first, the
//! third a third as often.

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;

use super::dice::Dice;

/// Products, and sizes of each.
const PRODUCTS: u64 = 200;
const SIZES: u64 = 5;
/// GS1 company prefixes of seven digits.
const BRANDS: [u64; 3] = [614_141, 4_012_345, 8_057_632];

/// What a tag says when nothing is known of it, in bits: which item, and the serial number.
pub(super) const TAG_BITS: f64 = 9.965_784 + 38.0;

/// One garment.
#[derive(Clone, Debug)]
pub(super) struct Garment {
    pub(super) epc: Epc,
    /// Its rail or shelf, as a number of the layout.
    pub(super) zone: u8,
    /// Since when it has been resting there; `None` while somebody has it.
    pub(super) rests_since: Option<Uptime>,
    /// How many reads five seconds bring.
    pub(super) reads: f64,
}

/// All garments, the most wanted first.
#[derive(Clone, Debug)]
pub(super) struct Stock {
    pub(super) garments: Vec<Garment>,
    /// The probability that somebody wants this one or one before it.
    wanted: Vec<f64>,
    zones: usize,
}

impl Stock {
    /// Fills a shop of so many rails and shelves, an hour before `now`.
    pub(super) fn new(tags: usize, zones: usize, now: Uptime, dice: &mut Dice) -> Self {
        let garment = |rank: usize, dice: &mut Dice| Garment {
            epc: tag(dice),
            zone: u8::try_from(rank % zones).expect("a handful of zones"),
            rests_since: Some(now - dice.between(0, 3_600_000)),
            reads: 8.0 + 40.0 * dice.unit(),
        };
        let garments: Vec<Garment> = (0..tags).map(|rank| garment(rank, dice)).collect();
        let all: f64 = (1..=tags).map(|rank| 1.0 / rank as f64).sum();
        let mut sum = 0.0;
        let mut share = |rank: usize| {
            sum += 1.0 / (rank as f64 * all);
            sum
        };
        Self { garments, wanted: (1..=tags).map(&mut share).collect(), zones }
    }

    /// A garment that somebody before this rail reaches for; `None` when those are in other hands.
    pub(super) fn reach(&self, zone: u8, dice: &mut Dice) -> Option<u32> {
        (0..8).find_map(|_| {
            let luck = dice.unit();
            let rank = self.wanted.partition_point(|wanted| *wanted < luck);
            let here = rank / self.zones * self.zones + usize::from(zone);
            self.garments.get(here)?.rests_since?;
            u32::try_from(here).ok()
        })
    }

    pub(super) fn of(&mut self, tag: u32) -> &mut Garment {
        &mut self.garments[tag as usize]
    }
}

/// `0x30`, filter 1, partition 5: a company prefix of 24 bits, an item of 20, a serial number of 38.
fn tag(dice: &mut Dice) -> Epc {
    let item = dice.between(0, PRODUCTS * SIZES - 1);
    let product = item / SIZES;
    let brand = BRANDS[(product % 3) as usize];
    let serial = dice.any() >> 26;
    let bits = 0x30u128 << 88
        | 1u128 << 85
        | 5u128 << 82
        | u128::from(brand) << 58
        | u128::from(100 * product + item % SIZES) << 38
        | u128::from(serial);
    Epc::new(&bits.to_be_bytes()[4..]).expect("twelve bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_sgtins_and_few_are_wanted_most() {
        let mut dice = Dice::new(1);
        let stock = Stock::new(2_000, 6, Uptime(10_000_000), &mut dice);
        assert!(stock.garments.iter().all(|garment| garment.epc.sgtin().is_some()));
        let reached: Vec<u32> = (0..1_000).filter_map(|_| stock.reach(2, &mut dice)).collect();
        assert!(reached.iter().all(|tag| tag % 6 == 2), "of that rail");
        let most_wanted = reached.iter().filter(|tag| **tag < 60).count();
        assert!((400..800).contains(&most_wanted), "{most_wanted} of 1,000 for 3 % of the garments");
        assert!((TAG_BITS - ((PRODUCTS * SIZES) as f64).log2() - 38.0).abs() < 1e-5);
    }
}

//! How often a model is tried, and with which dice. Enters: `HANGTAG_SEED`, `HANGTAG_LONG`. Leaves: a
//! configuration for proptest. The models of the spool take it from here too.

extern crate std;

use std::env::{VarError, var};
use std::hash::{BuildHasher as _, RandomState};
use std::println;

use proptest::test_runner::{Config, RngSeed};

/// How many times as many cases there are with `HANGTAG_LONG=1`.
const LONG: u32 = 50;

/// So many cases with the dice of a seed, or others every time, unless the environment says otherwise. The seed
/// is printed.
///
/// # Panics
/// When `HANGTAG_SEED` is set and no u64: other dice would pass for those that were asked for.
pub(crate) fn cases(count: u32, seed: Option<u64>) -> Config {
    let seed = match var("HANGTAG_SEED") {
        Ok(text) => match text.parse() {
            Ok(seed) => seed,
            Err(why) => panic!("HANGTAG_SEED={text}: {why}; a whole number below 2^64 is expected"),
        },
        Err(VarError::NotPresent) => seed.unwrap_or_else(|| RandomState::new().hash_one(())),
        Err(why @ VarError::NotUnicode(_)) => panic!("HANGTAG_SEED: {why}"),
    };
    println!("HANGTAG_SEED={seed}");
    let long = var("HANGTAG_LONG").is_ok_and(|value| value == "1");
    let cases = if long { count * LONG } else { count };
    Config { cases, rng_seed: RngSeed::Fixed(seed), ..Config::default() }
}

//! Every target, on its seeds and on a bounded number of other inputs. `HANGTAG_SEED` throws the same dice again,
//! `HANGTAG_LONG=1` throws fifty times as many. The input that fails is printed as hexadecimal digits.

use std::env::var;
use std::hash::{BuildHasher as _, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use hangtag_fuzz::mutate::input;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// How many inputs a target gets.
const CASES: u64 = 1_500;
/// How many times as many with `HANGTAG_LONG=1`.
const LONG: u64 = 50;

fn try_out(name: &str) {
    let target = hangtag_fuzz::target(name).expect("a target");
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty());
    let given = var("HANGTAG_SEED").ok().map(|text| text.parse().expect("HANGTAG_SEED: a whole number"));
    let seed = given.unwrap_or_else(|| RandomState::new().hash_one(()));
    println!("HANGTAG_SEED={seed}");
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let cases = if var("HANGTAG_LONG").is_ok_and(|value| value == "1") { CASES * LONG } else { CASES };
    let others = (0..cases).map(|_| input(&seeds, &mut dice));
    for input in [Vec::new()].into_iter().chain(seeds.clone()).chain(others) {
        if let Err(why) = catch_unwind(AssertUnwindSafe(|| (target.run)(&input))) {
            println!("{name} failed with {}", hex::encode(&input));
            resume_unwind(why);
        }
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            try_out(stringify!($name));
        })*

        #[test]
        fn every_target_has_a_test() {
            let names: Vec<&str> = hangtag_fuzz::TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

targets! {
    thingmagic r200 chafon ruuvi scanner probe frames node sender batch watermark status spool snapshot epc
}

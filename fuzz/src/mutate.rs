//! Other inputs out of seeds, for runs without a fuzzer. Enters: seeds, dice. Leaves: an input.

use rand::{Rng, RngExt as _};

/// The longest input that is made, in bytes.
const LONGEST: usize = 4_096;
/// Bytes that lengths, counts and ends are likely to be.
const TELLING: [u8; 8] = [0, 1, 2, 3, 0x7F, 0x80, 0xFE, 0xFF];

/// An input: one of the seeds, or several, changed in some places; now and then nothing but dice.
#[must_use]
pub fn input(seeds: &[Vec<u8>], dice: &mut impl Rng) -> Vec<u8> {
    if seeds.is_empty() || dice.random_bool(0.05) {
        return (0..dice.random_range(0..300)).map(|_| dice.random()).collect();
    }
    let mut input = seeds[dice.random_range(0..seeds.len())].clone();
    while dice.random_bool(0.4) && input.len() < LONGEST / 2 {
        input.extend(&seeds[dice.random_range(0..seeds.len())]);
    }
    for _ in 0..dice.random_range(0..8) {
        change(&mut input, seeds, dice);
    }
    input.truncate(LONGEST);
    input
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut impl Rng) {
    let at = dice.random_range(0..=input.len());
    let few = dice.random_range(1..=16usize);
    let end = (at + few).min(input.len());
    match dice.random_range(0..8) {
        0 if at < input.len() => input[at] ^= 1 << dice.random_range(0..8),
        1 if at < input.len() => input[at] = TELLING[dice.random_range(0..TELLING.len())],
        2 if at < input.len() => input[at] = dice.random(),
        3 => drop(input.drain(at..end)),
        4 => {
            let again = input[at..end].to_vec();
            input.splice(at..at, again);
        }
        5 => {
            let other = &seeds[dice.random_range(0..seeds.len())];
            let from = dice.random_range(0..=other.len());
            let piece = other[from..(from + few * 4).min(other.len())].to_vec();
            input.splice(at..at, piece);
        }
        6 => {
            let noise: Vec<u8> = (0..few).map(|_| dice.random()).collect();
            input.splice(at..at, noise);
        }
        _ => input.truncate(at),
    }
}

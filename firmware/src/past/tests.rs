//! RAM that is cut off in the middle of a change, damaged, or never was written.

extern crate std;

use super::*;
use proptest::prelude::*;
use std::string::{String, ToString as _};
use std::vec::Vec;

mod counted;

/// RAM in which only so many more words are written, because then comes the reset.
#[derive(Clone, Debug)]
struct Cut {
    words: Vec<u32>,
    left: usize,
}

impl Ram for Cut {
    fn load(&self, at: usize) -> u32 {
        self.words[at]
    }

    fn store(&mut self, at: usize, word: u32) {
        if self.left > 0 {
            self.left -= 1;
            self.words[at] = word;
        }
    }
}

fn blank() -> Cut {
    Cut { words: std::vec![0; RAM_WORDS], left: usize::MAX }
}

/// All that is told of a run.
type Said = (u32, BootReason, u64, u64, u32, String);

fn said<R: Ram>(past: &Past<R>) -> Vec<Said> {
    past.untold()
        .map(|run| (run.boot, run.reason, run.reads, run.uptime.0, run.forgotten, run.words.to_string()))
        .collect()
}

/// What the next run would find, if it began at once.
fn found(ram: &Cut) -> Vec<Said> {
    let mut past = Past::open(Cut { left: usize::MAX, ..ram.clone() });
    past.begin(0xFFFF, BootReason::Pin);
    said(&past)
}

#[test]
fn runs_are_told_until_the_gateway_has_them() {
    let mut past = Past::open(blank());
    assert!(!past.panicked());
    past.begin(1, BootReason::Power);
    assert_eq!(said(&past), []);
    past.note(5_000_000_000, Uptime(70));
    let mut past = Past::open(past.ram);
    past.begin(2, BootReason::Watchdog);
    past.note(7, Uptime(9));
    leave_words(&mut past.ram, "panicked at line 7: ö");
    let mut past = Past::open(past.ram);
    assert!(past.panicked());
    past.begin(3, BootReason::Panic);
    let first = (1, BootReason::Watchdog, 5_000_000_000, 70, 0, String::new());
    let second = (2, BootReason::Panic, 7, 9, 0, "panicked at line 7: ö".to_string());
    assert_eq!(said(&past), [first, second]);
    past.forget();
    past.note(1, Uptime(4));
    let mut past = Past::open(past.ram);
    assert!(!past.panicked(), "these words are of another run");
    past.begin(4, BootReason::Pin);
    assert_eq!(said(&past), [(3, BootReason::Pin, 1, 4, 0, String::new())]);
}

#[test]
fn of_too_many_runs_those_that_lost_nothing_are_forgotten_first() {
    let mut past = Past::open(blank());
    for (boot, reads) in [(1, 10), (2, 0), (3, 30), (4, 40), (5, 50)] {
        past.begin(boot, BootReason::Watchdog);
        past.note(reads, Uptime(1));
        past = Past::open(past.ram);
    }
    past.begin(6, BootReason::Watchdog);
    let told: Vec<_> = said(&past).iter().map(|run| (run.0, run.2, run.4)).collect();
    assert_eq!(told, [(3, 30, 1), (4, 40, 0), (5, 50, 0)]);
    past.forget();
    let mut past = Past::open(past.ram);
    past.begin(7, BootReason::Pin);
    assert_eq!(said(&past), [(6, BootReason::Pin, 0, 0, 0, String::new())]);
}

#[test]
fn last_words_that_are_too_long_are_cut_between_characters() {
    let mut past = Past::open(blank());
    past.begin(1, BootReason::Power);
    leave_words(&mut past.ram, &("x".to_string() + &"ö".repeat(MAX_WORDS)));
    let told = &found(&past.ram)[0].5;
    assert_eq!((told.len(), told.chars().filter(|c| *c == 'ö').count()), (MAX_WORDS - 1, MAX_WORDS / 2 - 1));
}

#[test]
fn a_run_gets_a_number_that_none_before_it_has() {
    let mut past = Past::open(blank());
    for (boot, noise) in [(1, 1), (2, 0), (3, 0)] {
        assert_ne!(past.draw_boot(noise), 0);
        past.begin(boot, BootReason::Pin);
        past = Past::open(past.ram);
    }
    let mixed = 3_u32.wrapping_mul(0x9E37_79B1);
    for taken in [0, 1, 2, 3] {
        assert!(past.draw_boot(mixed ^ taken) > 3, "{taken}");
    }
}

/// Every change, cut off before each of its writes: what is found is what was there before, or what was to be there.
#[test]
fn a_reset_between_any_two_writes_leaves_the_old_or_the_new() {
    type Change = fn(&mut Past<Cut>);
    let changes: [Change; 6] = [
        |past| past.begin(21, BootReason::Pin),
        |past| past.note(500, Uptime(5_000)),
        |past| past.note(501, Uptime(5_010)),
        |past| leave_words(&mut past.ram, "oh no, this is the end"),
        Past::forget,
        |past| past.note(502, Uptime(6_500)),
    ];
    // Some runs before, so that both copies were used.
    let mut ram = blank();
    for boot in 11..=12 {
        let mut past = Past::open(ram);
        past.begin(boot, BootReason::Watchdog);
        past.note(u64::from(boot), Uptime(40));
        leave_words(&mut past.ram, "something else");
        ram = past.ram;
    }
    let mut past = Past::open(ram);
    let mut cuts = 0;
    for (number, change) in changes.into_iter().enumerate() {
        let before = found(&past.ram);
        let mut whole = Past::open(past.ram.clone());
        whole.run = past.run;
        change(&mut whole);
        let after = found(&whole.ram);
        for left in 0.. {
            let mut cut = Past::open(Cut { left, ..past.ram.clone() });
            change(&mut cut);
            if cut.ram.left > 0 {
                break;
            }
            cuts += 1;
            let there = found(&cut.ram);
            // A beginning adds the last run and then begins its own; words are taken away before they are replaced.
            let wordless = there.iter().zip(&before).all(|(there, before)| {
                (there.0, there.2, there.3) == (before.0, before.2, before.3) && there.5.is_empty()
            });
            assert!(
                there == before || there == after || (wordless && number == 3),
                "change {number} cut before its write {left}:\n{there:?}\n{before:?}\n{after:?}"
            );
        }
        change(&mut past);
    }
    assert!(cuts > 80, "{cuts}");
}

#[test]
fn no_damaged_bit_is_believed() {
    let mut past = Past::open(blank());
    for boot in 1..=3 {
        past.begin(boot, BootReason::Watchdog);
        for reads in 1..=3 {
            past.note(reads * u64::from(boot), Uptime(reads));
        }
        leave_words(&mut past.ram, "the words");
        past = Past::open(past.ram);
    }
    let good = found(&past.ram);
    let told = |run: &Said| (run.0, run.2);
    assert_eq!(good.iter().map(told).collect::<Vec<_>>(), [(1, 3), (2, 6), (3, 9)]);
    let (tally, untold) = (past.tally.at[past.tally.counts], past.untold.at[past.untold.counts]);
    for at in 0..RAM_WORDS {
        // What is damaged is one change older: of the runs before there was one, of the last its second note.
        let runs: &[_] =
            if (untold..untold + UNTOLD + AROUND).contains(&at) { &good[..1] } else { &good[..2] };
        let reads = if (tally..tally + TALLY + AROUND).contains(&at) { 6 } else { 9 };
        let words = if at < WORDS_AT { "the words" } else { "" };
        for bit in 0..32 {
            let mut ram = past.ram.clone();
            ram.words[at] ^= 1 << bit;
            let found = found(&ram);
            let (last, before) = found.split_last().unwrap();
            assert_eq!(before, runs, "bit {bit} of word {at}");
            assert_eq!((told(last), &*last.5), ((3, reads), words), "bit {bit} of word {at}");
        }
    }
}

proptest! {
    /// Nothing is believed of what is in RAM when power comes.
    #[test]
    fn noise_is_no_run(words in prop::collection::vec(any::<u32>(), RAM_WORDS), magics in any::<bool>()) {
        let mut ram = Cut { words, left: usize::MAX };
        if magics {
            for (at, magic) in [(0, TALLY_MAGIC), (UNTOLD_AT, UNTOLD_MAGIC), (WORDS_AT, WORDS_MAGIC)] {
                ram.words[at] = magic;
            }
        }
        let mut past = Past::open(ram);
        prop_assert!(!past.panicked() && past.run.is_none());
        past.begin(1, BootReason::Power);
        prop_assert_eq!(said(&past), []);
    }
}

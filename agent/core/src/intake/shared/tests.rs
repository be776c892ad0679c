//! Readers on one line, in invented time.

use super::super::{Notice, Radio, Region, chafon};
use super::*;
use alloc::vec;

/// What a Chafon UHFReader288 for Europe at 30 dBm says of itself.
const INFO: &str = "0000160c034e001e0a01000000";

fn settings(address: u8) -> Settings {
    let radio = Radio { region: Region::Eu, power_cdbm: 3_000, antennas: vec![1] };
    Settings::Chafon { radio, address }
}

/// A line with these readers, of which some are there. An inventory takes 300 ms; who is asked meanwhile, or speaks
/// while another searches, is not understood, and neither is the other.
struct Line {
    shared: Shared,
    there: Vec<u8>,
    now: Uptime,
    /// Whose inventory ends when.
    search: Option<(u8, Uptime)>,
    collisions: u32,
    /// Inventories that were asked for and answered, by address.
    rounds: [u32; 256],
}

impl Line {
    fn new(addresses: &[u8], there: &[u8]) -> Self {
        let settings: Vec<Settings> = addresses.iter().map(|address| settings(*address)).collect();
        let shared = Shared::new(&settings, Uptime(0));
        let there = there.to_vec();
        Self { shared, there, now: Uptime(0), search: None, collisions: 0, rounds: [0; 256] }
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            while let Some(bytes) = self.shared.poll_write(self.now) {
                self.take(&bytes);
            }
            let ends = self.search.map(|(_, at)| at);
            let due = [self.shared.poll_timeout(), ends].into_iter().flatten().min().unwrap_or(end);
            self.now = due.max(self.now + 1).min(end);
            if let Some((address, _)) = self.search.take_if(|(_, at)| *at <= self.now) {
                self.rounds[usize::from(address)] += 1;
                self.answer(address, 0x01, &[0x01, 1, 1, 2, 0xE2, address, 0x6B]);
            }
            self.shared.handle_timeout(self.now);
        }
    }

    fn take(&mut self, command: &[u8]) {
        if self.search.take().is_some() {
            self.collisions += 1;
        }
        let (address, code) = (command[1], command[2]);
        if !self.there.contains(&address) {
            return;
        }
        match code {
            0x21 => self.answer(address, code, &hex::decode(INFO).unwrap()),
            0x01 => self.search = Some((address, self.now + 300)),
            _ => self.answer(address, code, &[0]),
        }
    }

    fn answer(&mut self, address: u8, code: u8, data: &[u8]) {
        self.shared.handle_bytes(&chafon::command(address, code, data), self.now);
    }

    fn told(&mut self, number: usize) -> Vec<Notice> {
        core::iter::from_fn(|| self.shared.session(number).poll_notice()).collect()
    }
}

#[test]
fn everybody_has_his_turn_and_nobody_is_interrupted() {
    let mut line = Line::new(&[1, 2, 7], &[1, 2, 7]);
    line.run(60_000);
    assert_eq!(line.collisions, 0);
    for (number, address) in [1u8, 2, 7].into_iter().enumerate() {
        let rounds = line.rounds[usize::from(address)];
        assert!((62..=67).contains(&rounds), "{rounds} of 200 rounds");
        let reads: Vec<_> = core::iter::from_fn(|| line.shared.session(number).poll_read()).collect();
        assert_eq!(reads.len(), usize::try_from(rounds).unwrap());
        assert!(reads.iter().all(|read| read.epc.as_bytes() == [0xE2, address]), "each reads for itself");
        let told = line.told(number);
        assert!(matches!(&told[..], [Notice::Module(_), Notice::Listening]), "{told:?}");
    }
}

#[test]
fn with_many_on_the_line_none_counts_as_silent() {
    let addresses: Vec<u8> = (0..12).collect();
    let mut line = Line::new(&addresses, &addresses);
    line.run(120_000);
    for number in 0..12 {
        let told = line.told(number);
        assert!(!told.iter().any(|notice| matches!(notice, Notice::Silent { .. })), "{number}: {told:?}");
        assert!(line.rounds[number] >= 30, "{number}: {} rounds", line.rounds[number]);
    }
}

#[test]
fn a_dead_reader_costs_the_others_little_and_is_found_when_it_comes() {
    let mut line = Line::new(&[1, 2, 9], &[1, 2]);
    line.run(120_000);
    assert_eq!(line.collisions, 0);
    let rounds = line.rounds[1] + line.rounds[2];
    assert!(rounds >= 340, "{rounds} of 400 rounds");
    let silences = |told: &[Notice]| told.iter().filter(|told| matches!(told, Notice::Silent { .. })).count();
    assert!((5..20).contains(&silences(&line.told(2))));
    assert_eq!(silences(&line.told(0)), 0);
    line.there.push(9);
    line.run(15_000);
    assert!(line.told(2).contains(&Notice::Listening));
    // One that stops in the middle of a round is missed, and the others go on.
    line.there.retain(|address| *address != 1);
    line.run(20_000);
    assert!(silences(&line.told(0)) >= 1);
    let before = line.rounds[2];
    line.run(20_000);
    assert!(line.rounds[2] > before + 25, "{} rounds", line.rounds[2] - before);
    assert_eq!(silences(&line.told(1)) + silences(&line.told(2)), 0);
}

#[test]
fn a_line_that_was_lost_is_begun_anew() {
    let mut line = Line::new(&[1, 2], &[1, 2]);
    line.run(5_000);
    line.search = None;
    line.now = line.now + 60_000;
    line.shared.handle_reopened(line.now);
    for number in 0..2 {
        line.told(number);
    }
    line.run(5_000);
    for number in 0..2 {
        let told = line.told(number);
        assert!(matches!(&told[..], [Notice::Module(_), Notice::Listening]), "{told:?}");
    }
}

#[test]
fn who_waited_when_the_line_was_lost_has_not_waited_since() {
    let mut line = Line::new(&[1, 2], &[1, 2]);
    line.run(5_000);
    while line.shared.members[1].waits.is_none() {
        line.run(1);
    }
    line.search = None;
    line.now = line.now + 3_600_000;
    line.shared.handle_reopened(line.now);
    line.there.retain(|address| *address != 2);
    line.told(1);
    line.run(10_000);
    line.there.push(2);
    line.run(15_000);
    let told = line.told(1);
    assert!(told.contains(&Notice::Listening), "{told:?}");
}

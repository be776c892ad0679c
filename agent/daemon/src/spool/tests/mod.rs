//! The spool through its own verbs, on a real folder: restarts, damage, copies, a full spool.

mod anew;
mod carving;
#[path = "../../../../core/tests/cases/mod.rs"]
mod cases;
mod damage;
mod keeping;
mod marks;

use std::fs;
use std::path::Path;

use hangtag_agent_core::spool::value::{VALUE_EVENTS, Value};
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::{Evidence, Fitting, What};
use hangtag_protocol::id::ZoneId;

use super::*;

fn settings(data: &Path) -> Settings {
    Settings {
        data: data.to_owned(),
        cap_bytes: 64 << 20,
        commit: Duration::from_millis(20),
        commit_events: VALUE_EVENTS,
        when_full: WhenFull::DropOldest,
        retention: 60,
        boot: BootId(1),
        accepted_log: None,
    }
}

fn open(data: &Path) -> Spool {
    Spool::open(settings(data)).unwrap()
}

fn event(n: u64) -> Event {
    // No two alike, and too random to pack well.
    let noise = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let fitting = Fitting {
        epc: Epc::new(&noise).unwrap(),
        zone: ZoneId::new("booth-1").unwrap(),
        visit: Seq(n),
        evidence: Evidence::default(),
    };
    Event { boot: BootId(1), at: Uptime(n), confidence: 1, what: What::CarriedIn(fitting) }
}

fn events(range: std::ops::Range<u64>) -> Vec<(Seq, Event)> {
    range.map(|n| (Seq(n), event(n))).collect()
}

fn accept(spool: &mut Spool, range: std::ops::Range<u64>, snapshot: &[u8]) {
    let mut waiting = vec![Accept { events: events(range), snapshot: snapshot.to_vec() }];
    spool.accept(&mut waiting);
    assert!(waiting.is_empty(), "{:?}", spool.fault);
}

fn epoch(spool: &Spool) -> Epoch {
    spool.state.borrow().current().epoch
}

fn settle(spool: &mut Spool, last: u64) {
    let settled = SeqSet::from(vec![SeqRange::new(1, last)]);
    spool.handle_request(Request::Settle { epoch: epoch(spool), settled });
}

/// Everything that can be read of an epoch.
fn all_of(spool: &mut Spool, epoch: Epoch) -> Vec<(Seq, Event)> {
    let mut found = Vec::new();
    let mut from = Seq(1);
    while let Ok(held) = spool.read(epoch, SeqRange { first: from, last: Seq(1 << 40) }) {
        let Some(first) = held.first else { break };
        let events = held.into_events();
        from = first.plus(events.len() as u64);
        found.extend((first.0..).map(Seq).zip(events));
    }
    found
}

fn all(spool: &mut Spool) -> Vec<(Seq, Event)> {
    let epoch = epoch(spool);
    all_of(spool, epoch)
}

fn lost(spool: &Spool, epoch: Epoch) -> Vec<SeqRange> {
    let index = &spool.opened.as_ref().unwrap().index;
    index.epoch(epoch).unwrap().record().lost.ranges().to_vec()
}

/// The files of sled's folder.
fn files(data: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(data.join("spool")).unwrap();
    let mut files: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// A spool whose first half is settled and gone.
fn prepared(data: &Path) -> Epoch {
    let mut spool = Spool::open(Settings { retention: 0, ..settings(data) }).unwrap();
    for n in 0..20 {
        accept(&mut spool, 1 + n * 100..101 + n * 100, b"snapshot");
    }
    settle(&mut spool, 1_000);
    accept(&mut spool, 2_001..2_050, b"");
    epoch(&spool)
}

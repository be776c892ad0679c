//! Files that an agent exported, when its batches cannot come by MQTT. Enters: a file. Leaves: the same rows
//! as if its batches had come from the broker, sums, and every place where the file is damaged.
//!
//! ```text
//!  0   4  "HTGX"
//!  4   1  version, 1
//!  …      per batch: its length as u32, little-endian, and the payload as on MQTT
//! ```
//!
//! What is damaged is not kept in quarantine: it is still in the file. Batches behind a damaged one are
//! stored, as long as lengths lead from one to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use hangtag_protocol::batch::{Batch, Header, MAX_BYTES};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::{StoreId, TenantId};
use hangtag_protocol::range::SeqSet;
use hangtag_protocol::topic::{Channel, Gateway};
use jiff::Timestamp;

use crate::store::{Forks, Key, Message, Store, StoreError, Sums};

const MAGIC: [u8; 4] = *b"HTGX";
const VERSION: u8 = 1;
/// The most batches in one transaction.
const GROUP: usize = 64;
/// The shortest time in which another process may write between two transactions.
const PAUSE: Duration = Duration::from_millis(10);

/// What an import came to.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    /// What became of the batches.
    pub sums: Sums,
    /// What is wrong in the file.
    pub problems: Vec<Damage>,
    /// The numbers that are lost, as central learned from the file.
    pub lost: BTreeMap<Key, SeqSet>,
    /// The stores of the batches.
    pub stores: BTreeSet<StoreId>,
    /// How many batches of other tenants were left out, and the byte of the first one's payload.
    pub foreign: BTreeMap<TenantId, (u64, u64)>,
}

impl Imported {
    /// One line for all batches of one other tenant.
    pub(crate) fn foreigners(&self, own: TenantId) -> impl Iterator<Item = String> {
        self.foreign.iter().map(move |(tenant, (batches, at))| {
            format!("from byte {at} on: {batches} batches of tenant {tenant}, not of {own}, were not stored")
        })
    }
}

/// A place where a file is damaged.
#[derive(Debug, thiserror::Error)]
#[error("{}byte {at}: {why}", .batch.map_or_else(String::new, |batch| format!("batch {batch} at ")))]
pub(crate) struct Damage {
    /// How many bytes of the file are before the damage, or before the damaged batch's own bytes.
    pub at: u64,
    /// The batch, counted from 1.
    pub batch: Option<u64>,
    /// What is wrong.
    pub why: String,
}

/// Why an import stopped. What came before is stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// The file cannot be read.
    #[error("cannot read: {0}")]
    Read(#[from] io::Error),
    /// The database fails.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Stores the batches of one file, while another process may write to the same database.
///
/// # Errors
/// When the file cannot be opened or read, or the database fails.
pub(crate) fn import(
    store: &mut Store,
    tenant: TenantId,
    forks: Forks,
    path: &Path,
) -> Result<Imported, ImportError> {
    read(store, tenant, forks, io::BufReader::new(std::fs::File::open(path)?))
}

fn read(store: &mut Store, tenant: TenantId, forks: Forks, file: impl Read) -> Result<Imported, ImportError> {
    let mut imported = Imported::default();
    let mut file = Batches { file, at: 0, number: 0 };
    let mut group = Vec::new();
    loop {
        let next = file.next()?;
        let over = matches!(next, Next::End | Next::Broken(_));
        match next {
            Next::Batch(gateway, message) if gateway.tenant == tenant => {
                imported.stores.insert(gateway.store);
                group.push(message);
            }
            Next::Batch(gateway, message) => {
                let at = file.at - message.payload.len() as u64;
                imported.foreign.entry(gateway.tenant).or_insert((0, at)).0 += 1;
            }
            Next::Damaged(damage) | Next::Broken(damage) => imported.problems.push(damage),
            Next::End => {}
        }
        if over || group.len() == GROUP {
            while !group.is_empty() {
                let began = Instant::now();
                let appended = store.append_with(&group, forks)?;
                group.drain(..appended.taken);
                imported.sums += appended.sums;
                for (key, lost) in appended.lost {
                    let known = imported.lost.entry(key).or_default();
                    lost.ranges().iter().for_each(|range| known.insert(*range));
                }
                // SQLite's lock is not fair: without a pause a running central would seldom get it.
                std::thread::sleep(began.elapsed().max(PAUSE));
            }
        }
        if over {
            return Ok(imported);
        }
    }
}

struct Batches<R> {
    file: R,
    at: u64,
    /// How many batches were found.
    number: u64,
}

enum Next {
    Batch(Gateway, Message),
    /// This batch is damaged; the next one can be found.
    Damaged(Damage),
    /// The rest of the file cannot be read.
    Broken(Damage),
    End,
}

impl<R: Read> Batches<R> {
    fn next(&mut self) -> io::Result<Next> {
        let damage = |at, why: String| Damage { at, batch: None, why };
        if self.at == 0 {
            let mut begin = [0; 5];
            let length = self.fill(&mut begin)?;
            if begin[..length.min(4)] != MAGIC || length < begin.len() {
                let why = format!(
                    "is no file that `hangtag-agent spool export` wrote: it begins with \"{}\", not \"{}\"",
                    begin[..length.min(4)].escape_ascii(),
                    MAGIC.escape_ascii()
                );
                return Ok(Next::Broken(damage(0, why)));
            }
            if begin[4] != VERSION {
                let why = format!("version {}; this program reads version {VERSION}", begin[4]);
                return Ok(Next::Broken(damage(4, why)));
            }
        }
        let at = self.at;
        let mut length = [0; 4];
        match self.fill(&mut length)? {
            0 => return Ok(Next::End),
            4 => {}
            _ => return Ok(Next::Broken(damage(at, "ends within a length".into()))),
        }
        let length = u32::from_le_bytes(length) as usize;
        self.number += 1;
        let batch = Some(self.number);
        let damage = |at, why: String| Damage { at, batch, why };
        if length > MAX_BYTES {
            let why = format!("a batch of {length} bytes; one has at most {MAX_BYTES}");
            return Ok(Next::Broken(damage(at, why)));
        }
        let at = self.at;
        let mut payload = vec![0; length];
        let found = self.fill(&mut payload)?;
        if found < length {
            let why = format!("ends within a batch: {found} of {length} bytes");
            return Ok(Next::Broken(damage(at, why)));
        }
        Ok(match Batch::decode_header(&payload) {
            Ok((Header { gateway, .. }, _)) => {
                let received = UnixMillis(Timestamp::now().as_millisecond());
                Next::Batch(gateway, Message { topic: gateway.topic(Channel::Events), payload, received })
            }
            Err(why) => Next::Damaged(damage(at, format!("header: {why}"))),
        })
    }

    /// Reads until the buffer is full or the file ends.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(why),
            }
        }
        self.at += filled as u64;
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{Bench, batch, picked, tenant};
    use hangtag_protocol::range::SeqRange;

    const TAG: &str = "3074257bf7194e4000001a85";

    fn payload(first: u64, count: u64) -> Vec<u8> {
        batch(first, (first..first + count).map(|n| picked(n * 1_000, TAG)).collect()).encode().unwrap()
    }

    fn file(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut file = [&MAGIC[..], &[VERSION]].concat();
        for payload in payloads {
            file.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
            file.extend(payload);
        }
        file
    }

    fn told(imported: &Imported) -> Vec<String> {
        imported.problems.iter().map(Damage::to_string).collect()
    }

    #[test]
    fn a_file_is_stored_once_however_often_it_is_imported() {
        let mut bench = Bench::new();
        bench.send_bytes(Channel::Events, payload(1, 10));
        let exported = file(&[payload(6, 10), payload(16, 5)]);
        let sums = read(&mut bench.store, tenant(), Forks::Refuse, &exported[..]).unwrap().sums;
        assert_eq!((sums.new.batches, sums.new.events, sums.known.events), (2, 10, 5));
        let again = read(&mut bench.store, tenant(), Forks::Refuse, &exported[..]).unwrap().sums;
        assert_eq!((again.new.batches, again.known.batches, again.known.events), (0, 2, 15));
    }

    #[test]
    fn a_damaged_file_is_stored_as_far_as_it_can_be_read_and_the_place_is_named() {
        let mut bench = Bench::new();
        let batches = [payload(1, 5), payload(6, 5), payload(11, 5)];
        let whole = file(&batches);
        let second = 5 + 4 + batches[0].len();
        let mut flipped = whole.clone();
        flipped[second + 40] ^= 1;
        let imported = read(&mut bench.store, tenant(), Forks::Refuse, &flipped[..]).unwrap();
        assert_eq!(imported.sums.new.events, 10, "the batch behind it is stored");
        let payload = second + 4;
        let place = format!("batch 2 at byte {payload}: header: CRC");
        assert!(told(&imported)[0].starts_with(&place), "{imported:?}");
        for (cut, said) in [
            (second + 2, format!("byte {second}: ends within a length")),
            (second + 30, format!("batch 2 at byte {payload}: ends within a batch: 26 of ")),
        ] {
            let imported = read(&mut bench.store, tenant(), Forks::Refuse, &whole[..cut]).unwrap();
            assert_eq!(imported.sums.known.events, 5);
            assert!(told(&imported)[0].starts_with(&said), "{imported:?}");
        }
        let mut long = whole.clone();
        long[second + 3] = 1;
        assert!(
            told(&read(&mut bench.store, tenant(), Forks::Refuse, &long[..]).unwrap())[0]
                .contains("at most 65536")
        );
    }

    #[test]
    fn other_files_are_refused() {
        let mut bench = Bench::new();
        let mut said =
            |bytes: &[u8]| told(&read(&mut bench.store, tenant(), Forks::Refuse, bytes).unwrap()).join("\n");
        assert!(said(b"").starts_with("byte 0: is no file that `hangtag-agent spool export` wrote"));
        assert!(said(b"HTAG\x01").contains(r#"it begins with "HTAG", not "HTGX""#));
        assert!(said(b"\x00\xff").contains(r#"it begins with "\x00\xff""#));
        assert!(said(b"HTGX\x02").contains("version 2"));
        assert_eq!(said(b"HTGX\x01"), "", "an empty one is fine");
    }

    #[test]
    fn batches_of_another_tenant_are_told_of_once_with_their_number() {
        let mut bench = Bench::new();
        let other = TenantId::new("other").unwrap();
        let exported = file(&[payload(1, 1), payload(2, 1), payload(3, 1)]);
        let imported = read(&mut bench.store, other, Forks::Refuse, &exported[..]).unwrap();
        assert_eq!(told(&imported), [""; 0]);
        let lines: Vec<String> = imported.foreigners(other).collect();
        assert_eq!(lines, ["from byte 9 on: 3 batches of tenant demo, not of other, were not stored"]);
        assert_eq!(imported.sums, Sums::default());
    }

    #[test]
    fn what_was_lost_and_of_which_stores_it_tells_is_known_afterwards() {
        let mut bench = Bench::new();
        let mut lossy = batch(11, vec![picked(11_000, TAG)]);
        lossy.lost = vec![SeqRange::new(1, 4), SeqRange::new(7, 10)];
        let exported = file(&[lossy.encode().unwrap(), lossy.encode().unwrap()]);
        let imported = read(&mut bench.store, tenant(), Forks::Refuse, &exported[..]).unwrap();
        let key = (lossy.header.gateway, lossy.header.epoch);
        assert_eq!(imported.lost[&key].ranges(), lossy.lost);
        assert_eq!(imported.stores, [lossy.header.gateway.store].into());
        let again = read(&mut bench.store, tenant(), Forks::Refuse, &exported[..]).unwrap();
        assert_eq!(again.lost, BTreeMap::new(), "it is no news");
    }
}

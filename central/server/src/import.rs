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

use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use hangtag_protocol::batch::{Batch, MAX_BYTES};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::TenantId;
use hangtag_protocol::topic::Channel;
use jiff::Timestamp;

use crate::store::{Message, Store, StoreError, Sums};

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
}

/// A place where a file is damaged.
#[derive(Debug, thiserror::Error)]
#[error("byte {at}: {why}")]
pub(crate) struct Damage {
    /// How many bytes are before it.
    pub at: u64,
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
pub(crate) fn import(store: &mut Store, tenant: TenantId, path: &Path) -> Result<Imported, ImportError> {
    read(store, tenant, io::BufReader::new(std::fs::File::open(path)?))
}

fn read(store: &mut Store, tenant: TenantId, file: impl Read) -> Result<Imported, ImportError> {
    let mut imported = Imported::default();
    let mut file = Batches { file, at: 0 };
    let mut group = Vec::new();
    loop {
        let next = file.next(tenant)?;
        let over = matches!(next, Next::End | Next::Broken(_));
        match next {
            Next::Batch(message) => group.push(message),
            Next::Damaged(damage) | Next::Broken(damage) => imported.problems.push(damage),
            Next::End => {}
        }
        if over || group.len() == GROUP {
            while !group.is_empty() {
                let began = Instant::now();
                let appended = store.append(&group)?;
                group.drain(..appended.taken);
                imported.sums += appended.sums;
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
}

enum Next {
    Batch(Message),
    /// This batch is damaged; the next one can be found.
    Damaged(Damage),
    /// The rest of the file cannot be read.
    Broken(Damage),
    End,
}

impl<R: Read> Batches<R> {
    fn next(&mut self, tenant: TenantId) -> io::Result<Next> {
        let damage = |at, why: String| Damage { at, why };
        if self.at == 0 {
            let mut begin = [0; 5];
            let length = self.fill(&mut begin)?;
            if begin[..length.min(4)] != MAGIC || length < begin.len() {
                return Ok(Next::Broken(damage(0, "is no file of exported batches".into())));
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
        if length > MAX_BYTES {
            let why = format!("a batch of {length} bytes; one has at most {MAX_BYTES}");
            return Ok(Next::Broken(damage(at, why)));
        }
        let mut payload = vec![0; length];
        let found = self.fill(&mut payload)?;
        if found < length {
            let why = format!("ends within a batch: {found} of {length} bytes");
            return Ok(Next::Broken(damage(at, why)));
        }
        Ok(match Batch::decode_header(&payload) {
            Ok((header, _)) if header.gateway.tenant == tenant => Next::Batch(Message {
                topic: header.gateway.topic(Channel::Events),
                payload,
                received: UnixMillis(Timestamp::now().as_millisecond()),
            }),
            Ok((header, _)) => {
                let why = format!("a batch of tenant {}, not of {tenant}", header.gateway.tenant);
                Next::Damaged(damage(at, why))
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
        let sums = read(&mut bench.store, tenant(), &exported[..]).unwrap().sums;
        assert_eq!((sums.new.batches, sums.new.events, sums.known.events), (2, 10, 5));
        let again = read(&mut bench.store, tenant(), &exported[..]).unwrap().sums;
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
        let imported = read(&mut bench.store, tenant(), &flipped[..]).unwrap();
        assert_eq!(imported.sums.new.events, 10, "the batch behind it is stored");
        assert!(told(&imported)[0].starts_with(&format!("byte {second}: header: CRC")), "{imported:?}");
        for (cut, why) in [(second + 2, "within a length"), (second + 30, "within a batch")] {
            let imported = read(&mut bench.store, tenant(), &whole[..cut]).unwrap();
            assert_eq!(imported.sums.known.events, 5);
            assert!(told(&imported)[0].starts_with(&format!("byte {second}: ends {why}")), "{imported:?}");
        }
        let mut long = whole.clone();
        long[second + 3] = 1;
        assert!(told(&read(&mut bench.store, tenant(), &long[..]).unwrap())[0].contains("at most 65536"));
    }

    #[test]
    fn other_files_are_refused() {
        let mut bench = Bench::new();
        let mut said = |bytes: &[u8]| told(&read(&mut bench.store, tenant(), bytes).unwrap()).join("\n");
        assert!(said(b"").contains("no file of exported batches"));
        assert!(said(b"HTAG\x01").starts_with("byte 0"));
        assert!(said(b"HTGX\x02").contains("version 2"));
        assert_eq!(said(b"HTGX\x01"), "", "an empty one is fine");
        let foreign = TenantId::new("other").unwrap();
        let imported = read(&mut bench.store, foreign, &file(&[payload(1, 1)])[..]).unwrap();
        assert_eq!(told(&imported), ["byte 5: a batch of tenant demo, not of other"]);
    }
}

//! The events of batch format 1, which is read and never written. Enters: bytes. Leaves: events.
//!
//! Rows became columns, and every column was written in the smallest of five ways. The bytes are a
//! postcard struct (`Packed`) whose fields are dictionaries and columns:
//!
//! ```text
//! boots, zones, readers   dictionaries, in the order of first use
//! epc_*                   dictionary, sorted: bytes shared with the one before, length, the rest
//! boot at kind confidence                   one value per event; at = zigzag(difference)
//! epc zone reads margin unrest dwell        one per event about a garment
//! visit                                     one per event in a booth: own number - visit's number
//! retracts                                  one per retraction: own number - the retracted number
//! reader state from                         one per coverage event; from = zigzag(at - from)
//! ```
//!
//! How a column is written is in `codec`. What is decoded is bounded by [`MAX_EVENTS`], whatever the bytes
//! claim.

mod codec;

use alloc::vec::Vec;

use serde::Deserialize;

use codec::{decode_column, unzigzag};

pub use codec::ColumnError;

use super::{MAX_EVENTS, UnpackError};
use crate::clock::{BootId, Uptime};
use crate::epc::{Epc, MAX_EPC};
use crate::event::{Coverage, Event, Evidence, Fitting, Handling, Kind, ReaderState, What};
use crate::id::{ReaderId, Seq, ZoneId};

#[derive(Deserialize)]
struct Packed<'a> {
    boots: Vec<u64>,
    #[serde(borrow)]
    zones: Vec<&'a str>,
    #[serde(borrow)]
    readers: Vec<&'a str>,
    epcs: u32,
    epc_shared: &'a [u8],
    epc_length: &'a [u8],
    epc_rest: &'a [u8],
    boot: &'a [u8],
    at: &'a [u8],
    kind: &'a [u8],
    confidence: &'a [u8],
    epc: &'a [u8],
    zone: &'a [u8],
    reads: &'a [u8],
    margin: &'a [u8],
    unrest: &'a [u8],
    dwell: &'a [u8],
    visit: &'a [u8],
    retracts: &'a [u8],
    reader: &'a [u8],
    state: &'a [u8],
    from: &'a [u8],
}

/// Unpacks `count` events, the first of which has the number `first`.
///
/// # Errors
/// When the bytes are not exactly that many events.
pub(crate) fn unpack(first: Seq, count: usize, bytes: &[u8]) -> Result<Vec<Event>, UnpackError> {
    if count > MAX_EVENTS {
        return Err(UnpackError::Count(count));
    }
    let (packed, rest): (Packed<'_>, _) = postcard::take_from_bytes(bytes).map_err(UnpackError::Structure)?;
    if !rest.is_empty() {
        return Err(UnpackError::Rest(rest.len()));
    }
    let kinds = values("kind", packed.kind, count)?
        .into_iter()
        .map(|n| Kind::from_number(n).ok_or(UnpackError::Value { column: "kind", value: n }))
        .collect::<Result<Vec<Kind>, _>>()?;
    let of = |wanted: &[Kind]| kinds.iter().filter(|kind| wanted.contains(kind)).count();
    let fittings = of(&[Kind::CarriedIn, Kind::TriedOn, Kind::CarriedOut]);
    let garments = fittings + of(&[Kind::PickedUp, Kind::PutDown]);
    let (retractions, coverages) = (of(&[Kind::Retracted]), of(&[Kind::Coverage]));

    let zones = names("zones", &packed.zones, |text| ZoneId::new(text).ok())?;
    let readers = names("readers", &packed.readers, |text| ReaderId::new(text).ok())?;
    let epcs = epcs(&packed, garments)?;

    let mut boot = Cursor::new("boot", packed.boot, count)?;
    let mut at = Cursor::new("at", packed.at, count)?;
    let mut confidence = Cursor::new("confidence", packed.confidence, count)?;
    let mut epc = Cursor::new("epc", packed.epc, garments)?;
    let mut zone = Cursor::new("zone", packed.zone, garments)?;
    let mut reads = Cursor::new("reads", packed.reads, garments)?;
    let mut margin = Cursor::new("margin", packed.margin, garments)?;
    let mut unrest = Cursor::new("unrest", packed.unrest, garments)?;
    let mut dwell = Cursor::new("dwell", packed.dwell, garments)?;
    let mut visit = Cursor::new("visit", packed.visit, fittings)?;
    let mut retracts = Cursor::new("retracts", packed.retracts, retractions)?;
    let mut reader = Cursor::new("reader", packed.reader, coverages)?;
    let mut state = Cursor::new("state", packed.state, coverages)?;
    let mut from = Cursor::new("from", packed.from, coverages)?;

    let mut events = Vec::with_capacity(count);
    let mut last_at = 0u64;
    for (kind, seq) in kinds.into_iter().zip(first.0..) {
        last_at = last_at.wrapping_add(unzigzag(at.next()));
        let boot = BootId(*boot.entry(&packed.boots)?);
        let confidence = confidence.small()?;
        let mut handling = || {
            Ok::<_, UnpackError>(Handling {
                epc: *epc.entry(&epcs)?,
                zone: *zone.entry(&zones)?,
                evidence: Evidence {
                    reads: reads.small()?,
                    margin_db: margin.small()?,
                    unrest: unrest.small()?,
                    dwell_ds: dwell.small()?,
                },
            })
        };
        let mut fitting = |Handling { epc, zone, evidence }| Fitting {
            epc,
            zone,
            visit: Seq(seq.wrapping_sub(visit.next())),
            evidence,
        };
        let what = match kind {
            Kind::PickedUp => What::PickedUp(handling()?),
            Kind::PutDown => What::PutDown(handling()?),
            Kind::CarriedIn => What::CarriedIn(fitting(handling()?)),
            Kind::TriedOn => What::TriedOn(fitting(handling()?)),
            Kind::CarriedOut => What::CarriedOut(fitting(handling()?)),
            Kind::Retracted => What::Retracted { seq: Seq(seq.wrapping_sub(retracts.next())) },
            Kind::Coverage => What::Coverage(Coverage {
                reader: *reader.entry(&readers)?,
                // Agents that wrote this format knew no other.
                state: *state.entry(&[ReaderState::Listening, ReaderState::Silent, ReaderState::Absent])?,
                from: Uptime(last_at.wrapping_sub(unzigzag(from.next()))),
            }),
            // Format 1 is older than scans.
            Kind::Scanned => return Err(UnpackError::Value { column: "kind", value: kind as u64 }),
        };
        events.push(Event { boot, at: Uptime(last_at), confidence, what });
    }
    Ok(events)
}

fn names<T>(
    dictionary: &'static str,
    texts: &[&str],
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, UnpackError> {
    let entry =
        |(entry, text): (usize, &&str)| parse(text).ok_or(UnpackError::Dictionary { dictionary, entry });
    texts.iter().enumerate().map(entry).collect()
}

fn epcs(packed: &Packed<'_>, garments: usize) -> Result<Vec<Epc>, UnpackError> {
    let wrong = |entry| UnpackError::Dictionary { dictionary: "epcs", entry };
    // Every entry is used at least once: no more entries than garment events.
    let count =
        usize::try_from(packed.epcs).ok().filter(|n| *n <= garments).ok_or_else(|| wrong(garments))?;
    let mut shared = Cursor::new("epc_shared", packed.epc_shared, count)?;
    let mut length = Cursor::new("epc_length", packed.epc_length, count)?;
    let mut rest = packed.epc_rest;
    let mut epcs: Vec<Epc> = Vec::with_capacity(count);
    for entry in 0..count {
        let (shared, length): (u8, u8) = (shared.small()?, length.small()?);
        let (shared, length) = (usize::from(shared), usize::from(length));
        let before = epcs.last().map_or(&[][..], Epc::as_bytes);
        let own = length.checked_sub(shared).and_then(|own| rest.split_at_checked(own));
        let (Some(head), Some((own, left))) = (before.get(..shared), own) else { return Err(wrong(entry)) };
        if length > MAX_EPC {
            return Err(wrong(entry));
        }
        let mut bytes = [0; MAX_EPC];
        bytes[..shared].copy_from_slice(head);
        bytes[shared..length].copy_from_slice(own);
        epcs.push(Epc::new(&bytes[..length]).map_err(|_| wrong(entry))?);
        rest = left;
    }
    if rest.is_empty() { Ok(epcs) } else { Err(wrong(count)) }
}

/// The values of one column, handed out one by one; as many as were asked for when it was made.
struct Cursor {
    column: &'static str,
    values: alloc::vec::IntoIter<u64>,
}

impl Cursor {
    fn new(column: &'static str, bytes: &[u8], count: usize) -> Result<Self, UnpackError> {
        Ok(Self { column, values: values(column, bytes, count)?.into_iter() })
    }

    fn next(&mut self) -> u64 {
        self.values.next().expect("a column has a value for each of its rows")
    }

    fn small<T: TryFrom<u64>>(&mut self) -> Result<T, UnpackError> {
        let value = self.next();
        T::try_from(value).map_err(|_| UnpackError::Value { column: self.column, value })
    }

    fn entry<'d, T>(&mut self, dictionary: &'d [T]) -> Result<&'d T, UnpackError> {
        let value = self.next();
        let entry = usize::try_from(value).ok().and_then(|n| dictionary.get(n));
        entry.ok_or(UnpackError::Value { column: self.column, value })
    }
}

fn values(column: &'static str, bytes: &[u8], count: usize) -> Result<Vec<u64>, UnpackError> {
    decode_column(bytes, count).map_err(|why| UnpackError::Column { column, why })
}

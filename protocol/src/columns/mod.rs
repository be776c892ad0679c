//! Events packed small. Enters: consecutive events. Leaves: bytes, and the same events again.
//!
//! Rows become columns, and every column is written in the smallest of five ways. The bytes are a
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
//! How a column is written is in [`codec`]. What is decoded is bounded by [`MAX_EVENTS`], whatever the bytes
//! claim.

pub mod codec;

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use codec::{ColumnError, column, decode_column, length, unzigzag, zigzag};

use crate::clock::{BootId, Uptime};
use crate::epc::{Epc, MAX_EPC};
use crate::event::{Coverage, Event, Evidence, Fitting, Handling, Kind, ReaderState, What};
use crate::id::{ReaderId, Seq, ZoneId};

/// The most events that are packed together.
pub const MAX_EVENTS: usize = 4_096;

/// Why bytes are not packed events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// More events are claimed than are ever packed together.
    #[error("{0} events are claimed; at most {MAX_EVENTS} are packed together")]
    Count(usize),
    /// The outer structure does not decode.
    #[error("the packed structure does not decode: {0}")]
    Structure(postcard::Error),
    /// Bytes are left over.
    #[error("{0} bytes are left over after the packed structure")]
    Rest(usize),
    /// A column does not decode.
    #[error("column {column}: {why}")]
    Column {
        /// The column.
        column: &'static str,
        /// What is wrong with it.
        why: ColumnError,
    },
    /// A value is out of range.
    #[error("column {column}: value {value} is out of range")]
    Value {
        /// The column.
        column: &'static str,
        /// The value.
        value: u64,
    },
    /// A dictionary holds something that is not an id.
    #[error("dictionary {dictionary}: entry {entry} is not valid")]
    Dictionary {
        /// The dictionary.
        dictionary: &'static str,
        /// Which entry, from 0.
        entry: usize,
    },
}

#[derive(Serialize, Deserialize)]
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

/// Packs events whose numbers follow one another from `first` on.
///
/// # Panics
/// When there are more than [`MAX_EVENTS`].
#[must_use]
pub fn pack(first: Seq, events: &[Event]) -> Vec<u8> {
    assert!(events.len() <= MAX_EVENTS, "at most {MAX_EVENTS} events are packed together");
    let mut sorted: Vec<Epc> = events.iter().filter_map(|e| e.garment().map(|g| g.0)).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let (mut boots, mut zones, mut readers) = (Vec::new(), Vec::new(), Vec::new());
    let mut rows = Rows::default();
    let mut last_at = 0;
    for (event, seq) in events.iter().zip(first.0..) {
        rows.boot.push(index_of(&mut boots, event.boot.0));
        rows.at.push(zigzag(event.at.0.wrapping_sub(last_at)));
        last_at = event.at.0;
        rows.kind.push(event.kind() as u64);
        rows.confidence.push(event.confidence.into());
        if let Some((epc, zone, visit, evidence)) = event.garment() {
            rows.epc.push(sorted.partition_point(|other| *other < epc) as u64);
            rows.zone.push(index_of(&mut zones, zone));
            rows.reads.push(evidence.reads.into());
            rows.margin.push(evidence.margin_db.into());
            rows.unrest.push(evidence.unrest.into());
            rows.dwell.push(evidence.dwell_ds.into());
            rows.visit.extend(visit.map(|visit| seq.wrapping_sub(visit.0)));
        }
        match event.what {
            What::Retracted { seq: mistaken } => rows.retracts.push(seq.wrapping_sub(mistaken.0)),
            What::Coverage(coverage) => {
                rows.reader.push(index_of(&mut readers, coverage.reader));
                rows.state.push(coverage.state as u64);
                rows.from.push(zigzag(event.at.0.wrapping_sub(coverage.from.0)));
            }
            What::PickedUp(_)
            | What::PutDown(_)
            | What::CarriedIn(_)
            | What::TriedOn(_)
            | What::CarriedOut(_) => {}
        }
    }
    let (mut shared, mut length, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    let mut before: &[u8] = &[];
    for epc in &sorted {
        let same = before.iter().zip(epc.as_bytes()).take_while(|(a, b)| a == b).count();
        shared.push(same as u64);
        length.push(epc.as_bytes().len() as u64);
        rest.extend_from_slice(&epc.as_bytes()[same..]);
        before = epc.as_bytes();
    }
    let packed = Packed {
        boots,
        zones: zones.iter().map(ZoneId::as_str).collect(),
        readers: readers.iter().map(ReaderId::as_str).collect(),
        epcs: u32::try_from(sorted.len()).expect("at most MAX_EVENTS"),
        epc_shared: &column(&shared),
        epc_length: &column(&length),
        epc_rest: &rest,
        boot: &column(&rows.boot),
        at: &column(&rows.at),
        kind: &column(&rows.kind),
        confidence: &column(&rows.confidence),
        epc: &column(&rows.epc),
        zone: &column(&rows.zone),
        reads: &column(&rows.reads),
        margin: &column(&rows.margin),
        unrest: &column(&rows.unrest),
        dwell: &column(&rows.dwell),
        visit: &column(&rows.visit),
        retracts: &column(&rows.retracts),
        reader: &column(&rows.reader),
        state: &column(&rows.state),
        from: &column(&rows.from),
    };
    postcard::to_allocvec(&packed).expect("vectors and slices always encode")
}

/// Unpacks `count` events, the first of which has the number `first`.
///
/// # Errors
/// When the bytes are not exactly that many events.
pub fn unpack(first: Seq, count: usize, bytes: &[u8]) -> Result<Vec<Event>, UnpackError> {
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
                state: *state.entry(&[ReaderState::Listening, ReaderState::Silent, ReaderState::Absent])?,
                from: Uptime(last_at.wrapping_sub(unzigzag(from.next()))),
            }),
        };
        events.push(Event { boot, at: Uptime(last_at), confidence, what });
    }
    Ok(events)
}

#[derive(Default)]
struct Rows {
    boot: Vec<u64>,
    at: Vec<u64>,
    kind: Vec<u64>,
    confidence: Vec<u64>,
    epc: Vec<u64>,
    zone: Vec<u64>,
    reads: Vec<u64>,
    margin: Vec<u64>,
    unrest: Vec<u64>,
    dwell: Vec<u64>,
    visit: Vec<u64>,
    retracts: Vec<u64>,
    reader: Vec<u64>,
    state: Vec<u64>,
    from: Vec<u64>,
}

/// The place of a value in a dictionary, which grows when the value is new.
fn index_of<T: PartialEq>(dictionary: &mut Vec<T>, value: T) -> u64 {
    let found = dictionary.iter().position(|known| *known == value);
    found.unwrap_or_else(|| {
        dictionary.push(value);
        dictionary.len() - 1
    }) as u64
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

/// The dictionaries and columns of packed events, each with its bytes: where the bytes go.
///
/// # Errors
/// When the outer structure does not decode.
pub fn sizes(bytes: &[u8]) -> Result<Vec<(String, usize)>, UnpackError> {
    let packed: Packed<'_> = postcard::from_bytes(bytes).map_err(UnpackError::Structure)?;
    let texts = |list: &[&str]| list.iter().map(|text| text.len() + 1).sum::<usize>() + 1;
    let columns = [
        ("boots", packed.boots.iter().map(|boot| length(*boot)).sum::<usize>() + 1),
        ("zones", texts(&packed.zones)),
        ("readers", texts(&packed.readers)),
        ("epcs", packed.epc_shared.len() + packed.epc_length.len() + packed.epc_rest.len()),
        ("boot", packed.boot.len()),
        ("at", packed.at.len()),
        ("kind", packed.kind.len()),
        ("confidence", packed.confidence.len()),
        ("epc", packed.epc.len()),
        ("zone", packed.zone.len()),
        ("reads", packed.reads.len()),
        ("margin", packed.margin.len()),
        ("unrest", packed.unrest.len()),
        ("dwell", packed.dwell.len()),
        ("visit", packed.visit.len()),
        ("retracts", packed.retracts.len()),
        ("reader", packed.reader.len()),
        ("state", packed.state.len()),
        ("from", packed.from.len()),
    ];
    Ok(columns.into_iter().map(|(name, bytes)| (name.into(), bytes)).collect())
}

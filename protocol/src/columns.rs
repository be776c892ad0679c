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
//!
//! column   nothing at all when it has no values, else
//!          0, value                         all values are this one
//!          1, least, width, bits            each value - least, `width` bits, least significant first
//!          2, values                        each as LEB128
//!          3, (length, value)…              runs
//!          4, least, k, bits                each value - least in Rice code: quotient by 2^k in
//!                                           unary (ones, then a zero), then k bits of the rest
//! ```
//!
//! Numbers outside bit fields are LEB128, as postcard writes them. Unused bits at a column's end are
//! zero. What is decoded is bounded by [`MAX_EVENTS`], whatever the bytes claim.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

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

/// Why the bytes of a column do not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// The way of writing is unknown.
    #[error("unknown encoding {0}")]
    Encoding(u8),
    /// The bytes end before the values do.
    #[error("ends early")]
    Short,
    /// The values end before the bytes do, or unused bits are not zero.
    #[error("has bytes after its end")]
    Long,
    /// A number does not fit 64 bits, or a width is above 64.
    #[error("holds a number that is too large")]
    Large,
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
    let sorted: BTreeSet<Epc> = events.iter().filter_map(|e| e.garment().map(|g| g.0)).collect();
    let sorted: Vec<Epc> = sorted.into_iter().collect();
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

const CONSTANT: u8 = 0;
const FIXED: u8 = 1;
const LEB128: u8 = 2;
const RUNS: u8 = 3;
const RICE: u8 = 4;

/// Writes a column in the way that takes the fewest bytes; of equals the one with the lowest number.
fn column(values: &[u64]) -> Vec<u8> {
    let (Some(&least), Some(&most)) = (values.iter().min(), values.iter().max()) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    if least == most {
        out.push(CONSTANT);
        put(&mut out, least);
        return out;
    }
    let width = 64 - (most - least).leading_zeros();
    let fixed = 2 + length(least) + (values.len() * width as usize).div_ceil(8);
    let leb128 = 1 + values.iter().map(|v| length(*v)).sum::<usize>();
    let runs: Vec<(u64, u64)> =
        values.chunk_by(|a, b| a == b).map(|run| (run.len() as u64, run[0])).collect();
    let run_bytes = 1 + runs.iter().map(|(n, v)| length(*n) + length(*v)).sum::<usize>();
    let (rice_bits, k) = (0..width)
        .map(|k| {
            let bits = values.iter().map(|v| u128::from((v - least) >> k) + 1 + u128::from(k)).sum::<u128>();
            (bits, k)
        })
        .min()
        .expect("the width is at least 1");
    let rice = usize::try_from(rice_bits.div_ceil(8)).map_or(usize::MAX, |bytes| 2 + length(least) + bytes);

    let best = [(fixed, FIXED), (leb128, LEB128), (run_bytes, RUNS), (rice, RICE)];
    let encoding = best.into_iter().min().expect("four ways").1;
    out.push(encoding);
    match encoding {
        FIXED => {
            put(&mut out, least);
            out.push(u8::try_from(width).expect("at most 64"));
            let mut bits = BitWriter { out, used: 8 };
            values.iter().for_each(|v| bits.put(v - least, width));
            out = bits.out;
        }
        LEB128 => values.iter().for_each(|v| put(&mut out, *v)),
        RUNS => runs.iter().for_each(|(n, v)| {
            put(&mut out, *n);
            put(&mut out, *v);
        }),
        _ => {
            put(&mut out, least);
            out.push(u8::try_from(k).expect("below 64"));
            let mut bits = BitWriter { out, used: 8 };
            for v in values {
                let quotient = (v - least) >> k;
                (0..quotient).for_each(|_| bits.put(1, 1));
                bits.put(0, 1);
                bits.put((v - least) & ((1 << k) - 1), k);
            }
            out = bits.out;
        }
    }
    out
}

fn decode_column(bytes: &[u8], count: usize) -> Result<Vec<u64>, ColumnError> {
    if count == 0 {
        return if bytes.is_empty() { Ok(Vec::new()) } else { Err(ColumnError::Long) };
    }
    let (&encoding, mut rest) = bytes.split_first().ok_or(ColumnError::Short)?;
    let mut values = Vec::with_capacity(count);
    match encoding {
        CONSTANT => values.resize(count, take(&mut rest)?),
        FIXED | RICE => {
            let least = take(&mut rest)?;
            let (&width, packed) = rest.split_first().ok_or(ColumnError::Short)?;
            if width > 64 || (encoding == RICE && width == 64) {
                return Err(ColumnError::Large);
            }
            let mut bits = BitReader { bytes: packed, at: 0 };
            for _ in 0..count {
                let mut quotient = 0u64;
                if encoding == RICE {
                    while bits.take(1)? == 1 {
                        quotient += 1;
                    }
                    if quotient.leading_zeros() < u32::from(width) {
                        return Err(ColumnError::Large);
                    }
                    quotient <<= width;
                }
                let above = quotient | bits.take(width.into())?;
                values.push(least.checked_add(above).ok_or(ColumnError::Large)?);
            }
            rest = bits.finish()?;
        }
        LEB128 => {
            for _ in 0..count {
                values.push(take(&mut rest)?);
            }
        }
        RUNS => {
            while values.len() < count {
                let (run, value) = (take(&mut rest)?, take(&mut rest)?);
                let room = count - values.len();
                let run = usize::try_from(run).ok().filter(|n| (1..=room).contains(n));
                values.resize(values.len() + run.ok_or(ColumnError::Large)?, value);
            }
        }
        other => return Err(ColumnError::Encoding(other)),
    }
    if rest.is_empty() { Ok(values) } else { Err(ColumnError::Long) }
}

struct BitWriter {
    out: Vec<u8>,
    // Bits used of the last byte; 8 when the next bit needs a new byte.
    used: u32,
}

impl BitWriter {
    fn put(&mut self, value: u64, width: u32) {
        for bit in 0..width {
            if self.used == 8 {
                self.out.push(0);
                self.used = 0;
            }
            let last = self.out.last_mut().expect("a byte was pushed");
            *last |= u8::try_from(value >> bit & 1).expect("one bit") << self.used;
            self.used += 1;
        }
    }
}

struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    fn take(&mut self, width: u32) -> Result<u64, ColumnError> {
        let mut value = 0;
        for bit in 0..width {
            let byte = self.bytes.get(self.at / 8).ok_or(ColumnError::Short)?;
            value |= u64::from(byte >> (self.at % 8) & 1) << bit;
            self.at += 1;
        }
        Ok(value)
    }

    /// What follows the byte of the last bit; the unused bits of that byte must be zero.
    fn finish(mut self) -> Result<&'a [u8], ColumnError> {
        while !self.at.is_multiple_of(8) {
            if self.take(1)? != 0 {
                return Err(ColumnError::Long);
            }
        }
        Ok(&self.bytes[self.at / 8..])
    }
}

fn zigzag(difference: u64) -> u64 {
    let signed = difference.cast_signed();
    ((signed << 1) ^ (signed >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

/// How many bytes a number takes as LEB128.
fn length(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).expect("7 bits") | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).expect("7 bits"));
}

fn take(bytes: &mut &[u8]) -> Result<u64, ColumnError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(ColumnError::Short)?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && byte > 1 {
            return Err(ColumnError::Large);
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ColumnError::Large)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn columns_round_trip(values in prop::collection::vec(prop_oneof![
            any::<u64>(), 0u64..4, 1_000u64..1_200, Just(7)], 0..200)) {
            prop_assert_eq!(decode_column(&column(&values), values.len()), Ok(values));
        }

        #[test]
        fn a_column_is_never_larger_than_leb128(values in prop::collection::vec(0u64..100_000, 1..200)) {
            let leb128 = 1 + values.iter().map(|v| length(*v)).sum::<usize>();
            prop_assert!(column(&values).len() <= leb128);
        }

        #[test]
        fn any_column_decodes_or_is_refused(
            encoding in 0u8..6, bytes in prop::collection::vec(any::<u8>(), 0..60), count in 0usize..5_000,
        ) {
            let mut column = alloc::vec![encoding];
            column.extend(bytes);
            if let Ok(values) = decode_column(&column, count) {
                prop_assert_eq!(values.len(), count);
            }
        }

        #[test]
        fn numbers_round_trip(value: u64) {
            let mut out = Vec::new();
            put(&mut out, value);
            prop_assert_eq!(out.len(), length(value));
            prop_assert_eq!(take(&mut out.as_slice()), Ok(value));
            prop_assert_eq!(unzigzag(zigzag(value)), value);
        }
    }

    #[test]
    fn each_encoding_is_chosen_where_it_is_smallest() {
        let chosen = |values: &[u64]| column(values)[0];
        assert_eq!(chosen(&[9; 50]), CONSTANT);
        assert_eq!(chosen(&(0..64u64).map(|n| 1_000_000 + n * 37 % 64).collect::<Vec<_>>()), FIXED);
        assert_eq!(chosen(&[1, 1 << 40]), LEB128);
        assert_eq!(chosen(&[[0; 40].as_slice(), &[1 << 50; 40]].concat()), RUNS);
        assert_eq!(chosen(&(0..64u64).map(|n| 1 << (n * 7 % 11)).collect::<Vec<_>>()), RICE);
    }
}

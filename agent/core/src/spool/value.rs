//! A value: up to 256 consecutive events, packed, with their epoch and numbers beside them.
//!
//! ```text
//! record 'V': epoch u64, first u64, run u32, inherited u16, count u16, number of boots u16, boots u64
//!             (little-endian), then the events as `columns` packs them
//! ```
//!
//! The packed events are those of a batch: a whole value is sent as it is. Its boots say which clock anchors
//! go with it.
//!
//! One event per value would be slow and large, so the last value is rewritten under its key until it
//! is full. In a damaged file several copies of it are found, and some were written by a process that died before
//! they counted. So a value names the run that wrote it, and how many of its events that run found there: the
//! rest are its own, and count up to where the next run of the epoch's lineage began.

use alloc::vec::Vec;

use hangtag_protocol::clock::BootId;
use hangtag_protocol::columns::{self, UnpackError};
use hangtag_protocol::event::Event;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::Run;
use hangtag_protocol::range::SeqRange;

use super::record::{self, Kind, RecordError};

/// The most events in one value.
pub const VALUE_EVENTS: usize = 256;
/// The most bytes in one value. sled 0.34 puts pages above a quarter of a segment (512 KiB) into files
/// that it never syncs; a page holds up to 18 values.
pub const VALUE_BYTES: usize = 7_000;

const BEFORE_BOOTS: usize = 26;
const BOOT_BYTES: usize = 8;

/// Why a value cannot be read back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// It is no sound record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It is too short for a value.
    #[error("{0} bytes are too few for a value")]
    Short(usize),
    /// It is the value of another key.
    #[error("it holds event {first} of epoch {epoch}, which is not what its key says")]
    Other {
        /// The epoch that it is of.
        epoch: Epoch,
        /// The first event that it holds.
        first: Seq,
    },
    /// The events do not unpack.
    #[error("events: {0}")]
    Events(#[from] UnpackError),
    /// Its events would have numbers that there are not: none is 0, and none is the last of 64 bits.
    #[error("it holds {count} events from number {first} on")]
    Numbers {
        /// The first number.
        first: Seq,
        /// How many.
        count: u16,
    },
}

/// A value whose checksum is good.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    /// The epoch of its events.
    pub epoch: Epoch,
    /// The number of the first.
    pub first: Seq,
    /// The run that wrote it.
    pub run: u32,
    /// How many of its events, the first ones, earlier runs had accepted.
    pub inherited: u16,
    /// How many there are.
    pub count: u16,
    /// Its events as `columns` packs them.
    pub packed: &'a [u8],
    boots: &'a [u8],
}

impl<'a> Value<'a> {
    /// Reads a record.
    ///
    /// # Errors
    /// When it is not a sound value.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ValueError> {
        Self::of(record::open(Kind::Value, bytes)?)
    }

    /// Reads the value under a key.
    ///
    /// # Errors
    /// When it is not a sound value, or another one's.
    pub fn read_as(bytes: &'a [u8], epoch: Epoch, first: Seq) -> Result<Self, ValueError> {
        let value = Self::read(bytes)?;
        if (value.epoch, value.first) == (epoch, first) {
            Ok(value)
        } else {
            Err(ValueError::Other { epoch: value.epoch, first: value.first })
        }
    }

    /// Reads the body of a value's record.
    ///
    /// # Errors
    /// When it is too short, or no numbers are as it says.
    pub fn of(body: &'a [u8]) -> Result<Self, ValueError> {
        let short = || ValueError::Short(body.len());
        let (head, rest) = body.split_first_chunk::<BEFORE_BOOTS>().ok_or_else(short)?;
        let number = |at: usize| u64::from_le_bytes(core::array::from_fn(|i| head[at + i]));
        let run = u32::from_le_bytes(core::array::from_fn(|i| head[16 + i]));
        let short_number = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let (inherited, count, boots) = (short_number(20), short_number(22), short_number(24));
        let (boots, packed) = rest.split_at_checked(usize::from(boots) * BOOT_BYTES).ok_or_else(short)?;
        let (epoch, first) = (Epoch(number(0)), Seq(number(8)));
        if first.0 == 0 || first.0.checked_add(count.max(inherited).into()).is_none() {
            return Err(ValueError::Numbers { first, count });
        }
        Ok(Self { epoch, first, run, inherited, count, packed, boots })
    }

    /// The boots in which its events happened.
    pub fn boots(&self) -> impl Iterator<Item = BootId> {
        let number = |bytes: &[u8]| u64::from_le_bytes(core::array::from_fn(|i| bytes[i]));
        self.boots.chunks_exact(BOOT_BYTES).map(move |bytes| BootId(number(bytes)))
    }

    /// The numbers of its events.
    #[must_use]
    pub fn range(&self) -> SeqRange {
        range_of(self.first, self.count)
    }

    /// Its events.
    ///
    /// # Errors
    /// When they do not unpack.
    pub fn events(&self) -> Result<Vec<Event>, ValueError> {
        Ok(columns::unpack(self.first, self.count.into(), self.packed)?)
    }

    /// The record of its first `count` events.
    ///
    /// # Errors
    /// When the events do not unpack.
    pub fn cut(&self, count: usize) -> Result<Vec<u8>, ValueError> {
        let mut events = self.events()?;
        events.truncate(count);
        let run = Run { first: self.first.plus(self.inherited.into()), id: self.run };
        Ok(encode(self.epoch, run, self.first, &events))
    }
}

/// Writes a value, by a run that accepts what is not below its first number.
///
/// # Panics
/// When there are more than 65,535 events, or they take as many bytes.
#[must_use]
pub fn encode(epoch: Epoch, run: Run, first: Seq, events: &[Event]) -> Vec<u8> {
    let packed = columns::pack(first, events);
    let mut boots: Vec<BootId> = Vec::new();
    for event in events {
        if boots.last() != Some(&event.boot) && !boots.contains(&event.boot) {
            boots.push(event.boot);
        }
    }
    let mut body = Vec::with_capacity(BEFORE_BOOTS + BOOT_BYTES * boots.len() + packed.len());
    body.extend(epoch.0.to_le_bytes());
    body.extend(first.0.to_le_bytes());
    let count = u16::try_from(events.len()).expect("at most VALUE_EVENTS");
    let inherited = u16::try_from(run.first.0.saturating_sub(first.0)).unwrap_or(count).min(count);
    body.extend(run.id.to_le_bytes());
    body.extend(inherited.to_le_bytes());
    body.extend(count.to_le_bytes());
    body.extend(u16::try_from(boots.len()).expect("at most one per event").to_le_bytes());
    boots.iter().for_each(|boot| body.extend(boot.0.to_le_bytes()));
    body.extend(packed);
    record::seal(Kind::Value, &body)
}

/// The numbers of `count` events from `first` on.
pub(super) fn range_of(first: Seq, count: u16) -> SeqRange {
    SeqRange { first, last: Seq((first.0 + u64::from(count)).saturating_sub(1)) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::event;
    use super::*;
    use alloc::vec;

    #[test]
    fn numbers_that_there_are_not_are_refused() {
        for first in [0, u64::MAX] {
            let mut bytes = encode(Epoch(7), Run { first: Seq(5), id: 9 }, Seq(5), &[event(1)]);
            bytes[record::BEFORE_BODY + 8..][..8].copy_from_slice(&first.to_le_bytes());
            let bytes = record::seal(Kind::Value, &bytes[record::BEFORE_BODY..]);
            let refusal = ValueError::Numbers { first: Seq(first), count: 1 };
            assert_eq!(Value::read(&bytes).map(|value| value.range()), Err(refusal));
        }
    }

    #[test]
    fn a_value_is_read_back_or_refused() {
        let events = vec![event(1), event(2)];
        let run = |first| Run { first: Seq(first), id: 9 };
        let bytes = encode(Epoch(7), run(6), Seq(5), &events);
        let value = Value::read_as(&bytes, Epoch(7), Seq(5)).unwrap();
        assert_eq!((value.range(), value.events()), (SeqRange::new(5, 6), Ok(events.clone())));
        assert_eq!((value.run, value.inherited), (9, 1));
        let cut = value.cut(1).unwrap();
        let cut = Value::read(&cut).unwrap();
        assert_eq!((cut.range(), cut.run, cut.inherited), (SeqRange::new(5, 5), 9, 1));
        assert_eq!(cut.events(), Ok(vec![event(1)]));
        for (first, inherited) in [(1, 0), (5, 0), (7, 2), (900, 2)] {
            let bytes = encode(Epoch(7), run(first), Seq(5), &events);
            assert_eq!(Value::read(&bytes).map(|value| value.inherited), Ok(inherited));
        }
        assert_eq!(value.boots().collect::<Vec<_>>(), [BootId(1)]);
        assert!(matches!(Value::of(&[1; 30]), Err(ValueError::Short(30))), "boots beyond its end");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Value::read(&flipped).is_err(), "bit {bit}");
        }
        let other = Value::read_as(&bytes, Epoch(7), Seq(6)).map(|value| value.first);
        assert_eq!(other, Err(ValueError::Other { epoch: Epoch(7), first: Seq(5) }));
        assert!(matches!(Value::of(b"short"), Err(ValueError::Short(5))));
    }
}

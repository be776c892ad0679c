//! Events packed small. Enters: consecutive events. Leaves: bytes, and the same events again.
//!
//! Batch format 2 and the values of the spool. Every event is a row of decisions that an adaptive
//! arithmetic coder (`coder`) writes close to their entropy: each has a chance that is learned from the
//! decisions before it, beginning with `prior`. What *bit*, *tree*, *number*, *sized* and *plain* are is
//! drawn in `model`, where their chances are in `place`. [`v1`] is the columns of format 1.
//!
//! ```text
//! batch       nothing if it has no events, else phase: 9 plain bits; then each event
//! event       kind, confidence, boot; then
//!               of a garment: tag, at, zone, visit (in booths), margin, unrest, reads, dwell
//!               retracted: at, own number - the retracted number (number)
//!               coverage: reader, state, at, from
//!               scanned: as drawn in `scan`
//!
//! kind        tree of 3 bits, by the kind of the event before (7 for the first; scanned has its own); 7 and
//!             above are 7, and then kind - 7 (number)
//! confidence  tree of 8 bits, by kind. The *class* of all that follows is kind and confidence / 5 mod 8
//! boot        bit: that of the event before; else bit: one met, and its rank (number); else 64 plain bits
//! at          in ticks of 500 ms from the phase, rounded up, and the rest that was added. A tick plus the
//!             kind's lag (picked up 3, but 60 in class 5; put down 11; carried in or out 4; tried on 20;
//!             others 0) is when it was concluded; that minus the latest tick in which something was (0 at
//!             the start) is the difference.
//!             bit by class: it is negative; then number: -1 - difference, or difference by kind (picked
//!             up in class 5 has its own)
//!             bit by class: the rest is 0; else its 9 bits, tree of 3 and 6 plain
//!             The latest tick moves unless the difference is negative; in another boot always.
//! tag         those last seen in a kind that the event's kind follows are *ready*: put down before picked
//!             up; picked up or carried out before put down and carried in; carried in before tried on;
//!             carried in or tried on before carried out
//!             bit by kind and min(ready, 7), if any is: a ready one; else bit by kind, if there are
//!             others: one of them; rank among the ready (number by kind) or the others (number); else
//!             it is spelled out, as drawn in `tags`
//! zone        bit by class, if the tag was met: its last zone; else rank among the zones of the floor,
//!             or of the booths: bits by kind and min(n, 15), is it the n-th? After as many noes as there
//!             are zones it is spelled out, as drawn in `names`
//! visit       likely = that of the tag's last event, if it has one, else the last one in the zone.
//!             bit by kind and whether the tag was met, if there is a likely one: that; else bit by kind:
//!             own number; else own number - visit (number)
//! margin      bit by class: 0; else, if carried in, bit by class: confidence - 70, at least 0; else
//!             number by kind
//! unrest      bits by class: 0? 100? (confidence + 34 - 60, at least 0)·100/64, 100 if that is above 255?
//!             else tree of 8 bits
//! reads       number by kind
//! dwell       if the tag was met, sure = at (of picked up: when it was concluded) - when its state began
//!             (at of its last event, but tried on ends no state), at least 0, in whole tenths of a
//!             second, at most 65,535. bit by class: sure; else bit by kind: less, and sure - it
//!             (number), or it - sure (number by kind). If the tag was not met, number by kind
//! reader      bit by min(readers met, 7), if any: one met, and its place, the longest silent first
//!             (number); else it is spelled out
//! state       tree of 2 bits
//! at          of coverage: bit, if the reader was met: its last at + how long that stretch was; else as
//!             above
//! from        bit: the reader's last at, if it was met, else at - how long the last stretch in the batch
//!             was (60,000 ms at first); else at - from (number)
//! ```
//!
//! *Rank*: how many others were met since, 0 for the one met last. All differences wrap at 2^64. What is
//! decoded is bounded by [`MAX_EVENTS`], whatever the bytes claim.

mod coder;
mod coverage;
mod evidence;
mod model;
mod names;
mod place;
mod prior;
mod scan;
mod tags;
pub mod v1;
mod walk;
mod zones;

use alloc::vec::Vec;

use coder::{Decoder, Encoder, End, Scale};
use v1::ColumnError;
use walk::Walk;

use crate::event::Event;
use crate::id::Seq;

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
    /// The bytes end before the events do.
    #[error("the bytes end before the events do")]
    Short,
    /// A column of format 1 does not decode.
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

/// Packs events whose numbers follow one another from `first` on.
///
/// # Panics
/// When there are more than [`MAX_EVENTS`].
#[must_use]
pub fn pack(first: Seq, events: &[Event]) -> Vec<u8> {
    walk(Encoder::new(32 + 12 * events.len()), first, events).finish()
}

/// Unpacks `count` events, the first of which has the number `first`.
///
/// # Errors
/// When the bytes are not exactly that many events.
pub fn unpack(first: Seq, count: usize, bytes: &[u8]) -> Result<Vec<Event>, UnpackError> {
    if count > MAX_EVENTS {
        return Err(UnpackError::Count(count));
    }
    let mut walk = Walk::new(Decoder::new(bytes));
    let mut events = Vec::with_capacity(count);
    if count > 0 {
        walk.start(&[]);
    }
    for at in 0..count as u64 {
        events.push(walk.event(first.0.wrapping_add(at), None)?);
    }
    walk.model.coder.finish().map_err(|end| match end {
        End::Short => UnpackError::Short,
        End::Rest(bytes) => UnpackError::Rest(bytes),
    })?;
    Ok(events)
}

/// Where the bits go: each column of the packed events, in the order of first use, and its bits.
///
/// # Panics
/// When there are more than [`MAX_EVENTS`].
#[must_use]
pub fn sizes(first: Seq, events: &[Event]) -> Vec<(&'static str, f64)> {
    let columns = walk(Scale::default(), first, events).finish();
    columns.into_iter().map(|(column, parts)| (column, parts as f64 / coder::BIT as f64)).collect()
}

fn walk<C: coder::Coder>(coder: C, first: Seq, events: &[Event]) -> C {
    assert!(events.len() <= MAX_EVENTS, "at most {MAX_EVENTS} events are packed together");
    let mut walk = Walk::new(coder);
    if !events.is_empty() {
        walk.start(events);
    }
    for (event, seq) in events.iter().zip(first.0..) {
        let same = walk.event(seq, Some(event)).expect("what exists can be written");
        debug_assert_eq!(&same, event);
    }
    walk.model.coder
}

//! The words in which the uplink is told what happened, and in which it answers.

use alloc::string::String;
use alloc::vec::Vec;

use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::range::{SeqRange, SeqSet};

/// How the uplink is set up.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How much of the window the backlog may take, in percent.
    pub backlog_percent: u8,
    /// Payload bytes per second, if they are limited. Live events do not wait, but count.
    pub bytes_per_s: Option<u64>,
    /// Whose word settles.
    pub settled_by: SettledBy,
}

/// Whose word settles an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettledBy {
    /// Central's watermark.
    Central,
    /// The broker's PUBACK: whoever reads is not our central, and may miss events.
    Broker,
}

/// What a connection allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Batches that the broker takes at the same time.
    pub window: usize,
    /// The largest batch that it takes, in bytes.
    pub batch_bytes: usize,
}

/// Why a connection ended, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// What was on its way may have caused it.
    Unexplained,
    /// It had another cause.
    Explained,
}

/// What the broker said to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It took it.
    Taken,
    /// It took it and gave it to nobody.
    Unheard,
    /// It does not want this message.
    Refused,
    /// It takes nothing at the moment, whatever is in it.
    Closed,
}

/// What a batch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Live events.
    Live,
    /// Events that waited or were sent before.
    Backlog,
    /// No events: it tells of lost ranges that nothing else would carry.
    Losses,
    /// No events: it shows whether the broker takes anything at all.
    Proof,
}

/// A batch to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send {
    /// The epoch.
    pub epoch: Epoch,
    /// The events; fewer may be sent, from the first on that is held. Empty for a batch without events,
    /// which still begins with the first number.
    pub range: SeqRange,
    /// What it is for.
    pub purpose: Purpose,
    /// The largest payload that the broker takes, in bytes.
    pub limit: usize,
    /// A payload that is larger failed before: it should be smaller, if it can be.
    pub advice: usize,
    /// Only lost numbers below this one are told.
    pub end: Seq,
}

impl Send {
    /// Whether the events were sent before or waited out an outage.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        self.purpose != Purpose::Live
    }
}

/// A batch that was handed to the connection.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The events in it.
    pub range: SeqRange,
    /// The size of the payload.
    pub bytes: usize,
    /// The CRC-32C of the payload.
    pub crc: u32,
    /// The lost ranges that it tells of.
    pub lost: Vec<SeqRange>,
}

/// What the spool is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// These numbers of an epoch are settled, and no others.
    Settle {
        /// The epoch.
        epoch: Epoch,
        /// The numbers.
        settled: SeqSet,
    },
    /// From this number of an epoch on central has other events.
    Fork {
        /// The epoch.
        epoch: Epoch,
        /// The number.
        from: Seq,
    },
    /// These events cannot be sent by any means.
    SetAside {
        /// The epoch.
        epoch: Epoch,
        /// The events.
        range: SeqRange,
        /// Why, for people.
        why: String,
    },
}

/// Why the uplink wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Live events have waited long enough.
    Age,
    /// Central has not settled what was sent, or the spool may hold what it did not.
    Patience,
    /// The rate allows the backlog to go on.
    Rate,
}

/// The number of a batch among those that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchId(pub(super) u64);

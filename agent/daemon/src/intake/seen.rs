//! What a reader's task tells inference and onlookers.

use hangtag_agent_core::intake::Motion;
use hangtag_agent_core::intake::node::Taken;
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Gtin;
use hangtag_protocol::event::ReaderState;
use hangtag_protocol::read::Read;

/// What a reader's task tells inference.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// A tag was read.
    Read { reader: usize, read: Read },
    /// A frame of a reader node was taken.
    Frame { reader: usize, taken: Taken },
    /// A sensor tag said how it moved.
    Motion { reader: usize, motion: Motion },
    /// A code was scanned.
    Scan { reader: usize, at: Uptime, scan: Scan },
    /// The reader does something else from now on.
    Reader { reader: usize, state: ReaderState, at: Uptime },
}

/// What a scanner read. The code of a shopper stays behind: nothing outside the scanner's task ever holds it
/// unsealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scan {
    Loyalty,
    Product(Gtin),
    Unknown,
}

//! What a reader's task tells inference and onlookers.

use hangtag_agent_core::intake::Motion;
use hangtag_agent_core::intake::node::Taken;
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::event::ReaderState;
use hangtag_protocol::read::Read;
use hangtag_protocol::scan::Code;

/// What a reader's task tells inference.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// A tag was read.
    Read { reader: usize, read: Read },
    /// A frame of a reader node was taken.
    Frame { reader: usize, taken: Taken },
    /// A sensor tag said how it moved.
    Motion { reader: usize, motion: Motion },
    /// A code was scanned; none when nobody may be told what it is. The code of a shopper is sealed: nothing
    /// outside the scanner's task ever holds it otherwise.
    Scan { reader: usize, at: Uptime, code: Option<Code> },
    /// The reader does something else from now on.
    Reader { reader: usize, state: ReaderState, at: Uptime },
}

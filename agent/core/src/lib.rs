//! What the agent decides. `hangtag-agent` does, under the same names.
//!
//! ```text
//! bytes ──▶ frame ──▶ read ──▶ event ──▶ entry ──▶ batch
//!           intake             infer     spool     uplink
//! ```
//!
//! Everything here is driven: `handle_*` takes what happened and the time at which it did, then every
//! `poll_*` is drained until it returns `None`. No module names a clock, a disk or a socket, so the
//! same input gives the same output, byte for byte.

#![no_std]

extern crate alloc;

pub mod backoff;
pub mod infer;
pub mod intake;
pub mod seal;
pub mod spool;
pub mod uplink;

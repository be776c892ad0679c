//! The commands at the door: the program is started as a technician starts it, on good and on bad input.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod check;
mod door;
mod spool;

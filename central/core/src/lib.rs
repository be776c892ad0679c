//! What central decides: pure, without a clock, a disk or a socket.
//!
//! | module | decides |
//! |---|---|
//! | [`admit`] | whether the content of a readable batch is possible at all |
//! | [`adopt`] | in which epoch of their own events go whose numbers another run has used |
//! | [`ledger`] | which numbers of an epoch are new, known, lost; what its watermark is |
//! | [`tally`] | what a day's events add up to, per product, zone and hour |
//! | [`loyalty`] | which number stands for a sealed loyalty code |
//! | [`matching`] | which try-ons led to a sale |
//! | [`measures`] | shares with their intervals, medians |
//! | [`sale`] | what lines of tills and counts of stock can be |
//! | [`size`] | which of two sizes is the smaller one |

#![no_std]

extern crate alloc;

pub mod admit;
pub mod adopt;
pub mod ledger;
pub mod loyalty;
pub mod matching;
pub mod measures;
pub mod sale;
pub mod size;
pub mod tally;

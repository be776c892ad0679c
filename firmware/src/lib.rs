//! What runs on a reader node, without the board: pure state machines with time as an argument.
//!
//! | module | does |
//! |---|---|
//! | [`occupancy`] | says whether somebody is in a fitting booth, from one digital pin |
//! | [`r200`] | makes an R200 module read, and finds the tags in its bytes |
//! | [`sampler`] | condenses reads of the same tag at the same antenna, for a line too slow for all |
//!
//! The crate is `no_std` and allocates nothing; it names no chip. A board's program owns the pins and
//! the clock, calls `handle_*` and passes on what comes back.

#![no_std]

pub mod occupancy;
pub mod r200;
pub mod sampler;

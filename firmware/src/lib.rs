//! What runs on a reader node, without the board: pure state machines with time as an argument.
//!
//! | module | does |
//! |---|---|
//! | [`occupancy`] | says whether somebody is in a fitting booth, from one digital pin |
//! | [`sampler`] | condenses reads of the same tag at the same antenna, for a line too slow for all |
//!
//! The crate is `no_std` and allocates nothing; it names no chip. A board's program owns the pins and
//! the clock, calls `handle_*` and passes on what comes back.

#![no_std]

pub mod occupancy;
pub mod sampler;

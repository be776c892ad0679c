//! What runs on a reader node, without the board: pure state machines with time as an argument.
//!
//! | module | does |
//! |---|---|
//! | [`accelerometer`] | makes a LIS2DH12 or LIS3DH measure, and dates what it says |
//! | [`config`] | how the node works, checked |
//! | [`i2c`] | an I²C bus that is never waited for for ever |
//! | [`keep`] | that configuration in a flash, over a loss of power |
//! | [`mod@line`] | a serial port that is never waited for |
//! | [`motion`] | says when a thing is picked up and put down, from its accelerations |
//! | [`node`] | the whole: module to gateway, and the gateway's word to the module |
//! | [`occupancy`] | says whether somebody is in a fitting booth, from one digital pin |
//! | [`past`] | what a run leaves to the next in RAM that outlives a reset, so that what was lost is counted |
//! | [`r200`] | makes an R200 module read, and finds the tags in its bytes |
//! | [`sampler`] | condenses reads of the same tag at the same antenna, for a line too slow for all |
//! | [`sensors`] | the accelerometer and the booth's pin, by the configuration |
//!
//! The crate is `no_std` and allocates nothing; it names no chip. A board's program owns the pins and
//! the clock, calls `handle_*` and passes on what comes back.

#![no_std]

pub mod accelerometer;
pub mod config;
pub mod i2c;
pub mod keep;
pub mod line;
pub mod motion;
pub mod node;
pub mod occupancy;
pub mod past;
pub mod r200;
pub mod sampler;
pub mod sensors;

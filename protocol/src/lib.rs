//! What Hangtag's parts say to one another, and nothing they do.
//!
//! | module | holds |
//! |---|---|
//! | [`id`] | names of tenant, store, gateway, reader, zone; epoch, sequence number, event id |
//! | [`clock`] | the two clocks, and the anchors that tie one to the other |
//! | [`epc`] | what a tag says of itself: SGTIN to GTIN and serial, everything else as raw hex |
//! | [`read`] | what one sensor saw, once |
//! | [`region`] | where readers are, and what they may transmit there |
//! | [`event`] | what the agent concluded |
//! | [`scan`] | what a barcode scanner read, sealed where it is a shopper's own |
//! | [`key`] | the public key of central, to which that is sealed |
//! | [`columns`] | events packed small: the body of a batch and the value of a spool entry |
//! | [`batch`] | one MQTT payload: the frozen header, then the packed events |
//! | [`mod@line`] | one event as one line of JSON, for people and scripts |
//! | [`lineage`] | which agent processes wrote an epoch, so that a copied spool is noticed |
//! | [`range`] | sets of sequence numbers |
//! | [`link`] | what a reader node and its gateway say to one another over a serial line |
//! | [`watermark`] | what central has settled, which is what the agent may delete |
//! | [`identity`] | who may speak to the broker, as certificates name them |
//! | [`enrol`] | what a gateway and central's enrolment door say to one another |
//! | [`status`] | what a gateway says of its own health |
//! | [`topic`] | MQTT topics, built and parsed |
//!
//! The crate is `no_std`. It names no clock, disk or socket, and knows none of its users.

#![no_std]

extern crate alloc;

pub mod batch;
pub mod clock;
pub mod columns;
pub mod enrol;
pub mod epc;
pub mod event;
pub mod id;
pub mod identity;
pub mod key;
pub mod line;
pub mod lineage;
pub mod link;
pub mod range;
pub mod read;
pub mod region;
pub mod scan;
pub mod status;
pub mod topic;
pub mod watermark;

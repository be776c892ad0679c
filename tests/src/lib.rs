//! A clothing shop on a desk, for tests and the demo. It depends on no program that it tests, so that
//! its reader emulators are a second opinion on the wire formats; only [`herd`] takes the agents' pauses from their core,
//! because these are what it measures.
//!
//! | module | holds |
//! |---|---|
//! | [`shop`] | the simulated shop: who does what with which garment, and what readers see of it |
//! | [`emulator`] | reader modules that speak their real protocols, on pseudo-terminals |
//! | [`capture`] | recordings of serial lines as text |
//! | [`uci`] | recordings of real tags worn by people, played as a reader |
//! | [`herd`] | thousands of agents whose broker goes away and comes back |
//! | [`score`] | concluded events against the truth |
//! | [`harness`] | the real programs, started and judged from outside |

pub mod capture;
pub mod emulator;
pub mod harness;
pub mod herd;
pub mod score;
pub mod shop;
pub mod uci;

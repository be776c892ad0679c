//! What a probe wants, and what it comes to.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::super::{Protocol, node};

/// What is to be done at the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Set the line to this speed, in baud, and forget what came in before.
    Speed(u32),
    /// Send these bytes.
    Send(Vec<u8>),
}

/// What a probe came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A reader is there.
    Found(Found),
    /// None that is known.
    Nothing {
        /// What was tried, and what came in, in words.
        why: String,
    },
}

/// Who is at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A reader that speaks this language.
    Reader(Protocol),
    /// A reader node of our own.
    Node,
}

impl Who {
    /// The speed of the line that such devices leave the factory with, in baud.
    #[must_use]
    pub fn factory_baud(self) -> u32 {
        match self {
            Self::Reader(protocol) => protocol.factory_baud(),
            Self::Node => node::FACTORY_BAUD,
        }
    }
}

/// As the configuration names it.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reader(Protocol::R200) => "r200",
            Self::Reader(Protocol::ThingMagic) => "thingmagic",
            Self::Reader(Protocol::Chafon) => "chafon",
            Self::Reader(Protocol::Ruuvi) => "ruuvi",
            Self::Reader(Protocol::Scanner) => "scanner",
            Self::Node => "node",
        })
    }
}

/// A reader that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is talked to as.
    pub who: Who,
    /// The speed of its line, in baud.
    pub baud: u32,
    /// What it says it is, with its firmware; scanners say nothing.
    pub module: Option<String>,
    /// It was speaking when it was found; a module of a reader was stopped.
    pub was_reading: bool,
}

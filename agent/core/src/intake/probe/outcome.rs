//! What a probe wants, and what it comes to.

use alloc::string::String;
use alloc::vec::Vec;

use super::super::Protocol;

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

/// A reader that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The language it speaks.
    pub protocol: Protocol,
    /// The speed of its line, in baud.
    pub baud: u32,
    /// What it says it is, with its firmware; scanners say nothing.
    pub module: Option<String>,
    /// It was reading when it was found, and was stopped.
    pub was_reading: bool,
}

//! Frames of an R200. Enters: bytes of the module, commands. Leaves: where a frame begins and ends, bytes of commands.
//!
//! ```text
//! BB type command length(2) parameters sum 7E     or the same between AA and DD
//!    00 command, 01 answer, 02 notice             sum = low byte of type … last parameter
//! ```
//!
//! The end byte may occur inside: only the length says where a frame ends.

use super::Command;

/// Between which bytes a module frames what it says, and what is said to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Framing {
    /// BB … 7E
    #[default]
    Usual,
    /// AA … DD
    Rare,
}

impl Framing {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Usual => Self::Rare,
            Self::Rare => Self::Usual,
        }
    }

    /// The framing whose frames begin with this byte.
    pub(super) fn of(head: u8) -> Option<Self> {
        [Self::Usual, Self::Rare].into_iter().find(|framing| framing.ends().0 == head)
    }

    pub(super) fn command(self, code: u8, parameters: &[u8]) -> Command {
        let (head, end) = self.ends();
        let length = u8::try_from(parameters.len()).expect("at most three");
        let mut command = Command::new();
        command.extend([head, COMMAND, code, 0, length]);
        command.extend(parameters.iter().copied());
        let sum = sum(&command[1..]);
        command.extend([sum, end]);
        command
    }

    fn ends(self) -> (u8, u8) {
        match self {
            Self::Usual => (0xBB, 0x7E),
            Self::Rare => (0xAA, 0xDD),
        }
    }
}

pub(super) enum Scan {
    /// The bytes are one good frame.
    Frame,
    /// They may become one.
    More,
    /// The first cannot begin one.
    Garbage,
}

pub(super) fn scan(bytes: &[u8]) -> Scan {
    let Some((head, rest)) = bytes.split_first() else { return Scan::More };
    let Some(framing) = Framing::of(*head) else { return Scan::Garbage };
    match rest {
        [] | [0..=NOTICE] | [0..=NOTICE, _] => return Scan::More,
        [0..=NOTICE, _, ..] => {}
        [..] => return Scan::Garbage,
    }
    let Some(&[high, low]) = bytes.get(3..5) else { return Scan::More };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_PARAMETERS {
        return Scan::Garbage;
    }
    match bytes.get(..length + AROUND) {
        None => Scan::More,
        Some([_, checked @ .., found, end]) if sum(checked) == *found && *end == framing.ends().1 => {
            Scan::Frame
        }
        Some(_) => Scan::Garbage,
    }
}

/// Type, command and parameters of a good frame.
pub(super) fn parts(frame: &[u8]) -> (u8, u8, &[u8]) {
    (frame[1], frame[2], &frame[5..frame.len() - 2])
}

pub(super) fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

pub(super) const COMMAND: u8 = 0;
pub(super) const NOTICE: u8 = 2;

/// All of a frame but its parameters.
const AROUND: usize = 7;
/// A tag with the longest EPC takes 67; longer parameters are garbage.
const MAX_PARAMETERS: usize = 96;
pub(super) const MAX_FRAME: usize = MAX_PARAMETERS + AROUND;

//! The phase of a tag's answer, as far as it compares. Enters: reads. Leaves: phases without half turns, and the turns
//! between them.

use hangtag_protocol::read::Read;

/// A phase without half turns, which readers may add: 256 stand for half a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Phase(u8);

impl Phase {
    fn new(ddeg: u16) -> Self {
        Self((u32::from(ddeg % 1_800) * 256 / 1_800) as u8)
    }

    pub(in super::super) fn since(self, other: Self) -> Turn {
        Turn(self.0.wrapping_sub(other.0).cast_signed())
    }

    pub(in super::super) fn turned(self, by: Turn) -> Self {
        Self(self.0.wrapping_add(by.0.cast_unsigned()))
    }
}

/// The shorter way from one phase to another, in 256ths of half a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn(i8);

impl Turn {
    /// How far it is, in radians: 0 to π/2.
    #[must_use]
    pub fn rad(self) -> f32 {
        f32::from(self.0.unsigned_abs()) * (core::f32::consts::PI / 256.0)
    }

    /// What is left of it when this other one was made.
    #[must_use]
    pub fn after(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }

    /// It, drawn towards another one by a quarter of the way.
    #[must_use]
    pub fn drawn_to(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.after(self).0 / 4))
    }
}

/// A number from 1 to 255 that differs between all channels of a region: they are at least 0.1 MHz apart, in a band
/// of less than 25.5 MHz.
fn code(khz: u32) -> u8 {
    (khz / 100 % 255) as u8 + 1
}

/// The phase of a read and its channel's number, if the reader tells both.
pub(in super::super) fn told(read: &Read) -> Option<(Phase, u8)> {
    Some((Phase::new(read.phase_ddeg?), code(read.channel_khz?)))
}

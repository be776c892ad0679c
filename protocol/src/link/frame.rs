//! Frames of the node link. Enters: bytes in any chunks; or a kind, numbers and a payload. Leaves: checked
//! frames; or bytes for the line. The layout is drawn in [`link`](super). It never says what a payload means.

use arrayvec::ArrayVec;
use crc::{CRC_32_ISCSI, Crc};
use serde::Serialize;
use serde::de::Deserialize;

use super::{VERSION, payload};

/// CRC-32C by a table of 1 KiB, which a microcontroller has room for.
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The most bytes of a payload. With header and CRC that is what one COBS group holds.
pub const MAX_PAYLOAD: usize = 240;
/// The most bytes that a frame takes on the line, with the 00 before and behind it.
pub const MAX_WIRE: usize = 257;

const HEADER: usize = 10;
const CRC_BYTES: usize = 4;
const MAX_FRAME: usize = HEADER + MAX_PAYLOAD + CRC_BYTES;
/// COBS takes one byte more, as long as it is one group.
const MAX_CODED: usize = MAX_FRAME + 1;

/// The bytes of a frame, ready for the line.
pub type Wire = ArrayVec<u8, MAX_WIRE>;

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A node introduces itself.
    Hello = 0x01,
    /// Tags that were read.
    Reads = 0x02,
    /// A sensor was moved.
    Motion = 0x03,
    /// A booth is taken or free.
    Occupancy = 0x04,
    /// How the node is.
    Health = 0x05,
    /// What the node had no room for.
    Dropped = 0x06,
    /// What the node did with a configuration.
    Configured = 0x07,
    /// What the node's clock shows.
    Clock = 0x08,
    /// How a run before this one ended.
    Ended = 0x09,
    /// How far the gateway has come.
    Ack = 0x81,
    /// How the node is to work.
    Configure = 0x83,
    /// A question.
    Query = 0x84,
}

impl Kind {
    /// The kind with this byte, if this version of the program knows it.
    #[must_use]
    pub fn of(byte: u8) -> Option<Self> {
        const ALL: [Kind; 12] = [
            Kind::Hello,
            Kind::Reads,
            Kind::Motion,
            Kind::Occupancy,
            Kind::Health,
            Kind::Dropped,
            Kind::Configured,
            Kind::Clock,
            Kind::Ended,
            Kind::Ack,
            Kind::Configure,
            Kind::Query,
        ];
        ALL.into_iter().find(|kind| kind.byte() == byte)
    }

    /// Its byte on the line.
    #[must_use]
    pub fn byte(self) -> u8 {
        self as u8
    }
}

/// A frame whose checksum is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The byte of its [`Kind`], or of one that this version does not know.
    pub kind: u8,
    /// The node's run; 0 in a frame to any.
    pub boot: u32,
    /// Its number in that run, from 1 on; 0 when it is not numbered.
    pub number: u32,
    /// At most [`MAX_PAYLOAD`] bytes.
    pub payload: &'a [u8],
}

/// Why bytes up to a 00 are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// There are more than a frame can have.
    #[error("more than {MAX_CODED} bytes without a 00")]
    Long,
    /// They are not COBS, or too few.
    #[error("{0} bytes are no COBS of a frame")]
    Cobs(usize),
    /// The checksum does not match.
    #[error("CRC-32C is {found:08x}, the frame says {expected:08x}")]
    Checksum {
        /// What the frame says.
        expected: u32,
        /// What its bytes give.
        found: u32,
    },
    /// A good frame of another layout.
    #[error("a frame of version {0} of the link; this program reads {VERSION}")]
    Version(u8),
}

impl<'a> Frame<'a> {
    /// The bytes for the line.
    ///
    /// # Panics
    /// When the payload has more than [`MAX_PAYLOAD`] bytes.
    #[must_use]
    pub fn encode(&self) -> Wire {
        assert!(self.payload.len() <= MAX_PAYLOAD, "a payload has at most {MAX_PAYLOAD} bytes");
        let mut frame = ArrayVec::<u8, MAX_FRAME>::new();
        let fits = "header, payload and CRC fit a frame";
        frame.extend([VERSION, self.kind]);
        frame.extend(self.boot.to_le_bytes());
        frame.extend(self.number.to_le_bytes());
        frame.try_extend_from_slice(self.payload).expect(fits);
        let crc = CRC.checksum(&frame).to_le_bytes();
        frame.try_extend_from_slice(&crc).expect(fits);
        let mut coded = [0; MAX_CODED];
        let length = cobs::try_encode(&frame, &mut coded).expect("254 bytes take 255 as COBS");
        let mut wire = Wire::new();
        wire.push(0);
        wire.try_extend_from_slice(&coded[..length]).expect("COBS fits the line");
        wire.push(0);
        wire
    }

    /// The bytes of a frame that says one thing.
    ///
    /// # Panics
    /// When that takes more than [`MAX_PAYLOAD`] bytes, which no message does.
    #[must_use]
    pub fn of<T: Serialize>(kind: Kind, boot: u32, number: u32, message: &T) -> Wire {
        let mut payload = [0; MAX_PAYLOAD];
        let payload = postcard::to_slice(message, &mut payload).expect("messages are short");
        Frame { kind: kind.byte(), boot, number, payload }.encode()
    }

    /// What the payload says, whichever version wrote it ([`payload`]).
    ///
    /// # Errors
    /// When it is no such message.
    pub fn message<T: Deserialize<'a>>(&self) -> Result<T, postcard::Error> {
        payload::read(self.payload)
    }

    /// Its messages, when there are several one behind the other, which have no more and no less fields than this
    /// version's; the first that cannot be read is the last.
    pub fn messages<T: Deserialize<'a>>(
        &self,
    ) -> impl Iterator<Item = Result<T, postcard::Error>> + use<'a, T> {
        let mut rest = self.payload;
        core::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let read = postcard::take_from_bytes(rest);
            rest = read.as_ref().map_or(&[], |(_, rest)| rest);
            Some(read.map(|(message, _)| message))
        })
    }

    /// Reads the bytes between two 00, which are changed.
    ///
    /// # Errors
    /// When they are no good frame of this version.
    pub fn decode(bytes: &'a mut [u8]) -> Result<Self, FrameError> {
        let coded = bytes.len();
        let length = cobs::decode_in_place(bytes).map_err(|_| FrameError::Cobs(coded))?;
        let frame = &bytes[..length];
        let Some((checked, crc)) = frame.split_last_chunk::<CRC_BYTES>() else {
            return Err(FrameError::Cobs(coded));
        };
        let Some((&[version, kind, b0, b1, b2, b3, n0, n1, n2, n3], payload)) =
            checked.split_first_chunk::<HEADER>()
        else {
            return Err(FrameError::Cobs(coded));
        };
        let (expected, found) = (u32::from_le_bytes(*crc), CRC.checksum(checked));
        if expected != found {
            return Err(FrameError::Checksum { expected, found });
        }
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let boot = u32::from_le_bytes([b0, b1, b2, b3]);
        Ok(Self { kind, boot, number: u32::from_le_bytes([n0, n1, n2, n3]), payload })
    }
}

/// Bytes in any chunks to frames. What it holds is overwritten when it is dropped: where a node is looked for, a scanner
/// may be, and its codes are nobody's business.
#[derive(Debug, Default)]
pub struct Deframer {
    pending: ArrayVec<u8, MAX_CODED>,
    /// Too many bytes came without a 00: what follows up to the next is garbage as well.
    overlong: bool,
    garbage: u64,
}

impl Deframer {
    /// Begins where a frame may begin.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes, and hands on every frame that they end, or why it is none.
    pub fn handle_bytes(&mut self, bytes: &[u8], mut take: impl FnMut(Result<Frame<'_>, FrameError>)) {
        for &byte in bytes {
            if byte != 0 {
                if self.overlong || self.pending.try_push(byte).is_err() {
                    self.garbage += 1 + self.pending.len() as u64;
                    self.pending.clear();
                    self.overlong = true;
                }
                continue;
            }
            let length = self.pending.len();
            if self.overlong {
                take(Err(FrameError::Long));
            } else if length > 0 {
                let frame = Frame::decode(&mut self.pending);
                if frame.is_err() {
                    self.garbage += length as u64;
                }
                take(frame);
            }
            self.pending.clear();
            self.overlong = false;
        }
    }

    /// Bytes that belonged to no good frame, so far.
    #[must_use]
    pub fn garbage(&self) -> u64 {
        self.garbage
    }

    fn wipe(&mut self) {
        self.pending.clear();
        while self.pending.try_push(0).is_ok() {}
        // Or the compiler may leave out what nobody reads.
        core::hint::black_box(&mut self.pending);
    }
}

impl Drop for Deframer {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_held_is_overwritten() {
        let mut ears = Deframer::new();
        ears.handle_bytes(b"4711-SECRET\r", |frame| panic!("{frame:?}"));
        ears.wipe();
        assert_eq!(ears.pending.as_slice(), [0; MAX_CODED]);
    }
}

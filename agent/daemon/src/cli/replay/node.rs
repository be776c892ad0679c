//! The line of a reader node, recorded. Enters: the chunks of the recording. Leaves: the frames that the agent took.
//!
//! The agent takes a node's frames in the order of their numbers, and leaves out what comes again. A recording begins
//! anywhere in a node's run, and may have been interrupted: numbers that it does not have, or not any more, are not
//! waited for.

use std::collections::BTreeMap;

use hangtag_agent_core::intake::node::{Link, Marks, Taken};
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::link::Deframer;

use crate::capture::Chunk;

/// The line was open before the first chunk came; what the agent asked a node then is answered in the recording.
const OPENED_MS: u64 = 5_000;

/// In which piece of a recording each number of each run comes last. A piece ends where a frame may end.
#[derive(Debug, Default)]
pub(super) struct Numbers(BTreeMap<u32, BTreeMap<u32, usize>>);

impl Numbers {
    /// Looks through the chunks of a node.
    pub(super) fn of(chunks: impl Iterator<Item = Chunk>) -> Self {
        let (mut numbers, mut ears, mut piece) = (Self::default(), Deframer::new(), 0);
        for chunk in chunks {
            for bytes in pieces(&chunk.bytes) {
                ears.handle_bytes(bytes, |frame| {
                    if let Ok(frame) = frame
                        && frame.number > 0
                    {
                        numbers.0.entry(frame.boot).or_default().insert(frame.number, piece);
                    }
                });
                piece += 1;
            }
        }
        numbers
    }

    /// The lowest number of a run, from one on, that comes in a piece or behind it.
    fn next(&self, boot: u32, from: u32, piece: usize) -> Option<u32> {
        let mut from = self.0.get(&boot)?.range(from..);
        from.find(|(_, last)| **last >= piece).map(|(number, _)| *number)
    }
}

/// The line of a node, as it is replayed.
pub(super) struct Recorded {
    link: Link,
    taken: Marks,
    numbers: Numbers,
    piece: usize,
}

impl Recorded {
    /// The beginning of a recording at a time.
    pub(super) fn new(numbers: Numbers, at: Uptime) -> Self {
        let link = Link::new(None, at - OPENED_MS);
        Self { link, taken: Marks::default(), numbers, piece: 0 }
    }

    /// Takes a chunk.
    pub(super) fn handle_bytes(&mut self, bytes: &[u8], at: Uptime) -> Vec<Taken> {
        let mut all = Vec::new();
        for bytes in pieces(bytes) {
            if let Some(mark) = self.link.mark()
                && let Some(next) = self.numbers.next(mark.boot, mark.below, self.piece)
            {
                self.link.handle_missing(mark.boot, next);
            }
            // Nothing becomes durable, and nobody is there to be told so.
            self.link.handle_bytes(bytes, &self.taken, &Marks::default(), at);
            while let Some(taken) = self.link.poll_taken() {
                self.taken.take(&taken);
                all.push(taken);
            }
            while self.link.poll_write().is_some() || self.link.poll_notice().is_some() {}
            self.piece += 1;
        }
        all
    }
}

fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use hangtag_protocol::epc::Epc;
    use hangtag_protocol::id::ReaderId;
    use hangtag_protocol::link::message::{BootReason, Clock, Condensed, Firmware, Hello, NodeId};
    use hangtag_protocol::link::{Frame, Kind};
    use hangtag_protocol::read::Read;

    use super::*;

    fn hello(boot: u32, oldest: u32, next: u32) -> Vec<u8> {
        let (node, firmware, reason) = (NodeId(3), Firmware::default(), BootReason::Power);
        let hello = Hello {
            node,
            firmware,
            reason,
            uptime: Uptime(500),
            versions: (1, 1),
            oldest,
            next,
            room: 1_000,
        };
        let clock = Clock { asked: Uptime(99_990), uptime: Uptime(490) };
        [Frame::of(Kind::Clock, boot, 0, &clock), Frame::of(Kind::Hello, boot, 0, &hello)].concat()
    }

    fn read(boot: u32, number: u32) -> Vec<u8> {
        let read = Condensed::single(&Read {
            at: Uptime(420 + u64::from(number)),
            epc: Epc::new(&[9; 12]).unwrap(),
            antenna: 1,
            rssi_cdbm: -5_000,
            phase_ddeg: None,
            channel_khz: None,
        });
        Frame::of(Kind::Reads, boot, number, &read).to_vec()
    }

    /// The numbers that are taken of a recording whose chunks are so long, with when their reads were.
    fn taken(recording: &[u8], chunk: usize) -> Vec<(u32, u64)> {
        let reader = ReaderId::new("node").unwrap();
        let chunks =
            recording.chunks(chunk).map(|bytes| Chunk { at: Uptime(100_000), reader, bytes: bytes.into() });
        let mut line = Recorded::new(Numbers::of(chunks.clone()), Uptime(100_000));
        let frames: Vec<Taken> = chunks.flat_map(|chunk| line.handle_bytes(&chunk.bytes, chunk.at)).collect();
        frames.iter().map(|taken| (taken.mark.below - 1, taken.reads[0].at.0)).collect()
    }

    #[test]
    fn frames_are_taken_as_the_agent_took_them() {
        let numbers =
            |boot: u32, numbers: &[u32]| numbers.iter().flat_map(|n| read(boot, *n)).collect::<Vec<u8>>();
        let recording = [
            // Of a run that had told 40 frames to an agent before; 43 was lost on the line, and sent again.
            hello(7, 30, 46),
            numbers(7, &[41, 42, 44, 45, 41, 43, 44, 45]),
            // 47 came before its turn, and again when the agent ran for a while without a recording.
            numbers(7, &[47, 46]),
            hello(7, 46, 62),
            numbers(7, &[60, 61, 60]),
            hello(8, 1, 3),
            numbers(8, &[1, 2, 1]),
        ]
        .concat();
        let whole = taken(&recording, recording.len());
        let order: Vec<u32> = whole.iter().map(|(number, _)| *number).collect();
        assert_eq!(order, [41, 42, 43, 44, 45, 46, 60, 61, 1, 2]);
        for (number, at) in &whole {
            assert!(at.abs_diff(99_925 + u64::from(*number)) <= 6, "{number} at {at}");
        }
        for chunk in [1, 7, 64] {
            assert_eq!(taken(&recording, chunk), whole, "in chunks of {chunk}");
        }
    }
}

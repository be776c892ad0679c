//! Recordings of serial lines. Enters: a shop's sightings, through the emulated modules. Leaves: text
//! that an agent replays. Host commands are not recorded: every module reads from the first line on.
//!
//! ```text
//! # comment; blank lines are skipped too
//! 1712 rail-a bb02220011c9340030…7e
//! ^    ^      ^ the bytes that arrived together, in hexadecimal
//! |    the reader's name
//! milliseconds, never falling
//! ```

use std::fmt;
use std::io::{self, Write};

use hangtag_protocol::id::ReaderId;

use crate::emulator::Module;
use crate::shop::layout::Protocol;
use crate::shop::{Shop, Sighting, Truth};

/// Bytes that arrived together. Shown as a line of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// From which reader.
    pub reader: ReaderId,
    /// The bytes, at least one.
    pub bytes: Vec<u8>,
}

/// Why a text is not a capture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct CaptureError {
    /// The file's name.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with the line.
    pub what: String,
}

/// How long a USB adapter collects bytes before it hands them over.
const LATENCY_MS: u64 = 16;
/// The most bytes that it hands over at once.
const PACKET: usize = 64;

impl fmt::Display for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.at_ms, self.reader, hex::encode(&self.bytes))
    }
}

/// Reads a capture. `file` is only for the error's text.
///
/// # Errors
/// At the first line that is neither a chunk nor a comment, or that is earlier than the one before.
pub fn read(file: &str, text: &str) -> Result<Vec<Chunk>, CaptureError> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let error = |what: String| CaptureError { file: file.into(), line: at + 1, what };
        let fields: Vec<&str> = line.split_whitespace().collect();
        let &[at_ms, reader, bytes] = fields.as_slice() else {
            return Err(error(format!("has {} fields, not time, reader and bytes", fields.len())));
        };
        let at_ms = at_ms.parse().map_err(|_| error(format!("time {at_ms:?} is no number")))?;
        let reader = ReaderId::new(reader).map_err(|why| error(format!("reader {reader:?} {why}")))?;
        let bytes = hex::decode(bytes).map_err(|why| error(format!("bytes: {why}")))?;
        if chunks.last().is_some_and(|last| last.at_ms > at_ms) {
            return Err(error(format!("time {at_ms} is earlier than the line before")));
        }
        chunks.push(Chunk { at_ms, reader, bytes });
    }
    Ok(chunks)
}

/// Lets a shop run until `until_ms` and writes what its readers send. Returns what people did, in the
/// order of time.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: &mut impl Write, shop: &mut Shop, until_ms: u64) -> io::Result<Vec<Truth>> {
    let mut wires: Vec<Wire> = shop.layout().readers.iter().map(|r| Wire::new(r.id, r.protocol)).collect();
    let mut truths = Vec::new();
    let mut now_ms = 0;
    while now_ms < until_ms {
        now_ms = (now_ms + LATENCY_MS).min(until_ms);
        for sighting in shop.run_to(now_ms) {
            wires[sighting.reader].take(&sighting);
        }
        for wire in &mut wires {
            wire.hand_over(out, now_ms)?;
        }
        truths.extend(shop.take_truth());
    }
    truths.sort_by_key(|truth| truth.at_ms);
    Ok(truths)
}

/// Writes what one reader sends that sees all of `sightings`, which are in the order of time.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_sightings(
    out: &mut impl Write,
    reader: ReaderId,
    protocol: Protocol,
    sightings: &[Sighting],
) -> io::Result<()> {
    let mut wire = Wire::new(reader, protocol);
    let mut rest = sightings;
    let end_ms = sightings.last().map_or(0, |s| s.at_ms + LATENCY_MS);
    for now_ms in (LATENCY_MS..=end_ms).step_by(usize::try_from(LATENCY_MS).expect("small")) {
        let due = rest.partition_point(|s| s.at_ms <= now_ms);
        for sighting in &rest[..due] {
            wire.take(sighting);
        }
        rest = &rest[due..];
        wire.hand_over(out, now_ms)?;
    }
    Ok(())
}

/// A module and the bytes that it sent since the adapter last handed some over.
struct Wire {
    reader: ReaderId,
    module: Module,
    pending: Vec<u8>,
}

impl Wire {
    fn new(reader: ReaderId, protocol: Protocol) -> Self {
        Self { reader, module: Module::reading(protocol), pending: Vec::new() }
    }

    fn take(&mut self, sighting: &Sighting) {
        self.pending.extend(self.module.handle_sighting(sighting));
    }

    fn hand_over(&mut self, out: &mut impl Write, now_ms: u64) -> io::Result<()> {
        self.pending.extend(self.module.handle_timeout(now_ms));
        if !self.module.is_reading() {
            // A host asks for more rounds before the last ones are over; its command is not recorded.
            self.module.start(now_ms);
        }
        for bytes in self.pending.chunks(PACKET) {
            writeln!(out, "{}", Chunk { at_ms: now_ms, reader: self.reader, bytes: bytes.to_vec() })?;
        }
        self.pending.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shop::{Difficulty, Pace, Settings};

    fn shop() -> Shop {
        Shop::new(Settings { seed: 1, pace: Pace::Demo, difficulty: Difficulty::Normal })
    }

    #[test]
    fn a_capture_holds_whole_frames_of_every_reader_in_the_order_of_time() {
        let mut text = Vec::new();
        let truths = write(&mut text, &mut shop(), 30_000).unwrap();
        assert!(!truths.is_empty() && truths.is_sorted_by_key(|truth| truth.at_ms));
        let chunks = read("capture", std::str::from_utf8(&text).unwrap()).unwrap();
        assert!(chunks.is_sorted_by_key(|chunk| chunk.at_ms));
        for reader in ["rail-a", "rail-b", "booths"] {
            let stream: Vec<u8> = chunks
                .iter()
                .filter(|chunk| chunk.reader.as_str() == reader)
                .flat_map(|chunk| chunk.bytes.clone())
                .collect();
            let (mut rest, mut frames) = (stream.as_slice(), 0);
            while let Some(head) = rest.first() {
                let length = if *head == 0xbb { usize::from(rest[4]) } else { usize::from(rest[1]) } + 7;
                assert_eq!(*head, if reader == "booths" { 0xff } else { 0xbb });
                rest = &rest[length..];
                frames += 1;
            }
            assert!(frames > 1_000, "{reader}: {frames} frames");
        }
    }

    #[test]
    fn a_module_that_runs_out_of_rounds_is_started_again() {
        let mut wire = Wire::new(ReaderId::new("rail-a").unwrap(), Protocol::R200);
        let mut text = Vec::new();
        let rounds_over_ms = 65_535 * 100;
        wire.hand_over(&mut text, rounds_over_ms).unwrap();
        assert!(wire.module.is_reading());
        text.clear();
        wire.hand_over(&mut text, rounds_over_ms + 100).unwrap();
        assert_eq!(text, b"6553600 rail-a bb01ff000115167e\n", "one round, not those before it");
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, error) in [
            ("# note\n\n1 rail-a", "c:3: has 2 fields, not time, reader and bytes"),
            ("x rail-a 00", "c:1: time \"x\" is no number"),
            ("1 rail-a 0", "c:1: bytes: Odd number of digits"),
            ("2 a 00\n1 a 00", "c:2: time 1 is earlier than the line before"),
        ] {
            assert_eq!(read("c", text).unwrap_err().to_string(), error);
        }
    }
}

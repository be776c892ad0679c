//! Recordings of what readers send. Enters: chunks of bytes as they came, or a file. Leaves: a file, or
//! the chunks again.
//!
//! ```text
//! # comment
//! 81234 rail-a bb02220011c934…      uptime in milliseconds, reader, bytes in hexadecimal
//! ```

use std::fs::{File, OpenOptions};
use std::io::{BufRead, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::id::ReaderId;
use tracing::warn;

/// A recording that is being made. Cheap to clone; all clones write one file.
#[derive(Clone)]
pub(crate) struct Capture {
    file: Arc<Mutex<(File, Uptime)>>,
    path: Arc<PathBuf>,
}

impl Capture {
    /// Begins a recording, or goes on with one of the same boot.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot open the capture file {}", path.display()))?;
        Ok(Self { file: Arc::new(Mutex::new((file, Uptime(0)))), path: Arc::new(path.to_owned()) })
    }

    /// Records a chunk. Lines are written whole, so that several readers can share the file.
    pub(crate) fn write(&self, at: Uptime, reader: ReaderId, bytes: &[u8]) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, last) = &mut *file;
        // Two readers' tasks may come here in another order than their bytes did.
        *last = at.max(*last);
        let line = format!("{} {reader} {}\n", last.0, hex::encode(bytes));
        if let Err(why) = file.write_all(line.as_bytes()) {
            warn!(path = %self.path.display(), %why, "cannot write the capture file");
        }
    }
}

/// A chunk of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) at: Uptime,
    pub(crate) reader: ReaderId,
    pub(crate) bytes: Vec<u8>,
}

/// Why a line of a recording is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaptureError {
    #[error("line {line}: {why}")]
    Line { line: usize, why: String },
    #[error("line {line}: {why}")]
    Read { line: usize, why: std::io::Error },
}

/// The chunks of a recording, with the lines they came from.
pub(crate) fn chunks(input: impl BufRead) -> impl Iterator<Item = Result<(usize, Chunk), CaptureError>> {
    input.lines().zip(1..).filter_map(|(text, line)| {
        let text = match text {
            Ok(text) => text,
            Err(why) => return Some(Err(CaptureError::Read { line, why })),
        };
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            return None;
        }
        Some(chunk(text).map(|chunk| (line, chunk)).map_err(|why| CaptureError::Line { line, why }))
    })
}

fn chunk(text: &str) -> Result<Chunk, String> {
    let mut fields = text.split_ascii_whitespace();
    let (Some(at), Some(reader), Some(bytes), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err("is not \"UPTIME READER BYTES\"".into());
    };
    Ok(Chunk {
        at: Uptime(at.parse().map_err(|_| format!("{at:?} is not an uptime in milliseconds"))?),
        reader: ReaderId::new(reader).map_err(|why| format!("reader {reader:?} {why}"))?,
        bytes: hex::decode(bytes).map_err(|why| format!("the bytes are not hexadecimal: {why}"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("capture.txt");
        let reader = ReaderId::new("rail-a").unwrap();
        let capture = Capture::open(&path).unwrap();
        capture.write(Uptime(5), reader, &[0xBB, 0x00]);
        capture.write(Uptime(9), reader, &[0x7E]);
        let text = std::fs::read(&path).unwrap();
        let read: Vec<Chunk> = chunks(text.as_slice()).map(|chunk| chunk.unwrap().1).collect();
        assert_eq!(read[0], Chunk { at: Uptime(5), reader, bytes: vec![0xBB, 0x00] });
        assert_eq!(read[1].at, Uptime(9));
    }

    #[test]
    fn a_broken_line_is_named() {
        for (text, named) in [
            ("# good\n\n5 rail-a bb0", "line 3: the bytes are not hexadecimal"),
            ("x rail-a bb", "line 1: \"x\" is not an uptime"),
            ("5 Rail bb", "line 1: reader \"Rail\" has 'R'"),
            ("5 rail-a", "line 1: is not \"UPTIME READER BYTES\""),
        ] {
            let why = chunks(text.as_bytes()).find_map(Result::err).unwrap().to_string();
            assert!(why.starts_with(named), "{why}");
        }
    }
}

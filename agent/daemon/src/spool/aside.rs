//! Events that cannot be sent by any means. Enters: their numbers, and why. Leaves: lines for people in
//! `set-aside.jsonl`; from then on they are lost. That file is bounded, and what finds no room is said.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::line::EventLine;
use hangtag_protocol::range::SeqRange;
use tracing::error;

use super::Spool;

/// The most that is kept of events that could not be sent, in bytes.
const SET_ASIDE: u64 = 1 << 20;

impl Spool {
    /// Writes events that cannot be sent down for people, and declares them lost.
    pub(super) fn set_aside(&mut self, epoch: Epoch, range: SeqRange, why: &str) {
        let mut lines = Vec::new();
        let mut rest = range;
        while !rest.is_empty() {
            let held = match self.read(epoch, rest) {
                Ok(held) if self.opened.is_some() => held,
                // They stay where they are, and are found not to be sendable once more.
                Ok(_) => {
                    return error!(%epoch, ?range, why, "events that cannot be sent are not set aside yet");
                }
                Err(failed) => {
                    error!(%epoch, ?range, why, %failed, "events that cannot be sent are not set aside yet");
                    return self.broken(&failed);
                }
            };
            let (Some(first), Some(last)) = (held.first, held.last()) else { break };
            for (seq, event) in (first.0..).map(Seq).zip(held.into_events()) {
                let line = EventLine::new(seq, &event);
                let line = serde_json::json!({ "epoch": epoch.to_string(), "why": why, "event": line });
                lines.push(line.to_string());
            }
            rest.first = last.plus(1);
        }
        error!(%epoch, ?range, why, file = %self.folder.set_aside().display(), "events cannot be sent: they are set aside and lost");
        match append_bounded(&self.folder.set_aside(), &lines) {
            Ok(0) => {}
            Ok(left_out) => {
                error!(%epoch, ?range, left_out, "the file of what is set aside is full: move it away");
            }
            Err(why) => error!(%epoch, ?range, %why, "cannot write down what is set aside"),
        }
        if let Some(opened) = &mut self.opened {
            opened.index.lose(epoch, range);
            self.tally.set_aside += range.len();
            self.tell();
        }
    }
}

/// Keeps lines for people in a file that does not grow beyond a mebibyte. Returns how many found no room there:
/// the last ones.
fn append_bounded(path: &Path, lines: &[String]) -> io::Result<usize> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let mut room = SET_ASIDE.saturating_sub(file.metadata()?.len());
    let mut text = String::new();
    let mut written = 0;
    for line in lines {
        let Some(left) = room.checked_sub(line.len() as u64 + 1) else { break };
        room = left;
        text.push_str(line);
        text.push('\n');
        written += 1;
    }
    file.write_all(text.as_bytes())?;
    Ok(lines.len() - written)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lines_that_find_no_room_are_counted() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("lines");
        let lines = vec!["x".repeat(99_999); 7];
        assert_eq!(append_bounded(&path, &lines).unwrap(), 0);
        assert_eq!(append_bounded(&path, &lines).unwrap(), 4);
        assert_eq!(append_bounded(&path, &["short".into()]).unwrap(), 0, "what fits is still taken");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!((text.lines().count(), text.lines().last()), (11, Some("short")));
    }
}

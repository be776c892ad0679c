//! A file that gets one line per accepted event, after the barrier: by it a test judges what was
//! accepted without asking the spool. Enters: events that are on stable storage. Leaves: lines of JSON,
//! each with its epoch.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hangtag_protocol::event::Event;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::line::EventLine;
use serde::Serialize;
use tracing::warn;

/// The file.
pub(super) struct AcceptedLog {
    file: File,
    path: PathBuf,
    next: Seq,
}

#[derive(Serialize)]
struct Line {
    epoch: Epoch,
    #[serde(flatten)]
    event: EventLine,
}

impl AcceptedLog {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot open the accepted log {}", path.display()))?;
        Ok(Self { file, path: path.to_owned(), next: Seq::FIRST })
    }

    pub(super) fn write<'a>(&mut self, epoch: Epoch, events: impl Iterator<Item = &'a (Seq, Event)>) {
        let mut lines = Vec::new();
        let next = self.next;
        for (seq, event) in events.filter(|(seq, _)| *seq >= next) {
            let line = Line { epoch, event: EventLine::new(*seq, event) };
            serde_json::to_writer(&mut lines, &line).expect("a line always encodes");
            lines.push(b'\n');
            self.next = seq.plus(1);
        }
        if let Err(why) = self.file.write_all(&lines) {
            warn!(path = %self.path.display(), %why, "cannot write the accepted log");
        }
    }
}

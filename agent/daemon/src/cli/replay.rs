//! `replay`: recorded bytes through the same decoders and the same inference as live ones. Enters: a
//! recording. Leaves: a line of JSON per event. The boot is 0 and numbers begin at 1, so that the same
//! recording and configuration give the same bytes.

use std::io::{Write as _, stdout};
use std::path::Path;

use anyhow::{Context as _, bail};
use hangtag_agent_core::infer::Inference;
use hangtag_agent_core::intake::Session;
use hangtag_protocol::clock::{BootId, Uptime};
use hangtag_protocol::event::ReaderState;
use hangtag_protocol::id::Seq;
use hangtag_protocol::line::EventLine;

use super::read_input;
use crate::capture::chunks;
use crate::config::Config;
use crate::infer::handle;
use crate::intake::Seen;

/// How long after the last bytes inference goes on, in milliseconds: long enough to see that what was
/// carried away stays away.
const AFTERWARDS_MS: u64 = 40_000;

pub(super) fn run(config: &Config, path: &Path) -> anyhow::Result<()> {
    let input = read_input(path)?;
    let mut sessions: Option<Vec<Session>> = None;
    let mut inference = Inference::new(config.layout.clone(), BootId(0), Seq::FIRST, Uptime(0));
    let mut last = Uptime(0);
    let mut out = std::io::BufWriter::new(stdout().lock());
    for chunk in chunks(input.as_slice()) {
        let (line, chunk) = chunk.with_context(|| path.display().to_string())?;
        let Some(reader) = config.readers.iter().position(|reader| reader.id == chunk.reader) else {
            bail!("{}: line {line}: the configuration has no reader \"{}\"", path.display(), chunk.reader);
        };
        if chunk.at < last {
            bail!("{}: line {line}: uptime {} is before {}", path.display(), chunk.at.0, last.0);
        }
        let sessions = sessions.get_or_insert_with(|| {
            // The recording begins with readers that read already.
            inference = Inference::new(config.layout.clone(), BootId(0), Seq::FIRST, chunk.at);
            (0..config.readers.len()).for_each(|reader| {
                inference.handle_reader(reader, ReaderState::Listening, chunk.at);
            });
            let sessions = config.readers.iter();
            sessions.map(|reader| Session::listening(reader.settings.protocol, chunk.at)).collect()
        });
        last = chunk.at;
        let session = &mut sessions[reader];
        session.handle_bytes(&chunk.bytes, chunk.at);
        while let Some(read) = session.poll_read() {
            handle(&mut inference, &Seen::Read { reader, read });
        }
        print(&mut inference, &mut out)?;
    }
    inference.handle_timeout(last + AFTERWARDS_MS);
    inference.handle_shutdown(last + AFTERWARDS_MS);
    print(&mut inference, &mut out)?;
    Ok(out.flush()?)
}

fn print(inference: &mut Inference, out: &mut impl std::io::Write) -> anyhow::Result<()> {
    while let Some((seq, event)) = inference.poll_event() {
        writeln!(out, "{}", serde_json::to_string(&EventLine::new(seq, &event))?)?;
    }
    Ok(())
}

//! `replay`: recorded bytes through the same decoders and the same inference as live ones. Enters: a
//! recording. Leaves: a line of JSON per event that also says when it was known, and batches if they are asked for. The boot is 0 and numbers begin at 1, so that the same
//! recording and configuration give the same bytes.

mod node;

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use hangtag_agent_core::infer::{Inference, Learned};
use hangtag_agent_core::intake::{Session, Settings};
use hangtag_protocol::batch::{Batch, FORMAT, Header};
use hangtag_protocol::clock::{BootId, Uptime};
use hangtag_protocol::event::{Event, ReaderState};
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::line::EventLine;
use hangtag_protocol::lineage::Lineage;

use super::out::out;
use super::read_input;
use crate::capture::chunks;
use crate::config::{Config, Reader, Setup};
use crate::infer::handle;
use crate::intake::Seen;
use node::{Numbers, Recorded};

pub(super) fn run(
    config: &Config,
    path: &Path,
    batches: Option<(&Path, u16)>,
    restart_every_s: Option<u64>,
) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(out());
    let mut events = Vec::new();
    conclude(config, path, restart_every_s, |seq, event, known| {
        let line = EventLine { known: Some(known), ..EventLine::new(seq, &event) };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
        events.push(event);
        Ok(())
    })?;
    out.flush()?;
    match batches {
        Some((folder, count)) => write_batches(config, folder, &events, count.into()),
        None => Ok(()),
    }
}

/// Concludes events from a recording, and hands each on with its number and when it was known: as if the agent had
/// been killed and started again every so many seconds, if that is asked for.
pub(super) fn conclude(
    config: &Config,
    path: &Path,
    restart_every_s: Option<u64>,
    mut take: impl FnMut(Seq, Event, Uptime) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let input = read_input(path)?;
    let mut all = Vec::new();
    for reader in &config.readers {
        match &reader.setup {
            Setup::Stated { settings, .. } => all.push(Some(settings)),
            Setup::Node { .. } => all.push(None),
            Setup::Auto(_) => bail!(
                "reader \"{}\": protocol = \"auto\": a recording does not tell which reader it was; name its \
                 protocol, as the status or \"hangtag-agent readers\" told it",
                reader.id
            ),
        }
    }
    // What is no recording is told when it is replayed.
    let recorded = || chunks(input.as_slice()).map_while(Result::ok).map(|(_, chunk)| chunk);
    let mut sessions: Option<Vec<Line>> = None;
    let mut inference = Inference::new(config.layout.clone(), BootId(0), Seq::FIRST, Uptime(0));
    let mut last = Uptime(0);
    let every_ms = restart_every_s.map(|s| s * 1_000);
    let mut life = Life { every_ms, next: Seq::FIRST, ..Life::default() };
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
            listen(&mut inference, config, chunk.at);
            life.since = chunk.at;
            let line = |(settings, reader): (&Option<&Settings>, &Reader)| match settings {
                Some(settings) => Line::Reader(Box::new(Session::listening(settings, chunk.at))),
                None => {
                    let of_it = recorded().filter(|chunk| chunk.reader == reader.id);
                    Line::Node(Box::new(Recorded::new(Numbers::of(of_it), chunk.at)))
                }
            };
            all.iter().zip(&config.readers).map(line).collect()
        });
        last = chunk.at;
        let session = match &mut sessions[reader] {
            Line::Reader(session) => session,
            Line::Node(node) => {
                life.pass(&mut inference, config, chunk.at);
                // Its reads come later than they were: time had passed without them.
                inference.handle_timeout(chunk.at);
                // What comes while the agent is away the node keeps.
                for taken in node.handle_bytes(&chunk.bytes, chunk.at) {
                    handle(&mut inference, &Seen::Frame { reader, taken });
                }
                life.tell(&mut inference, chunk.at, &mut take)?;
                continue;
            }
        };
        session.handle_bytes(&chunk.bytes, chunk.at);
        life.pass(&mut inference, config, chunk.at);
        while let Some(read) = session.poll_read() {
            if life.deaf_until.is_none() {
                handle(&mut inference, &Seen::Read { reader, read });
            }
        }
        while let Some(motion) = session.poll_motion() {
            handle(&mut inference, &Seen::Motion { reader, motion });
        }
        life.tell(&mut inference, chunk.at, &mut take)?;
    }
    // Nothing is concluded from the silence after the recording: nobody listened.
    inference.handle_shutdown(last);
    while let Some((seq, event)) = inference.poll_event() {
        take(seq, event, last)?;
    }
    Ok(())
}

fn listen(inference: &mut Inference, config: &Config, at: Uptime) {
    (0..config.readers.len()).for_each(|reader| {
        inference.handle_reader(reader, ReaderState::Listening, at);
    });
}

/// A line that was recorded.
enum Line {
    Reader(Box<Session>),
    Node(Box<Recorded>),
}

/// One life of the agent, between two restarts.
#[derive(Default)]
struct Life {
    every_ms: Option<u64>,
    since: Uptime,
    /// While the readers are being opened again.
    deaf_until: Option<Uptime>,
    next: Seq,
    /// What was durable with the last event.
    snapshot: Vec<u8>,
}

impl Life {
    /// Hands on what was concluded.
    fn tell(
        &mut self,
        inference: &mut Inference,
        now: Uptime,
        mut take: impl FnMut(Seq, Event, Uptime) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        while let Some((seq, event)) = inference.poll_event() {
            self.next = seq.plus(1);
            take(seq, event, now)?;
            self.snapshot = inference.snapshot();
        }
        Ok(())
    }

    /// Ends it where it is time, and begins the next with what a real agent would find on its disk.
    fn pass(&mut self, inference: &mut Inference, config: &Config, now: Uptime) {
        if self.every_ms.is_some_and(|every_ms| now.since(self.since) >= every_ms) {
            let mut writing = inference.begin_learned("");
            while !inference.write_learned(&mut writing, usize::MAX, now) {}
            let learned = Learned::read(&writing.finish()).expect("just written");
            *inference = Inference::new(config.layout.clone(), BootId(0), self.next, now);
            inference.remember(&learned);
            if !self.snapshot.is_empty() {
                inference.restore(&self.snapshot, now).expect("just taken");
            }
            (self.since, self.deaf_until) = (now, Some(now + OPENING_MS));
        }
        if self.deaf_until.is_some_and(|until| now >= until) {
            listen(inference, config, now);
            self.deaf_until = None;
        }
    }
}

/// How long readers take to be opened and started again, in milliseconds.
const OPENING_MS: u64 = 2_000;

/// Writes events as the payloads that would be published, named by their first number.
fn write_batches(config: &Config, folder: &Path, events: &[Event], count: usize) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for (events, first) in events.chunks(count).zip((1..).step_by(count)) {
        let header = Header {
            format: FORMAT,
            replayed: true,
            gateway: config.gateway,
            epoch: Epoch(0),
            first: Seq(first),
            count: u32::try_from(events.len()).expect("at most 4,096"),
        };
        let (lost, anchors, events) = (Vec::new(), Vec::new(), events.to_vec());
        let batch =
            Batch { header, oldest_held: Seq::FIRST, lost, anchors, lineage: Lineage::default(), events };
        let path = folder.join(format!("{first:08}.batch"));
        std::fs::write(&path, batch.encode()?).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

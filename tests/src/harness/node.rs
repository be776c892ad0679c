//! A gateway one of whose readers is a reader node. Enters: folders, and the reader that becomes a node. Leaves: the
//! gateway, what it has durable of the node's run, and what it took of each. Unless a test says so it has no broker: what
//! is accepted stays.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hangtag_protocol::epc::Epc;
use hangtag_protocol::link::message::{BootReason, Condensed, Dropped, Ended};
use hangtag_protocol::link::{Deframer, Frame, Kind};

use super::free_port;
use super::gateway::{Gateway, STOPS_WITHIN};
use super::process::wait_for;
use super::site::Site;
use crate::capture;

/// How long an agent may take to start and to hear a node, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Makes the gateway, with its data in a folder of its own. The first reader that speaks `instead_of` becomes the
/// node.
///
/// # Errors
/// When files cannot be written, or no reader speaks that.
pub fn gateway(folder: &Path, data: &Path, instead_of: &str) -> anyhow::Result<Gateway> {
    let nowhere = free_port()?;
    gateway_at(&Site::for_test(folder, nowhere)?, data, nowhere, instead_of)
}

/// The same at a site with a broker.
///
/// # Errors
/// When files cannot be written, or no reader speaks that.
pub fn gateway_at(site: &Site, data: &Path, broker_port: u16, instead_of: &str) -> anyhow::Result<Gateway> {
    let gateway = Gateway::create(site, "agent", data, broker_port, "")?;
    let file = site.folder.join("agent.toml");
    let text = std::fs::read_to_string(&file)?;
    let with_node = text.replacen(&format!("protocol = \"{instead_of}\""), "protocol = \"node\"", 1);
    ensure!(with_node != text, "no reader speaks {instead_of}:\n{text}");
    std::fs::write(file, with_node)?;
    Ok(gateway)
}

/// What the gateway has durable of the node's run: reads, and reads that the node says it dropped. Another agent
/// on the same data says it to who asks.
///
/// # Errors
/// When that agent fails, or the node does not greet it.
pub fn durable(gateway: &Gateway) -> anyhow::Result<(u64, u64)> {
    let before = std::fs::read_to_string(gateway.log()).unwrap_or_default().len();
    let mut agent = gateway.start()?;
    let found = wait_for("the agent to greet the node", PATIENCE, || {
        agent.check()?;
        let text = std::fs::read_to_string(gateway.log())?;
        let said = text[before..].split_once("; had ").map(|(_, said)| said.to_owned());
        Ok(said.filter(|said| said.contains('\n')))
    })?;
    agent.stop(STOPS_WITHIN)?;
    let mut numbers = found.split(' ').filter_map(|word| word.parse::<u64>().ok());
    Ok((numbers.next().context("no reads")?, numbers.next().context("no dropped")?))
}

/// What a gateway took of one run of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The run.
    pub boot: u32,
    /// Reads of each tag.
    pub by_tag: BTreeMap<Epc, u64>,
    /// How many messages these reads were in.
    pub messages: u64,
    /// Reads that the node says it had no room for.
    pub dropped: u64,
    /// Frames that did not come although later ones did.
    pub missing: u32,
    /// What it says of how runs before it ended.
    pub ended: Vec<LastRun>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRun {
    /// The run.
    pub boot: u32,
    /// Why it ended.
    pub reason: BootReason,
    /// Reads that it had taken in.
    pub reads: u64,
    /// Runs of which nothing is known.
    pub forgotten: u32,
    /// Its last words.
    pub words: String,
}

impl Taken {
    /// All reads.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.by_tag.values().sum()
    }
}

/// What a gateway took of each run of the node at a reader, by what it recorded of that line; each frame once, in the
/// order of the runs.
///
/// # Errors
/// When the recording cannot be read, or a frame came twice with another content.
pub fn captured(recording: &Path, reader: &str) -> anyhow::Result<Vec<Taken>> {
    let text = std::fs::read_to_string(recording)?;
    // An agent that was killed leaves half a line at most.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut order: Vec<u32> = Vec::new();
    let mut frames: BTreeMap<(u32, u32), (u8, Vec<u8>)> = BTreeMap::new();
    let (mut ears, mut changed) = (Deframer::new(), 0);
    for chunk in capture::read("recording", whole)?.iter().filter(|chunk| chunk.reader.to_string() == reader)
    {
        ears.handle_bytes(&chunk.bytes, |frame| {
            let Some(frame) = frame.ok().filter(|frame| frame.number > 0) else { return };
            if !order.contains(&frame.boot) {
                order.push(frame.boot);
            }
            let content = (frame.kind, frame.payload.to_vec());
            let place = frames.entry((frame.boot, frame.number)).or_insert_with(|| content.clone());
            changed += u32::from(*place != content);
        });
    }
    ensure!(changed == 0, "{changed} frames came again with another content");
    let runs = order.into_iter().map(|boot| taken(boot, &frames));
    Ok(runs.collect())
}

fn taken(boot: u32, frames: &BTreeMap<(u32, u32), (u8, Vec<u8>)>) -> Taken {
    let mut run = Taken { boot, ..Taken::default() };
    let mut next = 1;
    for ((_, number), (kind, payload)) in frames.range((boot, 0)..=(boot, u32::MAX)) {
        run.missing += number - next;
        next = number + 1;
        let frame = Frame { kind: *kind, boot, number: *number, payload };
        match Kind::of(*kind) {
            Some(Kind::Reads) => frame.messages::<Condensed>().flatten().for_each(|read| {
                run.messages += 1;
                *run.by_tag.entry(read.epc).or_default() += u64::from(read.count);
            }),
            Some(Kind::Dropped) => {
                run.dropped += frame.message::<Dropped>().map_or(0, |dropped| dropped.reads);
            }
            Some(Kind::Ended) => run.ended.extend(frame.message::<Ended<'_>>().map(|ended| LastRun {
                boot: ended.boot,
                reason: ended.reason,
                reads: ended.reads,
                forgotten: ended.forgotten,
                words: ended.words.to_owned(),
            })),
            _ => {}
        }
    }
    run
}

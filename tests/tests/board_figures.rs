//! What the firmware needs and does in an emulated microcontroller, in figures, up to the agent's events: run it with
//! `HANGTAG_LONG=1`, `--nocapture` and `--test-threads=1`. Judged is only what no busy machine changes: the stack, and
//! what is concluded.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use hangtag_protocol::epc::Epc;
use hangtag_tests::emulator::board::counts::Delay;
use hangtag_tests::emulator::board::{Load, refusal};
use hangtag_tests::harness::board::{Bench, PATIENCE, READER};
use hangtag_tests::harness::clock::uptime_ms;
use hangtag_tests::harness::{folder, long, node, skip, skip_long};
use serde_json::Value;
use tokio::time::Instant;

/// More reads than any test waits for.
const FOR_EVER: u64 = 1_000_000_000;
/// What must stay free of the stack, in bytes: what a call more may need one day.
const LEAST_FREE: u32 = 16_384;

#[test]
fn a_board_in_figures() -> anyhow::Result<()> {
    if !long() {
        return skip_long("figures for people");
    }
    if let Some(why) = refusal() {
        return skip(why);
    }
    let mut bench = Bench::start(FOR_EVER, Load::Rail(200))?;
    bench.wait_told(5_000)?;
    let [to_line, to_agent] = bench.board.counts().delays().context("nothing was taken")?;
    let span = bench.board.counts().span().context("nothing was taken")?;
    let (_, busy) = bench.wait_health("its health", |_, health| health.reads > 4_000)?;
    let taken = bench.taken_of_one()?;
    println!(
        "reads: {:.0} a second of 200 garments, as the module's line carries them",
        taken.reads() as f64 / span.as_secs_f64()
    );
    println!(
        "from the module's last byte: to the line {to_line:?}, to the agent's word that it has it {to_agent:?}"
    );
    println!("awake, of 1000: {:?}", busy.awake_pm);
    // Noise, and more than there is room for: what uses the stack is seen to have happened.
    bench.board.noise(&[0xbb; 300]);
    bench.board.unplug(true);
    let told = bench.told();
    bench.wait_told(told + 5_000)?;
    bench.board.unplug(false);
    bench.wait_health("reads that it had no room for", |_, health| health.dropped > 0)?;
    bench.board.hold(true);
    let (_, calm) = bench.wait_health("what it held to be gone", |_, health| health.waiting == 0)?;
    let (_, idle) = bench
        .wait_health("some seconds without a tag", |_, health| health.uptime.since(calm.uptime) > 5_000)?;
    println!("awake without tags, of 1000: {:?}", idle.awake_pm);
    let free = idle.stack_free.context("it does not say how deep its stack was")?;
    println!("stack: {free} bytes were never used");
    assert!(free >= LEAST_FREE, "{free}");
    assert!(busy.awake_pm.is_some() && idle.awake_pm.is_some(), "{busy:?} {idle:?}");
    bench.end()
}

/// How many garments are carried in, and how many may be before the agent takes them for such: what comes within 20 s
/// after a reader began to listen was there before.
const GARMENTS: u16 = 40;
const TOO_EARLY: u16 = 20;
/// A garment is in a booth that was read there, and nowhere else, in two ticks of inference: the event tells when
/// the first began.
const TICK: Duration = Duration::from_millis(500);
const EVIDENCE_MS: u64 = 1_000;
/// Garments come at so many phases of a tick alike.
const PHASES: u16 = 16;
/// How often the accepted log is looked at.
const LOOK: Duration = Duration::from_millis(5);

#[test]
fn from_a_garments_first_read_to_its_event_in_figures() -> anyhow::Result<()> {
    if !long() {
        return skip_long("figures for people");
    }
    if let Some(why) = refusal() {
        return skip(why);
    }
    let folder = folder()?;
    let gateway = node::gateway(folder.path(), &folder.path().join("agent-data"), "r200")?;
    let file = folder.path().join("agent.toml");
    let text = std::fs::read_to_string(&file)?;
    let (before, reader) = text.split_at(text.find(&format!("id = \"{READER}\"")).context("no reader")?);
    let in_booth = reader.replacen("zone = \"rail-1\"", "zone = \"booth-1\"", 1);
    std::fs::write(&file, before.to_owned() + &in_booth)?;
    let mut bench = Bench::with(folder, gateway, READER, FOR_EVER, Load::Booth(TOO_EARLY + GARMENTS))?;
    bench.wait_health("its module to read", |_, health| health.reader_listens)?;

    let mut log = Log::default();
    let mut shown = 0;
    while log.carried_in.is_empty() {
        ensure!(shown < TOO_EARLY, "nothing is carried in");
        bench.board.show(Some(shown));
        shown += 1;
        log.watch(&mut bench, 1, Duration::from_secs(4))?;
    }
    for garment in 0..GARMENTS {
        let known = log.carried_in.len();
        bench.board.show(None);
        log.watch(&mut bench, known + 1, TICK * u32::from(garment % PHASES) / u32::from(PHASES))?;
        bench.board.show(Some(shown + garment));
        ensure!(log.watch(&mut bench, known + 1, PATIENCE)?, "garment {garment} is not carried in");
    }
    let mut spans = [const { Vec::new() }; 4];
    for (epc, event) in &log.carried_in[1..] {
        let first = bench.board.counts().first(epc).context("it was never read")?;
        let agent = first.agent.context("the agent never had it")?;
        let parts = [
            event.kept - first.read,
            agent - first.read,
            event.concluded - agent,
            event.kept - event.concluded,
        ];
        spans.iter_mut().zip(parts).for_each(|(spans, part)| spans.push(part));
    }
    for (what, spans) in [
        "from the module's last byte of the first read to an event in the accepted log",
        "  of these to the agent's word that it has the read",
        "  from there until it was read in two ticks of 500 ms",
        "  from there until the event is on the disk and in the log",
    ]
    .iter()
    .zip(&spans)
    {
        println!("{what}: {:?} ({} garments)", Delay::of(spans).context("no garment")?, spans.len());
    }
    bench.end()
}

/// Events that say that a garment was carried in, as they come to the accepted log.
#[derive(Default)]
struct Log {
    read: usize,
    carried_in: Vec<(Epc, Concluded)>,
}

/// When an event was concluded, and when it was in the accepted log.
struct Concluded {
    concluded: Instant,
    kept: Instant,
}

impl Log {
    /// Looks until there are so many, but not for longer than this; says whether there are.
    fn watch(&mut self, bench: &mut Bench, count: usize, most: Duration) -> anyhow::Result<bool> {
        let begun = Instant::now();
        loop {
            bench.check()?;
            self.look(&std::fs::read_to_string(bench.gateway.accepted_log()).unwrap_or_default())?;
            if self.carried_in.len() >= count || begun.elapsed() >= most {
                return Ok(self.carried_in.len() >= count);
            }
            std::thread::sleep(LOOK);
        }
    }

    fn look(&mut self, text: &str) -> anyhow::Result<()> {
        let (kept, uptime_ms) = (Instant::now(), uptime_ms());
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[self.read..whole].lines() {
            let event: Value = serde_json::from_str(line)?;
            let (Some("carried_in"), Some(epc), Some(at)) =
                (event["kind"].as_str(), event["epc"].as_str(), event["at"].as_u64())
            else {
                continue;
            };
            let ago = Duration::from_millis(uptime_ms.saturating_sub(at + EVIDENCE_MS));
            self.carried_in.push((Epc::from_hex(epc)?, Concluded { concluded: kept - ago, kept }));
        }
        self.read = whole;
        Ok(())
    }
}

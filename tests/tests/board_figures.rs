//! What the firmware needs and does in an emulated microcontroller, in figures: run it with `HANGTAG_LONG=1` and
//! `--nocapture`. Its only
//! judgement is of the stack, which no busy machine makes deeper.

use anyhow::Context as _;
use hangtag_tests::emulator::board::{Load, refusal};
use hangtag_tests::harness::board::Bench;
use hangtag_tests::harness::{long, skip, skip_long};

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

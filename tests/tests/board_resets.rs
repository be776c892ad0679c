//! The firmware's image in an emulated microcontroller that is reset, and fails: what a run held and lost with its
//! memory is counted exactly, and what it was told to do is not forgotten.

use anyhow::Context as _;
use hangtag_protocol::id::ZoneId;
use hangtag_protocol::link::command::Configure;
use hangtag_protocol::link::message::{BootReason, Health, Outcome};
use hangtag_protocol::region::Region;
use hangtag_tests::emulator::board::{Load, refusal};
use hangtag_tests::harness::board::Bench;
use hangtag_tests::harness::skip;

/// More reads than any test waits for.
const FOR_EVER: u64 = 1_000_000_000;

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Reset,
    Fault,
    Panic,
    /// While reads come in.
    InStream,
}

#[test]
fn what_a_reset_loses_is_counted_exactly() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    let mut bench = Bench::start(FOR_EVER, Load::Carousel(60))?;
    bench.wait("an answer", |board| (!board.counts().configured().is_empty()).then_some(()))?;
    let (mut before, mut last, mut runs) = (0, 0, Vec::new());
    // Whether the gateway hears of it before the next.
    for (end, heard) in [
        (End::Reset, true),
        (End::Fault, true),
        (End::Panic, true),
        (End::Reset, false),
        (End::Fault, false),
        (End::Reset, true),
        (End::InStream, true),
    ] {
        let next = bench.told() + 300;
        bench.wait_told(next)?;
        // What comes from here on is in the node only.
        bench.board.mute(true);
        bench.wait_told(next + 200)?;
        bench.board.hold(end != End::InStream);
        let taken = if end == End::InStream {
            bench.wait_health("the run to say how it is", |boot, _| boot != last)?
        } else {
            bench.wait("its line to be empty", |board| board.counts().is_idle().then_some(()))?;
            let all = bench.told() - before;
            bench.wait_health(&format!("the run to take all {all}"), |boot, health| {
                boot != last && health.reads == all
            })?
        };
        last = taken.0;
        let words = match end {
            End::Fault => {
                bench.board.fail()?;
                "fault at deadbee".to_owned()
            }
            End::Panic => bench.board.panic()?,
            End::Reset | End::InStream => {
                bench.board.reset()?;
                String::new()
            }
        };
        runs.push((last, taken.1.reads, end, words));
        let (run, _) =
            bench.wait_health("another run to read", |boot, health| boot != last && health.reader_listens)?;
        before = bench.told();
        bench.board.hold(false);
        bench.board.mute(!heard);
        if heard {
            // It remembers three runs until what it says of them is durable.
            bench.wait("its first frames to be durable", |board| {
                let (of, below) = board.counts().durable();
                (of == run && below > 3).then_some(())
            })?;
        }
    }
    bench.board.hold(true);
    let mut before: Option<Health> = None;
    bench.wait_health("everything that was read to be durable", |boot, health| {
        // In this run some may have gone by before it read: it is all when no more come for a second.
        let same = before.filter(|before| before.reads == health.reads).unwrap_or(*health);
        before = Some(same);
        let still = health.uptime.since(same.uptime) >= 1_000;
        boot != last && still && health.waiting == 0
    })?;
    bench.end()?;
    let said = std::fs::read_to_string(bench.gateway.log())?;
    let taken = bench.taken()?;
    // A run that did not know that it was heard says it again.
    let mut told: Vec<_> = taken.iter().flat_map(|run| run.ended.clone()).collect();
    let mut known = std::collections::BTreeSet::new();
    told.retain(|ended| known.insert(ended.boot));
    assert_eq!(told.len(), runs.len(), "{told:?}");
    for ((boot, reads, end, words), ended) in runs.iter().zip(&told) {
        let came = taken.iter().find(|run| run.boot == *boot).map_or(0, |run| run.reads() + run.dropped);
        let lost = ended.reads - came;
        println!("{boot:08x}: {end:?} after {reads} reads; {ended:?}; {came} came, {lost} lost");
        assert_eq!((ended.boot, ended.forgotten), (*boot, 0));
        match end {
            End::Reset | End::Fault | End::Panic => assert_eq!(ended.reads, *reads),
            End::InStream => assert!(ended.reads >= *reads),
        }
        match end {
            End::Fault => {
                assert_eq!(ended.reason, BootReason::Panic);
                assert!(ended.words.starts_with(words), "{ended:?}");
            }
            End::Panic => assert_eq!((ended.reason, &ended.words), (BootReason::Panic, words)),
            End::Reset | End::InStream => {
                assert_eq!((ended.reason != BootReason::Panic, &*ended.words), (true, ""));
            }
        }
        let of = format!("its boot {boot:08x} ended");
        let line = said.lines().find(|line| line.contains(&of)).context(of)?;
        assert!(line.contains(&format!("of {} reads {lost} were lost", ended.reads)), "{line}");
        assert_eq!(line.contains("its last words"), !words.is_empty(), "{line}");
        assert!(line.contains(words), "{line}");
        assert!(lost > 0, "something was in the node only");
    }
    Ok(())
}

#[test]
fn a_configuration_is_kept_over_a_reset_of_node_and_module() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    let mut bench = Bench::start(FOR_EVER, Load::Carousel(40))?;
    bench.wait("an answer", |board| (!board.counts().configured().is_empty()).then_some(()))?;
    let agents = bench.board.counts().power_cdbm();
    let other = Configure {
        id: 77,
        zone: Some(ZoneId::new("rail-1")?),
        region: Region::Eu,
        power_cdbm: agents - 300,
        antennas: 1,
        window_ms: 500,
        motion_mg: 100,
        settle_ms: 300,
        occupied: None,
    };
    bench.board.configure(&other);
    bench.wait("the node's answer", |board| {
        let configured = board.counts().configured();
        configured.iter().any(|answer| answer.id == 77 && answer.outcome == Outcome::Taken).then_some(())
    })?;
    let (first, _) = bench.wait_health("the node's health", |_, _| true)?;
    // No gateway says again how it is to work.
    bench.board.mute(true);
    bench.board.renew_module();
    bench.board.reset()?;
    // What the module had told before may still be on its way, and is read.
    bench.wait_health("another run that reads", |boot, health| {
        boot != first && health.reader_listens && health.reads > 0
    })?;
    assert_eq!(bench.board.counts().power_cdbm(), agents - 300);
    Ok(())
}

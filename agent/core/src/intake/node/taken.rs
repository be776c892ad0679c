//! Numbered frames that are taken. Enters: one that is the next of its run. Leaves: the evidence in it, by the
//! gateway's times, and how far the run has come.

use alloc::format;
use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::link::message::{
    BoothState, Condensed, Configured, Dropped, Ended, Motion, Moved, Occupancy,
};
use hangtag_protocol::link::{Frame, Kind};
use hangtag_protocol::read::Read;

use super::clock::Dated;
use super::ended::farewell;
use super::single::expand;
use super::{DOUBT_MS, Link, Mark, Marks, refusal};
use crate::intake::Notice;

/// Reads older than this on arrival are no evidence, in milliseconds: as much as inference calls recent.
pub const LATE_MS: u64 = 5_000;
/// What may be off by more is no evidence, in milliseconds.
const OFF_MS: u64 = 1_000;

/// A numbered frame that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// How far its run has come with it.
    pub mark: Mark,
    /// The mark of an earlier run of the node, if it tells how that ended.
    pub before: Option<Mark>,
    /// How many reads it tells of.
    pub count: u64,
    /// Those that are evidence, as single ones.
    pub reads: Vec<Read>,
    /// Which of its sensors began to move, and when, unless that is too long ago.
    pub motions: Vec<(Uptime, u8)>,
    /// What it says of a booth, and since when, however late; since it came where that is not known.
    pub occupancy: Vec<(Uptime, BoothState)>,
    /// The node's room for what is not durable is half taken: it should become so soon.
    pub hurry: bool,
}

impl Link {
    /// Takes a frame that is the next of its run.
    pub(super) fn take(&mut self, frame: &Frame<'_>, marks: &mut Marks, now: Uptime) {
        self.heard = now;
        let Some(run) = &mut self.run else { return };
        let reads_before = run.mark.reads;
        let mut before = None;
        run.mark.below = frame.number + 1;
        let (mut reads, mut motions, mut occupancy) = (Vec::new(), Vec::new(), Vec::new());
        let mut doubt = false;
        let mut date = |theirs| {
            let dated = run.clock.date(theirs, now);
            doubt |= dated.is_none();
            dated
        };
        match Kind::of(frame.kind) {
            Some(Kind::Reads) => {
                for read in frame.messages::<Condensed>() {
                    let Ok(read) = read else {
                        self.unknown += 1;
                        continue;
                    };
                    run.mark.reads = run.mark.reads.saturating_add(read.count.into());
                    if let Some(last) = date(read.last).and_then(|dated| recent(dated, now)) {
                        expand(&read, last, &mut reads);
                    }
                }
            }
            Some(Kind::Dropped) => match frame.message::<Dropped>() {
                Ok(dropped) => {
                    run.mark.dropped = run.mark.dropped.saturating_add(dropped.reads);
                    let Dropped { reads, others, first, last } = dropped;
                    let seconds = last.since(first) / 1_000;
                    let lost = format!(
                        "it had no room for {reads} reads and {others} other messages in {seconds} s"
                    );
                    self.notices.push_back(Notice::Happened(lost));
                }
                Err(_) => self.unknown += 1,
            },
            Some(Kind::Configured) => match frame.message::<Configured>() {
                Ok(configured) if self.configure.is_some_and(|told| told.id == configured.id) => {
                    self.configure_at = None;
                    run.configured = Some(configured.outcome);
                    match refusal(configured.outcome) {
                        Some(why) => self.notices.push_back(Notice::Fault(why.into())),
                        None if self.refused => self.notices.push_back(Notice::Recovered),
                        None => {}
                    }
                    self.refused = refusal(configured.outcome).is_some();
                }
                // The answer to an earlier one.
                Ok(_) => {}
                Err(_) => self.unknown += 1,
            },
            Some(Kind::Ended) => match frame.message::<Ended<'_>>() {
                Ok(ended) if ended.boot != run.mark.boot => {
                    let node = run.mark.node;
                    let nothing = Mark { node, boot: ended.boot, below: 1, reads: 0, dropped: 0 };
                    let (mark, lost) = marks.of(node, ended.boot).unwrap_or(nothing).ended(&ended);
                    before = Some(mark);
                    self.lost = self.lost.saturating_add(lost);
                    self.notices.extend(farewell(&ended, lost));
                }
                Ok(_) | Err(_) => self.unknown += 1,
            },
            Some(Kind::Occupancy) => match frame.message::<Occupancy>() {
                Ok(Occupancy { at, state }) => {
                    occupancy.push((date(at).map_or(now, |dated| dated.at), state));
                }
                Err(_) => self.unknown += 1,
            },
            Some(Kind::Motion) => match frame.message::<Motion>() {
                Ok(Motion { at, sensor, how, .. }) => {
                    if let Some(at) = date(at).and_then(|dated| recent(dated, now))
                        && how == Moved::PickedUp
                    {
                        motions.push((at, sensor));
                    }
                }
                Err(_) => self.unknown += 1,
            },
            Some(Kind::Hello | Kind::Health | Kind::Clock | Kind::Ack | Kind::Configure | Kind::Query)
            | None => self.unknown += 1,
        }
        // Two bytes are what the node keeps beside each payload.
        let bytes = 2 + u32::try_from(frame.payload.len()).expect("at most 240");
        run.taken_bytes = run.taken_bytes.saturating_add(bytes);
        // How a run ended is told again after every reset until it is durable.
        let hurry = run.taken_bytes >= run.room / 2 || before.is_some();
        if hurry {
            run.taken_bytes = 0;
        }
        if doubt {
            self.clock_at = self.clock_at.min(now + DOUBT_MS);
        }
        let count = run.mark.reads - reads_before;
        let taken = Taken { mark: run.mark, before, count, reads, motions, occupancy, hurry };
        marks.take(&taken);
        self.taken.push_back(taken);
    }
}

/// When something happened, if it is known well enough and not too long ago to be evidence.
fn recent(dated: Dated, now: Uptime) -> Option<Uptime> {
    let known = dated.off_ms.is_none_or(|off_ms| off_ms <= OFF_MS);
    (known && now.since(dated.at) <= LATE_MS).then_some(dated.at)
}

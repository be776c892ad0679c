//! Runs inference. Enters: what the readers' tasks tell. Leaves: events for the spool, together with what
//! must be remembered if the process dies. It decides nothing.
//!
//! A frame of a reader node is taken as one: the events that came of its reads, and the mark that it was taken,
//! are accepted in the same step. Where frames make no events, their marks are accepted after [`CHECKPOINT_MS`],
//! or when the node's room is half full; until then the node keeps them.

use std::time::Duration;

use hangtag_agent_core::infer::Inference;
use hangtag_agent_core::intake::node::{Marks, Taken};
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::link::message::BoothState;
use hangtag_service::Heart;
use tokio::sync::{broadcast, mpsc};
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::clock;
use crate::intake::Seen;
use crate::learned::Keeper;
use crate::spool::Accept;

/// A wait for the spool that is longer than this has lost reads, in milliseconds.
const STALL_MS: u64 = 5_000;
/// A frame of a reader node waits at most so long before the spool is told that it was taken, in milliseconds:
/// every such step writes to the disk.
const CHECKPOINT_MS: u64 = 10_000;

/// How far reader nodes have come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    marks: Marks,
    /// Since when there is something that the spool was not told.
    untold: Option<Uptime>,
    /// A node has not much room left.
    hurry: bool,
}

impl Progress {
    /// Begins with what is durable.
    pub(crate) fn new(marks: Marks) -> Self {
        Self { marks, untold: None, hurry: false }
    }

    fn take(&mut self, message: &Seen) {
        if let Seen::Frame { taken, .. } = message {
            self.marks.take(taken);
            self.untold = self.untold.or(Some(clock::uptime()));
            self.hurry |= taken.hurry;
        }
    }

    fn is_due(&self) -> bool {
        self.hurry || self.untold.is_some_and(|since| clock::uptime().since(since) >= CHECKPOINT_MS)
    }
}

/// Runs until all readers' tasks have ended; then tells the last coverage and ends.
pub(crate) async fn run(
    mut inference: Inference,
    mut progress: Progress,
    mut keeper: Option<Keeper>,
    mut seen: mpsc::Receiver<Seen>,
    accept: mpsc::Sender<Accept>,
    onlookers: broadcast::Sender<Seen>,
    mut heart: Heart,
) {
    loop {
        let now = clock::uptime();
        let due = keeper
            .as_ref()
            .map_or(inference.poll_timeout(), |keeper| inference.poll_timeout().min(keeper.due(now)));
        // All branches are cancel-safe: receiving from a channel, and timers. What came in is taken
        // before time is said to have passed without it. A heart that is due must not wait for silence.
        tokio::select! {
            biased;
            () = heart.beat() => continue,
            message = seen.recv() => match message {
                Some(message) => {
                    handle(&mut inference, &message);
                    progress.take(&message);
                    // Nobody may be watching.
                    let _ = onlookers.send(message);
                }
                None => break,
            },
            () = sleep(Duration::from_millis(due.since(now))) => inference.handle_timeout(clock::uptime()),
        }
        let before = clock::uptime();
        // A disk that fails holds inference up, and that is no fault of it.
        if !heart.while_waiting(pass_on(&mut inference, &mut progress, &accept)).await {
            return;
        }
        let after = clock::uptime();
        if let Some(keeper) = &mut keeper {
            keeper.step(&inference, after).await;
        }
        if after.since(before) > STALL_MS {
            // The disk held everything up; the kernel's buffers are small, and reads are missing.
            warn!(ms = after.since(before), "events could not be kept for a while: that time is no evidence");
            inference.handle_stall(before, after);
            take_late(&mut inference, &mut progress, &mut seen);
        }
    }
    inference.handle_shutdown(clock::uptime());
    progress.hurry = progress.untold.is_some();
    pass_on(&mut inference, &mut progress, &accept).await;
    // The spool ends meanwhile.
    drop(accept);
    if let Some(keeper) = keeper {
        keeper.finish(&inference, clock::uptime()).await;
    }
}

/// Takes what came in while nobody looked.
fn take_late(inference: &mut Inference, progress: &mut Progress, seen: &mut mpsc::Receiver<Seen>) {
    while let Ok(late) = seen.try_recv() {
        match late {
            // A scan is no evidence, and nobody makes it again. A sensor tag tells of its rail too, and counts.
            Seen::Reader { .. } | Seen::Scan { .. } | Seen::Motion { .. } => handle(inference, &late),
            // A node counts on it. Its reads are dated, and late enough to be no evidence; its sensors tell once.
            Seen::Frame { reader, ref taken } => {
                occupancy(inference, reader, &taken.occupancy);
                motions(inference, reader, taken);
                progress.take(&late);
            }
            Seen::Read { .. } => {}
        }
    }
}

/// Feeds one message; ticks that end before it are ended first, so that a replay concludes the same.
pub(crate) fn handle(inference: &mut Inference, message: &Seen) {
    match message {
        Seen::Read { reader, read } => {
            inference.handle_timeout(read.at);
            inference.handle_read(*reader, read);
        }
        Seen::Frame { reader, taken } => {
            let mut told = taken.occupancy.as_slice();
            for read in &taken.reads {
                let before = told.iter().take_while(|(at, _)| *at <= read.at).count();
                let (due, rest) = told.split_at(before);
                occupancy(inference, *reader, due);
                told = rest;
                inference.handle_timeout(read.at);
                inference.handle_read(*reader, read);
            }
            occupancy(inference, *reader, told);
            motions(inference, *reader, taken);
        }
        Seen::Reader { reader, state, at } => {
            inference.handle_timeout(*at);
            inference.handle_reader(*reader, *state, *at);
        }
        Seen::Scan { reader, at, code } => {
            inference.handle_timeout(*at);
            if let Some(code) = code {
                inference.handle_scan(*reader, code.clone(), *at);
            }
        }
        Seen::Motion { reader, motion } => {
            inference.handle_timeout(motion.at);
            inference.handle_motion(*reader, motion);
        }
    }
}

fn motions(inference: &mut Inference, reader: usize, taken: &Taken) {
    for (at, sensor) in &taken.motions {
        inference.handle_timeout(*at);
        inference.handle_node_motion(reader, *sensor, *at);
    }
}

fn occupancy(inference: &mut Inference, reader: usize, told: &[(Uptime, BoothState)]) {
    for (at, state) in told {
        inference.handle_timeout(*at);
        inference.handle_occupancy(reader, *state, *at);
    }
}

async fn pass_on(inference: &mut Inference, progress: &mut Progress, accept: &mpsc::Sender<Accept>) -> bool {
    let events: Vec<_> = std::iter::from_fn(|| inference.poll_event()).collect();
    if events.is_empty() && !progress.is_due() {
        return true;
    }
    for (seq, event) in &events {
        debug!(seq = seq.0, kind = event.kind().name(), confidence = event.confidence, "concluded");
    }
    (progress.untold, progress.hurry) = (None, false);
    accept.send(Accept { events, snapshot: progress.marks.with(inference.snapshot()) }).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hangtag_agent_core::infer::{Layout, SensorOn, Zone, ZoneKind};
    use hangtag_agent_core::intake::node::Mark;
    use hangtag_protocol::clock::BootId;
    use hangtag_protocol::epc::{Epc, Gtin};
    use hangtag_protocol::event::{Kind, ReaderState, What};
    use hangtag_protocol::id::{ReaderId, Seq, ZoneId};
    use hangtag_protocol::link::message::NodeId;
    use hangtag_protocol::read::Read;
    use hangtag_protocol::scan::Code;
    use hangtag_service::Life;

    fn frame(below: u32, hurry: bool) -> Seen {
        let mark = Mark { node: NodeId(1), boot: 2, below, reads: 0, dropped: 0 };
        Seen::Frame {
            reader: 0,
            taken: Taken {
                mark,
                before: None,
                count: 0,
                reads: Vec::new(),
                motions: Vec::new(),
                occupancy: Vec::new(),
                hurry,
            },
        }
    }

    #[tokio::test]
    async fn frames_without_events_are_told_when_their_node_needs_room_and_at_the_end() {
        let inference = Inference::new(Layout::default(), BootId(1), Seq::FIRST, clock::uptime());
        let (seen_in, seen) = mpsc::channel(8);
        let (accept_in, mut accept) = mpsc::channel(8);
        let task = tokio::spawn(run(
            inference,
            Progress::default(),
            None,
            seen,
            accept_in,
            broadcast::channel(8).0,
            Life::begin().heart("inference"),
        ));
        let below = |accept: Accept| {
            assert!(accept.events.is_empty());
            Marks::split(&accept.snapshot).unwrap().0.all()[0].below
        };
        for (number, hurry) in [(2, false), (3, true), (4, false)] {
            seen_in.send(frame(number, hurry)).await.unwrap();
        }
        assert_eq!(below(accept.recv().await.unwrap()), 3, "the first alone is not worth a write");
        drop(seen_in);
        assert_eq!(below(accept.recv().await.unwrap()), 4);
        task.await.unwrap();
        assert!(accept.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_disk_that_stalls_costs_no_scan() {
        let zone = Zone { id: ZoneId::new("booth-1").unwrap(), kind: ZoneKind::Booth };
        let mut layout = Layout::new(vec![zone]);
        layout.add_scanner(ReaderId::new("scan").unwrap(), zone.id).unwrap();
        let mut inference = Inference::new(layout, BootId(1), Seq::FIRST, Uptime(0));
        let mut progress = Progress::default();
        let (seen_in, mut seen) = mpsc::channel(8);
        let code = Code::Product(Gtin::new("96385074").unwrap());
        for (at, code) in [(100, Some(code.clone())), (200, None)] {
            seen_in.send(Seen::Scan { reader: 0, at: Uptime(at), code }).await.unwrap();
        }
        seen_in.send(frame(2, false)).await.unwrap();
        inference.handle_stall(Uptime(50), Uptime(9_000));
        take_late(&mut inference, &mut progress, &mut seen);
        let (seq, event) = inference.poll_event().unwrap();
        let What::Scanned(scan) = &event.what else { panic!("{event:?}") };
        assert_eq!((seq, event.at, &scan.code), (Seq::FIRST, Uptime(100), &code));
        assert_eq!((inference.poll_event(), progress.untold.is_some()), (None, true));
    }

    #[test]
    fn what_moved_while_the_disk_stalled_is_told_once_and_when_it_was() {
        let (reader, epc) = (ReaderId::new("rail-a").unwrap(), Epc::new(&[7; 12]).unwrap());
        let zone = Zone { id: ZoneId::new("rail-a").unwrap(), kind: ZoneKind::Rail };
        let mut layout = Layout::new(vec![zone]);
        let number = layout.add_reader(reader, &[(1, zone.id)]).unwrap();
        layout.add_node_sensor(number, 4, SensorOn::Garment(epc)).unwrap();
        let mut inference = Inference::new(layout, BootId(1), Seq::FIRST, Uptime(0));
        inference.handle_reader(number, ReaderState::Listening, Uptime(0));
        let read = |at| {
            let (phase_ddeg, channel_khz) = (None, None);
            Read { at, epc, antenna: 1, rssi_cdbm: -5_500, phase_ddeg, channel_khz }
        };
        for at in (0..30_000).step_by(200).map(Uptime) {
            handle(&mut inference, &Seen::Read { reader: number, read: read(at) });
        }
        while inference.poll_event().is_some() {}
        let (seen_in, mut seen) = mpsc::channel(8);
        let Seen::Frame { mut taken, .. } = frame(2, false) else { unreachable!() };
        (taken.motions, taken.reads) = (vec![(Uptime(32_000), 4)], vec![read(Uptime(32_000))]);
        seen_in.try_send(Seen::Frame { reader: number, taken }).unwrap();
        seen_in.try_send(frame(3, false)).unwrap();
        let mut progress = Progress::default();
        inference.handle_stall(Uptime(30_000), Uptime(39_000));
        take_late(&mut inference, &mut progress, &mut seen);
        inference.handle_timeout(Uptime(41_000));
        let events: Vec<_> = std::iter::from_fn(|| inference.poll_event()).collect();
        let garments =
            events.iter().filter_map(|(_, event)| Some((event.kind(), event.at, event.garment()?.0)));
        assert_eq!(garments.collect::<Vec<_>>(), [(Kind::PickedUp, Uptime(32_000), epc)]);
        assert_eq!(progress.marks.all()[0].below, 3, "and its node may forget it");
    }

    #[test]
    fn the_time_before_a_booths_word_is_over_when_it_is_taken() {
        let mut inference = Inference::new(Layout::default(), BootId(1), Seq::FIRST, Uptime(0));
        let Seen::Frame { reader, mut taken } = frame(2, false) else { unreachable!() };
        taken.occupancy = vec![(Uptime(10_000), BoothState::Free), (Uptime(20_000), BoothState::Occupied)];
        handle(&mut inference, &Seen::Frame { reader, taken });
        assert!(inference.poll_timeout() > Uptime(20_000), "{:?}", inference.poll_timeout());
    }

    #[test]
    fn a_frame_waits_a_limited_time() {
        let mut progress = Progress::default();
        progress.take(&frame(2, false));
        assert!(!progress.is_due());
        progress.untold = Some(Uptime(0));
        assert_eq!(progress.is_due(), clock::uptime().0 >= CHECKPOINT_MS);
    }
}

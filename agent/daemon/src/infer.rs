//! Runs inference. Enters: what the readers' tasks tell. Leaves: events for the spool, together with what
//! must be remembered if the process dies. It decides nothing.

use std::time::Duration;

use hangtag_agent_core::infer::Inference;
use hangtag_agent_core::intake::Motion;
use tokio::sync::{broadcast, mpsc};
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::clock;
use crate::intake::Seen;
use crate::spool::Accept;

/// A wait for the spool that is longer than this has lost reads, in milliseconds.
const STALL_MS: u64 = 5_000;

/// Runs until all readers' tasks have ended; then tells the last coverage and ends.
pub(crate) async fn run(
    mut inference: Inference,
    mut seen: mpsc::Receiver<Seen>,
    accept: mpsc::Sender<Accept>,
    onlookers: broadcast::Sender<Seen>,
) {
    loop {
        let due = inference.poll_timeout().since(clock::uptime());
        // Both branches are cancel-safe: receiving from a channel, and a timer. What came in is taken
        // before time is said to have passed without it.
        tokio::select! {
            biased;
            message = seen.recv() => match message {
                Some(message) => {
                    handle(&mut inference, &message);
                    // Nobody may be watching.
                    let _ = onlookers.send(message);
                }
                None => break,
            },
            () = sleep(Duration::from_millis(due)) => inference.handle_timeout(clock::uptime()),
        }
        let before = clock::uptime();
        if !pass_on(&mut inference, &accept).await {
            return;
        }
        let after = clock::uptime();
        if after.since(before) > STALL_MS {
            // The disk held everything up; the kernel's buffers are small, and reads are missing.
            warn!(ms = after.since(before), "events could not be kept for a while: that time is no evidence");
            inference.handle_stall(before, after);
            while let Ok(late) = seen.try_recv() {
                if let Seen::Reader { .. } = late {
                    handle(&mut inference, &late);
                }
            }
        }
    }
    inference.handle_shutdown(clock::uptime());
    pass_on(&mut inference, &accept).await;
}

/// Feeds one message; ticks that end before it are ended first, so that a replay concludes the same.
pub(crate) fn handle(inference: &mut Inference, message: &Seen) {
    match message {
        Seen::Read { reader, read } => {
            inference.handle_timeout(read.at);
            inference.handle_read(*reader, read);
        }
        Seen::Reader { reader, state, at } => {
            inference.handle_timeout(*at);
            inference.handle_reader(*reader, *state, *at);
        }
        // No rule weighs what sensor tags and scanners say; onlookers are told.
        Seen::Motion { motion: Motion { at, .. }, .. } | Seen::Scan { at, .. } => {
            inference.handle_timeout(*at);
        }
    }
}

async fn pass_on(inference: &mut Inference, accept: &mpsc::Sender<Accept>) -> bool {
    let events: Vec<_> = std::iter::from_fn(|| inference.poll_event()).collect();
    if events.is_empty() {
        return true;
    }
    for (seq, event) in &events {
        debug!(seq = seq.0, kind = event.kind().name(), confidence = event.confidence, "concluded");
    }
    accept.send(Accept { events, snapshot: inference.snapshot() }).await.is_ok()
}

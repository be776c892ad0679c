//! The one thread that writes. Enters: messages from a bounded channel. Leaves: which of them are on
//! stable storage, and the watermarks to publish. It never drops a message: when the disk fails it
//! tries the same group again until it succeeds or the channel closes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hangtag_protocol::id::TenantId;
use hangtag_protocol::topic::Gateway;
use tokio::sync::{mpsc, watch};

use super::{Message, Store, StoreError};

/// The most messages in one transaction: one fsync for all of them.
const GROUP: usize = 64;
/// The first and the longest pause before a failed group is tried again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How often a pause looks whether the program stops.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Which message: a number that whoever sent it chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Delivery(pub u64);

/// What the thread is asked.
#[derive(Debug)]
pub(crate) enum Input {
    /// Store this.
    Store(Delivery, Message),
    /// Tell the watermark of every gateway.
    TellAll,
}

/// What the thread answers.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Messages that are on stable storage.
    pub stored: Vec<Delivery>,
    /// Watermarks, as JSON.
    pub marks: BTreeMap<Gateway, String>,
}

/// The thread's ends.
pub(crate) struct Writer {
    /// Opens the file.
    pub path: PathBuf,
    /// Whose gateways.
    pub tenant: TenantId,
    /// Questions.
    pub input: mpsc::Receiver<Input>,
    /// Answers.
    pub output: mpsc::Sender<Settled>,
    /// Is told of every commit.
    pub changed: watch::Sender<u64>,
}

impl Writer {
    /// Works until the input closes. Blocks: give it a thread.
    pub(crate) fn run(mut self, mut store: Store) {
        while let Some(first) = self.input.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP {
                let Ok(next) = self.input.try_recv() else { break };
                group.push(next);
            }
            let Some(settled) = self.settle(&mut store, group) else { return };
            if !settled.stored.is_empty() {
                self.changed.send_modify(|commits| *commits += 1);
            }
            if self.output.blocking_send(settled).is_err() {
                return;
            }
        }
    }

    /// `None` when the disk failed until the input closed: nothing of the group is stored.
    fn settle(&self, store: &mut Store, group: Vec<Input>) -> Option<Settled> {
        let mut deliveries = Vec::new();
        let mut messages = Vec::new();
        let mut tell_all = false;
        for input in group {
            match input {
                Input::Store(delivery, message) => {
                    deliveries.push(delivery);
                    messages.push(message);
                }
                Input::TellAll => tell_all = true,
            }
        }
        let mut pause = PAUSE.0;
        loop {
            match settle_once(store, &messages, tell_all) {
                Ok(marks) => return Some(Settled { stored: deliveries, marks }),
                Err(error) => {
                    let pause_ms = pause.as_millis();
                    tracing::error!(%error, messages = messages.len(), pause_ms, "cannot store, will try again");
                }
            }
            let again = Instant::now() + pause;
            while Instant::now() < again {
                if self.input.is_closed() {
                    return None;
                }
                std::thread::sleep(LOOK_EVERY);
            }
            pause = (pause * 2).min(PAUSE.1);
            match Store::open(&self.path, self.tenant) {
                Ok(opened) => *store = opened,
                Err(error) => tracing::error!(%error, "cannot open the database again"),
            }
        }
    }
}

fn settle_once(
    store: &mut Store,
    messages: &[Message],
    tell_all: bool,
) -> Result<BTreeMap<Gateway, String>, StoreError> {
    let mut owed = if messages.is_empty() { Default::default() } else { store.append(messages)? };
    if tell_all {
        owed.extend(store.gateways()?);
    }
    owed.into_iter()
        .map(|gateway| {
            let mark = store.watermark(&gateway)?;
            Ok((gateway, serde_json::to_string(&mark).expect("a watermark always encodes")))
        })
        .collect()
}

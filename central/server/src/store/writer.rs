//! The one thread that writes. Enters: messages and questions from a bounded channel. Leaves: which of them are on
//! stable storage, and the watermarks to publish; answers. What is live goes before what waited out an outage. It
//! never drops a message: when the disk fails it tries the same group again until it succeeds or the
//! channel closes. When a group fails for another reason, its messages go one by one, and the one that
//! fails alone is set aside, so that it does not hold up the others; when what is recorded of its gateway
//! cannot be read, without settling anything. While nothing comes, what was set aside before the program
//! started is tried again: a newer version may be able to read it; and loyalty codes are opened whose key is there at
//! last, again and again until that succeeds.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::topic::Gateway;
use hangtag_protocol::watermark::Watermark;
use jiff::Timestamp;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::error::Elapsed;
use tokio::time::timeout_at;

use super::sale::Taken;
use super::work::Work;
use super::{Address, Message, Options, Store, StoreError};
use crate::pos::Rows;

/// The most messages in one transaction: one fsync for all of them.
const GROUP: usize = 128;
/// The most messages that are sorted into live and backlog, and the most bytes: as much as one connection brings, so
/// that no backlog keeps a live message from being seen; and no more, so that a disk that fails through many connections
/// does not fill the memory.
const QUEUE: usize = 8_192;
const QUEUE_BYTES: usize = 16 << 20;
/// How often a message is tried that fails for another reason than the disk.
const TRIES: u32 = 3;
/// The first and the longest pause before a failed group is tried again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How many loyalty codes are opened in one transaction: an eighth of a second's work, while others wait.
const SEALED: u32 = 512;
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
    /// Store what a till told, and answer.
    Sales(Question),
    /// Tell the watermark of every gateway.
    TellAll,
    /// Look at the watermarks of these.
    Check(Vec<Gateway>),
    /// Say whether the thread goes on.
    Beat(oneshot::Sender<()>),
}

/// What a till told, when somebody waits for the answer.
#[derive(Debug)]
pub(crate) struct Question {
    /// What it told.
    pub rows: Rows,
    /// When.
    pub received: UnixMillis,
    /// Is told what became of it when it is on stable storage, or why it cannot be stored. Nobody who listens: it is
    /// not stored.
    pub answer: oneshot::Sender<Result<Taken, String>>,
}

/// What the thread answers.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Messages that are on stable storage.
    pub stored: Vec<Delivery>,
    /// Watermarks, as JSON.
    pub marks: BTreeMap<Gateway, String>,
    /// What a till told is, too.
    pub sales: bool,
    /// Those that were only looked at.
    pub checked: BTreeMap<Gateway, String>,
}

/// Since when nothing can be stored, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failing {
    /// Since when.
    pub since: Timestamp,
    /// Why, the last time.
    pub why: String,
}

/// The thread's ends.
pub(crate) struct Writer {
    /// Opens the database
    pub address: Address,
    /// with these.
    pub options: Options,
    /// Questions.
    pub input: mpsc::Receiver<Input>,
    /// Answers.
    pub output: mpsc::Sender<Settled>,
    /// Is told of every commit.
    pub changed: watch::Sender<u64>,
    /// Is told whether messages can be stored.
    pub failing: watch::Sender<Option<Failing>>,
    /// Counts what is done.
    pub work: Work,
}

/// When loyalty codes are opened that came before their key.
pub(super) struct Unsealing {
    /// When that is tried next; never when all are open.
    due: Option<Instant>,
    /// How long after it failed.
    pause: Duration,
}

impl Default for Unsealing {
    fn default() -> Self {
        Self { due: Some(Instant::now()), pause: PAUSE.0 }
    }
}

/// What waits to be stored.
#[derive(Default)]
struct Queue {
    live: VecDeque<(Delivery, Message)>,
    replayed: VecDeque<(Delivery, Message)>,
    /// Of both.
    bytes: usize,
    questions: VecDeque<Question>,
    tell_all: bool,
    check: BTreeSet<Gateway>,
    /// So many messages go one by one.
    careful: usize,
}

impl Writer {
    /// Works until the input closes. Blocks: give it a thread.
    pub(crate) fn run(self, store: Store) {
        self.go_on(store, Unsealing::default());
    }

    pub(super) fn go_on(mut self, mut store: Store, mut unsealing: Unsealing) {
        let mut queue = Queue::default();
        let mut pause = PAUSE.0;
        let mut fails = 0;
        let mut aside = store.replayable().unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look for what was set aside");
            VecDeque::new()
        });
        loop {
            while queue.is_empty() && self.input.is_empty() && !self.input.is_closed() {
                if unsealing.due.is_some_and(|due| due <= Instant::now()) {
                    self.open_sealed(&mut store, &mut unsealing);
                    continue;
                }
                let Some(id) = aside.pop_front() else { break };
                if !self.replay(&mut store, id) {
                    return;
                }
            }
            if !self.fill(&mut queue, unsealing.due) {
                return;
            }
            if queue.is_empty() {
                continue;
            }
            let settled = match queue.store(&mut store, fails >= TRIES, &self.work) {
                Ok(settled) => settled,
                Err(error) => {
                    fails += 1;
                    self.fail(&error);
                    tracing::error!(%error, messages = queue.messages(), "cannot store, will try again");
                    if error.is_of_every_message() || fails > TRIES {
                        if !self.wait(pause) {
                            return;
                        }
                        pause = (pause * 2).min(PAUSE.1);
                    } else if queue.careful == 0 {
                        queue.careful = GROUP.min(queue.messages());
                    }
                    match Store::open(&self.address, self.options.clone()) {
                        Ok(opened) => store = opened,
                        Err(error) => tracing::error!(%error, "cannot open the database again"),
                    }
                    continue;
                }
            };
            (pause, fails) = (PAUSE.0, 0);
            self.failing.send_if_modified(|failing| failing.take().is_some());
            if !settled.stored.is_empty() || settled.sales {
                self.changed.send_modify(|commits| *commits += 1);
            }
            if self.output.blocking_send(settled).is_err() {
                return;
            }
        }
    }

    /// Waits until there is something to do, or something else is due. False when nothing will come any more.
    fn fill(&mut self, queue: &mut Queue, due: Option<Instant>) -> bool {
        if queue.is_empty() {
            match self.receive(due) {
                Ok(Some(input)) => queue.push(input),
                Ok(None) => return false,
                Err(_elapsed) => return true,
            }
        }
        while queue.has_room() {
            let Ok(input) = self.input.try_recv() else { break };
            queue.push(input);
        }
        true
    }

    /// The next question; none when no more will come.
    fn receive(&mut self, due: Option<Instant>) -> Result<Option<Input>, Elapsed> {
        let clock = due.map(|due| (due, runtime::Builder::new_current_thread().enable_time().build()));
        match clock {
            Some((due, Ok(clock))) => {
                clock.block_on(async { timeout_at(due.into(), self.input.recv()).await })
            }
            Some((_, Err(error))) => {
                tracing::error!(%error, "loyalty codes are not opened before the next message comes");
                Ok(self.input.blocking_recv())
            }
            None => Ok(self.input.blocking_recv()),
        }
    }

    /// Tries to store what an earlier version of this program could not read. False when nobody listens.
    fn replay(&self, store: &mut Store, id: i64) -> bool {
        match guarded(|| store.replay(id)) {
            Ok(appended) if appended.sums.new.batches + appended.sums.known.batches > 0 => {
                tracing::info!(id, events = appended.sums.new.events, "stored what had been in quarantine");
                self.changed.send_modify(|commits| *commits += 1);
                let settled = Settled { marks: json(appended.marks).collect(), ..Settled::default() };
                self.output.blocking_send(settled).is_ok()
            }
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(id, %error, "cannot store what is in quarantine");
                true
            }
        }
    }

    /// Opens some of the loyalty codes whose key came later than they.
    pub(super) fn open_sealed(&self, store: &mut Store, unsealing: &mut Unsealing) {
        match store.open_sealed(SEALED) {
            Ok(0) => unsealing.due = None,
            Ok(count) => {
                tracing::info!(count, "opened loyalty codes whose key was not there when they came");
                unsealing.pause = PAUSE.0;
                self.changed.send_modify(|commits| *commits += 1);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot open loyalty codes that came before their key, will try again");
                unsealing.due = Some(Instant::now() + unsealing.pause);
                unsealing.pause = (unsealing.pause * 2).min(PAUSE.1);
            }
        }
    }

    fn fail(&self, error: &StoreError) {
        self.failing.send_modify(|failing| {
            let since = failing.as_ref().map_or_else(Timestamp::now, |failing| failing.since);
            *failing = Some(Failing { since, why: error.to_string() });
        });
    }

    /// False when the program stops: nothing of the queue is stored.
    fn wait(&self, pause: Duration) -> bool {
        let again = Instant::now() + pause;
        while Instant::now() < again {
            if self.input.is_closed() {
                return false;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        true
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.messages() == 0 && self.questions.is_empty() && !self.tell_all && self.check.is_empty()
    }

    fn messages(&self) -> usize {
        self.live.len() + self.replayed.len()
    }

    fn has_room(&self) -> bool {
        self.messages() + self.questions.len() < QUEUE && self.bytes < QUEUE_BYTES
    }

    fn push(&mut self, input: Input) {
        match input {
            Input::Store(delivery, message) => {
                self.bytes += message.payload.len();
                let queue = if message.is_replayed() { &mut self.replayed } else { &mut self.live };
                queue.push_back((delivery, message));
            }
            Input::Sales(question) => self.questions.push_back(question),
            Input::TellAll => self.tell_all = true,
            Input::Check(gateways) => self.check.extend(gateways),
            // Who asked may have gone.
            Input::Beat(answer) => drop(answer.send(())),
        }
    }

    /// Stores the first messages, and takes them out of the queue when they are on stable storage. With
    /// `desperate`, a message that fails alone is set aside.
    fn store(&mut self, store: &mut Store, desperate: bool, work: &Work) -> Result<Settled, StoreError> {
        let group = if self.careful > 0 { 1 } else { GROUP };
        let mut settled = Settled::default();
        if self.messages() > 0 {
            let began = Instant::now();
            let messages = self.live.iter().chain(&self.replayed).map(|(_, message)| message);
            let appended = match guarded(|| store.append(messages.clone().take(group))) {
                Err(error) if desperate && self.careful > 0 && !error.is_of_every_message() => {
                    let message = messages.clone().next().expect("the queue is not empty");
                    match guarded(|| store.set_aside(message, &error.to_string())) {
                        Err(error) if !error.is_of_every_message() => {
                            guarded(|| store.keep_unsettled(message, &error.to_string()))?
                        }
                        other => other?,
                    }
                }
                other => other?,
            };
            work.committed(&appended.sums, began.elapsed());
            self.careful = self.careful.saturating_sub(appended.taken);
            let live = appended.taken.min(self.live.len());
            let taken = self.live.drain(..live).chain(self.replayed.drain(..appended.taken - live));
            for (delivery, message) in taken {
                self.bytes -= message.payload.len();
                settled.stored.push(delivery);
            }
            settled.marks.extend(json(appended.marks));
        }
        self.answer(store, &mut settled)?;
        if std::mem::take(&mut self.tell_all) {
            // A gateway that sends something is told anyway: what is stored need not wait for this.
            match store.watermarks() {
                Ok(marks) => settled.marks.extend(json(marks)),
                Err(error) => tracing::error!(%error, "cannot tell all watermarks"),
            }
        }
        let check = std::mem::take(&mut self.check);
        if !check.is_empty() {
            match store.watermarks_of(check) {
                Ok(marks) => settled.checked.extend(json(marks)),
                Err(error) => tracing::error!(%error, "cannot look at watermarks"),
            }
        }
        Ok(settled)
    }
}

impl Queue {
    /// Answers the first who still waits for it. Each has a transaction of its own: what one told cannot fail another.
    fn answer(&mut self, store: &mut Store, settled: &mut Settled) -> Result<(), StoreError> {
        while self.questions.front().is_some_and(|question| question.answer.is_closed()) {
            self.questions.pop_front();
        }
        let Some(Question { rows, received, .. }) = self.questions.front() else { return Ok(()) };
        let answer = match guarded(|| store.append_sales(rows, *received)) {
            Err(error) if error.is_of_every_message() => return Err(error),
            other => other.map_err(|error| error.to_string()),
        };
        settled.sales |= answer.is_ok();
        let question = self.questions.pop_front().expect("it was there");
        // Nobody listens any more: it is stored, and will be known when it comes again.
        drop(question.answer.send(answer));
        Ok(())
    }
}

fn json(marks: BTreeMap<Gateway, Watermark>) -> impl Iterator<Item = (Gateway, String)> {
    marks
        .into_iter()
        .map(|(gateway, mark)| (gateway, serde_json::to_string(&mark).expect("a watermark always encodes")))
}

/// A message that makes this program panic would do so again after every restart.
fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let text = |panic: Box<dyn Any + Send>| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or("without a word".into(), |text| (*text).into()),
    };
    // Unwinding rolls the transaction back, and the writer opens the store anew after every error.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(StoreError::Panicked(text(panic))))
}

//! What the uplink has for the spool. Enters: notes, questions. Leaves: requests, one at a time, and answers.
//!
//! The spool is stuck for as long as its disk fails. Nothing here waits for it by itself: requests are kept
//! until the channel has room, of those that replace one another the latest, and there is one question at
//! a time. So the connection stays up, and only nothing is sent.
//!
//! While a backlog drains, a question is answered with the next values too, and before these are used up the
//! desk asks on: the window need not wait for the disk.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hangtag_agent_core::uplink::{Note, Purpose, Send};
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::range::{SeqRange, SeqSet};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::spool::{AHEAD, Held, Request};

/// What was read ahead and not used for so long is read again: losses, anchors and runs go with it.
const FRESH: Duration = Duration::from_secs(1);

/// A spool that could not answer is asked again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The spool's thread has ended.
#[derive(Debug)]
pub(super) struct Gone;

/// Requests on their way to the spool.
pub(super) struct Outbox {
    spool: mpsc::Sender<Request>,
    first: VecDeque<Request>,
    settled: BTreeMap<Epoch, SeqSet>,
    read: Option<Request>,
}

/// A question to the spool, until it is answered, and what was read ahead.
pub(super) struct Question {
    asked: Option<Asked>,
    /// The spool could not answer the last one; the next waits so long.
    not_before: Instant,
    ahead: VecDeque<Held>,
    /// When the oldest of that was read.
    read_at: Option<Instant>,
    /// There was no more to read ahead.
    at_end: bool,
}

struct Asked {
    /// The batch that waits for it; none when it is asked ahead.
    send: Option<Send>,
    /// The answer has what follows, too.
    ahead: bool,
    reply: oneshot::Receiver<Vec<Held>>,
    /// It was asked for a connection that is gone.
    stale: bool,
}

impl Outbox {
    pub(super) fn new(spool: mpsc::Sender<Request>) -> Self {
        Self { spool, first: VecDeque::new(), settled: BTreeMap::new(), read: None }
    }

    pub(super) fn push(&mut self, note: Note) {
        match note {
            Note::Settle { epoch, settled } => drop(self.settled.insert(epoch, settled)),
            Note::Fork { epoch, from } => self.first.push_back(Request::Fork { epoch, from }),
            Note::SetAside { epoch, range, why } => {
                self.first.push_back(Request::SetAside { epoch, range, why });
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.settled.is_empty() && self.read.is_none()
    }

    /// Hands one request over, when there is room. Cancel-safe: it is taken out only then.
    pub(super) async fn hand_over(&mut self) -> Result<(), Gone> {
        let permit = self.spool.reserve().await.map_err(|_| Gone)?;
        let settle = |(epoch, settled)| Request::Settle { epoch, settled };
        let request = self.first.pop_front();
        let request = request.or_else(|| self.settled.pop_first().map(settle));
        if let Some(request) = request.or_else(|| self.read.take()) {
            permit.send(request);
        }
        Ok(())
    }
}

impl Question {
    pub(super) fn new() -> Self {
        Self { asked: None, not_before: Instant::now(), ahead: VecDeque::new(), read_at: None, at_end: false }
    }

    pub(super) fn is_open(&self) -> bool {
        self.asked.is_some()
    }

    /// When the next one may be asked, unless one is open.
    pub(super) fn not_before(&self) -> Instant {
        self.not_before
    }

    /// Asks for the events of a batch; one question must have been answered before the next.
    pub(super) fn ask(&mut self, send: Send, outbox: &mut Outbox) {
        let ahead = send.purpose == Purpose::Backlog;
        if ahead {
            self.ahead.clear();
        }
        let (epoch, range) = (send.epoch, send.range);
        self.put(Some(send), epoch, range, ahead, outbox);
    }

    /// Asks for what follows, before what was read ahead is used up.
    pub(super) fn ask_on(&mut self, outbox: &mut Outbox) {
        if self.is_open() || self.at_end || self.ahead.len() > AHEAD / 2 {
            return;
        }
        let Some((epoch, last)) = self.ahead.back().and_then(|held| Some((held.epoch, held.last()?))) else {
            return;
        };
        let range = SeqRange { first: last.plus(1), last: Seq(u64::MAX) };
        self.put(None, epoch, range, true, outbox);
    }

    fn put(&mut self, send: Option<Send>, epoch: Epoch, range: SeqRange, ahead: bool, outbox: &mut Outbox) {
        let (answer, reply) = oneshot::channel();
        outbox.read = Some(Request::Read { epoch, range, ahead, reply: answer });
        self.asked = Some(Asked { send, ahead, reply, stale: false });
    }

    /// The events of a batch, if they were read ahead.
    pub(super) fn take(&mut self, send: &Send) -> Option<Held> {
        if send.purpose != Purpose::Backlog {
            return None;
        }
        if self.read_at.is_some_and(|at| at.elapsed() > FRESH) {
            self.ahead.clear();
        }
        // What lies before was settled meanwhile.
        let wanted = |held: &Held| held.epoch == send.epoch && held.first >= Some(send.range.first);
        while self.ahead.front().is_some_and(|held| !wanted(held)) {
            self.ahead.pop_front();
        }
        let fits = |held: &&Held| {
            held.first == Some(send.range.first) && held.last().is_some_and(|last| last <= send.range.last)
        };
        self.ahead.front().filter(fits)?;
        self.ahead.pop_front()
    }

    /// The connection that asked is gone: the answer, when it comes, is of no use.
    pub(super) fn outlive(&mut self) {
        self.ahead.clear();
        if let Some(asked) = &mut self.asked {
            asked.stale = true;
        }
    }

    /// The answer; `None` when there is none, it came too late, or was asked ahead. Cancel-safe.
    pub(super) async fn answer(&mut self) -> Option<(Send, Held)> {
        let asked = self.asked.as_mut()?;
        let held = (&mut asked.reply).await;
        let asked = self.asked.take()?;
        let Some(held) = held.ok() else {
            self.not_before = Instant::now() + ASK_AGAIN;
            return None;
        };
        if asked.stale {
            return None;
        }
        let mut held = held.into_iter();
        let answer = match asked.send {
            Some(send) => {
                let held = held.next().filter(|held| held.epoch == send.epoch)?;
                Some((send, held))
            }
            None => None,
        };
        if asked.ahead {
            if self.ahead.is_empty() {
                self.read_at = Some(Instant::now());
            }
            let before = self.ahead.len();
            self.ahead.extend(held.filter(|held| held.first.is_some()));
            self.at_end = self.ahead.len() == before;
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Events;
    use hangtag_protocol::clock::{BootId, Uptime};
    use hangtag_protocol::event::{Event, What};
    use hangtag_protocol::lineage::Lineage;

    #[tokio::test]
    async fn what_replaces_one_another_is_handed_over_once() {
        let (spool, mut requests) = mpsc::channel(8);
        let mut outbox = Outbox::new(spool);
        for last in 1..100 {
            let settled = SeqSet::from(vec![SeqRange::new(1, last)]);
            outbox.push(Note::Settle { epoch: Epoch(1), settled });
        }
        outbox.push(Note::Fork { epoch: Epoch(1), from: Seq(50) });
        while !outbox.is_empty() {
            outbox.hand_over().await.unwrap();
        }
        assert!(matches!(requests.recv().await, Some(Request::Fork { .. })));
        let Some(Request::Settle { settled, .. }) = requests.recv().await else { panic!("a watermark") };
        assert_eq!(settled.len(), 99);
        assert!(requests.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_spool_that_cannot_answer_is_not_asked_all_the_time() {
        let (spool, mut requests) = mpsc::channel(8);
        let (mut outbox, mut question) = (Outbox::new(spool), Question::new());
        let (limit, advice, end) = (1_000, 1_000, Seq(2));
        let (range, purpose) = (SeqRange::new(1, 1), Purpose::Backlog);
        question.ask(Send { epoch: Epoch(1), range, purpose, limit, advice, end }, &mut outbox);
        outbox.hand_over().await.unwrap();
        drop(requests.recv().await);
        assert!(question.answer().await.is_none() && !question.is_open());
        assert!(question.not_before() > Instant::now());
    }

    #[tokio::test]
    async fn a_live_event_in_between_neither_ends_the_reading_ahead_nor_makes_it_fresh() {
        let (spool, mut requests) = mpsc::channel(8);
        let (mut outbox, mut question) = (Outbox::new(spool), Question::new());
        let send = |first, purpose| {
            let range = SeqRange::new(first, first);
            Send { epoch: Epoch(1), range, purpose, limit: 1_000, advice: 1_000, end: Seq(1_000) }
        };
        let mut answer = async |question: &mut Question, outbox: &mut Outbox, numbers: &[u64]| {
            outbox.hand_over().await.unwrap();
            let Some(Request::Read { reply, .. }) = requests.recv().await else { panic!("a question") };
            reply.send(numbers.iter().map(|n| held(*n)).collect()).unwrap();
            question.answer().await
        };
        question.ask(send(1, Purpose::Backlog), &mut outbox);
        assert!(answer(&mut question, &mut outbox, &[1, 2, 3]).await.is_some());
        let read_at = question.read_at;
        question.ask(send(900, Purpose::Live), &mut outbox);
        assert!(answer(&mut question, &mut outbox, &[900]).await.is_some());
        assert_eq!(question.read_at, read_at, "it was not read again");
        question.ask_on(&mut outbox);
        assert!(question.is_open(), "there may be more");
        assert!(answer(&mut question, &mut outbox, &[]).await.is_none());
        question.ask_on(&mut outbox);
        assert!(!question.is_open(), "there was no more");
        assert!(question.take(&send(2, Purpose::Backlog)).is_some());
    }

    fn held(n: u64) -> Held {
        let what = What::Retracted { seq: Seq(1) };
        let event = Event { boot: BootId(1), at: Uptime(n), confidence: 50, what };
        Held {
            epoch: Epoch(1),
            first: Some(Seq(n)),
            events: Events::Plain(vec![event]),
            anchors: Vec::new(),
            lost: Vec::new(),
            lineage: Lineage::default(),
            oldest_held: Seq(1),
        }
    }

    #[tokio::test]
    async fn an_ended_spool_is_noticed() {
        let (spool, requests) = mpsc::channel(1);
        drop(requests);
        let mut outbox = Outbox::new(spool);
        outbox.push(Note::Fork { epoch: Epoch(1), from: Seq(50) });
        assert!(outbox.hand_over().await.is_err());
    }
}

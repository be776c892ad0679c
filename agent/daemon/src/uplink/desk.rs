//! What the uplink has for the spool. Enters: notes, questions. Leaves: requests, one at a time, and answers.
//!
//! The spool is stuck for as long as its disk fails. Nothing here waits for it by itself: requests are kept
//! until the channel has room, of those that replace one another the latest, and there is one question at
//! a time. So the connection stays up, and only nothing is sent.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hangtag_agent_core::uplink::{Note, Send};
use hangtag_protocol::id::Epoch;
use hangtag_protocol::range::SeqSet;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::spool::{Held, Request};

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

/// A question to the spool, until it is answered.
pub(super) struct Question {
    asked: Option<Asked>,
    /// The spool could not answer the last one; the next waits so long.
    not_before: Instant,
}

struct Asked {
    send: Send,
    reply: oneshot::Receiver<Held>,
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
        Self { asked: None, not_before: Instant::now() }
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
        let (answer, reply) = oneshot::channel();
        outbox.read = Some(Request::Read { epoch: send.epoch, range: send.range, reply: answer });
        self.asked = Some(Asked { send, reply, stale: false });
    }

    /// The connection that asked is gone: the answer, when it comes, is of no use.
    pub(super) fn outlive(&mut self) {
        if let Some(asked) = &mut self.asked {
            asked.stale = true;
        }
    }

    /// The answer; `None` when there is none or it came too late. Cancel-safe.
    pub(super) async fn answer(&mut self) -> Option<(Send, Held)> {
        let asked = self.asked.as_mut()?;
        let held = (&mut asked.reply).await;
        let asked = self.asked.take()?;
        let held = held.ok().filter(|held| held.epoch == asked.send.epoch);
        if held.is_none() {
            self.not_before = Instant::now() + ASK_AGAIN;
        }
        held.filter(|_| !asked.stale).map(|held| (asked.send, held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hangtag_agent_core::uplink::Purpose;
    use hangtag_protocol::id::Seq;
    use hangtag_protocol::range::SeqRange;

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
    async fn an_ended_spool_is_noticed() {
        let (spool, requests) = mpsc::channel(1);
        drop(requests);
        let mut outbox = Outbox::new(spool);
        outbox.push(Note::Fork { epoch: Epoch(1), from: Seq(50) });
        assert!(outbox.hand_over().await.is_err());
    }
}

//! Several readers on one RS-485 line, each with an address of its own. Enters: the bytes of the line, and time.
//! Leaves: what each session has to say, and bytes to send, from one session at a time.
//!
//! The readers never speak by themselves, and two that speak at once destroy both. So each command is a turn: nobody
//! else sends until its answer is complete, or cannot be expected any more. Who wants to send next comes after the one
//! before in the order of the readers. Deadlines of a session do not run while it waits for its turn. A reader that
//! does not answer takes one short turn per attempt, and attempts become rare.

use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;

use super::chafon::INVENTORY;
use super::{Session, Settings};

/// How long the answer to a question may take, in milliseconds: what it takes at the slowest speed, and an adapter's
/// pause on top.
const ANSWER_MS: u64 = 200;
/// How long an inventory may take that should be over after 300 ms (288) or a second (18), in milliseconds.
const INVENTORY_MS: u64 = 1_500;

/// The conversations on one line.
#[derive(Debug)]
pub struct Shared {
    members: Vec<Member>,
    turn: Option<Turn>,
    /// Whose turn was the last.
    last: usize,
}

#[derive(Debug)]
struct Member {
    session: Session,
    /// Since when it waits for its turn.
    waits: Option<Uptime>,
}

/// Somebody sent something, and is to be answered.
#[derive(Clone, Copy, Debug)]
struct Turn {
    of: usize,
    until: Uptime,
}

impl Shared {
    /// Starts talking to the readers of a line that was just opened; sessions are numbered as these are.
    #[must_use]
    pub fn new(settings: &[Settings], now: Uptime) -> Self {
        let member = |settings| Member { session: Session::new(settings, now), waits: Some(now) };
        Self { members: settings.iter().map(member).collect(), turn: None, last: 0 }
    }

    /// Starts over: the port was lost and is open again.
    pub fn handle_reopened(&mut self, now: Uptime) {
        self.turn = None;
        for Member { session, waits } in &mut self.members {
            session.handle_reopened(now);
            // It waited for a line that is gone.
            *waits = None;
        }
        self.look(now);
    }

    /// Takes what came in. Each session leaves what others were answered.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Uptime) {
        self.members.iter_mut().for_each(|member| member.session.handle_bytes(bytes, now));
        self.look(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Uptime) {
        for Member { session, waits } in &mut self.members {
            match waits {
                Some(_) => session.handle_rest(now),
                None => session.handle_timeout(now),
            }
        }
        self.look(now);
    }

    /// The next bytes to send, if it is somebody's turn.
    pub fn poll_write(&mut self, now: Uptime) -> Option<Vec<u8>> {
        self.look(now);
        if self.turn.is_some() {
            return None;
        }
        let all = self.members.len();
        let next =
            (1..=all).map(|n| (self.last + n) % all).find(|n| self.members[*n].session.wants_to_send())?;
        let Member { session, waits } = &mut self.members[next];
        let bytes = session.poll_write()?;
        session.handle_waited(now.since(waits.take().unwrap_or(now)));
        let takes_ms = if bytes.get(2) == Some(&INVENTORY) { INVENTORY_MS } else { ANSWER_MS };
        (self.turn, self.last) = (Some(Turn { of: next, until: now + takes_ms }), next);
        Some(bytes)
    }

    /// The session with a number, for what it tells.
    pub fn session(&mut self, number: usize) -> &mut Session {
        &mut self.members[number].session
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Uptime> {
        let sessions = self.members.iter().filter_map(|Member { session, waits }| match waits {
            Some(_) => session.rest_timeout(),
            None => session.poll_timeout().map(|(at, _)| at),
        });
        sessions.chain(self.turn.map(|turn| turn.until)).min()
    }

    /// Notes who waits, and whether the turn is over: who wants to go on was answered.
    fn look(&mut self, now: Uptime) {
        for Member { session, waits } in &mut self.members {
            *waits = session.wants_to_send().then(|| waits.unwrap_or(now));
        }
        self.turn = self.turn.filter(|turn| {
            let session = &self.members[turn.of].session;
            now < turn.until && !session.wants_to_send() && !session.has_given_up()
        });
    }
}

#[cfg(test)]
mod tests;

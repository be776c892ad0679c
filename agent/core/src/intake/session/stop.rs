//! The end of reading, by the schedule. Enters: the wish, and what the reader answers. Leaves: the command that stops
//! a module which reads by itself, and a notice when it has. A reader that must be asked for every round is not asked
//! again, and who transmits nothing needs not be stopped.

use hangtag_protocol::clock::Uptime;

use super::super::Message;
use super::{ANSWER_MS, Notice, Session, State, TRIES};

impl Session {
    /// Makes the reader stop. What it still tells is no read; [`handle_reopened`](Self::handle_reopened) begins
    /// again.
    pub fn handle_stop(&mut self, now: Uptime) {
        self.writes.clear();
        self.send_stop(TRIES, now);
    }

    /// Takes what comes before the reader has stopped.
    pub(super) fn handle_stopping(&mut self, message: &Message) {
        let stop = self.steps.first().map(|step| step.code);
        if matches!(message, Message::Answer { code, .. } if Some(*code) == stop) {
            self.end_reading();
        }
    }

    /// The reader has not answered in time.
    pub(super) fn stop_again(&mut self, tries: u8, now: Uptime) {
        if tries > 1 {
            return self.send_stop(tries - 1, now);
        }
        self.notices.push_back(Notice::Fault("no answer to \"stop\": if it is there, it reads on".into()));
        self.end_reading();
    }

    fn send_stop(&mut self, tries: u8, now: Uptime) {
        match self.steps.first().filter(|step| step.name == "stop") {
            Some(step) => {
                self.writes.push_back(step.bytes.clone());
                self.state = State::Stopping { tries, until: now + ANSWER_MS };
            }
            None => self.end_reading(),
        }
    }

    fn end_reading(&mut self) {
        self.state = State::Stopped;
        self.notices.push_back(Notice::Stopped);
    }
}

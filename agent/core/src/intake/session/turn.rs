//! What a session needs beside its state: the rest of frames that were cut off, and a line that it shares with others
//! and cannot use at once. Enters: time. Leaves: deadlines that do not run while it waits for its turn.

use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;

use super::super::Settings;
use super::{REST_OF_FRAME_MS, REST_OF_LINE_MS, Session, State};

impl Session {
    /// Gives up the rest of a frame that has not come.
    pub(in super::super) fn handle_rest(&mut self, now: Uptime) {
        if self.rest_timeout().is_some_and(|at| now >= at) {
            let mut messages = Vec::new();
            self.decoder.give_up(|message| messages.push(message));
            messages.into_iter().for_each(|message| self.handle_message(message, now));
        }
    }

    /// When the rest of a frame is given up, if one has begun.
    pub(in super::super) fn rest_timeout(&self) -> Option<Uptime> {
        let scanner = matches!(self.settings, Settings::Scanner { .. });
        let rest_ms = if scanner { REST_OF_LINE_MS } else { REST_OF_FRAME_MS };
        self.decoder.waits().then(|| self.heard + rest_ms)
    }

    /// Whether it has something to send.
    pub(in super::super) fn wants_to_send(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Whether it has given its reader up for a while.
    pub(in super::super) fn has_given_up(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// What it wanted to send has waited so many milliseconds for the line: its reader could not answer before.
    pub(in super::super) fn handle_waited(&mut self, ms: u64) {
        self.reported = self.reported + ms;
        if let State::Setting { until, .. } = &mut self.state {
            *until = *until + ms;
        }
    }
}

//! Reader nodes at a port that is probed. Enters: what comes in. Leaves: who the node is. The checksum of its frames
//! is long enough that one of them is no accident.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::link::message::Hello;
use hangtag_protocol::link::{FrameError, Kind};

use super::{ANSWER_MS, Found, Meeting, Probe, State, TRIES, Who, plan};

impl Probe {
    /// Takes what came in for what a node may have said.
    pub(super) fn hear_node(&mut self, bytes: &[u8], now: Uptime) {
        let mut said = Vec::new();
        self.node_ear.handle_bytes(bytes, |frame| match frame {
            Ok(frame) => match Kind::of(frame.kind) {
                Some(Kind::Hello) => said.push(frame.message::<Hello>().ok().map(|hello| module(&hello))),
                // Our own, on a line that gives back what is sent.
                Some(Kind::Ack | Kind::Configure | Kind::Query) => {}
                Some(
                    Kind::Reads
                    | Kind::Motion
                    | Kind::Occupancy
                    | Kind::Health
                    | Kind::Dropped
                    | Kind::Configured
                    | Kind::Clock
                    | Kind::Ended,
                )
                | None => said.push(None),
            },
            Err(FrameError::Version(version)) => {
                said.push(Some(format!("a node that speaks version {version} of the link")));
            }
            Err(FrameError::Long | FrameError::Cobs(_) | FrameError::Checksum { .. }) => {}
        });
        said.into_iter().for_each(|module| self.meet_node(module, now));
    }

    /// A node spoke; if it did not say who it is, it is asked.
    fn meet_node(&mut self, module: Option<String>, now: Uptime) {
        let asked = match &self.state {
            State::Trying { .. } => false,
            State::Meeting(meeting) => meeting.found.who == Who::Node,
            State::Over => return,
        };
        let found = Found { who: Who::Node, baud: self.baud, module, was_reading: !asked };
        if found.module.is_some() {
            self.finish(found);
        } else if !asked {
            let steps = [plan::hello()].into();
            let meeting = Meeting { found, steps, frames: 1, tries: TRIES, until: now + ANSWER_MS };
            self.state = State::Meeting(meeting);
            self.ask(now);
        }
    }
}

fn module(hello: &Hello) -> String {
    format!("node {} firmware {}", hello.node, hello.firmware)
}

//! What a session notices, told to people and to who watches over readers; and whether it is time to read at all.

use hangtag_agent_core::intake::Notice;
use hangtag_protocol::event::ReaderState;
use tracing::{debug, info, warn};

use super::{Intake, Passed};

impl Intake {
    pub(super) async fn handle_notice(&self, notice: Notice) -> Passed {
        let id = self.reader.id;
        match notice {
            Notice::Listening => {
                info!(reader = %id, "the reader listens");
                self.health.update(self.number, |health| health.fault = None);
                if !self.tell(ReaderState::Listening).await {
                    return Passed::Nowhere;
                }
            }
            Notice::Silent { why } => {
                warn!(reader = %id, why, "the reader is silent");
                if !self.tell(ReaderState::Silent).await {
                    return Passed::Nowhere;
                }
                return Passed::Silent;
            }
            Notice::Stopped => {
                info!(reader = %id, "the reader was stopped");
                return Passed::Stopped;
            }
            Notice::Module(module) => {
                info!(reader = %id, module, "the reader said what it is");
                self.health.update(self.number, |health| health.module = Some(module));
            }
            Notice::Recovered => {
                info!(reader = %id, "the reader reports no fault any more");
                self.health.update(self.number, |health| health.fault = None);
            }
            Notice::Temperature(degrees) => {
                debug!(reader = %id, degrees, "how warm the reader is");
                self.health.update(self.number, |health| health.temperature_c = Some(degrees));
            }
            Notice::Happened(what) => {
                warn!(reader = %id, what, "the reader tells of something that happened");
            }
            Notice::Fault(fault) => {
                self.health.update(self.number, |health| {
                    // Some faults come with every cycle.
                    if health.fault.as_ref() != Some(&fault) {
                        warn!(reader = %id, fault, "the reader reports a fault");
                    }
                    health.fault = Some(fault);
                });
            }
        }
        Passed::On
    }

    /// Waits until it is time to read, and says so; false when the agent ends before.
    pub(super) async fn wait_for_hours(&self) -> bool {
        let mut hours = self.hours.clone();
        if *hours.borrow() {
            return true;
        }
        if !self.tell(ReaderState::Off).await {
            return false;
        }
        // Both branches are cancel-safe.
        tokio::select! {
            // Without a schedule, or at the end, nobody changes it any more.
            Ok(_) = hours.wait_for(|reads| *reads) => true,
            () = self.cancel.cancelled() => false,
        }
    }
}

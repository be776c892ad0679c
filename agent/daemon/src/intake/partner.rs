//! Who is at a port: what the configuration says, or what is found out. Enters: a port that was just opened. Leaves:
//! somebody to talk to, the one from before if he is the same.

use hangtag_agent_core::intake::probe::{Outcome, Who};
use hangtag_agent_core::intake::{Known, Protocol, Session, Settings, node};
use tokio_serial::SerialStream;
use tracing::{debug, info, warn};
use zeroize::Zeroizing;

use super::{Intake, Lost, probing};
use crate::clock;
use crate::config::Wishes;

/// Who is talked to.
pub(super) enum Partner {
    /// A reader.
    Reader(Box<Reading>),
    /// A reader node, at this speed, and how it is to work.
    Node(u32, node::Settings),
}

/// A conversation with a reader.
pub(super) struct Reading {
    pub(super) session: Session,
    pub(super) settings: Settings,
    baud: u32,
}

impl Partner {
    pub(super) fn who(&self) -> (Who, u32) {
        match self {
            Self::Reader(reading) => (Who::Reader(reading.settings.protocol()), reading.baud),
            Self::Node(baud, _) => (Who::Node, *baud),
        }
    }
}

impl Intake {
    /// Finds out who is at a port; returns what a scanner has already sent.
    pub(super) async fn find_out(
        &self,
        port: &mut SerialStream,
        wishes: &Wishes,
        partner: &mut Option<Partner>,
    ) -> Result<Zeroizing<Vec<u8>>, Lost> {
        let before = partner.as_ref().map(Partner::who);
        let known = Known { baud: wishes.baud, before, address: wishes.address };
        let (outcome, heard) = probing::probe(port, &known).await.map_err(Lost::Failed)?;
        let found = match (outcome, before) {
            (Outcome::Found(found), _) => found,
            // A scanner only speaks when it scans. The port is as it was when it did.
            (Outcome::Nothing { .. }, Some((Who::Reader(Protocol::Scanner), baud))) => {
                tokio_serial::SerialPort::set_baud_rate(port, baud)
                    .map_err(|why| Lost::Failed(why.into()))?;
                self.meet(wishes.settings(Protocol::Scanner).map_err(Lost::Unknown)?, baud, partner);
                return Ok(Zeroizing::default());
            }
            (Outcome::Nothing { why }, _) => {
                return Err(Lost::Unknown(format!("no reader was found: {why}")));
            }
        };
        let (id, who, baud) = (self.reader.id, found.who, found.baud);
        let module = found.module.unwrap_or_default();
        if before == Some((who, baud)) {
            debug!(reader = %id, %who, baud, module, "the reader that was there is there again");
        } else {
            info!(reader = %id, %who, baud, module, "found out which reader is there");
            if let Some(why) = wishes.only_for_a_node().filter(|_| who != Who::Node) {
                warn!(reader = %id, %who, why, "the configuration says what this reader has not");
            }
        }
        let but = |why| Lost::Unknown(format!("a {who} was found ({module}, {baud} baud), but {why}"));
        match who {
            Who::Node => {
                *partner = Some(Partner::Node(baud, wishes.node().map_err(but)?));
                Ok(Zeroizing::default())
            }
            Who::Reader(protocol) => {
                self.meet(wishes.settings(protocol).map_err(but)?, baud, partner);
                Ok(if protocol == Protocol::Scanner { heard } else { Zeroizing::default() })
            }
        }
    }

    /// Begins to talk to a reader, or goes on if it is the one from before.
    pub(super) fn meet(&self, settings: Settings, baud: u32, partner: &mut Option<Partner>) {
        let now = clock::uptime();
        let protocol = settings.protocol();
        match partner {
            Some(Partner::Reader(before)) if before.settings == settings => {
                before.session.handle_reopened(now);
                before.baud = baud;
            }
            Some(_) | None => {
                let session = Session::new(&settings, now);
                *partner = Some(Partner::Reader(Box::new(Reading { session, settings, baud })));
            }
        }
        self.health.update(self.number, |health| {
            health.protocol = Some(format!("{protocol:?}, {baud} baud").to_lowercase());
            // Where a node was there is a reader now.
            health.node = None;
        });
    }
}

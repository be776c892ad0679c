//! What the gateways say of themselves, in words. Enters: the last health message of each. Leaves: the rows of
//! the page's table, and a sentence for every gateway that keeps no events or soon cannot.

use hangtag_protocol::status::{Health, Presence};
use jiff::Timestamp;

use crate::store::GatewayHealth;

use super::coverage;
use super::lang::Lang;

/// From which fill level on, in percent, a spool in which events wait is worth a warning.
const NEARLY_FULL: u8 = 80;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gateway {
    /// Its name.
    pub gateway: String,
    /// Whether its agent is connected to the broker.
    pub online: bool,
    /// How old its last word is.
    pub heard: String,
    /// The agent's version.
    pub agent: String,
    /// Events that central does not have yet; a dash when the gateway does not say.
    pub waiting: String,
    /// Events that the gateway lost and could not tell of yet; a dash when it does not say.
    pub lost: String,
    /// The readers and what they are doing.
    pub readers: Vec<(String, &'static str)>,
    /// Why it keeps no events.
    pub fault: Option<String>,
    /// How full its spool is, in percent, when that is worth a warning.
    pub nearly_full: Option<u8>,
}

impl Gateway {
    /// Puts a health message in words.
    pub(super) fn new(row: &GatewayHealth, lang: Lang, now: Timestamp) -> Self {
        let health = row.status.health.as_ref();
        let readers = health.map_or(&[][..], |health| &health.readers);
        Self {
            gateway: row.gateway.to_string(),
            online: match row.status.state {
                Presence::Online => true,
                Presence::Offline => false,
            },
            heard: lang.ago(row.received, now),
            agent: row.status.agent.clone(),
            waiting: health.map_or("–".into(), |health| lang.count(health.waiting)),
            lost: health.map_or("–".into(), |health| lang.count(health.lost)),
            readers: readers.iter().map(|r| (r.id.to_string(), coverage::class(r.state))).collect(),
            fault: health.and_then(|health| health.spool_fault.clone()),
            nearly_full: health.and_then(nearly_full),
        }
    }
}

/// The fill level when it is worth a warning. What is settled and only kept makes room by itself.
fn nearly_full(health: &Health) -> Option<u8> {
    (health.waiting > 0 && health.spool_percent >= NEARLY_FULL).then_some(health.spool_percent)
}

#[cfg(test)]
mod tests {
    use hangtag_protocol::clock::UnixMillis;
    use hangtag_protocol::id::GatewayId;

    use super::*;

    fn row(waiting: u64, percent: u8) -> Gateway {
        let status = format!(
            r#"{{"v":1,"state":"online","agent":"1.0","health":{{"boot":"0000000000000007","uptime_ms":1,
            "epoch":"0000000000000abc","next":9,"waiting":{waiting},"oldest_ms":0,"lost":0,
            "spool_percent":{percent},"readers":[]}}}}"#
        );
        let status = serde_json::from_str(&status).unwrap();
        let gateway = GatewayId::new("gw-1").unwrap();
        Gateway::new(
            &GatewayHealth { gateway, received: UnixMillis(0), status },
            Lang::En,
            Timestamp::UNIX_EPOCH,
        )
    }

    #[test]
    fn a_spool_is_nearly_full_only_while_events_wait_in_it() {
        assert_eq!(row(1, 79).nearly_full, None);
        assert_eq!(row(1, 80).nearly_full, Some(80));
        assert_eq!(row(0, 100).nearly_full, None);
    }
}

//! What Prometheus may ask of a running agent. Enters: what readers, spool and uplink tell of themselves, for the status
//! message and people too. Leaves: a sheet of metrics, made when it is asked for. `docs/metrics.md` lists them. It counts
//! nothing itself, and a tag's number is in none of them.

use hangtag_metrics::door;
use hangtag_metrics::listen::Listen;
use hangtag_metrics::sheet::{Sheet, flag, seconds, whole};
use hangtag_protocol::clock::{BootId, UNKNOWN_ERROR};
use hangtag_protocol::event::{Kind, ReaderState};
use hangtag_protocol::status::{CertificateHealth, ReaderHealth};
use hangtag_protocol::topic::Gateway;
use tokio::sync::watch;

use crate::clock;
use crate::health::{BrokerHealth, Health};
use crate::spool::{State, Tally};

/// How a reader can be, and how that is called.
const READER_STATES: [(ReaderState, &str); 4] = [
    (ReaderState::Listening, "listening"),
    (ReaderState::Silent, "silent"),
    (ReaderState::Absent, "absent"),
    (ReaderState::Off, "off"),
];

/// Whom a sheet is made of.
#[derive(Clone)]
pub(crate) struct Monitor {
    pub(crate) gateway: Gateway,
    pub(crate) boot: BootId,
    pub(crate) clock_kept: bool,
    /// What the spool may take on disk if that is large enough.
    pub(crate) cap_bytes: u64,
    pub(crate) health: Health,
    pub(crate) state: watch::Receiver<State>,
}

impl Monitor {
    /// Serves for ever; without an address it only stays.
    pub(crate) async fn serve(self, listen: Option<Listen>) {
        door::serve(listen, move || std::future::ready(self.sheet())).await;
    }

    fn sheet(&self) -> Sheet {
        let mut sheet = Sheet::new("hangtag_agent");
        let Gateway { store, gateway, .. } = self.gateway;
        sheet.gauges(
            "build_info",
            "Always 1; the labels say which program runs for which gateway",
            ["version", "store", "gateway"],
            [([env!("CARGO_PKG_VERSION").to_owned(), store.to_string(), gateway.to_string()], 1.0)],
        );
        self.clock(&mut sheet);
        readers(&mut sheet, &self.health.readers());
        let state = self.state.borrow().clone();
        events(&mut sheet, &state.tally);
        self.spool(&mut sheet, &state);
        broker(&mut sheet, self.health.broker());
        certificate(&mut sheet, self.health.certificate());
        sheet
    }

    fn clock(&self, sheet: &mut Sheet) {
        let anchor = clock::anchor(self.boot, self.clock_kept);
        sheet.gauge("clock_set", "1 while the wall clock shows a time that can be", flag(anchor.is_some()));
        let is_kept = anchor.is_some_and(|anchor| anchor.error_ms != UNKNOWN_ERROR);
        sheet.gauge("clock_kept", "1 while somebody vouches for the wall clock", flag(is_kept));
    }

    fn spool(&self, sheet: &mut Sheet, state: &State) {
        let current = state.current();
        sheet.gauge(
            "spool_waiting_events",
            "Events that are held and that central has not settled",
            whole(state.waiting),
        );
        let age = state.oldest_at.map_or(0, |at| clock::uptime().since(at));
        sheet.gauge(
            "spool_oldest_waiting_seconds",
            "Age of the oldest of them; 0 when none waits, or it is of an earlier boot",
            seconds(age),
        );
        sheet.gauge("spool_held_events", "Events that are held, settled or not", whole(state.held));
        sheet.gauge("spool_live_bytes", "What the held events take, packed", whole(state.live_bytes));
        sheet.gauge("spool_disk_bytes", "What the spool's files take on disk", whole(state.disk_bytes));
        sheet.gauge(
            "spool_cap_bytes",
            "What the spool may take on disk by its configuration",
            whole(self.cap_bytes),
        );
        sheet.gauge(
            "spool_waiting_ratio",
            "How much of what the spool may take is taken by what waits, 0 to 1",
            f64::from(state.percent) / 100.0,
        );
        sheet.gauge("spool_fault", "1 while no event is accepted", flag(state.fault.is_some()));
        sheet.gauge(
            "spool_untold_lost_events",
            "Lost events of which central may not know yet",
            whole(state.lost),
        );
        let behind = (current.next.0 - 1).saturating_sub(current.settled.contiguous_to().0);
        sheet.gauge(
            "watermark_lag_events",
            "How far central's watermark is behind the last accepted event of the current epoch",
            whole(behind),
        );
    }
}

fn readers(sheet: &mut Sheet, readers: &[ReaderHealth]) {
    let of = |number: fn(&ReaderHealth) -> u64| {
        readers.iter().map(move |reader| ([reader.id.to_string()], number(reader)))
    };
    let states = readers.iter().flat_map(|reader| {
        READER_STATES.map(|(state, name)| ([reader.id.to_string(), name.into()], flag(reader.state == state)))
    });
    sheet.gauges("reader_state", "1 for the state in which a reader is", ["reader", "state"], states);
    let faults = readers.iter().map(|reader| ([reader.id.to_string()], flag(reader.fault.is_some())));
    sheet.gauges("reader_fault", "1 while a reader has a fault", ["reader"], faults);
    sheet.counters("reads", "Reads that came from a reader", ["reader"], of(|reader| reader.reads));
    sheet.counters(
        "reader_garbage_bytes",
        "Bytes from a reader that belonged to no good frame",
        ["reader"],
        of(|reader| reader.garbage),
    );
    sheet.counters(
        "reader_bad_tags",
        "Tags in good frames whose data was damaged",
        ["reader"],
        of(|reader| reader.bad_tags),
    );
    sheet.counters(
        "reader_lost_reads",
        "Reads that a node had taken in and that were lost with its memory",
        ["reader"],
        of(|reader| reader.lost_reads),
    );
    let warmth = readers.iter().filter_map(|reader| {
        reader.temperature_c.map(|degrees| ([reader.id.to_string()], f64::from(degrees)))
    });
    sheet.gauges("reader_temperature_celsius", "How warm a reader says it is", ["reader"], warmth);
}

fn events(sheet: &mut Sheet, tally: &Tally) {
    let kinds = Kind::ALL.into_iter().zip(tally.accepted);
    sheet.counters(
        "events_accepted",
        "Events that are on stable storage, by kind",
        ["kind"],
        kinds.map(|(kind, count)| ([kind.name().to_owned()], count)),
    );
    let &Tally { evicted, torn, set_aside, unreadable, accepted: _ } = tally;
    let reasons = [("full", evicted), ("holes", torn), ("unsendable", set_aside), ("unreadable", unreadable)];
    sheet.counters(
        "events_lost",
        "Accepted events that were lost on the gateway, by reason",
        ["reason"],
        reasons.map(|(reason, count)| ([reason.to_owned()], count)),
    );
}

fn broker(sheet: &mut Sheet, broker: BrokerHealth) {
    sheet.gauge("broker_connected", "1 while there is a connection to the broker", flag(broker.is_connected));
    sheet.counter("broker_connections", "Connections that the broker accepted", broker.connections);
    sheet.counter(
        "broker_disconnections",
        "Connections to the broker that ended, or did not come to be",
        broker.losses,
    );
}

fn certificate(sheet: &mut Sheet, certificate: Option<CertificateHealth>) {
    let Some(CertificateHealth { days_left, fault }) = certificate else { return };
    let left = i32::try_from(days_left).unwrap_or(i32::MAX);
    sheet.gauge(
        "certificate_remaining_seconds",
        "For how long the gateway's certificate is good still, in whole days; negative when it is over",
        f64::from(left) * 86_400.0,
    );
    let help = "1 while the certificate could not be renewed, or read, the last time";
    sheet.gauge("certificate_fault", help, flag(fault.is_some()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_of_where_there_is_one() {
        let text = |certified| {
            let mut sheet = Sheet::new("hangtag_agent");
            certificate(&mut sheet, certified);
            sheet.text()
        };
        assert_eq!(text(None), "# EOF\n");
        let over = text(Some(CertificateHealth { days_left: -2, fault: Some("the door is shut".into()) }));
        assert!(over.contains("\nhangtag_agent_certificate_remaining_seconds -172800.0\n"), "{over}");
        assert!(over.contains("\nhangtag_agent_certificate_fault 1.0\n") && !over.contains("shut"), "{over}");
    }
}

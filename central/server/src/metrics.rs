//! What Prometheus may ask of central. Enters: what writer, ingest and page say of themselves, and the database's sums. Leaves:
//! a sheet of metrics, made when it is asked for. `docs/metrics.md` lists them. It counts nothing itself, and tells of no
//! garment, visit or shopper.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hangtag_central_core::feed::Form;
use hangtag_metrics::door;
use hangtag_metrics::listen::Listen;
use hangtag_metrics::sheet::{Sheet, flag, seconds, whole};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::ingest::Broker;
use crate::store::{Backlog, Failing, GatewaySums, QuarantineSum, Reader, StoreError, Sums, Totals, Work};
use crate::web::Requests;

/// Whom a sheet is made of.
#[derive(Clone)]
pub(crate) struct Monitor {
    /// The database.
    pub reader: Reader,
    /// In which forms the feed is published.
    pub forms: Vec<Form>,
    /// Whether there is a connection to the broker.
    pub broker: watch::Receiver<Broker>,
    /// Since when the writer cannot store.
    pub failing: watch::Receiver<Option<Failing>>,
    /// Watermarks that were told.
    pub told: Arc<AtomicU64>,
    /// What the writer has done.
    pub work: Work,
    /// What the page was asked.
    pub requests: Requests,
}

/// What the database says.
struct Stored {
    totals: Totals,
    quarantine: QuarantineSum,
    backlog: Vec<Backlog>,
    unclocked: u64,
    unrolled_hours: u64,
    gateways: GatewaySums,
}

impl Monitor {
    /// Serves for ever; without an address it only stays.
    pub(crate) async fn serve(self, listen: Option<Listen>) {
        door::serve(listen, move || self.clone().sheet()).await;
    }

    async fn sheet(self) -> Sheet {
        let monitor = self.clone();
        let stored = spawn_blocking(move || monitor.stored()).await;
        let stored = match stored {
            Ok(stored) => stored.map_err(|why| why.to_string()),
            Err(why) => Err(why.to_string()),
        };
        let mut sheet = Sheet::new("hangtag_central");
        sheet.gauges(
            "build_info",
            "Always 1; the label says which program runs",
            ["version"],
            [([env!("CARGO_PKG_VERSION").to_owned()], 1.0)],
        );
        sheet.gauge("database_readable", "1 while the database can be read", flag(stored.is_ok()));
        match stored {
            Ok(stored) => tell_stored(&mut sheet, &stored),
            Err(why) => tracing::warn!(why, "the database's metrics are left out"),
        }
        let is_failing = self.failing.borrow().is_some();
        sheet.gauge("writer_failing", "1 while nothing can be stored", flag(is_failing));
        let is_connected = matches!(*self.broker.borrow(), Broker::Connected);
        sheet.gauge("broker_connected", "1 while there is a connection to the broker", flag(is_connected));
        sheet.counter(
            "watermarks_published",
            "Watermarks that gateways were told",
            self.told.load(Ordering::Relaxed),
        );
        batches(&mut sheet, self.work.sums());
        let times = "How long it took to bring a group of messages to stable storage";
        sheet.histogram("commit_seconds", times, self.work.times());
        let counts = self.requests.counts().into_iter();
        sheet.counters(
            "http_requests",
            "Requests to the page's door, by what they asked for and the answer's status",
            ["class", "status"],
            counts.map(|((class, status), count)| ([class.to_owned(), status.to_string()], count)),
        );
        sheet
    }

    fn stored(&self) -> Result<Stored, StoreError> {
        let (backlog, unclocked) = self.reader.backlog(&self.forms)?;
        Ok(Stored {
            totals: self.reader.totals()?,
            quarantine: self.reader.quarantine_sum()?,
            backlog,
            unclocked,
            unrolled_hours: self.reader.unrolled_hours()?,
            gateways: self.reader.gateways()?,
        })
    }
}

fn tell_stored(sheet: &mut Sheet, stored: &Stored) {
    let Totals { events, gaps, lost, unexplained, quarantined: _ } = stored.totals;
    sheet.gauge(
        "events_stored",
        "Events in the database, or that were until their time was over",
        whole(events),
    );
    sheet.gauge("gaps", "Ranges of events that are missing", whole(gaps));
    let reasons = [("lost", lost), ("unexplained", unexplained)];
    sheet.gauges(
        "gap_events",
        "Events in them: that their gateways declared lost, and that nobody explains",
        ["reason"],
        reasons.map(|(reason, count)| ([reason.to_owned()], whole(count))),
    );
    let QuarantineSum { payloads, bytes, only_copies } = stored.quarantine;
    sheet.gauge("quarantine_payloads", "Payloads in quarantine", whole(payloads));
    sheet.gauge("quarantine_bytes", "Their bytes", whole(bytes));
    sheet.gauge(
        "quarantine_only_copy_payloads",
        "Those of them that are the only copies of events",
        whole(only_copies),
    );
    let of = |number: fn(&Backlog) -> f64| {
        stored.backlog.iter().map(move |of| ([of.form.name().to_owned()], number(of)))
    };
    sheet.gauges(
        "feed_backlog_events",
        "Events that are not published yet in a form of the feed",
        ["form"],
        of(|backlog| whole(backlog.events)),
    );
    sheet.gauges(
        "feed_backlog_seconds",
        "For how long central has had the oldest of them",
        ["form"],
        of(|backlog| {
            let now = Timestamp::now().as_millisecond();
            seconds(backlog.oldest.map_or(0, |oldest| (now - oldest.0).max(0).cast_unsigned()))
        }),
    );
    sheet.gauge(
        "feed_unclocked_events",
        "Events that wait for a clock before they get a place in the feed",
        whole(stored.unclocked),
    );
    sheet.gauge(
        "rollup_waiting_hours",
        "Hours of shops that changed and are not rolled up anew yet",
        whole(stored.unrolled_hours),
    );
    let GatewaySums { online, offline, not_recording } = stored.gateways;
    let states = [("online", online), ("offline", offline), ("not_recording", not_recording)];
    sheet.gauges(
        "gateways",
        "Gateways by their last word; not_recording: connected, and unable to keep events",
        ["state"],
        states.map(|(state, count)| ([state.to_owned()], whole(count))),
    );
}

fn batches(sheet: &mut Sheet, sums: Sums) {
    let Sums { new, known, aside, adopted, forked, untold, left } = sums;
    let fates = [
        ("new", new),
        ("known", known),
        ("quarantined", aside),
        ("adopted", adopted),
        ("forked", forked),
        ("untold", untold),
        ("left", left),
    ];
    sheet.counters(
        "batches",
        "Batches by what became of them; adopted ones are among the new and known",
        ["fate"],
        fates.map(|(fate, sum)| ([fate.to_owned()], sum.batches)),
    );
    let events = "Events of batches by what became of them; known: stored before, a duplicate";
    let fates = fates.map(|(fate, sum)| ([fate.to_owned()], sum.events));
    sheet.counters("batch_events", events, ["fate"], fates);
}

//! Whether central does its work, for monitors. Enters: what ingest and the writer say, the database's sums.
//! Leaves: JSON, with 200 when events can be stored and 503 when not.
//!
//! ```json
//! {"status":"ok","broker":"connected","writer":"ok",
//!  "events":120,"gaps":0,"lost":0,"unexplained":0,"quarantined":0,
//!  "not_recording":[{"store":"paris-1","gateway":"gw-2","why":"the disk is full: …"}],
//!  "unopened":[{"key":"8520f0098930a754","state":"sealed","scans":7}],
//!  "feed":{"unclocked":3,"unpublished":[{"form":"cloudevents","events":40,"oldest_s":2}]},
//!  "quarantine":{"payloads":1,"bytes":512,"only_copies":0},
//!  "deleted":[{"store":"paris-1","table":"event","before":"2026-08-24T00:00:00Z","rows":120}]}
//! {"status":"failing","broker":"connected","writer":"failing",
//!  "since":"2026-11-21T09:30:00Z","why":"database: disk full"}
//! {"status":"degraded","broker":"connecting","disconnected_s":75,"broker_why":"I/O: Connection refused",
//!  "writer":"ok","events":120, …}
//! ```
//!
//! `broker` is `connecting` while there is no connection, `disconnected_s` for how long, and `broker_why` what the
//! last attempt came to. After 60 seconds the status is `degraded`, and the answer stays 200: the gateways keep
//! their events meanwhile, and nothing that a monitor does to central, such as starting it anew, brings a broker
//! back. `not_recording` lists the gateways that cannot keep events, by their own last word:
//! central is well all the same. `unopened` counts loyalty codes by the key to which they are sealed: `sealed` when
//! the key is not in central's folder of keys (they are opened when central starts with it), `broken` when it does not
//! open them. In `feed`, `unpublished` counts by form the events that the broker has
//! not acknowledged yet, and for how many seconds central has had the oldest of them (`null`: there is none), `unclocked`
//! those that wait for a clock first. `quarantine` counts payloads, their bytes, and how many of them are the only copies
//! of events. `deleted` says per shop and table how many rows went because of their age, and before which moment all of
//! them were. All this is left out when the database cannot be read.
//!
//! Strangers learn only whether central is well: `{"status":"ok"}`, or `{"status":"failing"}` with 503.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hangtag_central_core::feed::Form;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

use super::guard::Caller;
use super::lang::Lang;
use super::{NO_SNIFF, NO_STORE, Site};
use crate::access::Scope;
use crate::ingest::Broker;
use crate::store::{Deleted, Failing, NotRecording, QuarantineSum, StoreError, Totals, Unopened};

/// A connection may be away for so long: brokers are started anew.
const DEGRADED_AFTER: Duration = Duration::from_secs(60);

/// What the other tasks say of themselves.
pub(crate) struct Vitals {
    /// Whether there is a connection to the broker.
    pub broker: watch::Receiver<Broker>,
    /// Since when the writer cannot store.
    pub failing: watch::Receiver<Option<Failing>>,
    /// In which forms the feed is published.
    pub forms: Vec<Form>,
}

impl Vitals {
    /// What keeps the page behind what happens in the shops, in words for who reads it.
    pub(super) fn warnings(&self, lang: Lang) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Broker::Connecting { since, .. } = &*self.broker.borrow()
            && since.elapsed() >= DEGRADED_AFTER
        {
            warnings.push(lang.format("no-broker", &[("minutes", (since.elapsed().as_secs() / 60).into())]));
        }
        if self.failing.borrow().is_some() {
            warnings.push(lang.text("no-storing"));
        }
        warnings
    }
}

#[derive(Serialize)]
struct Body {
    status: &'static str,
    broker: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnected_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broker_why: Option<String>,
    writer: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(flatten)]
    sums: Option<Sums>,
}

/// What the database tells.
#[derive(Serialize)]
struct Sums {
    #[serde(flatten)]
    totals: Totals,
    not_recording: Vec<NotRecording>,
    unopened: Vec<Unopened>,
    feed: FeedSums,
    quarantine: QuarantineSum,
    deleted: Vec<Gone>,
}

#[derive(Serialize)]
struct FeedSums {
    unclocked: u64,
    unpublished: Vec<Unpublished>,
}

#[derive(Serialize)]
struct Unpublished {
    form: &'static str,
    events: u64,
    oldest_s: Option<u64>,
}

#[derive(Serialize)]
struct Gone {
    store: String,
    table: String,
    before: String,
    rows: u64,
}

impl Sums {
    fn ask(site: &Site) -> Result<Self, StoreError> {
        let (backlog, unclocked) = site.reader.backlog(&site.vitals.forms)?;
        let now = (site.now)().as_millisecond();
        let unpublished = backlog.into_iter().map(|of| Unpublished {
            form: of.form.name(),
            events: of.events,
            oldest_s: of.oldest.map(|at| (now - at.0).max(0).cast_unsigned() / 1_000),
        });
        let deleted =
            site.reader.deleted()?.into_iter().map(|Deleted { store, what, before_ms, count }| Gone {
                store,
                table: what,
                before: Timestamp::from_millisecond(before_ms)
                    .map_or_else(|_| before_ms.to_string(), |at| at.to_string()),
                rows: count,
            });
        Ok(Self {
            totals: site.reader.totals()?,
            not_recording: site.reader.not_recording()?,
            unopened: site.reader.unopened()?,
            feed: FeedSums { unclocked, unpublished: unpublished.collect() },
            quarantine: site.reader.quarantine_sum()?,
            deleted: deleted.collect(),
        })
    }
}

/// Answers.
pub(super) async fn health(State(site): State<Arc<Site>>, caller: Option<Extension<Caller>>) -> Response {
    match caller {
        Some(Extension(caller)) if caller.may(Scope::Health) => told(site).await,
        Some(_) | None => hinted(site).await,
    }
}

/// What strangers learn.
async fn hinted(site: Arc<Site>) -> Response {
    let is_storing = site.vitals.failing.borrow().is_none();
    // The cheapest question: anybody may ask it as often as they like.
    let asked = tokio::task::spawn_blocking(move || site.reader.rounding()).await;
    let is_ok = is_storing && asked.is_ok_and(|asked| asked.is_ok());
    let (status, word) =
        if is_ok { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "failing") };
    let headers = [(header::CONTENT_TYPE, "application/json"), NO_STORE, NO_SNIFF];
    (status, headers, format!("{{\"status\":\"{word}\"}}")).into_response()
}

async fn told(site: Arc<Site>) -> Response {
    let broker = site.vitals.broker.borrow().clone();
    let failing = site.vitals.failing.borrow().clone();
    let ask = move || Sums::ask(&site);
    let sums = match tokio::task::spawn_blocking(ask).await {
        Ok(sums) => sums.map_err(|why| why.to_string()),
        Err(why) => Err(why.to_string()),
    };
    let is_ok = failing.is_none() && sums.is_ok();
    let (broker, away, broker_why) = match broker {
        Broker::Connected => ("connected", None, None),
        Broker::Connecting { since, why } => ("connecting", Some(since.elapsed()), why),
    };
    let body = Body {
        status: match away {
            _ if !is_ok => "failing",
            Some(away) if away > DEGRADED_AFTER => "degraded",
            Some(_) | None => "ok",
        },
        broker,
        disconnected_s: away.map(|away| away.as_secs()),
        broker_why,
        writer: if failing.is_none() { "ok" } else { "failing" },
        since: failing.as_ref().map(|failing| failing.since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        why: failing.map(|failing| failing.why).or_else(|| sums.as_ref().err().cloned()),
        sums: sums.ok(),
    };
    let status = if is_ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = [(header::CONTENT_TYPE, "application/json"), NO_STORE, NO_SNIFF];
    let body = serde_json::to_string(&body).expect("texts and numbers always encode");
    (status, headers, body).into_response()
}

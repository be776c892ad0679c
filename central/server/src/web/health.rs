//! Whether central does its work, for monitors. Enters: what ingest and the writer say, the database's sums.
//! Leaves: JSON, with 200 when events can be stored and 503 when not.
//!
//! ```json
//! {"status":"ok","broker":"connected","writer":"ok",
//!  "events":120,"gaps":0,"lost":0,"unexplained":0,"quarantined":0,
//!  "not_recording":[{"store":"paris-1","gateway":"gw-2","why":"the disk is full: …"}],
//!  "unopened":[{"key":"8520f0098930a754","state":"sealed","scans":7}]}
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
//! open them. They and the sums are left out when the database cannot be read.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::watch;

use super::{NO_SNIFF, NO_STORE, Site};
use crate::ingest::Broker;
use crate::store::{Failing, NotRecording, StoreError, Totals, Unopened};

/// A connection may be away for so long: brokers are started anew.
const DEGRADED_AFTER: Duration = Duration::from_secs(60);

/// What the other tasks say of themselves.
pub(crate) struct Vitals {
    /// Whether there is a connection to the broker.
    pub broker: watch::Receiver<Broker>,
    /// Since when the writer cannot store.
    pub failing: watch::Receiver<Option<Failing>>,
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
}

/// Answers.
pub(super) async fn health(State(site): State<Arc<Site>>) -> Response {
    let broker = site.vitals.broker.borrow().clone();
    let failing = site.vitals.failing.borrow().clone();
    let ask = move || {
        Ok::<_, StoreError>(Sums {
            totals: site.reader.totals()?,
            not_recording: site.reader.not_recording()?,
            unopened: site.reader.unopened()?,
        })
    };
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

//! Whether central does its work, for monitors. Enters: what ingest and the writer say, the database's sums.
//! Leaves: JSON, with 200 when events can be stored and 503 when not.
//!
//! ```json
//! {"status":"ok","broker":"connected","writer":"ok",
//!  "events":120,"gaps":0,"lost":0,"unexplained":0,"quarantined":0,
//!  "not_recording":[{"store":"paris-1","gateway":"gw-2","why":"the disk is full: …"}]}
//! {"status":"failing","broker":"connecting","writer":"failing",
//!  "since":"2026-11-21T09:30:00Z","why":"database: disk full"}
//! ```
//!
//! `broker` is `connecting` while there is no connection: that is for the broker's monitor to judge, and
//! the answer stays 200. `not_recording` lists the gateways that cannot keep events, by their own last word:
//! central is well all the same. It and the sums are left out when the database cannot be read.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::watch;

use super::{NO_SNIFF, NO_STORE, Site};
use crate::store::{Failing, NotRecording, StoreError, Totals};

/// What the other tasks say of themselves.
pub(crate) struct Vitals {
    /// Whether there is a connection to the broker.
    pub connected: watch::Receiver<bool>,
    /// Since when the writer cannot store.
    pub failing: watch::Receiver<Option<Failing>>,
}

#[derive(Serialize)]
struct Body {
    status: &'static str,
    broker: &'static str,
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
}

/// Answers.
pub(super) async fn health(State(site): State<Arc<Site>>) -> Response {
    let connected = *site.vitals.connected.borrow();
    let failing = site.vitals.failing.borrow().clone();
    let ask = move || {
        Ok::<_, StoreError>(Sums {
            totals: site.reader.totals()?,
            not_recording: site.reader.not_recording()?,
        })
    };
    let sums = match tokio::task::spawn_blocking(ask).await {
        Ok(sums) => sums.map_err(|why| why.to_string()),
        Err(why) => Err(why.to_string()),
    };
    let is_ok = failing.is_none() && sums.is_ok();
    let body = Body {
        status: if is_ok { "ok" } else { "failing" },
        broker: if connected { "connected" } else { "connecting" },
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

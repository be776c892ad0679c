//! What the door answers. Enters: a request, and the certificate that was shown with it. Leaves: JSON, and a line in the log
//! for each answer, with who asked, for whom, and from where. Tokens and requests are not in it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use hangtag_protocol::enrol::{Application, ENROL, Granted, MAX_BYTES, RENEW, REVOKED, Refusal, Refused};
use hangtag_tls::Certificate;
use jiff::Timestamp;
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::Door;
use crate::pki::admission::Denied;
use crate::pki::authority::Signed;

/// Who calls, and at which door.
#[derive(Clone)]
pub(super) struct Call {
    pub door: Arc<Door>,
    /// The certificate that was shown.
    pub shown: Option<Arc<Certificate>>,
    /// From where.
    pub from: SocketAddr,
}

/// What can be asked for.
pub(super) fn router(call: Call) -> Router {
    Router::new()
        .route(ENROL, post(enrol))
        .route(RENEW, post(renew))
        .route(REVOKED, get(revoked))
        .layer(DefaultBodyLimit::max(MAX_BYTES))
        .with_state(call)
}

async fn enrol(State(call): State<Call>, body: Bytes) -> Response {
    decide(call, body, "enrolled", |call, application| {
        call.door.authority.enrol(application, call.door.valid, Timestamp::now())
    })
    .await
}

async fn renew(State(call): State<Call>, body: Bytes) -> Response {
    decide(call, body, "renewed", |call, application| {
        let shown = call.shown.as_deref();
        call.door.authority.renew(application, shown, call.door.valid, Timestamp::now())
    })
    .await
}

async fn revoked(State(call): State<Call>) -> Response {
    let path = call.door.authority.crl_path();
    match tokio::fs::read(&path).await {
        Ok(list) => ([(header::CONTENT_TYPE, "application/x-pem-file")], list).into_response(),
        Err(why) => {
            tracing::error!(path = %path.display(), %why, "there is no list of revoked certificates");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

async fn decide(
    call: Call,
    body: Bytes,
    done: &'static str,
    ask: impl FnOnce(&Call, &Application) -> Result<Signed, Denied> + Send + 'static,
) -> Response {
    let from = call.from;
    let application: Application = match serde_json::from_slice(&body) {
        Ok(application) => application,
        Err(why) => {
            tracing::warn!(%from, %why, "enrolment refused: unreadable");
            let why = format!("the message cannot be read: {why}");
            return json(StatusCode::BAD_REQUEST, &Refused { refused: Refusal::Unreadable, why });
        }
    };
    let (store, gateway) = (application.store, application.gateway);
    let decided = spawn_blocking(move || {
        let signed = ask(&call, &application)?;
        let ca = call.door.authority.certificate()?;
        Ok::<_, Denied>((signed, ca))
    });
    match decided.await {
        Ok(Ok((Signed { issued, pem }, ca))) => {
            let (serial, until) = (issued.serial, issued.until);
            tracing::info!(%from, %store, %gateway, serial, %until, done, "certificate issued");
            json(StatusCode::OK, &Granted { certificate: pem, ca })
        }
        Ok(Err(Denied::Refused { refusal, why })) => {
            tracing::warn!(%from, %store, %gateway, refused = ?refusal, why, "enrolment refused");
            json(status(refusal), &Refused { refused: refusal, why })
        }
        Ok(Err(Denied::Failed(why))) => {
            tracing::error!(%from, %store, %gateway, %why, "enrolment failed");
            unable()
        }
        Err(why) => {
            tracing::error!(%from, %store, %gateway, %why, "enrolment failed");
            unable()
        }
    }
}

/// What is wrong here is in the log here.
fn unable() -> Response {
    let why = "central cannot sign at the moment; its log says why".to_owned();
    json(StatusCode::SERVICE_UNAVAILABLE, &Refused { refused: Refusal::Unable, why })
}

fn status(refusal: Refusal) -> StatusCode {
    match refusal {
        Refusal::Unreadable => StatusCode::BAD_REQUEST,
        Refusal::Unable => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::UnknownToken
        | Refusal::TokenExpired
        | Refusal::TokenUsed
        | Refusal::OtherGateway
        | Refusal::OtherName
        | Refusal::NoCertificate
        | Refusal::Revoked
        | Refusal::TooEarly => StatusCode::FORBIDDEN,
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let text = serde_json::to_string(body).expect("plain texts");
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

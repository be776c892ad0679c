//! What describes the feed, over HTTP. Enters: a name and a version, as they stand at the end of an event's
//! `dataschema`. Leaves: the document, or 404 with the names of all.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::NO_SNIFF;
use crate::feed::documents::{ALL, Document};

/// Answers.
pub(super) async fn schema(Path((name, version)): Path<(String, String)>) -> Response {
    match version.parse().ok().and_then(|version| Document::find(&name, version)) {
        Some(document) => {
            // A version never changes.
            let headers = [
                (header::CONTENT_TYPE, document.content_type),
                (header::CACHE_CONTROL, "max-age=86400"),
                NO_SNIFF,
            ];
            (headers, document.text()).into_response()
        }
        None => {
            let all: Vec<String> =
                ALL.iter().map(|document| format!("{}/{}", document.name, document.version)).collect();
            let status = StatusCode::NOT_FOUND;
            let body = json!({
                "title": status.canonical_reason(),
                "status": status.as_u16(),
                "detail": format!("there is no {name}/{version}; there are {}", all.join(", ")),
            });
            let headers = [(header::CONTENT_TYPE, "application/problem+json"), NO_SNIFF];
            (status, headers, body.to_string()).into_response()
        }
    }
}

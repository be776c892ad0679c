//! What every answer tells the browser to refuse. Enters: an answer. Leaves: the same with headers; a page that says
//! itself which script and style is its own keeps that.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;

/// Of an answer that is no page: nothing in it is run, drawn or framed.
const NOTHING: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// A year in which browsers ask by HTTPS alone.
const ONLY_HTTPS: &str = "max-age=31536000";

/// Headers of every answer that has none of its own.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, NOTHING),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Adds what is missing. `is_tls`: central itself speaks HTTPS.
pub(super) fn harden(mut answer: Response, is_tls: bool) -> Response {
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if is_tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(ONLY_HTTPS));
    }
    answer
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    #[test]
    fn an_answer_keeps_what_it_says_itself() {
        let own = [(header::CONTENT_SECURITY_POLICY, "default-src 'self'")].into_response();
        let answer = harden(own, false);
        assert_eq!(answer.headers()[header::CONTENT_SECURITY_POLICY], "default-src 'self'");
        assert_eq!(answer.headers()[header::X_FRAME_OPTIONS], "DENY");
        assert!(!answer.headers().contains_key(header::STRICT_TRANSPORT_SECURITY));
        let answer = harden("".into_response(), true);
        assert_eq!(answer.headers()[header::CONTENT_SECURITY_POLICY], NOTHING);
        assert_eq!(answer.headers()[header::STRICT_TRANSPORT_SECURITY], ONLY_HTTPS);
    }
}

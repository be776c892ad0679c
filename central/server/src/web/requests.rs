//! How many requests came and how they were answered, for monitors. Enters: every request to the page's door. Leaves: a count
//! for each class of paths and status. A path itself is never kept: anybody may ask for any.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

/// What was asked for and what status the answer had, with how often.
type Counts = BTreeMap<(&'static str, u16), u64>;

/// How many requests came. All clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(Arc<Mutex<Counts>>);

impl Requests {
    /// Counts the requests to all paths of a router.
    pub(super) fn count_those_of(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), count))
    }

    /// What was asked for and what status the answers had, with how often.
    pub(crate) fn counts(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn count(State(requests): State<Requests>, request: Request, next: Next) -> Response {
    let class = class(request.uri().path());
    let response = next.run(request).await;
    let mut counts = requests.0.lock().unwrap_or_else(PoisonError::into_inner);
    *counts.entry((class, response.status().as_u16())).or_default() += 1;
    drop(counts);
    response
}

/// What kind of thing a path asks for.
fn class(path: &str) -> &'static str {
    match path {
        "/" => "page",
        "/live" => "live",
        "/health" => "health",
        path if path.starts_with("/api/v1/pos/") => "pos",
        path if path.starts_with("/api/") => "api",
        path if path.ends_with(".csv") && path.matches('/').count() == 1 => "csv",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn requests_are_counted_by_what_they_ask_for_and_how_they_are_answered() {
        let requests = Requests::default();
        let router = Router::new().route("/", get(|| async { "page" }));
        let router = requests.count_those_of(router);
        let paths =
            ["/", "/", "/api/v1/events", "/api/v1/pos/paris-1/sale", "/hours.csv", "/a/b.csv", "/%2e%2e/"];
        for path in paths {
            let request = Request::get(path).body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap();
        }
        let wanted = [
            (("api", 404), 1),
            (("csv", 404), 1),
            (("other", 404), 2),
            (("page", 200), 2),
            (("pos", 404), 1),
        ];
        assert_eq!(requests.counts(), Counts::from(wanted));
    }
}

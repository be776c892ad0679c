//! The merchandisers' page. Enters: HTTP requests with their filter in the URL. Leaves: a page that
//! is whole without script, its tables as CSV, a stream that tells of changes, and a health answer. What tills
//! send goes to the writer: the page never writes to the database, and loads nothing from elsewhere.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::Stream;
use hangtag_protocol::clock::UnixMillis;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::catalogue::Catalogue;
use crate::shop::Shop;
use crate::store::{Reader, StoreError};

#[cfg_attr(not(test), expect(dead_code, reason = "the page draws only the hours of a day"))]
mod chart;
mod coverage;
mod csv;
mod gateway;
mod health;
#[cfg_attr(not(test), expect(dead_code, reason = "the page speaks English only"))]
mod lang;
mod text;
mod tills;
mod view;

pub(crate) use health::Vitals;
pub(crate) use tills::Tills;
use view::View;

/// A change is told at most this often.
const LIVE_EVERY: Duration = Duration::from_secs(1);
/// How long a stop waits for open answers.
const DRAIN: Duration = Duration::from_secs(2);

/// What the page is made of.
pub(crate) struct Site {
    /// The database.
    pub reader: Reader,
    /// The shops, at least one.
    pub shops: Vec<Shop>,
    /// The trade items.
    pub catalogue: Catalogue,
    /// Changes with every commit.
    pub commits: watch::Receiver<u64>,
    /// What the other tasks say of themselves.
    pub vitals: Vitals,
    /// Becomes true when the program stops.
    pub stopping: watch::Receiver<bool>,
    /// The clock.
    pub now: fn() -> Timestamp,
}

/// Serves until told to stop.
///
/// # Errors
/// When the socket fails.
pub(crate) async fn serve(
    listener: TcpListener,
    site: Arc<Site>,
    tills: Tills,
    mut stopping: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut stop = stopping.clone();
    let server =
        axum::serve(listener, router(site).merge(tills::router(tills))).with_graceful_shutdown(async move {
            drop(stop.wait_for(|stop| *stop).await);
        });
    tokio::select! {
        served = server => served,
        // A client that keeps its connection open must not keep the program.
        () = async {
            drop(stopping.wait_for(|stop| *stop).await);
            tokio::time::sleep(DRAIN).await;
        } => Ok(()),
    }
}

/// The paths.
pub(crate) fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/products.csv", get(products))
        .route("/zones.csv", get(zones))
        .route("/hours.csv", get(hours))
        .route("/live", get(live))
        .route("/health", get(health::health))
        .with_state(site)
}

/// The filter as it stands in the URL. An empty value is none.
#[derive(Debug, Default, Deserialize)]
struct Filter {
    store: Option<String>,
    date: Option<String>,
}

type Filtered = Result<Query<Filter>, QueryRejection>;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error("the filter cannot be read: {0}")]
    Query(#[from] QueryRejection),
    #[error("parameter store: there is no store {0:?}")]
    Store(String),
    #[error("parameter date: {0:?} is not a date like 2026-11-21")]
    Date(String),
    #[error("{0}")]
    Database(#[from] StoreError),
    #[error("the page could not be made: {0}")]
    Template(#[from] askama::Error),
    #[error("the table could not be made: {0}")]
    Table(#[from] ::csv::Error),
    #[error("the question to the database was dropped: {0}")]
    Task(#[from] tokio::task::JoinError),
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    nonce: &'a str,
    what: &'a str,
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    nonce: &'a str,
    view: &'a View,
}

async fn page(State(site): State<Arc<Site>>, filter: Filtered) -> Result<Response, PageError> {
    let view = view_of(site, filter).await?;
    let nonce = nonce();
    let body = Page { nonce: &nonce, view: &view }.render()?;
    Ok(html(StatusCode::OK, &nonce, body))
}

async fn products(State(site): State<Arc<Site>>, filter: Filtered) -> Result<Response, PageError> {
    let view = view_of(site, filter).await?;
    Ok(attachment(&view, "products", csv::products(&view)?))
}

async fn zones(State(site): State<Arc<Site>>, filter: Filtered) -> Result<Response, PageError> {
    let view = view_of(site, filter).await?;
    Ok(attachment(&view, "zones", csv::zones(&view)?))
}

async fn hours(State(site): State<Arc<Site>>, filter: Filtered) -> Result<Response, PageError> {
    let view = view_of(site, filter).await?;
    Ok(attachment(&view, "hours", csv::hours(&view)?))
}

/// Says `changed` after commits, coalesced.
async fn live(State(site): State<Arc<Site>>) -> impl IntoResponse {
    let mut commits = site.commits.clone();
    // The page that asks was made just before.
    commits.mark_unchanged();
    ([NO_STORE], Sse::new(changes(commits, site.stopping.clone())).keep_alive(KeepAlive::default()))
}

fn changes(
    commits: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    futures_util::stream::unfold((commits, stopping), |(mut commits, mut stopping)| async move {
        tokio::select! {
            changed = commits.changed() => changed.ok()?,
            _ = stopping.wait_for(|stop| *stop) => return None,
        }
        // What else is committed in this time is told with it.
        tokio::select! {
            () = tokio::time::sleep(LIVE_EVERY) => {}
            _ = stopping.wait_for(|stop| *stop) => return None,
        }
        commits.borrow_and_update();
        Some((Ok(Event::default().data("changed")), (commits, stopping)))
    })
}

async fn view_of(site: Arc<Site>, filter: Filtered) -> Result<View, PageError> {
    let Query(filter) = filter?;
    let given = |value: Option<String>| value.filter(|text| !text.is_empty());
    let now = (site.now)();
    let shop = match given(filter.store) {
        Some(id) => site.shops.iter().position(|shop| shop.id.as_str() == id).ok_or(PageError::Store(id))?,
        None => 0,
    };
    let day = match given(filter.date) {
        Some(text) => Date::strptime("%Y-%m-%d", &text).map_err(|_| PageError::Date(text))?,
        None => site.shops[shop].today(now),
    };
    let (from, to) = site.shops[shop].bounds(day).ok_or_else(|| PageError::Date(day.to_string()))?;
    let bounds = [&from, &to].map(|at| UnixMillis(at.timestamp().as_millisecond()));
    tokio::task::spawn_blocking(move || {
        let read = site.reader.day(site.shops[shop].id, bounds[0], bounds[1])?;
        Ok(View::new(&site, shop, day, now, &read))
    })
    .await?
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Query(_) | Self::Store(_) | Self::Date(_) => StatusCode::BAD_REQUEST,
            Self::Database(_) | Self::Template(_) | Self::Table(_) | Self::Task(_) => {
                tracing::error!(error = %self, "no page");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        let (nonce, what) = (nonce(), self.to_string());
        let body = ErrorPage { nonce: &nonce, what: &what }.render().unwrap_or(what.clone());
        html(status, &nonce, body)
    }
}

const NO_STORE: (HeaderName, &str) = (header::CACHE_CONTROL, "no-store");
const NO_SNIFF: (HeaderName, &str) = (header::X_CONTENT_TYPE_OPTIONS, "nosniff");

/// Allows the one script and the one style sheet of one answer.
fn nonce() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn html(status: StatusCode, nonce: &str, body: String) -> Response {
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::REFERRER_POLICY, "no-referrer"),
        NO_STORE,
        NO_SNIFF,
    ];
    (status, headers, body).into_response()
}

fn attachment(view: &View, table: &str, body: Vec<u8>) -> Response {
    let disposition = format!("attachment; filename=\"{table}-{}-{}.csv\"", view.store, view.date);
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (header::CONTENT_DISPOSITION, disposition.as_str()),
        NO_STORE,
        NO_SNIFF,
    ];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests;

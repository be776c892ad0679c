//! The merchandisers' page. Enters: HTTP requests with their filter in the URL. Leaves: a page that
//! is whole without script, its tables as CSV and as JSON, a stream that tells of changes, and a health answer.
//! It never writes to the database, but for who signed in and what was asked ([`guard`]), and loads nothing from elsewhere.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::Stream;
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::Gtin;
use hangtag_tls::TlsError;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::config::Web;
use crate::days::{Days, Stock};
use crate::feed::Scene;
use crate::goods::Goods;
use crate::report::{Range, Report};
use crate::shop::Shop;
use crate::store::{Quality, Reader, StoreError};

mod api;
mod bar;
mod chart;
mod coverage;
mod csv;
mod draw;
mod events;
pub(crate) mod filter;
mod gateway;
mod guard;
mod health;
mod heard;
mod lang;
mod listen;
mod made;
mod outcome;
mod quality;
mod readers;
mod requests;
mod rows;
mod schema;
mod spots;
mod table;
mod tables;
mod tile;
mod tills;
mod view;
mod visits;

use filter::{Filter, FilterError};
use guard::Caller;
pub(crate) use guard::Guard;
pub(crate) use health::Vitals;
use lang::Lang;
use listen::Certificate;
pub(crate) use made::Made;
use made::{Found, Old};
pub(crate) use requests::Requests;
use tables::Source;
pub(crate) use tills::Tills;
use view::View;

/// A change is told at most this often.
const LIVE_EVERY: Duration = Duration::from_secs(1);
/// How many answers are made at a time; others wait.
const AT_ONCE: usize = 4;

/// What the page is made of.
pub(crate) struct Site {
    /// The database.
    pub reader: Reader,
    /// What its days add up to.
    pub days: Days,
    /// The shops, at least one.
    pub shops: Vec<Shop>,
    /// What documents of events say beside them.
    pub scene: Scene,
    /// The trade items.
    pub goods: Arc<Goods>,
    /// Changes with every commit, also of other processes.
    pub commits: watch::Receiver<u64>,
    /// What the other tasks say of themselves.
    pub vitals: Vitals,
    /// Becomes true when the program stops.
    pub stopping: watch::Receiver<bool>,
    /// The clock.
    pub now: fn() -> Timestamp,
    /// Whose turn it is: [`turns`].
    pub turns: Arc<Semaphore>,
    /// Pages that were made before.
    pub made: Made,
}

/// Turns for answers that take memory: with more at a time they would only take it from one another.
pub(crate) fn turns() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_ONCE))
}

/// Serves until told to stop.
///
/// # Errors
/// When the certificate is of no use.
pub(crate) async fn serve(
    listener: TcpListener,
    web: Web,
    guard: Guard,
    (site, tills, requests): (Arc<Site>, Tills, Requests),
    stopping: watch::Receiver<bool>,
) -> Result<(), TlsError> {
    let certificate = web.tls.as_ref().map(|tls| Certificate::read(tls.identity())).transpose()?;
    let is_proxy = move |address| web.proxy.as_ref().is_some_and(|proxy| proxy.is_at(address));
    let paths = guard::guarded(Arc::new(guard), router(site).merge(tills::router(tills)));
    let paths = requests.count_those_of(paths);
    listen::listen(listener, certificate, paths, is_proxy, stopping).await;
    Ok(())
}

/// Makes the page without a filter before it is asked for, and anew when something has changed, until told to stop.
pub(crate) async fn keep_ready(site: Arc<Site>, mut stopping: watch::Receiver<bool>) {
    let mut commits = site.commits.clone();
    loop {
        commits.mark_unchanged();
        let began = Instant::now();
        let of = Arc::clone(&site);
        match tokio::task::spawn_blocking(move || make_ready(&of)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot make the page before it is asked for"),
            Err(error) => tracing::error!(%error, "making the page ended early, will try again"),
        }
        tokio::select! {
            () = tokio::time::sleep(site.made.rest(began.elapsed())) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        tokio::select! {
            changed = commits.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(site.made.rest(Duration::ZERO)) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// Makes the page without a filter in all languages. Blocks.
fn make_ready(site: &Arc<Site>) -> Result<(), StoreError> {
    let now = (site.now)();
    let filter = Filter::parse("", &site.shops, now).expect("no parameter is wrong");
    let mut answer = Answer::new(Arc::clone(site), filter, Lang::default(), now)?;
    let qualities = answer.qualities()?;
    for lang in Lang::ALL {
        answer.lang = lang;
        let view = Arc::new(View::new(&answer.source(), &qualities, lang, now));
        site.made.keep((&answer.filter, lang), &view, answer.commits, (answer.began, Instant::now()));
    }
    Ok(())
}

/// The paths.
pub(crate) fn router(site: Arc<Site>) -> Router {
    let mut router = Router::new()
        .route("/", get(page))
        .route("/live", get(live))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/schema/{name}/{version}", get(schema::schema))
        .route("/api/v1/openapi.json", get(api::description))
        .route("/health", get(health::health))
        .route("/api/v1/measures/{table}", get(api::table));
    for name in tables::NAMES {
        router = router.route(&format!("/{name}.csv"), get(csv_file));
    }
    router.fallback(no_such_path).method_not_allowed_fallback(no_such_method).with_state(site)
}

/// Answers whoever asks for what is not there, programs in their way and people in theirs.
async fn no_such_path(uri: Uri, headers: HeaderMap) -> Response {
    refuse(&PageError::Path(uri.path().to_owned()), &uri, &headers)
}

/// The same where a path is asked for that takes other requests.
async fn no_such_method(uri: Uri, headers: HeaderMap) -> Response {
    refuse(&PageError::Method(uri.path().to_owned()), &uri, &headers)
}

fn refuse(why: &PageError, uri: &Uri, headers: &HeaderMap) -> Response {
    if uri.path().starts_with("/api/") {
        api::problem(why.status(), &format!("{why}; /api/v1/openapi.json describes what there is"))
    } else {
        why.page(language(None, headers))
    }
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error("{0}")]
    Filter(#[from] FilterError),
    #[error("parameter {0:?} is not one of {names}", names = api::NAMES.concat().join(", "))]
    Name(String),
    #[error("parameter {0}: the catalogue has no {1:?}")]
    Goods(&'static str, String),
    #[error("parameter lang: {0:?} is not one of {names}", names = Lang::ALL.map(Lang::tag).join(", "))]
    Lang(String),
    #[error("there is nothing at {0}")]
    Path(String),
    #[error("{0} is not asked for in this way: the header Allow tells how")]
    Method(String),
    #[error("there is no table {0:?}: there are {names}", names = tables::NAMES.join(", "))]
    Table(String),
    #[error("parameter {0}: {1:?} is not a number that it can be: limit is 1 to 1000, offset any")]
    Paging(String, String),
    #[error("{0}")]
    Database(#[from] StoreError),
    #[error("the page could not be made: {0}")]
    Template(#[from] askama::Error),
    #[error("the table could not be made: {0}")]
    Csv(#[from] ::csv::Error),
    #[error("the question to the database was dropped: {0}")]
    Task(#[from] tokio::task::JoinError),
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    nonce: &'a str,
    lang: Lang,
    what: &'a str,
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    nonce: &'a str,
    view: &'a View,
    /// What is not well at this moment.
    warnings: Vec<String>,
    /// How old the page is, where it is not of this moment,
    age: String,
    /// and after how many milliseconds to ask for it again.
    again: Option<u128>,
    lang: Lang,
    /// Who is signed in, and what the form for signing out brings along.
    signed_in: Option<(&'a str, &'a str)>,
}

/// A filter with what it adds up to.
struct Answer {
    site: Arc<Site>,
    filter: Filter,
    lang: Lang,
    now: Timestamp,
    report: Report,
    compared: Option<Report>,
    /// The latest counts of stock, by shop.
    stock: BTreeMap<(u32, Gtin), Stock>,
    /// When it was begun,
    began: Instant,
    /// and after how many commits.
    commits: u64,
}

impl Answer {
    fn new(site: Arc<Site>, filter: Filter, lang: Lang, now: Timestamp) -> Result<Self, StoreError> {
        let (began, commits) = (Instant::now(), *site.commits.borrow());
        let adds_up =
            |range: &Range| Report::new(&site.days, &site.shops, &site.goods, range, &filter.wanted, now);
        let (shops, from, to) = (filter.shops.clone(), filter.from, filter.to);
        let report = adds_up(&Range { shops, from, to, beside: None })?;
        let compared = filter.compared().map(|(from, to)| {
            let shops = filter.compared_shops(&site.shops);
            // A stretch that ends today is compared with one that ends as early in its last day.
            adds_up(&Range { shops, from, to, beside: Some(filter.to) })
        });
        let compared = compared.transpose()?;
        let mut stock = BTreeMap::new();
        for shop in &filter.shops {
            let number = u32::try_from(*shop).unwrap_or(u32::MAX);
            let of = site.days.stock(&site.shops[*shop], filter.to)?;
            stock.extend(of.into_iter().map(|(gtin, stock)| ((number, gtin), stock)));
        }
        Ok(Self { site, filter, lang, now, report, compared, stock, began, commits })
    }

    fn source(&self) -> Source<'_> {
        let Self { site, filter, report, compared, stock, .. } = self;
        Source { site, filter, report, compared: compared.as_ref(), stock }
    }

    /// The page, which is kept if it took long.
    fn page(self, caller: Option<&Caller>) -> Result<Response, PageError> {
        let view = Arc::new(View::new(&self.source(), &self.qualities()?, self.lang, self.now));
        let Self { site, filter, lang, commits, began, .. } = self;
        site.made.keep((&filter, lang), &view, commits, (began, Instant::now()));
        write(&site, caller, &filter, &Old { page: view, age: Duration::ZERO, lasts: None }, lang)
    }

    /// Refuses values that nothing can have. Of these the page only says so, because links live longer than catalogues.
    fn refuse_unknown(&self) -> Result<(), PageError> {
        if let Some(lang) = self.filter.lang.as_ref().filter(|lang| Lang::parse(lang).is_none()) {
            return Err(PageError::Lang(lang.clone()));
        }
        let unknown = self.site.goods.unknown(&self.filter.wanted).into_iter().next();
        unknown.map_or(Ok(()), |(name, value)| Err(PageError::Goods(name, value)))
    }

    /// How good the data of the shops are.
    fn qualities(&self) -> Result<Vec<Quality>, StoreError> {
        let of = |shop: &usize| {
            let shop = &self.site.shops[*shop];
            let at = |zoned: jiff::Zoned| UnixMillis(zoned.timestamp().as_millisecond());
            let (from, to) = (shop.bounds(self.filter.from), shop.bounds(self.filter.to));
            let from = from.map_or(UnixMillis(0), |(from, _)| at(from));
            let to = to.map_or(UnixMillis(self.now.as_millisecond()), |(_, to)| at(to));
            self.site.reader.quality(shop.id, from, to)
        };
        self.filter.shops.iter().map(of).collect()
    }
}

/// What a query string asks for, given to whoever makes an answer of it, on a thread that may wait for the database.
async fn answer<T: Send + 'static>(
    site: Arc<Site>,
    query: String,
    headers: &HeaderMap,
    make: impl FnOnce(Answer) -> Result<T, PageError> + Send + 'static,
) -> Result<T, PageError> {
    let of = Arc::clone(&site);
    in_turn(site, &query, headers, move |filter, lang, now| make(Answer::new(of, filter, lang, now)?)).await
}

/// The same for who needs no answer, perhaps.
async fn in_turn<T: Send + 'static>(
    site: Arc<Site>,
    query: &str,
    headers: &HeaderMap,
    make: impl FnOnce(Filter, Lang, Timestamp) -> Result<T, PageError> + Send + 'static,
) -> Result<T, PageError> {
    let now = (site.now)();
    let filter = Filter::parse(query, &site.shops, now)?;
    let lang = language(filter.lang.as_deref(), headers);
    let turn = Arc::clone(&site.turns).acquire_owned().await.expect("it is never closed");
    let make = move || {
        // Who asked may have gone; what was begun for them goes on, and so do its claims on memory.
        let _turn = turn;
        make(filter, lang, now)
    };
    tokio::task::spawn_blocking(make).await?
}

fn language(asked: Option<&str>, headers: &HeaderMap) -> Lang {
    let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    Lang::negotiate(asked, header(header::COOKIE), header(header::ACCEPT_LANGUAGE))
}

async fn page(
    State(site): State<Arc<Site>>,
    caller: Option<Extension<Caller>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let caller = caller.map(|Extension(caller)| caller);
    let made = kept_or_made(site, caller, &query.unwrap_or_default(), &headers).await;
    made.unwrap_or_else(|why| why.page(language(None, &headers)))
}

/// The page: one that was made before, if it will do.
async fn kept_or_made(
    site: Arc<Site>,
    caller: Option<Caller>,
    query: &str,
    headers: &HeaderMap,
) -> Result<Response, PageError> {
    let filter = Filter::parse(query, &site.shops, (site.now)())?;
    let lang = language(filter.lang.as_deref(), headers);
    let turn = match site.made.find(&filter, lang, *site.commits.borrow(), Instant::now()) {
        Found::Old(old) => return write(&site, caller.as_ref(), &filter, &old, lang),
        Found::Missing(turn) => turn,
    };
    let of = Arc::clone(&site);
    let make = move |filter: Filter, lang: Lang, now: Timestamp| {
        let _turn = turn;
        // Many may have waited for the same.
        let commits = *site.commits.borrow();
        match site.made.meanwhile(&filter, lang, commits, Instant::now()) {
            Some(old) => write(&site, caller.as_ref(), &filter, &old, lang),
            None => Answer::new(site, filter, lang, now)?.page(caller.as_ref()),
        }
    };
    in_turn(of, query, headers, make).await
}

/// Writes a page.
fn write(
    site: &Site,
    caller: Option<&Caller>,
    filter: &Filter,
    old: &Old,
    lang: Lang,
) -> Result<Response, PageError> {
    let nonce = nonce();
    let now = (site.now)();
    let made = UnixMillis(now.as_millisecond() - i64::try_from(old.age.as_millis()).unwrap_or(0));
    let mut warnings = site.vitals.warnings(lang);
    warnings.extend(caller.and_then(|caller| caller.note(lang)));
    let page = Page {
        nonce: &nonce,
        view: &old.page,
        warnings,
        age: match old.age {
            Duration::ZERO => String::new(),
            _ => lang.format("made", &[("ago", lang.ago(made, now).into())]),
        },
        again: old.lasts.map(|lasts| lasts.as_millis()),
        lang,
        signed_in: caller.and_then(Caller::signed_in),
    };
    let mut page = html(StatusCode::OK, &nonce, page.render()?);
    if let Some(lang) = filter.lang.as_deref().and_then(Lang::parse)
        && let Ok(cookie) = HeaderValue::from_str(&lang.cookie())
    {
        page.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(page)
}

async fn csv_file(
    State(site): State<Arc<Site>>,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let name = uri.path().trim_start_matches('/').trim_end_matches(".csv").to_owned();
    let made = answer(site, query.unwrap_or_default(), &headers, move |answer| {
        answer.refuse_unknown()?;
        let table = answer.source().table(&name).ok_or_else(|| PageError::Table(name.clone()))?;
        let Filter { from, to, .. } = answer.filter;
        let disposition = format!("attachment; filename=\"{name}-{from}-{to}.csv\"");
        let body = csv::write(&table, &answer.filter, answer.lang)?;
        let headers = [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
            (header::CONTENT_DISPOSITION, disposition.as_str()),
            NO_STORE,
            NO_SNIFF,
        ];
        Ok((headers, body).into_response())
    });
    made.await.unwrap_or_else(|why| why.page(language(None, &headers)))
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

impl PageError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Filter(_) | Self::Paging(..) | Self::Name(_) | Self::Goods(..) | Self::Lang(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Path(_) | Self::Table(_) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Database(_) | Self::Template(_) | Self::Csv(_) | Self::Task(_) => {
                tracing::error!(error = %self, "no page");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    fn page(&self, lang: Lang) -> Response {
        refused(self.status(), lang, &self.to_string())
    }
}

/// A page that says why there is none.
fn refused(status: StatusCode, lang: Lang, what: &str) -> Response {
    let nonce = nonce();
    let body = ErrorPage { nonce: &nonce, lang, what }.render().unwrap_or_else(|_| what.to_owned());
    html(status, &nonce, body)
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

#[cfg(test)]
mod tests;

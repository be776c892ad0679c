//! The guard before every path of the page. Enters: requests, and where they come from. Leaves: the same with who asks, to
//! whoever answers; or a refusal. Nothing behind it asks again who somebody is.
//!
//! | who | is known by |
//! |---|---|
//! | a person | a session, whose cookie comes from the sign-in page ([`sign_in`]) |
//! | a person behind a proxy | the proxy's headers, from the proxy's address alone |
//! | a program | a token: `Authorization: Bearer httok-…` |
//! | whoever is on this machine | nothing, as long as only loopback is listened on, no proxy is named and no user exists |
//!
//! What each path asks for stands in [`need`].

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use hangtag_protocol::clock::UnixMillis;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::language;
use crate::access::Role;
use crate::access::tally::Tally;
use crate::config::{Proxy, Web};
use crate::store::{Access, Deed, Ends, Entry, Granted, Guest, StoreError};

mod caller;
mod harden;
mod need;
mod refusal;
mod sign_in;

#[cfg(test)]
mod tests;

pub(super) use caller::{Caller, Peer};
use caller::{Credential, Origin};
use need::Need;
use refusal::Refusal;

/// Requests that a house of strangers, and somebody who is known, may send in a minute.
const OF_STRANGERS: u32 = 300;
const OF_CALLERS: u32 = 1_200;
const MINUTE: Duration = Duration::from_secs(60);
/// How often the same is written down of who does it again and again.
const TOLD_EVERY: Duration = Duration::from_secs(3_600);
/// Passwords that are looked at at a time: each takes 19 MiB and a core.
const HASHING: usize = 2;
/// The largest bodies of strangers and of others, in bytes; and how long one may take.
const BODY_OF_STRANGERS: usize = 8_192;
const BODY: usize = 1 << 20;
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// Who guards the paths.
pub(crate) struct Guard {
    access: Access,
    /// Whether nobody but this machine can come.
    is_on_loopback: bool,
    is_tls: bool,
    proxy: Option<Proxy>,
    ends: Ends,
    now: fn() -> Timestamp,
    sign_ins: Mutex<sign_in::Tallies>,
    strangers: Mutex<Tally<IpAddr>>,
    callers: Mutex<Tally<String>>,
    told: Mutex<Tally<String>>,
    hashing: Semaphore,
}

impl Guard {
    /// Guards as the configuration says.
    pub(crate) fn new(access: Access, web: &Web, now: fn() -> Timestamp) -> Self {
        Self {
            access,
            is_on_loopback: web.is_on_loopback(),
            is_tls: web.tls.is_some(),
            proxy: web.proxy.clone(),
            ends: web.session.ends(),
            now,
            sign_ins: Mutex::default(),
            strangers: Mutex::new(Tally::new(OF_STRANGERS, MINUTE)),
            callers: Mutex::new(Tally::new(OF_CALLERS, MINUTE)),
            told: Mutex::new(Tally::new(1, TOLD_EVERY)),
            hashing: Semaphore::new(HASHING),
        }
    }

    /// Says in the log who can come in. Blocks.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn announce(&self) -> Result<(), StoreError> {
        const ADD: &str = "`hangtag-central user add NAME --role administrator` adds a user";
        let knows_people = self.proxy.as_ref().is_some_and(|proxy| proxy.user.is_some());
        if knows_people || self.access.has_accounts()? {
            return Ok(());
        }
        if self.may_be_open() {
            tracing::info!(
                "nobody is asked who they are: no user exists, and only this machine can reach the page; {ADD}"
            );
        } else {
            tracing::warn!("nobody can sign in: no user exists; {ADD}");
        }
        Ok(())
    }

    fn may_be_open(&self) -> bool {
        self.is_on_loopback && self.proxy.is_none()
    }

    fn unix_now(&self) -> UnixMillis {
        UnixMillis((self.now)().as_millisecond())
    }

    fn entry(&self, who: &str, what: Deed, origin: &Origin, about: impl Into<String>) -> Entry {
        let (who, address) = (who.to_owned(), origin.client.to_string());
        Entry { at: self.unix_now(), who, what, address, about: about.into() }
    }

    /// Writes something down; what the same one does again within an hour is not. Blocks.
    fn tell_once(&self, entry: &Entry) {
        let key = format!("{} {} {} {}", entry.what.name(), entry.who, entry.address, entry.about);
        if lock(&self.told).take(&key, Instant::now()).is_ok() {
            self.tell(entry);
        }
    }

    /// Writes something down. Blocks.
    fn tell(&self, entry: &Entry) {
        if let Err(error) = self.access.note(entry) {
            tracing::error!(%error, who = entry.who, about = entry.about, "cannot write down: {}", entry.what.name());
        }
    }

    /// Who asks. Blocks.
    fn look(&self, credential: Credential, origin: &Origin) -> Result<Option<Caller>, Refusal> {
        match credential {
            Credential::Token(token) if !caller::is_token(token.reveal()) => {
                Err(Refusal::Token("is none of central's"))
            }
            Credential::Token(token) => match self.access.token(&token.digest(), self.unix_now())? {
                Granted::To(bearer) => Ok(Some(Caller::Program(bearer))),
                Granted::Unknown => Err(Refusal::Token("is not known")),
                Granted::Expired => Err(Refusal::Token("has expired")),
                Granted::Revoked => Err(Refusal::Token("was revoked")),
            },
            Credential::Proxied(name, words) => match self.role(&words) {
                Some(role) => Ok(Some(Caller::Person { name, role, forms: None })),
                None => {
                    self.tell_once(&self.entry(&name, Deed::Refused, origin, "no role"));
                    Err(Refusal::NoRole(name))
                }
            },
            Credential::Session(secret) => {
                let guest = self.access.session(&secret.digest(), self.unix_now(), self.ends)?;
                let person =
                    |Guest { name, role }| Caller::Person { name, role, forms: Some(secret.of_forms()) };
                guest.map_or_else(|| self.anyone(), |guest| Ok(Some(person(guest))))
            }
            Credential::Nothing => self.anyone(),
        }
    }

    /// Whoever it is, where nobody is asked.
    fn anyone(&self) -> Result<Option<Caller>, Refusal> {
        Ok(if self.may_be_open() && !self.access.has_accounts()? { Some(Caller::Anyone) } else { None })
    }

    /// The greatest role that the proxy's words stand for.
    fn role(&self, words: &[String]) -> Option<Role> {
        let known = self.proxy.as_ref()?;
        words.iter().filter_map(|word| known.role.get(word).copied()).max()
    }

    /// Lets a request in, with who asks and from where, and its body as far as it may be.
    async fn admit(self: &Arc<Self>, request: Request) -> Result<Request, Refusal> {
        let (mut parts, body) = request.into_parts();
        let peer =
            parts.extensions.get().map_or(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), |Peer(peer)| *peer);
        let proxy = self.proxy.as_ref();
        let origin = Origin::of(peer, &parts.headers, proxy, self.is_tls);
        let path = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
        let need = path.as_deref().map_or(Need::Known, need::of);
        let credential = Credential::of(&origin, &parts.headers, proxy);
        let lies = self.takes_headers_away(&mut parts.headers, &origin);
        let is_past =
            !self.is_on_loopback && !self.is_tls && !origin.is_proxy && !peer.to_canonical().is_loopback();

        let is_monitor = path.as_deref() == Some(need::HEALTH);
        let guard = Arc::clone(self);
        let looked = tokio::task::spawn_blocking(move || {
            if lies {
                guard.tell_once(&guard.entry("", Deed::HeadersIgnored, &origin, "of a proxy"));
            }
            // A token that went over the network in the clear is of no use to a thief who must pass the proxy, too.
            if is_past && !is_monitor { Err(Refusal::PastProxy) } else { guard.look(credential, &origin) }
        });
        let looked = match looked.await? {
            // Monitors ask most of all then.
            Err(Refusal::Database(error)) if is_monitor => {
                tracing::error!(%error, "who asks for /health cannot be looked up");
                Ok(None)
            }
            looked => looked,
        };
        match &looked {
            Ok(Some(Caller::Anyone)) => answers_to(&parts.headers)?,
            Ok(Some(caller @ (Caller::Person { .. } | Caller::Program(_)))) => {
                lock(&self.callers).take(&caller.who(), Instant::now()).map_err(Refusal::TooMany)?;
            }
            Ok(None) | Err(_) if is_monitor => {}
            // Strangers do not keep out whoever is known in the same house.
            Ok(None) | Err(_) => {
                lock(&self.strangers).take(&origin.house(), Instant::now()).map_err(Refusal::TooMany)?;
            }
        }
        let caller = looked?;
        if let (Some(Caller::Person { .. }), false) = (&caller, is_of_own_page(&parts.method, &parts.headers))
        {
            return Err(Refusal::Strange);
        }
        if let Err(refusal) = is_enough(need, caller.as_ref()) {
            if let Some(caller) = &caller {
                let entry = self.entry(&caller.who(), Deed::Refused, &origin, parts.uri.path());
                let guard = Arc::clone(self);
                tokio::task::spawn_blocking(move || guard.tell_once(&entry)).await?;
            }
            return Err(refusal);
        }
        let most = if caller.is_some() { BODY } else { BODY_OF_STRANGERS };
        let body = whole(body, &parts.method, most).await?;
        parts.extensions.insert(origin);
        if let Some(caller) = caller {
            parts.extensions.insert(caller);
        }
        Ok(Request::from_parts(parts, body))
    }

    /// Takes away what only a proxy may say. Whether anybody else said it.
    fn takes_headers_away(&self, headers: &mut HeaderMap, origin: &Origin) -> bool {
        let Some(Proxy { user: Some(user), roles, .. }) = &self.proxy else { return false };
        let names = std::iter::once(user).chain(roles);
        let was_there = names.map(|name| headers.remove(name).is_some()).fold(false, |any, was| any | was);
        was_there && !origin.is_proxy
    }

    /// Writes down that somebody took data along: every table, and once an hour that events are read.
    async fn note_export(self: Arc<Self>, who: String, origin: Origin, path: String) {
        let is_table = path.split('?').next().is_some_and(|path| path.ends_with(".csv"));
        let path = if is_table { path } else { path.split('?').next().unwrap_or_default().to_owned() };
        let entry = self.entry(&who, Deed::Exported, &origin, path);
        let noted =
            tokio::task::spawn_blocking(
                move || if is_table { self.tell(&entry) } else { self.tell_once(&entry) },
            );
        if let Err(error) = noted.await {
            tracing::error!(%error, "an export is not written down");
        }
    }
}

/// Puts the guard before paths, and adds those by which people sign in and out.
pub(super) fn guarded(guard: Arc<Guard>, paths: Router) -> Router {
    let paths = paths.merge(sign_in::router(Arc::clone(&guard)));
    paths.layer(from_fn_with_state(guard, watch))
}

async fn watch(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let (uri, reads) = (request.uri().clone(), is_reading(request.method()));
    let lang = language(None, request.headers());
    let answer = match guard.admit(request).await {
        Ok(request) => {
            let who = request.extensions().get().map(Caller::who);
            let origin = request.extensions().get().copied();
            let answer = next.run(request).await;
            let is_export = uri.path().ends_with(".csv") || uri.path() == "/api/v1/events";
            if let (Some(who), Some(origin), true, true) =
                (who, origin, is_export, answer.status().is_success())
            {
                Arc::clone(&guard).note_export(who, origin, uri.to_string()).await;
            }
            answer
        }
        Err(refusal) => {
            if let Refusal::Database(_) | Refusal::Task(_) = refusal {
                let why = std::error::Error::source(&refusal).map(ToString::to_string);
                tracing::error!(error = %refusal, why, "nobody can be let in");
            }
            refusal.answer(&uri, reads, lang)
        }
    };
    harden::harden(answer, guard.is_tls)
}

/// Whether somebody may do what a path asks for.
fn is_enough(need: Need, caller: Option<&Caller>) -> Result<(), Refusal> {
    match (need, caller) {
        (Need::Nothing, _) | (Need::Known, Some(_)) => Ok(()),
        (Need::Known | Need::May(_) | Need::Administrator, None) => Err(Refusal::Unknown),
        (Need::May(scope), Some(caller)) if caller.may(scope) => Ok(()),
        (Need::May(scope), Some(_)) => Err(Refusal::Scope(scope)),
        (Need::Administrator, Some(caller)) if caller.may_all() => Ok(()),
        (Need::Administrator, Some(_)) => Err(Refusal::Administrator),
    }
}

/// What says that somebody else asks through a proxy.
const OF_PROXIES: [&str; 5] = ["x-forwarded-for", "x-forwarded-host", "x-real-ip", "forwarded", "via"];

/// Where nobody is asked who they are, a strange page may make a browser ask under a name of its own that leads here, and
/// a proxy that nobody named may bring strangers.
fn answers_to(headers: &HeaderMap) -> Result<(), Refusal> {
    if OF_PROXIES.iter().any(|name| headers.contains_key(*name)) {
        return Err(Refusal::Host);
    }
    // Browsers always name the host.
    let Some(host) = headers.get(header::HOST) else { return Ok(()) };
    let host = host.to_str().unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let is_loopback = name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    if is_loopback || name == "localhost" || name.ends_with(".localhost") {
        Ok(())
    } else {
        Err(Refusal::Host)
    }
}

/// Whether a browser says that no other site's page makes it change anything. Old browsers say nothing: against those,
/// forms bring along what other pages cannot know.
fn is_of_own_page(method: &Method, headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    is_reading(method) || matches!(site, None | Some("same-origin" | "none"))
}

fn is_reading(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

/// The body, when it has come as a whole.
async fn whole(body: Body, method: &Method, most: usize) -> Result<Body, Refusal> {
    if is_reading(method) {
        return Ok(Body::empty());
    }
    match timeout(BODY_WITHIN, axum::body::to_bytes(body, most)).await {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        Ok(Err(_)) => Err(Refusal::TooLarge(most)),
        Err(_) => Err(Refusal::Slow(BODY_WITHIN)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Where people sign in, and out. Enters: forms. Leaves: a page that works without script, and a cookie that holds 256
//! random bits; or, after a while without success, that one must wait.
//!
//! A form brings along what only a page of central's could know: for signing in it follows from a cookie that the page
//! sets, for signing out from the session itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use askama::Template;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::super::lang::Lang;
use super::super::{html, language, nonce};
use super::caller::{Caller, Origin, SESSION, cookie};
use super::need::{SIGN_IN, SIGN_OUT};
use super::refusal::{Refusal, seconds};
use super::{Guard, lock};
use crate::access::secret::Secret;
use crate::access::tally::Tally;
use crate::access::{Name, password};
use crate::store::{Deed, StoreError};

/// Failures after which somebody must wait: of one name from one house, of one house, of one name from anywhere. The last
/// is the largest, so that a stranger cannot easily lock somebody out.
const MOST: [u32; 3] = [5, 30, 50];
const WITHIN: Duration = Duration::from_secs(15 * 60);
/// How long somebody waits until a password can be looked at.
const PATIENCE: Duration = Duration::from_secs(10);
/// The cookie that belongs to a form.
const FORM: &str = "hangtag-form";

/// How often which names failed, and from where.
pub(super) struct Tallies {
    pairs: Tally<(String, IpAddr)>,
    houses: Tally<IpAddr>,
    names: Tally<String>,
}

impl Default for Tallies {
    fn default() -> Self {
        let [pairs, houses, names] = MOST;
        Self {
            pairs: Tally::new(pairs, WITHIN),
            houses: Tally::new(houses, WITHIN),
            names: Tally::new(names, WITHIN),
        }
    }
}

impl Tallies {
    /// Counts an attempt as one that fails.
    fn take(&mut self, name: &str, house: IpAddr, now: Instant) -> Result<(), Duration> {
        self.pairs.take(&(name.to_owned(), house), now)?;
        self.houses.take(&house, now)?;
        self.names.take(&name.to_owned(), now)
    }

    /// It did not.
    fn give_back(&mut self, name: &str, house: IpAddr) {
        self.pairs.give_back(&(name.to_owned(), house));
        self.houses.give_back(&house);
        self.names.give_back(&name.to_owned());
    }
}

#[derive(Template)]
#[template(path = "sign-in.html")]
struct SignInPage<'a> {
    nonce: &'a str,
    lang: Lang,
    /// Why it was in vain; empty when nothing was tried.
    said: &'a str,
    next: &'a str,
    form: &'a str,
    /// Query strings of the page in other languages.
    others: &'a [(Lang, String)],
}

/// What came of an attempt.
enum Attempt {
    In(Secret),
    Failed,
}

/// The paths.
pub(super) fn router(guard: Arc<Guard>) -> Router {
    Router::new().route(SIGN_IN, get(ask).post(sign_in)).route(SIGN_OUT, post(sign_out)).with_state(guard)
}

/// Shows the form.
async fn ask(
    Extension(origin): Extension<Origin>,
    caller: Option<Extension<Caller>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let field = |name: &str| field(query.as_deref().unwrap_or_default().as_bytes(), name);
    let next = local(&field("next"));
    if caller.is_some() {
        return Redirect::to(&next).into_response();
    }
    let asked = Some(field("lang")).filter(|lang| !lang.is_empty());
    let lang = language(asked.as_deref(), &headers);
    let mut page = form(&origin, lang, StatusCode::OK, &next, "");
    if let Some(lang) = asked.as_deref().and_then(Lang::parse) {
        add_cookie(&mut page, &lang.cookie());
    }
    page
}

/// Takes the form.
async fn sign_in(
    State(guard): State<Arc<Guard>>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let lang = language(None, &headers);
    let next = local(&field(&body, "next"));
    let brought = cookie(&headers, &origin.cookie(FORM)).map(Secret::told);
    if !brought.is_some_and(|secret| secret.fits(&field(&body, "form"))) {
        return form(&origin, lang, StatusCode::FORBIDDEN, &next, &lang.text("sign-in-form"));
    }
    let name = field(&body, "name").parse::<Name>().ok();
    // Who types no name is counted with all others who type none.
    let counted = name.as_ref().map_or("", Name::as_str).to_owned();
    let taken = lock(&guard.sign_ins).take(&counted, origin.house(), Instant::now());
    if let Err(wait) = taken {
        let entry = guard.entry("", Deed::SignInHeldOff, &origin, format!("for {} s", seconds(wait)));
        let teller = Arc::clone(&guard);
        drop(tokio::task::spawn_blocking(move || teller.tell_once(&entry)).await);
        let minutes = wait.as_secs().div_ceil(60);
        let said = lang.format("sign-in-wait", &[("minutes", minutes.into())]);
        let mut page = form(&origin, lang, StatusCode::TOO_MANY_REQUESTS, &next, &said);
        page.headers_mut().insert(header::RETRY_AFTER, seconds(wait).into());
        return page;
    }
    let password = Zeroizing::new(field(&body, "password"));
    let before = cookie(&headers, &origin.cookie(SESSION)).map(Secret::told);
    match attempt(Arc::clone(&guard), origin, name, password, before).await {
        Ok(Attempt::In(secret)) => {
            lock(&guard.sign_ins).give_back(&counted, origin.house());
            let mut answer = Redirect::to(&next).into_response();
            let age = guard.ends.after / 1_000;
            add_cookie(&mut answer, &set(&origin, SESSION, secret.reveal(), age));
            add_cookie(&mut answer, &set(&origin, FORM, "", 0));
            answer
        }
        Ok(Attempt::Failed) => {
            form(&origin, lang, StatusCode::FORBIDDEN, &next, &lang.text("sign-in-failed"))
        }
        Err(why) => {
            // Nobody looked at the password.
            lock(&guard.sign_ins).give_back(&counted, origin.house());
            tracing::error!(error = %why, "nobody can sign in");
            form(&origin, lang, why.status(), &next, &lang.text("refused-database"))
        }
    }
}

/// Looks at a password, and signs the browser in if it is right.
async fn attempt(
    guard: Arc<Guard>,
    origin: Origin,
    name: Option<Name>,
    password: Zeroizing<String>,
    before: Option<Secret>,
) -> Result<Attempt, Refusal> {
    let turn = timeout(PATIENCE, guard.hashing.acquire()).await;
    let Ok(Ok(turn)) = turn else { return Err(Refusal::TooMany(PATIENCE)) };
    let looker = Arc::clone(&guard);
    let looked = tokio::task::spawn_blocking(move || {
        look(&looker, &origin, name.as_ref(), &password, before.as_ref())
    });
    let looked = looked.await;
    drop(turn);
    Ok(looked??)
}

fn look(
    guard: &Guard,
    origin: &Origin,
    name: Option<&Name>,
    password: &str,
    before: Option<&Secret>,
) -> Result<Attempt, StoreError> {
    let kept = name.map(|name| guard.access.password(name)).transpose()?.flatten();
    let is_right = password.len() <= password::LONGEST && password::verify(password, kept.as_deref());
    if let (Some(name), Some(kept), true) = (name, kept.as_deref(), is_right) {
        let secret = Secret::random();
        let entry = guard.entry(name.as_str(), Deed::SignedIn, origin, "");
        if guard.access.begin_session(&secret.digest(), (name, kept), guard.ends, &entry)? {
            if let Some(before) = before {
                guard.access.end_session(
                    &before.digest(),
                    &guard.entry(name.as_str(), Deed::SignedOut, origin, ""),
                )?;
            }
            return Ok(Attempt::In(secret));
        }
    }
    // What was typed for a name may be a password.
    let who = name.filter(|_| kept.is_some()).map_or("", Name::as_str);
    let about = if who.is_empty() { "no such user" } else { "wrong password" };
    guard.access.note(&guard.entry(who, Deed::SignInFailed, origin, about))?;
    Ok(Attempt::Failed)
}

/// Signs the browser out.
async fn sign_out(
    State(guard): State<Arc<Guard>>,
    Extension(origin): Extension<Origin>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let lang = language(None, &headers);
    let mut answer = Redirect::to(SIGN_IN).into_response();
    let session = cookie(&headers, &origin.cookie(SESSION)).map(Secret::told);
    if let (Some(Extension(caller)), Some(session)) = (caller, session) {
        if !session.fits(&field(&body, "form")) {
            return super::super::refused(StatusCode::FORBIDDEN, lang, &lang.text("sign-in-form"));
        }
        let entry = guard.entry(&caller.who(), Deed::SignedOut, &origin, "");
        let ended =
            tokio::task::spawn_blocking(move || guard.access.end_session(&session.digest(), &entry)).await;
        let ended = ended.map_err(Refusal::Task).and_then(|ended| ended.map_err(Refusal::Database));
        if let Err(why) = ended {
            tracing::error!(error = %why, "nobody can sign out");
            return super::super::refused(why.status(), lang, &lang.text("refused-database"));
        }
    }
    add_cookie(&mut answer, &set(&origin, SESSION, "", 0));
    answer
}

fn form(origin: &Origin, lang: Lang, status: StatusCode, next: &str, said: &str) -> Response {
    let (nonce, secret) = (nonce(), Secret::random());
    let others: Vec<(Lang, String)> = Lang::ALL
        .into_iter()
        .filter(|other| *other != lang)
        .map(|other| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            (other, query.append_pair("lang", other.tag()).append_pair("next", next).finish())
        })
        .collect();
    let form = secret.of_forms();
    let page = SignInPage { nonce: &nonce, lang, said, next, form: &form, others: &others };
    let mut page = html(status, &nonce, page.render().unwrap_or_default());
    add_cookie(&mut page, &set(origin, FORM, secret.reveal(), 3_600));
    page
}

/// The header `Set-Cookie`; an age of 0 forgets it.
fn set(origin: &Origin, name: &str, value: &str, age: i64) -> String {
    let name = origin.cookie(name);
    let secure = if origin.is_secure { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}")
}

fn add_cookie(answer: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        answer.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// A field of a form; empty when it is not there.
fn field(form: &[u8], name: &str) -> String {
    let mut pairs = form_urlencoded::parse(form);
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// Where to go on: a path of central's own, or its first page.
fn local(next: &str) -> String {
    let mut letters = next.chars();
    let is_path = letters.next() == Some('/') && !matches!(letters.next(), Some('/' | '\\'));
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_path && is_plain && !next.starts_with(SIGN_IN) { next.to_owned() } else { "/".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere() {
        for (next, leads) in [
            ("/?store=paris-1", "/?store=paris-1"),
            ("/hours.csv", "/hours.csv"),
            ("", "/"),
            ("//elsewhere.example/", "/"),
            ("/\\elsewhere.example", "/"),
            ("https://elsewhere.example", "/"),
            ("/a\r\nSet-Cookie: x=1", "/"),
            ("/sign-in?next=/", "/"),
        ] {
            assert_eq!(local(next), leads, "{next}");
        }
    }

    #[test]
    fn a_house_is_held_off_before_a_name_is() {
        let mut tallies = Tallies::default();
        let now = Instant::now();
        let house = |number: u8| IpAddr::from([10, 0, 0, number]);
        for _ in 0..MOST[0] {
            tallies.take("ana", house(1), now).unwrap();
        }
        assert_eq!(tallies.take("ana", house(1), now), Err(WITHIN));
        tallies.take("ben", house(1), now).unwrap();
        tallies.take("ana", house(2), now).unwrap();
        tallies.give_back("ana", house(1));
        tallies.take("ana", house(1), now).unwrap();
    }
}

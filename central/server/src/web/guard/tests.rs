//! The guard before the page, without a socket: who is let in where.

use axum::http::{Request, StatusCode};
use tower::ServiceExt as _;

use super::super::tests::site;
use super::super::{Site, Tills, router, tills};
use super::*;
use crate::access::secret::{Secret, TOKEN_PREFIX};
use crate::access::{Name, Scope, password};
use crate::config::Config;
use crate::store::tests::{Bench, tenant};
use crate::store::{NewToken, StoreError};

/// The page behind its guard.
struct House {
    app: Router,
    guard: Arc<Guard>,
    _site: Arc<Site>,
    _bench: Bench,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

const HERE: &str = "127.0.0.1";
const PASSWORD: &str = "a rail of dresses";

fn web(text: &str) -> Web {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("central.toml");
    let text = format!(
        "tenant='demo'\ndata='c.db'\nstores='s.toml'\n[mqtt]\nhost='h'\nport=1\n[web]\nlisten='127.0.0.1:0'\n{text}"
    );
    std::fs::write(&file, text).unwrap();
    Config::read(&file).unwrap().web
}

impl House {
    fn new(config: &str) -> Self {
        let bench = Bench::new();
        let (site, _) = site(&bench, "");
        let guard =
            Arc::new(Guard::new(Access::new(bench.address.clone(), tenant()), &web(config), Timestamp::now));
        let (input, _) = tokio::sync::mpsc::channel(1);
        let tills = Tills { input: input.downgrade(), shops: site.shops.clone() };
        let app = guarded(Arc::clone(&guard), router(Arc::clone(&site)).merge(tills::router(tills)));
        Self { app, guard, _site: site, _bench: bench }
    }

    fn entry(&self, what: Deed) -> Entry {
        let origin = Origin::of(HERE.parse().unwrap(), &HeaderMap::new(), None, false);
        self.guard.entry("test", what, &origin, "")
    }

    fn add(&self, name: &str, role: Role) -> Name {
        let name: Name = name.parse().unwrap();
        let added = self.guard.access.add_account(
            &name,
            role,
            &password::hash(PASSWORD),
            &self.entry(Deed::UserAdded),
        );
        assert!(added.unwrap());
        name
    }

    fn token(&self, scopes: &[Scope], expires: Option<i64>) -> (i64, String) {
        let text = format!("{TOKEN_PREFIX}{}", Secret::random().reveal());
        let digest = Secret::told(&text).digest();
        let token = NewToken { name: "test", digest: &digest, scopes, expires: expires.map(UnixMillis) };
        (
            self.guard.access.add_token(&token, &self.entry(Deed::TokenAdded)).unwrap(),
            format!("Bearer {text}"),
        )
    }

    async fn send(&self, peer: &str, request: axum::http::request::Builder, body: &str) -> Answer {
        let request =
            request.extension(Peer(peer.parse().unwrap())).body(Body::from(body.to_owned())).unwrap();
        let (parts, body) = self.app.clone().oneshot(request).await.unwrap().into_parts();
        let text = String::from_utf8(axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request =
            headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
        self.send(HERE, request, "").await
    }

    /// Signs in as a browser does: with the form's cookie. The answer, and the cookies that it sets.
    async fn sign_in(&self, name: &str, password: &str) -> Answer {
        let page = self.get("/sign-in?next=/hours.csv", &[]).await;
        let cookie = cookies(&page);
        let form = page.text.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("name", name), ("password", password), ("form", form), ("next", "/hours.csv")])
            .finish();
        self.send(HERE, Request::post("/sign-in").header("cookie", cookie), &body).await
    }

    fn deeds(&self) -> Vec<(String, String, String)> {
        let noted = self.guard.access.audit(100).unwrap();
        noted.into_iter().rev().map(|noted| (noted.what, noted.who, noted.about)).collect()
    }
}

/// What a browser sends back.
fn cookies(answer: &Answer) -> String {
    let set = answer.headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap());
    let pairs = set.filter(|set| !set.contains("Max-Age=0")).map(|set| set.split(';').next().unwrap());
    pairs.collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn nobody_is_asked_on_this_machine_until_there_is_a_user() {
    let house = House::new("");
    let page = house.get("/", &[("host", "127.0.0.1:8080")]).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("Nobody is asked who they are: no user exists"), "{}", page.text);
    assert!(house.get("/health", &[]).await.text.contains("\"broker\""));
    assert_eq!(house.get("/", &[("host", "rebound.example")]).await.status, StatusCode::FORBIDDEN);
    for host in ["localhost", "[::1]:80", "hangtag.localhost:1"] {
        assert_eq!(house.get("/", &[("host", host)]).await.status, StatusCode::OK, "{host}");
    }
    // Whom a proxy brings that nobody named is no one of this machine.
    let brought = house.get("/", &[("host", "localhost"), ("x-forwarded-for", "203.0.113.9")]).await;
    assert_eq!(brought.status, StatusCode::FORBIDDEN);

    let ana = house.add("ana", Role::Merchandiser);
    let page = house.get("/?store=paris-1&from=2026-10-25", &[]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert_eq!(page.headers["location"], "/sign-in?next=%2F%3Fstore%3Dparis-1%26from%3D2026-10-25");
    for path in
        ["/api/v1/measures/styles", "/api/v1/events?store=paris-1", "/live", "/api/v1/openapi.json", "/api/x"]
    {
        let answer = house.get(path, &[]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{path}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"hangtag\"");
    }
    assert_eq!(house.get("/hours.csv", &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(house.get("/health", &[]).await.text, "{\"status\":\"ok\"}");
    let sale = Request::post("/api/v1/pos/paris-1/sale").header("content-type", "application/json");
    assert_eq!(house.send(HERE, sale, "[]").await.status, StatusCode::UNAUTHORIZED);

    house.guard.access.remove_account(&ana, &house.entry(Deed::UserRemoved)).unwrap();
    assert_eq!(house.get("/", &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_person_signs_in_sees_what_the_role_may_and_signs_out() {
    let house = House::new("");
    house.add("ana", Role::Merchandiser);
    let failed = house.sign_in("ana", "another password").await;
    assert_eq!(failed.status, StatusCode::FORBIDDEN);
    assert!(failed.text.contains("The name or the password is wrong."), "{}", failed.text);
    let stranger = house.sign_in("a rail of dresses", "ana").await;
    assert_eq!(stranger.status, StatusCode::FORBIDDEN);

    let signed_in = house.sign_in("Ana", PASSWORD).await;
    assert_eq!(
        (signed_in.status, &signed_in.headers["location"]),
        (StatusCode::SEE_OTHER, &"/hours.csv".parse().unwrap())
    );
    let set = signed_in.headers.get_all(header::SET_COOKIE).iter().next().unwrap().to_str().unwrap();
    assert!(
        set.starts_with("hangtag-session=")
            && set.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax"),
        "{set}"
    );
    let cookie = cookies(&signed_in);
    let with = [("cookie", &*cookie)];
    let page = house.get("/", &with).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains(">ana</span>") && !page.text.contains("Nobody is asked"), "{}", page.text);
    assert_eq!(house.get("/hours.csv?from=2026-10-25", &with).await.status, StatusCode::OK);
    assert_eq!(house.get("/api/v1/measures/styles", &with).await.status, StatusCode::OK);
    let events = house.get("/api/v1/events?store=paris-1", &with).await;
    assert_eq!(events.status, StatusCode::FORBIDDEN);
    assert!(events.text.contains("needs the scope events"), "{}", events.text);
    assert_eq!(house.get("/health", &with).await.text, "{\"status\":\"ok\"}");
    assert_eq!(house.get("/nowhere", &with).await.status, StatusCode::NOT_FOUND);
    let sale = Request::post("/api/v1/pos/paris-1/sale")
        .header("cookie", &cookie)
        .header("content-type", "application/json");
    assert_eq!(house.send(HERE, sale, "[]").await.status, StatusCode::FORBIDDEN, "tills have tokens");

    let out = |form: &str, site: &str| {
        let request = Request::post("/sign-out").header("cookie", &cookie).header("sec-fetch-site", site);
        let body = format!("form={form}");
        let house = &house;
        async move { house.send(HERE, request, &body).await.status }
    };
    let form = page.text.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(out("", "same-origin").await, StatusCode::FORBIDDEN);
    assert_eq!(out(form, "cross-site").await, StatusCode::FORBIDDEN);
    assert_eq!(house.get("/", &with).await.status, StatusCode::OK, "another site signs nobody out");
    assert_eq!(out(form, "same-origin").await, StatusCode::SEE_OTHER);
    assert_eq!(house.get("/", &with).await.status, StatusCode::SEE_OTHER);

    let deeds = house.deeds();
    let told: Vec<_> = deeds.iter().map(|(what, who, about)| (&**what, &**who, &**about)).collect();
    let done = [
        ("user added", "test", ""),
        ("sign-in failed", "ana", "wrong password"),
        ("sign-in failed", "", "no such user"),
        ("signed in", "ana", ""),
        ("exported", "ana", "/hours.csv?from=2026-10-25"),
        ("refused", "ana", "/api/v1/events"),
        ("refused", "ana", "/api/v1/pos/paris-1/sale"),
        ("signed out", "ana", ""),
    ];
    assert_eq!(told, done);
}

#[tokio::test]
async fn a_form_of_another_site_signs_nobody_in() {
    let house = House::new("");
    house.add("ana", Role::Merchandiser);
    let body = format!("name=ana&password={}&form=", PASSWORD.replace(' ', "+"));
    for cookie in ["", "hangtag-form=guessed"] {
        let answer = house.send(HERE, Request::post("/sign-in").header("cookie", cookie), &body).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(answer.text.contains("another site sent this form"), "{}", answer.text);
    }
    let large = "x".repeat(BODY_OF_STRANGERS + 1);
    assert_eq!(
        house.send(HERE, Request::post("/sign-in"), &large).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test]
async fn who_fails_again_and_again_must_wait_whoever_it_is() {
    let house = House::new("");
    house.add("ana", Role::Merchandiser);
    for name in ["ana", "nobody"] {
        for _ in 0..5 {
            assert_eq!(house.sign_in(name, "another password").await.status, StatusCode::FORBIDDEN, "{name}");
        }
        let held = house.sign_in(name, PASSWORD).await;
        assert_eq!(held.status, StatusCode::TOO_MANY_REQUESTS, "{name}");
        assert!(held.text.contains("Try again in 15 minutes"), "{}", held.text);
        assert!(held.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() <= 900);
    }
    house.add("ben", Role::Merchandiser);
    assert_eq!(house.sign_in("ben", PASSWORD).await.status, StatusCode::SEE_OTHER, "others need not wait");
    let held: Vec<_> = house.deeds().into_iter().filter(|(what, ..)| what == "sign-in held off").collect();
    assert_eq!(held.len(), 1, "{held:?}");
}

#[tokio::test]
async fn a_token_opens_what_it_is_for() {
    let house = House::new("");
    house.add("ana", Role::Administrator);
    let (pos, measures) =
        (house.token(&[Scope::Pos], None), house.token(&[Scope::Measures, Scope::Health], None));
    let status = |path: &'static str, bearer: &str| {
        let (house, bearer) = (&house, bearer.to_owned());
        async move { house.get(path, &[("authorization", &*bearer)]).await.status.as_u16() }
    };
    for (path, of_pos, of_measures) in [
        ("/api/v1/measures/styles", 403, 200),
        ("/", 403, 200),
        ("/api/v1/events?store=paris-1", 403, 403),
        ("/api/v1/openapi.json", 200, 200),
        ("/api/v1/schema/pos-sale/1", 200, 200),
    ] {
        assert_eq!(
            (status(path, &pos.1).await, status(path, &measures.1).await),
            (of_pos, of_measures),
            "{path}"
        );
    }
    let refused = house.get("/api/v1/measures/styles", &[("authorization", &pos.1)]).await;
    let challenge = "Bearer realm=\"hangtag\", error=\"insufficient_scope\", scope=\"measures\"";
    assert_eq!(refused.headers["www-authenticate"], challenge);
    assert!(house.get("/health", &[("authorization", &measures.1)]).await.text.contains("\"writer\""));
    assert_eq!(house.get("/health", &[("authorization", &pos.1)]).await.text, "{\"status\":\"ok\"}");
    let sale = |bearer: &str| {
        Request::post("/api/v1/pos/paris-1/sale")
            .header("authorization", bearer)
            .header("content-type", "application/json")
    };
    // Nobody writes in this test: who is let in is told to come again.
    assert_eq!(house.send(HERE, sale(&pos.1), "[]").await.status.as_u16(), 200);
    assert_eq!(house.send(HERE, sale(&measures.1), "[]").await.status.as_u16(), 403);
    let large = " ".repeat(BODY + 1);
    assert_eq!(house.send(HERE, sale(&pos.1), &large).await.status.as_u16(), 413);

    house.guard.access.revoke_token(pos.0, &house.entry(Deed::TokenRevoked)).unwrap();
    let over = house.token(&[Scope::Measures], Some(1)).1;
    for (bearer, said) in [
        (&*pos.1, "the token was revoked"),
        (&*over, "the token has expired"),
        ("Bearer httok-7", "the token is not known"),
        ("Bearer x", "the token is none of central's"),
    ] {
        let answer = house.get("/api/v1/openapi.json", &[("authorization", bearer)]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert!(answer.text.contains(said) && answer.text.contains("\"status\":401"), "{}", answer.text);
        assert!(answer.headers["www-authenticate"].to_str().unwrap().contains("invalid_token"));
    }
}

#[tokio::test]
async fn a_proxys_headers_count_from_the_proxy_alone() {
    let proxy = "[web.proxy]\naddresses=['10.0.0.5']\nuser='x-user'\nroles='x-groups'\n\
                 role={ shop = 'merchandiser', it = 'administrator' }";
    let house = House::new(proxy);
    let ask = |peer: &'static str, path: &'static str, groups: &'static str| {
        let request = Request::get(path).header("x-user", "ana@shop.example").header("x-groups", groups);
        let house = &house;
        async move { house.send(peer, request.header("x-forwarded-for", "203.0.113.9"), "").await }
    };
    assert_eq!(ask("10.0.0.5", "/", "x, shop").await.status, StatusCode::OK);
    assert_eq!(ask("10.0.0.5", "/api/v1/events?store=paris-1", "shop").await.status, StatusCode::FORBIDDEN);
    assert_ne!(
        ask("10.0.0.5", "/api/v1/events?store=paris-1", "shop,it").await.status,
        StatusCode::FORBIDDEN
    );
    let unknown = ask("10.0.0.5", "/", "guests").await;
    assert_eq!(unknown.status, StatusCode::FORBIDDEN);
    assert!(
        unknown.text.contains("You are known as ana@shop.example, but have no role here."),
        "{}",
        unknown.text
    );
    let stranger = ask(HERE, "/", "it").await;
    assert_eq!(stranger.status, StatusCode::SEE_OTHER, "to where one signs in");
    ask(HERE, "/", "it").await;
    let noted = house.guard.access.audit(10).unwrap();
    let ignored: Vec<_> = noted.iter().filter(|noted| noted.what == "headers ignored").collect();
    assert_eq!(ignored.len(), 1, "once an hour: {noted:?}");
    assert_eq!(ignored[0].address, HERE);
    assert!(noted.iter().any(|noted| noted.what == "refused" && noted.address == "203.0.113.9"), "{noted:?}");
}

#[tokio::test]
async fn in_the_clear_only_the_proxy_is_answered() {
    let mut behind = web("[web.proxy]\naddresses=['10.0.0.5']");
    behind.listen = "0.0.0.0:0".parse().unwrap();
    let mut house = House::new("");
    house.guard =
        Arc::new(Guard::new(Access::new(house._bench.address.clone(), tenant()), &behind, Timestamp::now));
    house.app = guarded(Arc::clone(&house.guard), router(Arc::clone(&house._site)));
    let status = async |peer: &str, path: &str| house.send(peer, Request::get(path), "").await.status;
    assert_eq!(status("10.0.0.6", "/sign-in").await, StatusCode::FORBIDDEN);
    assert_eq!(status("10.0.0.6", "/health").await, StatusCode::OK);
    assert_eq!(status("10.0.0.5", "/sign-in").await, StatusCode::OK);
    assert_eq!(status("10.0.0.5", "/").await, StatusCode::SEE_OTHER, "though there is no user");
    let secure = Request::get("/sign-in").header("x-forwarded-proto", "https");
    let cookie = house.send("10.0.0.5", secure, "").await.headers[header::SET_COOKIE].clone();
    let cookie = cookie.to_str().unwrap();
    assert!(cookie.starts_with("__Host-hangtag-form=") && cookie.ends_with("; Secure"), "{cookie}");
}

#[tokio::test]
async fn strangers_and_those_who_are_known_may_ask_so_often() {
    let house = House::new("");
    house.add("ana", Role::Merchandiser);
    let (_, bearer) = house.token(&[Scope::Measures], None);
    for _ in 0..OF_STRANGERS {
        assert_eq!(house.get("/live", &[]).await.status, StatusCode::UNAUTHORIZED);
    }
    let held = house.get("/live", &[]).await;
    assert_eq!(held.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(held.headers.contains_key("retry-after"));
    assert_eq!(house.get("/health", &[]).await.status, StatusCode::OK, "monitors are let in");
    let other = house.send("10.0.0.7", Request::get("/live"), "").await;
    assert_eq!(other.status, StatusCode::UNAUTHORIZED, "another house is another matter");
    let of = |peer: &'static str| {
        let request = Request::get("/api/v1/openapi.json").header("authorization", &bearer);
        let house = &house;
        async move { house.send(peer, request, "").await.status }
    };
    for _ in 0..OF_CALLERS {
        assert_eq!(of(HERE).await, StatusCode::OK, "strangers in the same house keep nobody out");
    }
    assert_eq!(of("10.0.0.8").await, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn every_answer_is_hardened_and_a_page_has_its_own_policy() {
    let house = House::new("");
    for path in ["/", "/hours.csv", "/health", "/nowhere", "/live", "/api/v1/openapi.json"] {
        let answer = house.get(path, &[("host", "localhost")]).await.headers;
        let policy = answer["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(answer["x-frame-options"], "DENY", "{path}");
        assert_eq!(answer["referrer-policy"], "no-referrer", "{path}");
        assert!(!answer.contains_key("strict-transport-security"), "{path}");
    }
}

#[tokio::test]
async fn nobody_is_let_in_when_nobody_can_be_looked_up() {
    let house = House::new("");
    house._bench.destroy();
    for path in ["/", "/api/v1/openapi.json"] {
        let answer = house.get(path, &[("cookie", "hangtag-session=7")]).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {}", answer.text);
        assert!(!answer.text.contains("central.db"), "{}", answer.text);
    }
    for headers in [&[][..], &[("cookie", "hangtag-session=7")]] {
        let answer = house.get("/health", headers).await;
        let told = (answer.status, answer.text.as_str());
        assert_eq!(told, (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"failing"}"#));
    }
    let broken: Result<_, StoreError> = house.guard.access.has_accounts();
    assert!(broken.is_err());
}

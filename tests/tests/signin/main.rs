//! Who is let in to central's page: the real program, users and tokens from its command line, by HTTP, by HTTPS and in a
//! real browser.

#[path = "../page/browser.rs"]
#[expect(dead_code, reason = "the tests of the page do more with it")]
mod browser;
mod client;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hangtag_tests::harness::gateway::succeeded;
use hangtag_tests::harness::pki::{Authority, GOOD};
use hangtag_tests::harness::process::{Process, wait_for};
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::till::in_central;
use hangtag_tests::harness::{folder, free_port, skip};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

use browser::{Browser, Tab};
use client::Client;

const PASSWORD: &str = "seven silk scarves";
const PATIENCE: Duration = Duration::from_secs(60);
const SALE: &str =
    r#"{"receipt":"r1","line":1,"time":"2026-11-22T14:03:11+01:00","gtin":"4006381333931","quantity":1}"#;
const JSON: (&str, &str) = ("content-type", "application/json");

/// A central without a broker: nobody here needs one.
struct House {
    site: Site,
    central: Process,
    _folder: TempDir,
}

impl House {
    /// Starts one, with more of a configuration behind `[web]` and its address.
    fn start(more: &str) -> anyhow::Result<Self> {
        let (folder, site) = shop(more)?;
        let central = site.start_central()?;
        Ok(Self { site, central, _folder: folder })
    }

    fn client(&self) -> Client {
        Client::new(self.site.web_port)
    }

    /// Adds a user, whose password goes to the standard input.
    fn add(&self, name: &str, role: &str) -> anyhow::Result<()> {
        let output = run(self.site.central("user").args(["add", name, "--role", role]), PASSWORD)?;
        succeeded(output).map(drop)
    }

    fn said(&self, command: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let output = succeeded(self.site.central(command).args(arguments).output()?)?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What it has logged, what it has kept, and what it says: no secret may be there.
    fn traces(&self) -> anyhow::Result<String> {
        let mut traces = std::fs::read_to_string(self.central.log())?;
        for file in ["central.db", "central.db-wal"] {
            let bytes = std::fs::read(self.site.folder.join(file)).unwrap_or_default();
            traces += &String::from_utf8_lossy(&bytes);
        }
        Ok(traces + &self.said("audit", &[])?)
    }
}

fn shop(more: &str) -> anyhow::Result<(TempDir, Site)> {
    let folder = folder()?;
    let site = Site::for_test(folder.path(), free_port()?)?;
    let config = std::fs::read_to_string(folder.path().join("central.toml"))?;
    site.write("central.toml", &format!("{config}{more}"))?;
    Ok((folder, site))
}

fn run(command: &mut Command, input: &str) -> anyhow::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // One that refuses its arguments does not read.
    let _ = writeln!(child.stdin.take().context("no standard input")?, "{input}");
    Ok(child.wait_with_output()?)
}

#[tokio::test]
async fn a_user_of_the_command_line_signs_in_and_sees_what_the_role_may() -> anyhow::Result<()> {
    let house = House::start("")?;
    let mut anyone = house.client();
    let page = anyone.get("/", &[]).await?;
    ensure!(page.status == 200 && page.text.contains("Nobody is asked who they are"), "{}", page.text);
    ensure!(
        std::fs::read_to_string(house.central.log())?
            .contains("nobody is asked who they are: no user exists")
    );
    house.add("ana", "merchandiser")?;
    let page = anyone.get("/?period=7d", &[]).await?;
    assert_eq!((page.status, page.header("location")), (303, "/sign-in?next=%2F%3Fperiod%3D7d"));
    assert_eq!(anyone.get("/health", &[]).await?.text, r#"{"status":"ok"}"#);

    let mut ana = house.client();
    let failed = ana.sign_in("ana", "seven silk scarfs").await?;
    ensure!(
        failed.status == 403 && failed.text.contains("The name or the password is wrong."),
        "{}",
        failed.text
    );
    assert_eq!(ana.get("/", &[]).await?.status, 303);
    assert_eq!(ana.sign_in("ana", PASSWORD).await?.status, 303);
    let page = ana.get("/", &[]).await?;
    ensure!(page.status == 200 && page.text.contains("Sign out"), "{}", page.text);
    assert_eq!(ana.get("/styles.csv", &[]).await?.status, 200);
    let events = "/api/v1/events?store=demo-shop";
    let refused = ana.get(events, &[]).await?;
    assert_eq!((refused.status, refused.header("content-type")), (403, "application/problem+json"));
    assert_eq!(ana.post("/api/v1/pos/demo-shop/sale", &[JSON], SALE).await?.status, 403);
    house.said("user", &["role", "ana", "administrator"])?;
    assert_eq!(ana.get(events, &[]).await?.status, 200, "the role changes at once");
    ensure!(ana.get("/health", &[]).await?.text.contains("\"writer\":\"ok\""));

    // Nobody waits for an hour here: the session is told that it was used long ago.
    let db = Connection::open(house.site.database())?;
    db.busy_timeout(Duration::from_secs(5))?;
    let aged = db.execute("UPDATE session SET used = used - 3600000", [])?;
    assert_eq!((aged, ana.get("/", &[]).await?.status), (1, 303));
    drop(db);
    assert_eq!(ana.sign_in("ana", PASSWORD).await?.status, 303);
    let form = ana.get("/", &[]).await?.form()?.to_owned();
    assert_eq!(ana.post("/sign-out", &[], "form=other").await?.status, 403);
    assert_eq!(ana.post("/sign-out", &[], &format!("form={form}")).await?.status, 303);
    assert_eq!(ana.get("/", &[]).await?.status, 303);

    for _ in 0..4 {
        assert_eq!(ana.sign_in("ana", "seven silk scarfs").await?.status, 403);
    }
    let held = ana.sign_in("ana", PASSWORD).await?;
    assert_eq!(held.status, 429, "one failed before");
    ensure!(held.text.contains("Too many attempts"), "{}", held.text);

    let list = house.said("user", &[])?;
    ensure!(list.starts_with("ana  administrator  since "), "{list}");
    let audit = house.said("audit", &[])?;
    for said in [
        "user added",
        "signed in  ana  from 127.0.0.1",
        "sign-in failed  ana",
        "refused  ana",
        "exported  ana",
        "role changed",
        "signed out  ana",
        "sign-in held off",
    ] {
        ensure!(audit.contains(said), "{said} in {audit}");
    }
    let traces = house.traces()?;
    ensure!(!traces.contains(PASSWORD) && !traces.contains("scarfs"), "a password was left somewhere");
    let argument =
        run(house.site.central("user").args(["add", "ben", "--role", "merchandiser", PASSWORD]), "")?;
    ensure!(!argument.status.success(), "a password is no argument");
    let weak = run(house.site.central("user").args(["add", "ben", "--role", "merchandiser"]), "short")?;
    ensure!(String::from_utf8_lossy(&weak.stderr).contains("at least 12 characters"), "{weak:?}");
    house.central.stop(PATIENCE)
}

#[tokio::test]
async fn a_till_needs_a_token_that_is_for_tills() -> anyhow::Result<()> {
    let house = House::start("")?;
    house.add("ana", "administrator")?;
    let token = |scope: &str, name: &str| -> anyhow::Result<String> {
        Ok(house.said("token", &["add", name, "--scope", scope, "--expires", "90d"])?.trim().to_owned())
    };
    let (tills, reports) = (token("pos", "tills")?, token("measures", "reports")?);
    let mut client = house.client();
    let door = "/api/v1/pos/demo-shop/sale";
    assert_eq!(client.post(door, &[JSON], SALE).await?.status, 401);
    let [tills_bearer, reports_bearer] = [&tills, &reports].map(|token| format!("Bearer {token}"));
    let refused = client.post(door, &[JSON, ("authorization", &reports_bearer)], SALE).await?;
    assert_eq!(refused.status, 403);
    ensure!(refused.text.contains("that needs the scope pos"), "{}", refused.text);
    let taken = client.post(door, &[JSON, ("authorization", &tills_bearer)], SALE).await?;
    ensure!(taken.status == 200 && taken.text.contains("\"new\":1"), "{taken:?}");
    assert_eq!(in_central(&house.site.database())?.0, 1);
    let table = "/api/v1/measures/styles";
    assert_eq!(client.get(table, &[("authorization", &tills_bearer)]).await?.status, 403);
    assert_eq!(client.get(table, &[("authorization", &reports_bearer)]).await?.status, 200);
    let list = house.said("token", &[])?;
    ensure!(list.contains("1  \"tills\"  pos  good until ") && list.contains("last used "), "{list}");
    house.said("token", &["revoke", "1"])?;
    let refused = client.post(door, &[JSON, ("authorization", &tills_bearer)], SALE).await?;
    ensure!(refused.status == 401 && refused.text.contains("was revoked"), "{refused:?}");
    assert_eq!(in_central(&house.site.database())?.0, 1);
    let traces = house.traces()?;
    for token in [tills, reports] {
        ensure!(token.starts_with("httok-") && token.len() == 70 && !traces.contains(&token), "{token}");
    }
    house.central.stop(PATIENCE)
}

#[tokio::test]
async fn who_a_proxy_names_is_let_in_and_who_says_it_alone_is_not() -> anyhow::Result<()> {
    let proxy = "[web.proxy]\naddresses = [\"127.0.0.2\"]\nuser = \"X-Remote-User\"\nroles = \"X-Remote-Groups\"\n\
                 role = { retail = \"merchandiser\" }\n";
    let house = House::start(proxy)?;
    let mut client = house.client();
    let told =
        [("x-remote-user", "ana"), ("x-remote-groups", "staff,retail"), ("x-forwarded-for", "203.0.113.9")];
    assert_eq!(client.get("/", &told).await?.status, 303, "another address");
    client.from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    assert_eq!(client.get("/", &[]).await?.status, 303, "nobody is named");
    let page = client.get("/styles.csv", &told).await?;
    assert_eq!(page.status, 200);
    assert_eq!(client.get("/api/v1/events?store=demo-shop", &told).await?.status, 403);
    let stranger = [("x-remote-user", "ben"), ("x-remote-groups", "staff")];
    assert_eq!(client.get("/", &stranger).await?.status, 403);
    let audit = house.said("audit", &[])?;
    for said in [
        "headers ignored  nobody known  from 127.0.0.1",
        "exported  ana  from 203.0.113.9",
        "refused  ben  from 127.0.0.2",
    ] {
        ensure!(audit.contains(said), "{said} in {audit}");
    }
    house.central.stop(PATIENCE)
}

#[tokio::test]
async fn beyond_loopback_there_is_tls_whose_certificate_is_renewed_without_a_restart() -> anyhow::Result<()> {
    let (_folder, site) = shop("")?;
    let config = std::fs::read_to_string(site.folder.join("central.toml"))?;
    let beyond = config.replace("listen = \"127.0.0.1:", "listen = \"0.0.0.0:");
    site.write("central.toml", &beyond)?;
    for command in ["run", "check"] {
        let output = site.central(command).output()?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(!output.status.success() && said.contains("web.listen: 0.0.0.0:"), "{command}: {said}");
        ensure!(said.contains("is beyond loopback") && said.contains("[web.tls]"), "{command}: {said}");
    }
    let files = site.folder.join("tls");
    let authority = Authority::found(&files, "chain")?;
    authority.sign("central", "localhost", GOOD)?;
    let tls = "[web.tls]\ncertificate = \"tls/central.pem\"\nkey = \"tls/central.key\"\n";
    site.write("central.toml", &format!("{beyond}{tls}"))?;
    let mut central = site.spawn_central()?;
    let port = site.web_port;
    wait_for("the page", PATIENCE, || {
        central.check()?;
        Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop))
    })?;
    let mut client = Client::secure(port, &std::fs::read_to_string(files.join("ca.pem"))?)?;
    let page = client.get("/", &[]).await?;
    assert_eq!((page.status, page.header("location")), (303, "/sign-in?next=%2F"), "though there is no user");
    assert_eq!(page.header("strict-transport-security"), "max-age=31536000");
    let form = client.get("/sign-in", &[]).await?;
    ensure!(form.header("set-cookie").starts_with("__Host-hangtag-form="), "{form:?}");
    ensure!(form.header("set-cookie").ends_with("; Secure"), "{form:?}");
    ensure!(Client::new(port).get("/", &[]).await.is_err(), "nobody is answered in the clear");

    // Of another authority: whoever believes that one alone comes in as soon as it counts.
    let other = site.folder.join("other");
    Authority::found(&other, "another")?.sign("central", "localhost", GOOD)?;
    let mut renewed = Client::secure(port, &std::fs::read_to_string(other.join("ca.pem"))?)?;
    ensure!(renewed.get("/health", &[]).await.is_err(), "it is not there yet");
    for file in ["central.key", "central.pem"] {
        std::fs::rename(other.join(file), files.join(file))?;
    }
    let end = std::time::Instant::now() + PATIENCE;
    while renewed.get("/health", &[]).await.is_err() {
        ensure!(std::time::Instant::now() < end, "the new certificate does not count");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(client.get("/health", &[]).await.is_err(), "the old one still counts");
    central.stop(PATIENCE)
}

#[tokio::test]
async fn who_says_nothing_does_not_keep_a_connection() -> anyhow::Result<()> {
    let house = House::start("")?;
    let mut silent = house.client().connect().await?;
    let began = tokio::time::Instant::now();
    let mut said = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut said)).await;
    ensure!(ended.is_ok(), "it is still open");
    ensure!(began.elapsed() > Duration::from_secs(5), "closed after {:?}", began.elapsed());
    house.central.stop(PATIENCE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_signs_in_and_out_also_without_script_and_in_chinese() -> anyhow::Result<()> {
    if !browser::is_installed() {
        return skip("chromium is not installed");
    }
    let house = House::start("")?;
    house.add("ana", "merchandiser")?;
    let browser = Browser::start().await?;
    for (lang, heading, out) in [("en", "Sign in", "Sign out"), ("zh-CN", "登录", "退出登录")] {
        let tab = browser.tab().await?;
        if lang == "en" {
            tab.without_script().await?;
        }
        tab.open(&house.site.url(&format!("/sign-in?lang={lang}&next=%2F%3Fperiod%3D7d"))).await?;
        assert_eq!(tab.eval::<String>("document.querySelector('h1').textContent").await?, heading);
        tab.picture(&format!("sign-in-{lang}")).await?;
        type_in(&tab, PASSWORD).await?;
        tab.until("the page", "!!document.querySelector('.tile')").await?;
        assert_eq!(tab.eval::<String>("location.pathname + location.search").await?, "/?period=7d");
        tab.picture(&format!("signed-in-{lang}")).await?;
        tab.walk_to("at.closest('.signed-in')").await?;
        assert_eq!(tab.eval::<String>("document.activeElement.textContent").await?, out);
        tab.press("Enter").await?;
        tab.until("the form", "location.pathname === '/sign-in'").await?;
        tab.open(&house.site.url("/")).await?;
        assert_eq!(tab.eval::<String>("location.pathname").await?, "/sign-in");
        tab.is_quiet(lang)?;
    }
    // The browser complains of a form that is refused.
    let tab = browser.tab().await?;
    tab.open(&house.site.url("/sign-in")).await?;
    type_in(&tab, "seven silk scarfs").await?;
    tab.until("a word of refusal", "!!document.querySelector('[role=alert]')").await?;
    tab.picture("sign-in-refused").await?;
    browser.close().await?;
    house.central.stop(PATIENCE)
}

/// Fills in the form, and sends it from the keyboard.
async fn type_in(tab: &Tab, password: &str) -> anyhow::Result<()> {
    let fill = format!(
        "document.querySelector('[name=name]').value = 'ana', \
         document.querySelector('[name=password]').value = '{password}', \
         document.querySelector('[name=name]').focus(), true"
    );
    tab.eval::<bool>(&fill).await?;
    tab.press("Enter").await
}

//! A gateway from nothing to events that arrive: an authority, a broker, a central with its enrolment door, a token,
//! `hangtag-agent enrol`; then the next certificate while it runs, and the end of it all when it is revoked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hangtag_tests::emulator::carousel::{self, Carousel};
use hangtag_tests::harness::binaries::Binaries;
use hangtag_tests::harness::chain::Chain;
use hangtag_tests::harness::gateway::{STOPS_WITHIN, succeeded};
use hangtag_tests::harness::judge::{judge_logs, wait_complete};
use hangtag_tests::harness::process::{Process, wait_for};
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder, free_port};
use hangtag_tests::shop::layout::agent_toml;

const PATIENCE: Duration = Duration::from_secs(90);
const EVENTS: usize = 40;

/// A chain with a central whose enrolment door is open.
struct Shop {
    chain: Chain,
    site: Site,
    binaries: Binaries,
    door: u16,
}

impl Shop {
    /// `valid`: how long the certificates of gateways are good.
    fn open(folder: &Path, valid: &str) -> anyhow::Result<(Self, Process)> {
        let (binaries, door, broker) = (Binaries::build()?, free_port()?, free_port()?);
        let chain = Chain::open(folder, &binaries.central, broker, &[])?;
        chain.pki(&["central", "--dir", "pki", "--out", "central", "localhost"])?;
        let site = Site::create(folder, binaries.clone(), broker, free_port()?)?;
        let config = fs::read_to_string(folder.join("central.toml"))?;
        let plain = format!("host = \"127.0.0.1\"\nport = {broker}\n");
        ensure!(config.contains(&plain), "{config}");
        let secure = format!(
            "host = \"localhost\"\nport = {broker}\n[mqtt.tls]\nca = \"central/ca.pem\"\n\
             certificate = \"central/central.pem\"\nkey = \"central/central.key\"\n"
        );
        let enrol = format!(
            "[enrol]\nlisten = \"127.0.0.1:{door}\"\nauthority = \"pki\"\ncertificate = \"central/central.pem\"\n\
             key = \"central/central.key\"\nvalid = \"{valid}\"\n"
        );
        site.write("central.toml", &format!("{}{enrol}", config.replace(&plain, &secure)))?;
        let central = site.start_central()?;
        Ok((Self { chain, site, binaries, door }, central))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.chain.path(name)
    }

    /// Makes a token for a gateway of the simulated shop. Returns the file with it.
    fn invite(&self, gateway: &str, valid: &str) -> anyhow::Result<PathBuf> {
        let (file, door, broker) = (
            format!("{gateway}.enrol"),
            format!("localhost:{}", self.door),
            format!("localhost:{}", self.chain.port),
        );
        let said = self.chain.pki(&[
            "token",
            "--dir",
            "pki",
            "demo-shop",
            gateway,
            "--central",
            &door,
            "--broker",
            &broker,
            "--valid",
            valid,
            "--out",
            &file,
        ])?;
        ensure!(said.contains(&format!("lets demo-shop/{gateway} in once")), "{said}");
        Ok(self.path(&file))
    }

    fn enrol(&self, config: &str, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(&self.binaries.agent);
        command.arg("enrol").args(arguments).arg("--config").arg(self.path(config));
        Ok(command.current_dir(self.chain.path("")).output()?)
    }

    fn refused(&self, config: &str, arguments: &[&str], words: &str) -> anyhow::Result<()> {
        let output = self.enrol(config, arguments)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && said.contains(words), "{words} in {said}");
        Ok(())
    }

    /// Waits for words in a line of a log.
    fn logged(&self, log: &str, words: &[&str]) -> anyhow::Result<()> {
        wait_for(&format!("{words:?} in {log}"), PATIENCE, || {
            let text = fs::read_to_string(self.path(log)).unwrap_or_default();
            Ok(text.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(()))
        })
    }

    /// The configuration of a gateway whose reader is a carousel, as if nothing were known of broker and identity.
    fn configure(&self, name: &str) -> anyhow::Result<PathBuf> {
        let readers = self.path(&format!("{name}-readers"));
        fs::create_dir_all(&readers)?;
        let text = agent_toml(&carousel::layout(), &readers, 1, &self.path(&format!("{name}-data")));
        self.site.write(&format!("{name}.toml"), &format!("# as it came from the box\n{text}"))?;
        Ok(readers)
    }

    fn start(&self, name: &str) -> anyhow::Result<Process> {
        let mut command = Command::new(&self.binaries.agent);
        command.arg("run").arg("--config").arg(self.path(&format!("{name}.toml")));
        command.arg("--accepted-log").arg(self.path(&format!("{name}.jsonl")));
        Process::start("hangtag-agent", &mut command, &self.path(&format!("{name}.log")))
    }

    fn accepted(&self, name: &str) -> usize {
        fs::read_to_string(self.path(&format!("{name}.jsonl"))).map_or(0, |text| text.lines().count())
    }

    /// Everything that the gateway accepted is stored, and it is so much.
    fn complete(&self, name: &str, least: usize) -> anyhow::Result<()> {
        wait_for("accepted events", PATIENCE, || Ok((self.accepted(name) >= least).then_some(())))?;
        let log = self.path(&format!("{name}.jsonl"));
        let verdict = wait_complete(PATIENCE, || judge_logs(&[&log], &self.site.database()))?;
        ensure!(verdict.missing == 0, "{verdict:?}");
        Ok(())
    }
}

fn mode(path: &Path) -> anyhow::Result<u32> {
    Ok(fs::metadata(path).with_context(|| path.display().to_string())?.permissions().mode() & 0o777)
}

#[test]
fn a_gateway_enrols_once_with_a_token_and_its_events_arrive() -> anyhow::Result<()> {
    let dir = folder()?;
    let (shop, mut central) = Shop::open(dir.path(), "90d")?;
    let readers = shop.configure("agent")?;
    let invitation = shop.invite("gw-1", "1h")?;
    ensure!(mode(&invitation)? == 0o600, "it holds a token");

    // A door that is not the authority's is not told the token.
    let text = fs::read_to_string(&invitation)?;
    let stranger = hangtag_tests::harness::pki::Authority::found(&shop.path("stranger"), "x")?;
    stranger.sign("x", "localhost", (2020, 4000))?;
    let ca = fs::read_to_string(shop.path("pki/ca.pem"))?;
    let other = text.replace(ca.trim(), fs::read_to_string(shop.path("stranger/ca.pem"))?.trim());
    ensure!(other != text, "the authority is in the file: {text}");
    shop.site.write("strange.enrol", &other)?;
    shop.refused(
        "agent.toml",
        &["strange.enrol"],
        "central's certificate was signed by nobody whom this machine believes",
    )?;

    let said = String::from_utf8(succeeded(shop.enrol("agent.toml", &["gw-1.enrol"])?)?.stdout)?;
    ensure!(
        said.contains("this computer is gw/demo-shop/gw-1") && said.contains("next: hangtag-agent check"),
        "{said}"
    );
    shop.logged("central.log", &["certificate issued", "gw-1", "enrolled"])?;
    let identity = shop.path("agent-data/identity/gateway.pem");
    ensure!(
        mode(&identity)? == 0o600 && mode(&shop.path("agent-data/identity"))? == 0o700,
        "others could read it"
    );
    let config = fs::read_to_string(shop.path("agent.toml"))?;
    ensure!(
        config.starts_with("# as it came from the box\n") && config.contains("renew = \"localhost:"),
        "{config}"
    );
    let token = text.lines().find(|line| line.starts_with("token")).context("a token")?;
    let token = token.split('"').nth(1).context("a token")?;
    for kept in ["pki/register.jsonl", "central.log", "agent.toml"] {
        ensure!(!fs::read_to_string(shop.path(kept))?.contains(token), "{kept} holds the token");
    }
    let check = Command::new(&shop.binaries.agent)
        .arg("check")
        .arg("--config")
        .arg(shop.path("agent.toml"))
        .output()?;
    let check = String::from_utf8(check.stdout)?;
    ensure!(
        check.contains("renew    its certificate at localhost port") && !check.contains("error: mqtt"),
        "{check}"
    );

    let mut agent = shop.start("agent")?;
    let carousel = Carousel::start(&readers, 1, 100)?;
    wait_for("events", PATIENCE, || {
        agent.check()?;
        Ok((shop.accepted("agent") >= EVENTS).then_some(()))
    })?;
    drop(carousel);
    shop.complete("agent", EVENTS)?;
    let status = wait_for("the gateway's status", PATIENCE, || Ok(Some(shop.site.health()?)))?;
    ensure!(status.is_object(), "{status}");

    // The same token on another computer; another gateway's; over; unknown; a file that was changed.
    shop.configure("second")?;
    shop.refused("second.toml", &["gw-1.enrol"], "central refuses: the token was used already")?;
    shop.logged("central.log", &["enrolment refused", "TokenUsed", "127.0.0.1"])?;
    let two = shop.invite("gw-2", "1h")?;
    let renamed = fs::read_to_string(&two)?.replace("\"gw-2\"", "\"gw-3\"");
    shop.site.write("renamed.enrol", &renamed)?;
    shop.refused("second.toml", &["renamed.enrol"], "central refuses: the token is another gateway's")?;
    shop.logged("central.log", &["enrolment refused", "OtherGateway", "gw-3"])?;
    shop.invite("gw-4", "10s")?;
    fs::remove_file(shop.path("second.toml"))?;
    wait_for("the end of a token", PATIENCE, || {
        let list = shop.chain.pki(&["list", "--dir", "pki"])?;
        Ok((!list.contains("token for demo-shop/gw-4")).then_some(()))
    })?;
    shop.refused("second.toml", &["gw-4.enrol"], "central refuses: the token was good until")?;
    shop.logged("central.log", &["enrolment refused", "TokenExpired", "gw-4"])?;
    ensure!(!shop.path("second.toml").exists(), "nothing was written of a gateway that was refused");

    agent.stop(STOPS_WITHIN)?;
    // A computer with a spool does not become another gateway by mistake.
    shop.refused(
        "agent.toml",
        &["gw-2.enrol"],
        "this computer is demo/demo-shop/gw-1 by now, and has a spool",
    )?;
    central.check()?;
    central.stop(STOPS_WITHIN)
}

#[test]
fn the_next_certificate_comes_while_the_agent_runs_and_none_after_it_was_revoked() -> anyhow::Result<()> {
    let dir = folder()?;
    let (mut shop, mut central) = Shop::open(dir.path(), "45s")?;
    let readers = shop.configure("agent")?;
    shop.invite("gw-1", "1h")?;
    succeeded(shop.enrol("agent.toml", &["gw-1.enrol"])?)?;
    let identity = shop.path("agent-data/identity/gateway.pem");
    let first = fs::read_to_string(&identity)?;
    let mut agent = shop.start("agent")?;
    let carousel = Carousel::start(&readers, 1, 1_000)?;
    // Longer than the first one's life.
    shop.logged("central.log", &["certificate issued", "renewed"])?;
    let second = wait_for("the next certificate", PATIENCE, || {
        let text = fs::read_to_string(&identity)?;
        Ok((text != first).then_some(text))
    })?;
    let key = |text: &str| text[..text.find("-----END PRIVATE").unwrap_or(0)].to_owned();
    ensure!(key(&first) != key(&second) && !key(&first).is_empty(), "the key is another one");
    ensure!(mode(&identity)? == 0o600, "it is closed");
    shop.logged("agent.log", &["renewed the certificate"])?;
    let issued = || -> anyhow::Result<usize> {
        Ok(shop.chain.pki(&["list", "--dir", "pki", "--all"])?.matches("gw/demo-shop/gw-1").count())
    };
    wait_for("a third certificate", PATIENCE, || Ok((issued()? >= 3).then_some(())))?;
    agent.check()?;
    // By now the first one is over, and a new connection takes the one that is there.
    shop.chain.broker.restart()?;
    let before = shop.accepted("agent");
    wait_for("further events", PATIENCE, || Ok((shop.accepted("agent") >= before + 20).then_some(())))?;
    // What never stops is never complete on a machine that is busy.
    drop(carousel);
    shop.complete("agent", before + 20)?;

    shop.chain.pki(&["revoke", "--dir", "pki", "demo-shop/gw-1"])?;
    shop.chain.publish()?;
    shop.chain.broker.restart()?;
    shop.logged(
        "agent.log",
        &["the certificate is not renewed", "central refuses: the certificate", "was revoked"],
    )?;
    shop.logged("central.log", &["enrolment refused", "Revoked", "gw-1"])?;
    shop.logged("agent.log", &["the broker refuses this machine's certificate"])?;
    central.check()?;
    agent.stop(STOPS_WITHIN)?;
    central.stop(STOPS_WITHIN)
}

#[test]
fn without_a_way_to_central_a_request_is_signed_where_the_authority_is() -> anyhow::Result<()> {
    let dir = folder()?;
    let (binaries, broker) = (Binaries::build()?, free_port()?);
    let chain = Chain::open(dir.path(), &binaries.central, broker, &["central"])?;
    let site = Site::create(dir.path(), binaries.clone(), broker, free_port()?)?;
    let shop = Shop { chain, site, binaries, door: free_port()? };
    shop.configure("agent")?;
    // What a token needs is no key: that may be elsewhere.
    fs::rename(shop.path("pki/ca.key"), shop.path("away.key"))?;
    shop.invite("gw-1", "1h")?;
    succeeded(shop.enrol("agent.toml", &["gw-1.enrol", "--csr-out", "gw-1.csr"])?)?;
    let sign = |who: &str| {
        shop.chain
            .pki(&["sign", "--dir", "pki", who, "gw-1.csr", "--out", "gw-1.crt"])
            .map_err(|why| why.to_string())
    };
    let said = sign("demo-shop/gw-1").err().context("there is no key")?;
    ensure!(said.contains("ca.key is not here: bring it"), "{said}");
    fs::rename(shop.path("away.key"), shop.path("pki/ca.key"))?;
    let said = sign("demo-shop/gw-2").err().context("it is another gateway's")?;
    ensure!(said.contains("names \"gw/demo-shop/gw-1\", not gw/demo-shop/gw-2"), "{said}");
    ensure!(!shop.path("gw-1.crt").exists(), "nothing was signed");
    sign("demo-shop/gw-1").map_err(anyhow::Error::msg)?;
    shop.refused("agent.toml", &["gw-1.enrol", "--certificate", "pki/ca.pem"], "the certificate is that of")?;
    succeeded(shop.enrol("agent.toml", &["gw-1.enrol", "--certificate", "gw-1.crt"])?)?;
    ensure!(!fs::read_to_string(shop.path("agent.toml"))?.contains("renew"), "nobody is there to renew it");
    let mut agent = shop.start("agent")?;
    shop.logged("agent.log", &["connected"])?;
    agent.check()?;
    agent.stop(STOPS_WITHIN)
}

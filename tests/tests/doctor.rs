//! `hangtag-agent doctor` on a gateway on which one thing after another is wrong: each is named by its check, with what
//! to do, and the exit code tells the worst.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::image::{Image, refusal};
use hangtag_tests::harness::pki::{Authority, GOOD};
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder, free_port, skip};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use tempfile::TempDir;

/// A gateway with one reader, at a terminal of its own.
struct Bench {
    folder: TempDir,
    program: PathBuf,
    port: u16,
    _line: OwnedFd,
    terminal: PathBuf,
}

/// What doctor said.
struct Said {
    code: Option<i32>,
    findings: Vec<Value>,
}

impl Bench {
    fn new() -> anyhow::Result<Self> {
        let folder = folder()?;
        let line = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&line)?;
        unlockpt(&line)?;
        let terminal = PathBuf::from(ptsname(&line, Vec::new())?.into_string()?);
        let port = free_port()?;
        let site = Site::for_test(&folder.path().join("site"), port)?;
        let program = site.agent("doctor").get_program().into();
        fs::create_dir(folder.path().join("data"))?;
        let bench = Self { folder, program, port, _line: line, terminal };
        bench.write(&bench.path("data"), "")?;
        Ok(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration, with more of `[mqtt]`.
    fn write(&self, data: &Path, more: &str) -> anyhow::Result<()> {
        let (data, port, terminal) = (data.display(), self.port, self.terminal.display());
        let text = format!(
            "tenant = \"demo\"\nstore = \"paris\"\ngateway = \"gw-1\"\ndata = \"{data}\"\n\
             [mqtt]\nhost = \"localhost\"\nport = {port}\n{more}\n[clock]\nkept = true\n\
             [[zone]]\nid = \"rail\"\nkind = \"rail\"\n\
             [[reader]]\nid = \"r\"\nport = \"{terminal}\"\nprotocol = \"r200\"\nregion = \"eu\"\npower_dbm = 20.0\n\
             [[reader.antenna]]\nport = 1\nzone = \"rail\"\n"
        );
        Ok(fs::write(self.path("agent.toml"), text)?)
    }

    fn doctor(&self) -> anyhow::Result<Said> {
        let mut command = Command::new(&self.program);
        let output = command.args(["doctor", "--json", "--config"]).arg(self.path("agent.toml")).output()?;
        let findings = serde_json::from_slice(&output.stdout);
        let findings = findings.with_context(|| format!("{}", String::from_utf8_lossy(&output.stderr)))?;
        Ok(Said { code: output.status.code(), findings })
    }
}

impl Said {
    /// That a check is in that state, says so, and gives advice unless all is well.
    fn tells(&self, check: &str, state: &str, what: &str) -> anyhow::Result<()> {
        let is_it = |finding: &&Value| {
            finding["check"] == check
                && finding["state"] == state
                && finding["what"].as_str().is_some_and(|text| text.contains(what))
                && (state == "ok") == finding["do"].is_null()
        };
        let code = match state {
            "fault" => 2,
            "warning" => 1,
            _ => 0,
        };
        ensure!(self.code.is_some_and(|said| said >= code), "exit code {:?}", self.code);
        self.findings.iter().find(is_it).map(drop).with_context(|| {
            format!("{check}, {state}: {what:?} is not among {:#}", Value::from(self.findings.clone()))
        })
    }
}

#[test]
fn a_gateway_on_which_all_is_well_except_that_no_agent_runs_gets_no_fault() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    let _broker = Mosquitto::start_forgetful(&bench.path("mosquitto"), bench.port)?;
    let said = bench.doctor()?;
    said.tells("configuration", "ok", "is good")?;
    said.tells("disk", "ok", "a durable write takes")?;
    said.tells("dns", "ok", "localhost is ")?;
    said.tells("network", "ok", "answers")?;
    said.tells("broker", "ok", "takes this gateway's messages")?;
    ensure!(said.findings.iter().all(|finding| finding["state"] != "fault"), "{:?}", said.findings);
    ensure!(fs::read_dir(bench.path("data"))?.next().is_none(), "it left a file");
    Ok(())
}

#[test]
fn a_port_that_another_program_holds_is_named_with_that_program() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    ensure!(bench.doctor()?.tells("port", "fault", "").is_err());
    // Not for what another test starts meanwhile, which would hold it on.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let held = rustix::fs::open(&bench.terminal, flags, Mode::empty())?;
    let whom = format!("(process {}) holds it", std::process::id());
    bench.doctor()?.tells("port", "fault", &whom)?;
    drop(held);
    ensure!(bench.doctor()?.tells("port", "fault", "").is_err());
    Ok(())
}

#[test]
fn a_broker_that_is_away_unknown_or_no_broker_is_told_apart() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    bench.doctor()?.tells("network", "fault", "cannot reach localhost port")?;
    let text = fs::read_to_string(bench.path("agent.toml"))?;
    fs::write(bench.path("agent.toml"), text.replace("localhost", "no-such-broker.invalid"))?;
    bench.doctor()?.tells("dns", "fault", "no-such-broker.invalid: ")?;
    fs::write(bench.path("agent.toml"), text.replace("kind = \"rail\"", "kind = \"sofa\""))?;
    bench.doctor()?.tells("configuration", "fault", "sofa")?;
    fs::remove_file(bench.path("agent.toml"))?;
    bench.doctor()?.tells("configuration", "fault", "cannot read")
}

#[test]
fn certificates_that_are_not_believed_are_told_with_whose_they_are() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    let files = bench.path("tls");
    let authority = Authority::found(&files, "chain")?;
    authority.sign("broker", "localhost", GOOD)?;
    authority.sign("gateway", "gw-1", GOOD)?;
    authority.sign("expired", "gw-1", (2020, 2021))?;
    let other = Authority::found(&bench.path("other"), "somebody else")?;
    other.sign("gateway", "gw-1", GOOD)?;
    let (plain, folder) = (free_port()?, bench.path("mosquitto"));
    let _broker = Mosquitto::start_secure(&folder, plain, (bench.port, &files))?;
    let tls = |ca: &str, own: &str| {
        let path = |name: &str| bench.path(name).display().to_string();
        let (ca, certificate, key) = (path(ca), path(&format!("{own}.pem")), path(&format!("{own}.key")));
        format!("[mqtt.tls]\nca = \"{ca}\"\ncertificate = \"{certificate}\"\nkey = \"{key}\"")
    };
    for (ca, own, check, state, what) in [
        ("tls/ca.pem", "tls/gateway", "broker", "ok", "takes this gateway's messages"),
        ("other/ca.pem", "tls/gateway", "tls", "fault", "was signed by nobody whom this machine believes"),
        ("tls/ca.pem", "tls/expired", "tls", "fault", "it has expired"),
        ("tls/ca.pem", "other/gateway", "tls", "fault", "the broker does not know who signed it"),
        ("tls/ca.pem", "tls/nobody", "tls", "fault", "nobody.pem cannot be read"),
    ] {
        bench.write(&bench.path("data"), &tls(ca, own))?;
        bench.doctor()?.tells(check, state, what).with_context(|| format!("{ca} {own}"))?;
    }
    Ok(())
}

#[test]
fn a_broker_that_lets_the_gateway_in_and_not_speak_is_told_by_what_it_refuses() -> anyhow::Result<()> {
    let own = "hangtag/v1/demo/gw/paris/gw-1";
    for (rules, check, state, what) in [
        (format!("topic readwrite {own}/#"), "broker", "ok", "takes"),
        (format!("topic read {own}/#"), "acl", "fault", "refuses a message of this gateway: NotAuthorized"),
    ] {
        let bench = Bench::new()?;
        let _broker = Mosquitto::start_strict(&bench.path("mosquitto"), bench.port, &rules)?;
        bench.doctor()?.tells(check, state, what)?;
    }
    Ok(())
}

#[test]
fn a_disk_that_keeps_nothing_is_a_fault() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    fs::write(bench.path("file"), "")?;
    bench.write(&bench.path("file"), "")?;
    bench.doctor()?.tells("disk", "fault", "is no folder")?;
    if let Some(why) = refusal() {
        return skip(why);
    }
    let disk = Image::create(&bench.path("disk.img"), 32)?.mount(&bench.path("disk"))?;
    bench.write(disk.path(), "")?;
    ensure!(bench.doctor()?.tells("disk", "fault", "").is_err());
    disk.abort()?;
    bench.doctor()?.tells("disk", "fault", "Read-only file system")
}

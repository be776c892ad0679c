//! A broker that believes nobody without a certificate: what a gateway sends arrives at central, which has one too, and
//! where the certificates are not good nothing is lost and the log says why.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use hangtag_tests::emulator::carousel::Carousel;
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::gateway::{Gateway, STOPS_WITHIN};
use hangtag_tests::harness::judge::{judge_logs, wait_complete};
use hangtag_tests::harness::pki::{Authority, GOOD};
use hangtag_tests::harness::process::{Process, wait_for};
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder, free_port};

/// Longer than the longest pause before a connection.
const PATIENCE: Duration = Duration::from_secs(90);
const EVENTS: u64 = 40;

#[test]
fn events_wait_for_certificates_that_are_good_and_renewed_ones_need_no_restart() -> anyhow::Result<()> {
    let folder = folder()?;
    let (plain, secure) = (free_port()?, free_port()?);
    let files = folder.path().join("tls");
    let authority = Authority::found(&files, "chain")?;
    authority.sign("broker", "localhost", GOOD)?;
    authority.sign("gateway", "demo-shop.gw-1", (2020, 2021))?;
    let mut broker = Mosquitto::start_secure(&folder.path().join("mosquitto"), plain, (secure, &files))?;
    let site = Site::for_test(folder.path(), plain)?;
    authority.sign("central", "central", (2020, 2021))?;
    let config = std::fs::read_to_string(folder.path().join("central.toml"))?;
    let config = config.replacen(
        &format!("host = \"127.0.0.1\"\nport = {plain}\n"),
        &format!(
            "host = \"localhost\"\nport = {secure}\n[mqtt.tls]\nca = \"tls/ca.pem\"\n\
             certificate = \"tls/central.pem\"\nkey = \"tls/central.key\"\n"
        ),
        1,
    );
    site.write("central.toml", &config)?;
    let mut central = site.start_central()?;
    let central_said = |words: &str| {
        wait_for(words, PATIENCE, || {
            let log = std::fs::read_to_string(folder.path().join("central.log")).unwrap_or_default();
            Ok(log.contains(words).then_some(()))
        })
    };
    central_said("the broker refuses this machine's certificate: it has expired")?;
    authority.sign("central", "central", GOOD)?;
    central_said("connected to the broker")?;
    let gateway = Gateway::create(&site, "agent", &folder.path().join("agent-data"), secure, "")?;
    let config = std::fs::read_to_string(folder.path().join("agent.toml"))?;
    let config = config.replace("127.0.0.1", "localhost").replacen(
        "[mqtt]",
        "[mqtt.tls]\nca = \"tls/ca.pem\"\ncertificate = \"tls/gateway.pem\"\nkey = \"tls/gateway.key\"\n[mqtt]",
        1,
    );
    site.write("agent.toml", &config)?;
    let mut agent = gateway.start()?;
    let said = |words: &str| {
        wait_for(words, PATIENCE, || {
            let log = std::fs::read_to_string(gateway.log()).unwrap_or_default();
            Ok(log.contains(words).then_some(()))
        })
    };
    let carousel = Carousel::start(&gateway.readers(), 1, 100)?;
    gateway.wait_accepted(&mut agent, usize::try_from(EVENTS)?)?;
    said("the broker refuses this machine's certificate: it has expired")?;
    let before = judge_logs(&[&gateway.accepted_log()], &site.database())?;
    assert!(before.missing >= EVENTS, "nothing came through: {before:?}");

    // The same with a key that everybody could read: it is not used.
    authority.sign("gateway", "demo-shop.gw-1", GOOD)?;
    let key = files.join("gateway.key");
    let mode = |mode| std::fs::set_permissions(&key, Permissions::from_mode(mode));
    mode(0o644)?;
    said("gateway.key has the mode 0644")?;
    mode(0o600)?;
    drop(carousel);
    let complete = |agent: &mut Process| {
        wait_complete(PATIENCE, || {
            agent.check()?;
            judge_logs(&[&gateway.accepted_log()], &site.database())
        })
    };
    assert_eq!(complete(&mut agent)?.missing, 0);

    // A broker of another authority is not believed, whoever it lets in.
    broker.stop()?;
    let strangers = folder.path().join("strangers");
    let other = Authority::found(&strangers, "another")?;
    other.sign("broker", "localhost", GOOD)?;
    std::fs::copy(files.join("ca.pem"), strangers.join("ca.pem"))?;
    let mut stranger =
        Mosquitto::start_secure(&folder.path().join("stranger"), free_port()?, (secure, &strangers))?;
    said("the broker's certificate was signed by nobody whom this machine believes")?;
    stranger.stop()?;
    broker.restart()?;
    let accepted = gateway.accepted();
    let carousel = Carousel::start(&gateway.readers(), 2, 100)?;
    gateway.wait_accepted(&mut agent, accepted + usize::try_from(EVENTS)?)?;
    drop(carousel);
    let verdict = complete(&mut agent)?;
    assert_eq!(verdict.missing, 0, "{verdict:?}");
    central.check()?;
    agent.stop(STOPS_WITHIN)?;
    central.stop(STOPS_WITHIN)
}

//! Bad input through every door: it is named, and nothing else is lost.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Output;
use std::time::Duration;

use hangtag_tests::emulator::line::Faults;
use hangtag_tests::emulator::live::LiveShop;
use hangtag_tests::harness::judge::judge;
use hangtag_tests::harness::listener::Listener;
use hangtag_tests::harness::process::wait_for;
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{broker, free_port};
use hangtag_tests::shop::{Difficulty, Pace, Settings, Shop};
use tokio::time::{Instant, sleep};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_configuration_with_an_unknown_key_is_refused_with_the_key() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::for_test(folder.path(), 1)?;
    for (file, check) in
        [("agent.toml", site.agent("check").output()?), ("central.toml", site.central("check").output()?)]
    {
        assert!(check.status.success(), "{file}: {}", said(&check));
        let text = std::fs::read_to_string(folder.path().join(file))?;
        site.write(file, &text.replacen("[mqtt]\n", "[mqtt]\nhosst = \"x\"\n", 1))?;
    }
    for output in [
        site.agent("check").output()?,
        site.agent("run").output()?,
        site.central("check").output()?,
        site.central("run").output()?,
    ] {
        let text = said(&output);
        assert!(!output.status.success() && text.contains("hosst") && text.contains(".toml"), "{text}");
    }
    Ok(())
}

#[test]
fn broken_rows_of_a_catalogue_are_named_by_their_lines() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::for_test(folder.path(), 1)?;
    let mut lines: Vec<String> =
        std::fs::read_to_string(folder.path().join("catalogue.csv"))?.lines().map(str::to_owned).collect();
    lines[3] = lines[3].replacen(|c: char| c.is_ascii_digit(), "x", 1);
    let fields = lines[5].split(',').count();
    lines[5] = "4006381333930".to_owned() + &",a".repeat(fields - 2) + ",1.00";
    lines.push("too,few".into());
    let last = lines.len();
    site.write("catalogue.csv", &lines.join("\n"))?;
    let output = site.central("check").output()?;
    let text = said(&output);
    assert!(!output.status.success(), "{text}");
    for line in [4, 6, last] {
        assert!(text.contains(&format!("line {line}")), "line {line} is named: {text}");
    }
    Ok(())
}

#[test]
fn a_broker_that_hangs_up_at_once_is_tried_again() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let broker = TcpListener::bind(("127.0.0.1", 0))?;
    let site = Site::for_test(folder.path(), broker.local_addr()?.port())?;
    // Its page needs no broker.
    let mut central = site.start_central()?;
    let mut agent = site.start_agent()?;
    for connection in 0..6 {
        let (mut stream, _) = broker.accept()?;
        let mut connect = [0; 512];
        let _ = stream.read(&mut connect)?;
        // CONNACK of MQTT 5: no session, success, no properties.
        stream.write_all(&[0x20, 3, 0, 0, 0])?;
        drop(stream);
        central.check()?;
        agent.check()?;
        println!("connection {connection}");
    }
    agent.stop(Duration::from_secs(15))?;
    central.stop(Duration::from_secs(15))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_on_the_lines_and_strangers_on_the_broker_lose_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let broker_port = free_port()?;
    broker::embedded(broker_port)?;
    let site = Site::for_test(folder.path(), broker_port)?;
    let central = site.start_central()?;
    let settings = Settings { seed: 5, pace: Pace::Demo, difficulty: Difficulty::Easy };
    let faults = Faults { garbage: 0.1, loss: 0.05, truncation: 0.05 };
    let mut shop = LiveShop::open(Shop::new(settings), &site.readers(), faults)?;
    let listener = Listener::start(broker_port);
    let mut agent = site.start_agent()?;

    let opened = Instant::now();
    let mut strange: Vec<Vec<u8>> = vec![b"not a batch".to_vec(), vec![0xA5; 300], Vec::new()];
    let strangers = strange.len() as u64;
    while opened.elapsed() < Duration::from_secs(35) {
        shop.tick().await;
        agent.check()?;
        if opened.elapsed() > Duration::from_secs(8)
            && let Some(payload) = strange.pop()
        {
            listener.publish(payload).await?;
        }
    }
    agent.stop(Duration::from_secs(10))?;
    let end = Instant::now() + Duration::from_secs(20);
    let verdict = loop {
        let verdict = judge(&site.accepted_log(), &site.database())?;
        if verdict.missing == 0 || Instant::now() > end {
            break verdict;
        }
        sleep(Duration::from_millis(50)).await;
    };
    println!("{verdict:?}");
    assert!(verdict.is_exact() && verdict.unlogged == 0, "{verdict:?}");
    assert!(
        verdict.by_kind.contains_key("picked_up"),
        "garments are noticed in spite of the noise: {verdict:?}"
    );
    let health = site.health()?;
    assert_eq!(health["quarantined"].as_u64(), Some(strangers), "{health}");
    let list = said(&{
        let mut command = site.central("quarantine");
        command.arg("list").output()?
    });
    assert!(list.contains("HTAG"), "the reason is given: {list}");
    central.stop(Duration::from_secs(10))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_unplugged_is_missed_and_found_again() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let broker_port = free_port()?;
    broker::embedded(broker_port)?;
    let site = Site::for_test(folder.path(), broker_port)?;
    let central = site.start_central()?;
    let settings = Settings { seed: 3, pace: Pace::Demo, difficulty: Difficulty::Easy };
    let mut shop = LiveShop::open(Shop::new(settings), &site.readers(), Faults::default())?;
    let agent = site.start_agent()?;
    let opened = Instant::now();
    let (mut unplugged, mut plugged) = (false, false);
    while opened.elapsed() < Duration::from_secs(16) {
        shop.tick().await;
        if !unplugged && opened.elapsed() > Duration::from_secs(5) {
            unplugged = true;
            shop.ports()[0].unplug().await?;
        }
        if !plugged && opened.elapsed() > Duration::from_secs(8) {
            plugged = true;
            shop.ports()[0].plug()?;
        }
    }
    agent.stop(Duration::from_secs(10))?;
    let states = wait_for("the coverage of the reader", Duration::from_secs(20), || {
        let database = rusqlite::Connection::open(site.database())?;
        let mut rows = database
            .prepare("SELECT state FROM event WHERE kind = 'coverage' AND reader = 'rail-a' ORDER BY seq")?;
        let states: Vec<String> = rows.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok((states.last().is_some_and(|last| last == "listening") && states.len() >= 4).then_some(states))
    })?;
    assert!(states.contains(&"absent".to_owned()), "{states:?}");
    let absent = states.iter().rposition(|state| state == "absent");
    assert!(absent < states.iter().rposition(|state| state == "listening"), "{states:?}");
    central.stop(Duration::from_secs(10))
}

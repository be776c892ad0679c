//! A barcode scanner in a booth, from its pseudo-terminal through the real agent and Mosquitto to the real central:
//! scans are bound to their visit, the same loyalty code comes to the same number, and nobody on the way could have
//! read it.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hangtag_protocol::batch::Batch;
use hangtag_protocol::id::Seq;
use hangtag_protocol::line::EventLine;
use hangtag_tests::emulator::Module;
use hangtag_tests::emulator::carousel::Carousel;
use hangtag_tests::emulator::line::Line;
use hangtag_tests::emulator::port::Port;
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::gateway::{Gateway, STOPS_WITHIN, succeeded};
use hangtag_tests::harness::judge::{judge, wait_complete};
use hangtag_tests::harness::listener::Listener;
use hangtag_tests::harness::onlooker::Told;
use hangtag_tests::harness::process::{Process, wait_for};
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder, free_port, skip};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(90);
/// Three shoppers' codes; the third is one that no pattern describes.
const CODES: [&str; 3] = ["LC-4711SECRETanna", "LC-0815HIDDENberta", "4242COVERTcarla"];
const PRODUCT: &str = "4006381333931";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loyalty_codes_reach_central_in_their_visit_and_are_readable_nowhere() -> anyhow::Result<()> {
    let folder = folder()?;
    let port = free_port()?;
    let _broker = Mosquitto::start(&folder.path().join("mosquitto"), port)?;
    let site = Site::for_test(folder.path(), port)?;
    let without_keys = std::fs::read_to_string(folder.path().join("central.toml"))?;
    let with_keys = format!("{without_keys}[loyalty]\nkeys = \"keys\"\n");
    site.write("central.toml", &with_keys)?;
    let key = make_key(&site)?;
    site.write("central.toml", &without_keys)?;
    let more = format!(
        "[loyalty]\nkey = \"{key}\"\n[[reader]]\nid = \"scan\"\nport = \"readers/scan\"\nprotocol = \"scanner\"\n\
         zone = \"booth-1\"\nloyalty = [\"LC-*\"]\n"
    );
    let gateway = Gateway::create(&site, "agent", &folder.path().join("agent-data"), port, &more)?;
    let listener = Listener::keeping(port);
    let mut scanner = Port::with(&site.readers().join("scan"), Module::Scanner, Line::clean());
    scanner.plug()?;
    let _carousel = Carousel::start(&gateway.readers(), 1, 60)?;
    let central = site.start_central()?;
    let capture = folder.path().join("capture.txt");
    let mut command = gateway.run();
    command.arg("--capture").arg(&capture).env("HANGTAG_LOG", "trace");
    let mut agent = Process::start("hangtag-agent", &mut command, &gateway.log())?;

    let scans = Told::ask(&site, &mut agent, "scans")?;
    let in_booth = |event: &Value| event["kind"] == "carried_in" && event["zone"] == "booth-1";
    wait_for("a visit", PATIENCE, || {
        agent.check()?;
        Ok(accepted(&gateway)?.iter().any(in_booth).then_some(()))
    })?;
    for (line, kind) in [
        (CODES[0], "loyalty"),
        (PRODUCT, "product"),
        (CODES[1], "loyalty"),
        (CODES[2], "unknown"),
        (CODES[0], "loyalty"),
    ] {
        scan(&scanner, &scans, line, kind).await?;
    }

    // Central has no key: it keeps them as they came, and says so.
    let id = &key["htpub-".len()..][..16];
    wait_unopened(&site, &json!([{"key": id, "state": "sealed", "scans": 3}]))?;
    let page = site.get("/")?;
    ensure!(page.contains(&format!("wait for key {id}: 3")), "{page}");
    ensure!(loyalty(&site)?.iter().all(|(code, sealed)| code.is_none() && *sealed));
    central.stop(STOPS_WITHIN)?;
    site.write("central.toml", &with_keys)?;
    let checked = String::from_utf8(succeeded(site.central("check").output()?)?.stdout)?;
    ensure!(checked.contains(&format!("1 keys, the newest {id}")), "{checked}");
    let central = site.start_central()?;
    wait_unopened(&site, &json!([]))?;
    scan(&scanner, &scans, CODES[0], "loyalty").await?;
    let rows = wait_for("the last scan in central", PATIENCE, || {
        let rows = loyalty(&site)?;
        Ok((rows.len() == 4).then_some(rows))
    })?;
    let codes: Vec<String> = rows
        .into_iter()
        .map(|(code, sealed)| code.filter(|_| !sealed))
        .collect::<Option<_>>()
        .context("something is still sealed")?;
    ensure!(codes[0] == codes[2] && codes[0] == codes[3], "one shopper is one number: {codes:?}");
    ensure!(codes[0] != codes[1] && codes.iter().all(|code| code.len() == 64), "{codes:?}");
    ensure!(site.get("/zones.csv")?.lines().any(|line| line.contains(",booth-1,") && line.ends_with(",4,1")));

    match memory(agent.id()) {
        Ok(memory) => {
            for code in CODES {
                ensure!(
                    !memory.windows(code.len() - 3).any(|held| held == &code.as_bytes()[3..]),
                    "the agent remembers {code}"
                );
            }
            let folder = b"agent-data";
            ensure!(
                memory.windows(folder.len()).any(|held| held == folder),
                "the search finds what is there"
            );
        }
        Err(why) => skip(format!("whether the agent wiped its memory: {why}"))?,
    }
    agent.stop(STOPS_WITHIN)?;
    let events = accepted(&gateway)?;
    let scanned: Vec<&Value> = events.iter().filter(|event| event["kind"] == "scanned").collect();
    ensure!(scanned.len() == 5, "{scanned:?}");
    for scan in scanned {
        let opening = events.iter().find(|event| event["seq"] == scan["visit"]);
        ensure!(opening.is_some_and(in_booth), "{scan}: {opening:?}");
    }
    let verdict = wait_complete(PATIENCE, || judge(&gateway.accepted_log(), &site.database()))?;
    ensure!(verdict.is_exact(), "{verdict:?}");

    // What packs events hides texts from a search: it is unpacked first.
    gateway.export(&folder.path().join("export"))?;
    let decoded = site.agent_without("decode").arg(folder.path().join("export")).output()?;
    site.write("export.jsonl", &String::from_utf8(succeeded(decoded)?.stdout)?)?;
    site.write("mqtt.jsonl", &unpacked(&listener)?)?;
    site.write("page.html", &(site.get("/")? + &site.get("/health")?))?;
    central.stop(STOPS_WITHIN)?;
    for file in ["export.jsonl", "mqtt.jsonl", "agent.jsonl"] {
        let text = std::fs::read_to_string(folder.path().join(file))?;
        ensure!(text.matches("\"sealed\":").count() >= 4, "{file}");
    }
    ensure!(std::fs::read_to_string(gateway.log())?.contains("TRACE"), "everything was logged");
    ensure!(std::fs::read_to_string(&capture)?.contains(" carousel "), "everything was recorded");
    for code in CODES {
        let bare = code.trim_start_matches("LC-");
        for form in forms(bare) {
            ensure!(
                files_with(folder.path(), &form)?.is_empty(),
                "{form} in {:?}",
                files_with(folder.path(), &form)?
            );
        }
    }
    // And the search finds what is there, in the database too.
    let found = files_with(folder.path(), &codes[0])?;
    ensure!(found.iter().any(|file| file.contains("central.db")), "{found:?}");
    Ok(())
}

/// What a process has in its memory, as far as it can write there.
fn memory(process: u32) -> io::Result<Vec<u8>> {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps"))?;
    let memory = std::fs::File::open(format!("/proc/{process}/mem"))?;
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
        let Some((Ok(from), Ok(to))) =
            range.map(|(from, to)| (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16)))
        else {
            continue;
        };
        let mut held = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
        // What was unmapped meanwhile cannot be read.
        if memory.read_exact_at(&mut held, from).is_ok() {
            all.append(&mut held);
        }
    }
    Ok(all)
}

/// Makes a key pair with the real command; returns the public key.
fn make_key(site: &Site) -> anyhow::Result<String> {
    let keys = |more: &[&str]| -> anyhow::Result<String> {
        let output = succeeded(site.central("keys").args(more).output()?)?;
        Ok(String::from_utf8(output.stdout)?)
    };
    let made = keys(&["make"])?;
    let key = made.split_whitespace().find(|word| word.starts_with("htpub-")).context("no public key")?;
    let listed = keys(&[])?;
    ensure!(listed.contains(key) && !listed.contains("htkey-") && !made.contains("htkey-"), "{listed}");
    Ok(key.to_owned())
}

/// Scans a code once, and waits until the agent tells what it took it for.
async fn scan(scanner: &Port, scans: &Told, line: &str, kind: &str) -> anyhow::Result<()> {
    let mut once = Some(format!("{line}\r\n").into_bytes());
    let act = |now_ms| {
        if let Some(line) = once.take() {
            scanner.say(now_ms, line);
        }
    };
    let told = scans.until(Instant::now(), act, |_| true).await?;
    ensure!(told["kind"] == kind, "{line}: {told}");
    Ok(())
}

/// What the agent accepted; of a line that is being written nothing.
fn accepted(gateway: &Gateway) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(gateway.accepted_log()).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    Ok(whole.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn wait_unopened(site: &Site, wanted: &Value) -> anyhow::Result<()> {
    let found = || Ok((site.health()?["unopened"] == *wanted).then_some(()));
    wait_for(&format!("{wanted} not opened"), PATIENCE, found)
}

/// Central's loyalty codes in the order of their events: what stands for each, and whether it is kept sealed.
fn loyalty(site: &Site) -> anyhow::Result<Vec<(Option<String>, bool)>> {
    let db = Connection::open_with_flags(site.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.busy_timeout(Duration::from_secs(5))?;
    let mut query = db.prepare("SELECT code, sealed IS NOT NULL FROM loyalty ORDER BY seq")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What was sent, a line of JSON for each event.
fn unpacked(listener: &Listener) -> anyhow::Result<String> {
    let mut text = String::new();
    for payload in listener.heard().kept.unwrap_or_default() {
        let (header, body) = Batch::decode_header(&payload)?;
        let batch = Batch::decode_body(header, body)?;
        for (seq, event) in (header.first.0..).zip(&batch.events) {
            text += &serde_json::to_string(&EventLine::new(Seq(seq), event))?;
            text.push('\n');
        }
    }
    Ok(text)
}

/// How a text may be written: as it is, in hexadecimal, in decimal, in Base64.
fn forms(text: &str) -> Vec<String> {
    let hex = hex::encode(text);
    let decimal = text.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>();
    let mut forms = vec![text.to_owned(), hex.to_uppercase(), hex, decimal.join(", "), decimal.join(",")];
    // In Base64 a text looks in three ways, by what stands before it; its ends by what stands there.
    forms.extend((0..3).map(|skip| base64(&text.as_bytes()[skip..][..(text.len() - skip) / 3 * 3])));
    forms
}

/// Base64 of whole groups of three bytes (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups =
        bytes.chunks_exact(3).map(|group| group.iter().fold(0, |known, byte| known << 8 | u32::from(*byte)));
    groups
        .flat_map(|group| [18, 12, 6, 0].map(|bit| char::from(LETTERS[(group >> bit & 63) as usize])))
        .collect()
}

/// The files in a folder and below that hold a text.
fn files_with(folder: &Path, text: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            found.extend(files_with(&entry.path(), text)?);
        } else if kind.is_file() {
            let bytes = std::fs::read(entry.path())?;
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    Ok(found)
}

//! `spool`, `spool export`, `decode` and `bench fill` at the door.

use std::fs;

use super::door::{Door, GOOD};
use serde_json::Value;

fn filled(config: &str, events: &str) -> Door {
    let door = Door::new(config);
    let said = door.run(&["bench", "fill", "--events", events]);
    assert_eq!(said.code, Some(0), "{said:?}");
    door
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn an_agent_that_may_not_be_asked_is_not_called_stopped() {
    let door = Door::new(GOOD);
    let _agent = door.start();
    for words in [&["spool"][..], &["watch", "--for", "1"]] {
        let said = door.run_without_rights(&door.path("data/agent.sock"), words);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err.contains("no permission to ask the agent at data/agent.sock"), "{said:?}");
    }
    assert!(door.run(&["spool"]).out.starts_with("agent      running\n"));
    let said = door.run(&["spool", "export", "out.htgx"]);
    assert!(said.code == Some(1) && said.err.contains("is in use: stop the agent first"), "{said:?}");
    assert!(!door.path("out.htgx").exists());
}

#[test]
fn a_folder_that_may_not_be_read_is_not_called_empty() {
    let door = filled(GOOD, "100");
    fs::set_permissions(door.path("data"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let said = door.run_without_rights(&door.path("data"), &["spool"]);
    assert!(said.code == Some(1) && said.err.contains("ermission"), "{said:?}");
    assert!(!said.err.contains("there is no spool"), "{said:?}");
}

#[test]
fn a_stopped_spool_tells_what_a_running_one_does() {
    let door = filled(GOOD, "20000");
    let stopped = json(&door.run(&["spool", "--json"]).out);
    // The day that was filled in ends now, and an event comes every few milliseconds.
    let oldest = stopped["oldest_s"].as_u64().unwrap();
    assert!(oldest > 0, "{stopped}");
    let percent = stopped["percent"].as_u64().unwrap();
    let live = stopped["live_bytes"].as_u64().unwrap();
    assert_eq!(percent, live * 2 * 100 / (4 << 20), "{stopped}");
    let text = door.run(&["spool"]).out;
    assert!(
        text.contains("old\n") && text.contains(&format!("full       {percent} % of cap_mib = 4")),
        "{text}"
    );
    assert!(text.contains("2 bytes on disk are counted for each packed one"), "{text}");
    let _agent = door.start();
    let running = json(&door.run(&["spool", "--json"]).out);
    for key in ["epoch", "waiting", "held", "live_bytes", "percent", "lost", "fault", "earlier"] {
        assert_eq!(running[key], stopped[key], "{key}: {running}, {stopped}");
    }
}

#[test]
fn what_is_only_kept_is_told_apart_from_what_waits() {
    let door = Door::new(GOOD);
    let said = door.run(&["bench", "fill", "--events", "30000", "--settle-behind", "300"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let stopped = json(&door.run(&["spool", "--json"]).out);
    let number = |key: &str| stopped[key].as_u64().unwrap();
    assert!(number("held") == 30_000 && number("waiting") < 1_000, "{stopped}");
    assert!(number("percent") == 0 && number("kept_percent") > 2, "{stopped}");
    let kept = format!(
        "           and {} % kept for a restored central, which goes first\n",
        number("kept_percent")
    );
    let text = door.run(&["spool"]).out;
    assert!(text.contains("full       0 % of cap_mib = 4") && text.contains(&kept), "{text}");
}

#[test]
fn a_full_spool_that_refuses_says_so_and_holds_nobody_up() {
    let door = Door::new(&GOOD.replace("cap_mib = 4", "cap_mib = 4\nwhen_full = \"refuse\""));
    let said = door.run(&["bench", "fill", "--events", "0", "--per-commit", "4096"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.err.contains("hangtag-agent: filled ") && said.err.contains("the spool is full"),
        "{said:?}"
    );
    let line = json(&door.run(&["spool", "--json"]).out);
    assert!(line["fault"].as_str().unwrap().contains("when_full = \"refuse\""), "{line}");
    assert_eq!(line["percent"], 100);
    assert_eq!(
        line["waiting"].as_u64().unwrap() + 1,
        line["next"].as_u64().unwrap(),
        "nothing is lost: {line}"
    );
    let _agent = door.start();
    let running = json(&door.run(&["spool", "--json"]).out);
    assert!(running["fault"].as_str().unwrap().contains("the spool is full"), "{running}");
}

#[test]
fn invented_events_do_not_come_beside_others_by_mistake() {
    let door = filled(GOOD, "100");
    let said = door.run(&["bench", "fill", "--events", "100"]);
    assert!(said.code == Some(1) && said.err.contains("--more"), "{said:?}");
    assert_eq!(json(&door.run(&["spool", "--json"]).out)["held"], 100);
    let said = door.run(&["bench", "fill", "--events", "100", "--more"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "filled 100 events\n"), "{said:?}");
    assert_eq!(json(&door.run(&["spool", "--json"]).out)["held"], 200);
}

#[test]
fn an_export_does_not_overwrite_another() {
    let door = filled(GOOD, "1000");
    let said = door.run(&["spool", "export", "out.htgx"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.starts_with("out.htgx: 1000 events in "), "{said:?}");
    let first = fs::read(door.path("out.htgx")).unwrap();
    let said = door.run(&["spool", "export", "out.htgx"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("out.htgx is there already: name another file, or remove it"), "{said:?}");
    assert_eq!(fs::read(door.path("out.htgx")).unwrap(), first);
    let said = door.run(&["spool", "export", "no/such/folder"]);
    assert!(said.code == Some(1) && said.err.contains("cannot write no/such/folder"), "{said:?}");
}

#[test]
fn an_export_tells_how_much_of_it_central_knows() {
    let door = Door::new(GOOD);
    let said = door.run(&["bench", "fill", "--events", "1000", "--settle-behind", "6"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let line = json(&door.run(&["spool", "--json"]).out);
    let said = door.run(&["spool", "export", "out.htgx"]);
    let lines: Vec<&str> = said.out.lines().collect();
    let events: u64 = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
    let waiting = line["waiting"].as_u64().unwrap();
    assert!(waiting < events, "whole values: {said:?}, {line}");
    let rest = format!("{waiting} of them wait; {} more are known to central: they share", events - waiting);
    assert!(lines[1].starts_with(&rest), "{said:?}, {line}");
    assert_eq!(lines[2..], ["next: hangtag-central import out.htgx"]);
}

#[test]
fn a_damaged_spool_is_called_damaged() {
    let door = filled(GOOD, "1000");
    let sound = door.run(&["spool"]);
    assert!(!sound.out.contains("damaged"), "{sound:?}");
    let files = fs::read_dir(door.path("data/spool")).unwrap().map(|entry| entry.unwrap().path());
    let db = fs::read(door.path("data/spool/db")).unwrap();
    for path in files.filter(|path| path.is_file()) {
        let length = fs::metadata(&path).unwrap().len();
        fs::write(&path, vec![0x55; usize::try_from(length).unwrap()]).unwrap();
    }
    let said = door.run(&["spool"]);
    let damage = "its own record is not found; 1000 accepted events are not found, 0 are";
    assert!(said.out.contains(&format!("damaged    {damage}\n")), "{said:?}");
    assert_eq!(json(&door.run(&["spool", "--json"]).out)["damage"], damage);
    let said = door.run(&["spool", "export", "out.htgx"]);
    assert!(said.err.contains(&format!("the spool in data is damaged: {damage}")), "{said:?}");
    assert!(
        said.code == Some(0) && said.out.contains("0 events in 1 batches, 1000 declared lost"),
        "{said:?}"
    );

    // One value alone spoils: the record is there, and the others are.
    let mut spoiled = db;

    let at = spoiled.windows(3).position(|bytes| bytes == b"HTV").unwrap();
    let value = spoiled[at..at + 40].to_vec();
    for at in 0..spoiled.len() - value.len() {
        if spoiled[at..].starts_with(&value) {
            spoiled[at..at + 3].fill(0);
        }
    }
    door.write("data/spool/db", spoiled);
    let line = json(&door.run(&["spool", "--json"]).out);
    let damage = line["damage"].as_str().unwrap();
    assert!(!damage.contains("record") && damage.contains(&format!(" {} are", line["held"])), "{damage}");
    assert_eq!(line["held"].as_u64().unwrap() + line["lost"].as_u64().unwrap(), 1_000, "{line}");
}

#[test]
fn an_export_is_decoded_and_its_damage_named() {
    let door = filled(GOOD, "1000");
    assert_eq!(door.run(&["spool", "export", "out.htgx"]).code, Some(0));
    let whole = door.run(&["decode", "out.htgx"]);
    assert_eq!(whole.code, Some(0), "{}", whole.err);
    let events = |out: &str| out.lines().map(json).filter(|line| line["kind"].is_string()).count();
    assert_eq!(events(&whole.out), 1_000);
    let headers: Vec<Value> = whole.out.lines().map(json).filter(|line| line["format"].is_u64()).collect();
    assert!(
        headers.len() > 2 && headers[0]["store"] == "paris-1" && headers[0]["first"] == 1,
        "{}",
        headers[0]
    );

    let bytes = fs::read(door.path("out.htgx")).unwrap();
    let batch = &bytes[9..9 + usize::try_from(headers[0]["bytes"].as_u64().unwrap()).unwrap()];
    door.write("batch", batch);
    let plain = door.run(&["decode", "batch"]);
    assert_eq!(plain.code, Some(0), "{}", plain.err);
    let pairs: Vec<String> = batch.iter().map(|byte| format!("{byte:02x}")).collect();
    for (between, end) in [("", "\n"), (" ", "\r\n")] {
        let lines: Vec<String> = pairs.chunks(30).map(|line| line.join(between) + end).collect();
        door.write("batch.hex", lines.concat());
        let said = door.run(&["decode", "batch.hex"]);
        assert_eq!((said.code, &said.out), (Some(0), &plain.out), "{}", said.err);
    }

    let first = headers[0]["bytes"].as_u64().unwrap();
    // After the magic, the version and its length the first batch begins; the second after another length.
    let second = usize::try_from(9 + first + 4).unwrap();
    let mut damaged = bytes.clone();
    damaged[second + 100] ^= 1;
    door.write("damaged.htgx", &damaged);
    let said = door.run(&["decode", "damaged.htgx"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains(&format!("damaged.htgx: byte {second}: ")), "{}", said.err);
    assert!(said.err.contains(&format!("1 of {} batches cannot be read", headers.len())), "{}", said.err);
    let lost = headers[1]["count"].as_u64().unwrap();
    assert_eq!(events(&said.out) as u64, 1_000 - lost, "those behind it are there");

    door.write("cut.htgx", &bytes[..second + 100]);
    let said = door.run(&["decode", "cut.htgx"]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.err.contains(&format!("cut.htgx: byte {second}: ends in the middle of a batch")),
        "{}",
        said.err
    );
    assert_eq!(events(&said.out) as u64, headers[0]["count"].as_u64().unwrap());

    door.write("noise", b"HTGX\x01\xff\xff\xff\xff");
    let said = door.run(&["decode", "noise", "gone", "out.htgx"]);
    assert!(
        said.code == Some(1) && said.err.contains("noise: byte 5: a batch of 4294967295 bytes"),
        "{}",
        said.err
    );
    assert!(said.err.contains("gone: cannot open it") && said.err.contains("2 of 3 files"), "{}", said.err);
    assert_eq!(events(&said.out), 1_000, "a good file behind bad ones is printed");
}

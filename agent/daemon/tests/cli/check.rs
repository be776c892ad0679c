//! `check` at the door: what it tells of a configuration and of the machine, and its exit codes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use super::door::{Door, GOOD};

#[test]
fn a_good_configuration_is_told_in_words() {
    let door = Door::new(GOOD);
    fs::create_dir(door.path("data")).unwrap();
    let said = door.run(&["check"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    for part in [
        "be       gateway gw-1 of store paris-1 of tenant acme",
        "read     reader rail-a: r200, 115200 baud, at nowhere; region eu, 26 dBm; antenna 1 at rail-a",
        "send     to 127.0.0.1 port 9, without a user",
        "keep     events in data, up to 4 MiB; when that is full the oldest are lost",
        "delete   events 48 h of running time after central has stored them",
        "warning: reader \"rail-a\": port nowhere: is not there now, the agent would wait for it",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    assert!(!said.out.contains("error:"), "{}", said.out);
    let help = door.run(&["check", "--help"]);
    assert!(help.out.contains("Exit codes:"), "{}", help.out);
}

#[test]
fn all_errors_are_told_with_line_key_value_and_what_is_allowed() {
    let bad = GOOD.replace("port = 9", "port = 99999\nhosst = \"x\"").replace("\"eu\"", "\"mars\"");
    let door = Door::new(&bad.replace("26.0", "40"));
    let said = door.run(&["check"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    for part in [
        "agent.toml:7: mqtt.port = 99999: must be a whole number from 1 to 65535\n",
        "agent.toml:8: mqtt.hosst: there is no such key; [mqtt] may have backlog_share, host,",
        "agent.toml:18: reader \"rail-a\": region = \"mars\": must be one of \"eu\", \"us\",",
        "agent.toml:19: reader \"rail-a\": power_dbm = 40: must be a number from 0 to 33\n",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    assert_eq!(said.out.lines().count(), 5, "and nothing else: {}", said.out);
    let ran = door.run(&["run"]);
    assert!(
        ran.code == Some(1) && ran.err.contains("mqtt.hosst") && ran.err.contains("power_dbm"),
        "{ran:?}"
    );
    assert!(!door.path("data").exists(), "nothing was opened");
}

#[test]
fn what_stands_in_the_way_on_this_machine_is_an_error() {
    for (from, to, told) in [
        ("\"data\"", "\"agent.toml\"", "error: data folder agent.toml: is no folder"),
        (
            "port = 9",
            "user = \"u\"\npassword_file = \"gone\"",
            "error: mqtt.password_file gone: No such file",
        ),
        ("port = 9", "user = \"u\"\npassword_file = \"empty\"", "error: mqtt.password_file empty: is empty"),
        (
            "port = 9",
            "user = \"u\"\npassword_file = \"two\"",
            "error: mqtt.password_file two: has several lines",
        ),
        ("\"nowhere\"", "\"empty\"", "error: reader \"rail-a\": port empty: is a file, no serial port"),
        ("\"nowhere\"", "\"/dev/null\"", "port /dev/null: is no serial port but a device of kind mem"),
    ] {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD);
        let door = Door::new(&text);
        door.write("empty", "\n");
        door.write("two", "a\nb\n");
        let said = door.run(&["check"]);
        assert!(said.code == Some(1) && said.out.contains(told), "{told}: {said:?}");
    }
    let long = GOOD.replace("\"data\"", &format!("\"{}\"", "long/".repeat(30)));
    let said = Door::new(&long).run(&["check"]);
    assert!(said.code == Some(1) && said.out.contains("its path is too long for a socket"), "{said:?}");
}

#[test]
fn one_port_under_two_names_is_found_out() {
    let second =
        GOOD[GOOD.find("[[reader]]").unwrap()..].replacen("rail-a", "b", 1).replace("nowhere", "two");
    let door = Door::new(&format!("{}{second}", GOOD.replace("nowhere", "one")));
    // A terminal that every machine has.
    symlink("/dev/tty", door.path("one")).unwrap();
    symlink("/dev/tty", door.path("two")).unwrap();
    let said = door.run(&["check"]);
    assert!(said.code == Some(1), "{said:?}");
    assert!(said.out.contains("port two: is the same port as that of reader \"rail-a\""), "{}", said.out);
}

#[test]
fn what_may_not_be_meant_is_a_warning() {
    let text = GOOD.replace("cap_mib = 4", "cap_mib = 1000000\ndelete_after = \"broker\"\nretention_h = 0");
    let text = text.replace("port = 9", "user = \"u\"\npassword_file = \"password\"");
    let door =
        Door::new(&text.replacen("[[reader]]", "[[zone]]\nid = \"unseen\"\nkind = \"rail\"\n[[reader]]", 1));
    door.write("password", "secret\n");
    fs::set_permissions(door.path("password"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir_all(door.path("data/spool.bad-1")).unwrap();
    let said = door.run(&["check"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    for part in [
        "warning: spool.delete_after = \"broker\": what the broker takes and then loses is lost",
        "warning: spool.retention_h = 0:",
        "warning: zone \"unseen\": no antenna looks at it",
        "warning: mqtt.password_file password: everybody on this machine may read it",
        "a third of what the disk has for it",
        "data/spool.bad-1: the spool was damaged once",
        "as user u",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    assert!(!said.out.contains("secret"), "{}", said.out);
}

#[test]
fn a_scanner_alone_may_do_where_no_garments_rest() {
    for (kind, warned) in [("booth", false), ("till", false), ("rail", true)] {
        let zone = format!("[[zone]]\nid = \"alone\"\nkind = \"{kind}\"\n[[reader]]");
        let scanner =
            "[[reader]]\nid = \"scan\"\nport = \"elsewhere\"\nprotocol = \"scanner\"\nzone = \"alone\"\n";
        let door = Door::new(&format!("{}{scanner}", GOOD.replacen("[[reader]]", &zone, 1)));
        let said = door.run(&["check"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        let warns = said.out.contains("zone \"alone\": no antenna looks at it");
        assert_eq!(warns, warned, "{kind}: {}", said.out);
    }
}

#[test]
fn sensors_that_are_configured_wrongly_are_errors() {
    let sensors = "[[sensor]]\naddress = \"CB:B8:33:4C:88:4F\"\nzone = \"rail-z\"\n\
                   [[sensor]]\naddress = \"CB:B8:33:4C:88:50\"\nepc = \"blue jeans\"\n\
                   [[sensor]]\nreader = \"rail-a\"\nnumber = 1\nzone = \"rail-a\"\n";
    let said = Door::new(&format!("{GOOD}{sensors}")).run(&["check"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    for part in [
        "agent.toml:24: sensor CB:B8:33:4C:88:4F: zone = \"rail-z\": there is no [[zone]] with this id; there are \
         \"rail-a\"\n",
        "agent.toml:27: sensor CB:B8:33:4C:88:50: epc = \"blue jeans\": must be an EPC in hexadecimal",
        "agent.toml:29: sensor 1 of \"rail-a\": reader = \"rail-a\": there is no [[reader]] with this id and \
         protocol = \"node\"",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
}

#[test]
fn sensors_of_which_nothing_can_come_are_warned_of() {
    let sensor = "[[sensor]]\naddress = \"CB:B8:33:4C:88:4F\"\nzone = \"rail-a\"\n";
    let node = GOOD.replacen("\"r200\"", "\"node\"\noccupancy = \"rail-a\"", 1);
    let said = Door::new(&node).run(&["check"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let no_booth = "reader \"rail-a\": occupancy = \"rail-a\": the [[zone]] with this id is no booth";
    assert!(said.out.contains(no_booth), "{}", said.out);
    let booth = node.replacen("\"rail\"", "\"booth\"", 1);
    let ruuvi = "[[reader]]\nid = \"tags\"\nport = \"elsewhere\"\nprotocol = \"ruuvi\"\n";
    for (text, unheard) in [
        (format!("{booth}{sensor}"), true),
        (format!("{booth}{ruuvi}{sensor}"), false),
        (format!("{booth}{}{sensor}", ruuvi.replace("ruuvi", "auto")), false),
        (booth.clone(), false),
        (booth.replacen("\"node\"", "\"auto\"", 1), false),
    ] {
        let said = Door::new(&text).run(&["check"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        let warns = |part: &str| said.out.contains(part);
        assert_eq!(warns("if it is a node window 200 ms"), text.contains("\"auto\"\nocc"), "{}", said.out);
        assert!(warns("settle 400 ms, occupied at level high in rail-a\n"), "{}", said.out);
        assert_eq!(warns("sensor CB:B8:33:4C:88:4F: no reader hears sensor tags"), unheard, "{}", said.out);
    }
}

#[test]
fn a_folder_without_rights_is_named_with_the_user() {
    let door = Door::new(GOOD);
    fs::create_dir(door.path("data")).unwrap();
    fs::set_permissions(door.path("data"), fs::Permissions::from_mode(0o700)).unwrap();
    let said = door.run_without_rights(&door.path("data"), &["check"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("error: data folder data: user "), "{}", said.out);
    assert!(said.out.contains(" may not write there; it belongs to "), "{}", said.out);
}

#[test]
fn nobody_who_reads_is_no_reason_to_panic() {
    let door = Door::new(GOOD);
    assert_eq!(door.run(&["bench", "fill", "--events", "20000"]).code, Some(0));
    assert_eq!(door.run(&["spool", "export", "out.htgx"]).code, Some(0));
    for words in
        [&["check"][..], &["spool"], &["spool", "--json"], &["decode", "out.htgx"], &["watch", "--for", "3"]]
    {
        let mut child = door.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(0) && !err.contains("panicked"), "{words:?}: {err}");
    }
    // The exit code says the same to who does not read.
    door.write("agent.toml", "tenant = 3");
    let mut child = door.command(&["check"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

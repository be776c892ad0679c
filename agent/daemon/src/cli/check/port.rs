//! The readers' ports. Enters: paths. Leaves: which are no serial ports, cannot be used, are used twice or change
//! their names. None is opened: that would reset some readers, and disturb an agent that runs.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{Access, major, minor};
use rustix::process::geteuid;

use super::super::ask::user;
use super::{Findings, may};
use crate::config::Reader;

/// Where udev keeps names that stay the same.
pub(in super::super) const STABLE: [&str; 2] = ["/dev/serial/by-id", "/dev/serial/by-path"];
/// The kernel numbers pseudo-terminals from here to there; sysfs does not know them.
const PSEUDO: std::ops::RangeInclusive<u32> = 136..=143;

pub(in super::super) fn look(readers: &[Reader], found: &mut Findings) {
    let mut devices = BTreeMap::new();
    for reader in readers {
        let name = format!("reader \"{}\": port {}", reader.id, reader.port.display());
        let Some(device) = look_at(&reader.port, &name, found) else { continue };
        // Who shares a line names it alike.
        if let Some(other) = devices.insert(device, reader).filter(|other| other.port != reader.port) {
            found.error(format!("{name}: is the same port as that of reader \"{}\"", other.id));
        }
    }
}

/// The device's number, if it is one that can be used.
fn look_at(port: &Path, name: &str, found: &mut Findings) -> Option<u64> {
    let file = match fs::metadata(port) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            let there = match there() {
                there if there.is_empty() => "no adapter is plugged in".to_owned(),
                there => format!("there are {}", there.join(", ")),
            };
            found.warning(format!("{name}: is not there now, the agent would wait for it; {there}"));
            return None;
        }
        Err(why) => {
            found.error(format!("{name}: {why}"));
            return None;
        }
    };
    if !file.file_type().is_char_device() {
        let kind = if file.is_dir() { "a folder" } else { "a file" };
        found.error(format!("{name}: is {kind}, no serial port"));
        return None;
    }
    if let Some(kind) = other_kind(file.rdev()) {
        found.error(format!("{name}: is no serial port but a device of kind {kind}"));
        return None;
    }
    if !may(port, Access::READ_OK | Access::WRITE_OK) {
        let (who, group) = (user(geteuid().as_raw()), file.gid());
        found.error(format!(
            "{name}: user {who} may not use it; add him to its group (on Debian dialout, here {group})"
        ));
    }
    if is_console(file.rdev()) {
        found.warning(format!(
            "{name}: the kernel writes its messages there; take console= out of its command line"
        ));
    }
    let path = port.to_string_lossy();
    if path.starts_with("/dev/ttyUSB") || path.starts_with("/dev/ttyACM") {
        found.warning(format!(
            "{name}: the name changes with the order of plugging in; take one of {}",
            STABLE[0]
        ));
    }
    Some(file.rdev())
}

/// What a device is if it is no terminal, as far as the kernel tells.
pub(in super::super) fn other_kind(device: u64) -> Option<String> {
    if PSEUDO.contains(&major(device)) {
        return None;
    }
    let path = format!("/sys/dev/char/{}:{}/subsystem", major(device), minor(device));
    let kind = fs::read_link(path).ok()?.file_name()?.to_string_lossy().into_owned();
    (kind != "tty").then_some(kind)
}

/// Whether the kernel writes its messages there.
pub(in super::super) fn is_console(device: u64) -> bool {
    let number = format!("{}:{}", major(device), minor(device));
    let consoles = fs::read_to_string("/proc/consoles").unwrap_or_default();
    consoles.lines().any(|line| line.split_whitespace().next_back() == Some(&number))
}

/// The ports that are there, by names that stay the same.
fn there() -> Vec<String> {
    let entries = STABLE.iter().find_map(|folder| fs::read_dir(folder).ok());
    let names =
        entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path().display().to_string()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

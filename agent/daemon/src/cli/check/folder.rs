//! The data folder. Enters: its path, what it may take. Leaves: why events could not be kept in it, or not for
//! long.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, StatVfsMountFlags, statfs, statvfs};
use rustix::process::geteuid;

use super::super::ask::user;
use super::{Findings, may};
use crate::config::Config;
use crate::spool::ballast::BALLAST;
use crate::spool::disk::RESERVE;
use crate::spool::look::room;

/// The longest path of a local socket, in bytes.
const SOCKET_PATH: usize = 107;
/// File systems that forget everything with the power, by the numbers that Linux gives them.
const FORGETFUL: [(i64, &str); 3] =
    [(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs"), (0x794c_7630, "an overlay, often of memory")];

pub(in super::super) fn look(config: &Config, found: &mut Findings) {
    let data = config.data.as_path();
    let name = format!("data folder {}", data.display());
    let length = config.socket().as_os_str().as_bytes().len();
    if length > SOCKET_PATH {
        let most = SOCKET_PATH - "/agent.sock".len();
        found.error(format!("{name}: its path is too long for a socket; it may have {most} bytes"));
    }
    match fs::metadata(data) {
        Ok(file) if !file.is_dir() => found.error(format!("{name}: is no folder")),
        Ok(file) => {
            if may(data, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
                inside(data, &name, file.uid(), found);
            } else if is_read_only(data) {
                found.error(format!("{name}: the disk is read-only"));
            } else {
                let (who, owner) = (user(geteuid().as_raw()), user(file.uid()));
                found.error(format!("{name}: user {who} may not write there; it belongs to {owner}"));
            }
            disk(config, data, &name, found);
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            let above = data
                .ancestors()
                .skip(1)
                .map(|path| if path == Path::new("") { Path::new(".") } else { path });
            let Some(above) = above.into_iter().find(|path| path.exists()) else { return };
            if may(above, Access::WRITE_OK | Access::EXEC_OK) {
                found.warning(format!("{name}: is not there yet; the agent would make it"));
            } else {
                let who = user(geteuid().as_raw());
                found.error(format!("{name}: is not there, and user {who} may not make it"));
            }
            disk(config, above, &name, found);
        }
        Err(why) => found.error(format!("{name}: {why}")),
    }
}

/// What is in the folder already.
fn inside(data: &Path, name: &str, owner: u32, found: &mut Findings) {
    let Ok(entries) = fs::read_dir(data) else { return };
    let mut strangers = Vec::new();
    for entry in entries.flatten() {
        let text = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if text.starts_with("spool.bad-") {
            found.warning(format!(
                "{}: the spool was damaged once, and what could be read was rescued from this copy. Delete it when \
                 central's page shows no gap that you still want explained",
                path.display()
            ));
        } else if text == "set-aside.jsonl" {
            found.warning(format!("{}: events that no broker took are in it", path.display()));
        } else if fs::symlink_metadata(&path).is_ok_and(|file| file.uid() != owner) {
            strangers.push(text);
        }
    }
    if !strangers.is_empty() {
        strangers.sort();
        let (owner, what) = (user(owner), strangers.join(", "));
        let mend = format!("chown -R {owner} {}", data.display());
        found.warning(format!(
            "{name}: belongs to {owner}, but not {what}; if the agent runs as {owner}: {mend}"
        ));
    }
}

/// The disk below it.
fn disk(config: &Config, place: &Path, name: &str, found: &mut Findings) {
    if let Ok(stat) = statfs(place) {
        // Its type differs from one architecture to another.
        #[expect(clippy::unnecessary_cast, reason = "it is an i64 here and narrower elsewhere")]
        let kind = stat.f_type as i64;
        if let Some((_, kind)) = FORGETFUL.iter().find(|(number, _)| *number == kind) {
            found
                .warning(format!("{name}: is on {kind}: a power cut takes every event that central has not"));
        }
    }
    let taken = fs::read_dir(config.data.join("spool")).map_or(0, |entries| {
        let sizes = entries.flatten().filter_map(|entry| entry.metadata().ok());
        sizes.map(|file| file.len()).sum()
    });
    let free = match statvfs(place) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(why) => return found.error(format!("{name}: the disk does not tell what is free: {why}")),
    };
    if free < RESERVE {
        found.error(format!(
            "{name}: the disk is full: {} KiB are free, and nothing is accepted below {} MiB",
            free >> 10,
            RESERVE >> 20
        ));
    } else if let Ok(room) = room(place, config.cap(), taken)
        && room < config.cap()
    {
        found.warning(format!(
            "{name}: spool.cap_mib = {}, but the spool takes at most a third of what the disk has for it, {} MiB \
             now, and {} MiB of ballast beside it",
            config.spool.cap_mib,
            room >> 20,
            BALLAST >> 20
        ));
    }
}

fn is_read_only(path: &Path) -> bool {
    statvfs(path).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

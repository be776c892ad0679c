//! Whether the readers' ports can be used: permissions, who else holds them, and who would try them. Enters: the
//! configuration, sysfs, udev's database, `/proc`. Leaves: findings. No port is opened.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{major, minor};

use super::Chart;
use super::holder::{Held, Holder, holders, running};
use crate::cli::check::{self, port};
use crate::config::{Config, Reader};

const CHECK: &str = "port";
/// Programs that open every new serial port to see what is there.
const NOSY: [(&str, &str); 2] = [
    (
        "ModemManager",
        "apt-get purge modemmanager, unless this gateway has a modem: then name the adapter in a udev rule as \
      60-hangtag-agent.rules does",
    ),
    ("brltty", "apt-get purge brltty: it takes adapters for braille displays"),
];

pub(super) fn look(config: &Config, chart: &mut Chart) {
    let mut found = check::Findings::default();
    port::look(&config.readers, &mut found);
    let mend = "see `ls -l /dev/serial/by-id` and `hangtag-agent readers`; the service's user hangtag-agent is in the \
                group dialout, others: usermod -aG dialout NAME, and log in again";
    let mut any = chart.take(CHECK, found, mend);
    let held = holders();
    for reader in &config.readers {
        let Some(device) = device(&reader.port) else { continue };
        any |= look_at(reader, device, &held, chart);
    }
    if !held.is_whole {
        any = true;
        chart.warning(
            CHECK,
            "only root sees which programs of others hold a port",
            "for that run it as root: sudo hangtag-agent doctor",
        );
    }
    if !any {
        let count = config.readers.len();
        chart.ok(CHECK, format!("{count} ports are there, may be used, and nobody else holds them"));
    }
}

/// Whether anything is to be said of that port.
fn look_at(reader: &Reader, device: u64, held: &Held, chart: &mut Chart) -> bool {
    let name = format!("reader \"{}\": port {}", reader.id, reader.port.display());
    let mut any = false;
    for Holder { program, process, .. } in held.of(device) {
        any = true;
        let mend = match NOSY.iter().find(|(nosy, _)| nosy == &program.as_str()) {
            Some((_, mend)) => (*mend).to_owned(),
            None if program.contains("getty") || program == "login" => {
                let tty = reader.port.canonicalize().unwrap_or_else(|_| reader.port.clone());
                let tty = tty.file_name().unwrap_or_default().to_string_lossy().into_owned();
                format!("it is a login: systemctl mask --now serial-getty@{tty}")
            }
            None => format!("end it: systemctl stop its service, or kill {process}"),
        };
        chart.fault(CHECK, format!("{name}: {program} (process {process}) holds it"), mend);
    }
    for (nosy, mend) in NOSY {
        if is_usb(device) && !is_hidden(device) && running(nosy) {
            any = true;
            chart.warning(
                CHECK,
                format!("{name}: {nosy} runs and may open it whenever it is plugged in"),
                mend,
            );
        }
    }
    any
}

/// The number of the character device at a path, if there is one.
fn device(path: &Path) -> Option<u64> {
    let file = fs::metadata(path).ok()?;
    file.file_type().is_char_device().then(|| file.rdev())
}

fn is_usb(device: u64) -> bool {
    let link = fs::read_link(format!("/sys/dev/char/{}:{}", major(device), minor(device)));
    link.is_ok_and(|link| link.to_string_lossy().contains("/usb"))
}

/// Whether a udev rule hides it from who looks for modems.
fn is_hidden(device: u64) -> bool {
    let record = format!("/run/udev/data/c{}:{}", major(device), minor(device));
    let text = fs::read_to_string(record).unwrap_or_default();
    text.lines().any(|line| matches!(line, "E:ID_MM_DEVICE_IGNORE=1" | "E:ID_MM_PORT_IGNORE=1"))
}

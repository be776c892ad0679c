//! The serial ports of this machine. Enters: what the kernel and udev tell of them. Leaves: each port once, by the
//! name that stays the same. None is opened.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::super::check::port::{STABLE, is_console, other_kind};

/// Where the kernel lists terminals.
const TERMINALS: &str = "/sys/class/tty";

/// A serial port.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Port {
    /// The name to use.
    pub(super) port: PathBuf,
    /// The others that it has.
    pub(super) names: Vec<PathBuf>,
}

impl Port {
    /// One that somebody named.
    pub(super) fn named(path: PathBuf) -> Self {
        let mut names = fs::canonicalize(&path).map(|device| names_of(&device)).unwrap_or_default();
        names.retain(|name| *name != path);
        Self { port: path, names }
    }

    /// Why it cannot be probed, if that can be seen without opening it.
    pub(super) fn unusable(&self) -> Option<String> {
        match fs::metadata(&self.port) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => Some("is not there".into()),
            Err(why) => Some(why.to_string()),
            Ok(file) if !file.file_type().is_char_device() => Some("is no serial port".into()),
            Ok(file) if is_console(file.rdev()) => Some("the kernel writes its messages there".into()),
            Ok(file) => {
                other_kind(file.rdev()).map(|kind| format!("is a device of kind {kind}, no serial port"))
            }
        }
    }
}

/// All ports behind which hardware is.
pub(super) fn all() -> anyhow::Result<Vec<Port>> {
    let entries = fs::read_dir(TERMINALS).with_context(|| format!("cannot read {TERMINALS}"))?;
    let mut terminals: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    terminals.sort();
    Ok(terminals.iter().filter(|terminal| is_real(terminal)).filter_map(|terminal| port(terminal)).collect())
}

fn is_real(terminal: &Path) -> bool {
    // The kernel keeps names for serial chips that are not there: type 0.
    terminal.join("device/driver").exists()
        && fs::read_to_string(terminal.join("type")).map_or(true, |kind| kind.trim() != "0")
}

fn port(terminal: &Path) -> Option<Port> {
    let device = Path::new("/dev").join(terminal.file_name()?);
    let mut names = names_of(&device);
    // Adapters without a serial number share one name among those of the first folder.
    if !has_serial_number(terminal) {
        names.retain(|name| !name.starts_with(STABLE[0]));
    }
    let port = names.remove(0);
    Some(Port { port, names })
}

/// The names of a device, the best first.
fn names_of(device: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    for folder in STABLE {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut these: Vec<PathBuf> =
            entries.filter(|name| fs::canonicalize(name).is_ok_and(|found| found == device)).collect();
        these.sort();
        names.extend(these);
    }
    names.push(device.to_owned());
    names
}

/// Whether the USB device behind a terminal has a serial number; one that is no USB device has no need of it.
fn has_serial_number(terminal: &Path) -> bool {
    let Ok(device) = fs::canonicalize(terminal.join("device")) else { return true };
    let usb = device.ancestors().find(|folder| folder.join("idVendor").exists());
    usb.is_none_or(|folder| folder.join("serial").exists())
}

//! Opens serial ports. Enters: a path. Leaves: the port, for this process alone, or who else has it.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::{fmt, process};

use rustix::fs::{major, minor};
use tokio_serial::{ClearBuffer, SerialPort as _, SerialPortBuilderExt as _, SerialStream};

/// The kernel numbers the terminals of programs with this.
const PSEUDO: u32 = 136;

/// A process that has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) process: u32,
    pub(crate) name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.process, self.name)
    }
}

/// Opens a port that nobody else has, and forgets what came in while nobody listened.
///
/// # Errors
/// When it is not there or cannot be used; when somebody has it, with his name if this process may know it.
pub(crate) fn open(path: &Path, baud: u32) -> io::Result<SerialStream> {
    // Asked first: to fail at another's lock would end the other's exclusive use, if we are root
    // (serialport resets TIOCEXCL whenever it closes).
    if let Some(holder) = fs::metadata(path).ok().and_then(|file| locked_by(&file)) {
        return Err(busy(&holder));
    }
    let port = tokio_serial::new(path.to_string_lossy(), baud).open_native_async();
    let port = port.map_err(|why| {
        let why = io::Error::from(why);
        match holder(path) {
            Some(holder) => busy(&holder),
            None if why.kind() == ErrorKind::ResourceBusy => io::Error::new(
                ErrorKind::ResourceBusy,
                "another program uses it; root is told which by \"hangtag-agent readers\"",
            ),
            None => why,
        }
    })?;
    port.clear(ClearBuffer::Input)?;
    Ok(port)
}

fn busy(holder: &Holder) -> io::Error {
    io::Error::new(ErrorKind::ResourceBusy, format!("{holder} uses it"))
}

/// Another process that has a port, as far as this one may know.
pub(crate) fn holder(path: &Path) -> Option<Holder> {
    let file = fs::metadata(path).ok()?;
    locked_by(&file).or_else(|| opened_by(&file))
}

/// Who holds the lock that well-behaved programs take: everybody may know.
fn locked_by(file: &Metadata) -> Option<Holder> {
    let place = format!("{:02x}:{:02x}:{}", major(file.dev()), minor(file.dev()), file.ino());
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    locks.lines().find_map(|line| {
        // Number, kind, manner, what for, process, place.
        let fields: Vec<&str> = line.split_whitespace().collect();
        let &[_, "FLOCK", _, _, process, at, ..] = fields.as_slice() else { return None };
        let process = process.parse().ok()?;
        (at == place && process != process::id()).then(|| named(process))
    })
}

/// Who has the port open: only root may know it of everybody.
fn opened_by(file: &Metadata) -> Option<Holder> {
    let processes =
        fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes.filter(|process| *process != process::id()).find(|process| has_open(*process, file)).map(named)
}

fn has_open(process: u32, file: &Metadata) -> bool {
    let mut has = false;
    for entry in fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(target) = fs::read_link(&path) else { continue };
        if !target.starts_with("/dev") {
            continue;
        }
        // Who is at the other end of a terminal may hold our end open too: he is the device.
        if target.ends_with("ptmx") && major(file.rdev()) == PSEUDO {
            let info = format!("/proc/{process}/fdinfo/{}", entry.file_name().display());
            let info = fs::read_to_string(info).unwrap_or_default();
            let number = info.lines().find_map(|line| line.strip_prefix("tty-index:")?.trim().parse().ok());
            if number == Some(minor(file.rdev())) {
                return false;
            }
        }
        has |= fs::metadata(&path)
            .is_ok_and(|open| open.file_type().is_char_device() && open.rdev() == file.rdev());
    }
    has
}

fn named(process: u32) -> Holder {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    Holder { process, name: name.trim_end().to_owned() }
}

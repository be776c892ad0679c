//! Who holds a device open. Enters: `/proc`. Leaves: per device the programs that have it open, without those of
//! Hangtag. Of other users' programs only root is told.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// The agent itself may hold its ports, and so may its commands.
const OWN: &str = "hangtag-agent";

/// A program that holds a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    device: u64,
    pub(super) program: String,
    pub(super) process: u32,
}

/// Who holds what.
#[derive(Debug)]
pub(super) struct Held {
    all: Vec<Holder>,
    /// Every program could be looked at.
    pub(super) is_whole: bool,
}

impl Held {
    pub(super) fn of(&self, device: u64) -> impl Iterator<Item = &Holder> {
        self.all.iter().filter(move |holder| holder.device == device)
    }
}

/// Who holds a character device.
pub(super) fn holders() -> Held {
    let mut held = Held { all: Vec::new(), is_whole: true };
    for process in processes() {
        let program = name(process);
        if program == OWN {
            continue;
        }
        let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else {
            // One that has ended meanwhile holds nothing.
            held.is_whole &= !Path::new(&format!("/proc/{process}")).exists();
            continue;
        };
        // Through the link: a terminal has many names.
        let devices = files.flatten().filter_map(|file| fs::metadata(file.path()).ok());
        let devices = devices.filter(|file| file.file_type().is_char_device()).map(|file| file.rdev());
        let mut devices: Vec<u64> = devices.collect();
        devices.sort_unstable();
        devices.dedup();
        let holder = |device| Holder { device, program: program.clone(), process };
        held.all.extend(devices.into_iter().map(holder));
    }
    held
}

/// Whether a program of that name runs.
pub(super) fn running(program: &str) -> bool {
    processes().any(|process| name(process) == program)
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// What a program is called, as the kernel knows it: 15 bytes at most.
fn name(process: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_has_a_device_open_is_named_with_its_number() {
        let null = fs::File::open("/dev/null").unwrap();
        let (device, own) = (null.metadata().unwrap().rdev(), std::process::id());
        let held = holders();
        let holder = held.of(device).find(|holder| holder.process == own).unwrap();
        assert!(holder.program.starts_with("hangtag"), "{holder:?}");
        assert_eq!(held.of(u64::MAX).count(), 0);
        assert!(running(&holder.program) && !running("no such program"));
    }
}

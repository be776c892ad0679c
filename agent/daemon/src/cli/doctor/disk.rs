//! Whether the data folder keeps what is written there. Enters: the configuration. Leaves: findings: room, inodes, what
//! `check` looks for, and how long a durable write takes. It leaves no file behind.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;

use super::Chart;
use crate::cli::check::{self, folder};
use crate::config::Config;

const CHECK: &str = "disk";
/// As much as a commit of the spool writes, in bytes, about.
const WRITTEN: usize = 4_096;
/// So often, and the slowest counts.
const TIMES: u32 = 5;
/// A slower disk keeps readers waiting.
const SLOW: Duration = Duration::from_millis(500);
/// Fewer inodes than these are soon gone.
const INODES: u64 = 1_000;

pub(super) fn look(config: &Config, chart: &mut Chart) {
    let mut found = check::Findings::default();
    folder::look(config, &mut found);
    let mend = "see `df -h`, `mount` and `ls -ld` of that folder; it belongs on a disk that is not in memory, to the user \
                hangtag-agent";
    let any = chart.take(CHECK, found, mend);
    let data = config.data.as_path();
    if !data.is_dir() {
        return;
    }
    // Some file systems have no limit and say so with nought.
    if let Ok(stat) = statvfs(data)
        && stat.f_files > 0
        && stat.f_favail < INODES
    {
        let what = format!("{}: only {} more files can be made on its disk", data.display(), stat.f_favail);
        chart.warning(CHECK, what, "find the folder with the many files: du --inodes -x / | sort -n | tail");
    }
    match slowest(data) {
        Ok(took) if took > SLOW => chart.warning(
            CHECK,
            format!("{}: a durable write took {} ms", data.display(), took.as_millis()),
            "take another card or disk: this one is worn, or something else writes to it all the time (iotop)",
        ),
        Ok(took) if !any => {
            chart.ok(CHECK, format!("{}: a durable write takes {} ms", data.display(), took.as_millis()));
        }
        Ok(_) => {}
        Err(why) => chart.fault(
            CHECK,
            format!("{}: cannot be written durably: {why}", data.display()),
            "look for errors of the disk: dmesg | grep -iE 'mmc|ext4|I/O error'",
        ),
    }
}

/// The slowest of some durable writes.
fn slowest(folder: &Path) -> io::Result<Duration> {
    let path = folder.join(format!(".doctor-{}", std::process::id()));
    let file = File::options().write(true).create_new(true).open(&path)?;
    let took = writes(file);
    fs::remove_file(&path)?;
    took
}

fn writes(mut file: File) -> io::Result<Duration> {
    let mut slowest = Duration::ZERO;
    for _ in 0..TIMES {
        let begun = Instant::now();
        file.write_all(&[0x55; WRITTEN])?;
        file.sync_data()?;
        slowest = slowest.max(begun.elapsed());
    }
    Ok(slowest)
}

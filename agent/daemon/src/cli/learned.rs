//! `learned`: what the agent has learned of a site. Enters: the file that it keeps. Leaves: a line per zone for a
//! technician, or JSON. A running agent's file is up to ten minutes old.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use hangtag_agent_core::infer::{Learned, ZoneLearned};
use serde::Serialize;

use super::out::out;
use crate::learned;

/// What is printed with `--json`.
#[derive(Serialize)]
struct Report<'a> {
    file: &'a Path,
    of: &'a str,
    /// How long ago it was written, where the file system tells.
    age_s: Option<u64>,
    bytes: u64,
    tags: usize,
    zones: Vec<ZoneLine>,
}

#[derive(Serialize)]
struct ZoneLine {
    zone: String,
    at_rest: usize,
    reads_per_s: f32,
    background: usize,
    background_dbm: Option<f32>,
}

impl From<ZoneLearned> for ZoneLine {
    fn from(zone: ZoneLearned) -> Self {
        let ZoneLearned { zone, at_rest, background, background_dbm, reads_per_s } = zone;
        Self { zone: zone.to_string(), at_rest, reads_per_s, background, background_dbm }
    }
}

/// Shows a file, or the one in a data folder.
pub(super) fn run(path: &Path, json: bool) -> anyhow::Result<()> {
    let file = if path.is_dir() { learned::path(path) } else { path.to_owned() };
    let learned = read(&file)?;
    let stat = std::fs::metadata(&file)?;
    let age = stat.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    let report = Report {
        file: &file,
        of: learned.of(),
        age_s: age.map(|age| age.as_secs()),
        bytes: stat.len(),
        tags: learned.tags(),
        zones: learned.zones().into_iter().map(ZoneLine::from).collect(),
    };
    let mut out = out();
    if json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
        return Ok(());
    }
    let age = report.age_s.map_or_else(String::new, |age| format!(", written {} min ago", age / 60));
    writeln!(out, "{} of {}{age}: {} tags, {} bytes", file.display(), report.of, report.tags, report.bytes)?;
    writeln!(out, "{:<32} {:>8} {:>9} {:>11} {:>10}", "zone", "at rest", "reads/s", "background", "up to")?;
    for zone in &report.zones {
        let ZoneLine { zone, at_rest, reads_per_s, background, background_dbm } = zone;
        let level = background_dbm.map_or_else(|| "-".into(), |dbm| format!("{dbm:.0} dBm"));
        writeln!(out, "{zone:<32} {at_rest:>8} {reads_per_s:>9.1} {background:>11} {level:>10}")?;
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<Learned> {
    let file: PathBuf = file.to_owned();
    match learned::read(&file) {
        Err(learned::ReadError::Io(why)) if why.kind() == std::io::ErrorKind::NotFound => bail!(
            "{}: there is no such file; an agent writes it every ten minutes and when it is stopped",
            file.display()
        ),
        read => read.with_context(|| file.display().to_string()),
    }
}

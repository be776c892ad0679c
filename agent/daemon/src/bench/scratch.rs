//! Where measures put their files. Enters: a folder on the disk to measure. Leaves: nothing: what was
//! made is removed again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A folder that is removed when it is dropped.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes a new folder in this one.
    pub(super) fn new(within: &Path) -> anyhow::Result<Self> {
        let path = within.join(format!("hangtag-bench-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        // Children are told of it, and the current folder is not theirs to know.
        Ok(Self(path.canonicalize()?))
    }

    /// An empty folder in it.
    pub(super) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.0.join(name);
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("cannot empty {}", path.display()))?;
        }
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(why) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {why}", self.0.display());
        }
    }
}

/// Bytes of all files in a folder.
pub(super) fn bytes_in(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        bytes += if kind.is_dir() { bytes_in(&entry.path())? } else { kind.len() };
    }
    Ok(bytes)
}

/// Memory of a process that is in RAM: right now, and at most so far, in MiB.
pub(super) fn resident_mib(process: u32) -> anyhow::Result<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    let mib = |name: &str| field(name).map(|kib| kib / 1_024.0).with_context(|| format!("no {name}"));
    Ok((mib("VmRSS:")?, mib("VmHWM:")?))
}

//! A disk that fails once, or stalls. Enters: a command, which of its writes fails. Leaves: the same command, for which
//! that write, sync, truncation, renaming or removal fails with an I/O error, or all of them wait. Needs a C compiler:
//! the faults are a library that is preloaded.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::compile_preload;

const SOURCE: &str = include_str!("faults.c");

/// Which of the writes fail. They are counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// The first that fails; 0 for none.
    pub at: u64,
    /// How many fail, one after another.
    pub times: u64,
}

/// A folder that fails.
#[derive(Debug)]
pub struct Faults {
    folder: PathBuf,
    library: PathBuf,
}

impl Faults {
    /// What is written below `folder` may fail. The library is put into `scratch`.
    ///
    /// # Errors
    /// When the library cannot be compiled.
    pub fn new(folder: &Path, scratch: &Path) -> anyhow::Result<Self> {
        let faults = Self { folder: folder.to_owned(), library: scratch.join("faults.so") };
        compile_preload(SOURCE, &faults.library)?;
        Ok(faults)
    }

    /// Makes a command meet that fault.
    pub fn inflict<'a>(&self, command: &'a mut Command, fault: Fault) -> &'a mut Command {
        command
            .env("LD_PRELOAD", &self.library)
            .env("HANGTAG_FAULT_IN", &self.folder)
            .env("HANGTAG_FAULT_AT", fault.at.to_string())
            .env("HANGTAG_FAULT_FOR", fault.times.to_string())
            .env("HANGTAG_FAULT_COUNT", self.count())
    }

    /// Makes everything that a command writes wait while a file is there, which is outside of the folder.
    pub fn stall<'a>(&self, command: &'a mut Command, file: &Path) -> &'a mut Command {
        self.inflict(command, Fault::default()).env("HANGTAG_STALL_WHILE", file)
    }

    /// How often the last command that ended wrote.
    ///
    /// # Errors
    /// When there was none.
    pub fn counted(&self) -> anyhow::Result<u64> {
        let text = std::fs::read_to_string(self.count()).context("no command counted its writes")?;
        text.trim().parse().with_context(|| format!("{text:?} is no count"))
    }

    fn count(&self) -> PathBuf {
        self.library.with_extension("count")
    }
}

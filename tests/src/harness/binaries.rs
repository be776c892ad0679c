//! Where the programs are. Enters: nothing. Leaves: paths to `hangtag-agent` and `hangtag-central` of the
//! same profile as this program, built anew if they are older than their sources.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// The programs.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `hangtag-agent`.
    pub agent: PathBuf,
    /// `hangtag-central`.
    pub central: PathBuf,
}

impl Binaries {
    /// Builds both.
    ///
    /// # Errors
    /// When cargo cannot be run, or does not build them.
    pub fn build() -> anyhow::Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(&cargo);
        command.args(["build", "--locked", "-p", "hangtag-agent", "-p", "hangtag-central"]);
        let own = std::env::current_exe().context("cannot find the path of this program")?;
        // target/PROFILE/program, or target/PROFILE/deps/test.
        let folder = own.ancestors().skip(1).find(|folder| !folder.ends_with("deps"));
        let folder = folder.context("this program is in no folder")?;
        if folder.ends_with("release") {
            command.arg("--release");
        }
        let status = command
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("cannot run {}", cargo.display()))?;
        if !status.success() {
            bail!("cargo did not build hangtag-agent and hangtag-central: {status}");
        }
        Ok(Self { agent: folder.join("hangtag-agent"), central: folder.join("hangtag-central") })
    }
}

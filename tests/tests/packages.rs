//! The packages, installed in a clean Debian and used there: `tests/run --packages` makes packages and roots, and names
//! their folder in `HANGTAG_PACKAGES`. Per architecture there is `ARCH/` with a Debian of that architecture,
//! and `before/` and `after/` with packages of two versions. A foreign architecture runs under QEMU.
//!
//! Needs root, to change the root folder.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hangtag_tests::emulator::carousel::{self, Carousel};
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::gateway::succeeded;
use hangtag_tests::harness::judge::{judge, wait_complete};
use hangtag_tests::harness::process::{Process, wait_for};
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder, folder_in, free_port, skip_long};
use hangtag_tests::shop::layout::agent_toml;

/// How long an emulated agent may take for what takes seconds.
const PATIENCE: Duration = Duration::from_secs(180);
const DATA: &str = "/var/lib/hangtag-agent";

/// A Debian in a folder.
struct Root {
    path: PathBuf,
    mounted: Vec<PathBuf>,
}

impl Root {
    /// A copy of one, with the kernel's file systems in it.
    fn copy(of: &Path, to: &Path) -> anyhow::Result<Self> {
        succeeded(Command::new("cp").args(["-a", "--reflink=auto"]).arg(of).arg(to).output()?)?;
        let mut root = Self { path: to.to_owned(), mounted: Vec::new() };
        for name in ["proc", "dev"] {
            let at = to.join(name);
            succeeded(Command::new("mount").arg("--rbind").arg(format!("/{name}")).arg(&at).output()?)?;
            root.mounted.push(at.clone());
            // What is unmounted here stays mounted there.
            succeeded(Command::new("mount").arg("--make-rslave").arg(&at).output()?)?;
        }
        // Nothing is started where no systemd runs: as in a container.
        Ok(root)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.path.join(path.trim_start_matches('/'))
    }

    /// A program within it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("chroot");
        command.arg(&self.path).arg(program);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DEBIAN_FRONTEND", "noninteractive");
        command.env_remove("TMPDIR");
        command
    }

    fn dpkg(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command("dpkg").args(arguments).output()?;
        Ok(String::from_utf8_lossy(&succeeded(output)?.stdout).into_owned())
    }

    /// Installs a package that lies outside.
    fn install(&self, package: &Path) -> anyhow::Result<()> {
        fs::copy(package, self.at("/tmp/package.deb"))?;
        self.dpkg(&["--install", "/tmp/package.deb"]).map(drop)
    }

    /// The agent as the service's user.
    fn agent(&self, arguments: &[&str]) -> Command {
        // Without a program between, which would have to pass signals on.
        let mut command = self.command("setpriv");
        command.args(["--reuid=hangtag-agent", "--regid=hangtag-agent", "--init-groups", "hangtag-agent"]);
        command.args(arguments);
        command
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        for at in self.mounted.iter().rev() {
            // Lazily: what an emulated program holds goes with it.
            let _ = Command::new("umount").args(["--recursive", "--lazy"]).arg(at).status();
        }
    }
}

#[test]
fn an_agent_from_a_package_reads_spools_and_sends_and_keeps_every_event_over_upgrade_and_downgrade()
-> anyhow::Result<()> {
    let Some(packages) = std::env::var_os("HANGTAG_PACKAGES").map(PathBuf::from) else {
        return skip_packages();
    };
    let mut tried = 0;
    for architecture in ["amd64", "arm64", "armhf"] {
        if packages.join(architecture).is_dir() {
            install_and_use(&packages, architecture).with_context(|| architecture.to_owned())?;
            println!("{architecture}: installed, used, upgraded, downgraded, removed and purged");
            tried += 1;
        }
    }
    ensure!(tried > 0, "{} holds no Debian of any architecture", packages.display());
    Ok(())
}

fn skip_packages() -> anyhow::Result<()> {
    skip_long("packages are made and tried by tests/run --packages")
}

fn package(packages: &Path, version: &str, architecture: &str) -> anyhow::Result<PathBuf> {
    let end = format!("_{architecture}.deb");
    let mut all = fs::read_dir(packages.join(version))?.flatten().map(|entry| entry.path());
    let found = all.find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("hangtag-agent_") && name.ends_with(&end)
    });
    found.with_context(|| format!("no package of the agent for {architecture} in {version}"))
}

fn install_and_use(packages: &Path, architecture: &str) -> anyhow::Result<()> {
    let before = package(packages, "before", architecture)?;
    let after = package(packages, "after", architecture)?;
    let scratch = folder_in(packages)?;
    let root = Root::copy(&packages.join(architecture), &scratch.path().join("root"))?;

    root.install(&before)?;
    let help = succeeded(root.command("hangtag-agent").arg("--version").output()?)?;
    ensure!(String::from_utf8_lossy(&help.stdout).starts_with("hangtag-agent "));
    let unit = "/lib/systemd/system/hangtag-agent.service";
    for path in [unit, "/lib/udev/rules.d/60-hangtag-agent.rules", "/usr/share/man/man1/hangtag-agent.1.gz"] {
        ensure!(root.at(path).exists() || root.at(&format!("/usr{path}")).exists(), "{path} is missing");
    }
    let enabled = root.at("/etc/systemd/system/multi-user.target.wants/hangtag-agent.service");
    ensure!(fs::symlink_metadata(enabled).is_ok(), "it would not start at boot");
    let data = fs::metadata(root.at(DATA)).context("the data folder is not there after the installation")?;
    ensure!(data.permissions().mode() & 0o777 == 0o700, "{:o}", data.permissions().mode());

    // A shop around it.
    let shop = folder()?;
    let port = free_port()?;
    let mut broker = Mosquitto::start(&shop.path().join("mosquitto"), port)?;
    let site = Site::for_test(shop.path(), port)?;
    let central = site.start_central()?;
    let readers = root.at("/srv/readers");
    let text = agent_toml(&carousel::layout(), Path::new("/srv/readers"), port, Path::new(DATA));
    fs::create_dir_all(root.at("/etc/hangtag"))?;
    fs::write(root.at("/etc/hangtag/agent.toml"), &text)?;
    let carousel = Carousel::start(&readers, 1, 400)?;
    let log = root.at(DATA).join("accepted.jsonl");
    let accepted = || fs::read(&log).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
    let start = || {
        let mut command = root.agent(&["run", "--accepted-log"]);
        Process::start(
            "hangtag-agent",
            command.arg(format!("{DATA}/accepted.jsonl")),
            &shop.path().join("agent.log"),
        )
    };
    let accepts = |agent: &mut Process, more: usize| {
        let least = accepted() + more;
        wait_for("accepted events", PATIENCE, || {
            agent.check()?;
            open_ports(&readers)?;
            Ok((accepted() >= least).then_some(()))
        })
    };
    let arrives = |agent: &mut Process| {
        let verdict = wait_complete(PATIENCE, || {
            agent.check()?;
            judge(&log, &site.database())
        })?;
        ensure!(verdict.missing == 0, "{verdict:?}");
        anyhow::Ok(())
    };

    let mut agent = start()?;
    accepts(&mut agent, 60)?;
    arrives(&mut agent)?;

    // The broker goes, the spool fills, and the gateway is upgraded.
    broker.stop()?;
    accepts(&mut agent, 150)?;
    agent.stop(PATIENCE)?;
    let changed = "# as this chain has it\nHANGTAG_LOG=info\n";
    fs::write(root.at("/etc/default/hangtag-agent"), changed)?;
    root.install(&after)?;
    ensure!(fs::read_to_string(root.at("/etc/default/hangtag-agent"))? == changed, "conffile lost");
    ensure!(fs::read_to_string(root.at("/etc/hangtag/agent.toml"))? == text, "configuration lost");
    broker.restart()?;
    let mut agent = start()?;
    accepts(&mut agent, 20)?;
    arrives(&mut agent)?;

    // And back.
    broker.stop()?;
    accepts(&mut agent, 60)?;
    agent.stop(PATIENCE)?;
    root.install(&before)?;
    broker.restart()?;
    let mut agent = start()?;
    accepts(&mut agent, 20)?;
    drop(carousel);
    arrives(&mut agent)?;
    agent.stop(PATIENCE)?;
    let verdict = judge(&log, &site.database())?;
    ensure!(verdict.is_exact() && verdict.in_central > 200, "{verdict:?}");
    let doctor = root.agent(&["doctor", "--json"]).output()?;
    let findings: serde_json::Value = serde_json::from_slice(&doctor.stdout)?;
    let is_well = |finding: &serde_json::Value| finding["check"] == "broker" && finding["state"] == "ok";
    ensure!(findings.as_array().is_some_and(|all| all.iter().any(is_well)), "{findings:#}");
    central.stop(PATIENCE)?;

    root.dpkg(&["--remove", "hangtag-agent"])?;
    ensure!(root.at(DATA).join("spool").is_dir(), "removing took the events");
    ensure!(root.at("/etc/hangtag/agent.toml").exists() && root.at("/etc/default/hangtag-agent").exists());
    root.dpkg(&["--purge", "hangtag-agent"])?;
    ensure!(!root.at(DATA).exists() && !root.at("/etc/hangtag").exists(), "purging left something");
    ensure!(!root.at("/etc/default/hangtag-agent").exists());
    Ok(())
}

/// A port belongs to the group dialout on a gateway, and to root here, whenever it is made anew.
fn open_ports(readers: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(readers)? {
        // One may just be changing.
        if let Ok(port) = fs::canonicalize(entry?.path()) {
            fs::set_permissions(port, Permissions::from_mode(0o666))?;
        }
    }
    Ok(())
}

//! The real programs, started and judged from outside: for the demo and the end-to-end tests. Enters:
//! a folder to work in. Leaves: running processes, and what they did.
//!
//! | module | does |
//! |---|---|
//! | [`binaries`] | builds agent and central and says where they are |
//! | [`process`] | starts, kills and stops a program, and reads its memory |
//! | [`board`] | a board in QEMU beside a gateway |
//! | [`broker`] | rumqttd within this process, or Mosquitto as another |
//! | [`chain`] | a certificate authority and a broker as they are shipped |
//! | [`cluster`] | a PostgreSQL server of a test's own |
//! | [`clock`] | a machine whose wall clock and boots a test sets |
//! | [`consumer`] | the consumer of the feed that is shipped |
//! | [`export`] | reads what `spool export` wrote |
//! | [`faults`] | a disk that fails once |
//! | [`gateway`] | one agent of several, or one in unusual places |
//! | [`image`] | file systems in files, whose power can be cut |
//! | [`recipient`] | receives the feed, and fills it as a gateway does |
//! | [`site`] | the files of a shop: configurations, catalogue, stores; agent and central in it |
//! | [`judge`] | compares what the agent accepted with what central has |
//! | [`listener`] | listens to the batches on the broker, and publishes what should not be there |
//! | [`till`] | publishes what was sold, as a till does |

pub mod binaries;
pub mod board;
pub mod broker;
pub mod chain;
pub mod clock;
pub mod cluster;
pub mod consumer;
pub mod export;
pub mod faults;
pub mod gateway;
pub mod image;
pub mod judge;
pub mod listener;
pub mod node;
pub mod onlooker;
pub mod pki;
pub mod process;
pub mod recipient;
pub mod site;
pub mod till;

use std::fmt::Display;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use rand::RngExt as _;

/// A port on loopback that nothing listens on at this moment.
///
/// # Errors
/// When there is none.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Whether the long tests were asked for: `HANGTAG_LONG=1`.
#[must_use]
pub fn long() -> bool {
    std::env::var("HANGTAG_LONG").is_ok_and(|value| value == "1")
}

/// The seed of a test that throws dice: `HANGTAG_SEED`, or another one every time. It is printed.
#[must_use]
pub fn seed() -> u64 {
    let given = std::env::var("HANGTAG_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    println!("HANGTAG_SEED={seed}");
    seed
}

/// Passes over a test that this machine cannot run, and says so.
///
/// # Errors
/// When nothing may be passed over: `HANGTAG_ALL=1`.
pub fn skip(why: impl Display) -> anyhow::Result<()> {
    let all = std::env::var("HANGTAG_ALL").is_ok_and(|value| value == "1");
    anyhow::ensure!(!all, "cannot be run here: {why}");
    say_skipped(&why);
    Ok(())
}

/// Passes over a test that takes long and was not asked for, and says so.
pub fn skip_long(why: impl Display) -> anyhow::Result<()> {
    say_skipped(&format_args!("{why}: HANGTAG_LONG=1 runs it"));
    Ok(())
}

fn say_skipped(why: &dyn Display) {
    let thread = std::thread::current();
    // What a program printed ends with a newline of its own.
    let why = why.to_string().replace('\n', " ");
    let line = format!("skipped: {}: {}\n", thread.name().unwrap_or("a test"), why.trim_end());
    // Not with `eprintln`: what that writes is shown of failed tests only.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// A folder for a test. It goes with the test, unless `HANGTAG_KEEP=1`.
///
/// # Errors
/// When it cannot be made.
pub fn folder() -> io::Result<tempfile::TempDir> {
    folder_in(&std::env::temp_dir())
}

/// The same somewhere else.
///
/// # Errors
/// When it cannot be made.
pub fn folder_in(parent: &Path) -> io::Result<tempfile::TempDir> {
    let mut folder = tempfile::Builder::new().prefix("hangtag-").tempdir_in(parent)?;
    if std::env::var("HANGTAG_KEEP").is_ok_and(|value| value == "1") {
        folder.disable_cleanup(true);
        println!("everything stays in {}", folder.path().display());
    }
    Ok(folder)
}

/// Compiles a library that a program is started with, to stand between it and the system. Needs a C compiler.
fn compile_preload(source: &str, library: &Path) -> anyhow::Result<()> {
    let text = library.with_extension("c");
    std::fs::write(&text, source)?;
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(library).arg(text);
    gateway::succeeded(compile.output().context("cannot run cc")?).map(drop)
}

/// A time zone in which it is about noon: central's page shows one day, and a test must
/// not run into the next.
#[must_use]
pub fn noon() -> &'static str {
    const ZONES: [&str; 24] = [
        "Etc/GMT-12",
        "Etc/GMT-11",
        "Etc/GMT-10",
        "Etc/GMT-9",
        "Etc/GMT-8",
        "Etc/GMT-7",
        "Etc/GMT-6",
        "Etc/GMT-5",
        "Etc/GMT-4",
        "Etc/GMT-3",
        "Etc/GMT-2",
        "Etc/GMT-1",
        "Etc/GMT",
        "Etc/GMT+1",
        "Etc/GMT+2",
        "Etc/GMT+3",
        "Etc/GMT+4",
        "Etc/GMT+5",
        "Etc/GMT+6",
        "Etc/GMT+7",
        "Etc/GMT+8",
        "Etc/GMT+9",
        "Etc/GMT+10",
        "Etc/GMT+11",
    ];
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    ZONES[usize::try_from(seconds / 3_600 % 24).unwrap_or(0)]
}

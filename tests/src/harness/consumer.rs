//! The consumer of the feed that is shipped, as a program. Enters: a broker's port, a site, a folder for its state. Leaves:
//! what it took.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::process::Process;
use super::site::Site;

/// A Python that has paho-mqtt: `HANGTAG_PYTHON`, or Debian's, or whichever is found.
#[must_use]
pub fn python() -> Option<String> {
    let given = std::env::var("HANGTAG_PYTHON").ok();
    let found = ["/usr/bin/python3", "python3"].map(String::from);
    let has_paho = |python: &String| {
        let mut command = Command::new(python);
        command.args(["-c", "import paho.mqtt.client"]).output().is_ok_and(|output| output.status.success())
    };
    given.into_iter().chain(found).find(has_paho)
}

/// Starts it, with its state in the folder.
///
/// # Errors
/// When it cannot be started.
pub fn consumer(python: &str, folder: &Path, broker_port: u16, site: &Site) -> anyhow::Result<Process> {
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/consumer.py"));
    let (broker, http) = (format!("127.0.0.1:{broker_port}"), site.url(""));
    command.args(["--tenant", "demo", "--broker", &broker, "--http", &http]);
    command.arg("--state").arg(folder.join("consumer.db"));
    Process::start("consumer.py", &mut command, &folder.join("consumer.log"))
}

/// What it took, and up to which place.
///
/// # Errors
/// When its state cannot be read.
pub fn taken(folder: &Path) -> anyhow::Result<(BTreeSet<String>, u64)> {
    let path = folder.join("consumer.db");
    if !path.exists() {
        return Ok((BTreeSet::new(), 0));
    }
    let db = rusqlite::Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(5))?;
    let mut query = db.prepare("SELECT id FROM taken")?;
    let ids = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let last = db.query_row("SELECT coalesce(max(sequence), 0) FROM last", [], |row| row.get::<_, i64>(0))?;
    Ok((ids, u64::try_from(last)?))
}

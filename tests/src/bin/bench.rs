//! `tests/run --bench`: how fast central is on this machine. Enters: options of `hangtag-central bench`. Leaves: its
//! lines, for a file and for a PostgreSQL server, each through a Mosquitto. Both servers are started here, and end with
//! it.

use std::ffi::OsString;
use std::process::Command;

use anyhow::ensure;
use hangtag_tests::harness::binaries::Binaries;
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::cluster::Cluster;
use hangtag_tests::harness::free_port;

fn main() -> anyhow::Result<()> {
    let options: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (folder, binaries) = (tempfile::tempdir()?, Binaries::build()?);
    let port = free_port()?;
    let _broker = Mosquitto::start_forgetful(&folder.path().join("mosquitto"), port)?;
    let cluster = Cluster::start()?;
    for database in [None, Some(cluster.url())] {
        println!("# {}", if database.is_some() { "PostgreSQL" } else { "SQLite" });
        let mut bench = Command::new(&binaries.central);
        bench.args(["bench", "--mqtt", &format!("127.0.0.1:{port}")]).args(&options);
        bench.args(database.iter().flat_map(|url| ["--database", url]));
        let ended = bench.status()?;
        ensure!(ended.success(), "hangtag-central bench: {ended}");
    }
    Ok(())
}

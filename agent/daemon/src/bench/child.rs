//! Other processes that a measure needs: agents, a broker. Enters: a folder. Leaves: processes that end
//! when they are dropped.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

use super::day::{BOOTHS, FLOOR, READERS};
use crate::onlooker::SpoolLine;

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A process that ends when it is dropped.
pub(super) struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn();
        child.map(Self).with_context(|| format!("cannot run {:?}", command.get_program()))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it has printed a line.
    pub(super) fn line(&mut self) -> anyhow::Result<String> {
        let output = self.0.stdout.take().context("its output is not read")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line.is_empty() {
            bail!("it ended without a word");
        }
        Ok(line)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes the configuration of the invented shop, whose readers are not there.
pub(super) fn configuration(folder: &Path, host: &str, port: u16) -> anyhow::Result<PathBuf> {
    let mut text = format!(
        "tenant = \"acme\"\nstore = \"paris-1\"\ngateway = \"gw-1\"\ndata = \"data\"\n\
         [mqtt]\nhost = \"{host}\"\nport = {port}\n[spool]\ncap_mib = 16384\n"
    );
    let zones = || FLOOR.iter().map(|zone| (zone, "rail")).chain(BOOTHS.iter().map(|zone| (zone, "booth")));
    for (zone, kind) in zones() {
        text += &format!("[[zone]]\nid = \"{zone}\"\nkind = \"{kind}\"\n");
    }
    for (number, reader) in READERS.iter().enumerate() {
        text += &format!(
            "[[reader]]\nid = \"{reader}\"\nport = \"no-such-port-{number}\"\nprotocol = \"thingmagic\"\n\
             region = \"eu\"\npower_dbm = 27.0\n"
        );
        let antennas = zones().skip(number).step_by(READERS.len());
        for (port, (zone, _)) in antennas.enumerate() {
            text += &format!("[[reader.antenna]]\nport = {}\nzone = \"{zone}\"\n", port + 1);
        }
    }
    let path = folder.join("agent.toml");
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Starts this program with other arguments.
pub(super) fn this_program(arguments: &[&str], config: &Path) -> anyhow::Result<Running> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command.args(arguments).arg("--config").arg(config);
    // Its words would be the measure's.
    command.env("HANGTAG_LOG", "error").env_remove("JOURNAL_STREAM").stdout(Stdio::piped());
    Running::start(&mut command)
}

/// Starts an agent, and returns how long it took until it answers.
pub(super) async fn agent(config: &Path) -> anyhow::Result<(Running, Duration)> {
    let socket = config.with_file_name("data").join("agent.sock");
    let _ = fs::remove_file(&socket);
    let began = Instant::now();
    let mut running = this_program(&["run"], config)?;
    loop {
        if let Ok(stream) = UnixStream::connect(&socket).await
            && spool(stream).await.is_ok()
        {
            return Ok((running, began.elapsed()));
        }
        if let Some(status) = running.0.try_wait()? {
            bail!("the agent ended: {status}");
        }
        if began.elapsed() > PATIENCE {
            bail!("the agent does not answer");
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn spool(mut stream: UnixStream) -> anyhow::Result<SpoolLine> {
    stream.write_all(b"spool\n").await?;
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await??;
    Ok(serde_json::from_str(&answer)?)
}

/// Starts a Mosquitto with settings as in production, and returns its port.
pub(super) async fn mosquitto(folder: &Path) -> anyhow::Result<(Running, u16)> {
    // Free a moment ago; if somebody else takes it, Mosquitto ends and says so.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = folder.join("mosquitto.conf");
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_packet_size 131072\n\
         max_queued_messages 0\nmax_inflight_messages 64\nset_tcp_nodelay true\n"
    );
    fs::write(&config, text)?;
    let sbin = Path::new("/usr/sbin/mosquitto");
    let program = if sbin.exists() { sbin } else { Path::new("mosquitto") };
    let mut running = Running::start(Command::new(program).arg("-c").arg(&config).stdout(Stdio::null()))
        .context("no broker was given with --broker, and none can be started")?;
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if let Some(status) = running.0.try_wait()? {
            bail!("mosquitto ended: {status}");
        }
        if began.elapsed() > PATIENCE {
            bail!("mosquitto does not answer");
        }
        sleep(LOOK_EVERY).await;
    }
    Ok((running, port))
}

//! Brokers. Enters: a port on loopback. Leaves: something that speaks MQTT 5 there.
//!
//! rumqttd runs within this process, needs nothing installed, and acknowledges what it may drop: a good
//! test of the watermark. Mosquitto is what shops run; it keeps its sessions in a file.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::process::{Process, wait_for};

/// Starts rumqttd on a port, for as long as this process lives: it cannot be stopped.
///
/// # Errors
/// When it does not start.
pub fn embedded(port: u16) -> anyhow::Result<()> {
    // Ten segments of 1 MB: what a subscriber does not take in time is dropped, acknowledged or not.
    let config: rumqttd::Config = toml::from_str(&format!(
        r#"
        id = 0
        [router]
        id = 0
        max_connections = 1000
        max_outgoing_packet_count = 200
        max_segment_size = 1048576
        max_segment_count = 10
        [v5.1]
        name = "v5"
        listen = "127.0.0.1:{port}"
        next_connection_delay_ms = 1
        [v5.1.connections]
        connection_timeout_ms = 5000
        max_payload_size = 69632
        max_inflight_count = 100
        "#
    ))?;
    let mut broker = rumqttd::Broker::new(config);
    std::thread::Builder::new().name("rumqttd".into()).spawn(move || {
        if let Err(why) = broker.start() {
            eprintln!("rumqttd ended: {why:?}");
        }
    })?;
    wait_until_open(port)
}

fn wait_until_open(port: u16) -> anyhow::Result<()> {
    wait_for("the broker's port", Duration::from_secs(10), || {
        Ok(TcpStream::connect(("127.0.0.1", port)).ok().map(drop))
    })
}

/// Mosquitto with a data folder of its own.
#[derive(Debug)]
pub struct Mosquitto {
    folder: PathBuf,
    port: u16,
    process: Option<Process>,
    /// What the configuration that is shipped names.
    files: Option<PathBuf>,
}

/// As root it would become the user `mosquitto`, who may not write where tests do.
fn user() -> &'static str {
    if rustix::process::getuid().is_root() { "user root\n" } else { "" }
}

impl Mosquitto {
    /// Starts Mosquitto. What it saves of its sessions it saves every second.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub fn start(folder: &Path, port: u16) -> anyhow::Result<Self> {
        let keep =
            format!("persistence true\npersistence_location {}/\nautosave_interval 1\n", folder.display());
        Self::start_with(folder, port, &keep)
    }

    /// Starts one that forgets everything when it ends.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub fn start_forgetful(folder: &Path, port: u16) -> anyhow::Result<Self> {
        Self::start_with(folder, port, "persistence false\n")
    }

    /// Starts one that keeps what it has, and at another port asks for TLS with a certificate. What is behind the folder's
    /// `ca.pem`, `broker.pem` and `broker.key` says whom it believes and who it is.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub fn start_secure(folder: &Path, port: u16, (tls_port, files): (u16, &Path)) -> anyhow::Result<Self> {
        let files = files.display();
        let more = format!(
            "persistence true\npersistence_location {}/\nautosave_interval 1\n\
             listener {tls_port} 127.0.0.1\ncafile {files}/ca.pem\ncertfile {files}/broker.pem\n\
             keyfile {files}/broker.key\nrequire_certificate true\nuse_identity_as_username true\n",
            folder.display()
        );
        Self::start_with(folder, port, &more)
    }

    /// One with the configuration that is shipped, which also tells of refused publications, on loopback. What the folder
    /// of files holds says whom it believes, and what each may do. [`restart`](Self::restart) starts it.
    #[must_use]
    pub fn shipped(folder: &Path, port: u16, files: &Path) -> Self {
        Self { folder: folder.to_owned(), port, process: None, files: Some(files.to_owned()) }
    }

    /// Writes the configuration that is shipped, for this machine.
    fn ship(&self, files: &Path) -> anyhow::Result<()> {
        let shipped = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/broker"));
        let more = self.folder.join("conf.d");
        std::fs::create_dir_all(&more)?;
        std::fs::copy(shipped.join("hangtag-watch.conf"), more.join("hangtag-watch.conf"))?;
        let mut text = std::fs::read_to_string(shipped.join("mosquitto.conf"))?;
        for (there, here) in [
            ("listener 8883\n", format!("listener {} 127.0.0.1\n", self.port)),
            ("/etc/mosquitto/hangtag/", format!("{}/", files.display())),
            ("/etc/mosquitto/conf.d", more.display().to_string()),
            ("/var/lib/mosquitto/", format!("{}/", self.folder.display())),
        ] {
            ensure!(text.contains(there), "mosquitto.conf does not say {there:?}");
            text = text.replace(there, &here);
        }
        std::fs::write(self.config(), format!("{}{text}", user()))?;
        Ok(())
    }

    /// Asks it to read certificates, the list of revoked ones and the rules again.
    ///
    /// # Errors
    /// When it does not run.
    pub fn reload(&self) -> anyhow::Result<()> {
        let process = self.process.as_ref().context("Mosquitto does not run")?;
        let id = Pid::from_raw(process.id().try_into()?).context("a process id")?;
        Ok(kill_process(id, Signal::HUP)?)
    }

    /// Its log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn said(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.folder.join("mosquitto.log"))?)
    }

    /// Starts one that forgets everything and lets anybody in, who may do what these rules say (`acl_file`).
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub fn start_strict(folder: &Path, port: u16, rules: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let file = folder.join("acl");
        std::fs::write(&file, format!("{rules}\n"))?;
        Self::start_with(folder, port, &format!("persistence false\nacl_file {}\n", file.display()))
    }

    fn start_with(folder: &Path, port: u16, more: &str) -> anyhow::Result<Self> {
        let mut broker = Self { folder: folder.to_owned(), port, process: None, files: None };
        std::fs::create_dir_all(folder)?;
        let user = user();
        std::fs::write(
            broker.config(),
            format!(
                "{user}listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 10000\n{more}"
            ),
        )?;
        broker.restart()?;
        Ok(broker)
    }

    /// Kills it with SIGKILL, if it runs, and starts it again: what it had not saved is lost.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        if let Some(files) = &self.files {
            self.ship(files)?;
        }
        // Debian has it in /usr/sbin, which is not on every PATH.
        let path = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"];
        let program = path.into_iter().find(|path| Path::new(path).exists());
        let program = program.context("Mosquitto is not installed: apt-get install mosquitto")?;
        let mut command = Command::new(program);
        command.arg("-c").arg(self.config());
        self.process = Some(Process::start("mosquitto", &mut command, &self.folder.join("mosquitto.log"))?);
        wait_until_open(self.port)
    }

    /// Asks it to end, if it runs: it saves everything first.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.process.take().map_or(Ok(()), |process| process.stop(Duration::from_secs(10)))
    }

    /// Stops it in its tracks, so that it answers nobody; or lets it go on.
    ///
    /// # Errors
    /// When it does not run, or the signal cannot be sent.
    pub fn pause(&self, is_paused: bool) -> anyhow::Result<()> {
        let process = self.process.as_ref().context("Mosquitto does not run")?;
        if is_paused {
            process.pause()?;
        } else {
            process.resume()?;
        }
        Ok(())
    }

    /// Kills it with SIGKILL, if it runs.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(process) = self.process.take() {
            process.kill()?;
        }
        Ok(())
    }

    fn config(&self) -> PathBuf {
        self.folder.join("mosquitto.conf")
    }
}

//! A chain's authority and the broker as they are shipped. Enters: a folder. Leaves: certificates that `hangtag-central pki`
//! made, a Mosquitto with `deploy/broker/mosquitto.conf`, and clients of it that are not ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use super::broker::Mosquitto;
use super::gateway::succeeded;
use super::pki::request;
use super::process::{Process, wait_for};

const PATIENCE: Duration = Duration::from_secs(20);

/// The authority of the chain `demo`, and its broker.
#[derive(Debug)]
pub struct Chain {
    folder: PathBuf,
    central: PathBuf,
    /// The broker's port.
    pub port: u16,
    /// The broker.
    pub broker: Mosquitto,
}

impl Chain {
    /// Makes the authority in the folder's `pki`, certificates for all of these, and starts the broker.
    ///
    /// # Errors
    /// When a command fails, or Mosquitto does not start.
    pub fn open(folder: &Path, central: &Path, port: u16, all: &[&str]) -> anyhow::Result<Self> {
        let (folder, central) = (folder.to_owned(), central.to_owned());
        let files = folder.join("broker");
        let broker = Mosquitto::shipped(&folder.join("mosquitto"), port, &files);
        let mut chain = Self { folder, central, port, broker };
        chain.pki(&["init", "pki", "--tenant", "demo"])?;
        chain.pki(&["broker", "--dir", "pki", "--out", "broker", "localhost", "127.0.0.1"])?;
        for who in all {
            chain.certify(who, "1d")?;
        }
        chain.publish()?;
        chain.broker.restart()?;
        Ok(chain)
    }

    /// A file in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Runs `hangtag-central pki` in the folder. Returns what it prints.
    ///
    /// # Errors
    /// When it fails.
    pub fn pki(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.central);
        let output = command.arg("pki").args(arguments).current_dir(&self.folder).output()?;
        Ok(String::from_utf8(succeeded(output)?.stdout)?)
    }

    /// A certificate for a key that is made here, as whoever has no agent gets it.
    ///
    /// # Errors
    /// When it is not signed.
    pub fn certify(&self, who: &str, valid: &str) -> anyhow::Result<()> {
        let file = file_of(who);
        request(&self.folder, &file, who)?;
        let (csr, pem) = (format!("{file}.csr"), format!("{file}.pem"));
        self.pki(&["sign", "--dir", "pki", who, &csr, "--out", &pem, "--valid", valid]).map(drop)
    }

    /// Brings the broker the rules and the list of revoked certificates; it has to be told.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn publish(&self) -> anyhow::Result<()> {
        self.pki(&["acl", "--dir", "pki", "--out", "broker/acl"])?;
        fs::copy(self.path("pki/crl.pem"), self.path("broker/crl.pem"))?;
        Ok(())
    }

    /// Somebody who was certified by [`certify`](Self::certify), as a client of the broker.
    #[must_use]
    pub fn client(&self, who: &str) -> Client {
        let file = file_of(who);
        self.with(&format!("{file}.pem"), &format!("{file}.key"))
    }

    /// A client with these files.
    #[must_use]
    pub fn with(&self, certificate: &str, key: &str) -> Client {
        Client { identity: Some((self.path(certificate), self.path(key))), ..self.stranger() }
    }

    /// A client without a certificate.
    #[must_use]
    pub fn stranger(&self) -> Client {
        Client { folder: self.folder.clone(), port: self.port, identity: None }
    }

    /// How long the broker's log is, in bytes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn log_length(&self) -> anyhow::Result<usize> {
        Ok(self.broker.said()?.len())
    }

    /// Waits for a line with all these words in the broker's log, so many bytes after its beginning.
    ///
    /// # Errors
    /// When it does not come.
    pub fn logged(&self, from: usize, words: &[&str]) -> anyhow::Result<()> {
        wait_for(&format!("{words:?} in the broker's log"), PATIENCE, || {
            let log = self.broker.said()?;
            let mut new = log.get(from..).unwrap_or_default().lines();
            Ok(new.any(|line| words.iter().all(|word| line.contains(word))).then_some(()))
        })
    }
}

fn file_of(who: &str) -> String {
    who.replace('/', "-")
}

/// What the broker says of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It was taken.
    Taken,
    /// It was not.
    Refused,
}

/// Mosquitto's own command-line clients.
#[derive(Clone, Debug)]
pub struct Client {
    folder: PathBuf,
    port: u16,
    /// Certificate and key.
    identity: Option<(PathBuf, PathBuf)>,
}

impl Client {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-V", "5", "-q", "1", "-h", "localhost", "-p", &self.port.to_string(), "--cafile"]);
        command.arg(self.folder.join("broker/ca.pem"));
        if let Some((certificate, key)) = &self.identity {
            command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        command
    }

    /// Publishes a message.
    ///
    /// # Errors
    /// When there is no connection.
    pub fn publish(&self, topic: &str) -> anyhow::Result<Said> {
        let output = self.command("mosquitto_pub").args(["-t", topic, "-m", topic]).output();
        let output = succeeded(output.context("apt-get install mosquitto-clients")?)?;
        let is_refused = String::from_utf8_lossy(&output.stderr).contains("Not authorized");
        Ok(if is_refused { Said::Refused } else { Said::Taken })
    }

    /// Subscribes, and takes down the topic of each message that comes.
    ///
    /// # Errors
    /// When it cannot be started, or the broker does not answer.
    pub fn listen(&self, filters: &[&str]) -> anyhow::Result<Listener> {
        let subscribe = self.command("mosquitto_sub");
        // Into a file it would write only when its buffer is full.
        let mut command = Command::new("stdbuf");
        command.arg("-oL").arg(subscribe.get_program()).args(subscribe.get_args());
        command.args(["-d", "-F", "heard %t"]);
        command.args(filters.iter().flat_map(|filter| ["-t", filter]));
        let out = tempfile::NamedTempFile::new_in(&self.folder)?.into_temp_path().keep()?;
        let process = Process::start("mosquitto_sub", &mut command, &out)?;
        let mut listener = Listener { process, out };
        wait_for("a subscription", PATIENCE, || {
            listener.process.check()?;
            Ok(fs::read_to_string(&listener.out)?.contains("Subscribed").then_some(()))
        })?;
        Ok(listener)
    }
}

/// A subscription.
#[derive(Debug)]
pub struct Listener {
    process: Process,
    out: PathBuf,
}

impl Listener {
    /// The topics of what came, when there are so many messages.
    ///
    /// # Errors
    /// When there are not.
    pub fn heard(&self, least: usize) -> anyhow::Result<Vec<String>> {
        wait_for(&format!("{least} messages"), PATIENCE, || {
            let text = fs::read_to_string(&self.out)?;
            let heard: Vec<_> =
                text.lines().filter_map(|line| line.strip_prefix("heard ")).map(str::to_owned).collect();
            Ok((heard.len() >= least).then_some(heard))
        })
    }
}

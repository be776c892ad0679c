//! A PostgreSQL server of a test's own, in a folder that goes with it. Enters: Debian's programs. Leaves: a URL. It is
//! reached by a socket in that folder, so that it needs no port, and keeps what it commits as a real one does.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tempfile::TempDir;

/// How long the server may take to start.
const START: Duration = Duration::from_secs(120);
/// After so many seconds the server ends by itself, should the test not have come to that.
const LIFE_S: &str = "7200";

/// A server. Dropping it stops it, however the test ends.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    owner: Option<(u32, u32)>,
    server: Child,
    port: u16,
}

impl Cluster {
    /// Why this machine cannot have one.
    #[must_use]
    pub fn missing() -> Option<&'static str> {
        programs().is_none().then_some("PostgreSQL is not installed: apt-get install postgresql")
    }

    /// Makes a folder and starts a server in it.
    ///
    /// # Errors
    /// When that fails; the server's words are in the text.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_as(&Door::Socket)
    }

    /// The same, and it listens on a port of loopback too.
    ///
    /// # Errors
    /// When that fails.
    pub fn start_on_tcp() -> anyhow::Result<Self> {
        Self::start_as(&Door::Port(free_port()?))
    }

    /// The same, and it speaks TLS there, with a certificate for `localhost`.
    ///
    /// # Errors
    /// When that fails.
    pub fn start_with_tls() -> anyhow::Result<Self> {
        Self::start_as(&Door::Tls(free_port()?))
    }

    fn start_as(door: &Door) -> anyhow::Result<Self> {
        let programs = programs().context("PostgreSQL is not installed")?;
        // A socket's path has at most 107 bytes.
        let folder = tempfile::Builder::new().prefix("hangtag-pg-").tempdir_in("/tmp")?;
        // The server refuses to run as root.
        let owner = if folder.path().metadata()?.uid() == 0 { Some(nobody()?) } else { None };
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group))?;
        }
        let data = folder.path().join("data");
        let made = as_owner(&programs.join("initdb"), folder.path(), owner)
            .args([
                "--auth=trust",
                "--username=hangtag",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                "-D",
            ])
            .arg(&data)
            .output()?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let log = File::create(folder.path().join("log"))?;
        let server = as_owner(Path::new("timeout"), folder.path(), owner)
            .args(["--signal=INT", LIFE_S])
            .arg(programs.join("postgres"))
            .args(["-c", "max_connections=200", "-k"])
            .arg(folder.path())
            .args(door.settings(folder.path(), owner)?)
            .arg("-D")
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut cluster = Self { folder, programs, owner, server, port: door.port() };
        cluster.wait()?;
        Ok(cluster)
    }

    /// Where it is: everything may be done there.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://hangtag@/postgres?host={}", self.folder.path().display())
    }

    /// Where it is on loopback, with more in the URL.
    #[must_use]
    pub fn tls_url(&self, host: &str, how: &str) -> String {
        format!("postgres://hangtag@{host}:{}/postgres?{how}", self.port)
    }

    /// The file of who vouches for its certificate.
    #[must_use]
    pub fn roots(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The file of somebody who does not.
    #[must_use]
    pub fn other_roots(&self) -> PathBuf {
        self.folder.path().join("other.pem")
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let last = Instant::now() + START;
        let ready = self.programs.join("pg_isready");
        let port = self.port.to_string();
        while !Command::new(&ready)
            .args(["-q", "-p", &port, "-h"])
            .arg(self.folder.path())
            .status()?
            .success()
        {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            ensure!(self.server.try_wait()?.is_none(), "the server ended: {}", log());
            ensure!(Instant::now() < last, "the server does not start: {}", log());
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// Where a server listens beside the socket.
enum Door {
    Socket,
    Port(u16),
    Tls(u16),
}

impl Door {
    /// The port, which is part of the socket's name too.
    fn port(&self) -> u16 {
        match self {
            Self::Socket => 5432,
            Self::Port(port) | Self::Tls(port) => *port,
        }
    }

    fn settings(&self, folder: &Path, owner: Option<(u32, u32)>) -> anyhow::Result<Vec<String>> {
        let listen = if let Self::Socket = self { "" } else { "localhost" };
        let mut settings = vec![format!("listen_addresses={listen}"), format!("port={}", self.port())];
        if let Self::Tls(_) = self {
            certify(folder)?;
            if let Some((user, group)) = owner {
                chown(folder.join("server.key"), Some(user), Some(group))?;
            }
            let file = |name: &str| folder.join(name).display().to_string();
            settings.push("ssl=on".into());
            settings.push(format!("ssl_cert_file={}", file("server.pem")));
            settings.push(format!("ssl_key_file={}", file("server.key")));
        }
        Ok(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]).collect())
    }
}

/// Makes a certificate for `localhost`, whom `ca.pem` vouches for, and `other.pem`, who does not.
fn certify(folder: &Path) -> anyhow::Result<()> {
    const KEY: &str = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n")?;
    for command in [
        &format!("{KEY} -x509 -subj /CN=ca -keyout ca.key -out ca.pem"),
        &format!("{KEY} -x509 -subj /CN=other -keyout other.key -out other.pem"),
        &format!("{KEY} -subj /CN=localhost -keyout server.key -out server.csr"),
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
    ] {
        let mut openssl = Command::new("openssl");
        let made =
            openssl.current_dir(folder).args(command.split(' ')).output().context("cannot run openssl")?;
        ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    }
    Ok(())
}

/// A port on loopback that nothing listens on at this moment.
fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stopped = as_owner(&self.programs.join("pg_ctl"), self.folder.path(), self.owner)
            .args(["stop", "--mode=immediate", "--silent", "-D"])
            .arg(self.folder.path().join("data"))
            .status();
        if !stopped.is_ok_and(|status| status.success()) {
            drop(self.server.kill());
        }
        drop(self.server.wait());
    }
}

/// The folder of the newest version's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let number = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(number)?;
    let programs = newest.join("bin");
    programs.join("initdb").exists().then_some(programs)
}

/// Somebody who may run a server: Debian's user for it, or nobody.
fn nobody() -> anyhow::Result<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd")?;
    let ids = |name: &str| {
        let mut fields =
            users.lines().map(|line| line.split(':')).find(|line| line.clone().next() == Some(name))?;
        Some((fields.nth(2)?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody")).context("/etc/passwd has neither postgres nor nobody")
}

fn as_owner(program: &Path, folder: &Path, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_remove("PGPASSWORD");
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}

//! The program as a technician meets it. Enters: a configuration, the words of a command. Leaves: what it said,
//! and its exit code.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a command may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);
/// Debian's user `nobody`.
const NOBODY: u32 = 65_534;

/// A configuration of which nothing is wrong.
pub(crate) const GOOD: &str = r#"tenant = "acme"
store = "paris-1"
gateway = "gw-1"
data = "data"
[mqtt]
host = "127.0.0.1"
port = 9
[spool]
cap_mib = 4
[[zone]]
id = "rail-a"
kind = "rail"
[[reader]]
id = "rail-a"
port = "nowhere"
protocol = "r200"
region = "eu"
power_dbm = 26.0
[[reader.antenna]]
port = 1
zone = "rail-a"
"#;

/// A gateway's files in a folder of their own.
pub(crate) struct Door {
    folder: tempfile::TempDir,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A running agent. It is killed when this is dropped.
pub(crate) struct Agent(Child);

impl Door {
    /// A gateway with a configuration.
    pub(crate) fn new(config: &str) -> Self {
        let door = Self { folder: tempfile::tempdir().unwrap() };
        // Another user may come in.
        fs::set_permissions(door.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        door.write("agent.toml", config);
        door
    }

    /// A file's path.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// A command in the gateway's folder, with its configuration if it takes one.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_hangtag-agent")), words)
    }

    fn command_of(&self, program: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(words).current_dir(self.folder.path()).stdin(Stdio::null()).env_remove("HANGTAG_LOG");
        if words[0] != "decode" {
            command.arg("--config").arg("agent.toml");
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Said {
        finish(&mut self.command(words))
    }

    /// Runs a command as a user without rights to what is in a folder, which is taken from its owner if the test
    /// is not root's.
    pub(crate) fn run_without_rights(&self, to: &Path, words: &[&str]) -> Said {
        if !rustix::process::geteuid().is_root() {
            fs::set_permissions(to, fs::Permissions::from_mode(0o000)).unwrap();
            let said = self.run(words);
            fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
            return said;
        }
        // The folder of the build may be root's alone.
        let program = self.path("hangtag-agent");
        // Another process copies it: a file that this one writes to cannot be started while it also forks.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_hangtag-agent")).arg(&program).status();
        assert!(copied.unwrap().success());
        finish(self.command_of(&program, words).uid(NOBODY).gid(NOBODY))
    }

    /// Starts the agent, and waits until it answers.
    pub(crate) fn start(&self) -> Agent {
        let log = fs::File::create(self.path("agent.log")).unwrap();
        let agent = Agent(self.command(&["run"]).stderr(log).spawn().unwrap());
        let end = Instant::now() + PATIENCE;
        while UnixStream::connect(self.path("data/agent.sock")).is_err() {
            assert!(Instant::now() < end, "{}", fs::read_to_string(self.path("agent.log")).unwrap());
            sleep(Duration::from_millis(20));
        }
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command to its end, which must come.
pub(crate) fn finish(command: &mut Command) -> Said {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = rustix::process::Pid::from_child(&child);
    let (done, waited) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || {
        let output = child.wait_with_output();
        let _ = done.send(());
        output
    });
    if waited.recv_timeout(PATIENCE).is_err() {
        rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
        panic!("{command:?} does not end: {:?}", waiting.join());
    }
    let Output { status, stdout, stderr } = waiting.join().unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code(), out: text(stdout), err: text(stderr) }
}

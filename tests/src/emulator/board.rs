//! The firmware of a reader node in an emulated microcontroller: QEMU runs the image that is flashed on a board,
//! with an emulated [`R200`] on one UART and a pseudo-terminal for the agent on the other. Enters: a folder, a
//! name, how much there is to read. Leaves: bytes on the port, and exact counts. It runs on a thread of its own,
//! so that the node lives on while agents die.
//!
//! Both UARTs are sockets between QEMU and here: a terminal that nobody reads would stop QEMU altogether.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hangtag_protocol::link::message::{Configured, Health};
use hangtag_protocol::link::{Deframer, Kind};
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::carousel::Script;
use super::port::{Heard, Pty};
use super::r200::R200;
use crate::harness::process::{Process, wait_for};

/// The machine with the same chip.
const MACHINE: &str = "netduinoplus2";
const QEMU: &str = "qemu-system-arm";
const TARGET: &str = "thumbv7em-none-eabihf";
/// How often the module looks at its garments.
const TICK: Duration = Duration::from_millis(5);
/// What a line of 115,200 baud carries in that time: an emulated UART has no speed.
const PER_TICK: usize = 57;
/// How long QEMU may take to open its sockets.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there can be no board on this machine.
#[must_use]
pub fn refusal() -> Option<String> {
    if Command::new(QEMU).arg("--version").stdout(Stdio::null()).status().is_err() {
        return Some(format!("there is no {QEMU}"));
    }
    let mut rustc = Command::new("rustc");
    let found = rustc.args(["--print", "target-libdir", "--target", TARGET]).output().ok()?;
    let folder = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
    (!folder.is_dir()).then(|| format!("Rust has no {TARGET}"))
}

/// Builds the image.
///
/// # Errors
/// When cargo does not build it.
pub fn image() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let own = std::env::current_exe().context("cannot find the path of this program")?;
    // target/PROFILE/deps/test
    let target = own.ancestors().nth(3).context("this program is in no target folder")?.join("boards");
    let status = Command::new(cargo)
        .args(["build", "--release", "--locked", "--target", TARGET, "--target-dir"])
        .arg(&target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../firmware/boards/stm32f405"))
        // What is meant for the products is not for another chip.
        .env_remove("RUSTFLAGS")
        .stdin(Stdio::null())
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "cargo did not build the image: {status}");
    Ok(target.join(TARGET).join("release/hangtag-stm32f405"))
}

/// What is known of a board from both of its lines.
#[derive(Debug, Default)]
pub struct Counts {
    /// Tags that the module told.
    pub told: AtomicU64,
    /// The run that last said how it is.
    pub boot: AtomicU32,
    health: Mutex<Option<Health>>,
    configured: Mutex<Vec<Configured>>,
}

impl Counts {
    /// The last that the node said of its health.
    #[must_use]
    pub fn health(&self) -> Option<Health> {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it answered to configurations.
    #[must_use]
    pub fn configured(&self) -> Vec<Configured> {
        self.configured.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A board that runs until it is dropped.
#[derive(Debug)]
pub struct Board {
    counts: Arc<Counts>,
    orders: Arc<Orders>,
    qemu: Process,
    monitor: std::os::unix::net::UnixStream,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Orders {
    stop: AtomicBool,
    cut: AtomicBool,
    noise: Mutex<Vec<u8>>,
}

impl Board {
    /// Boots an image. The agent's port is `link`; the module tells so many reads of so many garments and then
    /// says only that no tag is there.
    ///
    /// # Errors
    /// When QEMU, the port or the thread cannot be made.
    pub fn boot(image: &Path, folder: &Path, link: &Path, reads: u64, garments: u16) -> anyhow::Result<Self> {
        let sockets = ["gateway", "reader", "monitor"].map(|name| folder.join(format!("{name}.sock")));
        let mut command = Command::new(QEMU);
        command.args(["-M", MACHINE, "-display", "none", "-serial", "null"]);
        // It begins when both lines are there, and opens its monitor before.
        for (option, wait, socket) in
            [("-serial", "on", &sockets[0]), ("-serial", "on", &sockets[1]), ("-monitor", "off", &sockets[2])]
        {
            command.arg(option).arg(format!("unix:{},server=on,wait={wait}", socket.display()));
        }
        command.arg("-kernel").arg(image);
        let mut qemu = Process::start(QEMU, &mut command, &folder.join("qemu.log"))?;
        std::fs::create_dir_all(link.parent().context("the port is in no folder")?)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let mut connect = |socket: &Path| {
            wait_for("QEMU's socket", PATIENCE, || {
                qemu.check()?;
                Ok(std::os::unix::net::UnixStream::connect(socket).ok())
            })
        };
        let (gateway, reader, monitor) =
            (connect(&sockets[0])?, connect(&sockets[1])?, connect(&sockets[2])?);
        for line in [&gateway, &reader] {
            line.set_nonblocking(true)?;
        }
        let (gateway, reader) = (UnixStream::from_std(gateway)?, UnixStream::from_std(reader)?);
        let pty = Pty::open(link)?;
        drop(inside);
        let (counts, orders) = (Arc::<Counts>::default(), Arc::<Orders>::default());
        let lines = Lines {
            gateway,
            reader,
            link: link.to_owned(),
            module: R200::new(),
            script: Script::new(reads, garments),
            reads,
            ears: Deframer::new(),
            unsent: Vec::new(),
            begin: Instant::now(),
            counts: Arc::clone(&counts),
            orders: Arc::clone(&orders),
        };
        let thread = std::thread::Builder::new().name("board".into()).spawn(move || {
            if let Err(why) = runtime.block_on(lines.run(pty)) {
                eprintln!("a board: {why}");
            }
        })?;
        Ok(Self { counts, orders, qemu, monitor, thread: Some(thread) })
    }

    /// What is known of it.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Cuts the line to the gateway in both directions, or mends it.
    pub fn cut(&self, cut: bool) {
        self.orders.cut.store(cut, Ordering::Release);
    }

    /// Puts bytes that nobody meant on both lines to the node.
    pub fn noise(&self, bytes: &[u8]) {
        self.orders.noise.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
    }

    /// Resets the chip. What its RAM holds is there afterwards, as on a real one.
    ///
    /// # Errors
    /// When QEMU does not listen.
    pub fn reset(&mut self) -> io::Result<()> {
        self.monitor.write_all(b"system_reset\n")
    }

    /// Fails when QEMU has ended.
    ///
    /// # Errors
    /// With what it said.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.qemu.check()
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.orders.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // If it panicked, it has printed its message.
            let _ = thread.join();
        }
    }
}

/// Both lines of a board, and what is behind them.
struct Lines {
    gateway: UnixStream,
    reader: UnixStream,
    link: PathBuf,
    module: R200,
    script: Script,
    reads: u64,
    ears: Deframer,
    /// What the module says and its line has not carried yet.
    unsent: Vec<u8>,
    begin: Instant,
    counts: Arc<Counts>,
    orders: Arc<Orders>,
}

impl Lines {
    async fn run(mut self, mut pty: Pty) -> io::Result<()> {
        let mut tick = tokio::time::interval(TICK);
        let (mut down, mut up, mut said) = ([0; 1_024], [0; 4_096], [0; 1_024]);
        while !self.orders.stop.load(Ordering::Relaxed) {
            // Every branch is cancel-safe: a timer, and readiness without a read.
            tokio::select! {
                _ = tick.tick() => self.look()?,
                heard = pty.hear(&mut down) => match heard {
                    Heard::Bytes(count) => self.down(&down[..count]),
                    Heard::HungUp => pty = Pty::open(&self.link)?,
                },
                ready = self.gateway.readable() => {
                    ready?;
                    let Some(bytes) = read(&self.gateway, &mut up)? else { continue };
                    self.note(bytes);
                    // Nobody has the port open, or reads: the bytes end in the air, as those of a line do.
                    if pty.host_side.is_none() && !self.orders.cut.load(Ordering::Acquire) {
                        let _ = rustix::io::write(&pty.module_side, bytes);
                    }
                }
                ready = self.reader.readable() => {
                    ready?;
                    let Some(bytes) = read(&self.reader, &mut said)? else { continue };
                    let answers = self.module.handle_bytes(bytes, self.now_ms());
                    self.unsent.extend(answers);
                }
            }
        }
        // Nobody can be told, and a stale link harms nobody.
        let _ = std::fs::remove_file(&self.link);
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The module sees what is there, and its line carries as much as it can.
    fn look(&mut self) -> io::Result<()> {
        let now_ms = self.now_ms();
        for sighting in self.script.run_to(now_ms) {
            let told = self.counts.told.load(Ordering::Relaxed);
            if told < self.reads {
                let frame = self.module.handle_sighting(&sighting);
                self.counts.told.store(told + u64::from(!frame.is_empty()), Ordering::Relaxed);
                self.unsent.extend(frame);
            }
        }
        self.unsent.extend(self.module.handle_timeout(now_ms));
        let noise = std::mem::take(&mut *self.orders.noise.lock().unwrap_or_else(PoisonError::into_inner));
        if !noise.is_empty() {
            self.down(&noise);
            // Between frames, and with an end: what noise promises is never longer.
            self.unsent.extend(noise.iter().chain(&[0; 103]));
        }
        let carried = &self.unsent[..self.unsent.len().min(PER_TICK)];
        match self.reader.try_write(carried) {
            Ok(count) => drop(self.unsent.drain(..count)),
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            Err(why) => return Err(why),
        }
        Ok(())
    }

    /// To the node; what its socket does not take is lost, as on a line.
    fn down(&self, bytes: &[u8]) {
        if !self.orders.cut.load(Ordering::Acquire) {
            let _ = self.gateway.try_write(bytes);
        }
    }

    /// Listens to what the node says.
    fn note(&mut self, bytes: &[u8]) {
        let Self { ears, counts, .. } = self;
        ears.handle_bytes(bytes, |frame| {
            let Ok(frame) = frame else { return };
            match Kind::of(frame.kind) {
                Some(Kind::Health) => {
                    *counts.health.lock().unwrap_or_else(PoisonError::into_inner) = frame.message().ok();
                    counts.boot.store(frame.boot, Ordering::Release);
                }
                Some(Kind::Configured) => {
                    let mut configured = counts.configured.lock().unwrap_or_else(PoisonError::into_inner);
                    configured.extend(frame.message::<Configured>());
                }
                _ => {}
            }
        });
    }
}

/// What is there; `None` when that was a mistake.
fn read<'b>(stream: &UnixStream, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
    match stream.try_read(buffer) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "QEMU is gone")),
        Ok(count) => Ok(Some(&buffer[..count])),
        Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(why) => Err(why),
    }
}

//! The firmware of a reader node in an emulated microcontroller: QEMU runs the image that is flashed on a board,
//! with an emulated [`R200`](super::r200) on one UART and a pseudo-terminal for the agent on the other. Enters: a
//! folder, a name, how much there is to read. Leaves: bytes on the port, and exact counts. It runs on a thread of its
//! own, so that the node lives on while agents die.
//!
//! | module | does |
//! |---|---|
//! | [`counts`] | what is known of a board from both of its lines |
//! | `fault` | makes the processor fail, and the image panic |
//! | `debugger` | speaks to QEMU as a debugger |
//! | `lines` | both lines, and what is behind them |
//!
//! Both UARTs are sockets between QEMU and here: a terminal that nobody reads would stop QEMU altogether.

pub mod counts;
mod debugger;
mod fault;
mod lines;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hangtag_protocol::link::command::{Configure, Query};
use hangtag_protocol::link::{Frame, Kind};

use super::port::Pty;
use crate::harness::process::{Process, wait_for};
use counts::Counts;
use lines::{Lines, open};

/// The machine with the same chip.
const MACHINE: &str = "netduinoplus2";
const QEMU: &str = "qemu-system-arm";
const TARGET: &str = "thumbv7em-none-eabihf";
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

/// What there is to read.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// So many garments of a [`carousel`](super::carousel): a hundred are read 360 times a second.
    Carousel(u16),
    /// So many garments at rest, read in turn as fast as the module's line carries it.
    Rail(u16),
    /// So many garments, of which the one that is [shown](Board::show) hangs still and is read ten times a second.
    Booth(u16),
}

impl From<u16> for Load {
    /// What moves.
    fn from(garments: u16) -> Self {
        Self::Carousel(garments)
    }
}

/// A board that runs until it is dropped.
#[derive(Debug)]
pub struct Board {
    counts: Arc<Counts>,
    orders: Arc<Orders>,
    qemu: Process,
    monitor: std::os::unix::net::UnixStream,
    debugger: PathBuf,
    image: PathBuf,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Orders {
    stop: AtomicBool,
    muted: AtomicBool,
    unplugged: AtomicBool,
    held: AtomicBool,
    /// The garment that is shown, counted from 1.
    shown: AtomicU64,
    renewed: AtomicBool,
    noise: Mutex<Vec<u8>>,
    said: Mutex<Vec<u8>>,
}

impl Board {
    /// Boots an image. The agent's port is `link`; the module tells so many reads and then says only that no tag is
    /// there.
    ///
    /// # Errors
    /// When QEMU, the port or the thread cannot be made.
    pub fn boot(
        image: &Path,
        folder: &Path,
        link: &Path,
        reads: u64,
        load: impl Into<Load>,
    ) -> anyhow::Result<Self> {
        let load = load.into();
        let path = |name: &str| folder.join(format!("{name}.sock"));
        let [gateway, reader, monitor, debugger] = ["gateway", "reader", "monitor", "debugger"].map(path);
        let mut command = Command::new(QEMU);
        command.args(["-M", MACHINE, "-display", "none", "-serial", "null"]);
        // It begins when both lines are there, and opens its monitor before.
        for (option, wait, socket) in [
            ("-serial", "on", &gateway),
            ("-serial", "on", &reader),
            ("-monitor", "off", &monitor),
            ("-gdb", "off", &debugger),
        ] {
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
        let (line, module) = (open(connect(&gateway)?)?, open(connect(&reader)?)?);
        let monitor = connect(&monitor)?;
        let pty = Pty::open(link)?;
        drop(inside);
        let (counts, orders) = (Arc::<Counts>::default(), Arc::<Orders>::default());
        let lines = Lines::new(
            (line, gateway),
            module,
            link.to_owned(),
            (reads, load),
            Arc::clone(&counts),
            Arc::clone(&orders),
        )?;
        let thread = std::thread::Builder::new().name("board".into()).spawn(move || {
            if let Err(why) = runtime.block_on(lines.run(pty)) {
                eprintln!("a board: {why}");
            }
        })?;
        let image = image.to_owned();
        Ok(Self { counts, orders, qemu, monitor, debugger, image, thread: Some(thread) })
    }

    /// What is known of it.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Cuts the line to the gateway in both directions, or mends it. The node is still heard here.
    pub fn mute(&self, muted: bool) {
        self.orders.muted.store(muted, Ordering::Release);
    }

    /// Closes the emulated UART to the gateway, or opens it again. What the node says meanwhile nobody hears.
    pub fn unplug(&self, unplugged: bool) {
        self.orders.unplugged.store(unplugged, Ordering::Release);
    }

    /// Makes the module see no tag, or go on.
    pub fn hold(&self, held: bool) {
        self.orders.held.store(held, Ordering::Release);
    }

    /// Hangs this garment of a [`Load::Booth`] before the antenna, counted from 0, in the place of another one.
    pub fn show(&self, garment: Option<u16>) {
        self.orders.shown.store(garment.map_or(0, |garment| u64::from(garment) + 1), Ordering::Release);
    }

    /// Puts a module that was never told anything in the place of the one that is there.
    pub fn renew_module(&self) {
        self.orders.renewed.store(true, Ordering::Release);
    }

    /// Puts bytes that nobody meant on both lines to the node.
    pub fn noise(&self, bytes: &[u8]) {
        self.orders.noise.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
    }

    /// Asks the node how it is, beside the agent.
    pub fn ask(&self) {
        self.say(&Frame::of(Kind::Query, 0, 0, &Query::Health));
    }

    /// Tells the node how to work, beside the agent.
    pub fn configure(&self, configure: &Configure) {
        self.say(&Frame::of(Kind::Configure, 0, 0, configure));
    }

    fn say(&self, bytes: &[u8]) {
        self.orders.said.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
    }

    /// Resets the chip. What its RAM holds is there afterwards, as on a real one.
    ///
    /// # Errors
    /// When QEMU does not listen.
    pub fn reset(&mut self) -> io::Result<()> {
        self.monitor.write_all(b"system_reset\n")
    }

    /// Makes the processor go on at the address deadbeee, where nothing is.
    ///
    /// # Errors
    /// When QEMU does not do what a debugger asks.
    pub fn fail(&self) -> anyhow::Result<()> {
        fault::jump_to_nowhere(&self.debugger)
    }

    /// Makes the image panic, as where an index is out of bounds; returns what it says then.
    ///
    /// # Errors
    /// When QEMU does not do what a debugger asks, or nothing of the image can panic so.
    pub fn panic(&self) -> anyhow::Result<String> {
        fault::panic(&self.debugger, &self.image)
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

//! A serial port with a module behind it: a pseudo-terminal whose host side has a stable name. Enters:
//! what the host writes, and moments of the shop. Leaves: what the module answers and reports. A host
//! that does not read stalls nobody: what does not fit is dropped and counted.
//!
//! A host that closes the port is given a fresh pseudo-terminal under the same name, because a killed
//! one leaves the old one locked (`TIOCEXCL` outlives it).

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::OFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::OptionalActions;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::Module;
use super::line::Line;
use crate::shop::Sighting;
use crate::shop::layout::Protocol;

/// A serial port that can be plugged in and pulled out.
#[derive(Debug)]
pub struct Port {
    link: PathBuf,
    /// As it is when it gets power.
    module: Module,
    line: Line,
    counts: Arc<Counts>,
    /// What it sends waits in the terminal until a host reads it.
    unasked: bool,
    plugged: Option<Plugged>,
}

/// What a port sent and lost since it was made.
#[derive(Debug, Default)]
pub struct Counts {
    /// Bytes that the host could read.
    pub sent: AtomicU64,
    /// Tags that the host could read whole, whatever stood before them.
    pub whole: AtomicU64,
    /// Bytes dropped because the host did not read.
    pub dropped: AtomicU64,
    /// Moments dropped because the port's task had no time.
    pub skipped: AtomicU64,
}

#[derive(Debug)]
struct Plugged {
    moments: mpsc::Sender<Moment>,
    reading: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

/// What the module sees between one moment and the next.
#[derive(Debug)]
struct Moment {
    now_ms: u64,
    sightings: Vec<Sighting>,
    /// What it sends besides, in whole frames.
    frames: Vec<Vec<u8>>,
}

/// About a second of moments: a task that lags more has lost touch with real time.
const MOMENTS: usize = 64;

impl Port {
    /// A port that is not plugged in yet. The link's folder must exist.
    #[must_use]
    pub fn new(link: &Path, protocol: Protocol, line: Line) -> Self {
        Self::with(link, Module::new(protocol), line)
    }

    /// The same with a module that is no reader of the shop.
    #[must_use]
    pub fn with(link: &Path, module: Module, line: Line) -> Self {
        let unasked = matches!(module, Module::Scanner);
        Self { link: link.to_owned(), module, line, counts: Arc::default(), unasked, plugged: None }
    }

    /// The same with a module that already speaks when a host comes that has not written yet. Such a host cannot
    /// be noticed: what was sent before it came waits for it.
    #[must_use]
    pub fn speaking(link: &Path, module: Module, line: Line) -> Self {
        let mut port = Self::with(link, module, line);
        port.unasked = true;
        port
    }

    /// The stable name of the host's side.
    #[must_use]
    pub fn link(&self) -> &Path {
        &self.link
    }

    /// What it sent and lost.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Gives the module power and makes the name appear. Nothing happens when it is plugged in.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the system gives out no pseudo-terminal, or the link cannot be made.
    pub fn plug(&mut self) -> io::Result<()> {
        if self.plugged.is_some() {
            return Ok(());
        }
        let (moments, inbox) = mpsc::channel(MOMENTS);
        let (tell_reading, reading) = watch::channel(false);
        let pty = Pty::open(&self.link)?;
        let behind = Behind {
            link: self.link.clone(),
            module: self.module.clone(),
            line: self.line.clone(),
            counts: Arc::clone(&self.counts),
            unasked: self.unasked,
            tell_reading,
            inbox,
            now_ms: 0,
        };
        self.plugged = Some(Plugged { moments, reading, task: tokio::spawn(behind.run(pty)) });
        Ok(())
    }

    /// Whether the module has power.
    #[must_use]
    pub fn is_plugged(&self) -> bool {
        self.plugged.is_some()
    }

    /// Takes the power away: the name disappears, and the host's handle is dead when this returns.
    ///
    /// # Errors
    /// When the link cannot be removed.
    pub async fn unplug(&mut self) -> io::Result<()> {
        let Some(Plugged { moments, task, .. }) = self.plugged.take() else { return Ok(()) };
        drop(moments);
        // A panic of the task has printed its message; the port is dead either way.
        let _ = task.await;
        fs::remove_file(&self.link)
    }

    /// Shows the module what its antennas saw up to `now_ms`. Without power nothing is seen.
    pub fn feed(&self, now_ms: u64, sightings: Vec<Sighting>) {
        self.pass(Moment { now_ms, sightings, frames: Vec::new() });
    }

    /// Lets the module send a frame by itself, such as the line of a code that was scanned. Without power
    /// it is lost.
    pub fn say(&self, now_ms: u64, frame: Vec<u8>) {
        self.pass(Moment { now_ms, sightings: Vec::new(), frames: vec![frame] });
    }

    fn pass(&self, moment: Moment) {
        if let Some(plugged) = &self.plugged
            && plugged.moments.try_send(moment).is_err()
        {
            self.counts.skipped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a host has started the module.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.plugged.as_ref().is_some_and(|plugged| *plugged.reading.borrow())
    }

    /// Waits until a host has started the module. Never returns when it is not plugged in.
    pub async fn started(&self) {
        match &self.plugged {
            // The sender lives as long as the task does.
            Some(plugged) if plugged.reading.clone().wait_for(|reading| *reading).await.is_ok() => {}
            Some(_) | None => std::future::pending().await,
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Some(plugged) = &self.plugged {
            plugged.task.abort();
            // Nobody can be told, and a stale link harms nobody.
            let _ = fs::remove_file(&self.link);
        }
    }
}

/// The task behind a port that is plugged in.
struct Behind {
    link: PathBuf,
    module: Module,
    line: Line,
    counts: Arc<Counts>,
    unasked: bool,
    tell_reading: watch::Sender<bool>,
    inbox: mpsc::Receiver<Moment>,
    now_ms: u64,
}

/// One pseudo-terminal.
pub(super) struct Pty {
    /// Tokio's reader for pipes takes every file that can be polled.
    pub(super) module_side: pipe::Receiver,
    /// Held open until the host has written: before that, a read would say that it hung up.
    pub(super) host_side: Option<OwnedFd>,
}

/// What a host did.
pub(super) enum Heard {
    Bytes(usize),
    HungUp,
}

impl Behind {
    async fn run(mut self, mut pty: Pty) {
        let mut buffer = [0; 1024];
        loop {
            tokio::select! {
                // Both branches are cancel-safe: a channel's `recv`, and readiness without a read.
                moment = self.inbox.recv() => {
                    let Some(moment) = moment else { return };
                    self.pass(&pty, moment);
                }
                heard = pty.hear(&mut buffer) => match heard {
                    Heard::Bytes(count) => {
                        let answers = self.module.handle_bytes(&buffer[..count], self.now_ms);
                        self.tell_reading.send_replace(self.module.is_reading());
                        self.send(&pty, &answers);
                    }
                    Heard::HungUp => match Pty::open(&self.link) {
                        Ok(fresh) => pty = fresh,
                        Err(why) => {
                            eprintln!("{}: no new pseudo-terminal: {why}", self.link.display());
                            return;
                        }
                    },
                },
            }
        }
    }

    fn pass(&mut self, pty: &Pty, moment: Moment) {
        for frame in moment.frames {
            self.send(pty, &frame);
        }
        for sighting in &moment.sightings {
            let frame = self.module.handle_sighting(sighting);
            let whole = self.send(pty, &frame);
            self.counts.whole.fetch_add(u64::from(whole), Ordering::Relaxed);
        }
        self.now_ms = moment.now_ms;
        let idle = self.module.handle_timeout(self.now_ms);
        self.send(pty, &idle);
        let reading = self.module.is_reading();
        self.tell_reading.send_if_modified(|told| std::mem::replace(told, reading) != reading);
    }

    /// Puts a frame on the line; tells whether all of it arrives.
    fn send(&mut self, pty: &Pty, frame: &[u8]) -> bool {
        // Nobody has the port open: the bytes end in the air, as those of a real line do.
        let open = pty.host_side.is_none() || self.unasked;
        if frame.is_empty() || !open {
            return false;
        }
        let bytes = self.line.carry(frame.to_owned());
        let sent = rustix::io::write(&pty.module_side, &bytes).unwrap_or(0);
        self.counts.sent.fetch_add(sent as u64, Ordering::Relaxed);
        self.counts.dropped.fetch_add((bytes.len() - sent) as u64, Ordering::Relaxed);
        sent == bytes.len() && bytes.ends_with(frame)
    }
}

impl Pty {
    /// Opens a pseudo-terminal in raw mode and points the link at it.
    pub(super) fn open(link: &Path) -> io::Result<Self> {
        // A program started later must not inherit the module's side: the line would never hang up.
        let module_side =
            rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        rustix::pty::grantpt(&module_side)?;
        rustix::pty::unlockpt(&module_side)?;
        let name = rustix::pty::ptsname(&module_side, Vec::new())?;
        let host_side = rustix::fs::open(
            name.as_c_str(),
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )?;
        let mut termios = rustix::termios::tcgetattr(&host_side)?;
        termios.make_raw();
        rustix::termios::tcsetattr(&host_side, OptionalActions::Now, &termios)?;
        let flags = rustix::fs::fcntl_getfl(&module_side)?;
        rustix::fs::fcntl_setfl(&module_side, flags | OFlags::NONBLOCK)?;
        if link.symlink_metadata().is_ok_and(|found| !found.is_symlink()) {
            // A file of somebody's, or a real port.
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "is there and is no symbolic link"));
        }
        // Renamed into place, so that the name never vanishes from one terminal to the next.
        let fresh = link.with_extension("new");
        let _ = fs::remove_file(&fresh);
        std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(name.as_bytes()), &fresh)?;
        fs::rename(&fresh, link)?;
        let module_side = pipe::Receiver::from_file_unchecked(fs::File::from(module_side))?;
        Ok(Self { module_side, host_side: Some(host_side) })
    }

    /// Waits for bytes of the host. Cancel-safe: what is not returned was not taken.
    pub(super) async fn hear(&mut self, buffer: &mut [u8]) -> Heard {
        loop {
            if self.module_side.readable().await.is_err() {
                return Heard::HungUp;
            }
            match self.module_side.try_read(buffer) {
                Ok(0) => return Heard::HungUp,
                Ok(count) => {
                    self.host_side = None;
                    return Heard::Bytes(count);
                }
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Heard::HungUp,
            }
        }
    }
}

#[cfg(test)]
mod tests;

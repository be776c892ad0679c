//! Both lines of a board, and what is behind them: the module before its garments, and the port of the agent. Enters:
//! bytes of both UARTs and of the port, orders. Leaves: bytes for all three.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hangtag_protocol::epc::Epc;
use hangtag_protocol::link::{Deframer, Kind};
use tokio::net::UnixStream;
use tokio::time::{Instant, MissedTickBehavior};

use super::counts::Counts;
use super::{Load, Orders};
use crate::emulator::carousel::Script;
use crate::emulator::port::{Heard, Pty};
use crate::emulator::r200::R200;
use crate::shop::Sighting;

/// How often the module looks at its garments.
const TICK: Duration = Duration::from_millis(5);
/// What a line of 115,200 baud carries in that time: an emulated UART has no speed.
const PER_TICK: usize = 57;
/// How often a garment that is shown is read, in milliseconds.
const SHOWN_MS: u64 = 100;
/// More than any frame that noise could have begun.
const END_OF_NOISE: usize = 103;

/// Both lines of a board, and what is behind them.
pub(super) struct Lines {
    gateway: Option<UnixStream>,
    socket: PathBuf,
    reader: UnixStream,
    link: PathBuf,
    module: R200,
    script: Script,
    load: Load,
    reads: u64,
    /// Whether it sees no tag, as of when it last looked.
    held: bool,
    /// The garment that is shown, counted from 1, and when it is read next.
    shown: u64,
    read_ms: u64,
    /// What the node says, and what the agent says.
    ears: [Deframer; 2],
    /// What the module says and its line has not carried yet, and the tags in it with how many bytes end them.
    unsent: Vec<u8>,
    carried: u64,
    tags: VecDeque<(u64, Epc)>,
    begin: Instant,
    counts: Arc<Counts>,
    orders: Arc<Orders>,
}

/// A socket of QEMU, within the runtime.
pub(super) fn open(socket: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}

impl Lines {
    pub(super) fn new(
        (gateway, socket): (UnixStream, PathBuf),
        reader: UnixStream,
        link: PathBuf,
        (reads, load): (u64, Load),
        counts: Arc<Counts>,
        orders: Arc<Orders>,
    ) -> io::Result<Self> {
        // An emulated UART takes what waits at once, however slow the line would be: so little waits that the node's
        // own memory holds it. The least that there can be is a few writes.
        rustix::net::sockopt::set_socket_send_buffer_size(&reader, 1)?;
        let (Load::Carousel(garments) | Load::Rail(garments) | Load::Booth(garments)) = load;
        Ok(Self {
            gateway: Some(gateway),
            socket,
            reader,
            link,
            module: R200::new(),
            script: Script::new(reads, garments),
            load,
            reads,
            held: false,
            shown: 0,
            read_ms: 0,
            ears: [Deframer::new(), Deframer::new()],
            unsent: Vec::new(),
            carried: 0,
            tags: VecDeque::new(),
            begin: Instant::now(),
            counts,
            orders,
        })
    }

    pub(super) async fn run(mut self, mut pty: Pty) -> io::Result<()> {
        let mut tick = tokio::time::interval(TICK);
        // A line carries no more later because it carried nothing before.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut down, mut up, mut said) = ([0; 1_024], [0; 4_096], [0; 1_024]);
        while !self.orders.stop.load(Ordering::Relaxed) {
            // Every branch is cancel-safe: a timer, and readiness without a read.
            tokio::select! {
                _ = tick.tick() => self.look()?,
                heard = pty.hear(&mut down) => match heard {
                    Heard::Bytes(count) => self.hear(&down[..count]),
                    Heard::HungUp => pty = Pty::open(&self.link)?,
                },
                ready = readable(self.gateway.as_ref()) => {
                    ready?;
                    let Some(gateway) = &self.gateway else { continue };
                    let Some(bytes) = read(gateway, &mut up)? else { continue };
                    let (counts, now) = (&self.counts, Instant::now());
                    self.ears[0].handle_bytes(bytes, |frame| {
                        frame.iter().for_each(|frame| counts.handle_said(frame, now));
                    });
                    // Nobody has the port open, or reads: the bytes end in the air, as those of a line do.
                    if pty.host_side.is_none() && !self.orders.muted.load(Ordering::Acquire) {
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
        self.obey()?;
        let now_ms = self.now_ms();
        let seen = self.script.run_to(now_ms);
        match self.load {
            Load::Carousel(_) => seen.iter().for_each(|sighting| self.tell(sighting)),
            Load::Rail(_) => self.tell_in_turn(),
            Load::Booth(_) => self.tell_shown(now_ms),
        }
        self.unsent.extend(self.module.handle_timeout(now_ms));
        let carried = &self.unsent[..self.unsent.len().min(PER_TICK)];
        match self.reader.try_write(carried) {
            Ok(count) => {
                self.unsent.drain(..count);
                self.carried += count as u64;
            }
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            Err(why) => return Err(why),
        }
        let now = Instant::now();
        while let Some((_, epc)) = self.tags.pop_front_if(|(end, _)| *end <= self.carried) {
            self.counts.handle_carried(epc, now);
        }
        self.counts.note_line(self.held && self.unsent.is_empty(), self.module.power_cdbm());
        Ok(())
    }

    fn obey(&mut self) -> io::Result<()> {
        let take = |bytes: &std::sync::Mutex<Vec<u8>>| {
            std::mem::take(&mut *bytes.lock().unwrap_or_else(PoisonError::into_inner))
        };
        self.held = self.orders.held.load(Ordering::Acquire);
        if self.orders.renewed.swap(false, Ordering::AcqRel) {
            self.module = R200::new();
        }
        let unplugged = self.orders.unplugged.load(Ordering::Acquire);
        if unplugged {
            self.gateway = None;
        } else if self.gateway.is_none() {
            // While QEMU has not noticed that the last one is closed it takes no other: then the next time.
            self.gateway = std::os::unix::net::UnixStream::connect(&self.socket).and_then(open).ok();
        }
        self.down(&take(&self.orders.said));
        let noise = take(&self.orders.noise);
        if !noise.is_empty() {
            self.down(&noise);
            // Between frames, and with an end: what noise promises is never longer.
            self.unsent.extend(noise.iter().chain(&[0; END_OF_NOISE]));
        }
        Ok(())
    }

    /// Keeps the line busy with garments that take turns, each as strong as ever.
    fn tell_in_turn(&mut self) {
        let mut wanted = self.unsent.len() < PER_TICK;
        while wanted {
            let told = self.counts.told();
            let Some(sighting) = self.script.in_turn(told) else { return };
            self.tell(&sighting);
            wanted = self.unsent.len() < PER_TICK && self.counts.told() > told;
        }
    }

    /// Reads the garment that is shown when it is time to.
    fn tell_shown(&mut self, now_ms: u64) {
        let shown = self.orders.shown.load(Ordering::Acquire);
        if shown != self.shown {
            (self.shown, self.read_ms) = (shown, now_ms);
        }
        let garment = shown.checked_sub(1).and_then(|garment| self.script.in_turn(garment));
        if let Some(sighting) = garment.filter(|_| now_ms >= self.read_ms) {
            self.read_ms += SHOWN_MS;
            self.tell(&sighting);
        }
    }

    fn tell(&mut self, sighting: &Sighting) {
        if self.counts.told() >= self.reads || self.held {
            return;
        }
        let frame = self.module.handle_sighting(sighting);
        if !frame.is_empty() {
            self.unsent.extend(frame);
            self.tags.push_back((self.carried + self.unsent.len() as u64, sighting.epc));
            self.counts.handle_told(sighting.epc);
        }
    }

    /// What the agent says.
    fn hear(&mut self, bytes: &[u8]) {
        if self.orders.muted.load(Ordering::Acquire) {
            return;
        }
        let (counts, now) = (&self.counts, Instant::now());
        self.ears[1].handle_bytes(bytes, |frame| {
            let acks = frame.iter().filter(|frame| Kind::of(frame.kind) == Some(Kind::Ack));
            acks.for_each(|frame| counts.handle_heard(frame, now));
        });
        self.down(bytes);
    }

    /// To the node; what its socket does not take is lost, as on a line.
    fn down(&self, bytes: &[u8]) {
        if let Some(gateway) = &self.gateway {
            let _ = gateway.try_write(bytes);
        }
    }
}

async fn readable(socket: Option<&UnixStream>) -> io::Result<()> {
    match socket {
        Some(socket) => socket.readable().await,
        None => std::future::pending().await,
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

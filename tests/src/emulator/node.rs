//! A reader node behind a pseudo-terminal: the node's own end of the link, with the rings that a microcontroller
//! has room for, before the garments of a [`carousel`](super::carousel). Enters: a folder, a seed, how much there
//! is to tell. Leaves: bytes on the port, and exact counts. It runs on a thread of its own, so that it lives on
//! while agents die; a host that does not read stalls only the line, as a real one does.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::link::command::{Ack, Configure, Query};
use hangtag_protocol::link::message::{
    BootReason, Condensed, Configured, Ended, Firmware, Health, NodeId, Outcome,
};
use hangtag_protocol::link::sender::{Identity, Told};
use hangtag_protocol::link::{Deframer, Frame, Kind, Sender};
use hangtag_protocol::read::Read;
use tokio::time::Instant;

use super::carousel::{READER, Script};
use super::line::{Faults, Line};
use super::port::{Heard, Pty};
use crate::shop::Sighting;

/// The node's name.
pub const NODE: NodeId = NodeId(0x0dd5_0c1a);
/// How warm it says that it is, in tenths of a degree Celsius.
pub const TEMPERATURE_DC: i16 = 231;
/// Bytes of frames that were sent, and of what waits: a third of the memory of an STM32F405.
pub type Roomy = Sender<24_576, 40_960>;
/// So little that a few seconds without a gateway fill it.
pub type Narrow = Sender<8_192, 8_192>;

/// How often the node looks at its reader.
const TICK: Duration = Duration::from_millis(5);
/// How often it says how it is, in milliseconds.
const HEALTH_MS: u64 = 2_000;
/// Its first run; each reset begins the next.
const FIRST_BOOT: u32 = 0x0100_0001;

/// What a node is to do.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Of its garments and its line.
    pub seed: u64,
    /// How many garments move before it: a hundred make 360 reads a second.
    pub garments: u16,
    /// How many reads it tells altogether before its reader falls silent.
    pub reads: u64,
    /// What its line does, in both directions.
    pub faults: Faults,
}

impl Settings {
    /// A node that tells ten thousand reads of 200 garments over a line without faults.
    #[must_use]
    pub fn quiet() -> Self {
        Self { seed: 1, garments: 200, reads: 10_000, faults: Faults::default() }
    }
}

/// What a node did: exact, and of this run, if nothing else is said.
#[derive(Debug, Default)]
pub struct Counts {
    /// Reads of all runs.
    pub all_reads: AtomicU64,
    /// Reads that it took from its reader.
    pub reads: AtomicU64,
    /// Reads of these that it had no room for.
    pub dropped: AtomicU64,
    /// Bytes that wait to be durable.
    pub waiting: AtomicU64,
    /// Acks that said that more is durable.
    pub acks: AtomicU64,
    /// Whether everything that was told is durable.
    pub idle: AtomicBool,
    /// Configurations that it was given.
    pub configured: AtomicU64,
}

/// A node that runs until it is dropped.
pub struct Node {
    counts: Arc<Counts>,
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

/// Something to tell, as soon as it is known when that is.
type Telling = Box<dyn FnOnce(Uptime) -> Told + Send>;

#[derive(Default)]
struct Orders {
    stop: AtomicBool,
    reset: AtomicBool,
    /// Its module does not answer.
    mute: AtomicBool,
    /// Bytes to put on the line that nobody meant.
    noise: Mutex<Vec<u8>>,
    /// What else it tells, by its own clock.
    told: Mutex<Vec<Telling>>,
    /// What it answers to a configuration, if not that it takes it.
    refuses: Mutex<Option<Outcome>>,
    /// The last configuration that it was given.
    configure: Mutex<Option<Configure>>,
}

impl Node {
    /// Plugs a node in under the name of the [`carousel`](super::carousel)'s reader.
    ///
    /// # Errors
    /// When the port or the thread cannot be made.
    pub fn start<const SENT: usize, const WAITING: usize>(
        folder: &Path,
        settings: Settings,
        kind: fn(Identity, Uptime) -> Sender<SENT, WAITING>,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let link = folder.join(READER);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let pty = {
            let _inside = runtime.enter();
            Pty::open(&link)?
        };
        let (counts, orders) = (Arc::<Counts>::default(), Arc::<Orders>::default());
        let (shared, told) = (Arc::clone(&counts), Arc::clone(&orders));
        let thread = std::thread::Builder::new().name("node".into()).spawn(move || {
            let begin = Instant::now();
            let board = Board {
                settings,
                script: Script::new(settings.seed, settings.garments),
                up: Line::new(settings.seed, settings.faults),
                down: Line::new(!settings.seed, settings.faults),
                sender: kind(identity(FIRST_BOOT), Uptime(0)),
                kind,
                boot: FIRST_BOOT,
                ears: Deframer::new(),
                unsent: Vec::new(),
                health_ms: 0,
                counts: shared,
                orders: told,
                begin,
            };
            if let Err(why) = runtime.block_on(board.run(&link, pty)) {
                eprintln!("a node: {why}");
            }
        })?;
        Ok(Self { counts, orders, thread: Some(thread) })
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Resets it: its memory is gone, and a new run begins, which says how much the last one had read.
    pub fn reset(&self) {
        self.orders.reset.store(true, Ordering::Release);
    }

    /// Lets it tell something, as of now, and returns when it was told.
    pub fn tell(&self, what: impl FnOnce(Uptime) -> Told + Send + 'static) {
        let (done, told) = std::sync::mpsc::channel();
        let telling = move |now| {
            let what = what(now);
            // Who waits no more needs not know.
            let _ = done.send(());
            what
        };
        self.orders.told.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(telling));
        // A node that has ended tells nothing.
        let _ = told.recv();
    }

    /// From here on it answers this to configurations.
    pub fn refuse(&self, outcome: Outcome) {
        *self.orders.refuses.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    /// How it was told to work last, if it was.
    #[must_use]
    pub fn configure(&self) -> Option<Configure> {
        *self.orders.configure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its module answers no more, or again: it says so with its next health.
    pub fn mute_module(&self, mute: bool) {
        self.orders.mute.store(mute, Ordering::Release);
    }

    /// Puts bytes on the line that nobody meant.
    pub fn noise(&self, bytes: &[u8]) {
        self.orders.noise.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.orders.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // If it panicked, it has printed its message.
            let _ = thread.join();
        }
    }
}

fn identity(boot: u32) -> Identity {
    let reason = if boot == FIRST_BOOT { BootReason::Power } else { BootReason::Pin };
    Identity { node: NODE, firmware: Firmware { major: 0, minor: 1, patch: 0 }, reason, boot }
}

/// The node itself.
struct Board<const SENT: usize, const WAITING: usize> {
    settings: Settings,
    script: Script,
    up: Line,
    down: Line,
    sender: Sender<SENT, WAITING>,
    kind: fn(Identity, Uptime) -> Sender<SENT, WAITING>,
    boot: u32,
    ears: Deframer,
    /// What the line has not taken yet.
    unsent: Vec<u8>,
    health_ms: u64,
    counts: Arc<Counts>,
    orders: Arc<Orders>,
    begin: Instant,
}

impl<const SENT: usize, const WAITING: usize> Board<SENT, WAITING> {
    async fn run(mut self, link: &Path, mut pty: Pty) -> io::Result<()> {
        let mut tick = tokio::time::interval(TICK);
        let mut buffer = [0; 1_024];
        while !self.orders.stop.load(Ordering::Relaxed) {
            // Both branches are cancel-safe: a timer, and readiness without a read.
            tokio::select! {
                _ = tick.tick() => self.look(),
                heard = pty.hear(&mut buffer) => match heard {
                    Heard::Bytes(count) => {
                        let bytes = self.down.carry(buffer[..count].to_vec());
                        self.hear(&bytes);
                    }
                    Heard::HungUp => {
                        self.unsent.clear();
                        pty = Pty::open(link)?;
                    }
                },
            }
            self.say(&pty);
            self.tell();
        }
        // Nobody can be told, and a stale link harms nobody.
        let _ = std::fs::remove_file(link);
        Ok(())
    }

    fn now(&self) -> Uptime {
        Uptime(u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Takes what its reader saw.
    fn look(&mut self) {
        let now = self.now();
        if self.orders.reset.swap(false, Ordering::AcqRel) {
            let ended = Ended {
                boot: self.boot,
                reason: identity(self.boot + 1).reason,
                reads: self.counts.reads.swap(0, Ordering::Relaxed),
                uptime: now,
                forgotten: 0,
                words: "",
            };
            self.boot += 1;
            self.sender = (self.kind)(identity(self.boot), now);
            assert!(self.sender.handle_ended(&ended), "it has told nothing yet");
            self.unsent.clear();
        }
        for sighting in self.script.run_to(now.0) {
            if self.counts.all_reads.load(Ordering::Relaxed) < self.settings.reads {
                self.counts.all_reads.fetch_add(1, Ordering::Relaxed);
                self.counts.reads.fetch_add(1, Ordering::Relaxed);
                self.sender.handle_told(&Told::Read(condensed(&sighting)), now);
            }
        }
        if now.0 >= self.health_ms {
            self.health_ms = now.0 + HEALTH_MS;
            let health = Health {
                uptime: now,
                reads: self.counts.reads.load(Ordering::Relaxed),
                dropped: self.sender.dropped_reads(),
                waiting: u32::try_from(self.sender.waiting()).unwrap_or(u32::MAX),
                garbage: u32::try_from(self.ears.garbage()).unwrap_or(u32::MAX),
                reader_listens: !self.orders.mute.load(Ordering::Acquire),
                temperature_dc: Some(TEMPERATURE_DC),
                supply_mv: Some(3_300),
                ..Health::default()
            };
            let frame = Frame::of(Kind::Health, self.boot, 0, &health).to_vec();
            self.unsent.extend(self.up.carry(frame));
        }
        let mut told = self.orders.told.lock().unwrap_or_else(PoisonError::into_inner);
        for telling in told.drain(..) {
            let told = telling(now);
            if let Told::Read(read) = told {
                self.counts.all_reads.fetch_add(read.count.into(), Ordering::Relaxed);
                self.counts.reads.fetch_add(read.count.into(), Ordering::Relaxed);
            }
            self.sender.handle_told(&told, now);
        }
        drop(told);
        let mut noise = self.orders.noise.lock().unwrap_or_else(PoisonError::into_inner);
        self.unsent.append(&mut noise);
    }

    fn hear(&mut self, bytes: &[u8]) {
        let now = self.now();
        let Self { ears, sender, counts, health_ms, orders, .. } = self;
        ears.handle_bytes(bytes, |frame| {
            let Ok(frame) = frame else { return };
            match Kind::of(frame.kind) {
                Some(Kind::Ack) => {
                    let Ok(ack) = frame.message::<Ack>() else { return };
                    let before = sender.waiting();
                    sender.handle_ack(frame.boot, ack, now);
                    counts.acks.fetch_add(u64::from(sender.waiting() < before), Ordering::Relaxed);
                }
                Some(Kind::Query) => match frame.message() {
                    Ok(Query::Hello) => sender.handle_query_hello(now),
                    Ok(Query::Clock { asked }) => sender.handle_query_clock(asked),
                    Ok(Query::Health) => *health_ms = 0,
                    Err(_) => {}
                },
                Some(Kind::Configure) => {
                    let Ok(configure) = frame.message::<Configure>() else { return };
                    *orders.configure.lock().unwrap_or_else(PoisonError::into_inner) = Some(configure);
                    counts.configured.fetch_add(1, Ordering::Relaxed);
                    let refuses = *orders.refuses.lock().unwrap_or_else(PoisonError::into_inner);
                    let answer = Configured { id: configure.id, outcome: refuses.unwrap_or(Outcome::Taken) };
                    sender.handle_told(&Told::Configured(answer), now);
                }
                _ => {}
            }
        });
    }

    /// Puts on the line what it takes.
    fn say(&mut self, pty: &Pty) {
        // Nobody has the port open: the bytes end in the air, as those of a real line do.
        let open = pty.host_side.is_none();
        loop {
            if self.unsent.is_empty() {
                let Some(wire) = self.sender.poll_transmit(self.now()) else { return };
                self.unsent = self.up.carry(wire.to_vec());
            }
            let sent = if open {
                rustix::io::write(&pty.module_side, &self.unsent).unwrap_or(0)
            } else {
                self.unsent.len()
            };
            self.unsent.drain(..sent);
            if !self.unsent.is_empty() {
                return;
            }
        }
    }

    fn tell(&self) {
        self.counts.dropped.store(self.sender.dropped_reads(), Ordering::Relaxed);
        self.counts.waiting.store(self.sender.waiting() as u64, Ordering::Relaxed);
        self.counts.idle.store(self.sender.is_idle(), Ordering::Release);
    }
}

fn condensed(sighting: &Sighting) -> Condensed {
    Condensed::single(&Read {
        at: Uptime(sighting.at_ms),
        epc: sighting.epc,
        antenna: sighting.antenna,
        rssi_cdbm: sighting.rssi_cdbm,
        phase_ddeg: sighting.phase_ddeg,
        channel_khz: Some(sighting.channel_khz),
    })
}

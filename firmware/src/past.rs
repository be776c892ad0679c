//! What a run leaves to the next in RAM that outlives a reset. Enters: how far this run has come, its last words.
//! Leaves: how those runs ended that the gateway was not told of. Whatever that RAM holds when power comes, and
//! wherever a reset cuts off a change, nothing is believed that was not written whole.
//!
//! ```text
//! tally    boot, reads, uptime of the run; two copies
//! untold   how many runs are forgotten, how many follow, 3 × (boot, reads, uptime, reason); two copies
//! words    boot of the run that said them, their length, UTF-8; one copy
//!
//! copy     0  1  magic: another for each of the three; 0 while the copy is changed
//!          1  1  generation: the later copy counts
//!          2  n  what it says, words of 32 bits; numbers of 64 bits low word first
//!          …  1  CRC-32C over everything before it, the words as little-endian bytes
//! ```
//!
//! A change goes to the copy that does not count. A run is first added to those that are untold and then
//! replaced in the tally; who finds it in both has it once.

use arrayvec::ArrayVec;
use crc::{CRC_32_ISCSI, Crc, NoTable};
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::link::message::{BootReason, Ended, MAX_WORDS};

/// Words of 32 bits that a reset leaves alone.
pub trait Ram {
    /// The word at an index below [`RAM_WORDS`].
    fn load(&self, at: usize) -> u32;

    /// Writes the word at an index below [`RAM_WORDS`]. Words must be written in the order of the calls.
    fn store(&mut self, at: usize, word: u32);
}

/// What this run and those before it leave.
#[derive(Debug)]
pub struct Past<R> {
    ram: R,
    tally: Turn<TALLY>,
    untold: Turn<UNTOLD>,
    /// The run in the tally: before [`begin`](Self::begin) the last one, then this one.
    run: Option<Run>,
    runs: ArrayVec<Run, RUNS>,
    forgotten: u32,
    words: Option<Words>,
}

/// The last words of the run with that boot.
#[derive(Debug)]
struct Words {
    boot: u32,
    text: ArrayVec<u8, MAX_WORDS>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    boot: u32,
    reads: u64,
    uptime: Uptime,
    /// Of a run that has ended: why.
    reason: BootReason,
}

impl<R: Ram> Past<R> {
    /// What is there. This run begins with [`begin`](Self::begin).
    pub fn open(ram: R) -> Self {
        let mut tally = Turn::<TALLY>::new(TALLY_AT, TALLY_MAGIC);
        let mut untold = Turn::<UNTOLD>::new(UNTOLD_AT, UNTOLD_MAGIC);
        let run = tally.load(&ram).map(|[boot, r0, r1, u0, u1]| Run {
            boot,
            reads: wide(r0, r1),
            uptime: Uptime(wide(u0, u1)),
            reason: BootReason::Unknown,
        });
        let (mut runs, mut forgotten) = (ArrayVec::new(), 0);
        if let Some([lost, count, rest @ ..]) = untold.load(&ram) {
            forgotten = lost;
            runs.extend(rest.as_chunks().0.iter().take(count as usize).map(Run::of));
        }
        let words = words_in(&ram);
        Self { ram, tally, untold, run, runs, forgotten, words }
    }

    /// Whether the last run said something as it ended, which it does only when it panics.
    #[must_use]
    pub fn panicked(&self) -> bool {
        self.run.is_some_and(|run| self.words.as_ref().is_some_and(|words| words.boot == run.boot))
    }

    /// A number for this run: not 0, and of no run that is known here.
    #[must_use]
    pub fn draw_boot(&self, noise: u32) -> u32 {
        let last = self.run.map_or(0, |run| run.boot);
        let known = |boot| boot == last || self.runs.iter().any(|run| run.boot == boot);
        let mut boot = noise ^ last.wrapping_mul(0x9E37_79B1);
        while boot == 0 || known(boot) {
            boot = boot.wrapping_add(1);
        }
        boot
    }

    /// Begins this run; `reason` is why the last one ended.
    pub fn begin(&mut self, boot: u32, reason: BootReason) {
        let last = self.run.filter(|last| self.runs.iter().all(|run| run.boot != last.boot));
        if let Some(last) = last {
            if self.runs.is_full() {
                // Of one that took in nothing nothing is lost.
                let idle = self.runs.iter().position(|run| run.reads == 0);
                self.forgotten = self.forgotten.saturating_add(u32::from(idle.is_none()));
                self.runs.remove(idle.unwrap_or(0));
            }
            self.runs.push(Run { reason, ..last });
            self.write_untold();
        }
        self.write_tally(Run { boot, reads: 0, uptime: Uptime(0), reason: BootReason::Unknown });
    }

    /// How the runs before this one ended that the gateway was not told of, the earliest first.
    pub fn untold(&self) -> impl Iterator<Item = Ended<'_>> {
        self.runs.iter().enumerate().map(|(number, run)| {
            let words = self.words.as_ref().filter(|words| words.boot == run.boot);
            Ended {
                boot: run.boot,
                reason: run.reason,
                reads: run.reads,
                uptime: run.uptime,
                forgotten: if number == 0 { self.forgotten } else { 0 },
                words: words.map_or("", |words| text(&words.text)),
            }
        })
    }

    /// The gateway has for good what [`untold`](Self::untold) said.
    pub fn forget(&mut self) {
        if !self.runs.is_empty() {
            self.runs.clear();
            self.forgotten = 0;
            self.write_untold();
        }
    }

    /// This run has taken in so many reads. To be called before any of them is told to the gateway: what a run told
    /// is never more than what it leaves.
    pub fn note(&mut self, reads: u64, now: Uptime) {
        if let Some(run) = self.run
            && (run.reads != reads || now.since(run.uptime) >= NOTE_MS)
        {
            self.write_tally(Run { reads, uptime: now, ..run });
        }
    }

    fn write_tally(&mut self, run: Run) {
        let ([r0, r1], [u0, u1]) = (narrow(run.reads), narrow(run.uptime.0));
        self.run = Some(run);
        self.tally.store(&mut self.ram, [run.boot, r0, r1, u0, u1]);
    }

    fn write_untold(&mut self) {
        let mut said = [0; UNTOLD];
        (said[0], said[1]) = (self.forgotten, u32::try_from(self.runs.len()).expect("a few"));
        for (to, run) in said[2..].as_chunks_mut().0.iter_mut().zip(&self.runs) {
            *to = run.words();
        }
        self.untold.store(&mut self.ram, said);
    }
}

/// Leaves the last words of the run that is in the tally: for who must do without a [`Past`], because it panics. What
/// is longer than [`MAX_WORDS`] bytes is cut.
pub fn leave_words<R: Ram>(ram: &mut R, words: &str) {
    let Some([boot, ..]) = Turn::<TALLY>::new(TALLY_AT, TALLY_MAGIC).load(ram) else { return };
    let mut said = [0; WORDS];
    let length = words.floor_char_boundary(MAX_WORDS.min(words.len()));
    (said[0], said[1]) = (boot, u32::try_from(length).expect("short"));
    for (to, four) in said[2..].iter_mut().zip(words.as_bytes()[..length].chunks(4)) {
        let mut word = [0; 4];
        word[..four.len()].copy_from_slice(four);
        *to = u32::from_le_bytes(word);
    }
    write_copy(ram, WORDS_AT, WORDS_MAGIC, 0, &said);
}

fn words_in<R: Ram>(ram: &R) -> Option<Words> {
    let (_, [boot, length, said @ ..]) = copy::<WORDS, R>(ram, WORDS_AT, WORDS_MAGIC)?;
    let bytes = said.iter().flat_map(|word| word.to_le_bytes());
    Some(Words { boot, text: bytes.take(MAX_WORDS.min(length as usize)).collect() })
}

fn text(bytes: &[u8]) -> &str {
    // They were UTF-8, or the CRC would not match.
    core::str::from_utf8(bytes).unwrap_or_default()
}

impl Run {
    fn of(&[boot, r0, r1, u0, u1, reason]: &[u32; RUN]) -> Self {
        let reason = REASONS.get(reason as usize).copied().unwrap_or(BootReason::Unknown);
        Self { boot, reads: wide(r0, r1), uptime: Uptime(wide(u0, u1)), reason }
    }

    fn words(&self) -> [u32; RUN] {
        let ([r0, r1], [u0, u1]) = (narrow(self.reads), narrow(self.uptime.0));
        let reason = REASONS.iter().position(|reason| *reason == self.reason).unwrap_or(0);
        [self.boot, r0, r1, u0, u1, u32::try_from(reason).expect("a few")]
    }
}

/// Two copies of `N` words, of which the later counts.
#[derive(Clone, Copy, Debug)]
struct Turn<const N: usize> {
    at: [usize; 2],
    magic: u32,
    generation: u32,
    /// The one that counts.
    counts: usize,
}

impl<const N: usize> Turn<N> {
    const fn new(at: usize, magic: u32) -> Self {
        Self { at: [at, at + N + AROUND], magic, generation: 0, counts: 0 }
    }

    fn load<R: Ram>(&mut self, ram: &R) -> Option<[u32; N]> {
        let copies = self.at.map(|at| copy::<N, R>(ram, at, self.magic));
        self.counts = match copies {
            [Some((first, _)), Some((second, _))] => usize::from(second.wrapping_sub(first) < 1 << 31),
            [_, second] => usize::from(second.is_some()),
        };
        let (generation, said) = copies[self.counts]?;
        self.generation = generation;
        Some(said)
    }

    fn store<R: Ram>(&mut self, ram: &mut R, said: [u32; N]) {
        self.generation = self.generation.wrapping_add(1);
        self.counts = 1 - self.counts;
        write_copy(ram, self.at[self.counts], self.magic, self.generation, &said);
    }
}

/// The generation and the words of a copy that is whole.
fn copy<const N: usize, R: Ram>(ram: &R, at: usize, magic: u32) -> Option<(u32, [u32; N])> {
    let generation = ram.load(at + 1);
    let said = core::array::from_fn(|n| ram.load(at + 2 + n));
    let whole = ram.load(at) == magic && ram.load(at + 2 + N) == checksum(magic, generation, &said);
    whole.then_some((generation, said))
}

fn write_copy<R: Ram>(ram: &mut R, at: usize, magic: u32, generation: u32, said: &[u32]) {
    ram.store(at, 0);
    ram.store(at + 1, generation);
    for (n, word) in said.iter().enumerate() {
        ram.store(at + 2 + n, *word);
    }
    ram.store(at + 2 + said.len(), checksum(magic, generation, said));
    ram.store(at, magic);
}

fn checksum(magic: u32, generation: u32, said: &[u32]) -> u32 {
    let mut digest = CRC.digest();
    for word in [magic, generation].iter().chain(said) {
        digest.update(&word.to_le_bytes());
    }
    digest.finalize()
}

fn wide(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn narrow(number: u64) -> [u32; 2] {
    // Both halves fit.
    [number as u32, (number >> 32) as u32]
}

/// A few bytes at a time: without a table.
const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISCSI);

/// How old the uptime of a run that reads nothing may get, in milliseconds.
const NOTE_MS: u64 = 1_000;
/// Runs that are remembered until the gateway was told of them. A gateway must know one more run of a node.
const RUNS: usize = 3;
const REASONS: [BootReason; 8] = [
    BootReason::Unknown,
    BootReason::Power,
    BootReason::BrownOut,
    BootReason::Pin,
    BootReason::Software,
    BootReason::Watchdog,
    BootReason::Panic,
    BootReason::Update,
];

/// Words of a copy beside what it says.
const AROUND: usize = 3;
const RUN: usize = 6;
const TALLY: usize = 5;
const UNTOLD: usize = 2 + RUNS * RUN;
const WORDS: usize = 2 + MAX_WORDS / 4;
const TALLY_AT: usize = 0;
const UNTOLD_AT: usize = TALLY_AT + 2 * (TALLY + AROUND);
const WORDS_AT: usize = UNTOLD_AT + 2 * (UNTOLD + AROUND);
const TALLY_MAGIC: u32 = 0x4a6e_0405;
const UNTOLD_MAGIC: u32 = 0x4a6e_0406;
const WORDS_MAGIC: u32 = 0x4a6e_0407;
/// So many words a node must give.
pub const RAM_WORDS: usize = WORDS_AT + WORDS + AROUND;

#[cfg(test)]
mod tests;

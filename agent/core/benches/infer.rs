//! How fast one core turns bytes into reads and reads into events, and what a garment takes in memory.
//! Enters: nothing. Leaves: lines `name value unit`, the median of some repeats each.
//!
//! A shop with 32 readers, whose antennas look at a rail or a booth each. Every garment hangs at one antenna
//! and all are read in turn, so that in half a second as many change as reads come: the worst there is for
//! a given number of reads. Time passes as fast as 32 serial lines at 921,600 baud could deliver the shortest
//! frames, so that ticks cost what they would then.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crc::{CRC_16_GENIBUS, Crc};
use hangtag_agent_core::infer::{Inference, Layout, Learned, Zone, ZoneKind};
use hangtag_agent_core::intake::{Radio, Region, Session, Settings};
use hangtag_protocol::clock::{BootId, Uptime};
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::ReaderState;
use hangtag_protocol::id::{ReaderId, Seq, ZoneId};
use hangtag_protocol::read::Read;

const LINES: usize = 32;
/// Bytes that a line delivers in a second at 921,600 baud: ten bits each.
const LINE_BYTES: u64 = 92_160;
/// Bytes of the shortest frame that holds a read: an R200's with an EPC of 96 bits.
const FRAME: usize = 24;
/// Reads that all lines deliver in a second at most.
const LINES_READS: u64 = LINES as u64 * LINE_BYTES / FRAME as u64;
const REPEATS: usize = 5;
const READS: usize = 1_000_000;

fn main() {
    println!("lines_deliver {LINES_READS} reads/s");
    // First, and kept: what an earlier measure gave back to the allocator would not be counted again.
    let kept = [20_000, 100_000].map(memory);
    kept.iter().for_each(|(_, shop)| learned(shop));
    decode();
    for tags in [1_000, 20_000, 100_000] {
        infer(tags);
    }
    infer_few_of(100_000, 1_000);
    drop(kept);
}

/// Bytes of R200 frames to reads.
fn decode() {
    let stream: Vec<u8> = (0..10_000).flat_map(frame).collect();
    let rate = median(|| {
        let radio = Radio { region: Region::Eu, power_cdbm: 2_600, antennas: vec![1] };
        let mut session = Session::listening(&Settings::R200(radio), Uptime(0));
        let (start, mut reads) = (on_core(), 0);
        for round in 0..READS / 10_000 {
            for chunk in stream.chunks(512) {
                session.handle_bytes(chunk, Uptime(round as u64));
                while let Some(read) = session.poll_read() {
                    black_box(read);
                    reads += 1;
                }
            }
        }
        assert_eq!(reads, READS);
        reads as f64 / (on_core() - start).as_secs_f64()
    });
    println!("decode {rate:.0} reads/s");
}

/// Reads to events, with so many garments known.
fn infer(tags: usize) {
    let reads: Vec<Read> = (0..tags).map(read).collect();
    let mut shop = Shop::open();
    // Until all are known, and at rest as far as they are read often enough.
    shop.run(&reads, (tags * 12).max(READS));
    let mut events = 0;
    let rate = median(|| {
        let start = on_core();
        events += shop.run(&reads, READS);
        READS as f64 / (on_core() - start).as_secs_f64()
    });
    assert_eq!(shop.inference.tags(), tags);
    println!("infer_{tags}_tags {rate:.0} reads/s");
    println!("infer_{tags}_tags_lines {:.1} times what 32 lines deliver", rate / LINES_READS as f64);
    black_box(events);
}

/// Reads to events, when most of the known garments have not been heard for long.
fn infer_few_of(tags: usize, heard: usize) {
    let reads: Vec<Read> = (0..tags).map(read).collect();
    let mut shop = Shop::open();
    shop.run(&reads, tags * 12);
    // A minute, after which the others are known to be gone.
    shop.run(&reads[..heard], 60 * LINES_READS as usize);
    let rate = median(|| {
        let start = on_core();
        black_box(shop.run(&reads[..heard], READS));
        READS as f64 / (on_core() - start).as_secs_f64()
    });
    assert_eq!(shop.inference.tags(), tags);
    println!("infer_{heard}_of_{tags}_tags {rate:.0} reads/s");
}

/// What a garment at rest takes, as the kernel counts it.
fn memory(tags: usize) -> (Vec<Read>, Shop) {
    let reads: Vec<Read> = (0..tags).map(read).collect();
    let before = resident();
    let mut shop = Shop::open();
    shop.run(&reads, tags * 30);
    let bytes = resident().saturating_sub(before) as f64 / tags as f64;
    assert_eq!(shop.inference.tags(), tags);
    println!("memory_{tags}_tags {bytes:.0} bytes/tag");
    (reads, shop)
}

/// What is kept of garments at rest over a restart: how large, how long a slice of 512 holds reads up, and how
/// long it takes to be read again.
fn learned(shop: &Shop) {
    let (mut writing, mut longest, begin) =
        (shop.inference.begin_learned("bench"), Duration::ZERO, Instant::now());
    loop {
        let start = Instant::now();
        let done = shop.inference.write_learned(&mut writing, 512, Uptime(0));
        longest = longest.max(start.elapsed());
        if done {
            break;
        }
    }
    let bytes = writing.finish();
    let (tags, whole) = (shop.inference.tags(), begin.elapsed());
    println!("learned_{tags}_tags {:.1} bytes/tag", bytes.len() as f64 / tags as f64);
    println!("learned_{tags}_tags_slice {} us at most, all {} us", longest.as_micros(), whole.as_micros());
    let start = on_core();
    assert_eq!(Shop::open().inference.remember(&Learned::read(&bytes).expect("just written")), tags);
    println!("learned_{tags}_tags_read {} us", (on_core() - start).as_micros());
}

struct Shop {
    inference: Inference,
    read: u64,
}

impl Shop {
    fn open() -> Self {
        let zone = |n: usize| ZoneId::new(&format!("zone-{n}")).expect("a good name");
        let kind = |n| if n % 4 == 3 { ZoneKind::Booth } else { ZoneKind::Rail };
        let zones = (0..LINES).map(|n| Zone { id: zone(n), kind: kind(n) });
        let mut layout = Layout::new(zones.collect());
        for n in 0..LINES {
            let id = ReaderId::new(&format!("reader-{n}")).expect("a good name");
            layout.add_reader(id, &[(1, zone(n))]).expect("the zone is there");
        }
        let mut inference = Inference::new(layout, BootId(1), Seq(1), Uptime(0));
        (0..LINES).for_each(|reader| inference.handle_reader(reader, ReaderState::Listening, Uptime(0)));
        Self { inference, read: 0 }
    }

    /// Reads all garments in turn, so many reads in all. Returns how many events came of it.
    fn run(&mut self, reads: &[Read], count: usize) -> usize {
        let mut events = 0;
        for _ in 0..count {
            let tag = (self.read % reads.len() as u64) as usize;
            let at = Uptime(self.read * 1_000 / LINES_READS);
            // A dB up and down.
            let rssi_cdbm = reads[tag].rssi_cdbm + (self.read * 7 % 3) as i16 * 100;
            self.inference.handle_timeout(at);
            self.inference.handle_read(tag % LINES, &Read { at, rssi_cdbm, ..reads[tag] });
            while self.inference.poll_event().is_some() {
                events += 1;
            }
            self.read += 1;
        }
        events
    }
}

fn read(tag: usize) -> Read {
    Read {
        at: Uptime(0),
        epc: Epc::new(&epc(tag)).expect("twelve bytes"),
        antenna: 1,
        rssi_cdbm: -6_000,
        phase_ddeg: tag.is_multiple_of(2).then_some((tag % 1_800) as u16),
        channel_khz: tag.is_multiple_of(2).then_some(866_300),
    }
}

fn epc(tag: usize) -> [u8; 12] {
    let mut epc = [0x30, 0x36, 0x45, 0x1f, 0xd4, 0x09, 0xc4, 0, 0, 0, 0, 0];
    epc[4..].copy_from_slice(&(tag as u64).to_be_bytes());
    epc
}

/// A tag notice as an R200 sends it.
fn frame(tag: usize) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    frame[..8].copy_from_slice(&[0xbb, 0x02, 0x22, 0x00, 0x11, 0xc9, 0x30, 0x00]);
    frame[8..20].copy_from_slice(&epc(tag));
    let crc = Crc::<u16>::new(&CRC_16_GENIBUS).checksum(&frame[6..20]);
    frame[20..22].copy_from_slice(&crc.to_be_bytes());
    frame[22] = frame[1..22].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    frame[23] = 0x7e;
    frame
}

/// For how long this thread has run on a core: what others do on the machine does not count.
fn on_core() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    let nanoseconds = told.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("the first number"))
}

fn median(mut measure: impl FnMut() -> f64) -> f64 {
    let mut values: Vec<f64> = (0..REPEATS).map(|_| measure()).collect();
    values.sort_by(f64::total_cmp);
    values[REPEATS / 2]
}

/// Bytes of this process in memory: the allocator's own needs count too.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux tells it");
    let pages = status.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("the second number") * 4_096
}

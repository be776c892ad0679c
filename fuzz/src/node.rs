//! The node link, and both of its ends. Enters: a script whose framed payloads are kind(1), boot(1), number(1),
//! payload. Leaves: a panic if it matters how bytes are cut, a frame that was read is not written as it was, a frame
//! is taken twice, a good one is not found behind garbage, or a node sends what is no frame.

use hangtag_agent_core::intake::node::{Link, Marks, Settings, Taken, Thresholds};
use hangtag_agent_core::intake::{Radio, Region};
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::link::command::{Ack, Query};
use hangtag_protocol::link::message::{BootReason, Condensed, Firmware, Health, Hello, NodeId};
use hangtag_protocol::link::sender::{Identity, Told};
use hangtag_protocol::link::{Deframer, Frame, Kind, MAX_PAYLOAD, Sender};
use hangtag_protocol::read::Read;

use crate::script::{Piece, Script};

/// A line of a node of which no script speaks.
const LAST: (NodeId, u32) = (NodeId(0xF00D_F00D_F00D_F00D), 0xDEAD_BEEF);
const FROZEN: &str = include_str!("../../protocol/tests/wire/link-v1.tsv");

/// What is read from the line is written as it was, however it was cut.
///
/// # Panics
/// When a property does not hold.
pub fn frames(bytes: &[u8]) {
    let line = line(bytes);
    let whole = deframe(line.chunks(line.len().max(1)));
    assert_eq!(deframe(line.chunks(1)), whole);
    assert_eq!(deframe(line.chunks(7)), whole);
    assert!(whole.1 <= line.len() as u64, "more garbage than bytes");
    for frame in whole.0.iter().flatten() {
        let mut again = Vec::new();
        let frame = Frame { payload: &frame.3, kind: frame.0, boot: frame.1, number: frame.2 };
        Deframer::new().handle_bytes(&frame.encode(), |read| again.push(read.map(owned)));
        assert_eq!(again, [Ok(owned(frame))]);
    }
}

/// The gateway's end.
///
/// # Panics
/// When a property does not hold.
pub fn gateway(bytes: &[u8]) {
    let script = script(bytes);
    let as_written = play(&script, usize::MAX);
    assert_eq!(play(&script, 1), as_written);
    assert_eq!(play(&script, 64), as_written);
}

/// The node's end.
///
/// # Panics
/// When a property does not hold.
pub fn sender(bytes: &[u8]) {
    const SENT: usize = 700;
    const WAITING: usize = 400;
    let script = script(bytes);
    let firmware = Firmware { major: 1, minor: 2, patch: 3 };
    let (mut now, boot) = (Uptime(10), 2);
    let mut node = Sender::<SENT, WAITING>::new(
        Identity { node: NodeId(1), firmware, reason: BootReason::Power, boot },
        now,
    );
    let (mut ears, mut next) = (Deframer::new(), 1);
    for (number, piece) in script.pieces.iter().enumerate() {
        match piece {
            Piece::Pause(ms) => now = now + *ms,
            Piece::Bytes(bytes) => ears.handle_bytes(bytes, |frame| {
                let Ok(frame) = frame else { return };
                match Kind::of(frame.kind) {
                    Some(Kind::Ack) => {
                        frame
                            .message::<Ack>()
                            .into_iter()
                            .for_each(|ack| node.handle_ack(frame.boot, ack, now));
                    }
                    Some(Kind::Query) => match frame.message() {
                        Ok(Query::Clock { asked }) => node.handle_query_clock(asked),
                        Ok(Query::Hello | Query::Health) | Err(_) => node.handle_query_hello(now),
                    },
                    _ => {}
                }
            }),
        }
        node.handle_told(&Told::Read(read(number as u32, now)), now);
        let mut transmitted = 0;
        while let Some(wire) = node.poll_transmit(now) {
            transmitted += 1;
            assert!(transmitted < 1_000, "it transmits for ever");
            let mut heard = Vec::new();
            Deframer::new().handle_bytes(&wire, |frame| heard.push(frame.map(owned)));
            let [Ok((kind, of, number, _))] = &heard[..] else { panic!("{heard:?} is no frame") };
            assert_eq!(*of, boot);
            // What was sent is sent again, and what is new has the next number.
            assert!(
                (1..=next).contains(number) || [Kind::Hello.byte(), Kind::Clock.byte()].contains(kind),
                "number {number} after {next}"
            );
            next += u32::from(*number == next);
        }
        assert!(node.waiting() <= SENT + WAITING, "{} bytes wait", node.waiting());
    }
}

/// The frozen frames, as they are and around their payloads.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let wires = FROZEN.lines().filter_map(|line| hex::decode(line.split('\t').nth(1)?).ok());
    let wires: Vec<Vec<u8>> = wires.collect();
    let mut seeds: Vec<Vec<u8>> = wires.iter().map(|wire| Script::of_bytes(0, &[wire])).collect();
    let mut payloads = Vec::new();
    for wire in &wires {
        Deframer::new().handle_bytes(wire, |frame| {
            let Ok(frame) = frame else { return };
            let number = u8::try_from(frame.number).unwrap_or(1);
            payloads.push([&[frame.kind, 2, number], frame.payload].concat());
        });
    }
    seeds.extend(payloads.iter().map(|payload| Script::of_payloads(0, &[payload])));
    seeds.push(Script::of_payloads(0, &payloads.iter().map(Vec::as_slice).collect::<Vec<_>>()));
    seeds.push(Script::of_bytes(0, &wires.iter().map(Vec::as_slice).collect::<Vec<_>>()));
    for received in 1..4 {
        let ack = Ack { durable: 1, received, window: 8, gap: received == 2 };
        let payload = postcard::to_allocvec(&ack).expect("numbers encode");
        let pieces = [&[Kind::Ack.byte(), 2, 0], &payload[..]].concat();
        seeds.push(Script::of_payloads(0, &[&pieces, &pieces]));
    }
    seeds
}

fn script(bytes: &[u8]) -> Script {
    Script::new(bytes, sealed, &[])
}

/// Everything that a script puts on the line.
fn line(bytes: &[u8]) -> Vec<u8> {
    let pieces = script(bytes).pieces.into_iter();
    pieces.flat_map(|piece| if let Piece::Bytes(bytes) = piece { bytes } else { Vec::new() }).collect()
}

pub(crate) fn sealed(payload: &[u8]) -> Vec<u8> {
    let [kind, boot, number, payload @ ..] = payload else { return payload.to_vec() };
    let payload = &payload[..payload.len().min(MAX_PAYLOAD)];
    Frame { kind: *kind, boot: u32::from(*boot), number: u32::from(*number), payload }.encode().to_vec()
}

/// Kind, boot, number, payload.
type Owned = (u8, u32, u32, Vec<u8>);

fn owned(frame: Frame<'_>) -> Owned {
    (frame.kind, frame.boot, frame.number, frame.payload.to_vec())
}

/// The frames of a line, and how much of it was garbage.
fn deframe<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Option<Owned>>, u64) {
    let (mut deframer, mut frames) = (Deframer::new(), Vec::new());
    chunks.for_each(|chunk| deframer.handle_bytes(chunk, |frame| frames.push(frame.ok().map(owned))));
    (frames, deframer.garbage())
}

/// What a gateway made of a script that came in chunks of so many bytes: what it took, what it noticed, garbage.
fn play(script: &Script, chunk: usize) -> (Vec<Taken>, Vec<String>, u64) {
    let radio = Radio { region: Region::Eu, power_cdbm: 2_000, antennas: vec![1, 16] };
    let settings = Settings { radio, thresholds: Thresholds::default(), occupied: None };
    let mut now = Uptime(1_000_000);
    let (mut link, mut marks, mut durable) =
        (Link::new(Some(&settings), now), Marks::default(), Marks::default());
    let (mut all, mut notices) = (Vec::new(), Vec::new());
    for piece in &script.pieces {
        match piece {
            Piece::Bytes(bytes) => {
                for bytes in bytes.chunks(chunk.max(1)) {
                    link.handle_bytes(bytes, &marks, &durable, now);
                    take(&mut link, &mut marks, &mut all);
                }
            }
            Piece::Pause(ms) => {
                // What was taken becomes durable while time passes.
                durable = marks.clone();
                link.handle_durable(&durable, now);
                now = now + *ms;
                link.handle_timeout(now);
                while link.poll_write().is_some() {}
                assert!(link.poll_timeout().is_none_or(|due| due > now), "something is due for ever");
            }
        }
        take(&mut link, &mut marks, &mut all);
        notices.extend(std::iter::from_fn(|| link.poll_notice()).map(|notice| format!("{notice:?}")));
        // How often something is said depends on how often it is asked what is to be said.
        while link.poll_write().is_some() {}
    }
    assert!(link.garbage() <= script.bytes() as u64 + 1, "more garbage than bytes");
    let garbage = link.garbage();
    find_good(&mut link, marks, &durable, now);
    (all, notices, garbage)
}

fn take(link: &mut Link, marks: &mut Marks, all: &mut Vec<Taken>) {
    while let Some(taken) = link.poll_taken() {
        let before = marks.of(taken.mark.node, taken.mark.boot);
        assert!(before.is_none_or(|before| before.below < taken.mark.below), "taken twice: {taken:?}");
        marks.take(&taken);
        all.push(taken);
    }
}

/// Behind whatever came before, a node that introduces itself is heard, and each of its frames is taken once.
fn find_good(link: &mut Link, mut marks: Marks, durable: &Marks, now: Uptime) {
    let (node, boot) = LAST;
    let (firmware, reason, versions) = (Firmware::default(), BootReason::Pin, (1, 1));
    let hello = Hello { node, firmware, reason, uptime: now, versions, oldest: 5, next: 6, room: 1_000 };
    let health = Health { uptime: now, reader_listens: true, ..Health::default() };
    let mut said = Frame::of(Kind::Hello, boot, 0, &hello).to_vec();
    for number in [5, 5, 7, 6, 6, 5] {
        said.extend(Frame::of(Kind::Reads, boot, number, &read(number, now)));
        said.extend(Frame::of(Kind::Health, boot, 0, &health));
    }
    let mut all = Vec::new();
    link.handle_bytes(&said, &marks, durable, now);
    take(link, &mut marks, &mut all);
    // The first 00 may have ended a frame of somebody else.
    all.retain(|taken| (taken.mark.node, taken.mark.boot) == LAST);
    let below: Vec<u32> = all.iter().map(|taken| taken.mark.below).collect();
    assert_eq!(below, [6, 7], "frames of a good node behind garbage");
    assert!(all.iter().all(|taken| taken.reads.len() == 1 && taken.count == 1), "{all:?}");
}

fn read(number: u32, at: Uptime) -> Condensed {
    Condensed::single(&Read {
        at,
        epc: Epc::new(&number.to_be_bytes()).expect("an EPC"),
        antenna: 1,
        rssi_cdbm: -5_000,
        phase_ddeg: None,
        channel_khz: None,
    })
}

//! Bytes of one serial line to reads, and the commands that make a reader read.
//!
//! A [`Session`] is one conversation with a reader, from the opening of its port to its loss: it stops
//! a module that may still be streaming, sets it up step by step, starts it, and starts over when it
//! falls silent. Bytes that belong to no good frame are counted and skipped, one at a time, until a
//! good frame begins.
//!
//! | module | readers |
//! |---|---|
//! | `r200` | Magicrf R200, M100, YRM100 |
//! | `thingmagic` | ThingMagic Mercury, Silion |

pub mod session;

mod r200;
mod thingmagic;

use alloc::string::String;
use alloc::vec::Vec;

use hangtag_protocol::epc::Epc;
use serde::Deserialize;

pub use session::{Notice, Session};

/// Which language a reader speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Magicrf R200, M100, YRM100: one antenna, no phase, no time.
    R200,
    /// ThingMagic Mercury, Silion: up to 15 ports, phase, channel.
    ThingMagic,
}

/// Where the reader is, which decides the frequencies it may use. There is no default: a wrong one is
/// illegal somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Region {
    /// Europe: 865 to 868 MHz, ETSI EN 302 208.
    Eu,
    /// United States and Canada: 902 to 928 MHz, FCC part 15.
    Us,
    /// China: 920 to 925 MHz.
    China,
    /// Korea: 917 to 923.5 MHz.
    Korea,
    /// Japan: 916 to 921 MHz.
    Japan,
    /// India: 865 to 867 MHz.
    India,
    /// Australia: 920 to 926 MHz.
    Australia,
}

/// How a reader is to be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its language.
    pub protocol: Protocol,
    /// Where it is.
    pub region: Region,
    /// Transmit power in hundredths of a dBm.
    pub power_cdbm: u16,
    /// The antenna ports to use in turn, counted from 1.
    pub antennas: Vec<u8>,
}

/// Why a reader cannot be set up as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The module has no such region.
    #[error("region: readers of this protocol have no region {0:?}")]
    Region(Region),
    /// The power is out of range.
    #[error("power_dbm: {} dBm is out of range; 0 to 33 is possible", f32::from(*.0) / 100.0)]
    Power(u16),
    /// An antenna port that the module does not have.
    #[error("antenna: port {port} is out of range; readers of this protocol have ports 1 to {most}")]
    Antenna {
        /// The port.
        port: u8,
        /// The highest that exists.
        most: u8,
    },
}

impl Settings {
    /// Checks what does not depend on the reader that is really there.
    ///
    /// # Errors
    /// When the protocol's modules cannot do what is asked.
    pub fn check(&self) -> Result<(), SettingsError> {
        let (region, most) = match self.protocol {
            Protocol::R200 => (r200::region_code(self.region), 1),
            Protocol::ThingMagic => (thingmagic::region_code(self.region), 15),
        };
        region.ok_or(SettingsError::Region(self.region))?;
        if self.power_cdbm > 3_300 {
            return Err(SettingsError::Power(self.power_cdbm));
        }
        match self.antennas.iter().find(|port| !(1..=most).contains(*port)) {
            Some(&port) => Err(SettingsError::Antenna { port, most }),
            None => Ok(()),
        }
    }
}

/// One step of setting a reader up: a command, and the code that its answer will have.
#[derive(Clone, Debug)]
struct Step {
    name: &'static str,
    code: u8,
    bytes: Vec<u8>,
}

/// What stands at the start of the bytes that have not been understood yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scan {
    /// Maybe a frame, when more bytes come.
    More,
    /// A good frame of so many bytes.
    Frame(usize),
    /// No frame begins here.
    Garbage,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Message {
    /// A tag answered.
    Tag(Seen),
    /// A tag answered, but its data is damaged.
    BadTag,
    /// No tag answered: the reader is alive.
    Idle,
    /// A command was carried out.
    Answer { code: u8, module: Option<String> },
    /// A command was refused, or reading met a fault.
    Refused { code: u8, why: String },
    /// The reader reports a fault without saying to what.
    Fault(String),
}

/// What a reader says of a tag that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    epc: Epc,
    antenna: u8,
    rssi_cdbm: i16,
    phase_ddeg: Option<u16>,
    channel_khz: Option<u32>,
}

/// Bytes in any chunks to messages.
#[derive(Debug)]
struct Decoder {
    protocol: Protocol,
    // Never grows beyond the longest frame: bytes are understood or skipped as they come.
    pending: Vec<u8>,
    garbage: u64,
}

impl Decoder {
    fn new(protocol: Protocol) -> Self {
        Self { protocol, pending: Vec::new(), garbage: 0 }
    }

    fn handle_bytes(&mut self, bytes: &[u8], mut on_message: impl FnMut(Message)) {
        self.pending.extend_from_slice(bytes);
        let mut start = 0;
        while start < self.pending.len() {
            let rest = &self.pending[start..];
            let scan = match self.protocol {
                Protocol::R200 => r200::scan(rest),
                Protocol::ThingMagic => thingmagic::scan(rest),
            };
            match scan {
                Scan::More => break,
                Scan::Garbage => {
                    start += 1;
                    self.garbage += 1;
                }
                Scan::Frame(length) => {
                    let message = match self.protocol {
                        Protocol::R200 => r200::message(&rest[..length]),
                        Protocol::ThingMagic => thingmagic::message(&rest[..length]),
                    };
                    message.into_iter().for_each(&mut on_message);
                    start += length;
                }
            }
        }
        self.pending.drain(..start);
    }

    /// Gives up waiting for the rest of a frame: its first byte was garbage after all.
    fn skip(&mut self, on_message: impl FnMut(Message)) {
        if !self.pending.is_empty() {
            self.pending.remove(0);
            self.garbage += 1;
            self.handle_bytes(&[], on_message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The frames of both protocols that public sources print, with what must become of each.
    const FRAMES: &str = include_str!("../../tests/frames.tsv");

    fn decode(protocol: Protocol, chunks: &[&[u8]]) -> (Vec<Message>, u64) {
        let mut decoder = Decoder::new(protocol);
        let mut messages = Vec::new();
        for chunk in chunks {
            decoder.handle_bytes(chunk, |message| messages.push(message));
        }
        (messages, decoder.garbage + decoder.pending.len() as u64)
    }

    fn frames() -> impl Iterator<Item = (Protocol, &'static str, Vec<u8>, &'static str)> {
        FRAMES.lines().skip(1).map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let protocol = match fields[0] {
                "r200" => Protocol::R200,
                "thingmagic" => Protocol::ThingMagic,
                other => panic!("unknown protocol {other}"),
            };
            (protocol, fields[1], hex::decode(fields[2]).unwrap(), fields[3])
        })
    }

    #[test]
    fn published_replies_are_decoded_or_refused() {
        let mut counted = 0;
        for (protocol, direction, bytes, expect) in frames().filter(|frame| frame.1 == "rx") {
            let (messages, garbage) = decode(protocol, &[&bytes]);
            match expect {
                "valid" => assert!(
                    garbage == 0 && messages.len() == 1 && messages[0] != Message::BadTag,
                    "{bytes:02x?}"
                ),
                "valid-frame-bad-tag" => assert_eq!((messages, garbage), (alloc::vec![Message::BadTag], 0)),
                "invalid" => assert!(messages.is_empty() && garbage > 0, "{bytes:02x?}"),
                other => panic!("{direction}: unknown expectation {other}"),
            }
            counted += 1;
        }
        assert_eq!(counted, 15);
    }

    #[test]
    fn published_commands_are_the_ones_that_are_sent() {
        let ours = |protocol, region, power_cdbm| {
            let settings = Settings { protocol, region, power_cdbm, antennas: alloc::vec![1] };
            match protocol {
                Protocol::R200 => r200::steps(&settings),
                Protocol::ThingMagic => thingmagic::steps(&settings),
            }
            .into_iter()
            .map(|step| hex::encode(step.bytes))
            .collect::<Vec<_>>()
        };
        let (r200, thingmagic) =
            (ours(Protocol::R200, Region::Eu, 2_000), ours(Protocol::ThingMagic, Region::Us, 2_000));
        let published = |hex: &str| frames().any(|frame| frame.1 == "tx" && hex::encode(&frame.2) == hex);
        for (name, sent) in [
            ("stop", &r200[0]),
            ("information", &r200[1]),
            ("power", &r200[3]),
            ("stop", &thingmagic[0]),
            ("version", &thingmagic[1]),
            ("region", &thingmagic[2]),
            ("protocol", &thingmagic[3]),
            ("power", &thingmagic[5]),
            ("start", &thingmagic[7]),
        ] {
            assert!(published(sent), "{name}: {sent}");
        }
    }

    #[test]
    fn tags_carry_what_the_reader_said() {
        let tag = |protocol, text: &str| match decode(protocol, &[&hex::decode(text).unwrap()]).0.pop() {
            Some(Message::Tag(seen)) => seen,
            other => panic!("{other:?}"),
        };
        let seen = tag(Protocol::R200, "bb02220011c9340030751feb705c5904e3d50d703a76ef7e");
        assert_eq!(seen.epc, Epc::from_hex("30751feb705c5904e3d50d70").unwrap());
        assert_eq!((seen.rssi_cdbm, seen.antenna, seen.phase_ddeg), (-5_500, 1, None));
        let seen = tag(
            Protocol::ThingMagic,
            "ff2822000010001b01ff0101c4110e16400000012700000500000f00803000000000000000000000001545e94a561d",
        );
        assert_eq!(seen.epc, Epc::from_hex("000000000000000000001545").unwrap());
        assert_eq!((seen.rssi_cdbm, seen.antenna), (-6_000, 1));
        assert_eq!((seen.phase_ddeg, seen.channel_khz), (Some(0), Some(923_200)));
    }

    #[test]
    fn modules_say_what_they_are() {
        let module = |text: &str| match decode(Protocol::ThingMagic, &[&hex::decode(text).unwrap()]).0.pop() {
            Some(Message::Answer { module, .. }) => module.unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            module("ff140300002301060038000201202409130201060800000010cb65"),
            "ThingMagic hardware 38.00.02.01 firmware 02.01.06.08 of 2024-09-13"
        );
        assert!(module("ff14030000220211003102000020230312230312000000001051e2").starts_with("Silion"));
    }

    /// Good replies of a protocol with garbage between them.
    fn noisy(protocol: Protocol) -> impl Strategy<Value = (Vec<u8>, usize)> {
        let good: Vec<Vec<u8>> = frames()
            .filter(|(p, direction, _, expect)| *p == protocol && *direction == "rx" && *expect == "valid")
            .map(|frame| frame.2)
            .collect();
        let piece = prop_oneof![
            prop::sample::select(good).prop_map(|frame| (frame, 1)),
            // Bytes that begin no frame of either protocol.
            prop::collection::vec(0x01u8..0x80, 0..20).prop_map(|garbage| (garbage, 0)),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| {
            let frames = pieces.iter().map(|piece| piece.1).sum();
            (pieces.into_iter().flat_map(|piece| piece.0).collect(), frames)
        })
    }

    proptest! {
        #[test]
        fn any_chunking_decodes_alike(
            (bytes, frames) in prop_oneof![noisy(Protocol::R200), noisy(Protocol::ThingMagic)],
            cuts in prop::collection::vec(0usize..400, 0..20),
        ) {
            for protocol in [Protocol::R200, Protocol::ThingMagic] {
                let whole = decode(protocol, &[&bytes]);
                let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
                cuts.extend([0, bytes.len()]);
                cuts.sort_unstable();
                let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
                prop_assert_eq!(&decode(protocol, &chunks), &whole);
                prop_assert!(whole.0.len() <= frames);
            }
            let found = [Protocol::R200, Protocol::ThingMagic].map(|p| decode(p, &[&bytes]).0.len());
            prop_assert_eq!(found[0].max(found[1]), frames, "every good frame is found again after garbage");
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            for protocol in [Protocol::R200, Protocol::ThingMagic] {
                let mut decoder = Decoder::new(protocol);
                for chunk in bytes.chunks(7) {
                    decoder.handle_bytes(chunk, |_| ());
                    prop_assert!(decoder.pending.len() <= 262, "bounded");
                }
                for _ in 0..300 { decoder.skip(|_| ()); }
                prop_assert!(decoder.pending.is_empty());
            }
        }
    }
}

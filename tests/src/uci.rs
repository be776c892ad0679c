//! Recordings of a real tag worn by real people (UCI data set 427), as a ThingMagic reader would have
//! sent them. Enters: a trial's file. Leaves: sightings of one tag. The recording says nothing of
//! garments: it is good for worn and carried against still, for changes of antenna, for missed reads.
//!
//! Columns: seconds, three accelerations, antenna, RSSI in dBm, phase in radians, MHz, label. The
//! accelerations stay unused: tags on garments measure none.

use hangtag_protocol::epc::Epc;

use crate::shop::Sighting;
use crate::shop::stock::recording_epc;

/// One person's trial.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The tag, different for each trial.
    pub epc: Epc,
    /// What was read, in the order of time.
    pub reads: Vec<LabelledSighting>,
}

/// A read and what the person did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelledSighting {
    /// The read; its reader is 0.
    pub sighting: Sighting,
    /// What the person did.
    pub label: Label,
}

/// What a person did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Sat on a bed.
    SitOnBed,
    /// Sat on a chair.
    SitOnChair,
    /// Lay.
    Lie,
    /// Walked about.
    Walk,
}

/// Why a file is not a trial.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct TrialError {
    /// The file's name.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with the line.
    pub what: String,
}

impl Trial {
    /// Reads a trial. `number` tells its tag from those of other trials; `file` is only for the
    /// error's text.
    ///
    /// # Errors
    /// At the first line that is not a read, or that is earlier than the one before.
    pub fn parse(file: &str, number: u64, text: &str) -> Result<Self, TrialError> {
        let epc = recording_epc(number);
        let mut reads: Vec<LabelledSighting> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let error = |what| TrialError { file: file.into(), line: at + 1, what };
            let read = parse_line(line, epc).map_err(error)?;
            if reads.last().is_some_and(|last| last.sighting.at_ms > read.sighting.at_ms) {
                return Err(error(format!("{} ms is earlier than the line before", read.sighting.at_ms)));
            }
            reads.push(read);
        }
        if reads.is_empty() {
            return Err(TrialError { file: file.into(), line: 1, what: "holds no reads".into() });
        }
        Ok(Self { epc, reads })
    }

    /// The reads without their labels.
    #[must_use]
    pub fn sightings(&self) -> Vec<Sighting> {
        self.reads.iter().map(|read| read.sighting).collect()
    }

    /// How long it lasts in milliseconds.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        self.reads.last().map_or(0, |read| read.sighting.at_ms)
    }
}

/// The number in a trial's file name: 1 for `d1p01M`. 0 when it has none.
#[must_use]
pub fn trial_number(file_name: &str) -> u64 {
    let digits = file_name.trim_start_matches("d1p");
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

fn parse_line(line: &str, epc: Epc) -> Result<LabelledSighting, String> {
    let fields: Vec<&str> = line.trim().split(',').collect();
    let &[seconds, _, _, _, antenna, rssi, phase, mhz, label] = fields.as_slice() else {
        return Err(format!("has {} columns, not 9", fields.len()));
    };
    let seconds = number("time", seconds, 0.0, 1e6)?;
    let antenna = number("antenna", antenna, 1.0, 4.0)?;
    let rssi_dbm = number("RSSI", rssi, -90.0, -20.0)?;
    let phase_rad = number("phase", phase, 0.0, 6.3)?;
    let mhz = number("frequency", mhz, 860.0, 960.0)?;
    let label = match label {
        "1" => Label::SitOnBed,
        "2" => Label::SitOnChair,
        "3" => Label::Lie,
        "4" => Label::Walk,
        other => return Err(format!("label {other:?} is none of 1 to 4")),
    };
    let sighting = Sighting {
        at_ms: libm::round(seconds * 1000.0) as u64,
        reader: 0,
        antenna: antenna as u8,
        epc,
        rssi_cdbm: (rssi_dbm * 100.0) as i16,
        // The module tells no half turns apart.
        phase_ddeg: Some((phase_rad.to_degrees().rem_euclid(180.0) * 10.0) as u16 % 1800),
        channel_khz: libm::round(mhz * 1000.0) as u32,
    };
    Ok(LabelledSighting { sighting, label })
}

fn number(what: &str, text: &str, least: f64, most: f64) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{what} {text:?} is no number"))?;
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{what} {value} is outside {least} to {most}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture;
    use crate::shop::layout::Protocol;
    use hangtag_protocol::id::ReaderId;

    fn shipped(name: &str) -> Trial {
        let path = format!("{}/recordings/uci-427/{name}", env!("CARGO_MANIFEST_DIR"));
        Trial::parse(name, trial_number(name), &std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// EPC, antenna, RSSI, kHz, degrees and milliseconds of every tag message in a stream: written
    /// from the layout alone, checksums left to the emulator's own tests.
    fn tag_messages(mut stream: &[u8]) -> Vec<(String, u8, i8, u32, u16, u32)> {
        let mut messages = Vec::new();
        while let [0xff, length, 0x22, status, _, rest @ ..] = stream {
            let (data, after) = rest.split_at(usize::from(*length));
            if *status == 0 {
                let number = |range: std::ops::Range<usize>| {
                    data[range].iter().fold(0, |sum: u32, byte| sum << 8 | u32::from(*byte))
                };
                let epc = hex::encode(&data[26..data.len() - 2]);
                let degrees = u16::try_from(number(16..18)).unwrap();
                messages.push((
                    epc,
                    data[8] & 0x0f,
                    data[7].cast_signed(),
                    number(9..12),
                    degrees,
                    number(12..16),
                ));
            }
            stream = &after[2..];
        }
        assert!(stream.is_empty(), "nothing is left over");
        messages
    }

    #[test]
    fn shipped_trials_become_thingmagic_frames() {
        for (name, reads) in [("d1p02M", 260), ("d1p49F", 2_876)] {
            let trial = shipped(name);
            assert_eq!(trial.reads.len(), reads);
            assert!(trial.reads.iter().any(|read| read.label == Label::Walk));
            assert!(trial.duration_ms() <= 300_000);
            let mut text = Vec::new();
            let reader = ReaderId::new("uci").unwrap();
            capture::write_sightings(&mut text, reader, Protocol::ThingMagic, &trial.sightings()).unwrap();
            let chunks = capture::read("capture", std::str::from_utf8(&text).unwrap()).unwrap();
            let stream: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.clone()).collect();
            let messages = tag_messages(&stream);
            assert_eq!(messages.len(), reads);
            for (message, read) in messages.iter().zip(&trial.reads) {
                let s = &read.sighting;
                assert_eq!(message.0, s.epc.to_string());
                assert_eq!((message.1, message.3, u64::from(message.5)), (s.antenna, s.channel_khz, s.at_ms));
                assert!((f64::from(message.2) - f64::from(s.rssi_cdbm) / 100.0).abs() <= 0.5);
                assert!(message.4 <= 180);
            }
        }
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, error) in [
            ("0,0,0,0,1,-60,1,922.25,1\n1,0,0,0,9,-60,1,922.25,1", "t:2: antenna 9 is outside 1 to 4"),
            ("0,0,0,0,1,-60,1,922.25", "t:1: has 8 columns, not 9"),
            ("0,0,0,0,1,-60,1,922.25,7", "t:1: label \"7\" is none of 1 to 4"),
            (
                "2,0,0,0,1,-60,1,922.25,1\n1,0,0,0,1,-60,1,922.25,1",
                "t:2: 1000 ms is earlier than the line before",
            ),
            ("", "t:1: holds no reads"),
        ] {
            assert_eq!(Trial::parse("t", 1, text).unwrap_err().to_string(), error);
        }
    }
}

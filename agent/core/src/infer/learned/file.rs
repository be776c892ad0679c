//! What was learned, as bytes. Enters: antennas and garments. Leaves: the bytes of a file, and what such a file
//! says. Bytes that are no such file, or are damaged anywhere, are refused whole: a guess is worse than learning anew.
//!
//! ```text
//! "HANGTAGL"  version u8 (1)
//! postcard: of, antennas [(reader, port, zone)]            numbers below count in this list
//! postcard: EPC, hours unheard, home (antenna, reads in a hundred ticks) or none,
//!           tracks [(antenna, noise (mrad, steps), elsewhere (hundredths of a dBm, ticks) or none)]
//!           … once per garment
//! CRC-32C of everything before, little-endian
//! ```
//!
//! Readers and zones are stored by name, because the configuration may change between two runs.

use alloc::string::String;
use alloc::vec::Vec;

use hangtag_protocol::batch::CRC;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::id::{ReaderId, ZoneId};

use super::super::layout::Layout;
use super::super::track::{ELSEWHERE_TICKS, TICK_MS};
use super::{Habit, shown};

/// No file is longer, in bytes: as many garments as are followed, with the longest EPCs and four antennas each.
pub const MOST_BYTES: u64 = 32 << 20;

const MAGIC: &[u8; 8] = b"HANGTAGL";
const VERSION: u8 = 1;
const CRC_BYTES: usize = 4;

/// A reader, its port, and the zone before it.
pub(super) type Antenna = (ReaderId, u8, ZoneId);

/// Why bytes are not what was learned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LearnedError {
    /// They begin otherwise.
    #[error("it begins with \"{0}\", not with \"HANGTAGL\"")]
    Foreign(String),
    /// Another version of the program wrote them.
    #[error("it has version {0}; this program reads {VERSION}")]
    Version(u8),
    /// They are damaged or cut short.
    #[error("its checksum does not fit its {0} bytes: it is damaged or cut short")]
    Checksum(usize),
    /// Their checksum is right, and yet they do not decode.
    #[error("byte {at}: {why}")]
    Structure {
        /// Where, in bytes from the beginning.
        at: usize,
        /// Why.
        why: postcard::Error,
    },
}

/// What a file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    of: String,
    antennas: Vec<Antenna>,
    garments: Vec<(Epc, Habit)>,
}

/// What was learned of one zone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZoneLearned {
    /// The zone.
    pub zone: ZoneId,
    /// Garments that rest here.
    pub at_rest: usize,
    /// Garments that rest elsewhere, or nowhere, and are known to be heard here all the same.
    pub background: usize,
    /// The level in dBm that nine of ten of these do not exceed here.
    pub background_dbm: Option<f32>,
    /// Reads per second of all garments that rest here.
    pub reads_per_s: f32,
}

impl Learned {
    /// Reads a file.
    ///
    /// # Errors
    /// When the bytes are not what this version writes, whole and undamaged.
    pub fn read(bytes: &[u8]) -> Result<Self, LearnedError> {
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Err(LearnedError::Foreign(shown(&bytes[..bytes.len().min(MAGIC.len())])));
        };
        let Some((whole, crc)) = bytes.split_last_chunk::<CRC_BYTES>().filter(|_| rest.len() > CRC_BYTES)
        else {
            return Err(LearnedError::Checksum(bytes.len()));
        };
        // A newer version may have another checksum.
        if rest[0] != VERSION {
            return Err(LearnedError::Version(rest[0]));
        }
        if CRC.checksum(whole).to_le_bytes() != *crc {
            return Err(LearnedError::Checksum(bytes.len()));
        }
        let mut rest = &whole[MAGIC.len() + 1..];
        let broken = |rest: &[u8], why| LearnedError::Structure { at: whole.len() - rest.len(), why };
        let ((of, antennas), mut after) = postcard::take_from_bytes(rest).map_err(|why| broken(rest, why))?;
        let mut garments = Vec::new();
        while !after.is_empty() {
            rest = after;
            let garment;
            (garment, after) = postcard::take_from_bytes(rest).map_err(|why| broken(rest, why))?;
            garments.push(garment);
        }
        Ok(Self { of, antennas, garments })
    }

    /// Where it was learned.
    #[must_use]
    pub fn of(&self) -> &str {
        &self.of
    }

    /// Of how many garments there is something.
    #[must_use]
    pub fn tags(&self) -> usize {
        self.garments.len()
    }

    /// What was learned of each zone, in the order of the antennas.
    #[must_use]
    pub fn zones(&self) -> Vec<ZoneLearned> {
        let mut zones: Vec<ZoneLearned> = Vec::new();
        for &(_, _, zone) in &self.antennas {
            if !zones.iter().any(|known| known.zone == zone) {
                zones.push(self.zone(zone));
            }
        }
        zones
    }

    fn zone(&self, zone: ZoneId) -> ZoneLearned {
        let is_here = |antenna: u16| self.antennas.get(usize::from(antenna)).is_some_and(|a| a.2 == zone);
        let (mut at_rest, mut reads, mut levels) = (0, 0.0, Vec::new());
        for (_, habit) in &self.garments {
            match habit.home.filter(|home| is_here(home.antenna)) {
                Some(home) => {
                    at_rest += 1;
                    reads += f32::from(home.reads) / 100.0;
                }
                None => {
                    let heard = habit.heard.iter().filter(|heard| is_here(heard.antenna));
                    let known = heard.filter_map(|heard| heard.elsewhere);
                    let known = known.filter(|elsewhere| elsewhere.ticks >= ELSEWHERE_TICKS);
                    levels.extend(known.map(|elsewhere| f32::from(elsewhere.cdbm) / 100.0).reduce(f32::max));
                }
            }
        }
        levels.sort_unstable_by(f32::total_cmp);
        let nine_of_ten = levels.get((levels.len() * 9).div_ceil(10).max(1) - 1);
        ZoneLearned {
            zone,
            at_rest,
            background: levels.len(),
            background_dbm: nine_of_ten.copied(),
            reads_per_s: reads * 1_000.0 / TICK_MS as f32,
        }
    }

    pub(super) fn garments(&self) -> &[(Epc, Habit)] {
        &self.garments
    }

    /// For each antenna of the file its number in a layout, if it looks at the same zone there.
    pub(super) fn antennas_in(&self, layout: &Layout) -> Vec<Option<u16>> {
        let here = super::antennas(layout);
        let find = |antenna: &Antenna| here.iter().position(|other| other == antenna);
        self.antennas.iter().map(|antenna| u16::try_from(find(antenna)?).ok()).collect()
    }
}

/// The beginning of a file.
pub(super) fn begin(of: &str, layout: &Layout) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(VERSION);
    postcard::to_extend(&(of, super::antennas(layout)), bytes).expect("names always encode")
}

/// Appends a garment.
pub(super) fn add(bytes: &mut Vec<u8>, epc: Epc, habit: &Habit) {
    *bytes = postcard::to_extend(&(epc, habit), core::mem::take(bytes)).expect("numbers always encode");
}

/// Ends a file.
pub(super) fn finish(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = CRC.checksum(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

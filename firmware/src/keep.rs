//! A configuration that survives a loss of power. Enters: a configuration, a flash. Leaves: the last one that was
//! kept whole. A write that is cut off at any point leaves the one before; where nothing good is found the node
//! has none.
//!
//! ```text
//! two areas, each erased as a whole     records of 128 bytes, one behind the other
//!
//! record   0  1  layout of the configuration (1)
//!          1  1  length n of the configuration
//!          2  4  generation: the highest is the last
//!          6  n  configuration: postcard
//!          …  4  CRC-32C over everything before it
//!          …     FF
//! ```
//!
//! A firmware may be replaced by an earlier one. What was appended to a configuration it skips, as on the link
//! ([`payload`]). Where the last configuration has another layout, or is none that this firmware works by, there is
//! none, because the one before is outdated; what is kept then comes after it for the later firmware too. The rest of
//! the record is as it is in every layout.
//!
//! Numbers are little-endian. Records are appended, so that an area is erased only when the other is full: a
//! flash stands ten thousand erasures, and stops the processor for each.

use core::fmt;
use core::ops::Range;

use crc::{CRC_32_ISCSI, Crc};
use embedded_storage::nor_flash::NorFlash;
use hangtag_protocol::link::payload;

use crate::config::Config;

/// Where in a flash configurations are kept. Both areas must begin and end where the flash can be erased.
#[derive(Clone, Debug)]
pub struct Keeper {
    areas: [Range<u32>; 2],
}

/// Why a configuration was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeepError<E: fmt::Debug> {
    /// The flash says so.
    #[error("the flash fails at {at:#x}: {why:?}")]
    Flash {
        /// Where in it.
        at: u32,
        /// What it says.
        why: E,
    },
    /// The flash took it, and holds something else.
    #[error("the flash holds something else at {0:#x} than was written")]
    Differs(u32),
}

/// A record that is whole.
struct Found {
    generation: u32,
    at: u32,
    /// Unless it is none for this firmware.
    config: Option<Config>,
}

impl Keeper {
    /// A keeper in these areas, counted in bytes from the start of the flash.
    #[must_use]
    pub const fn new(areas: [Range<u32>; 2]) -> Self {
        Self { areas }
    }

    /// The configuration that was kept last; `None` when there is none that is whole, or the last is none for this
    /// firmware. What cannot be read is as if it were not there.
    pub fn load<F: NorFlash>(&self, flash: &mut F) -> Option<Config> {
        self.last(flash)?.config
    }

    /// Keeps a configuration. If that fails at any point, the one before is still there.
    ///
    /// # Errors
    /// When the flash refuses to erase or to write, or does not hold what was written.
    pub fn store<F: NorFlash>(&self, flash: &mut F, config: &Config) -> Result<(), KeepError<F::Error>> {
        const { assert!(RECORD.is_multiple_of(F::WRITE_SIZE), "records are whole words of the flash") };
        let last = self.last(flash);
        let home = usize::from(last.as_ref().is_some_and(|last| self.areas[1].contains(&last.at)));
        let at = match blank(flash, &self.areas[home]) {
            Some(at) => at,
            None => {
                // Without a whole record it does not matter which is erased first.
                let area = &self.areas[1 - home];
                let at = area.start;
                flash.erase(at, area.end).map_err(|why| KeepError::Flash { at, why })?;
                at
            }
        };
        let record = encode(config, last.map_or(0, |last| last.generation.wrapping_add(1)));
        flash.write(at, &record).map_err(|why| KeepError::Flash { at, why })?;
        let mut found = [0; RECORD];
        flash.read(at, &mut found).map_err(|why| KeepError::Flash { at, why })?;
        if found == record { Ok(()) } else { Err(KeepError::Differs(at)) }
    }

    fn last<F: NorFlash>(&self, flash: &mut F) -> Option<Found> {
        let places = self.areas.iter().flat_map(records);
        let found = places.filter_map(|at| {
            let mut record = [0; RECORD];
            flash.read(at, &mut record).ok()?;
            let (generation, config) = decode(&record)?;
            Some(Found { generation, at, config })
        });
        found.max_by_key(|found| found.generation)
    }
}

/// The first record of an area that was never written. What was cut off has bytes that are not FF.
fn blank<F: NorFlash>(flash: &mut F, area: &Range<u32>) -> Option<u32> {
    records(area).find(|at| {
        let mut record = [0; RECORD];
        flash.read(*at, &mut record).is_ok() && record == [ERASED; RECORD]
    })
}

fn records(area: &Range<u32>) -> impl Iterator<Item = u32> + use<> {
    let (at, end) = (area.start, area.end);
    (0..(end - at) / STEP).map(move |number| at + number * STEP)
}

fn encode(config: &Config, generation: u32) -> [u8; RECORD] {
    let mut record = [ERASED; RECORD];
    let room = &mut record[HEADER..RECORD - CRC_BYTES];
    let length = postcard::to_slice(config.told(), room).expect("a configuration is short").len();
    record[0] = LAYOUT;
    record[1] = u8::try_from(length).expect("shorter than the record");
    record[2..HEADER].copy_from_slice(&generation.to_le_bytes());
    let end = HEADER + length;
    let crc = CRC.checksum(&record[..end]);
    record[end..end + CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
    record
}

/// The generation of a record that is whole, and its configuration, if it is one for this firmware.
fn decode(record: &[u8; RECORD]) -> Option<(u32, Option<Config>)> {
    let [layout, length, g0, g1, g2, g3, ..] = *record;
    let end = HEADER + usize::from(length);
    let crc = record.get(end..end + CRC_BYTES)?;
    if crc != CRC.checksum(&record[..end]).to_le_bytes() {
        return None;
    }
    let told = if layout == LAYOUT { payload::read(&record[HEADER..end]).ok() } else { None };
    let config = told.and_then(|told| Config::new(told).ok());
    Some((u32::from_le_bytes([g0, g1, g2, g3]), config))
}

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
const LAYOUT: u8 = 1;
/// What an erased byte reads as.
const ERASED: u8 = 0xFF;
const HEADER: usize = 6;
const CRC_BYTES: usize = 4;
const RECORD: usize = 128;
const STEP: u32 = 128;

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::config::tests::good;
    use embedded_storage::nor_flash::{ErrorType, NorFlashErrorKind, ReadNorFlash};
    use hangtag_protocol::link::command::{Configure, Level};
    use std::vec::Vec;

    /// A flash that loses its power at the byte of its N-th change, and from then on does nothing.
    struct Flash {
        bytes: Vec<u8>,
        changes_left: u32,
        erasures: u32,
    }

    impl ErrorType for Flash {
        type Error = NorFlashErrorKind;
    }

    impl ReadNorFlash for Flash {
        const READ_SIZE: usize = 1;

        fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
            let at = usize::try_from(offset).unwrap();
            bytes.copy_from_slice(&self.bytes[at..at + bytes.len()]);
            Ok(())
        }

        fn capacity(&self) -> usize {
            self.bytes.len()
        }
    }

    impl NorFlash for Flash {
        const WRITE_SIZE: usize = 1;
        const ERASE_SIZE: usize = 256;

        fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
            self.erasures += 1;
            for at in from..to {
                self.change(at, |byte| *byte = ERASED)?;
            }
            Ok(())
        }

        fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
            for (at, &new) in (offset..).zip(bytes) {
                // Bits go from 1 to 0 only.
                self.change(at, |byte| *byte &= new)?;
            }
            Ok(())
        }
    }

    impl Flash {
        fn new() -> Self {
            Self { bytes: std::vec![ERASED; 1_024], changes_left: u32::MAX, erasures: 0 }
        }

        fn change(&mut self, at: u32, how: impl FnOnce(&mut u8)) -> Result<(), NorFlashErrorKind> {
            let Some(left) = self.changes_left.checked_sub(1) else { return Err(NorFlashErrorKind::Other) };
            self.changes_left = left;
            how(&mut self.bytes[usize::try_from(at).unwrap()]);
            Ok(())
        }
    }

    const KEEPER: Keeper = Keeper::new([256..512, 512..768]);

    fn config(id: u32) -> Config {
        Config::new(Configure { id, ..good() }).unwrap()
    }

    #[test]
    fn the_last_is_kept_and_areas_are_erased_seldom() {
        let mut flash = Flash::new();
        assert_eq!(KEEPER.load(&mut flash), None);
        for id in 0..100 {
            KEEPER.store(&mut flash, &config(id)).unwrap();
            assert_eq!(KEEPER.load(&mut flash), Some(config(id)));
        }
        assert_eq!(flash.erasures, 49, "for every second one but the first");
        assert!(flash.bytes[..256].iter().chain(&flash.bytes[768..]).all(|byte| *byte == ERASED));
    }

    #[test]
    fn power_lost_at_any_byte_leaves_the_old_or_the_new() {
        // So many were kept before: into each record of both areas.
        for before in 0..6 {
            let mut cut = 0;
            loop {
                let mut flash = Flash::new();
                for id in 0..before {
                    KEEPER.store(&mut flash, &config(id)).unwrap();
                }
                flash.changes_left = cut;
                let new = KEEPER.store(&mut flash, &config(99));
                flash.changes_left = u32::MAX;
                let old = before.checked_sub(1).map(config);
                let found = KEEPER.load(&mut flash);
                match new {
                    Ok(()) => assert_eq!(found, Some(config(99))),
                    // The rest of a record is FF, as an erased one is.
                    Err(_) => assert!(found == old || found == Some(config(99)), "{before} {cut}: {found:?}"),
                }
                KEEPER.store(&mut flash, &config(100)).unwrap();
                assert_eq!(KEEPER.load(&mut flash), Some(config(100)), "{before} {cut}");
                if new.is_ok() {
                    break;
                }
                cut += 1;
            }
            assert!(cut >= 128, "each byte was one cut: {cut}");
        }
    }

    #[test]
    fn a_damaged_record_is_passed_over() {
        let mut flash = Flash::new();
        KEEPER.store(&mut flash, &config(1)).unwrap();
        KEEPER.store(&mut flash, &config(2)).unwrap();
        let whole = flash.bytes.clone();
        let length = HEADER + usize::from(whole[256 + 128 + 1]) + CRC_BYTES;
        for at in 0..length {
            for bit in 0..8 {
                flash.bytes.clone_from(&whole);
                flash.bytes[256 + 128 + at] ^= 1 << bit;
                assert_eq!(KEEPER.load(&mut flash), Some(config(1)), "bit {bit} of byte {at}");
            }
        }
    }

    /// A record whose configuration is this.
    fn record(layout: u8, generation: u8, config: &[u8]) -> Vec<u8> {
        let length = u8::try_from(config.len()).unwrap();
        let mut record = [&[layout, length, generation, 0, 0, 0], config].concat();
        record.extend(CRC.checksum(&record).to_le_bytes());
        record
    }

    #[test]
    fn what_a_later_firmware_kept_is_not_misread() {
        let told = postcard::to_allocvec(config(5).told()).unwrap();
        let load = |record: &[u8]| {
            let mut flash = Flash::new();
            KEEPER.store(&mut flash, &config(1)).unwrap();
            flash.write(512, record).unwrap();
            KEEPER.load(&mut flash)
        };
        assert_eq!(load(&record(1, 9, &told)), Some(config(5)));
        assert_eq!(load(&record(1, 9, &[&told[..], &[0xFF, 1, 2]].concat())), Some(config(5)), "appended");
        assert_eq!(load(&record(1, 9, &told[..told.len() - 1])), None, "cut");
        for layout in [0, 2, 0xFE] {
            assert_eq!(load(&record(layout, 9, &told)), None, "layout {layout}");
        }
        let two_ports = Configure { antennas: 3, ..*config(5).told() };
        assert_eq!(load(&record(1, 9, &postcard::to_allocvec(&two_ports).unwrap())), None, "it has one");
    }

    #[test]
    fn what_is_kept_after_a_later_layout_comes_after_it() {
        let mut flash = Flash::new();
        flash.write(512, &record(2, 9, &[0x55; 20])).unwrap();
        for id in 0..5 {
            KEEPER.store(&mut flash, &config(id)).unwrap();
            assert_eq!(KEEPER.load(&mut flash), Some(config(id)));
            assert_eq!(KEEPER.last(&mut flash).map(|found| found.generation), Some(10 + id));
        }
    }

    #[test]
    fn a_flash_that_ignores_writes_is_noticed() {
        struct Deaf(Flash);
        impl ErrorType for Deaf {
            type Error = NorFlashErrorKind;
        }
        impl ReadNorFlash for Deaf {
            const READ_SIZE: usize = 1;
            fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
                self.0.read(offset, bytes)
            }
            fn capacity(&self) -> usize {
                self.0.capacity()
            }
        }
        impl NorFlash for Deaf {
            const WRITE_SIZE: usize = 4;
            const ERASE_SIZE: usize = 256;
            fn erase(&mut self, _: u32, _: u32) -> Result<(), NorFlashErrorKind> {
                Ok(())
            }
            fn write(&mut self, _: u32, _: &[u8]) -> Result<(), NorFlashErrorKind> {
                Ok(())
            }
        }
        let mut flash = Deaf(Flash::new());
        assert_eq!(KEEPER.store(&mut flash, &config(1)), Err(KeepError::Differs(256)));
        assert_eq!(KEEPER.load(&mut flash), None);
    }

    #[test]
    fn the_longest_configuration_fits() {
        let zone = hangtag_protocol::id::ZoneId::new(&"z".repeat(hangtag_protocol::id::MAX_NAME)).unwrap();
        let occupied = Some(Level::High);
        let longest = Configure { id: u32::MAX, zone: Some(zone), settle_ms: u16::MAX, occupied, ..good() };
        let longest = Config::new(longest).unwrap();
        let mut flash = Flash::new();
        KEEPER.store(&mut flash, &longest).unwrap();
        assert_eq!(KEEPER.load(&mut flash), Some(longest));
    }
}

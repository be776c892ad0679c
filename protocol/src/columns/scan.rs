//! Scanned codes. Enters: scans. Leaves: decisions; a sealed code is noise, and is written as it is.
//!
//! ```text
//! scanned  at, zone, visit, code
//! at       ms since the latest tick in which something was concluded (sized). That moves to the tick in which
//!          it was scanned, rounded up, unless that is earlier; in another boot always
//! zone     bit, if any zone was met: one met, and its place in the order of first meeting (number); else it
//!          is spelled out, as drawn in `names`
//! visit    bit: there is one; if so, bit, if there is a last one in the zone: that; else own number - visit
//!          (number)
//! code     bit: a loyalty code; if so, bit, if a key was met: the last one; else its 64 bits plainly; then by
//!          how many bytes it is longer than an empty one (number), and its bytes plainly
//!          else the product's number, 47 bits plainly
//! ```

use alloc::vec::Vec;

use super::UnpackError;
use super::coder::Coder;
use super::place;
use super::walk::{TICK_MS, Walk};
use super::zones::Zone;
use crate::clock::Uptime;
use crate::epc::Gtin;
use crate::id::{Seq, ZoneId};
use crate::key::KeyId;
use crate::scan::{Code, MAX_CODE, SEAL_BYTES, Scan, Sealed};

/// 14 decimal digits fit in so many bits.
const GTIN_BITS: u32 = 47;

impl<C: Coder> Walk<C> {
    pub(super) fn scan(
        &mut self,
        seq: u64,
        at: Uptime,
        rebooted: bool,
        given: Option<&Scan>,
    ) -> Result<(Uptime, Scan), UnpackError> {
        self.model.coder.column("at");
        let concluded = self.concluded.wrapping_mul(TICK_MS).wrapping_add(self.phase);
        let at = self.model.sized(place::SCAN_AT, at.0.wrapping_sub(concluded)).wrapping_add(concluded);
        let ticks = at.wrapping_sub(self.phase).div_ceil(TICK_MS);
        if rebooted || ticks.wrapping_sub(self.concluded) >> 63 == 0 {
            self.concluded = ticks;
        }
        let zone = self.scan_zone(given.map(|scan| scan.zone))?;
        let visit = self.scan_visit(seq, zone, given.and_then(|scan| scan.visit));
        let code = self.scan_code(given.map(|scan| &scan.code))?;
        Ok((Uptime(at), Scan { zone: self.zones[zone].id, visit, code }))
    }

    fn scan_zone(&mut self, given: Option<ZoneId>) -> Result<usize, UnpackError> {
        let column = "zone";
        self.model.coder.column(column);
        let known = self.zones.iter().position(|zone| Some(zone.id) == given);
        if !self.zones.is_empty() && self.model.bit(place::SCAN_ZONE_MET, known.is_some()) {
            let place = self.model.number(place::SCAN_ZONE, known.unwrap_or(0) as u64);
            let found = usize::try_from(place).ok().filter(|place| *place < self.zones.len());
            return found.ok_or(UnpackError::Value { column, value: place });
        }
        self.model.coder.column("zones");
        let name = self.speller.spell(&mut self.model, "zones", given.as_ref().map(ZoneId::as_str))?;
        let id = ZoneId::new(name).expect("a name was spelled");
        let known = self.zones.iter().position(|zone| zone.id == id);
        Ok(known.unwrap_or_else(|| {
            self.zones.push(Zone { id, visit: None });
            self.zones.len() - 1
        }))
    }

    fn scan_visit(&mut self, seq: u64, zone: usize, given: Option<Seq>) -> Option<Seq> {
        self.model.coder.column("visit");
        if !self.model.bit(place::SCAN_IN_VISIT, given.is_some()) {
            return None;
        }
        let visit = match self.zones[zone].visit {
            Some(last) if self.model.bit(place::SCAN_SAME_VISIT, given == Some(last)) => last,
            Some(_) | None => {
                let back = given.map_or(0, |visit| seq.wrapping_sub(visit.0));
                Seq(seq.wrapping_sub(self.model.number(place::SCAN_VISIT, back)))
            }
        };
        self.zones[zone].visit = Some(visit);
        Some(visit)
    }

    fn scan_code(&mut self, given: Option<&Code>) -> Result<Code, UnpackError> {
        self.model.coder.column("code");
        let (gtin, sealed) = match given {
            Some(Code::Product(gtin)) => (Some(*gtin), None),
            Some(Code::Loyalty(sealed)) => (None, Some(sealed)),
            None => (None, None),
        };
        if !self.model.bit(place::IS_LOYALTY, sealed.is_some()) {
            let number = self.model.coder.plain(GTIN_BITS, gtin.map_or(0, Gtin::number));
            let gtin = Gtin::from_number(number);
            return gtin.map(Code::Product).map_err(|_| UnpackError::Value { column: "code", value: number });
        }
        let given = sealed.map(Sealed::key);
        let key = match self.key {
            Some(last) if self.model.bit(place::SAME_KEY, given == Some(last)) => last,
            Some(_) | None => {
                let number = given.map_or(0, |key| u64::from_be_bytes(key.0));
                KeyId(self.model.coder.plain(64, number).to_be_bytes())
            }
        };
        self.key = Some(key);
        let bytes = sealed.map_or(&[][..], Sealed::as_bytes);
        let more = self.model.number(place::SEALED_LENGTH, bytes.len().saturating_sub(SEAL_BYTES) as u64);
        let length = usize::try_from(more).ok().filter(|more| *more <= MAX_CODE);
        let length = SEAL_BYTES + length.ok_or(UnpackError::Value { column: "code", value: more })?;
        let byte = |at| self.model.coder.plain(8, bytes.get(at).copied().unwrap_or(0).into()) as u8;
        let bytes: Vec<u8> = (0..length).map(byte).collect();
        Ok(Code::Loyalty(Sealed::new(key, bytes).expect("the length was checked")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::coder::Encoder;
    use super::super::unpack;
    use super::*;

    #[test]
    fn a_kind_that_is_not_known_is_refused() {
        let mut walk = Walk::new(Encoder::new(32));
        walk.start(&[]);
        walk.model.tree(place::KIND + 7 * 7, 3, 7);
        walk.model.number(place::FURTHER_KIND, 1);
        let refused = UnpackError::Value { column: "kind", value: 8 };
        assert_eq!(unpack(Seq(1), 1, &walk.model.coder.finish()), Err(refused));
    }
}

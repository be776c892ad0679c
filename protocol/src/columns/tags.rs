//! Tags, and what was last said of each. Enters: EPCs. Leaves: decisions; an EPC is spelled out once,
//! where it is met first.
//!
//! ```text
//! spelling   bit: 12 bytes that begin with 0x30 (SGTIN-96)
//!            if so, the item and the serial number; the serial number of 38 bits is sized
//!            else length as a tree of 6 bits, then each byte plainly
//! item       the 50 bits between; bit, if any was met: one met, and its rank (number); else
//!            bit, if a company was met: one met, and its rank (number); else plainly filter and
//!            partition (6 bits) and company prefix (44 bits less the item reference's);
//!            then the item reference (number)
//! ```
//!
//! The partition gives the item reference its 4, 7, 10, 14, 17, 20 or 24 bits; 7, which does not exist, 4.
//! An item that was met counts as no meeting of its company.

use alloc::vec::Vec;

use super::UnpackError;
use super::coder::Coder;
use super::model::Model;
use super::place;
use super::walk::from_back;
use crate::clock::Uptime;
use crate::epc::{Epc, MAX_EPC};
use crate::event::Kind;
use crate::id::Seq;

/// What was last said of a tag.
#[derive(Clone, Debug)]
pub(super) struct Tag {
    pub(super) epc: Epc,
    pub(super) kind: Kind,
    /// The zone, as its place in the dictionary.
    pub(super) zone: usize,
    pub(super) visit: Option<Seq>,
    /// When the state began that the kind of event began.
    pub(super) since: Uptime,
}

/// All tags that were met.
#[derive(Default)]
pub(super) struct Tags {
    known: Vec<Tag>,
    /// The last bytes of each, to find it fast.
    keys: Vec<u64>,
    /// The kind of the last event of each, as one bit: they are looked through for every event.
    kinds: Vec<u8>,
    /// The last met is last.
    order: Vec<u16>,
    /// How many tags there are of which an event of each kind was last.
    last: [usize; Kind::ALL.len()],
    items: Vec<u64>,
    companies: Vec<(u64, u32)>,
}

/// Where an event's tag is.
pub(super) enum Found {
    /// It was met: its place.
    Known(usize),
    /// It was not.
    New(Epc),
}

impl Tags {
    pub(super) fn find<C: Coder>(
        &mut self,
        model: &mut Model<C>,
        kind: Kind,
        given: Option<Epc>,
    ) -> Result<Found, UnpackError> {
        let column = "epc";
        model.coder.column(column);
        let wanted = before(kind);
        let k = kind as usize;
        let known = given.and_then(|epc| self.place_of(epc));
        let expected = known.is_some_and(|n| self.kinds[n] & bits(wanted) != 0);
        let ready: usize = wanted.iter().map(|kind| self.last[*kind as usize]).sum();
        let others = self.known.len() - ready;
        let expected = ready > 0 && model.bit(place::EXPECTED + k * 8 + ready.min(7), expected);
        let met = expected || others > 0 && model.bit(place::MET + k, known.is_some());
        if !met {
            return self.spell(model, given).map(Found::New);
        }
        let bits = bits(wanted);
        let mut ago =
            self.order.iter().rev().filter(|n| (self.kinds[usize::from(**n)] & bits != 0) == expected);
        let rank = known.map_or(0, |wanted| ago.clone().take_while(|n| usize::from(**n) != wanted).count());
        let places = if expected { place::RANK + k * super::model::NUMBER } else { place::OTHER_RANK };
        let rank = model.number(places, rank as u64);
        let found = usize::try_from(rank).ok().and_then(|rank| ago.nth(rank));
        let found = found.ok_or(UnpackError::Value { column, value: rank })?;
        Ok(Found::Known((*found).into()))
    }

    pub(super) fn of(&self, place: usize) -> &Tag {
        &self.known[place]
    }

    /// Remembers what was said last.
    pub(super) fn remember(&mut self, place: Option<usize>, tag: Tag) {
        self.last[tag.kind as usize] += 1;
        let Some(place) = place else {
            self.order.push(u16::try_from(self.known.len()).expect("at most MAX_EVENTS"));
            self.keys.push(key(&tag.epc));
            self.kinds.push(bits(&[tag.kind]));
            self.known.push(tag);
            return;
        };
        let known = &mut self.known[place];
        self.last[known.kind as usize] -= 1;
        self.kinds[place] = bits(&[tag.kind]);
        *known = tag;
        let at = self.order.iter().rposition(|n| usize::from(*n) == place).expect("every tag is in order");
        self.order[at..].rotate_left(1);
    }

    fn place_of(&self, epc: Epc) -> Option<usize> {
        let wanted = key(&epc);
        let alike = self.keys.iter().enumerate().filter(|(_, key)| **key == wanted);
        alike.map(|(place, _)| place).find(|place| self.known[*place].epc == epc)
    }

    fn spell<C: Coder>(&mut self, model: &mut Model<C>, given: Option<Epc>) -> Result<Epc, UnpackError> {
        model.coder.column("epcs");
        let bytes = given.as_ref().map_or(&[][..], Epc::as_bytes);
        let sgtin = <[u8; 12]>::try_from(bytes).ok().filter(|bytes| bytes[0] == SGTIN_96);
        if model.bit(place::IS_SGTIN, sgtin.is_some()) {
            let bits =
                sgtin.unwrap_or_default().iter().fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
            let item = self.item(model, (bits >> SERIAL) as u64 & ((1 << ITEM) - 1))?;
            let serial = model.sized(place::SERIAL, (bits as u64) & ((1 << SERIAL) - 1));
            if serial >> SERIAL != 0 {
                return Err(UnpackError::Value { column: "epcs", value: serial });
            }
            let bits = u128::from(SGTIN_96) << 88 | u128::from(item) << SERIAL | u128::from(serial);
            return Ok(Epc::new(&bits.to_be_bytes()[4..]).expect("twelve bytes"));
        }
        let length = model.tree(place::EPC_LENGTH, 6, bytes.len() as u64) as usize;
        let mut spelled = [0; MAX_EPC];
        let wrong = UnpackError::Value { column: "epcs", value: length as u64 };
        for (at, byte) in spelled.get_mut(..length).ok_or(wrong.clone())?.iter_mut().enumerate() {
            *byte = model.coder.plain(8, bytes.get(at).copied().unwrap_or(0).into()) as u8;
        }
        Epc::new(&spelled[..length]).map_err(|_| wrong)
    }

    /// Filter, partition, company prefix and item reference.
    fn item<C: Coder>(&mut self, model: &mut Model<C>, given: u64) -> Result<u64, UnpackError> {
        let known = self.items.iter().rev().position(|item| *item == given);
        if !self.items.is_empty() && model.bit(place::ITEM_MET, known.is_some()) {
            let rank = model.number(place::ITEM_RANK, known.unwrap_or(0) as u64);
            let item = self.items.remove(from_back(self.items.len(), rank, "epcs")?);
            self.items.push(item);
            return Ok(item);
        }
        let known = self.companies.iter().rev().position(|known| *known == company(given));
        let (company, width) = if !self.companies.is_empty() && model.bit(place::COMPANY_MET, known.is_some())
        {
            let rank = model.number(place::COMPANY_RANK, known.unwrap_or(0) as u64);
            self.companies.remove(from_back(self.companies.len(), rank, "epcs")?)
        } else {
            // The filter and the partition, which says how wide the rest is.
            let start = model.coder.plain(6, given >> 44);
            let width = item_width(start & 7);
            let prefix = model.coder.plain(44 - width, given >> width);
            (start << (44 - width) | prefix, width)
        };
        self.companies.push((company, width));
        let reference = model.number(place::ITEM_REFERENCE, given & ((1 << width) - 1));
        if reference >> width != 0 {
            return Err(UnpackError::Value { column: "epcs", value: reference });
        }
        let item = company << width | reference;
        self.items.push(item);
        Ok(item)
    }
}

const SGTIN_96: u8 = 0x30;
const SERIAL: u32 = 38;
const ITEM: u32 = 50;

/// What precedes the item reference, and how wide that is.
fn company(item: u64) -> (u64, u32) {
    let width = item_width(item >> 44 & 7);
    (item >> width, width)
}

/// How many bits an item reference has; 4 for the partition that does not exist.
fn item_width(partition: u64) -> u32 {
    [4, 7, 10, 14, 17, 20, 24, 4][partition as usize & 7]
}

/// After which kinds of event of the same tag an event is expected.
fn before(kind: Kind) -> &'static [Kind] {
    match kind {
        Kind::PickedUp => &[Kind::PutDown],
        Kind::PutDown | Kind::CarriedIn => &[Kind::PickedUp, Kind::CarriedOut],
        Kind::TriedOn => &[Kind::CarriedIn],
        Kind::CarriedOut => &[Kind::CarriedIn, Kind::TriedOn],
        Kind::Retracted | Kind::Coverage | Kind::Scanned => &[],
    }
}

/// One bit for each kind.
fn bits(kinds: &[Kind]) -> u8 {
    kinds.iter().fold(0, |bits, kind| bits | 1 << *kind as u8)
}

fn key(epc: &Epc) -> u64 {
    epc.as_bytes().iter().rev().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::super::coder::{Decoder, Encoder};
    use super::*;

    #[test]
    fn a_rank_beyond_what_was_met_is_refused() {
        for (rank, of_item) in [(1, true), (u64::MAX, true), (1, false), (u64::MAX, false)] {
            let mut writer = Model::new(Encoder::new(0));
            writer.bit(place::ITEM_MET, of_item);
            if of_item {
                writer.number(place::ITEM_RANK, rank);
            } else {
                writer.bit(place::COMPANY_MET, true);
                writer.number(place::COMPANY_RANK, rank);
            }
            let bytes = writer.coder.finish();
            let mut tags = Tags::default();
            tags.items.push(7);
            tags.companies.push(company(7));
            let wrong = UnpackError::Value { column: "epcs", value: rank };
            assert_eq!(tags.item(&mut Model::new(Decoder::new(&bytes)), 0), Err(wrong));
        }
    }
}

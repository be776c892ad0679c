//! The sheet of an hour: its piece, packed. Enters: a piece. Leaves: bytes, and the piece again. Sheets stand in
//! the database beside the events from which they can be made again at any time; one of another version is made anew.
//! But where the events are deleted because of their age, the sheet is all that is left: a program that writes another
//! version must read this one for ever; versions 1 and 2 were never the last of anything. Whoever meets such a sheet that
//! it cannot read says so, and never takes the hour for an empty one.
//!
//! ```text
//!  0   1  version, 3
//!  1   …  postcard:
//!         start       Unix milliseconds of the hour
//!         zones, tags, visits, gateways, readers    what the rows name by its place
//!         handled     [ms since the row before, kind, tag, zone, visit + 1 or 0, dwell]
//!         scanned     [ms since the row before, zone, visit + 1 or 0, whether it is a product's]
//!         unvouched   count
//!         coverage    [gateway, reader, state, from and to: ms since the start, signed]
//!         watching    [zone, gateway]
//!         delays      [step, count], see `Delays`
//! ```

use hangtag_central_core::delay::Delays;
use hangtag_central_core::handled::{Handled, Map, Scanned, Visit};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::{Kind, ReaderState};
use hangtag_protocol::id::{Epoch, GatewayId, ReaderId, Seq, ZoneId};
use serde::{Deserialize, Serialize};

use super::Coverage;
use super::piece::Piece;

/// The version that this program writes.
pub(super) const VERSION: u8 = 3;

#[derive(Serialize, Deserialize)]
struct Sheet {
    start: i64,
    zones: Vec<ZoneId>,
    tags: Vec<Epc>,
    gateways: Vec<GatewayId>,
    readers: Vec<ReaderId>,
    visits: Vec<(u16, Epoch, Seq)>,
    handled: Vec<(u32, Kind, u32, u16, u32, u16)>,
    scanned: Vec<(u32, u16, u32, bool)>,
    unvouched: u64,
    coverage: Vec<(u16, u16, ReaderState, i64, i64)>,
    watching: Vec<(u16, u16)>,
    delays: Vec<(u8, u64)>,
}

/// Packs the piece of an hour that starts at this moment. `None` when it is too large for a sheet: more than 65,535
/// zones, gateways or readers.
#[must_use]
pub(super) fn pack(start: UnixMillis, piece: &Piece) -> Option<Vec<u8>> {
    let (mut zones, mut tags) = (Map::default(), Map::default());
    let (mut gateways, mut readers, mut visits) = (Map::default(), Map::default(), Map::default());
    let mut visit = |of: Option<Visit>, gateways: &mut Map<GatewayId, ()>| -> Option<u32> {
        let Some(of) = of else { return Some(0) };
        let gateway = small(gateways.insert_full(of.gateway, ()).0)?;
        u32::try_from(visits.insert_full((gateway, of.epoch, of.opened_by), ()).0 + 1).ok()
    };
    let mut before = start.0;
    let mut since = |at: UnixMillis| {
        let since = u32::try_from(at.0 - before).ok()?;
        before = at.0;
        Some(since)
    };
    let handled: Option<Vec<_>> = piece
        .handled
        .iter()
        .map(|row| {
            let tag = u32::try_from(tags.insert_full(row.epc, ()).0).ok()?;
            let zone = small(zones.insert_full(row.zone, ()).0)?;
            Some((since(row.at)?, row.kind, tag, zone, visit(row.visit, &mut gateways)?, row.dwell_ds))
        })
        .collect();
    let mut before = start.0;
    let mut since = |at: UnixMillis| {
        let since = u32::try_from(at.0 - before).ok()?;
        before = at.0;
        Some(since)
    };
    let scanned: Option<Vec<_>> = piece
        .scanned
        .iter()
        .map(|row| {
            let zone = small(zones.insert_full(row.zone, ()).0)?;
            Some((since(row.at)?, zone, visit(row.visit, &mut gateways)?, row.is_product))
        })
        .collect();
    let coverage: Option<Vec<_>> = piece
        .coverage
        .iter()
        .map(|row| {
            let gateway = small(gateways.insert_full(row.gateway, ()).0)?;
            let reader = small(readers.insert_full(row.reader, ()).0)?;
            Some((gateway, reader, row.state, row.from.0 - start.0, row.to.0 - start.0))
        })
        .collect();
    let watching: Option<Vec<_>> = piece
        .watching
        .iter()
        .map(|(zone, gateway)| {
            Some((small(zones.insert_full(*zone, ()).0)?, small(gateways.insert_full(*gateway, ()).0)?))
        })
        .collect();
    let sheet = Sheet {
        start: start.0,
        handled: handled?,
        scanned: scanned?,
        unvouched: piece.unvouched,
        coverage: coverage?,
        watching: watching?,
        delays: piece.delays.steps().collect(),
        zones: zones.into_keys().collect(),
        tags: tags.into_keys().collect(),
        gateways: gateways.into_keys().collect(),
        readers: readers.into_keys().collect(),
        visits: visits.into_keys().collect(),
    };
    postcard::to_extend(&sheet, vec![VERSION]).ok()
}

/// Unpacks a sheet. `None` when it is of another version or damaged: it can be made again, unless it stands alone.
#[must_use]
pub(super) fn unpack(bytes: &[u8]) -> Option<Piece> {
    let (version, body) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    let sheet: Sheet = postcard::from_bytes(body).ok()?;
    let visits: Option<Vec<Visit>> = sheet
        .visits
        .iter()
        .map(|(gateway, epoch, opened_by)| {
            let gateway = *sheet.gateways.get(usize::from(*gateway))?;
            Some(Visit { gateway, epoch: *epoch, opened_by: *opened_by })
        })
        .collect();
    let visits = visits?;
    let visit = |place: u32| match place.checked_sub(1) {
        None => Some(None),
        Some(place) => visits.get(place as usize).map(|visit| Some(*visit)),
    };
    let mut at = sheet.start;
    let handled: Option<Vec<Handled>> = sheet
        .handled
        .iter()
        .map(|(since, kind, tag, zone, place, dwell_ds)| {
            at += i64::from(*since);
            Some(Handled {
                at: UnixMillis(at),
                kind: *kind,
                epc: *sheet.tags.get(*tag as usize)?,
                zone: *sheet.zones.get(usize::from(*zone))?,
                visit: visit(*place)?,
                dwell_ds: *dwell_ds,
            })
        })
        .collect();
    let mut at = sheet.start;
    let scanned: Option<Vec<Scanned>> = sheet
        .scanned
        .iter()
        .map(|(since, zone, place, is_product)| {
            at += i64::from(*since);
            let zone = *sheet.zones.get(usize::from(*zone))?;
            Some(Scanned { at: UnixMillis(at), zone, visit: visit(*place)?, is_product: *is_product })
        })
        .collect();
    let coverage: Option<Vec<Coverage>> = sheet
        .coverage
        .iter()
        .map(|(gateway, reader, state, from, to)| {
            Some(Coverage {
                gateway: *sheet.gateways.get(usize::from(*gateway))?,
                reader: *sheet.readers.get(usize::from(*reader))?,
                state: *state,
                from: UnixMillis(sheet.start + from),
                to: UnixMillis(sheet.start + to),
            })
        })
        .collect();
    let watching: Option<Vec<(ZoneId, GatewayId)>> = sheet
        .watching
        .iter()
        .map(|(zone, gateway)| {
            Some((*sheet.zones.get(usize::from(*zone))?, *sheet.gateways.get(usize::from(*gateway))?))
        })
        .collect();
    let mut delays = Delays::default();
    sheet.delays.iter().for_each(|(step, count)| delays.add(*step, *count));
    Some(Piece {
        delays,
        handled: handled?,
        scanned: scanned?,
        unvouched: sheet.unvouched,
        coverage: coverage?,
        watching: watching?,
    })
}

/// A place that two bytes hold.
fn small(place: usize) -> Option<u16> {
    u16::try_from(place).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece() -> Piece {
        let visit = |n| {
            let gateway = GatewayId::new("gw-1").expect("a name");
            Some(Visit { gateway, epoch: Epoch(9), opened_by: Seq(n) })
        };
        let zone = |name| ZoneId::new(name).expect("a name");
        let handled = |at, kind, epc, visit: Option<Visit>| Handled {
            at: UnixMillis(at),
            kind,
            epc: Epc::from_hex(epc).expect("a tag"),
            zone: zone(if visit.is_none() { "rail-1" } else { "booth-1" }),
            visit,
            dwell_ds: 77,
        };
        const TAG: &str = "3074257bf7194e4000001a85";
        Piece {
            handled: vec![
                handled(3_600_000, Kind::PickedUp, TAG, None),
                handled(3_600_001, Kind::CarriedIn, TAG, visit(4)),
                handled(3_700_000, Kind::CarriedIn, "e28068900000500e88c6a4a7", visit(4)),
                handled(7_199_999, Kind::TriedOn, TAG, visit(u64::MAX)),
            ],
            scanned: vec![Scanned {
                at: UnixMillis(3_600_500),
                zone: zone("till"),
                visit: visit(4),
                is_product: true,
            }],
            unvouched: 3,
            coverage: vec![Coverage {
                gateway: GatewayId::new("gw-2").expect("a name"),
                reader: ReaderId::new("r").expect("a name"),
                state: ReaderState::Silent,
                from: UnixMillis(-5),
                to: UnixMillis(4_000_000),
            }],
            delays: {
                let mut delays = Delays::default();
                [200, 700_000].into_iter().for_each(|ms| delays.note(ms));
                delays
            },
            watching: vec![
                (zone("booth-1"), GatewayId::new("gw-1").expect("a name")),
                (zone("rail-1"), GatewayId::new("gw-3").expect("a name")),
            ],
        }
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        let bytes = pack(UnixMillis(3_600_000), &piece()).unwrap();
        assert_eq!(unpack(&bytes), Some(piece()));
    }

    /// What stands in databases: should it fail, the code is wrong, never this.
    #[test]
    fn the_bytes_of_version_3_are_read_for_ever() {
        const BYTES: &str = concat!(
            "0380bab70303067261696c2d3107626f6f74682d310474696c6c020c3074257bf7194e4000001a850ce2806890",
            "0000500e88c6a4a7030467772d310467772d320467772d33010172020009040009ffffffffffffffffff010400",
            "000000004d01020001014d9f8d06020101014ddfcfd501030001024d01f403020101030101000189bab70380ea",
            "3002010000020200012601",
        );
        let byte = |at: usize| u8::from_str_radix(&BYTES[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..BYTES.len()).step_by(2).map(byte).collect();
        assert_eq!(unpack(&bytes), Some(piece()));
    }

    #[test]
    fn a_sheet_of_another_version_or_with_damage_is_none() {
        let bytes = pack(UnixMillis(3_600_000), &piece()).unwrap();
        let mut newer = bytes.clone();
        newer[0] += 1;
        assert_eq!(unpack(&newer), None);
        for cut in 0..bytes.len() {
            assert_eq!(unpack(&bytes[..cut]), None, "{cut}");
        }
    }
}

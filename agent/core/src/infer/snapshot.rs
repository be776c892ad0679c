//! What must survive a restart of the agent: open visits, and garments that are in somebody's hand or
//! in a booth. Garments at rest are learned anew. Enters and leaves: bytes that the spool keeps beside
//! the events which changed them.
//!
//! ```text
//! version u8 (3), postcard: boot, visits [(zone, visit)], garments [(epc, state)], stays [(epc, what was
//!                           concluded in the booth, by numbers)], gone [(epc, zone, who seemed to have left)]
//! version u8 (2)            the same without gone
//! version u8 (1)            and without stays: what was concluded before cannot be retracted
//! ```
//!
//! Zones are stored by name, because the configuration may change between two runs.

use alloc::vec::Vec;

use hangtag_protocol::clock::{BootId, Uptime};
use hangtag_protocol::epc::Epc;
use hangtag_protocol::id::{Seq, ZoneId};
use serde::{Deserialize, Serialize};

use super::gone::Gone;
use super::state::State;
use super::stay::Stay;
use super::tag::Tag;
use super::{Inference, Layout};

const VERSION: u8 = 3;
/// The version without those that seemed to have left.
const WITHOUT_GONE: u8 = 2;
/// The version without stays.
const WITHOUT_STAYS: u8 = 1;

/// Why a snapshot cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// It is of another version, or empty.
    #[error("the snapshot has version {0:?}; this program reads {WITHOUT_STAYS} to {VERSION}")]
    Version(Option<u8>),
    /// It does not decode.
    #[error("the snapshot does not decode: {0}")]
    Structure(postcard::Error),
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    open: Open,
    stays: Vec<(Epc, Stay)>,
    gone: Vec<(Epc, ZoneId, Gone)>,
}

/// What all versions have.
#[derive(Serialize, Deserialize)]
struct Open {
    boot: BootId,
    visits: Vec<(ZoneId, Seq)>,
    garments: Vec<Garment>,
}

#[derive(Serialize, Deserialize)]
enum Garment {
    Hand { epc: Epc, since: Uptime, from: Option<ZoneId> },
    Booth { epc: Epc, zone: ZoneId, visit: Seq, since: Uptime, tried: bool },
}

impl Inference {
    /// What must survive a restart.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let id = |zone: u16| self.layout.zones()[usize::from(zone)].id;
        let visits = self.layout.zones().iter().zip(&self.visits);
        let open = Open {
            boot: self.boot,
            visits: visits.filter_map(|(zone, visit)| Some((zone.id, (*visit)?))).collect(),
            garments: self
                .tags
                .iter()
                .filter_map(|(epc, tag)| match tag.state {
                    State::New | State::Rest { .. } => None,
                    State::Hand { since, from } => {
                        Some(Garment::Hand { epc: epc.into(), since, from: from.map(id) })
                    }
                    State::Booth { zone, visit, since, tried } => {
                        Some(Garment::Booth { epc: epc.into(), zone: id(zone), visit, since, tried })
                    }
                })
                .collect(),
        };
        let stays = self.stays.iter().map(|(epc, stay)| (epc.into(), *stay)).collect();
        let gone = self.gone.iter().map(|(epc, gone)| (epc.into(), id(gone.zone), gone.clone())).collect();
        encode(&Snapshot { open, stays, gone })
    }

    /// Takes up what a snapshot tells of. After a reboot nothing is taken up: nobody knows how long
    /// the gateway was off. Garments in zones that are gone from the configuration are left out.
    ///
    /// # Errors
    /// When the bytes are no snapshot; the state is then unchanged.
    pub fn restore(&mut self, bytes: &[u8], now: Uptime) -> Result<(), RestoreError> {
        let Snapshot { open, stays, gone } = decode(bytes)?;
        if open.boot != self.boot {
            return Ok(());
        }
        for (zone, visit) in open.visits {
            if let Some(zone) = index(&self.layout, zone) {
                self.visits[usize::from(zone)] = Some(visit);
            }
        }
        for garment in open.garments {
            let (epc, state) = match garment {
                Garment::Hand { epc, since, from } => {
                    (epc, State::Hand { since, from: from.and_then(|zone| index(&self.layout, zone)) })
                }
                Garment::Booth { epc, zone, visit, since, tried } => {
                    let Some(zone) = index(&self.layout, zone) else { continue };
                    (epc, State::Booth { zone, visit, since, tried })
                }
            };
            let mut tag = Tag::restored(state, &self.layout, now);
            if let Some(habit) = self.remembered.take(&epc.into()) {
                tag.recall(&habit);
            }
            self.tags.insert(epc.into(), tag);
        }
        // Of garments in zones that are gone nothing is said any more: see `doubt`.
        self.stays.extend(stays.into_iter().map(|(epc, stay)| (epc.into(), stay)));
        let layout = &self.layout;
        let known = gone
            .into_iter()
            .filter_map(|(epc, zone, gone)| Some((epc.into(), Gone { zone: index(layout, zone)?, ..gone })));
        self.gone.extend(known);
        Ok(())
    }
}

/// Gives the visits in a snapshot the numbers that their events have in a new epoch; visits that have none
/// there are forgotten, with the garments in them.
///
/// # Errors
/// When the bytes are no snapshot.
pub fn renumber(bytes: &[u8], number: impl Fn(Seq) -> Option<Seq>) -> Result<Vec<u8>, RestoreError> {
    let mut snapshot = decode(bytes)?;
    let visits = snapshot.open.visits.into_iter();
    snapshot.open.visits = visits.filter_map(|(zone, visit)| Some((zone, number(visit)?))).collect();
    let garments = snapshot.open.garments.into_iter().filter_map(|garment| match garment {
        Garment::Booth { epc, zone, visit, since, tried } => {
            Some(Garment::Booth { epc, zone, visit: number(visit)?, since, tried })
        }
        hand @ Garment::Hand { .. } => Some(hand),
    });
    snapshot.open.garments = garments.collect();
    let stays = snapshot.stays.into_iter();
    snapshot.stays = stays.map(|(epc, stay)| (epc, stay.renumbered(&number))).collect();
    let gone = snapshot.gone.into_iter().filter_map(|(epc, zone, gone)| {
        let (carried_out, visit) = (number(gone.carried_out)?, number(gone.visit)?);
        let stay = gone.stay.renumbered(&number);
        Some((epc, zone, Gone { carried_out, visit, stay, ..gone }))
    });
    snapshot.gone = gone.collect();
    Ok(encode(&snapshot))
}

fn decode(bytes: &[u8]) -> Result<Snapshot, RestoreError> {
    let (version, rest) = bytes.split_first().ok_or(RestoreError::Version(None))?;
    match *version {
        VERSION => postcard::from_bytes(rest).map_err(RestoreError::Structure),
        WITHOUT_GONE => {
            let (open, stays) = postcard::from_bytes(rest).map_err(RestoreError::Structure)?;
            Ok(Snapshot { open, stays, gone: Vec::new() })
        }
        WITHOUT_STAYS => {
            let open = postcard::from_bytes(rest).map_err(RestoreError::Structure)?;
            Ok(Snapshot { open, stays: Vec::new(), gone: Vec::new() })
        }
        other => Err(RestoreError::Version(Some(other))),
    }
}

fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = alloc::vec![VERSION];
    bytes.extend(postcard::to_allocvec(snapshot).expect("numbers and names always encode"));
    bytes
}

fn index(layout: &Layout, zone: ZoneId) -> Option<u16> {
    let found = layout.zones().iter().position(|z| z.id == zone)?;
    u16::try_from(found).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn visits_get_the_numbers_of_a_new_epoch_or_are_forgotten() {
        let zone = |name| ZoneId::new(name).unwrap();
        let booth = |byte, name, visit| Garment::Booth {
            epc: Epc::new(&[byte]).unwrap(),
            zone: zone(name),
            visit: Seq(visit),
            since: Uptime(5),
            tried: true,
        };
        let hand = Garment::Hand { epc: Epc::new(&[9]).unwrap(), since: Uptime(7), from: None };
        let open = Open {
            boot: BootId(3),
            visits: vec![(zone("booth-1"), Seq(90)), (zone("booth-2"), Seq(110))],
            garments: vec![booth(1, "booth-1", 90), booth(2, "booth-2", 110), hand],
        };
        let stay = |byte, seq| (Epc::new(&[byte]).unwrap(), Stay::new(Seq(seq), Uptime(5), -50.0));
        let before = Snapshot { open, stays: vec![stay(1, 90), stay(2, 111)], gone: Vec::new() };
        let moved = |seq: Seq| seq.0.checked_sub(100).map(Seq);
        let after = decode(&renumber(&encode(&before), moved).unwrap()).unwrap();
        assert_eq!(after.open.visits, [(zone("booth-2"), Seq(10))]);
        assert_eq!(after.open.garments.len(), 2);
        assert!(matches!(after.open.garments[0], Garment::Booth { visit: Seq(10), .. }));
        let numbers: Vec<_> = after.stays.iter().map(|(_, stay)| stay.carried_in).collect();
        assert_eq!(numbers, [None, Some(Seq(11))], "what stayed behind cannot be retracted");
        assert_eq!(renumber(b"", Some), Err(RestoreError::Version(None)));
    }
}

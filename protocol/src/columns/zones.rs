//! Where it happened, and in which visit. Enters: zones, visits. Leaves: decisions.

use super::UnpackError;
use super::coder::Coder;
use super::place;
use super::tags::Tag;
use super::walk::Walk;
use crate::event::Kind;
use crate::id::{Seq, ZoneId};

/// A zone that was met.
pub(super) struct Zone {
    pub(super) id: ZoneId,
    pub(super) visit: Option<Seq>,
}

impl<C: Coder> Walk<C> {
    pub(super) fn zone(
        &mut self,
        kind: Kind,
        class: usize,
        before: Option<&Tag>,
        given: Option<ZoneId>,
    ) -> Result<usize, UnpackError> {
        let column = "zone";
        self.model.coder.column(column);
        let group = usize::from(matches!(kind, Kind::CarriedIn | Kind::TriedOn | Kind::CarriedOut));
        let known = self.zones.iter().position(|zone| Some(zone.id) == given);
        if let Some(before) = before
            && self.model.bit(place::SAME_ZONE + class, known == Some(before.zone))
        {
            let order = &mut self.zone_order[group];
            match order.iter().rposition(|zone| *zone == before.zone) {
                Some(at) => order[at..].rotate_left(1),
                None => order.push(before.zone),
            }
            return Ok(before.zone);
        }
        let order = &self.zone_order[group];
        let rank = order.iter().rev().position(|zone| Some(*zone) == known).unwrap_or(order.len());
        let mut found = 0;
        while found < order.len()
            && !self.model.bit(place::ZONE + kind as usize * 16 + found.min(15), rank == found)
        {
            found += 1;
        }
        let zone = if found < order.len() {
            let at = order.len() - 1 - found;
            self.zone_order[group].remove(at)
        } else {
            self.model.coder.column("zones");
            let name = self.speller.spell(&mut self.model, "zones", given.as_ref().map(ZoneId::as_str))?;
            let id = ZoneId::new(name).expect("a name was spelled");
            let known = self.zones.iter().position(|zone| zone.id == id);
            known.unwrap_or_else(|| {
                self.zones.push(Zone { id, visit: None });
                self.zones.len() - 1
            })
        };
        self.zone_order[group].push(zone);
        Ok(zone)
    }

    pub(super) fn visit(
        &mut self,
        kind: Kind,
        seq: u64,
        before: Option<&Tag>,
        zone: usize,
        given: Option<Seq>,
    ) -> Seq {
        self.model.coder.column("visit");
        let k = kind as usize;
        let likely = before.and_then(|tag| tag.visit).or(self.zones[zone].visit);
        let back = given.map_or(0, |visit| seq.wrapping_sub(visit.0));
        let same = |walk: &mut Self, likely: Seq| {
            walk.model.bit(place::SAME_VISIT + k * 2 + usize::from(before.is_some()), given == Some(likely))
        };
        let visit = match likely {
            Some(likely) if same(self, likely) => likely,
            _ if self.model.bit(place::OWN_VISIT + k, back == 0) => Seq(seq),
            _ => Seq(seq.wrapping_sub(self.model.number(place::VISIT, back))),
        };
        self.zones[zone].visit = Some(visit);
        visit
    }
}

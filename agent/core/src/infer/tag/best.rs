//! Where a garment is, as far as reads tell. Enters: how its tag looks to the antennas. Leaves: the zone that wins.

use super::super::state::Surroundings;
use super::super::track::Track;
use super::{RECENT_MS, Tag};

/// Where a tag is read best.
#[derive(Clone, Copy)]
pub(super) struct Best {
    pub(super) track: usize,
    pub(super) zone: u16,
    pub(super) margin_db: f32,
}

impl Tag {
    /// The zone where it is read best, if it was read enough of late, and by how much it wins.
    pub(super) fn best(&self, around: &Surroundings<'_>) -> Option<Best> {
        let zone_of = |track: &Track| around.layout.zone_of(track.antenna.into());
        let recent = |track: &&Track| around.now.since(track.last) < RECENT_MS && track.reads_recently() >= 3;
        // What always strays here from where it rests must be more than that to be here.
        let home = self.resting_at();
        let here = |track: &&Track| {
            let presence = track.presence(around.surest[usize::from(track.antenna)]);
            home == Some(track.antenna) || presence.is_none_or(|presence| presence.present)
        };
        let level = |track: &Track| track.level_dbm();
        let (slot, track) = self
            .tracks
            .iter()
            .enumerate()
            .filter(|(_, track)| recent(track) && here(track))
            .max_by(|a, b| level(a.1).total_cmp(&level(b.1)))?;
        let others = self.tracks.iter().filter(|other| zone_of(other) != zone_of(track));
        let next = others
            .filter(|other| around.now.since(other.last) < RECENT_MS)
            .map(level)
            .max_by(f32::total_cmp)
            // Nothing else hears it: it is below what readers can hear.
            .unwrap_or(-80.0);
        let zone = u16::try_from(zone_of(track)).expect("fewer than 65,536 zones");
        Some(Best { track: slot, zone, margin_db: level(track) - next })
    }
}

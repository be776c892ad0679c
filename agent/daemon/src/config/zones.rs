//! The zones in the configuration. Enters: their tables. Leaves: zones, and what is wrong where one is named that is
//! not there.

use std::collections::BTreeSet;

use hangtag_agent_core::infer::Zone;
use hangtag_protocol::id::ZoneId;

use super::allowed::{name, one_of};
use super::sheet::Table;

/// The zones that there are.
#[derive(Default)]
pub(super) struct Zones {
    /// Those of which nothing is wrong.
    pub(super) sound: Vec<Zone>,
    /// Also those of zones of which something else is wrong.
    pub(super) names: BTreeSet<ZoneId>,
}

impl Zones {
    /// Takes one.
    pub(super) fn take(&mut self, table: &mut Table<'_, '_>) {
        let id = table.need("id", &name());
        if let Some(id) = id {
            table.call(format!("zone \"{id}\": "));
        }
        let kind = table.need("kind", &one_of());
        table.end();
        if let Some(id) = id
            && !self.names.insert(id)
        {
            table.wrong("id", "another [[zone]] has this id");
        } else if let (Some(id), Some(kind)) = (id, kind) {
            self.sound.push(Zone { id, kind });
        }
    }
}

/// Tells when there is no such zone.
pub(super) fn known(
    table: &Table<'_, '_>,
    key: &'static str,
    zone: Option<ZoneId>,
    zones: Option<&BTreeSet<ZoneId>>,
) {
    if let (Some(zone), Some(zones)) = (zone, zones)
        && !zones.contains(&zone)
    {
        let there: Vec<String> = zones.iter().map(|zone| format!("\"{zone}\"")).collect();
        let there = if there.is_empty() { "none".into() } else { there.join(", ") };
        table.wrong(key, format!("there is no [[zone]] with this id; there are {there}"));
    }
}

//! Sensors beside the readers. Enters: a `[[sensor]]` table. Leaves: which sensor it is, and what that is fixed to.

use std::collections::BTreeSet;

use hangtag_agent_core::infer::SensorOn;
use hangtag_agent_core::intake::Mac;
use hangtag_protocol::id::ZoneId;

use super::allowed::{epc, mac, name};
use super::sheet::Table;
use super::zones::known;

/// A sensor tag, and what it is fixed to.
pub(super) fn sensor(
    table: &mut Table<'_, '_>,
    zones: Option<&BTreeSet<ZoneId>>,
    macs: &mut BTreeSet<Mac>,
) -> Option<(Mac, SensorOn)> {
    let mac = table.need("address", &mac());
    if let Some(mac) = mac {
        table.call(format!("sensor {mac}: "));
        if !macs.insert(mac) {
            table.wrong("address", "another [[sensor]] has this address");
        }
    }
    let garment = table.maybe("epc", &epc());
    let zone = table.maybe("zone", &name());
    known(table, "zone", zone.flatten(), zones);
    let on = match (garment?, zone?) {
        (Some(epc), None) => Some(SensorOn::Garment(epc)),
        (None, Some(zone)) => Some(SensorOn::Fixture(zone)),
        (Some(_), Some(_)) => {
            table.wrong("zone", "a sensor is on a garment (epc) or on a rail or shelf of a zone, not both");
            None
        }
        (None, None) => {
            table.missing(
                "epc",
                "the garment's tag in hexadecimal; or zone, that of the rail or shelf it is on",
            );
            None
        }
    };
    table.end();
    Some((mac?, on?))
}

//! Sensors beside the readers. Enters: a `[[sensor]]` table. Leaves: which sensor it is, and what that is fixed to.

use std::collections::{BTreeMap, BTreeSet};

use hangtag_agent_core::infer::SensorOn;
use hangtag_agent_core::intake::Mac;
use hangtag_protocol::id::{ReaderId, ZoneId};

use super::Reader;
use super::allowed::{epc, mac, name, whole};
use super::sheet::Table;
use super::zones::known;

/// A sensor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sensor {
    /// A sensor tag, by its address.
    Tag(Mac),
    /// One that is wired to a reader node, by the reader's number and its own.
    OfNode { reader: usize, number: u8 },
}

/// The sensors that were named so far.
pub(super) struct Sensors {
    /// The readers that are nodes, or may be; nothing if the readers are not understood.
    nodes: Option<BTreeMap<ReaderId, usize>>,
    taken: BTreeSet<Sensor>,
}

impl Sensors {
    pub(super) fn new(nodes: Option<BTreeMap<ReaderId, usize>>) -> Self {
        Self { nodes, taken: BTreeSet::new() }
    }

    pub(super) fn take(
        &mut self,
        table: &mut Table<'_, '_>,
        zones: Option<&BTreeSet<ZoneId>>,
    ) -> Option<(Sensor, SensorOn)> {
        let sensor = if table.has_any(&["reader", "number"]) { self.of_node(table) } else { tag(table) };
        if let Some(sensor) = sensor
            && !self.taken.insert(sensor)
        {
            let key = if matches!(sensor, Sensor::Tag(_)) { "address" } else { "number" };
            table.wrong(key, "another [[sensor]] is this one");
        }
        let garment = table.maybe("epc", &epc());
        let zone = table.maybe("zone", &name());
        known(table, "zone", zone.flatten(), zones);
        let on = match (garment?, zone?) {
            (Some(epc), None) => Some(SensorOn::Garment(epc)),
            (None, Some(zone)) => Some(SensorOn::Fixture(zone)),
            (Some(_), Some(_)) => {
                table.wrong(
                    "zone",
                    "a sensor is on a garment (epc) or on a rail or shelf of a zone, not both",
                );
                None
            }
            (None, None) => {
                let words = "the garment's tag in hexadecimal; or zone, that of the rail or shelf it is on";
                table.missing("epc", words);
                None
            }
        };
        table.end();
        Some((sensor?, on?))
    }

    fn of_node(&self, table: &mut Table<'_, '_>) -> Option<Sensor> {
        let reader = table.need("reader", &name::<ReaderId>());
        let number = table.need("number", &whole(1..=255));
        if let (Some(reader), Some(number)) = (reader, number) {
            table.call(format!("sensor {number} of \"{reader}\": "));
        }
        let nodes = self.nodes.as_ref()?;
        let place = reader.and_then(|reader| nodes.get(&reader).copied());
        if reader.is_some() && place.is_none() {
            let words = "there is no [[reader]] with this id and protocol = \"node\", nor one with \"auto\" and a \
                         region, which may be a node";
            table.wrong("reader", words);
        }
        Some(Sensor::OfNode { reader: place?, number: number? })
    }
}

/// The readers that are nodes, or may be, by their numbers.
pub(super) fn nodes<T>(readers: &[(Reader, T)]) -> BTreeMap<ReaderId, usize> {
    let readers = readers.iter().enumerate();
    let nodes = readers.filter(|(_, (reader, _))| reader.setup.may_be_node());
    nodes.map(|(number, (reader, _))| (reader.id, number)).collect()
}

fn tag(table: &mut Table<'_, '_>) -> Option<Sensor> {
    let mac = table.need("address", &mac())?;
    table.call(format!("sensor {mac}: "));
    Some(Sensor::Tag(mac))
}

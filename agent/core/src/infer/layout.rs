//! The shop as the agent knows it: zones, which antenna looks at which, which scanner is where, and what sensors are
//! fixed to. Enters: the configuration. Leaves: small numbers that stand for zones and antennas.

use alloc::vec::Vec;
use core::ops::Range;

use hangtag_protocol::epc::Epc;
use hangtag_protocol::id::{ReaderId, ZoneId};
use serde::{Deserialize, Serialize};

use crate::intake::Mac;

/// What a zone is for, which decides what can happen there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ZoneKind {
    /// Garments hang here: they are picked up and put down.
    Rail,
    /// Garments lie here: they are picked up and put down.
    Shelf,
    /// Garments are carried in, tried on and carried out.
    Booth,
    /// Garments are paid for.
    Till,
    /// The way out.
    Exit,
    /// Where customers do not come.
    BackRoom,
}

impl ZoneKind {
    /// Whether garments rest here for customers to take.
    #[must_use]
    pub fn is_floor(self) -> bool {
        match self {
            Self::Rail | Self::Shelf => true,
            Self::Booth | Self::Till | Self::Exit | Self::BackRoom => false,
        }
    }
}

/// A zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub id: ZoneId,
    /// What it is for.
    pub kind: ZoneKind,
}

/// The shop: zones and readers. An antenna is numbered across all readers.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    zones: Vec<Zone>,
    readers: Vec<ReaderId>,
    antennas: Vec<Antenna>,
    /// Per reader, which of the antennas are its own: each read asks.
    of_reader: Vec<Range<usize>>,
    /// No antennas: that one listens says nothing of garments.
    scanners: Vec<Scanner>,
    sensors: Vec<(Mac, SensorOn)>,
    /// Sensors that are wired to reader nodes, by the reader's number and their own.
    node_sensors: Vec<((usize, u8), SensorOn)>,
    /// Readers whose node says whether somebody is in a zone.
    occupancy: Vec<(usize, usize)>,
}

/// What a sensor tag is fixed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SensorOn {
    /// A garment, or the hanger that it stays on, with this tag.
    Garment(Epc),
    /// A rail or shelf of this zone.
    Fixture(ZoneId),
}

#[derive(Clone, Copy, Debug)]
struct Antenna {
    reader: usize,
    port: u8,
    zone: usize,
}

#[derive(Clone, Copy, Debug)]
struct Scanner {
    reader: usize,
    zone: usize,
}

impl Layout {
    /// A shop with these zones and no readers yet.
    #[must_use]
    pub fn new(zones: Vec<Zone>) -> Self {
        Self { zones, ..Self::default() }
    }

    /// Adds a sensor tag.
    ///
    /// # Errors
    /// The name of its zone when that does not exist.
    pub fn add_sensor(&mut self, sensor: Mac, on: SensorOn) -> Result<(), ZoneId> {
        self.check(on)?;
        self.sensors.push((sensor, on));
        Ok(())
    }

    /// Adds a sensor that is wired to the node that is the reader with this number, where it has a number too.
    ///
    /// # Errors
    /// The name of its zone when that does not exist.
    pub fn add_node_sensor(&mut self, reader: usize, number: u8, on: SensorOn) -> Result<(), ZoneId> {
        self.check(on)?;
        self.node_sensors.push(((reader, number), on));
        Ok(())
    }

    fn check(&self, on: SensorOn) -> Result<(), ZoneId> {
        match on {
            SensorOn::Fixture(zone) => self.zone(zone).map(drop),
            SensorOn::Garment(_) => Ok(()),
        }
    }

    /// The node that is the reader with this number says whether somebody is in a zone.
    ///
    /// # Errors
    /// The name of the zone when it does not exist.
    pub fn add_occupancy(&mut self, reader: usize, zone: ZoneId) -> Result<(), ZoneId> {
        let zone = self.zone(zone)?;
        self.occupancy.push((reader, zone));
        Ok(())
    }

    /// The sensor tags that were added.
    pub fn sensors(&self) -> impl Iterator<Item = Mac> {
        self.sensors.iter().map(|(sensor, _)| *sensor)
    }

    /// What a sensor tag is fixed to, if it was added.
    #[must_use]
    pub fn sensor(&self, sensor: Mac) -> Option<SensorOn> {
        self.sensors.iter().find(|(known, _)| *known == sensor).map(|(_, on)| *on)
    }

    pub(super) fn node_sensor(&self, reader: usize, number: u8) -> Option<SensorOn> {
        self.node_sensors.iter().find(|(known, _)| *known == (reader, number)).map(|(_, on)| *on)
    }

    pub(super) fn occupancy_of(&self, reader: usize) -> Option<usize> {
        self.occupancy.iter().find(|(known, _)| *known == reader).map(|(_, zone)| *zone)
    }

    /// Adds a reader whose antenna ports look at zones. Ports that are not named are not listened to.
    ///
    /// # Errors
    /// The name of the first zone that does not exist.
    pub fn add_reader(&mut self, id: ReaderId, antennas: &[(u8, ZoneId)]) -> Result<usize, ZoneId> {
        let reader = self.readers.len();
        let mut added = Vec::with_capacity(antennas.len());
        for &(port, zone) in antennas {
            let zone = self.zone(zone)?;
            added.push(Antenna { reader, port, zone });
        }
        self.readers.push(id);
        self.of_reader.push(self.antennas.len()..self.antennas.len() + added.len());
        self.antennas.extend(added);
        Ok(reader)
    }

    /// Adds a barcode scanner that belongs to a zone. It is numbered like the readers.
    ///
    /// # Errors
    /// The name of the zone, if it does not exist.
    pub fn add_scanner(&mut self, id: ReaderId, zone: ZoneId) -> Result<usize, ZoneId> {
        let (reader, zone) = (self.readers.len(), self.zone(zone)?);
        self.readers.push(id);
        self.of_reader.push(0..0);
        self.scanners.push(Scanner { reader, zone });
        Ok(reader)
    }

    fn zone(&self, id: ZoneId) -> Result<usize, ZoneId> {
        self.zones.iter().position(|zone| zone.id == id).ok_or(id)
    }

    /// The readers and scanners, in the order in which they were added.
    #[must_use]
    pub fn readers(&self) -> &[ReaderId] {
        &self.readers
    }

    /// The zones.
    #[must_use]
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// The number of the antenna at a reader's port.
    #[must_use]
    pub fn antenna(&self, reader: usize, port: u8) -> Option<usize> {
        let own = self.of_reader.get(reader)?.clone();
        let at = self.antennas[own.clone()].iter().position(|antenna| antenna.port == port)?;
        Some(own.start + at)
    }

    /// The zone that a reader's port looks at.
    #[must_use]
    pub fn zone_at(&self, reader: usize, port: u8) -> Option<Zone> {
        self.antenna(reader, port).map(|antenna| self.zones[self.zone_of(antenna)])
    }

    /// The zone that the scanner with this number belongs to.
    #[must_use]
    pub fn scanner_zone(&self, reader: usize) -> Option<Zone> {
        self.zone_of_scanner(reader).map(|zone| self.zones[zone])
    }

    pub(super) fn zone_of_scanner(&self, reader: usize) -> Option<usize> {
        self.scanners.iter().find(|scanner| scanner.reader == reader).map(|scanner| scanner.zone)
    }

    pub(super) fn antennas(&self) -> usize {
        self.antennas.len()
    }

    pub(super) fn zone_of(&self, antenna: usize) -> usize {
        self.antennas[antenna].zone
    }

    pub(super) fn port_of(&self, antenna: usize) -> u8 {
        self.antennas[antenna].port
    }

    pub(super) fn reader_of(&self, antenna: usize) -> usize {
        self.antennas[antenna].reader
    }
}

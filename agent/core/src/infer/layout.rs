//! The shop as the agent knows it: zones, and which antenna looks at which. Enters: the configuration.
//! Leaves: small numbers that stand for zones and antennas.

use alloc::vec::Vec;

use hangtag_protocol::id::{ReaderId, ZoneId};
use serde::{Deserialize, Serialize};

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
}

#[derive(Clone, Copy, Debug)]
struct Antenna {
    reader: usize,
    port: u8,
    zone: usize,
}

impl Layout {
    /// A shop with these zones and no readers yet.
    #[must_use]
    pub fn new(zones: Vec<Zone>) -> Self {
        Self { zones, readers: Vec::new(), antennas: Vec::new() }
    }

    /// Adds a reader whose antenna ports look at zones. Ports that are not named are not listened to.
    ///
    /// # Errors
    /// The name of the first zone that does not exist.
    pub fn add_reader(&mut self, id: ReaderId, antennas: &[(u8, ZoneId)]) -> Result<usize, ZoneId> {
        let reader = self.readers.len();
        let mut added = Vec::with_capacity(antennas.len());
        for &(port, zone) in antennas {
            let zone = self.zones.iter().position(|z| z.id == zone).ok_or(zone)?;
            added.push(Antenna { reader, port, zone });
        }
        self.readers.push(id);
        self.antennas.extend(added);
        Ok(reader)
    }

    /// The readers, in the order in which they were added.
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
        self.antennas.iter().position(|a| a.reader == reader && a.port == port)
    }

    /// The zone that a reader's port looks at.
    #[must_use]
    pub fn zone_at(&self, reader: usize, port: u8) -> Option<Zone> {
        self.antenna(reader, port).map(|antenna| self.zones[self.zone_of(antenna)])
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

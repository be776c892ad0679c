//! Where things are in the simulated shop, and the configuration files that say the same to the
//! programs under test. Enters: nothing but folder names and a port. Leaves: the floor plan, the
//! agent's configuration, central's stores file.
//!
//! ```text
//!   y 9.6 ┌────────┬────────┬────────┐
//!         │booth-1 │booth-2 │booth-3 │
//!   y 8.4 └────────┴────────┴────────┘                till
//!
//!        ║ shelf-c                                     exit
//!
//!   y 0.6    ═══ rail-a ═══          ═══ rail-b ═══
//!         x 1.0                     7.0         8.8
//! ```

use std::fmt::Write as _;
use std::path::Path;

use hangtag_protocol::id::{ReaderId, ZoneId};

use super::space::Point;

/// The floor plan.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The zones; everything else names them by index.
    pub zones: Vec<Zone>,
    /// The readers; everything else names them by index.
    pub readers: Vec<Reader>,
}

/// What a zone is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneKind {
    /// Garments hang.
    Rail,
    /// Garments lie.
    Shelf,
    /// A fitting booth.
    Booth,
    /// Where garments are paid.
    Till,
    /// Where people come in and go out.
    Exit,
}

/// A part of the shop.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Its name.
    pub id: ZoneId,
    /// What it is for.
    pub kind: ZoneKind,
    /// One end of the line on which garments hang or lie.
    pub from: Point,
    /// The other end.
    pub to: Point,
    /// From that line to where people stand, in metres.
    pub front: Point,
}

/// The protocol that a reader speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Magicrf R200: one antenna, no phase.
    R200,
    /// ThingMagic Mercury with four antenna ports.
    ThingMagic,
}

/// A reader and its antennas.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Its name.
    pub id: ReaderId,
    /// What it speaks.
    pub protocol: Protocol,
    /// Transmit power in dBm.
    pub power_dbm: f64,
    /// The antennas, from port 1 on.
    pub antennas: Vec<Antenna>,
}

/// An antenna. It points at the middle of its zone.
#[derive(Clone, Copy, Debug)]
pub struct Antenna {
    /// Where it hangs.
    pub at: Point,
    /// The zone that it watches.
    pub zone: usize,
}

/// The width of a fitting booth in metres.
pub(super) const BOOTH_WIDTH: f64 = 1.1;
/// The side of the booths that their curtains are on, as a y coordinate in metres.
pub(super) const CURTAIN_Y: f64 = 8.4;

const BOOTH_1_X: f64 = 3.0;
/// Over rail and shelf, on the far side of whoever stands before them.
const RAIL_ANTENNA_Y: f64 = 0.5;
const SHELF_ANTENNA_X: f64 = 0.5;

impl Layout {
    /// The shop of the demo: two rails, a shelf, three booths side by side, a till and an exit.
    #[must_use]
    pub fn demo() -> Self {
        let rail = |id, x| Zone {
            id: name(id),
            kind: ZoneKind::Rail,
            from: Point::new(x, 0.6, 1.35),
            to: Point::new(x + 1.8, 0.6, 1.35),
            front: Point::new(0.0, 0.55, 0.0),
        };
        let booth = |id, x: f64| Zone {
            id: name(id),
            kind: ZoneKind::Booth,
            from: Point::new(x - 0.3, 9.4, 1.4),
            to: Point::new(x + 0.3, 9.4, 1.4),
            front: Point::new(0.0, -0.45, 0.0),
        };
        let spot = |id, kind, x, y| Zone {
            id: name(id),
            kind,
            from: Point::new(x, y, 1.0),
            to: Point::new(x, y, 1.0),
            front: Point::new(-0.5, 0.0, 0.0),
        };
        let zones = vec![
            rail("rail-a", 1.0),
            rail("rail-b", 7.0),
            Zone {
                id: name("shelf-c"),
                kind: ZoneKind::Shelf,
                from: Point::new(0.4, 4.0, 1.1),
                to: Point::new(0.4, 5.4, 1.1),
                front: Point::new(0.55, 0.0, 0.0),
            },
            booth("booth-1", BOOTH_1_X),
            booth("booth-2", BOOTH_1_X + BOOTH_WIDTH),
            booth("booth-3", BOOTH_1_X + 2.0 * BOOTH_WIDTH),
            spot("till", ZoneKind::Till, 9.0, 7.0),
            spot("exit", ZoneKind::Exit, 10.0, 4.0),
        ];
        let rail_reader = |id, x, zone| Reader {
            id: ReaderId::new(id).expect("a name"),
            protocol: Protocol::R200,
            power_dbm: 26.0,
            antennas: vec![Antenna { at: Point::new(x, RAIL_ANTENNA_Y, 2.4), zone }],
        };
        let booth_antenna = |zone: usize, x| Antenna { at: Point::new(x, CURTAIN_Y + 0.6, 2.4), zone };
        let readers = vec![
            rail_reader("rail-a", 1.9, 0),
            rail_reader("rail-b", 7.9, 1),
            Reader {
                id: ReaderId::new("booths").expect("a name"),
                protocol: Protocol::ThingMagic,
                power_dbm: 24.0,
                antennas: vec![
                    booth_antenna(3, BOOTH_1_X),
                    booth_antenna(4, BOOTH_1_X + BOOTH_WIDTH),
                    booth_antenna(5, BOOTH_1_X + 2.0 * BOOTH_WIDTH),
                    Antenna { at: Point::new(SHELF_ANTENNA_X, 4.7, 2.4), zone: 2 },
                ],
            },
        ];
        Self { zones, readers }
    }

    /// The same shop with the antennas of rails and shelf hung over the aisle, so that whoever handles a garment
    /// stands between it and its antenna.
    #[must_use]
    pub fn with_antennas_over_the_aisle(mut self) -> Self {
        for antenna in self.readers.iter_mut().flat_map(|reader| &mut reader.antennas) {
            match self.zones[antenna.zone].kind {
                ZoneKind::Rail => antenna.at = Point::new(antenna.at.x, 1.8, 2.2),
                ZoneKind::Shelf => antenna.at = Point::new(1.4, antenna.at.y, 2.1),
                ZoneKind::Booth | ZoneKind::Till | ZoneKind::Exit => {}
            }
        }
        self
    }

    /// The same shop with readers of another protocol at its rails.
    #[must_use]
    pub fn with_rails(mut self, protocol: Protocol) -> Self {
        let zones = &self.zones;
        let at_rails = |reader: &&mut Reader| {
            reader.antennas.iter().all(|antenna| zones[antenna.zone].kind == ZoneKind::Rail)
        };
        self.readers.iter_mut().filter(at_rails).for_each(|reader| reader.protocol = protocol);
        self
    }

    /// The booth that a point is in or behind whose curtain it is; `None` in the rest of the shop.
    pub(super) fn booth_column(at: Point) -> Option<i32> {
        let column = libm::floor((at.x - BOOTH_1_X) / BOOTH_WIDTH + 0.5);
        (at.y >= CURTAIN_Y).then_some(column as i32)
    }
}

impl Zone {
    /// The middle of the line on which garments hang or lie.
    #[must_use]
    pub fn middle(&self) -> Point {
        self.from.towards(self.to, 0.5)
    }
}

impl ZoneKind {
    /// The kind as configurations have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rail => "rail",
            Self::Shelf => "shelf",
            Self::Booth => "booth",
            Self::Till => "till",
            Self::Exit => "exit",
        }
    }
}

impl Protocol {
    /// The protocol as configurations have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::R200 => "r200",
            Self::ThingMagic => "thingmagic",
        }
    }
}

/// The agent's configuration for the simulated shop. Zones that no antenna watches are left out.
#[must_use]
pub fn agent_toml(layout: &Layout, readers_dir: &Path, broker_port: u16, data_dir: &Path) -> String {
    let mut out = format!(
        "tenant = \"demo\"\nstore = \"demo-shop\"\ngateway = \"gw-1\"\ndata = {}\n\n[mqtt]\nhost = \"127.0.0.1\"\nport = {broker_port}\n\n[clock]\nkept = true\n",
        quoted(data_dir)
    );
    let watched = |zone| layout.readers.iter().flat_map(|r| &r.antennas).any(|a| a.zone == zone);
    for (at, zone) in layout.zones.iter().enumerate() {
        if watched(at) {
            write!(out, "\n[[zone]]\nid = \"{}\"\nkind = \"{}\"\n", zone.id, zone.kind.name())
                .expect("a String takes everything");
        }
    }
    for reader in &layout.readers {
        write!(
            out,
            "\n[[reader]]\nid = \"{}\"\nport = {}\nprotocol = \"{}\"\nbaud = 115200\nregion = \"eu\"\npower_dbm = {:.1}\n",
            reader.id,
            quoted(&readers_dir.join(reader.id.as_str())),
            reader.protocol.name(),
            reader.power_dbm,
        )
        .expect("a String takes everything");
        for (at, antenna) in reader.antennas.iter().enumerate() {
            let zone = layout.zones[antenna.zone].id;
            write!(out, "[[reader.antenna]]\nport = {}\nzone = \"{zone}\"\n", at + 1)
                .expect("a String takes everything");
        }
    }
    out
}

/// Central's stores file for the simulated shop.
#[must_use]
pub fn stores_toml() -> String {
    stores_open("10:00-20:00", "11:00-19:00")
}

/// The same for a shop that never closes: whenever it is looked at, it is open.
#[must_use]
pub fn stores_toml_open_all_day() -> String {
    stores_open("00:00-24:00", "00:00-24:00")
}

fn stores_open(weekdays: &str, sundays: &str) -> String {
    let days = ["mon", "tue", "wed", "thu", "fri", "sat"].map(|day| format!("{day} = \"{weekdays}\""));
    format!(
        "[[store]]\nid = \"demo-shop\"\nname = \"Demo shop\"\ntime_zone = \"Europe/Paris\"\nopen = {{ {}, sun = \"{sundays}\" }}\n",
        days.join(", ")
    )
}

fn name(id: &str) -> ZoneId {
    ZoneId::new(id).expect("a name")
}

/// A path as a TOML basic string.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn antennas_hang_behind_what_is_handled_or_over_the_aisle() {
        let beyond = |layout: &Layout, antenna: &Antenna| {
            let zone = &layout.zones[antenna.zone];
            (antenna.at - zone.middle()).dot(zone.front) > zone.front.dot(zone.front)
        };
        let over_the_aisle = |layout: Layout| {
            let kinds = |antenna: &&Antenna| {
                matches!(layout.zones[antenna.zone].kind, ZoneKind::Rail | ZoneKind::Shelf)
            };
            let antennas: Vec<Antenna> =
                layout.readers.iter().flat_map(|reader| &reader.antennas).filter(kinds).copied().collect();
            assert_eq!(antennas.len(), 3);
            antennas.iter().filter(|antenna| beyond(&layout, antenna)).count()
        };
        assert_eq!(over_the_aisle(Layout::demo()), 0);
        assert_eq!(over_the_aisle(Layout::demo().with_antennas_over_the_aisle()), 3);
    }

    #[test]
    fn configuration_files_are_toml_and_name_every_antenna() {
        let text = agent_toml(&Layout::demo(), Path::new("readers"), 1884, Path::new("da\"ta"));
        let config: toml::Table = text.parse().unwrap();
        assert_eq!(config["mqtt"]["port"].as_integer(), Some(1884));
        assert_eq!(config["data"].as_str(), Some("da\"ta"));
        assert_eq!(config["zone"].as_array().unwrap().len(), 6);
        let readers = config["reader"].as_array().unwrap();
        assert_eq!(readers[2]["port"].as_str(), Some("readers/booths"));
        assert_eq!(readers[2]["antenna"][3]["zone"].as_str(), Some("shelf-c"));
        let stores: toml::Table = stores_toml().parse().unwrap();
        assert_eq!(stores["store"][0]["open"]["mon"].as_str(), Some("10:00-20:00"));
        let open: toml::Table = stores_toml_open_all_day().parse().unwrap();
        let days = open["store"][0]["open"].as_table().unwrap();
        assert!(
            days.len() == 7 && days.values().all(|hours| hours.as_str() == Some("00:00-24:00")),
            "{days}"
        );
    }
}

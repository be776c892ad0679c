//! The readers in the configuration. Enters: their tables. Leaves: readers, and the zones before them, or what is
//! wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;

use hangtag_agent_core::infer::{Zone, ZoneKind};
use hangtag_agent_core::intake::node::{self, Thresholds};
use hangtag_agent_core::intake::{LoyaltyPattern, Protocol, Settings};
use hangtag_protocol::id::{ReaderId, ZoneId};
use hangtag_protocol::link::command::{Level, MOTION_MG, SETTLE_MS, WINDOW_MS};
use serde::Deserialize;

use super::allowed::{Allowed, name, one_of, path, patterns, whole};
use super::ports::Ports;
use super::radio::{Antennas, settings, transmitter};
use super::sheet::Table;
use super::zones::known;
use super::{Booth, Reader, Setup, Wishes};

/// The readers that there are so far.
pub(super) struct Readers {
    ids: BTreeSet<ReaderId>,
    ports: Ports,
    /// There is a key to which loyalty codes can be sealed.
    may_seal: bool,
    /// The zones that are no booths.
    no_booths: BTreeSet<ZoneId>,
    /// Which node tells of a booth.
    told_of: BTreeMap<ZoneId, Option<ReaderId>>,
}

impl Readers {
    /// None yet. `zones` are those of which nothing is wrong.
    pub(super) fn new(may_seal: bool, zones: &[Zone]) -> Self {
        let no_booths =
            zones.iter().filter(|zone| zone.kind != ZoneKind::Booth).map(|zone| zone.id).collect();
        let (ids, ports, told_of) = (BTreeSet::new(), Ports::default(), BTreeMap::new());
        Self { ids, ports, may_seal, no_booths, told_of }
    }

    /// Takes one; relative paths are relative to a folder. `zones` are those that there are, if that is known.
    pub(super) fn take(
        &mut self,
        table: &mut Table<'_, '_>,
        folder: &Path,
        zones: Option<&BTreeSet<ZoneId>>,
    ) -> Option<(Reader, Before)> {
        let id = table.need("id", &name());
        if let Some(id) = id {
            table.call(format!("reader \"{id}\": "));
            if !self.ids.insert(id) {
                table.wrong("id", "another [[reader]] has this id");
            }
        }
        let port = table.need("port", &path()).map(|port| folder.join(port));
        let word: Option<Word> = table.need("protocol", &one_of());
        let told = match word {
            Some(Word::Auto) => self.auto(table, id, zones),
            Some(Word::Node) => self.node(table, id, zones),
            Some(Word::R200) => stated(table, Protocol::R200, zones),
            Some(Word::ThingMagic) => stated(table, Protocol::ThingMagic, zones),
            Some(Word::Chafon) => stated(table, Protocol::Chafon, zones),
            Some(Word::Ruuvi) => stated(table, Protocol::Ruuvi, zones),
            Some(Word::Scanner) => stated(table, Protocol::Scanner, zones),
            None => {
                table.may("baud", 0, &baud());
                transmitter(table, &[], u8::MAX, zones);
                None
            }
        };
        if let Some(port) = &port {
            self.ports.take(table, port, id, told.as_ref().map(|(setup, _)| setup));
        }
        let patterns = match told.as_ref().map(|(setup, _)| setup) {
            Some(Setup::Stated { settings: Settings::Scanner { loyalty }, .. }) => loyalty.as_slice(),
            Some(Setup::Auto(wishes)) => wishes.loyalty.as_deref().unwrap_or_default(),
            Some(Setup::Stated { .. } | Setup::Node { .. }) | None => &[],
        };
        if !patterns.is_empty() && !self.may_seal {
            table.wrong(
                "loyalty",
                "codes of shoppers are taken only sealed to central's public key: add [loyalty] with key = \
                 \"htpub-…\", as `hangtag-central keys` prints it",
            );
        }
        table.end();
        let (setup, before) = told?;
        Some((Reader { id: id?, port: port?, setup }, before))
    }

    /// What a reader node is told. What the module behind it can do, the node says.
    fn node(
        &mut self,
        table: &mut Table<'_, '_>,
        id: Option<ReaderId>,
        zones: Option<&BTreeSet<ZoneId>>,
    ) -> Option<(Setup, Before)> {
        let baud = table.may("baud", node::FACTORY_BAUD, &baud());
        let sensing = self.sensing(table, id, zones);
        let (radio, _, antennas) = transmitter(table, &[], node::MOST_PORTS, zones)?;
        let (thresholds, occupancy) = sensing?;
        let occupied = occupancy.map(|booth| booth.occupied);
        let settings = node::Settings { radio, thresholds, occupied };
        Some((Setup::Node { baud: baud?, settings, occupancy }, Before::Antennas(antennas)))
    }

    /// When a node's sensors tell something, and of which booth.
    fn sensing(
        &mut self,
        table: &mut Table<'_, '_>,
        id: Option<ReaderId>,
        zones: Option<&BTreeSet<ZoneId>>,
    ) -> Option<(Thresholds, Option<Booth>)> {
        let occupancy = table.maybe("occupancy", &name());
        known(table, "occupancy", occupancy.flatten(), zones);
        if let Some(zone) = occupancy.flatten() {
            self.booth(table, id, zone);
        }
        let occupied = table.maybe("occupied", &one_of());
        if let (Some(None), Some(Some(_))) = (occupancy, occupied) {
            table.wrong("occupied", "is of use only with occupancy, which names the booth");
        }
        let thresholds = thresholds(table);
        let occupied = occupied?.unwrap_or(Level::High);
        Some((thresholds?, occupancy?.map(|zone| Booth { zone, occupied })))
    }

    /// What is told to a reader that is to be found out. Its keys say what it may be: a reader of tags, a scanner, or
    /// neither, which leaves what needs no keys. A reader of tags may be a node.
    fn auto(
        &mut self,
        table: &mut Table<'_, '_>,
        id: Option<ReaderId>,
        zones: Option<&BTreeSet<ZoneId>>,
    ) -> Option<(Setup, Before)> {
        let baud = table.maybe("baud", &baud());
        let mut wishes = Wishes::default();
        let before =
            if table.has_any(&["region", "power_dbm", "antenna", "address"]) || table.has_any(&SENSING) {
                let sensing = self.sensing(table, id, zones);
                let (radio, address, antennas) = transmitter(table, &TRANSMITTERS, u8::MAX, zones)?;
                let (thresholds, occupancy) = sensing?;
                wishes = Wishes { radio: Some(radio), address, thresholds, occupancy, ..wishes };
                Before::Antennas(antennas)
            } else if table.has_any(&["zone", "loyalty"]) {
                let (loyalty, zone) = scanner(table, zones)?;
                wishes.loyalty = Some(loyalty);
                Before::Zone(zone)
            } else {
                Before::Antennas(Vec::new())
            };
        Some((Setup::Auto(Wishes { baud: baud?, ..wishes }), before))
    }

    /// A node tells who is in a zone: that must be a booth, and two would contradict each other.
    fn booth(&mut self, table: &Table<'_, '_>, id: Option<ReaderId>, zone: ZoneId) {
        if self.no_booths.contains(&zone) {
            table.wrong("occupancy", "the [[zone]] with this id is no booth: it must have kind = \"booth\"");
        } else if let Some(other) = self.told_of.get(&zone) {
            let other = other.map_or("another reader".to_owned(), |other| format!("reader \"{other}\""));
            table.wrong("occupancy", format!("{other} tells of this booth already"));
        } else {
            self.told_of.insert(zone, id);
        }
    }
}

/// The keys that only nodes have.
const SENSING: [&str; 5] = ["occupancy", "occupied", "window_ms", "motion_mg", "settle_ms"];

/// When a node's sensors tell something.
fn thresholds(table: &mut Table<'_, '_>) -> Option<Thresholds> {
    let Thresholds { window_ms, motion_mg, settle_ms } = Thresholds::default();
    let window_ms = table.may("window_ms", window_ms, &within(&WINDOW_MS));
    let motion_mg = table.may("motion_mg", motion_mg, &within(&MOTION_MG));
    let settle_ms = table.may("settle_ms", settle_ms, &within(&SETTLE_MS));
    Some(Thresholds { window_ms: window_ms?, motion_mg: motion_mg?, settle_ms: settle_ms? })
}

fn within(range: &RangeInclusive<u16>) -> Allowed<u16> {
    whole((*range.start()).into()..=(*range.end()).into())
}

/// What is before a reader.
pub(super) enum Before {
    /// Zones, before its antennas.
    Antennas(Antennas),
    /// The zone to which a scanner belongs.
    Zone(ZoneId),
}

/// What may stand for the protocol.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    R200,
    ThingMagic,
    Chafon,
    Ruuvi,
    Scanner,
    Node,
    Auto,
}

/// The languages of readers that transmit.
const TRANSMITTERS: [Protocol; 3] = [Protocol::ThingMagic, Protocol::R200, Protocol::Chafon];

fn baud() -> Allowed<u32> {
    whole(9_600..=921_600)
}

/// What a reader is told whose protocol is stated.
fn stated(
    table: &mut Table<'_, '_>,
    protocol: Protocol,
    zones: Option<&BTreeSet<ZoneId>>,
) -> Option<(Setup, Before)> {
    let baud = table.may("baud", protocol.factory_baud(), &baud());
    let (settings, before) = match protocol {
        Protocol::Ruuvi => (Settings::Ruuvi, Before::Antennas(Vec::new())),
        Protocol::Scanner => {
            let (loyalty, zone) = scanner(table, zones)?;
            (Settings::Scanner { loyalty }, Before::Zone(zone))
        }
        Protocol::R200 | Protocol::ThingMagic | Protocol::Chafon => {
            let (radio, address, antennas) = transmitter(table, &[protocol], u8::MAX, zones)?;
            (settings(protocol, address, radio), Before::Antennas(antennas))
        }
    };
    Some((Setup::Stated { baud: baud?, settings }, before))
}

/// What a scanner is told, and its zone.
fn scanner(
    table: &mut Table<'_, '_>,
    zones: Option<&BTreeSet<ZoneId>>,
) -> Option<(Vec<LoyaltyPattern>, ZoneId)> {
    let zone = table.need("zone", &name());
    known(table, "zone", zone, zones);
    let loyalty = table.may("loyalty", Vec::new(), &patterns())?;
    Some((loyalty, zone?))
}

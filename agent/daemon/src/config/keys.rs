//! The keys of the agent's configuration, and what each may hold. Enters: the text of the file. Leaves: a
//! checked [`Config`], or everything that is wrong with the file.

use std::collections::BTreeSet;
use std::path::Path;

use hangtag_agent_core::infer::{Layout, Zone};
use hangtag_agent_core::intake::{LoyaltyPattern, Protocol, Radio, Region, Settings, SettingsError, node};
use hangtag_protocol::id::{ReaderId, ZoneId};
use hangtag_protocol::key::PublicKey;
use hangtag_protocol::topic::Gateway;
use serde::Deserialize;

use super::allowed::{
    Allowed, flag, host, name, number, one_of, path, patterns, text, whole, word, words_of,
};
use super::hours::hours;
use super::ports::Ports;
use super::sheet::{Sheet, Table, Wrong};
use super::{Config, DeleteAfter, Mqtt, Reader, Setup, SpoolSettings, WhenFull, Wishes};

/// Reads and checks the text of a file; relative paths in it are relative to a folder.
///
/// # Errors
/// With everything that is wrong, in the order of the file.
pub(super) fn read(text: &str, folder: &Path) -> Result<Config, Vec<Wrong>> {
    let (sheet, table) = Sheet::new(text);
    let config = config(&mut sheet.top(table), folder, sheet.is_broken());
    let wrong = sheet.into_wrong();
    match config {
        Some(config) if wrong.is_empty() => Ok(config),
        _ => Err(wrong),
    }
}

fn config(top: &mut Table<'_, '_>, folder: &Path, broken: bool) -> Option<Config> {
    let (tenant, store, gateway) =
        (top.need("tenant", &name()), top.need("store", &name()), top.need("gateway", &name()));
    let data = top.need("data", &path());
    let mqtt = top.table("mqtt").and_then(|mut table| mqtt(&mut table, folder));
    let spool = top.table("spool").and_then(|mut table| spool(&mut table));
    let clock_kept = top.table("clock").and_then(|mut table| {
        let kept = table.may("kept", false, &flag());
        table.end();
        kept
    });
    let hours = match top.has_any(&["schedule"]) {
        true => top.table("schedule").map(|mut table| hours(&mut table)),
        // Asked for, so that it is known.
        false => top.table("schedule").map(|_| Some(None)),
    };
    let has_loyalty = top.has_any(&["loyalty"]);
    let key =
        top.table("loyalty").and_then(|mut table| if has_loyalty { loyalty(&mut table) } else { Some(None) });
    let zone_tables = top.tables("zone", "[[zone]]");
    // What cannot be understood may be the zone that an antenna looks for.
    let zones_known = zone_tables.is_some() && !broken;
    let mut zones = Zones::default();
    zone_tables.unwrap_or_default().iter_mut().for_each(|table| zones.take(table));
    let mut layout = Layout::new(zones.sound.clone());
    let readers = top.tables("reader", "[[reader]]").and_then(|tables| {
        if tables.is_empty() {
            top.missing("reader", "given by a [[reader]] table for each");
        }
        // What cannot be understood may be the key.
        let mut all = Readers { may_seal: has_loyalty || broken, ..Readers::default() };
        let known = zones_known.then_some(&zones.names);
        let read: Vec<_> = tables.into_iter().map(|mut table| all.take(&mut table, folder, known)).collect();
        read.into_iter().collect::<Option<Vec<_>>>()
    });
    top.end();
    let mut checked = Vec::new();
    for (reader, antennas) in readers? {
        layout.add_reader(reader.id, &antennas).ok()?;
        checked.push(reader);
    }
    Some(Config {
        gateway: Gateway { tenant: tenant?, store: store?, gateway: gateway? },
        data: folder.join(data?),
        mqtt: mqtt?,
        spool: spool?,
        clock_kept: clock_kept?,
        hours: hours??,
        key: key?,
        layout,
        readers: checked,
    })
}

/// The key to which loyalty codes are sealed.
fn loyalty(table: &mut Table<'_, '_>) -> Option<Option<PublicKey>> {
    let words = "central's public key in quotation marks, as `hangtag-central keys` prints it";
    let key = table.need_parsed("key", words);
    table.end();
    key.map(Some)
}

fn mqtt(table: &mut Table<'_, '_>, folder: &Path) -> Option<Mqtt> {
    let host = table.need("host", &host());
    let port = table.may("port", 1_883, &whole(1..=65_535));
    let user = table.maybe("user", &text());
    let password_file = table.maybe("password_file", &path());
    let keep_alive_s = table.may("keep_alive_s", 10, &whole(5..=3_600));
    let backlog_share = table.may("backlog_share", 75, &whole(10..=100));
    let max_kib_per_s = table.maybe("max_kib_per_s", &whole(1..=1_000_000));
    if let (Some(None), Some(Some(_))) = (&user, &password_file) {
        table.wrong("password_file", "is of no use without a user; add user");
    }
    table.end();
    Some(Mqtt {
        host: host?,
        port: port?,
        user: user?,
        password_file: password_file?.map(|path| folder.join(path)),
        keep_alive_s: keep_alive_s?,
        backlog_share: backlog_share?,
        max_kib_per_s: max_kib_per_s?,
    })
}

fn spool(table: &mut Table<'_, '_>) -> Option<SpoolSettings> {
    let cap_mib = table.may("cap_mib", 1_024, &whole(4..=1_000_000));
    let commit_ms = table.may("commit_ms", 250, &whole(10..=10_000));
    let commit_events = table.may("commit_events", 256, &whole(1..=100_000));
    let when_full = table.may("when_full", WhenFull::default(), &one_of());
    let retention_h = table.may("retention_h", 48, &whole(0..=240));
    let delete_after = table.may("delete_after", DeleteAfter::default(), &one_of());
    table.end();
    Some(SpoolSettings {
        cap_mib: cap_mib?,
        commit_ms: commit_ms?,
        commit_events: commit_events?,
        when_full: when_full?,
        retention_h: retention_h?,
        delete_after: delete_after?,
    })
}

#[derive(Default)]
struct Zones {
    sound: Vec<Zone>,
    /// Also those of zones of which something else is wrong.
    names: BTreeSet<ZoneId>,
}

impl Zones {
    fn take(&mut self, table: &mut Table<'_, '_>) {
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

/// A reader's ports, and the zone before each.
type Antennas = Vec<(u8, ZoneId)>;

#[derive(Default)]
struct Readers {
    ids: BTreeSet<ReaderId>,
    ports: Ports,
    /// There is a key to which loyalty codes can be sealed.
    may_seal: bool,
}

impl Readers {
    fn take(
        &mut self,
        table: &mut Table<'_, '_>,
        folder: &Path,
        zones: Option<&BTreeSet<ZoneId>>,
    ) -> Option<(Reader, Antennas)> {
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
            Some(Word::Auto) => auto(table, zones),
            Some(Word::Node) => node(table, zones),
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
        let (setup, antennas) = told?;
        Some((Reader { id: id?, port: port?, setup }, antennas))
    }
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
) -> Option<(Setup, Antennas)> {
    let baud = table.may("baud", protocol.factory_baud(), &baud());
    let (settings, antennas) = match protocol {
        Protocol::Ruuvi => (Settings::Ruuvi, Vec::new()),
        Protocol::Scanner => {
            let (loyalty, antennas) = scanner(table, zones)?;
            (Settings::Scanner { loyalty }, antennas)
        }
        Protocol::R200 | Protocol::ThingMagic | Protocol::Chafon => {
            let (radio, address, antennas) = transmitter(table, &[protocol], u8::MAX, zones)?;
            (settings(protocol, address, radio), antennas)
        }
    };
    Some((Setup::Stated { baud: baud?, settings }, antennas))
}

/// What a reader node is told. What the module behind it can do, the node says.
fn node(table: &mut Table<'_, '_>, zones: Option<&BTreeSet<ZoneId>>) -> Option<(Setup, Antennas)> {
    let baud = table.may("baud", node::FACTORY_BAUD, &baud());
    let (radio, _, antennas) = transmitter(table, &[], node::MOST_PORTS, zones)?;
    Some((Setup::Node { baud: baud?, radio }, antennas))
}

/// What is told to a reader that is to be found out. Its keys say what it may be: a reader of tags, a scanner, or
/// neither, which leaves what needs no keys.
fn auto(table: &mut Table<'_, '_>, zones: Option<&BTreeSet<ZoneId>>) -> Option<(Setup, Antennas)> {
    let baud = table.maybe("baud", &baud());
    let (radio, address, loyalty, antennas) = if table.has_any(&["region", "power_dbm", "antenna", "address"])
    {
        let (radio, address, antennas) = transmitter(table, &TRANSMITTERS, u8::MAX, zones)?;
        (Some(radio), address, None, antennas)
    } else if table.has_any(&["zone", "loyalty"]) {
        let (loyalty, antennas) = scanner(table, zones)?;
        (None, u8::MAX, Some(loyalty), antennas)
    } else {
        (None, u8::MAX, None, Vec::new())
    };
    Some((Setup::Auto(Wishes { baud: baud?, radio, address, loyalty }), antennas))
}

/// What a reader of RFID tags is told, and its antennas. There is no default for what may be illegal.
/// `protocols` are those of which it may speak one: what it is told, one of them must be able to do. `most` is the
/// highest port that can be named.
fn transmitter(
    table: &mut Table<'_, '_>,
    protocols: &[Protocol],
    most: u8,
    zones: Option<&BTreeSet<ZoneId>>,
) -> Option<(Radio, u8, Antennas)> {
    // Without one, a reader answers whoever asks.
    let address = match protocols.contains(&Protocol::Chafon) {
        true => table.may("address", u8::MAX, &whole(0..=254)),
        false => Some(u8::MAX),
    };
    let region = table.need("region", &one_of());
    let power_dbm = table.need("power_dbm", &number(0.0..=33.0));
    let mut antennas = table.tables("antenna", "[[reader.antenna]]")?;
    if antennas.is_empty() {
        table.missing("antenna", "given by a [[reader.antenna]] table for each port that is used");
    }
    let mut ports = BTreeSet::new();
    let read: Vec<_> = antennas.iter_mut().map(|table| antenna(table, most, zones, &mut ports)).collect();
    let mut told = false;
    if let &[protocol] = protocols {
        let possible = regions(protocol);
        if region.is_some_and(|region| possible.iter().all(|(_, possible)| *possible != region)) {
            let words: Vec<String> = possible.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let can = format!("readers with this protocol can be in {}", words.join(", "));
            table.wrong("region", can);
            told = true;
        }
        let ports = antennas.iter().zip(&read).filter_map(|(table, read)| Some((table, (*read)?.0)));
        for (table, port) in ports {
            let Some(&(_, region)) = possible.first() else { break };
            let settings = settings(protocol, u8::MAX, Radio { region, power_cdbm: 0, antennas: vec![port] });
            if let Err(SettingsError::Antenna { most, .. }) = settings.check() {
                let can = if most == 1 { "port 1 only".into() } else { format!("ports 1 to {most}") };
                table.wrong("port", format!("readers with this protocol have {can}"));
                told = true;
            }
        }
    }
    let read = read.into_iter().collect::<Option<Vec<_>>>()?;
    let antennas = read.iter().map(|(port, _)| *port).collect();
    // A float cast saturates, and the range was checked.
    let power_cdbm = (power_dbm? * 100.0).round() as u16;
    let (radio, address) = (Radio { region: region?, power_cdbm, antennas }, address?);
    let refusals =
        protocols.iter().filter_map(|protocol| settings(*protocol, address, radio.clone()).check().err());
    let refusals: Vec<SettingsError> = refusals.collect();
    match refusals.as_slice() {
        [why @ (SettingsError::Power { .. } | SettingsError::Fraction(_))] if protocols.len() == 1 => {
            table.wrong("power_dbm", why.to_string());
        }
        // What one of them can do is not wrong.
        [why, ..] if refusals.len() == protocols.len() && !told => table.wrong("protocol", why.to_string()),
        _ => {}
    }
    Some((radio, address, read))
}

fn settings(protocol: Protocol, address: u8, radio: Radio) -> Settings {
    match protocol {
        Protocol::R200 => Settings::R200(radio),
        Protocol::ThingMagic => Settings::ThingMagic(radio),
        Protocol::Chafon => Settings::Chafon { radio, address },
        Protocol::Ruuvi => Settings::Ruuvi,
        Protocol::Scanner => Settings::Scanner { loyalty: Vec::new() },
    }
}

/// What a scanner is told. In the layout, its zone is before its first port.
fn scanner(
    table: &mut Table<'_, '_>,
    zones: Option<&BTreeSet<ZoneId>>,
) -> Option<(Vec<LoyaltyPattern>, Antennas)> {
    let zone = table.need("zone", &name());
    known(table, zone, zones);
    let loyalty = table.may("loyalty", Vec::new(), &patterns())?;
    Some((loyalty, vec![(1, zone?)]))
}

fn antenna(
    table: &mut Table<'_, '_>,
    most: u8,
    zones: Option<&BTreeSet<ZoneId>>,
    ports: &mut BTreeSet<u8>,
) -> Option<(u8, ZoneId)> {
    let port = table.need("port", &whole(1..=most.into()));
    let zone = table.need("zone", &name());
    if port.is_some_and(|port| !ports.insert(port)) {
        table.wrong("port", "another antenna of this reader has this port");
    }
    known(table, zone, zones);
    table.end();
    Some((port?, zone?))
}

/// Tells when there is no such zone.
fn known(table: &Table<'_, '_>, zone: Option<ZoneId>, zones: Option<&BTreeSet<ZoneId>>) {
    if let (Some(zone), Some(zones)) = (zone, zones)
        && !zones.contains(&zone)
    {
        let there: Vec<String> = zones.iter().map(|zone| format!("\"{zone}\"")).collect();
        let there = if there.is_empty() { "none".into() } else { there.join(", ") };
        table.wrong("zone", format!("there is no [[zone]] with this id; there are {there}"));
    }
}

/// The regions in which readers of a protocol can be, and what they are called.
fn regions(protocol: Protocol) -> Vec<(&'static str, Region)> {
    let named = words_of::<Region>().iter().filter_map(|text| Some((*text, word(text)?)));
    let possible = |region| {
        settings(protocol, u8::MAX, Radio { region, power_cdbm: 0, antennas: Vec::new() }).check().is_ok()
    };
    named.filter(|(_, region)| possible(*region)).collect()
}

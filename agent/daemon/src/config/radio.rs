//! What readers of RFID tags are told in the configuration. Enters: a reader's table. Leaves: how it transmits, and
//! its antennas, or what is wrong with them.

use std::collections::BTreeSet;

use hangtag_agent_core::intake::{Protocol, Radio, Region, Settings, SettingsError};
use hangtag_protocol::id::ZoneId;

use super::allowed::{name, number, one_of, whole, word, words_of};
use super::sheet::Table;
use super::zones::known;

/// A reader's ports, and the zone before each.
pub(super) type Antennas = Vec<(u8, ZoneId)>;

/// What a reader of RFID tags is told, and its antennas. There is no default for what may be illegal.
/// `protocols` are those of which it may speak one: what it is told, one of them must be able to do. `most` is the
/// highest port that can be named.
pub(super) fn transmitter(
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

/// The settings of a reader that transmits so, in a protocol; of one that does not, the least that it needs.
pub(super) fn settings(protocol: Protocol, address: u8, radio: Radio) -> Settings {
    match protocol {
        Protocol::R200 => Settings::R200(radio),
        Protocol::ThingMagic => Settings::ThingMagic(radio),
        Protocol::Chafon => Settings::Chafon { radio, address },
        Protocol::Ruuvi => Settings::Ruuvi,
        Protocol::Scanner => Settings::Scanner { loyalty: Vec::new() },
    }
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
    known(table, "zone", zone, zones);
    table.end();
    Some((port?, zone?))
}

/// The regions in which readers of a protocol can be, and what they are called.
fn regions(protocol: Protocol) -> Vec<(&'static str, Region)> {
    let named = words_of::<Region>().iter().filter_map(|text| Some((*text, word(text)?)));
    let possible = |region| {
        settings(protocol, u8::MAX, Radio { region, power_cdbm: 0, antennas: Vec::new() }).check().is_ok()
    };
    named.filter(|(_, region)| possible(*region)).collect()
}

//! The keys of the agent's configuration, and what each may hold; those of its parts are in files of their own.
//! Enters: the text of the file. Leaves: a checked [`Config`], or everything that is wrong with the file.

use std::path::Path;

use hangtag_agent_core::infer::Layout;
use hangtag_metrics::listen::Listen;
use hangtag_protocol::enrol::PORT;
use hangtag_protocol::key::PublicKey;
use hangtag_protocol::topic::Gateway;
use hangtag_tls::{Files, Identity};

use super::allowed::{flag, host, name, one_of, path, place, socket, text, whole};
use super::hours::hours;
use super::readers::{Before, Readers};
use super::sensor::{Sensor, Sensors, nodes};
use super::sheet::{Sheet, Table, Wrong};
use super::zones::Zones;
use super::{Config, DeleteAfter, Mqtt, SpoolSettings, WhenFull};
use crate::enrol::door::Place;

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
    let has_metrics = top.has_any(&["metrics"]);
    let metrics =
        top.table("metrics").and_then(|mut table| if has_metrics { metrics(&mut table) } else { Some(None) });
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
        let mut all = Readers::new(has_loyalty || broken, &zones.sound);
        let known = zones_known.then_some(&zones.names);
        let read: Vec<_> = tables.into_iter().map(|mut table| all.take(&mut table, folder, known)).collect();
        read.into_iter().collect::<Option<Vec<_>>>()
    });
    let sensors = top.tables("sensor", "[[sensor]]").map(|mut tables| {
        let known = zones_known.then_some(&zones.names);
        let mut all = Sensors::new(readers.as_deref().map(nodes));
        let read: Vec<_> = tables.iter_mut().map(|table| all.take(table, known)).collect();
        read.into_iter().collect::<Option<Vec<_>>>()
    });
    top.end();
    let mut checked = Vec::new();
    for (reader, before) in readers? {
        let number = match before {
            Before::Antennas(antennas) => layout.add_reader(reader.id, &antennas),
            Before::Zone(zone) => layout.add_scanner(reader.id, zone),
        };
        let number = number.ok()?;
        if let Some(booth) = reader.setup.occupancy() {
            layout.add_occupancy(number, booth.zone).ok()?;
        }
        checked.push(reader);
    }
    for (sensor, on) in sensors?? {
        match sensor {
            Sensor::Tag(mac) => layout.add_sensor(mac, on).ok()?,
            Sensor::OfNode { reader, number } => layout.add_node_sensor(reader, number, on).ok()?,
        }
    }
    Some(Config {
        gateway: Gateway { tenant: tenant?, store: store?, gateway: gateway? },
        data: folder.join(data?),
        mqtt: mqtt?,
        spool: spool?,
        clock_kept: clock_kept?,
        metrics: metrics?,
        hours: hours??,
        key: key?,
        layout,
        readers: checked,
    })
}

/// Where metrics are served.
fn metrics(table: &mut Table<'_, '_>) -> Option<Option<Listen>> {
    let (address, anyone) = (table.need("listen", &socket()), table.may("anyone", false, &flag()));
    let listen = Listen::new(address?, anyone?);
    if let Err(why) = &listen {
        table.wrong("listen", why.to_string());
    }
    table.end();
    listen.ok().map(Some)
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
    let has_tls = table.has_any(&["tls"]);
    let tls = table.table("tls").and_then(|mut table| match has_tls {
        true => tls(&mut table, folder).map(Some),
        false => Some(None),
    });
    let port = table.may("port", if has_tls { 8_883 } else { 1_883 }, &whole(1..=65_535));
    let user = table.maybe("user", &text());
    let password_file = table.maybe("password_file", &path());
    let keep_alive_s = table.may("keep_alive_s", 10, &whole(5..=3_600));
    let backlog_share = table.may("backlog_share", 75, &whole(10..=100));
    let max_kib_per_s = table.maybe("max_kib_per_s", &whole(1..=1_000_000));
    if let (Some(None), Some(Some(_))) = (&user, &password_file) {
        table.wrong("password_file", "is of no use without a user; add user");
    }
    table.end();
    let (tls, renew) = tls?.unzip();
    Some(Mqtt {
        host: host?,
        port: port?,
        tls,
        renew: renew.flatten(),
        user: user?,
        password_file: password_file?.map(|path| folder.join(path)),
        keep_alive_s: keep_alive_s?,
        backlog_share: backlog_share?,
        max_kib_per_s: max_kib_per_s?,
    })
}

/// The files, and where the certificate is renewed.
fn tls(table: &mut Table<'_, '_>, folder: &Path) -> Option<(Files, Option<Place>)> {
    let authorities = table.need("ca", &path());
    let (certificate, key) = (table.maybe("certificate", &path()), table.maybe("key", &path()));
    match (&certificate, &key) {
        (Some(Some(_)), Some(None)) => {
            table.wrong("certificate", "is of no use without its key; add key");
        }
        (Some(None), Some(Some(_))) => {
            table.wrong("key", "is of no use without a certificate; add certificate");
        }
        _ => {}
    }
    let renew = table.maybe("renew", &place(PORT));
    if let (Some(Some(_)), Some(certificate), Some(key)) = (&renew, &certificate, &key)
        && (certificate.is_none() || certificate != key)
    {
        table.wrong("renew", "needs certificate and key in one file, so that both are replaced in one step");
    }
    table.end();
    let identity = certificate?.zip(key?);
    let files = Files {
        authorities: folder.join(authorities?),
        identity: identity.map(|(certificate, key)| Identity {
            certificate: folder.join(certificate),
            key: folder.join(key),
        }),
    };
    Some((files, renew?))
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

//! `check`: whether an agent with this configuration would do what it is to do on this machine. Enters: a
//! configuration. Leaves: every error in it, or what the agent would do, and what of the machine stands in its
//! way; an exit code. It opens no port and asks nobody.

pub(super) mod folder;
pub(super) mod port;

use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;

use hangtag_agent_core::intake::Protocol;
use hangtag_agent_core::intake::node::Thresholds;
use hangtag_protocol::identity::Identity;
use hangtag_protocol::topic::Gateway;
use hangtag_tls::{Certificate, Files};
use rustix::fs::{Access, access};
use rustix::process::geteuid;

use super::ask::user;
use super::out::out;
use crate::clock;
use crate::config::{Booth, Config, ConfigError, DeleteAfter, Reader, Setup, WhenFull};

/// What `check --help` says at the end.
pub(super) const CODES: &str = "\
Exit codes:
  0  the configuration is good and this machine is ready; there may be warnings
  1  the configuration is refused, or something on this machine keeps the agent from working with it
  2  the command line is wrong";

/// What stands in the agent's way.
#[derive(Default)]
pub(super) struct Findings {
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Findings {
    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty() && self.warnings.is_empty()
    }

    /// Errors and warnings.
    pub(super) fn into_parts(self) -> (Vec<String>, Vec<String>) {
        (self.errors, self.warnings)
    }

    fn error(&mut self, text: impl Into<String>) {
        self.errors.push(text.into());
    }

    fn warning(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }
}

pub(super) fn run(path: &Path) -> anyhow::Result<ExitCode> {
    let (text, good) = match Config::load(path) {
        Ok(config) => {
            let mut found = Findings::default();
            folder::look(&config, &mut found);
            broker(&config, &mut found);
            password(&config, &mut found);
            port::look(&config.readers, &mut found);
            choices(&config, &mut found);
            sensors(&config, &mut found);
            (tell(path, &config, &found), found.errors.is_empty())
        }
        Err(why @ ConfigError::Wrong { .. }) => (format!("{why}\n{}: not taken\n", path.display()), false),
        Err(why) => (format!("{why}\n"), false),
    };
    // The code tells the same to who reads no more.
    match out().write_all(text.as_bytes()) {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => Err(why.into()),
        _ if good => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}

fn tell(path: &Path, config: &Config, found: &Findings) -> String {
    let mut text = format!("{} is good. An agent with it would\n", path.display());
    for (verb, what) in summary(config) {
        text += &format!("  {verb:<8} {what}\n");
    }
    for warning in &found.warnings {
        text += &format!("warning: {warning}\n");
    }
    for error in &found.errors {
        text += &format!("error: {error}\n");
    }
    if geteuid().is_root() {
        text += "note: root may do everything. Whether the service's own user may: \
                 runuser -u hangtag-agent -- hangtag-agent check\n";
    }
    text
}

/// What an agent would do, a line for each.
fn summary(config: &Config) -> Vec<(&'static str, String)> {
    let Config { gateway, mqtt, spool, .. } = config;
    let mut lines = vec![(
        "be",
        format!("gateway {} of store {} of tenant {}", gateway.gateway, gateway.store, gateway.tenant),
    )];
    for (number, reader) in config.readers.iter().enumerate() {
        let speaks = match &reader.setup {
            Setup::Stated { settings, .. } => word(settings.protocol()),
            Setup::Node { .. } => "node".to_owned(),
            Setup::Auto(_) => "whichever reader is found".to_owned(),
        };
        let baud = reader.baud().map_or_else(String::new, |baud| format!(", {baud} baud"));
        let address = reader.setup.address().map_or_else(String::new, |(_, at)| format!(", address {at}"));
        let mut what = format!("reader {}: {speaks}{baud}{address}, at {}", reader.id, reader.port.display());
        if let Some(radio) = reader.radio() {
            let zones = radio.antennas.iter().map(|port| {
                let zone = config.layout.zone_at(number, *port).map(|zone| zone.id.to_string());
                format!("{port} at {}", zone.unwrap_or_default())
            });
            let (region, dbm) = (word(radio.region), f32::from(radio.power_cdbm) / 100.0);
            let zones = zones.collect::<Vec<_>>().join(", ");
            what += &format!("; region {region}, {dbm} dBm; antenna {zones}");
        }
        let of_node = match &reader.setup {
            Setup::Node { settings, .. } => Some(("", settings.thresholds)),
            Setup::Auto(wishes) if wishes.radio.is_some() => Some(("if it is a node ", wishes.thresholds)),
            Setup::Stated { .. } | Setup::Auto(_) => None,
        };
        if let Some((when, Thresholds { window_ms, motion_mg, settle_ms })) = of_node {
            what += &format!("; {when}window {window_ms} ms, motion {motion_mg} mg, settle {settle_ms} ms");
        }
        if let Some(Booth { zone, occupied }) = reader.setup.occupancy() {
            what += &format!(", occupied at level {} in {zone}", word(occupied));
        }
        lines.push(("read", what));
    }
    if let Some(hours) = &config.hours {
        lines.push(("rest", format!("outside of {}, as soon as the clock is vouched for", hours.text)));
    }
    if let Some(key) = config.key {
        lines.push(("seal", format!("loyalty codes to central's key {}", key.id())));
    }
    let user = mqtt.user.as_ref().map_or_else(|| "without a user".into(), |user| format!("as user {user}"));
    let most = mqtt.max_kib_per_s.map_or_else(
        || "as fast as central settles".into(),
        |most| format!("a backlog with at most {most} KiB/s"),
    );
    lines.push(("send", format!("to {} port {}, {user}, {most}", mqtt.host, mqtt.port)));
    if let Some(door) = &mqtt.renew {
        lines.push(("renew", format!("its certificate at {} port {}", door.host, door.port)));
    }
    let full = match spool.when_full {
        WhenFull::DropOldest => "the oldest are lost",
        WhenFull::Refuse => "no more are accepted",
    };
    let (cap, data) = (spool.cap_mib, config.data.display());
    lines.push(("keep", format!("events in {data}, up to {cap} MiB; when that is full {full}")));
    let whose = match spool.delete_after {
        DeleteAfter::Central => "central has stored them",
        DeleteAfter::Broker => "the broker has taken them",
    };
    let hours = spool.retention_h;
    lines.push(("delete", format!("events {hours} h of running time after {whose}")));
    lines
}

/// A word of the configuration, as it is written there.
fn word(word: impl std::fmt::Debug) -> String {
    format!("{word:?}").to_lowercase()
}

/// What is allowed, and may not be meant.
pub(super) fn choices(config: &Config, found: &mut Findings) {
    if config.spool.delete_after == DeleteAfter::Broker {
        found.warning(
            "spool.delete_after = \"broker\": what the broker takes and then loses is lost, and so is what \
             nobody subscribes to. With hangtag-central leave it out",
        );
    }
    if config.spool.retention_h == 0 {
        found.warning("spool.retention_h = 0: a central that is restored from a backup cannot be refilled");
    }
    let is_node = |reader: &&Reader| matches!(reader.setup, Setup::Node { .. });
    if config.hours.is_some()
        && let Some(node) = config.readers.iter().find(is_node)
    {
        found.warning(format!("reader \"{}\": is a node, which the schedule does not stop", node.id));
    }
    for zone in config.layout.zones() {
        let seen = |(number, reader): (usize, &Reader)| {
            let mut ports = reader.radio().into_iter().flat_map(|radio| &radio.antennas);
            ports.any(|port| config.layout.zone_at(number, *port).is_some_and(|seen| seen.id == zone.id))
        };
        // Where no garments rest, a scanner alone may be meant.
        let scans = |number| config.layout.scanner_zone(number).is_some_and(|of| of.id == zone.id);
        let may_do = !zone.kind.is_floor() && (0..config.readers.len()).any(scans);
        if !may_do && !config.readers.iter().enumerate().any(seen) {
            found.warning(format!("zone \"{}\": no antenna looks at it", zone.id));
        }
    }
}

/// Sensors of which nothing can come.
pub(super) fn sensors(config: &Config, found: &mut Findings) {
    let hears = |reader: &Reader| match &reader.setup {
        Setup::Stated { settings, .. } => settings.protocol() == Protocol::Ruuvi,
        Setup::Auto(_) => true,
        Setup::Node { .. } => false,
    };
    if !config.readers.iter().any(hears) {
        for sensor in config.layout.sensors() {
            found.warning(format!(
                "sensor {sensor}: no reader hears sensor tags, which takes one with \
                                   protocol = \"ruuvi\""
            ));
        }
    }
}

/// Whether the broker can be believed, and what goes to it can be read by others.
fn broker(config: &Config, found: &mut Findings) {
    let host = &config.mqtt.host;
    let is_here = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    match &config.mqtt.tls {
        Some(files) => match files.read() {
            Err(why) => found.error(format!("mqtt.tls: {why}")),
            Ok(_) => certificate(config, files, found),
        },
        None if !is_here => found.warning(format!(
            "mqtt: without [mqtt.tls] everybody on the way to {host} can read and change what goes there"
        )),
        None => {}
    }
}

/// Whether the broker can know this gateway by its certificate, and for how long.
fn certificate(config: &Config, files: &Files, found: &mut Findings) {
    let Some(Ok(own)) = files.identity.as_ref().map(|identity| Certificate::read(&identity.certificate))
    else {
        return;
    };
    let name = format!("mqtt.tls.certificate {}", own.serial);
    let now = clock::wall().0 / 1_000;
    if own.left(now) <= 0 {
        found.error(format!("{name}: is over, by this machine's clock: enrol this gateway anew"));
    } else if now < own.from {
        found.warning(format!("{name}: is not good yet, by this machine's clock, which may be behind"));
    } else if own.left(now) < (own.until - own.from) / 4 {
        let days = own.left(now) / 86_400;
        let why = if config.mqtt.renew.is_some() {
            "could not be renewed"
        } else {
            "nobody renews it: mqtt.tls.renew"
        };
        found.warning(format!("{name}: is good for {days} more days, and {why}"));
    }
    // Certificates of other authorities may be named as these like.
    let Gateway { store, gateway, .. } = config.gateway;
    let (Ok(wanted), Ok(named)) = (Identity::gateway(store, gateway), own.name.parse::<Identity>()) else {
        return;
    };
    if named != wanted {
        found.error(format!("{name}: is that of {named}, and this gateway is {wanted}"));
    }
}

/// The file with the broker's password.
pub(super) fn password(config: &Config, found: &mut Findings) {
    let Some(path) = &config.mqtt.password_file else { return };
    let name = format!("mqtt.password_file {}", path.display());
    match fs::read_to_string(path) {
        Err(why) if why.kind() == io::ErrorKind::PermissionDenied => {
            found.error(format!("{name}: user {} may not read it", user(geteuid().as_raw())));
        }
        Err(why) => found.error(format!("{name}: {why}")),
        Ok(text) => match text.trim_end_matches(['\r', '\n']) {
            "" => found.error(format!("{name}: is empty")),
            text if text.contains('\n') => {
                found.error(format!("{name}: has several lines; it must hold nothing but the password"));
            }
            _ => {}
        },
    }
    if fs::metadata(path).is_ok_and(|file| file.mode() & 0o004 != 0) {
        found.warning(format!("{name}: everybody on this machine may read it; chmod o-r"));
    }
}

/// Whether this process may do something with a file.
fn may(path: &Path, what: Access) -> bool {
    access(path, what).is_ok()
}

//! The agent's configuration: one TOML file. Enters: a path. Leaves: a checked [`Config`], or an error
//! that names the key. Nothing is opened before everything is checked.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hangtag_agent_core::infer::{Layout, Zone, ZoneKind};
use hangtag_agent_core::intake::{Protocol, Region, Settings, SettingsError};
use hangtag_protocol::clock::BootId;
use hangtag_protocol::id::{GatewayId, ReaderId, StoreId, TenantId, ZoneId};
use hangtag_protocol::topic::Gateway;
use serde::Deserialize;

use crate::spool;

/// What the agent is told.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Who it is, in topics and event ids.
    pub(crate) gateway: Gateway,
    /// The folder for everything it keeps.
    pub(crate) data: PathBuf,
    /// The broker.
    pub(crate) mqtt: Mqtt,
    /// How events are kept.
    pub(crate) spool: SpoolSettings,
    /// Whether the operator vouches for the wall clock.
    pub(crate) clock_kept: bool,
    /// The shop.
    pub(crate) layout: Layout,
    /// The readers, in the order of the layout's.
    pub(crate) readers: Vec<Reader>,
}

/// A reader on a serial port.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) id: ReaderId,
    pub(crate) port: PathBuf,
    pub(crate) baud: u32,
    pub(crate) settings: Settings,
}

/// Where the broker is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mqtt {
    pub(crate) host: String,
    #[serde(default = "default_mqtt_port")]
    pub(crate) port: u16,
    pub(crate) user: Option<String>,
    pub(crate) password_file: Option<PathBuf>,
    /// Seconds, 5 to 3600: a dead connection is noticed after twice this time.
    #[serde(default = "default_keep_alive")]
    pub(crate) keep_alive_s: u16,
    /// How much of what may be on its way the backlog may take, in percent, 10 to 100: the rest is left to
    /// live events.
    #[serde(default = "default_backlog_share")]
    pub(crate) backlog_share: u8,
    /// KiB of batches per second, 1 to 1,000,000. The backlog is held to it; live events go at once, but
    /// count.
    pub(crate) max_kib_per_s: Option<u32>,
}

/// How events are kept.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpoolSettings {
    /// What the spool may take on disk, in MiB, 4 to 1,000,000. When it is full the oldest events go.
    #[serde(default = "default_cap")]
    pub(crate) cap_mib: u32,
    /// Events are made durable together, at most so many milliseconds after the first of them.
    #[serde(default = "default_commit")]
    pub(crate) commit_ms: u16,
    /// So many events are made durable at once, whenever the first of them came, 1 to 100,000.
    #[serde(default = "default_commit_events")]
    pub(crate) commit_events: u32,
    /// What happens when the spool is full of events that central has not settled.
    #[serde(default)]
    pub(crate) when_full: WhenFull,
    /// How long settled events are kept, in hours of running time, 0 to 240: a central that was restored
    /// from a backup is refilled with them.
    #[serde(default = "default_retention")]
    pub(crate) retention_h: u16,
    /// Whose word lets an event go.
    #[serde(default)]
    pub(crate) delete_after: DeleteAfter,
}

/// What happens when the spool is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WhenFull {
    /// The oldest events go, and central is told which.
    #[default]
    DropOldest,
    /// Nothing is accepted until central has settled something: the readers are held back.
    Refuse,
}

/// Whose word lets an event go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DeleteAfter {
    /// Central's: it has stored the event.
    #[default]
    Central,
    /// The broker's: it has taken the event. What it loses, or whoever reads from it, is lost.
    Broker,
}

/// What is known of this machine's wall clock.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Clock {
    /// Something that the agent cannot ask keeps it right: chrony, ntpd, a hypervisor.
    #[serde(default)]
    kept: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tenant: TenantId,
    store: StoreId,
    gateway: GatewayId,
    data: PathBuf,
    mqtt: Mqtt,
    #[serde(default = "default_spool")]
    spool: SpoolSettings,
    #[serde(default)]
    clock: Clock,
    #[serde(default)]
    zone: Vec<FileZone>,
    #[serde(default)]
    reader: Vec<FileReader>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileZone {
    id: ZoneId,
    kind: ZoneKind,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileReader {
    id: ReaderId,
    port: PathBuf,
    protocol: Protocol,
    #[serde(default = "default_baud")]
    baud: u32,
    region: Region,
    power_dbm: f64,
    antenna: Vec<FileAntenna>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAntenna {
    port: u8,
    zone: ZoneId,
}

fn default_mqtt_port() -> u16 {
    1883
}
fn default_keep_alive() -> u16 {
    10
}
fn default_backlog_share() -> u8 {
    75
}
fn default_cap() -> u32 {
    1_024
}
fn default_commit() -> u16 {
    250
}
fn default_retention() -> u16 {
    48
}
fn default_baud() -> u32 {
    115_200
}
fn default_commit_events() -> u32 {
    256
}
fn default_spool() -> SpoolSettings {
    SpoolSettings {
        cap_mib: default_cap(),
        commit_ms: default_commit(),
        commit_events: default_commit_events(),
        when_full: WhenFull::default(),
        retention_h: default_retention(),
        delete_after: DeleteAfter::default(),
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {path}: {why}")]
    Read { path: PathBuf, why: std::io::Error },
    #[error("{path}: {why}")]
    Toml { path: PathBuf, why: toml::de::Error },
    #[error("{path}: {key}: {why}")]
    Value { path: PathBuf, key: String, why: String },
}

impl Config {
    /// Reads and checks a file. Relative paths in it are relative to its folder.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|why| ConfigError::Read { path: path.to_owned(), why })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let file: File =
            toml::from_str(&text).map_err(|why| ConfigError::Toml { path: path.to_owned(), why })?;
        file.check(folder).map_err(|(key, why)| ConfigError::Value { path: path.to_owned(), key, why })
    }

    /// How the spool is set up, in the data folder.
    pub(crate) fn spool_settings(&self, boot: BootId, accepted_log: Option<PathBuf>) -> spool::Settings {
        spool::Settings {
            data: self.data.clone(),
            cap_bytes: u64::from(self.spool.cap_mib) << 20,
            commit: Duration::from_millis(self.spool.commit_ms.into()),
            commit_events: usize::try_from(self.spool.commit_events).unwrap_or(usize::MAX),
            when_full: self.spool.when_full,
            retention: u32::from(self.spool.retention_h) * 60,
            boot,
            accepted_log,
        }
    }

    /// The socket over which a running agent answers `watch` and `spool`.
    pub(crate) fn socket(&self) -> PathBuf {
        self.data.join("agent.sock")
    }
}

/// The key, and what is wrong with it.
type Wrong = (String, String);

impl File {
    fn check(self, folder: &Path) -> Result<Config, Wrong> {
        let wrong = |key: &str, why: String| Err((key.to_owned(), why));
        if self.mqtt.keep_alive_s < 5 || self.mqtt.keep_alive_s > 3_600 {
            return wrong("mqtt.keep_alive_s", format!("{} is not 5 to 3600", self.mqtt.keep_alive_s));
        }
        if !(10..=100).contains(&self.mqtt.backlog_share) {
            return wrong("mqtt.backlog_share", format!("{} is not 10 to 100", self.mqtt.backlog_share));
        }
        if let Some(kib) = self.mqtt.max_kib_per_s.filter(|kib| !(1..=1_000_000).contains(kib)) {
            return wrong("mqtt.max_kib_per_s", format!("{kib} is not 1 to 1000000"));
        }
        if !(4..=1_000_000).contains(&self.spool.cap_mib) {
            return wrong("spool.cap_mib", format!("{} is not 4 to 1000000", self.spool.cap_mib));
        }
        if !(10..=10_000).contains(&self.spool.commit_ms) {
            return wrong("spool.commit_ms", format!("{} is not 10 to 10000", self.spool.commit_ms));
        }
        if !(1..=100_000).contains(&self.spool.commit_events) {
            let why = format!("{} is not 1 to 100000", self.spool.commit_events);
            return wrong("spool.commit_events", why);
        }
        if self.spool.retention_h > 240 {
            return wrong("spool.retention_h", format!("{} is not 0 to 240", self.spool.retention_h));
        }
        if self.reader.is_empty() {
            return wrong("reader", "there is none; add a [[reader]]".into());
        }
        let mut names = BTreeSet::new();
        if let Some(zone) = self.zone.iter().find(|zone| !names.insert(zone.id)) {
            return wrong("zone.id", format!("\"{}\" is there twice", zone.id));
        }
        let mut layout =
            Layout::new(self.zone.iter().map(|zone| Zone { id: zone.id, kind: zone.kind }).collect());
        let mut readers = Vec::with_capacity(self.reader.len());
        let (mut ids, mut ports) = (BTreeSet::new(), BTreeSet::new());
        for reader in self.reader {
            let reader = reader.check(folder, &mut layout)?;
            if !ids.insert(reader.id) {
                return wrong("reader.id", format!("\"{}\" is there twice", reader.id));
            }
            if !ports.insert(reader.port.clone()) {
                return wrong("reader.port", format!("{} is used twice", reader.port.display()));
            }
            readers.push(reader);
        }
        let mqtt = Mqtt { password_file: self.mqtt.password_file.map(|p| folder.join(p)), ..self.mqtt };
        Ok(Config {
            gateway: Gateway { tenant: self.tenant, store: self.store, gateway: self.gateway },
            data: folder.join(self.data),
            mqtt,
            spool: self.spool,
            clock_kept: self.clock.kept,
            layout,
            readers,
        })
    }
}

impl FileReader {
    fn check(self, folder: &Path, layout: &mut Layout) -> Result<Reader, Wrong> {
        let at = |key: &str| format!("reader \"{}\": {key}", self.id);
        if !(0.0..=33.0).contains(&self.power_dbm) {
            return Err((at("power_dbm"), format!("{} is not 0 to 33", self.power_dbm)));
        }
        if !(9_600..=921_600).contains(&self.baud) {
            return Err((at("baud"), format!("{} is not 9600 to 921600", self.baud)));
        }
        let mut ports = BTreeSet::new();
        if let Some(antenna) = self.antenna.iter().find(|antenna| !ports.insert(antenna.port)) {
            return Err((at("antenna.port"), format!("{} is there twice", antenna.port)));
        }
        if self.antenna.is_empty() {
            return Err((at("antenna"), "there is none; add a [[reader.antenna]]".into()));
        }
        let settings = Settings {
            protocol: self.protocol,
            region: self.region,
            // A float cast saturates, and the range was checked.
            power_cdbm: (self.power_dbm * 100.0).round() as u16,
            antennas: self.antenna.iter().map(|antenna| antenna.port).collect(),
        };
        settings.check().map_err(|why| match why {
            SettingsError::Region(_) => (at("region"), why.to_string()),
            SettingsError::Power(_) => (at("power_dbm"), why.to_string()),
            SettingsError::Antenna { .. } => (at("antenna.port"), why.to_string()),
        })?;
        let antennas: Vec<(u8, ZoneId)> = self.antenna.iter().map(|a| (a.port, a.zone)).collect();
        layout
            .add_reader(self.id, &antennas)
            .map_err(|zone| (at("antenna.zone"), format!("there is no [[zone]] with the id \"{zone}\"")))?;
        Ok(Reader { id: self.id, port: folder.join(self.port), baud: self.baud, settings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
tenant = "acme"
store = "paris-1"
gateway = "gw-1"
data = "data"
[mqtt]
host = "localhost"
[[zone]]
id = "rail-a"
kind = "rail"
[[reader]]
id = "rail-a"
port = "/dev/serial/by-id/usb-1"
protocol = "r200"
region = "eu"
power_dbm = 26.0
[[reader.antenna]]
port = 1
zone = "rail-a"
"#;

    fn load(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|why| why.to_string())
    }

    #[test]
    fn a_good_file_is_taken() {
        let config = load(GOOD).unwrap();
        assert_eq!(config.readers[0].settings.power_cdbm, 2_600);
        assert_eq!(config.mqtt.port, 1883);
        assert!(config.data.is_absolute(), "relative to the file's folder");
    }

    #[test]
    fn a_bad_file_is_refused_with_the_key() {
        for (from, to, named) in [
            ("store = ", "shop = ", "`shop`"),
            ("gateway = \"gw-1\"", "", "`gateway`"),
            ("\"paris-1\"", "\"Paris 1\"", "'P'"),
            ("[[zone]]", "[[zone]]\ncolour = 1", "`colour`"),
            ("kind = \"rail\"", "kind = \"rack\"", "`rack`"),
            ("protocol = \"r200\"", "protocol = \"r2000\"", "`r2000`"),
            ("region = \"eu\"", "", "`region`"),
            ("region = \"eu\"", "region = \"japan\"", "reader \"rail-a\": region"),
            ("26.0", "40.0", "reader \"rail-a\": power_dbm: 40 is not 0 to 33"),
            ("port = 1", "port = 2", "reader \"rail-a\": antenna.port"),
            (
                "zone = \"rail-a\"",
                "zone = \"rail-b\"",
                "antenna.zone: there is no [[zone]] with the id \"rail-b\"",
            ),
            ("host = \"localhost\"", "host = \"localhost\"\nkeep_alive_s = 1", "mqtt.keep_alive_s: 1"),
            ("host = \"localhost\"", "host = \"localhost\"\nbacklog_share = 5", "mqtt.backlog_share: 5"),
            ("host = \"localhost\"", "host = \"localhost\"\nmax_kib_per_s = 0", "mqtt.max_kib_per_s: 0"),
            ("[[zone]]", "[spool]\ndelete_after = \"never\"\n[[zone]]", "`never`"),
            ("[[zone]]", "[spool]\ncommit_events = 0\n[[zone]]", "spool.commit_events: 0"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let why = load(&text).unwrap_err();
            assert!(why.contains(named) && why.contains("agent.toml"), "{to}: {why}");
        }
    }

    #[test]
    fn doubles_are_named() {
        let reader = &GOOD[GOOD.find("[[reader]]").unwrap()..];
        let why = load(&format!("{GOOD}{reader}")).unwrap_err();
        assert!(why.contains("reader.id: \"rail-a\" is there twice"), "{why}");
    }
}

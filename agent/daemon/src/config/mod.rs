//! The agent's configuration: one TOML file. Enters: a path. Leaves: a checked [`Config`], or everything
//! that is wrong with the file. Nothing is opened before everything is checked.
//!
//! | module | does |
//! |---|---|
//! | [`keys`] | what keys there are, and what each may hold |
//! | [`zones`], [`readers`], [`radio`] | the shop |
//! | [`hours`], [`ports`] | the schedule; who may share a port |
//! | [`sensor`] | sensors beside the readers |
//! | [`allowed`] | the kinds of values, in words |
//! | [`sheet`] | takes keys from a file, and gathers what is wrong |

mod allowed;
mod hours;
mod keys;
mod ports;
mod radio;
mod readers;
mod sensor;
mod sheet;
mod zones;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hangtag_agent_core::infer::Layout;
use hangtag_agent_core::intake::{LoyaltyPattern, Protocol, Radio, Settings, node};
use hangtag_metrics::listen::Listen;
use hangtag_protocol::clock::BootId;
use hangtag_protocol::id::{ReaderId, ZoneId};
use hangtag_protocol::key::PublicKey;
use hangtag_protocol::link::command::Level;
use hangtag_protocol::topic::Gateway;
use hangtag_tls::Files;
use serde::Deserialize;

use crate::enrol::door::Place;
use crate::hours::Hours;
use crate::spool;
use sheet::Wrong;

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
    /// Where metrics are served; nowhere, if it is not said.
    pub(crate) metrics: Option<Listen>,
    /// When the readers read; always, if it is not said.
    pub(crate) hours: Option<Hours>,
    /// Central's public key, to which loyalty codes are sealed; there is one if any scanner may read such codes.
    pub(crate) key: Option<PublicKey>,
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
    pub(crate) setup: Setup,
}

/// Which reader is at a port.
#[derive(Clone, Debug)]
pub(crate) enum Setup {
    /// The configuration says it.
    Stated {
        /// The speed of the line.
        baud: u32,
        settings: Settings,
    },
    /// The same, of a reader node of our own.
    Node {
        /// The speed of the line.
        baud: u32,
        settings: node::Settings,
        /// The booth of which its occupancy sensor tells, if it has one.
        occupancy: Option<Booth>,
    },
    /// The agent finds out.
    Auto(Wishes),
}

/// A booth and how a node's sensor tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Booth {
    pub(crate) zone: ZoneId,
    /// The level that says that somebody is there.
    pub(crate) occupied: Level,
}

/// How whatever reader is found is to be set up.
#[derive(Clone, Debug)]
pub(crate) struct Wishes {
    /// The speed of the line, if it is stated.
    pub(crate) baud: Option<u32>,
    /// For a reader of RFID tags.
    pub(crate) radio: Option<Radio>,
    /// For one on an RS-485 line, 0 to 254; 255 for whoever is there.
    pub(crate) address: u8,
    /// For a node: when its sensors tell something.
    pub(crate) thresholds: node::Thresholds,
    /// For a node: the booth of which its occupancy sensor tells, if it has one.
    pub(crate) occupancy: Option<Booth>,
    /// For a barcode scanner, if one may be there: its zone is known then.
    pub(crate) loyalty: Option<Vec<LoyaltyPattern>>,
}

impl Setup {
    /// The speed and the address of a reader that can share its line with others.
    pub(crate) fn address(&self) -> Option<(u32, u8)> {
        match self {
            Self::Stated { baud, settings: Settings::Chafon { address, .. } } if *address != u8::MAX => {
                Some((*baud, *address))
            }
            Self::Stated { .. } | Self::Node { .. } | Self::Auto(_) => None,
        }
    }

    /// The booth of which the occupancy sensor tells, if this is a node, or turns out to be one, and has one.
    pub(crate) fn occupancy(&self) -> Option<Booth> {
        match self {
            Self::Node { occupancy, .. } => *occupancy,
            Self::Auto(wishes) => wishes.occupancy,
            Self::Stated { .. } => None,
        }
    }

    /// Whether this is a node, or may turn out to be one.
    pub(crate) fn may_be_node(&self) -> bool {
        match self {
            Self::Node { .. } => true,
            Self::Auto(wishes) => wishes.radio.is_some(),
            Self::Stated { .. } => false,
        }
    }
}

impl Reader {
    /// The speed of the line in baud, if it is stated.
    pub(crate) fn baud(&self) -> Option<u32> {
        match &self.setup {
            Setup::Stated { baud, .. } | Setup::Node { baud, .. } => Some(*baud),
            Setup::Auto(wishes) => wishes.baud,
        }
    }

    /// How it is to transmit, if it does.
    pub(crate) fn radio(&self) -> Option<&Radio> {
        match &self.setup {
            Setup::Stated { settings, .. } => settings.radio(),
            Setup::Node { settings, .. } => Some(&settings.radio),
            Setup::Auto(wishes) => wishes.radio.as_ref(),
        }
    }
}

impl Default for Wishes {
    fn default() -> Self {
        let (thresholds, address) = (node::Thresholds::default(), u8::MAX);
        Self { baud: None, radio: None, address, thresholds, occupancy: None, loyalty: None }
    }
}

impl Wishes {
    /// What a reader node that was found is to be told.
    ///
    /// # Errors
    /// When the configuration has not what it needs, or wants what its link cannot name, in words.
    pub(crate) fn node(&self) -> Result<node::Settings, String> {
        let needs = "it needs region, power_dbm and a [[reader.antenna]] in the configuration";
        let radio = self.radio.as_ref().ok_or(needs)?;
        match radio.antennas.iter().find(|port| **port > node::MOST_PORTS) {
            Some(port) => {
                Err(format!("port {port} is out of range; nodes have ports 1 to {}", node::MOST_PORTS))
            }
            None => Ok(node::Settings {
                radio: radio.clone(),
                thresholds: self.thresholds,
                occupied: self.occupancy.map(|booth| booth.occupied),
            }),
        }
    }

    /// What is of no use because the reader that was found is no node, in words.
    pub(crate) fn only_for_a_node(&self) -> Option<&'static str> {
        if self.occupancy.is_some() {
            Some("occupancy is of use only with a node: nobody tells whether somebody is in that booth")
        } else if self.thresholds != node::Thresholds::default() {
            Some("window_ms, motion_mg and settle_ms are of use only with a node")
        } else {
            None
        }
    }

    /// What a reader that was found is to be told.
    ///
    /// # Errors
    /// When the configuration has not what it needs, or wants what it cannot do, in words.
    pub(crate) fn settings(&self, protocol: Protocol) -> Result<Settings, String> {
        let radio = || {
            let needs = "it needs region, power_dbm and a [[reader.antenna]] in the configuration";
            self.radio.clone().ok_or_else(|| needs.to_owned())
        };
        let settings = match protocol {
            Protocol::R200 => Settings::R200(radio()?),
            Protocol::ThingMagic => Settings::ThingMagic(radio()?),
            Protocol::Chafon => Settings::Chafon { radio: radio()?, address: self.address },
            Protocol::Ruuvi => Settings::Ruuvi,
            Protocol::Scanner => {
                let loyalty = self.loyalty.clone().ok_or("it needs a zone in the configuration")?;
                Settings::Scanner { loyalty }
            }
        };
        settings.check().map_err(|why| why.to_string())?;
        Ok(settings)
    }
}

/// Where the broker is.
#[derive(Clone, Debug)]
pub(crate) struct Mqtt {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The files for TLS; without them the broker is spoken to in the clear.
    pub(crate) tls: Option<Files>,
    /// Where the certificate is renewed; without it nobody renews it.
    pub(crate) renew: Option<Place>,
    pub(crate) user: Option<String>,
    pub(crate) password_file: Option<PathBuf>,
    /// Seconds, 5 to 3600: a dead connection is noticed after twice this time.
    pub(crate) keep_alive_s: u16,
    /// How much of what may be on its way the backlog may take, in percent, 10 to 100: the rest is left to
    /// live events.
    pub(crate) backlog_share: u8,
    /// KiB of batches per second, 1 to 1,000,000. The backlog is held to it; live events go at once, but
    /// count.
    pub(crate) max_kib_per_s: Option<u32>,
}

/// How events are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpoolSettings {
    /// What the spool may take on disk, in MiB, 4 to 1,000,000. When it is full the oldest events go.
    pub(crate) cap_mib: u32,
    /// Events are made durable together, at most so many milliseconds after the first of them.
    pub(crate) commit_ms: u16,
    /// So many events are made durable at once, whenever the first of them came, 1 to 100,000.
    pub(crate) commit_events: u32,
    /// What happens when the spool is full of events that central has not settled.
    pub(crate) when_full: WhenFull,
    /// How long settled events are kept, in hours of running time, 0 to 240: a central that was restored
    /// from a backup is refilled with them.
    pub(crate) retention_h: u16,
    /// Whose word lets an event go.
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

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {}: {why}", .path.display())]
    Read { path: PathBuf, why: std::io::Error },
    #[error("{path}:{line}: no text in UTF-8: byte {at} of the file", path = .path.display())]
    Utf8 { path: PathBuf, line: usize, at: usize },
    /// Everything that is wrong, a line for each.
    #[error("{}", lines(path, wrong))]
    Wrong { path: PathBuf, wrong: Vec<Wrong> },
}

fn lines(path: &Path, wrong: &[Wrong]) -> String {
    let line = |wrong: &Wrong| match wrong.line {
        Some(line) => format!("{}:{line}: {wrong}", path.display()),
        None => format!("{}: {wrong}", path.display()),
    };
    wrong.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl Config {
    /// Reads and checks a file. Relative paths in it are relative to its folder.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let bytes = fs::read(path).map_err(|why| ConfigError::Read { path: path.to_owned(), why })?;
        let text = std::str::from_utf8(&bytes).map_err(|why| {
            let at = why.valid_up_to();
            let line = 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count();
            ConfigError::Utf8 { path: path.to_owned(), line, at }
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        keys::read(text, folder).map_err(|wrong| ConfigError::Wrong { path: path.to_owned(), wrong })
    }

    /// What the spool may take on disk, in bytes, if the disk is large enough.
    pub(crate) fn cap(&self) -> u64 {
        u64::from(self.spool.cap_mib) << 20
    }

    /// How the spool is set up, in the data folder.
    pub(crate) fn spool_settings(&self, boot: BootId, accepted_log: Option<PathBuf>) -> spool::Settings {
        spool::Settings {
            data: self.data.clone(),
            cap_bytes: self.cap(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use hangtag_agent_core::infer::SensorOn;
    use hangtag_agent_core::intake::Mac;
    use hangtag_protocol::epc::Epc;

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
        assert_eq!(config.readers[0].radio().unwrap().power_cdbm, 2_600);
        assert_eq!((config.mqtt.port, config.mqtt.tls), (1883, None));
        assert!(config.data.is_absolute(), "relative to the file's folder");
    }

    #[test]
    fn with_tls_the_port_is_another_and_files_are_beside_the_configuration() {
        let tls = |keys: &str| load(&GOOD.replacen("[[zone]]", &format!("[mqtt.tls]\n{keys}\n[[zone]]"), 1));
        let config = tls("ca = \"ca.pem\"\ncertificate = \"gw.pem\"\nkey = \"/etc/gw.key\"").unwrap();
        let files = config.mqtt.tls.unwrap();
        let identity = files.identity.unwrap();
        assert_eq!((config.mqtt.port, identity.key), (8883, "/etc/gw.key".into()));
        assert_eq!(config.mqtt.renew, None);
        let renewed =
            tls("ca = \"ca.pem\"\ncertificate = \"gw.pem\"\nkey = \"gw.pem\"\nrenew = \"central\"").unwrap();
        assert_eq!(renewed.mqtt.renew, Some(Place { host: "central".into(), port: 8_444 }));
        let folder = config.data.parent().unwrap();
        assert_eq!((files.authorities, identity.certificate), (folder.join("ca.pem"), folder.join("gw.pem")));
        assert_eq!(tls("ca = \"ca.pem\"").unwrap().mqtt.tls.unwrap().identity, None);
        for (keys, wanted) in [
            ("", "mqtt.tls.ca"),
            ("ca = \"a\"\nkey = \"k\"", "mqtt.tls.key = \"k\": is of no use without a certificate"),
            ("ca = \"a\"\ncertificate = \"c\"", "mqtt.tls.certificate = \"c\": is of no use without its key"),
            ("ca = \"a\"\ncert = \"c\"", "mqtt.tls.cert"),
            (
                "ca = \"a\"\nrenew = \"central:8444\"",
                "mqtt.tls.renew = \"central:8444\": needs certificate and key",
            ),
            (
                "ca = \"a\"\ncertificate = \"c\"\nkey = \"k\"\nrenew = \"central\"",
                "mqtt.tls.renew = \"central\": needs certificate and key in one file",
            ),
            ("ca = \"a\"\nrenew = \"https://c\"", "mqtt.tls.renew = \"https://c\": must be"),
        ] {
            let error = tls(keys).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn metrics_are_shown_to_this_machine_unless_the_file_says_otherwise() {
        assert_eq!(load(GOOD).unwrap().metrics, None);
        let at = |keys: &str| load(&GOOD.replacen("[[zone]]", &format!("[metrics]\n{keys}\n[[zone]]"), 1));
        let address = |keys| at(keys).unwrap().metrics.unwrap().address().to_string();
        assert_eq!(address("listen = \"127.0.0.1:9464\""), "127.0.0.1:9464");
        assert_eq!(address("listen = \"0.0.0.0:9464\"\nanyone = true"), "0.0.0.0:9464");
        for (keys, wanted) in [
            (
                "listen = \"0.0.0.0:9464\"",
                "agent.toml:9: metrics.listen = \"0.0.0.0:9464\": would show metrics to other machines",
            ),
            ("listen = \"localhost\"", "metrics.listen = \"localhost\": must be an address with a port"),
            ("anyone = true", "metrics.listen: is missing"),
        ] {
            let error = at(keys).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_bad_file_is_refused_with_the_key() {
        for (from, to, named) in [
            ("store = ", "shop = ", "agent.toml:3: shop: there is no such key"),
            ("gateway = \"gw-1\"", "", "agent.toml: gateway: is missing"),
            ("\"paris-1\"", "\"Paris 1\"", "agent.toml:3: store = \"Paris 1\": must be 1 to 32 of"),
            ("\"data\"", "\"\"", "agent.toml:5: data = \"\": must be a path"),
            (
                "[[zone]]",
                "[[zone]]\ncolour = 1",
                "agent.toml:9: zone \"rail-a\": colour: there is no such key",
            ),
            ("kind = \"rail\"", "kind = \"rack\"", "kind = \"rack\": must be one of \"rail\", \"shelf\""),
            ("protocol = \"r200\"", "protocol = \"r2000\"", "\"r2000\": must be one of \"r200\", \"thing"),
            ("region = \"eu\"", "", "reader \"rail-a\": region: is missing; it must be one of \"eu\""),
            (
                "region = \"eu\"",
                "region = \"japan\"",
                "region = \"japan\": readers with this protocol can be",
            ),
            (
                "26.0",
                "40.0",
                "agent.toml:16: reader \"rail-a\": power_dbm = 40.0: must be a number from 0 to 33",
            ),
            (
                "port = 1",
                "port = 2",
                "reader \"rail-a\": antenna 1: port = 2: readers with this protocol have port 1",
            ),
            (
                "zone = \"rail-a\"",
                "zone = \"rail-b\"",
                "there is no [[zone]] with this id; there are \"rail-a\"",
            ),
            (
                "\"localhost\"",
                "\"localhost:1883\"",
                "mqtt.host = \"localhost:1883\": must be a name or an address",
            ),
            (
                "[[zone]]",
                "port = 65536\n[[zone]]",
                "mqtt.port = 65536: must be a whole number from 1 to 65535",
            ),
            (
                "[[zone]]",
                "keep_alive_s = 1\n[[zone]]",
                "mqtt.keep_alive_s = 1: must be a whole number from 5 to",
            ),
            ("[[zone]]", "backlog_share = 5\n[[zone]]", "mqtt.backlog_share = 5"),
            ("[[zone]]", "max_kib_per_s = 0\n[[zone]]", "mqtt.max_kib_per_s = 0"),
            (
                "[[zone]]",
                "password_file = \"p\"\n[[zone]]",
                "mqtt.password_file = \"p\": is of no use without",
            ),
            (
                "[[zone]]",
                "[spool]\ndelete_after = \"never\"\n[[zone]]",
                "must be one of \"central\", \"broker\"",
            ),
            ("[[zone]]", "[spool]\ncommit_events = 0\n[[zone]]", "spool.commit_events = 0"),
            (
                "[[zone]]",
                "[clock]\nkept = \"yes\"\n[[zone]]",
                "agent.toml:9: clock.kept = \"yes\": must be true or",
            ),
            ("\"localhost\"", "localhost", "agent.toml:7: no TOML: host = localhost"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let why = load(&text).unwrap_err();
            assert!(why.contains(named), "{to}: {why}");
            let lines = if to.is_empty() || to.starts_with("shop") { 2 } else { 1 };
            assert!(why.lines().count() <= lines, "nothing else is wrong: {why}");
        }
    }

    #[test]
    fn every_protocol_has_its_own_baud_and_keys() {
        let chafon = GOOD.replacen("\"r200\"", "\"chafon\"\naddress = 3", 1);
        let reader = load(&chafon).unwrap().readers.remove(0);
        assert_eq!(reader.baud(), Some(57_600));
        assert!(matches!(reader.setup, Setup::Stated { settings: Settings::Chafon { address: 3, .. }, .. }));
        assert_eq!(load(GOOD).unwrap().readers[0].baud(), Some(115_200));
        for (text, named) in [
            (
                chafon.replacen("\"chafon\"", "\"thingmagic\"", 1),
                "reader \"rail-a\": address: there is no such key",
            ),
            (chafon.replacen("= 3", "= 255", 1), "address = 255: must be a whole number from 0 to 254"),
            (chafon.replacen("26.0", "26.5", 1), "power_dbm = 26.5: 26.5 dBm is not whole"),
            (chafon.replacen("26.0", "31.0", 1), "power_dbm = 31.0: 31 dBm is out of range; 0 to 30"),
        ] {
            let why = load(&text).unwrap_err();
            assert!(why.contains(named), "{why}");
        }
    }

    #[test]
    fn what_transmits_nothing_has_no_region() {
        let head = &GOOD[..GOOD.find("region").unwrap()].replacen("\"r200\"", "\"ruuvi\"", 1);
        let setup = load(head).unwrap().readers.remove(0).setup;
        assert!(matches!(setup, Setup::Stated { settings: Settings::Ruuvi, .. }));
        let why = load(&format!("{head}region = \"eu\"\n")).unwrap_err();
        assert!(why.contains("reader \"rail-a\": region: there is no such key"), "{why}");
    }

    #[test]
    fn a_scanner_has_a_zone_and_loyalty_patterns() {
        let head = &keyed()[..keyed().find("[[reader]]").unwrap()];
        let scanner = |more: &str| {
            load(&format!(
                "{head}[[reader]]\nid = \"scan\"\nport = \"/dev/ttyACM0\"\nprotocol = \"scanner\"\n{more}"
            ))
        };
        let config = scanner("zone = \"rail-a\"\nloyalty = [\"LC-*\"]").unwrap();
        assert_eq!(
            (config.readers[0].baud(), config.layout.scanner_zone(0).unwrap().id.as_str()),
            (Some(9_600), "rail-a")
        );
        for (more, named) in [
            ("", "reader \"scan\": zone: is missing"),
            ("zone = \"rail-b\"", "there is no [[zone]] with this id; there are \"rail-a\""),
            ("zone = \"rail-a\"\nregion = \"eu\"", "reader \"scan\": region: there is no such key"),
            ("zone = \"rail-a\"\nloyalty = [\"*\"]", "must be a list of patterns"),
        ] {
            let why = scanner(more).unwrap_err();
            assert!(why.contains(named), "{why}");
        }
        let why = load(&GOOD.replacen("region", "loyalty = [\"LC-*\"]\nregion", 1)).unwrap_err();
        assert!(why.contains("reader \"rail-a\": loyalty: there is no such key"), "{why}");
    }

    fn key() -> PublicKey {
        PublicKey::new([7; 32])
    }

    fn keyed() -> String {
        GOOD.replacen("[mqtt]", &format!("[loyalty]\nkey = \"{}\"\n[mqtt]", key()), 1)
    }

    #[test]
    fn loyalty_codes_need_the_public_key_and_nothing_shows_a_private_one() {
        assert_eq!(load(&keyed()).unwrap().key, Some(key()));
        assert_eq!(load(GOOD).unwrap().key, None);
        let private = hangtag_protocol::key::written(hangtag_protocol::key::PRIVATE, &[9; 32]);
        let public = key().to_string();
        for (text, named) in [
            (keyed().replacen("htpub-07", "htpub-08", 1), "agent.toml:7: loyalty.key = \"htpub-0807"),
            (keyed().replacen("htpub-07", "htpub-08", 1), "at least one of its digits is another"),
            (keyed().replacen(&public, &public[..40], 1), "has 34 characters behind htpub-, not 72"),
            (keyed().replacen(&public, &private, 1), "loyalty.key = \"htkey-…: is a private key"),
            (keyed().replacen(&format!("\"{public}\""), &private, 1), "agent.toml:7: no TOML: key = htkey-…"),
            (keyed().replacen(&format!("key = \"{public}\""), "", 1), "loyalty.key: is missing"),
            (keyed().replacen(&format!("\"{public}\""), "7", 1), "loyalty.key = 7: must be central's public"),
        ] {
            let why = load(&text).unwrap_err();
            assert!(why.contains(named) && why.lines().count() == 1, "{named}: {why}");
            assert!(!why.contains("0909"), "{why}");
        }
    }

    #[test]
    fn what_is_found_out_needs_what_it_would_need_if_it_were_stated() {
        let wishes = |text: &str| match load(text).unwrap().readers.remove(0).setup {
            Setup::Auto(wishes) => wishes,
            Setup::Stated { .. } | Setup::Node { .. } => panic!("{text}"),
        };
        let auto = GOOD.replacen("\"r200\"", "\"auto\"\nbaud = 38400\naddress = 3", 1);
        let reader = wishes(&auto);
        assert_eq!(reader.baud, Some(38_400));
        assert!(matches!(reader.settings(Protocol::Chafon), Ok(Settings::Chafon { address: 3, .. })));
        assert_eq!(reader.settings(Protocol::Ruuvi), Ok(Settings::Ruuvi));
        assert!(reader.settings(Protocol::Scanner).unwrap_err().contains("needs a zone"));
        // Not all can do everything.
        let two_ports = wishes(&auto.replacen("port = 1", "port = 2", 1));
        assert!(two_ports.settings(Protocol::ThingMagic).is_ok());
        assert!(two_ports.settings(Protocol::R200).unwrap_err().contains("port 2 is out of range"));
        let head = &GOOD[..GOOD.find("region").unwrap()].replacen("\"r200\"", "\"auto\"", 1);
        assert!(wishes(head).settings(Protocol::R200).unwrap_err().contains("needs region, power_dbm"));
        let keyed = head.replacen("[mqtt]", &format!("[loyalty]\nkey = \"{}\"\n[mqtt]", key()), 1);
        let scanner = wishes(&format!("{keyed}zone = \"rail-a\"\nloyalty = [\"LC-*\"]\n"));
        assert!(
            matches!(scanner.settings(Protocol::Scanner), Ok(Settings::Scanner { loyalty }) if loyalty.len() == 1)
        );
        for (text, named) in [
            (auto.replacen("region = \"eu\"", "", 1), "reader \"rail-a\": region: is missing"),
            (auto.replacen("port = 1", "port = 16", 1), "protocol = \"auto\": port 16 is out of range"),
            (auto.replacen("port = 1", "port = 1\ncolour = 1", 1), "colour: there is no such key"),
            (format!("{keyed}loyalty = [\"LC-*\"]\n"), "reader \"rail-a\": zone: is missing"),
            (
                format!("{head}zone = \"rail-a\"\nloyalty = [\"LC-*\"]\n"),
                "loyalty = [\"LC-*\"]: codes of shoppers are taken only sealed",
            ),
        ] {
            let why = load(&text).unwrap_err();
            assert!(why.contains(named) && why.lines().count() == 1, "{why}");
        }
    }

    #[test]
    fn what_is_found_out_may_be_a_node_and_is_told_what_a_node_is_told() {
        let text = GOOD.replacen("[[reader]]", "[[zone]]\nid = \"booth-1\"\nkind = \"booth\"\n[[reader]]", 1);
        let keys = "occupancy = \"booth-1\"\noccupied = \"low\"\nwindow_ms = 300\nmotion_mg = 90\nregion";
        let stated = text.replacen("\"r200\"", "\"node\"", 1).replacen("region", keys, 1);
        let found = stated.replacen("\"node\"", "\"auto\"", 1);
        let told = |text: &str| match load(text).unwrap().readers.remove(0).setup {
            Setup::Node { settings, occupancy, .. } => (settings, occupancy),
            Setup::Auto(wishes) => {
                assert!(wishes.only_for_a_node().unwrap().contains("occupancy is of use only with a node"));
                (wishes.node().unwrap(), wishes.occupancy)
            }
            Setup::Stated { .. } => panic!("{text}"),
        };
        assert_eq!(told(&found), told(&stated));
        assert_eq!((told(&found).0.thresholds.window_ms, told(&found).0.occupied), (300, Some(Level::Low)));
        let sensor = "[[sensor]]\nreader = \"rail-a\"\nnumber = 1\nepc = \"30\"\n";
        assert!(load(&format!("{found}{sensor}")).is_ok());
        let silent = GOOD.replacen("\"r200\"", "\"auto\"", 1);
        assert!(
            matches!(&load(&silent).unwrap().readers[0].setup, Setup::Auto(wishes) if wishes.only_for_a_node().is_none())
        );
        let bare = &text[..text.find("region").unwrap()].replacen("\"r200\"", "\"auto\"", 1);
        for (text, named) in [
            (
                found.replacen("\"booth-1\"\nocc", "\"rail-a\"\nocc", 1),
                "the [[zone]] with this id is no booth",
            ),
            (found.replacen("region = \"eu\"", "", 1), "reader \"rail-a\": region: is missing"),
            (found.replacen("= 300", "= 2001", 1), "window_ms = 2001: must be a whole number from 0 to 2000"),
            (format!("{bare}zone = \"rail-a\"\n{sensor}"), "nor one with \"auto\" and a region"),
        ] {
            let why = load(&text).unwrap_err();
            assert!(why.contains(named) && why.lines().count() == 1, "{named}: {why}");
        }
    }

    #[test]
    fn a_sensor_is_on_a_garment_or_on_a_rail() {
        let mac = "address = \"CB:B8:33:4c:88:4F\"";
        let sensor = |text: &str| load(&format!("{GOOD}[[sensor]]\n{mac}\n{text}\n"));
        let known = |config: Config| config.layout.sensor(Mac([0xcb, 0xb8, 0x33, 0x4c, 0x88, 0x4f]));
        let epc = Epc::from_hex("3074257bf7194e4000001a85").unwrap();
        let on = sensor("epc = \"3074257bf7194e4000001a85\"").map(known).unwrap();
        assert_eq!(on, Some(SensorOn::Garment(epc)));
        let on = sensor("zone = \"rail-a\"").map(known).unwrap();
        assert_eq!(on, Some(SensorOn::Fixture(ZoneId::new("rail-a").unwrap())));
        for (text, named) in [
            ("", "sensor CB:B8:33:4C:88:4F: epc: is missing; it must be the garment's tag"),
            ("epc = \"30\"\nzone = \"rail-a\"", "zone = \"rail-a\": a sensor is on a garment"),
            ("epc = \"3\"", "epc = \"3\": must be an EPC in hexadecimal"),
            ("zone = \"rail-z\"", "there is no [[zone]] with this id; there are \"rail-a\""),
            (
                "epc = \"30\"\n[[sensor]]\naddress = \"CB:B8:33:4C:88:4F\"\nepc = \"31\"",
                "another [[sensor]] is this one",
            ),
            (
                "epc = \"30\"\n[[sensor]]\naddress = \"CB:B8\"\nepc = \"31\"",
                "must be six pairs of hexadecimal",
            ),
            (
                "epc = \"30\"\ncolour = 1",
                "colour: there is no such key; [[sensor]] may have address, epc, zone",
            ),
        ] {
            let why = sensor(text).unwrap_err();
            assert!(why.contains(named) && why.lines().count() == 1, "{named}: {why}");
        }
        let node = GOOD.replacen("\"r200\"", "\"node\"", 1);
        let of_node = |text: &str| load(&format!("{node}[[sensor]]\n{text}"));
        assert!(of_node("reader = \"rail-a\"\nnumber = 2\nepc = \"30\"\n").is_ok());
        let why = of_node("reader = \"rail-b\"\nnumber = 2\nepc = \"30\"\n").unwrap_err();
        assert!(why.contains("sensor 2 of \"rail-b\": reader = \"rail-b\": there is no [[reader]]"), "{why}");
        let why = of_node("reader = \"rail-a\"\nepc = \"30\"\n").unwrap_err();
        assert!(why.contains("sensor 1: number: is missing") && why.lines().count() == 1, "{why}");
    }

    #[test]
    fn of_each_booth_one_node_tells() {
        let text = GOOD.replacen("[[reader]]", "[[zone]]\nid = \"booth-1\"\nkind = \"booth\"\n[[reader]]", 1);
        let node = |zone: &str| text.replacen("\"r200\"", &format!("\"node\"\noccupancy = \"{zone}\""), 1);
        let good = node("booth-1");
        let zone = ZoneId::new("booth-1").unwrap();
        let setup = load(&good).unwrap().readers.remove(0).setup;
        let booth = |setup: Setup| match setup {
            Setup::Node { occupancy: Some(Booth { zone, occupied }), .. } => Some((zone, occupied)),
            Setup::Node { occupancy: None, .. } | Setup::Stated { .. } | Setup::Auto(_) => None,
        };
        assert_eq!(
            booth(setup),
            Some((zone, Level::High)),
            "a wire that is loose must not say that it is free"
        );
        let low = good.replacen("region", "occupied = \"low\"\nregion", 1);
        assert_eq!(booth(load(&low).unwrap().readers.remove(0).setup), Some((zone, Level::Low)));
        let reader = &good[good.find("[[reader]]").unwrap()..];
        let second = reader.replacen("rail-a", "rail-b", 1).replacen("usb-1", "usb-2", 1);
        for (text, named) in [
            (
                node("booth-9"),
                "reader \"rail-a\": occupancy = \"booth-9\": there is no [[zone]] with this id",
            ),
            (
                node("rail-a"),
                "agent.toml:18: reader \"rail-a\": occupancy = \"rail-a\": the [[zone]] with this id is no booth",
            ),
            (
                format!("{good}{second}"),
                "agent.toml:28: reader \"rail-b\": occupancy = \"booth-1\": reader \"rail-a\" tells of this booth",
            ),
            (
                good.replacen("region", "occupied = \"down\"\nregion", 1),
                "reader \"rail-a\": occupied = \"down\": must be one of \"low\", \"high\"",
            ),
            (
                low.replacen("occupancy = \"booth-1\"\n", "", 1),
                "agent.toml:18: reader \"rail-a\": occupied = \"low\": is of use only with occupancy",
            ),
            (
                GOOD.replacen("region", "occupancy = \"rail-a\"\nregion", 1),
                "reader \"rail-a\": occupancy: there is no such key",
            ),
        ] {
            let why = load(&text).unwrap_err();
            assert!(why.contains(named) && why.lines().count() == 1, "{named}: {why}");
        }
        let third = second.replacen("occupancy = \"booth-1\"\n", "", 1);
        assert!(load(&format!("{good}{third}")).is_ok(), "a node need not tell");
    }

    #[test]
    fn a_node_has_the_ports_that_its_link_can_name() {
        let node = GOOD.replacen("\"r200\"", "\"node\"", 1).replacen("port = 1", "port = 16", 1);
        let reader = load(&node).unwrap().readers.remove(0);
        assert_eq!((reader.baud(), reader.radio().unwrap().antennas.as_slice()), (Some(115_200), &[16][..]));
        assert!(matches!(reader.setup, Setup::Node { .. }));
        for (text, named) in [
            (node.replacen("port = 16", "port = 17", 1), "port = 17: must be a whole number from 1 to 16"),
            (node.replacen("region = \"eu\"", "", 1), "reader \"rail-a\": region: is missing"),
            (node.replacen("region", "address = 3\nregion", 1), "address: there is no such key"),
            (
                node.replacen("region", "window_ms = 2001\nregion", 1),
                "agent.toml:15: reader \"rail-a\": window_ms = 2001: must be a whole number from 0 to 2000",
            ),
            (
                node.replacen("region", "motion_mg = 15\nregion", 1),
                "motion_mg = 15: must be a whole number from 16 to 8000",
            ),
            (
                node.replacen("region", "settle_ms = 39\nregion", 1),
                "settle_ms = 39: must be a whole number from 40 to 65535",
            ),
            (GOOD.replacen("region", "settle_ms = 400\nregion", 1), "settle_ms: there is no such key"),
        ] {
            let why = load(&text).unwrap_err();
            assert!(why.contains(named) && why.lines().count() == 1, "{why}");
        }
    }

    #[test]
    fn a_nodes_thresholds_are_what_is_said_or_else_what_suits_most() {
        let node = GOOD.replacen("\"r200\"", "\"node\"", 1);
        let thresholds = |text: &str| match load(text).unwrap().readers.remove(0).setup {
            Setup::Node { settings, .. } => settings.thresholds,
            Setup::Stated { .. } | Setup::Auto(_) => panic!("{text}"),
        };
        assert_eq!(thresholds(&node), node::Thresholds::default());
        let said = node.replacen("region", "window_ms = 0\nmotion_mg = 8000\nsettle_ms = 40\nregion", 1);
        let least = node::Thresholds { window_ms: 0, motion_mg: 8_000, settle_ms: 40 };
        assert_eq!(thresholds(&said), least);
    }

    #[test]
    fn a_schedule_has_windows_and_the_zone_of_the_shop() {
        let text = |more: &str| GOOD.replacen("[[zone]]", &format!("[schedule]\n{more}\n[[zone]]"), 1);
        assert!(load(GOOD).unwrap().hours.is_none());
        let good = "time_zone = \"Europe/Paris\"\nread = [\"mon-sat 09:00-20:30\", \"sun 12:00-18:00\"]";
        let hours = load(&text(good)).unwrap().hours.unwrap();
        assert_eq!(hours.text, "mon-sat 09:00-20:30, sun 12:00-18:00 in Europe/Paris");
        for (more, named) in [
            (
                good.replacen("Paris", "Lutetia", 1),
                "schedule.time_zone = \"Europe/Lutetia\": must be a time zone",
            ),
            (good.replacen("mon-sat 09", "mon-sat 9", 1), "\"9:00\" is no time of day"),
            (good.replacen("sun", "soon", 1), "\"soon\" is no day"),
            (
                good.replacen("[\"mon-sat 09:00-20:30\", \"sun 12:00-18:00\"]", "[]", 1),
                "schedule.read = []: must be a list",
            ),
            ("read = [\"daily 09:00-20:00\"]".to_owned(), "schedule.time_zone: is missing"),
            (format!("{good}\ncolour = 1"), "schedule.colour: there is no such key"),
        ] {
            let why = load(&text(&more)).unwrap_err();
            assert!(why.contains(named) && why.lines().count() == 1, "{why}");
        }
    }

    #[test]
    fn only_readers_with_addresses_share_a_port() {
        let chafon = GOOD.replacen("\"r200\"", "\"chafon\"\naddress = 3", 1);
        let another = |more: &str| {
            let reader = &chafon[chafon.find("[[reader]]").unwrap()..];
            format!("{chafon}{}", reader.replacen("rail-a", "rail-b", 1).replacen("address = 3", more, 1))
        };
        let config = load(&another("address = 4")).unwrap();
        let address = |reader: &Reader| reader.setup.address();
        assert_eq!(
            config.readers.iter().map(address).collect::<Vec<_>>(),
            [Some((57_600, 3)), Some((57_600, 4))]
        );
        for (more, named) in [
            ("address = 3", "reader \"rail-b\": address = 3: another reader at this port has this address"),
            ("address = 4\nbaud = 9600", "baud = 9600: reader \"rail-a\" is at this port with 57600 baud"),
            ("", "only chafon readers with an address each can share one"),
        ] {
            let why = load(&another(more)).unwrap_err();
            assert!(why.contains(named) && why.lines().count() == 1, "{why}");
        }
    }

    #[test]
    fn doubles_are_named() {
        let reader = &GOOD[GOOD.find("[[reader]]").unwrap()..];
        let why = load(&format!("{GOOD}{reader}")).unwrap_err();
        assert!(
            why.contains("agent.toml:21: reader \"rail-a\": id = \"rail-a\": another [[reader]]"),
            "{why}"
        );
        assert!(why.contains("agent.toml:22: reader \"rail-a\": port = "), "{why}");
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let bad = GOOD.replace("acme", "Acme").replace("\"eu\"", "\"mars\"").replace("port = 1", "port = 0");
        let why =
            load(&bad.replace("26.0", "-1").replace("[[zone]]", "keep_alive_s = 1\n[[zone]]")).unwrap_err();
        let lines: Vec<&str> = why.lines().filter_map(|line| line.split("agent.toml:").nth(1)).collect();
        let lines: Vec<&str> = lines.into_iter().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(lines, ["2", "8", "16", "17", "19"], "in the order of the file: {why}");
    }

    #[test]
    fn what_a_broken_line_was_to_say_is_not_missed() {
        let broken = GOOD.replace("store = \"paris-1\"", "store = paris 1").replace("26.0", "60");
        let why = load(&broken).unwrap_err();
        assert!(why.contains("agent.toml:3: no TOML") && why.contains("power_dbm = 60"), "{why}");
        assert!(!why.contains("missing"), "{why}");
        // Whose keys follow is unknown.
        for (good, broken, line) in [
            ("[[reader]]", "[[reader]", 11),
            ("[mqtt]", "[mqtt", 6),
            ("[[zone]]", "[[zone", 8),
            ("[[zone]]", "[zone]]", 8),
        ] {
            let why = load(&GOOD.replace(good, broken)).unwrap_err();
            assert!(why.contains(&format!("agent.toml:{line}: no TOML: {broken}")), "{why}");
            assert_eq!(why.lines().count(), 1, "nothing else is known to be wrong: {why}");
        }
    }
}

//! The configuration. Enters: one TOML file. Leaves: checked values, paths relative to that file, or
//! every problem in it. It opens no port and no database.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hangtag_central_core::feed::Form;
use hangtag_metrics::listen::{Beyond, Listen};
use hangtag_protocol::id::TenantId;
use hangtag_tls::{Files, Identity};
use jiff::SignedDuration;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::connection::Target;
use crate::keys;
use crate::pki::authority;
use crate::problem::Problem;
use crate::store::{Address, Limits, Options};

mod web;

pub(crate) use web::{Proxy, Web};

/// What a person may write.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The chain whose gateways are listened to.
    pub tenant: TenantId,
    /// The SQLite file; made when it is missing.
    pub data: Option<PathBuf>,
    /// The server, where there is no file.
    pub database: Option<Database>,
    /// The shops.
    pub stores: PathBuf,
    /// The trade items.
    pub catalogue: Option<PathBuf>,
    /// The broker.
    pub mqtt: Mqtt,
    /// The page.
    pub web: Web,
    /// Where metrics are served, if they are.
    pub metrics: Option<Metrics>,
    /// What could not be used.
    #[serde(default)]
    pub quarantine: Quarantine,
    /// What opens loyalty codes.
    pub loyalty: Option<Loyalty>,
    /// What other systems are told.
    #[serde(default)]
    pub feed: Feed,
    /// How long what is kept.
    #[serde(default)]
    pub retention: Retention,
    /// Where gateways get their certificates; without it nowhere.
    pub enrol: Option<Enrol>,
}

/// The enrolment door.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enrol {
    /// Address and port to listen on.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// The folder of the certificate authority.
    pub authority: PathBuf,
    /// Who central is to gateways.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// How long a gateway's certificate is good.
    #[serde(default = "default_valid", deserialize_with = "duration")]
    pub valid: SignedDuration,
    /// How long a list of revoked certificates is good.
    #[serde(default = "default_crl_valid", deserialize_with = "duration")]
    pub crl_valid: SignedDuration,
}

impl Enrol {
    /// The door's files; it believes whom the authority certified.
    pub(crate) fn files(&self, authorities: PathBuf) -> Files {
        let identity = Identity { certificate: self.certificate.clone(), key: self.key.clone() };
        Files { authorities, identity: Some(identity) }
    }
}

/// A gateway that lay in a drawer, or had no line to central, for some months still gets its next one.
fn default_valid() -> SignedDuration {
    authority::GATEWAY_VALID
}

fn default_crl_valid() -> SignedDuration {
    authority::CRL_VALID
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
    authority::parse_valid(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// How long what is kept, in days; what is left out is kept for ever. What events add up to is kept in any case.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    /// Events, with tags and visits, since they happened; at least 31.
    pub events_days: Option<u32>,
    /// Places in the feed, since their events came; events stay until they are in none. Left out: as `events_days`.
    pub feed_days: Option<u32>,
    /// Lines of receipts, since they were paid; at least 31.
    pub sales_days: Option<u32>,
    /// Counts of stock, since they were made; the last before that stays.
    pub stock_days: Option<u32>,
    /// Payloads in quarantine that settle nothing, since they came last.
    pub quarantine_days: Option<u32>,
}

/// A day, in milliseconds.
const DAY_MS: i64 = 86_400_000;
/// What the page compares and remembers: a month.
const LEAST_DAYS: u32 = 31;

impl Retention {
    /// The keys with their values, and the least that each may be.
    fn days(&self) -> [(&'static str, Option<u32>, u32); 5] {
        [
            ("retention.events_days", self.events_days, LEAST_DAYS),
            ("retention.feed_days", self.feed_days, 1),
            ("retention.sales_days", self.sales_days, LEAST_DAYS),
            ("retention.stock_days", self.stock_days, 1),
            ("retention.quarantine_days", self.quarantine_days, 1),
        ]
    }
}

/// What other systems are told.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Feed {
    /// In which forms events are published.
    #[serde(default)]
    pub publish: Publish,
    /// Whether counts per hour are published.
    #[serde(default)]
    pub counts: bool,
}

/// In which forms events are published. Off unless somebody decides that others on the broker may read them; by HTTP
/// they can be had in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Publish {
    /// Not at all.
    #[default]
    Off,
    /// As CloudEvents.
    CloudEvents,
    /// As EPCIS.
    Epcis,
    /// As both.
    Both,
}

impl Publish {
    /// The forms.
    pub(crate) fn forms(self) -> Vec<Form> {
        match self {
            Self::Off => Vec::new(),
            Self::CloudEvents => vec![Form::CloudEvents],
            Self::Epcis => vec![Form::Epcis],
            Self::Both => vec![Form::CloudEvents, Form::Epcis],
        }
    }
}

/// What opens loyalty codes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Loyalty {
    /// The folder with the private keys.
    pub keys: PathBuf,
}

/// The database server and how to log in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    /// `postgres://user@host:port/database`.
    pub url: String,
    /// The file whose first line is the password; otherwise that is in the environment, as `PGPASSWORD`.
    pub password_file: Option<PathBuf>,
}

/// The broker and how to log in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mqtt {
    /// Name or address.
    pub host: String,
    /// Port, usually 1883, with TLS 8883.
    pub port: u16,
    /// The files for TLS; without them the broker is spoken to in the clear.
    pub tls: Option<Tls>,
    /// Name of the session that the broker keeps while central is away.
    #[serde(default = "default_client_id")]
    pub client_id: String,
    /// The group of central processes among which the broker deals out the batches. The broker keeps no session for
    /// any of them, and a random part is added to the name of each.
    pub share: Option<String>,
    /// User name.
    pub user: Option<String>,
    /// The file whose first line is the password.
    pub password_file: Option<PathBuf>,
}

/// Files in PEM format, read at every connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// The authorities that may sign the other end's certificate.
    pub ca: PathBuf,
    /// Who this program is, for a broker that asks.
    pub certificate: Option<PathBuf>,
    /// The certificate's private key.
    pub key: Option<PathBuf>,
}

impl Tls {
    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        [Some(&mut self.ca), self.certificate.as_mut(), self.key.as_mut()].into_iter().flatten()
    }

    fn files(&self) -> Files {
        let identity = self.certificate.clone().zip(self.key.clone());
        let identity = identity.map(|(certificate, key)| Identity { certificate, key });
        Files { authorities: self.ca.clone(), identity }
    }

    /// What is wrong with the files, and at which key.
    fn problem(&self) -> Option<(&'static str, String)> {
        match (&self.certificate, &self.key) {
            (Some(_), None) => return Some(("mqtt.tls.certificate", "is of no use without its key".into())),
            (None, Some(_)) => return Some(("mqtt.tls.key", "is of no use without a certificate".into())),
            _ => {}
        }
        self.files().read().err().map(|why| ("mqtt.tls", why.to_string()))
    }
}

/// Where metrics are served.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metrics {
    /// Address and port to listen on.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Whether other machines may reach it.
    #[serde(default)]
    pub anyone: bool,
}

/// How much of what could not be used is kept.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Quarantine {
    /// The most that it takes, in MiB.
    pub max_mib: u32,
}

impl Default for Quarantine {
    fn default() -> Self {
        Self { max_mib: 64 }
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(format_args!(
            "listen: {text:?} is not an address with a port, like \"127.0.0.1:8080\""
        ))
    })
}

fn default_client_id() -> String {
    "hangtag-central".into()
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// Every problem in it, named by line or key.
    pub(crate) fn read(file: &Path) -> Result<Self, Vec<Problem>> {
        let text = std::fs::read_to_string(file).map_err(|why| {
            let hint =
                if why.kind() == ErrorKind::NotFound { ": name the file with --config FILE" } else { "" };
            vec![Problem::new(file, "", format_args!("{why}{hint}"))]
        })?;
        let mut config: Self = toml::from_str(&text).map_err(|why| vec![Problem::toml(file, &text, &why)])?;
        let folder = file.parent().unwrap_or(Path::new(""));
        for path in [config.data.as_mut(), Some(&mut config.stores), config.catalogue.as_mut()]
            .into_iter()
            .chain([
                config.database.as_mut().and_then(|database| database.password_file.as_mut()),
                config.mqtt.password_file.as_mut(),
                config.loyalty.as_mut().map(|loyalty| &mut loyalty.keys),
            ])
            .flatten()
            .chain(config.mqtt.tls.iter_mut().flat_map(Tls::paths))
            .chain(
                config
                    .enrol
                    .iter_mut()
                    .flat_map(|enrol| [&mut enrol.authority, &mut enrol.certificate, &mut enrol.key]),
            )
            .chain(config.web.paths())
        {
            *path = folder.join(&path);
        }
        let problems = config.problems(file, &text);
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// Where the database is.
    ///
    /// # Errors
    /// When that cannot be told.
    pub(crate) fn address(&self) -> Result<Address, NoDatabase> {
        let wrong = |key, what| NoDatabase { key, what };
        match (&self.data, &self.database) {
            (Some(path), None) => Ok(Address::File(path.clone())),
            (None, Some(database)) => {
                let password = database.password().map_err(|why| wrong("database.password_file", why))?;
                Address::server(&database.url, password.as_deref()).map_err(|why| wrong("database.url", why))
            }
            (Some(_), Some(_)) => Err(wrong(
                "data",
                "is given beside [database]: events are kept in a file or on a server".into(),
            )),
            (None, None) => Err(wrong(
                "data",
                "is missing: name the file of the database, or a server with url under [database]".into(),
            )),
        }
    }

    /// Where metrics are served, if they are and may be.
    ///
    /// # Errors
    /// When other machines reach that place and nobody said that they may.
    pub(crate) fn metrics(&self) -> Result<Option<Listen>, Beyond> {
        self.metrics.as_ref().map(|at| Listen::new(at.listen, at.anyone)).transpose()
    }

    /// How long what is kept.
    pub(crate) fn limits(&self) -> Limits {
        let Retention { events_days, feed_days, sales_days, stock_days, quarantine_days } = self.retention;
        let limit = |days: Option<u32>| days.map(|days| i64::from(days) * DAY_MS);
        Limits {
            events: limit(events_days),
            feed: limit(feed_days.or(events_days)),
            sales: limit(sales_days),
            stock: limit(stock_days),
            quarantine: limit(quarantine_days),
            forms: self.feed.publish.forms(),
        }
    }

    /// What the database is opened with.
    ///
    /// # Errors
    /// Every problem in the folder of keys.
    pub(crate) fn store_options(&self) -> Result<Options, Vec<Problem>> {
        let ring = self.loyalty.as_ref().map(|loyalty| keys::read(&loyalty.keys)).transpose()?;
        Ok(Options {
            tenant: self.tenant,
            quarantine_bytes: u64::from(self.quarantine.max_mib) << 20,
            keys: Arc::new(ring.map(|ring| ring.keys).unwrap_or_default()),
        })
    }

    fn problems(&self, file: &Path, text: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, what: &str| {
            let path: Vec<&str> = key.split('.').collect();
            problems.push(Problem::value(file, text, &path, key, what));
        };
        if let Err(NoDatabase { key, what }) = self.address() {
            wrong(key, &what);
        }
        for (key, what) in self.web.problems() {
            wrong(key, &what);
        }
        if let Err(why) = self.metrics() {
            wrong("metrics.listen", &why.to_string());
        }
        if self.mqtt.host.is_empty() {
            wrong("mqtt.host", "is empty");
        }
        if self.mqtt.port == 0 {
            wrong("mqtt.port", "is 0; a broker listens on 1 to 65535");
        }
        if self.mqtt.client_id.is_empty() {
            wrong("mqtt.client_id", "is empty: the broker could not keep a session");
        }
        if let Some(share) = &self.mqtt.share
            && (share.is_empty() || share.contains(['/', '+', '#']))
        {
            wrong("mqtt.share", "is empty, or holds / + or #: name the group with letters and digits");
        }
        if self.mqtt.share.is_some() && self.data.is_some() {
            wrong("mqtt.share", "is of no use with a file: several processes share a server, see [database]");
        }
        if self.quarantine.max_mib == 0 {
            wrong("quarantine.max_mib", "is 0: a batch that cannot be read could not be kept");
        }
        for (key, days, least) in self.retention.days() {
            if let Some(days) = days.filter(|days| *days < least) {
                wrong(key, &format!("is {days}: at least {least}, or leave it out to keep everything"));
            }
        }
        if self.mqtt.user.is_none() && self.mqtt.password_file.is_some() {
            wrong("mqtt.password_file", "is given without mqtt.user");
        }
        if let Some(path) = &self.mqtt.password_file
            && let Err(why) = std::fs::read_to_string(path)
        {
            wrong("mqtt.password_file", &format!("{}: {why}", path.display()));
        }
        if let Some((key, what)) = self.mqtt.tls.as_ref().and_then(Tls::problem) {
            wrong(key, &what);
        }
        problems
    }
}

/// Why nobody knows where the database is.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {what}")]
pub(crate) struct NoDatabase {
    /// The key that is wrong,
    pub key: &'static str,
    /// and what is wrong with it.
    pub what: String,
}

impl Database {
    /// The password, where there is one. It is taken from the environment only where no file is named.
    fn password(&self) -> Result<Option<String>, String> {
        let Some(path) = &self.password_file else { return Ok(std::env::var("PGPASSWORD").ok()) };
        let text = std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
    }
}

impl Mqtt {
    /// The broker, and who central is there.
    ///
    /// # Errors
    /// When the password file cannot be read.
    pub(crate) fn target(&self) -> std::io::Result<Target> {
        let (host, port, login) = (self.host.clone(), self.port, self.login()?);
        Ok(Target { host, port, login, tls: self.tls.as_ref().map(Tls::files) })
    }

    /// User name and password, where there are any.
    ///
    /// # Errors
    /// When the password file cannot be read.
    fn login(&self) -> std::io::Result<Option<(String, String)>> {
        let Some(user) = &self.user else { return Ok(None) };
        let password = self.password_file.as_deref().map(std::fs::read_to_string).transpose()?;
        let password = password.unwrap_or_default().lines().next().unwrap_or_default().to_owned();
        Ok(Some((user.clone(), password)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
tenant = "demo"
data = "central.db"
stores = "stores.toml"
[mqtt]
host = "127.0.0.1"
port = 1883
[web]
listen = "127.0.0.1:0"
"#;

    fn read(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("central.toml");
        std::fs::write(&file, text).unwrap();
        Config::read(&file).map_err(|p| p.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = read(GOOD).unwrap();
        let data = config.data.unwrap();
        assert!(data.is_absolute() && data.ends_with("central.db"));
        assert_eq!(config.mqtt.client_id, "hangtag-central");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = read(&GOOD.replace("port = 1883", "port = 1883\nprot = 5")).unwrap_err();
        assert!(error.contains("line 8") && error.contains("`prot`"), "{error}");
    }

    #[test]
    fn an_address_that_is_none_is_named_with_an_example() {
        let error = read(&GOOD.replace("127.0.0.1:0", "localhost")).unwrap_err();
        let said = r#"line 9: listen: "localhost" is not an address with a port, like "127.0.0.1:8080""#;
        assert!(error.ends_with(said), "{error}");
    }

    #[test]
    fn beyond_loopback_there_is_tls_or_a_proxy() {
        let error = read(&GOOD.replace("127.0.0.1:0", "0.0.0.0:8080")).unwrap_err();
        let said = "line 9: web.listen: 0.0.0.0:8080 is beyond loopback, where everybody could read what is said: \
                    give [web.tls] with certificate and key, or name under [web.proxy]";
        assert!(error.contains(said), "{error}");
        for good in ["[::1]:0", "127.9.0.1:0", "[::ffff:127.0.0.1]:80"] {
            assert!(read(&GOOD.replace("127.0.0.1:0", good)).unwrap().web.is_on_loopback(), "{good}");
        }
        let behind =
            |proxy: &str| read(&format!("{}[web.proxy]\n{proxy}", GOOD.replace("127.0.0.1:0", "0.0.0.0:80")));
        let web = behind("addresses = [\"10.0.0.5\", \"2001:db8::/32\"]").unwrap().web;
        let proxy = web.proxy.unwrap();
        let is_at = |address: &str| proxy.is_at(address.parse().unwrap());
        assert!(is_at("10.0.0.5") && is_at("2001:db8::7") && !is_at("10.0.0.6"));
        for (proxy, said) in [
            ("addresses = []", "line 11: web.proxy.addresses: is empty"),
            ("addresses = [\"::/0\"]", "line 11: web.proxy.addresses: holds everybody"),
            ("addresses = [\"proxy\"]", "line 11: web.proxy.addresses: \"proxy\" is no address or network"),
            (
                "addresses = [\"::1\"]\nuser = \"a b\"",
                "line 12: web.proxy: \"a b\" is not the name of a header",
            ),
            ("addresses = [\"::1\"]\nuser = \"cookie\"", "line 12: web.proxy.user: is a header that has"),
            (
                "addresses = [\"::1\"]\nuser = \"x-user\"",
                "line 12: web.proxy.user: is given without web.proxy.roles",
            ),
            (
                "addresses = [\"::1\"]\nroles = \"x-r\"",
                "line 12: web.proxy.roles: is given without web.proxy.user",
            ),
            (
                "addresses = [\"::1\"]\nuser = \"x-u\"\nroles = \"x-r\"",
                "line 13: web.proxy.roles: is given without [web.proxy.role]",
            ),
            (
                "addresses = [\"::1\"]\nuser = \"x-u\"\nroles = \"x-r\"\nrole = { it = \"root\" }",
                "line 14: unknown variant `root`, expected one of `merchandiser`",
            ),
        ] {
            let error = behind(proxy).unwrap_err();
            assert!(error.contains(said), "{said} in {error}");
        }
        let error = read(&format!("{GOOD}[web.session]\nidle_minutes = 0")).unwrap_err();
        assert!(error.contains("line 11: web.session.idle_minutes: is 0"), "{error}");
        let error =
            read(&format!("{GOOD}[web.tls]\ncertificate = \"no.pem\"\nkey = \"no.key\"")).unwrap_err();
        assert!(error.contains("line 10: web.tls: ") && error.contains("no.pem cannot be read"), "{error}");
    }

    #[test]
    fn metrics_are_shown_to_this_machine_unless_the_file_says_otherwise() {
        assert_eq!(read(GOOD).unwrap().metrics(), Ok(None));
        let at = |keys: &str| read(&format!("{GOOD}[metrics]\n{keys}"));
        let address = |keys| at(keys).unwrap().metrics().unwrap().unwrap().address().to_string();
        assert_eq!(address("listen = \"[::1]:9465\""), "[::1]:9465");
        assert_eq!(address("listen = \"0.0.0.0:9465\"\nanyone = true"), "0.0.0.0:9465");
        let error = at("listen = \"0.0.0.0:9465\"").unwrap_err();
        assert!(error.contains("line 11: metrics.listen: would show metrics to other machines"), "{error}");
        let error = at("listen = \"here\"").unwrap_err();
        assert!(error.contains("line 11: listen: \"here\" is not an address with a port"), "{error}");
    }

    #[test]
    fn whoever_has_no_file_is_told_how_to_name_one() {
        let folder = tempfile::tempdir().unwrap();
        let problems = Config::read(&folder.path().join("central.toml")).unwrap_err();
        assert!(problems[0].to_string().ends_with("name the file with --config FILE"), "{problems:?}");
    }

    #[test]
    fn every_wrong_value_is_named_by_its_key() {
        let error = read(
            &(GOOD.replace("1883", "0\nclient_id = \"\"\npassword_file = \"absent\"")
                + "[quarantine]\nmax_mib = 0"),
        )
        .unwrap_err();
        for place in [
            "line 13: quarantine.max_mib",
            "line 7: mqtt.port",
            "line 8: mqtt.client_id",
            "line 9: mqtt.password_file",
        ] {
            assert!(error.contains(place), "{place} in {error}");
        }
    }

    #[test]
    fn what_is_kept_for_too_short_is_refused_and_what_is_left_out_is_kept() {
        let kept = read(GOOD).unwrap().limits();
        assert_eq!(kept, Limits::default());
        let kept = read(&format!("{GOOD}[retention]\nevents_days = 90\nstock_days = 1")).unwrap().limits();
        assert_eq!(
            (kept.events, kept.feed, kept.stock),
            (Some(90 * DAY_MS), Some(90 * DAY_MS), Some(DAY_MS))
        );
        let error = read(&format!("{GOOD}[retention]\nevents_days = 7\nfeed_days = 0")).unwrap_err();
        assert!(error.contains("line 11: retention.events_days: is 7: at least 31"), "{error}");
        assert!(error.contains("line 12: retention.feed_days: is 0: at least 1, or leave it out"), "{error}");
    }

    #[test]
    fn a_database_is_a_file_or_a_server() {
        let file = "data = \"central.db\"\n";
        let server = |url: &str| format!("{}[database]\nurl = \"{url}\"\n", GOOD.replace(file, ""));
        let config = read(&server("postgres://hangtag@db.example/hangtag")).unwrap();
        assert_eq!(config.address().unwrap().to_string(), "postgres://hangtag@db.example:5432/hangtag");
        for (text, said) in [
            (GOOD.replace(file, ""), "data: is missing"),
            (
                server("postgres://h/d").replace("stores =", "data = \"central.db\"\nstores ="),
                "data: is given beside",
            ),
            (server("mysql://h/d"), "line 10: database.url: is no URL like postgres://"),
            (server("postgres://u:hunter2@h/d"), "line 10: database.url: holds a password"),
            (server("postgres://h/d") + "password_file = \"absent\"", "line 11: database.password_file: "),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(said) && !error.contains("hunter2"), "{said} in {error}");
        }
    }

    #[test]
    fn a_group_of_centrals_needs_a_name_and_a_server() {
        let shared = GOOD.replace("port = 1883", "port = 1883\nshare = \"a/b\"");
        let error = read(&shared).unwrap_err();
        assert!(error.contains("line 8: mqtt.share: is empty, or holds /"), "{error}");
        assert!(error.contains("line 8: mqtt.share: is of no use with a file"), "{error}");
        let server = shared.replace("data = \"central.db\"", "database.url = \"postgres://h/d\"");
        assert_eq!(read(&server.replace("a/b", "ab")).unwrap().mqtt.share.unwrap(), "ab");
    }

    #[test]
    fn tls_needs_files_that_can_be_read_beside_the_configuration() {
        let tls =
            |keys: &str| read(&GOOD.replace("[web]", &format!("[mqtt.tls]\n{keys}\n[web]"))).unwrap_err();
        for (keys, wanted) in [
            ("", "line 8: missing field `ca`"),
            ("ca = \"absent.pem\"", "line 8: mqtt.tls: "),
            ("ca = \"absent.pem\"", "/absent.pem cannot be read: No such file"),
            (
                "ca = \"a\"\ncertificate = \"c\"",
                "line 10: mqtt.tls.certificate: is of no use without its key",
            ),
            ("ca = \"a\"\nkey = \"k\"", "line 10: mqtt.tls.key: is of no use without a certificate"),
            ("ca = \"a\"\ncert = \"c\"", "line 10: unknown field `cert`"),
        ] {
            let error = tls(keys);
            assert!(error.contains(wanted), "{wanted} in {error}");
        }
    }

    #[test]
    fn nothing_is_published_unless_somebody_says_in_which_form() {
        let nothing = read(GOOD).unwrap().feed;
        assert_eq!((nothing.publish.forms(), nothing.counts), (vec![], false));
        assert!(read(&format!("{GOOD}[feed]\ncounts = true")).unwrap().feed.counts);
        let forms = |word: &str| {
            read(&format!("{GOOD}[feed]\npublish = \"{word}\"")).map(|config| config.feed.publish.forms())
        };
        assert_eq!(forms("cloudevents"), Ok(vec![Form::CloudEvents]));
        assert_eq!(forms("both"), Ok(vec![Form::CloudEvents, Form::Epcis]));
        let error = forms("xml").unwrap_err();
        assert!(error.contains("line 11") && error.contains("`xml`") && error.contains("`epcis`"), "{error}");
    }

    #[test]
    fn a_tenant_that_is_no_name_is_refused() {
        let error = read(&GOOD.replace("demo", "De mo")).unwrap_err();
        assert!(error.contains("line 2") && error.contains("a-z"), "{error}");
    }
}

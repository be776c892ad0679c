//! `[web]`: where the page is, and who may come in. Beyond loopback it is either behind TLS of its own or behind a
//! proxy that is named: otherwise passwords, cookies and tokens would go over the network for everybody to read.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use axum::http::HeaderName;
use hangtag_tls::Identity;
use ipnet::IpNet;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::access::Role;
use crate::store::Ends;

/// Where the page is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Web {
    /// Address and port to listen on; port 0 is any free one.
    #[serde(deserialize_with = "super::address")]
    pub listen: SocketAddr,
    /// Who the page is, for browsers.
    pub tls: Option<Tls>,
    /// What stands before it.
    pub proxy: Option<Proxy>,
    /// How long somebody is signed in.
    #[serde(default)]
    pub session: Session,
}

/// A certificate and its key, PEM files. They are read anew when they change.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// The certificate, and after it those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key, closed to all but its owner and its group.
    pub key: PathBuf,
}

/// A proxy that speaks HTTPS with browsers, and may know who they are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proxy {
    /// Its addresses, or the networks that they are of. Nobody else is believed.
    #[serde(deserialize_with = "networks")]
    pub addresses: Vec<IpNet>,
    /// The header that names who asks. Without it central asks for a password.
    #[serde(default, deserialize_with = "header")]
    pub user: Option<HeaderName>,
    /// The header with what they are, with commas between.
    #[serde(default, deserialize_with = "header")]
    pub roles: Option<HeaderName>,
    /// Which role each word of that header stands for.
    #[serde(default)]
    pub role: BTreeMap<String, Role>,
}

/// How long somebody is signed in.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Session {
    /// After so many minutes without a request it is over.
    pub idle_minutes: u32,
    /// And after so many hours in any case.
    pub hours: u32,
}

impl Default for Session {
    fn default() -> Self {
        Self { idle_minutes: 60, hours: 12 }
    }
}

impl Session {
    /// The same in milliseconds.
    pub(crate) fn ends(self) -> Ends {
        Ends { idle: i64::from(self.idle_minutes) * 60_000, after: i64::from(self.hours) * 3_600_000 }
    }
}

impl Proxy {
    /// Whether that is the proxy.
    pub(crate) fn is_at(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|network| network.contains(&address))
    }
}

impl Tls {
    /// The same for who answers.
    pub(crate) fn identity(&self) -> Identity {
        Identity { certificate: self.certificate.clone(), key: self.key.clone() }
    }
}

impl Web {
    /// The paths in it.
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.tls.iter_mut().flat_map(|tls| [&mut tls.certificate, &mut tls.key])
    }

    /// Whether nobody but this machine can reach the page.
    pub(crate) fn is_on_loopback(&self) -> bool {
        self.listen.ip().to_canonical().is_loopback()
    }

    /// The keys that are wrong, and what is wrong with each.
    pub(super) fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if !self.is_on_loopback() && self.tls.is_none() && self.proxy.is_none() {
            let what = format!(
                "{} is beyond loopback, where everybody could read what is said: give [web.tls] with certificate \
                 and key, or name under [web.proxy] what stands before central",
                self.listen
            );
            problems.push(("web.listen", what));
        }
        if let Some(tls) = &self.tls
            && let Err(why) = tls.identity().server()
        {
            problems.push(("web.tls", why.to_string()));
        }
        if let Some(proxy) = &self.proxy {
            problems.extend(proxy.problems().map(|(key, what)| (key, what.to_owned())));
        }
        if self.session.idle_minutes == 0 {
            problems.push(("web.session.idle_minutes", "is 0: nobody could stay signed in".into()));
        }
        if self.session.hours == 0 {
            problems.push(("web.session.hours", "is 0: nobody could stay signed in".into()));
        }
        problems
    }
}

impl Proxy {
    fn problems(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let is_known = self.user.is_some();
        let no_addresses = self.addresses.is_empty();
        let everybody = self.addresses.iter().any(|network| network.prefix_len() == 0);
        let is_ours = |header: &Option<HeaderName>| {
            header.as_ref().is_some_and(|name| RESERVED.contains(&name.as_str()))
        };
        [
            (no_addresses, ("web.proxy.addresses", "is empty: name the proxy's address, like \"10.0.0.5\"")),
            (everybody, ("web.proxy.addresses", "holds everybody: name the proxy's own address")),
            (
                is_known && self.roles.is_none(),
                ("web.proxy.user", "is given without web.proxy.roles: nobody would have a role"),
            ),
            (
                !is_known && self.roles.is_some(),
                ("web.proxy.roles", "is given without web.proxy.user: nobody would have a name"),
            ),
            (
                self.roles.is_some() && self.role.is_empty(),
                ("web.proxy.roles", "is given without [web.proxy.role], which says what its words stand for"),
            ),
            (is_ours(&self.user), ("web.proxy.user", "is a header that has a meaning of its own")),
            (is_ours(&self.roles), ("web.proxy.roles", "is a header that has a meaning of its own")),
        ]
        .into_iter()
        .filter_map(|(is_wrong, problem)| is_wrong.then_some(problem))
    }
}

/// Headers that browsers and programs send themselves.
const RESERVED: [&str; 6] = ["authorization", "cookie", "host", "origin", "user-agent", "x-forwarded-for"];

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let network = |text: &String| {
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        network.ok_or_else(|| {
            D::Error::custom(format_args!(
                "web.proxy.addresses: {text:?} is no address or network, like \"10.0.0.5\" or \"10.0.1.0/24\""
            ))
        })
    };
    texts.iter().map(network).collect()
}

fn header<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HeaderName>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = |_| {
        D::Error::custom(format_args!(
            "web.proxy: {text:?} is not the name of a header, like \"X-Remote-User\""
        ))
    };
    text.parse().map(Some).map_err(wrong)
}

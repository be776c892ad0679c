//! Who asks. Enters: a request's headers, and where it comes from. Leaves: who that is, as far as it is proved.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};

use super::super::lang::Lang;
use crate::access::secret::{Secret, TOKEN_PREFIX};
use crate::access::{Role, Scope};
use crate::config::Proxy;
use crate::store::Bearer;

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::web) struct Peer(pub IpAddr);

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) struct Origin {
    /// Whose address counts: the proxy's word for it, or the other end's.
    pub client: IpAddr,
    /// Whether the other end is the proxy.
    pub is_proxy: bool,
    /// Whether the browser speaks HTTPS.
    pub is_secure: bool,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(in crate::web) enum Caller {
    /// Whoever is on this machine: nobody is asked yet who they are.
    Anyone,
    /// A person.
    Person {
        /// The name.
        name: String,
        /// What the person is.
        role: Role,
        /// What the person's forms must bring along; absent where the proxy signs people in.
        forms: Option<String>,
    },
    /// A program.
    Program(Bearer),
}

/// What somebody sends to be believed.
#[derive(Clone, Debug)]
pub(super) enum Credential {
    /// A token.
    Token(Secret),
    /// The proxy's word: a name and words for what they are.
    Proxied(String, Vec<String>),
    /// A cookie.
    Session(Secret),
    /// Nothing.
    Nothing,
}

impl Caller {
    /// Whether they may do that.
    pub(in crate::web) fn may(&self, scope: Scope) -> bool {
        match self {
            Self::Anyone => true,
            Self::Person { role, .. } => role.scopes().contains(&scope),
            Self::Program(Bearer { scopes, .. }) => scopes.contains(&scope),
        }
    }

    /// Whether they may do everything.
    pub(super) fn may_all(&self) -> bool {
        match self {
            Self::Anyone => true,
            Self::Person { role, .. } => *role == Role::Administrator,
            Self::Program(_) => false,
        }
    }

    /// The name of who signed in here, and what the form for signing out brings along.
    pub(in crate::web) fn signed_in(&self) -> Option<(&str, &str)> {
        match self {
            Self::Person { name, forms: Some(forms), .. } => Some((name, forms)),
            Self::Person { forms: None, .. } | Self::Anyone | Self::Program(_) => None,
        }
    }

    /// What whoever reads the page should know of who may.
    pub(in crate::web) fn note(&self, lang: Lang) -> Option<String> {
        match self {
            Self::Anyone => Some(lang.text("note-open")),
            Self::Person { .. } | Self::Program(_) => None,
        }
    }

    /// What they are called.
    pub(in crate::web) fn who(&self) -> String {
        match self {
            Self::Anyone => "this machine".into(),
            Self::Person { name, .. } => name.clone(),
            Self::Program(Bearer { id, name, .. }) => format!("token {id} {name}"),
        }
    }
}

impl Origin {
    /// Of a request. What a proxy says of others is believed of the proxy alone.
    pub(super) fn of(peer: IpAddr, headers: &HeaderMap, proxy: Option<&Proxy>, is_tls: bool) -> Self {
        let peer = peer.to_canonical();
        let is_proxy = proxy.is_some_and(|proxy| proxy.is_at(peer));
        let told = |name: &str| {
            // The last one is the proxy's own word; those before it are what it was told.
            let last = headers.get_all(name).iter().next_back().filter(|_| is_proxy)?;
            Some(last.to_str().ok()?.rsplit(',').next()?.trim().to_owned())
        };
        // Some proxies name the port, too.
        let address = |text: String| {
            text.parse::<IpAddr>().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))
        };
        let client = told("x-forwarded-for").and_then(address);
        Self {
            client: client.map_or(peer, |client| client.to_canonical()),
            is_proxy,
            is_secure: is_tls || told("x-forwarded-proto").is_some_and(|told| told == "https"),
        }
    }

    /// Whose requests are counted together: one address, or what is most often one house's, of IPv6.
    pub(super) fn house(&self) -> IpAddr {
        match self.client {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        }
    }

    /// The name of the cookie: one that only HTTPS can set, where there is HTTPS.
    pub(super) fn cookie(&self, name: &str) -> String {
        if self.is_secure { format!("__Host-{name}") } else { name.to_owned() }
    }
}

impl Credential {
    /// Of a request.
    pub(super) fn of(origin: &Origin, headers: &HeaderMap, proxy: Option<&Proxy>) -> Self {
        let bearer = text(headers, &header::AUTHORIZATION).and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| Secret::told(token.trim()))
        });
        // A proxy that knows people may pass on what it knows them by, which is no token of central's.
        let knows_people = origin.is_proxy && proxy.is_some_and(|proxy| proxy.user.is_some());
        let bearer = bearer.filter(|token| !knows_people || is_token(token.reveal()));
        if let Some(token) = bearer {
            return Self::Token(token);
        }
        if origin.is_proxy
            && let Some(Proxy { user: Some(user), roles, .. }) = proxy
            && let Some(name) = text(headers, user).map(str::trim).filter(|name| !name.is_empty())
        {
            let words =
                roles.iter().flat_map(|roles| headers.get_all(roles)).filter_map(|value| value.to_str().ok());
            let words = words.flat_map(|value| value.split(',')).map(|word| word.trim().to_owned());
            return Self::Proxied(name.to_owned(), words.collect());
        }
        cookie(headers, &origin.cookie(SESSION))
            .map_or(Self::Nothing, |text| Self::Session(Secret::told(text)))
    }
}

/// The name of the cookie of who is signed in.
pub(super) const SESSION: &str = "hangtag-session";

/// A cookie's value.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    pairs
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Whether a text looks like a token at all.
pub(super) fn is_token(text: &str) -> bool {
    text.starts_with(TOKEN_PREFIX)
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy() -> Proxy {
        Proxy {
            addresses: vec!["10.0.0.5/32".parse().unwrap()],
            user: Some(HeaderName::from_static("x-user")),
            roles: Some(HeaderName::from_static("x-groups")),
            role: [("shop".to_owned(), Role::Merchandiser)].into(),
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_the_proxy_is_believed_of_others() {
        let told = headers(&[
            ("x-forwarded-for", "1.1.1.1, 203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("x-user", "ana"),
            ("x-groups", "shop, other"),
        ]);
        let proxy = proxy();
        let of = |peer: &str| Origin::of(peer.parse().unwrap(), &told, Some(&proxy), false);
        let (client, is_proxy) = ("203.0.113.9".parse().unwrap(), true);
        assert_eq!(of("::ffff:10.0.0.5"), Origin { client, is_proxy, is_secure: true });
        let stranger = of("10.0.0.6");
        let client = "10.0.0.6".parse().unwrap();
        assert_eq!(stranger, Origin { client, is_proxy: false, is_secure: false });
        assert!(matches!(Credential::of(&stranger, &told, Some(&proxy)), Credential::Nothing));
        let Credential::Proxied(name, words) = Credential::of(&of("10.0.0.5"), &told, Some(&proxy)) else {
            panic!("the proxy says who it is")
        };
        assert_eq!((name.as_str(), &words[..]), ("ana", &["shop".to_owned(), "other".to_owned()][..]));
    }

    #[test]
    fn a_cookie_counts_under_its_own_name_alone() {
        let sent =
            headers(&[("cookie", "a=1; xhangtag-session=2; hangtag-session=3; __Host-hangtag-session=4")]);
        let plain = Origin::of("127.0.0.1".parse().unwrap(), &sent, None, false);
        let secure = Origin::of("127.0.0.1".parse().unwrap(), &sent, None, true);
        for (origin, value) in [(plain, "3"), (secure, "4")] {
            let Credential::Session(secret) = Credential::of(&origin, &sent, None) else {
                panic!("a session")
            };
            assert_eq!(secret.reveal(), value);
        }
        let bearer = headers(&[("authorization", "bearer httok-7"), ("cookie", "hangtag-session=3")]);
        let Credential::Token(secret) = Credential::of(&plain, &bearer, None) else { panic!("a token") };
        assert!(is_token(secret.reveal()));
    }

    #[test]
    fn neighbours_in_one_house_are_counted_together() {
        let of = |address: &str| Origin::of(address.parse().unwrap(), &HeaderMap::new(), None, false).house();
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}

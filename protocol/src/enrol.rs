//! What a gateway and central's enrolment door say to one another: JSON over HTTPS.
//!
//! | request | says | answer |
//! |---|---|---|
//! | `POST /v1/enrol` | an [`Application`] with a token | [`Granted`] or [`Refused`] |
//! | `POST /v1/renew` | an [`Application`] without one, under the certificate that the gateway has | the same |
//! | `GET /v1/crl.pem` | | the certificates that are not good any more, in PEM format |
//!
//! The private key stays on the gateway; what it sends is a request (PKCS#10) that is signed with it.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{GatewayId, StoreId, TenantId};

/// Where a gateway gets its first certificate.
pub const ENROL: &str = "/v1/enrol";
/// Where it gets the next one.
pub const RENEW: &str = "/v1/renew";
/// Where the list of revoked certificates is.
pub const REVOKED: &str = "/v1/crl.pem";
/// The longest message, in bytes.
pub const MAX_BYTES: usize = 16 << 10;
/// The port of the door, where none is named.
pub const PORT: u16 = 8_444;

/// Takes `HOST` or `HOST:PORT` apart; an address of version 6 stands in brackets before a port.
///
/// # Errors
/// When it is neither.
pub fn place(text: &str, port: u16) -> Result<(&str, u16), NoPlace> {
    let wrong = || NoPlace(text.into());
    let (host, port) = match text.rsplit_once(':') {
        Some((host, number)) if !host.contains(':') || host.ends_with(']') => {
            (host, number.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?)
        }
        _ => (text, port),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_host =
        !host.is_empty() && !host.contains(['/', '@', '[', ']']) && !host.contains(char::is_whitespace);
    if is_host { Ok((host, port)) } else { Err(wrong()) }
}

/// Why a text is no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not HOST or HOST:PORT")]
pub struct NoPlace(pub String);

/// The file that a gateway is enrolled with, in TOML. It holds a token: whoever has it first is that gateway.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    /// The chain.
    pub tenant: TenantId,
    /// The shop.
    pub store: StoreId,
    /// The gateway in it.
    pub gateway: GatewayId,
    /// Where central's enrolment door is: `HOST` or `HOST:PORT`.
    pub central: String,
    /// Where the broker is: `HOST` or `HOST:PORT`.
    pub broker: String,
    /// What lets the gateway in once.
    pub token: String,
    /// Until when, for people.
    pub until: String,
    /// The authority's certificate, in PEM format: central and the broker are believed by it.
    pub ca: String,
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, store, gateway, central, broker, .. } = self;
        write!(f, "Invitation({tenant}, {store}, {gateway}, {central}, {broker})")
    }
}

/// What a gateway asks for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// The chain.
    pub tenant: TenantId,
    /// The shop.
    pub store: StoreId,
    /// The gateway in it.
    pub gateway: GatewayId,
    /// What lets it in the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The request for a certificate, in PEM format.
    pub csr: String,
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, store, gateway, token, csr: _ } = self;
        let token = token.as_ref().map(|_| "…");
        write!(f, "Application({tenant}, {store}, {gateway}, token {token:?})")
    }
}

/// What it gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The certificate, in PEM format.
    pub certificate: String,
    /// The authority's, in PEM format.
    pub ca: String,
}

/// What it gets otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why, for programs.
    pub refused: Refusal,
    /// Why, for people.
    pub why: String,
}

/// Why there is no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The message, or the request in it, cannot be read, or is not signed with its own key.
    Unreadable,
    /// Nobody made that token.
    UnknownToken,
    /// The token's time is over.
    TokenExpired,
    /// The token was used, for another key.
    TokenUsed,
    /// The token, or the certificate, is another gateway's.
    OtherGateway,
    /// The request names somebody else than the message.
    OtherName,
    /// Renewal without a certificate.
    NoCertificate,
    /// The certificate was revoked.
    Revoked,
    /// The certificate is too young to be renewed.
    TooEarly,
    /// Central cannot sign at the moment.
    Unable,
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::format;

    #[test]
    fn a_place_is_a_host_with_or_without_a_port() {
        for (text, wanted) in [
            ("central.example", ("central.example", 7)),
            ("central.example:8444", ("central.example", 8_444)),
            ("10.0.0.1:1", ("10.0.0.1", 1)),
            ("fd00::1", ("fd00::1", 7)),
            ("[fd00::1]:99", ("fd00::1", 99)),
        ] {
            assert_eq!(place(text, 7), Ok(wanted));
        }
        for text in ["", ":1", "a:0", "a:b", "a:70000", "https://a", "a b", "u@a"] {
            assert!(place(text, 7).is_err(), "{text}");
        }
    }

    #[test]
    fn messages_are_read_as_they_are_written_and_no_token_is_shown() {
        let text = r#"{"tenant":"acme","store":"paris-1","gateway":"gw-1","token":"htenrol-1","csr":"PEM"}"#;
        let application: Application = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&application).unwrap(), text);
        assert!(!format!("{application:?}").contains("htenrol"));
        assert!(serde_json::from_str::<Application>(&text.replace("paris-1", "../x")).is_err());
        let refused = Refused { refused: Refusal::TokenUsed, why: "x".into() };
        assert_eq!(serde_json::to_string(&refused).unwrap(), r#"{"refused":"token-used","why":"x"}"#);
    }
}

//! Why there is no connection, in words for who has to mend it. Enters: what rustls and the system say. Leaves: a
//! [`TlsError`].

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::{AlertDescription, CertificateError, Error};

/// Who is at the other end, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The MQTT broker.
    Broker,
    /// Central's enrolment door.
    Central,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broker => "the broker",
            Self::Central => "central",
        })
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is of no use.
    #[error("{path} {1}", path = .0.display())]
    File(PathBuf, String),
    /// The name has no address, or nobody answers there.
    #[error("cannot reach {0}:{1}: {2}")]
    Unreachable(String, u16, io::Error),
    /// Nothing came in time.
    #[error("{0}:{1} did not answer within {s} s", s = .2.as_secs())]
    Silent(String, u16, Duration),
    /// What is behind the name is not to be trusted.
    #[error("{0}'s certificate {1}")]
    Stranger(Peer, String),
    /// The other end does not trust this machine.
    #[error("{0} refuses this machine's certificate: {1}")]
    Refused(Peer, String),
    /// They do not understand each other.
    #[error("no TLS with {0}: {1}")]
    Handshake(Peer, String),
    /// This machine's own files are of no use, whoever is at the other end.
    #[error("no TLS on this machine: {0}")]
    Own(String),
    /// The local socket could not be made.
    #[error("cannot make the local socket for TLS: {0}")]
    Socket(io::Error),
    /// A connection that held ended.
    #[error("the connection ended: {0}")]
    Ended(io::Error),
}

impl TlsError {
    /// What a failed handshake with an other end of this name, or an ended connection, means.
    #[must_use]
    pub fn new(why: io::Error, peer: Peer, host: &str) -> Self {
        Self::within(&why, peer, host).unwrap_or(Self::Ended(why))
    }

    /// The same of an error that may have one of TLS within; none if it has not.
    #[must_use]
    pub fn within(why: &(dyn std::error::Error + 'static), peer: Peer, host: &str) -> Option<Self> {
        let mut next = Some(why);
        while let Some(error) = next {
            // What an `io::Error` wraps is not among its sources.
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            let inner = inner.and_then(|inner| inner.downcast_ref::<Error>());
            if let Some(fault) = inner.or_else(|| error.downcast_ref()) {
                return Some(Self::of(fault, peer, host));
            }
            next = error.source();
        }
        None
    }

    fn of(fault: &Error, peer: Peer, host: &str) -> Self {
        match fault {
            Error::InvalidCertificate(fault) => Self::Stranger(peer, certificate(fault, host)),
            Error::AlertReceived(alert) => match refusal(*alert, peer) {
                Some(words) => Self::Refused(peer, words),
                None => Self::Handshake(peer, format!("{peer} ends it: {alert:?}")),
            },
            Error::InvalidMessage(_) => Self::Handshake(peer, "what answers does not speak it".into()),
            Error::NoCertificatesPresented => Self::Stranger(peer, "is missing".into()),
            other => Self::Handshake(peer, other.to_string()),
        }
    }
}

fn certificate(fault: &CertificateError, host: &str) -> String {
    match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("has expired, by this machine's clock ({})", now())
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("is not valid yet, by this machine's clock ({}), which may be behind", now())
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("is not for the name {host}")
        }
        // The signature of another authority of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "was signed by nobody whom this machine believes".into()
        }
        CertificateError::Revoked => "was revoked".into(),
        other => format!("is not good: {other}"),
    }
}

/// Alerts with which a server answers a client's certificate (RFC 8446, section 6.2).
fn refusal(alert: AlertDescription, peer: Peer) -> Option<String> {
    let words = match alert {
        AlertDescription::CertificateExpired => "it has expired",
        AlertDescription::CertificateRevoked => "it was revoked",
        AlertDescription::UnknownCA => return Some(format!("{peer} does not know who signed it")),
        AlertDescription::DecryptError => "it is not of the authority whose name it bears",
        AlertDescription::CertificateRequired => {
            return Some(format!("there is none, and {peer} asks for one"));
        }
        AlertDescription::BadCertificate => "it is not good",
        AlertDescription::UnsupportedCertificate => {
            return Some(format!("it is of a kind that {peer} does not take"));
        }
        AlertDescription::CertificateUnknown => return Some(format!("{peer} says no more")),
        AlertDescription::AccessDenied => "it may not connect",
        _ => return None,
    };
    Some(words.to_owned())
}

/// The machine's clock, in seconds since 1970: whoever reads it sees whether it is far off.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{} s after 1970 began", since.as_secs())
}

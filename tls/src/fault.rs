//! Why there is no connection, in words for who has to mend it. Enters: what rustls and the system say. Leaves: a
//! [`TlsError`].

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::{AlertDescription, CertificateError, Error};

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
    #[error("the broker's certificate {0}")]
    Broker(String),
    /// The broker does not trust this machine.
    #[error("the broker refuses this machine's certificate: {0}")]
    Refused(&'static str),
    /// They do not understand each other.
    #[error("no TLS with the broker: {0}")]
    Handshake(String),
    /// The local socket could not be made.
    #[error("cannot make the local socket for TLS: {0}")]
    Socket(io::Error),
    /// A connection that held ended.
    #[error("the connection ended: {0}")]
    Ended(io::Error),
}

impl TlsError {
    /// What a failed handshake with a broker of this name, or an ended connection, means.
    pub(crate) fn new(why: io::Error, host: &str) -> Self {
        let Some(fault) = why.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
            return Self::Ended(why);
        };
        match fault {
            Error::InvalidCertificate(fault) => Self::Broker(certificate(fault, host)),
            Error::AlertReceived(alert) => match refusal(*alert) {
                Some(words) => Self::Refused(words),
                None => Self::Handshake(format!("the broker ends it: {alert:?}")),
            },
            Error::InvalidMessage(_) => Self::Handshake("what answers does not speak it".into()),
            Error::NoCertificatesPresented => Self::Broker("is missing".into()),
            other => Self::Handshake(other.to_string()),
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
fn refusal(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::CertificateExpired => "it has expired",
        AlertDescription::CertificateRevoked => "it was revoked",
        AlertDescription::UnknownCA => "the broker does not know who signed it",
        AlertDescription::DecryptError => "it is not of the authority whose name it bears",
        AlertDescription::CertificateRequired => "there is none, and the broker asks for one",
        AlertDescription::BadCertificate => "it is not good",
        AlertDescription::UnsupportedCertificate => "it is of a kind that the broker does not take",
        AlertDescription::CertificateUnknown => "the broker says no more",
        AlertDescription::AccessDenied => "it may not connect",
        _ => return None,
    })
}

/// The machine's clock, in seconds since 1970: whoever reads it sees whether it is far off.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{} s after 1970 began", since.as_secs())
}

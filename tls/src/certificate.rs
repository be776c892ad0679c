//! What a certificate says. Enters: a file in PEM format, or the certificate's bytes. Leaves: whose it is, its number, and
//! from when until when it is good; whether another one signed it.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::TlsError;
use crate::files::certificates;

/// A certificate that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its common name; empty if it has none.
    pub name: String,
    /// Its number, in hexadecimal.
    pub serial: String,
    /// From when on it is good, in seconds since 1970.
    pub from: i64,
    /// Until when, in seconds since 1970.
    pub until: i64,
    /// Whose key it is for, as `SubjectPublicKeyInfo` in DER.
    pub key: Vec<u8>,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// Reads the first one of a file.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no certificate.
    pub fn read(file: &Path) -> Result<Self, TlsError> {
        let first = certificates(file)?.into_iter().next();
        let wrong = |why: &str| TlsError::File(file.to_owned(), why.to_owned());
        let first = first.ok_or_else(|| wrong("holds no certificate in PEM format"))?;
        Self::parse(&first).map_err(|why| wrong(&why))
    }

    /// Takes one apart.
    ///
    /// # Errors
    /// When these bytes are no certificate, in words.
    pub fn parse(der: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, parsed) =
            X509Certificate::from_der(der).map_err(|why| format!("is no certificate: {why}"))?;
        let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        Ok(Self {
            name: name.unwrap_or_default().to_owned(),
            serial: serial(parsed.raw_serial()),
            from: parsed.validity().not_before.timestamp(),
            until: parsed.validity().not_after.timestamp(),
            key: parsed.public_key().raw.to_vec(),
            der: der.clone().into_owned(),
        })
    }

    /// Whether the key of that one signed this one. Whether it may is not asked.
    #[must_use]
    pub fn is_signed_by(&self, authority: &Self) -> bool {
        let parsed = (X509Certificate::from_der(&self.der), X509Certificate::from_der(&authority.der));
        let (Ok((_, own)), Ok((_, authority))) = parsed else { return false };
        own.issuer() == authority.subject() && own.verify_signature(Some(authority.public_key())).is_ok()
    }

    /// How long it is good from a moment on, in seconds; negative when it is over.
    #[must_use]
    pub fn left(&self, now: i64) -> i64 {
        self.until.saturating_sub(now)
    }
}

/// A number as it is written by `openssl` too, but in small letters and without colons.
fn serial(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let short = digits.trim_start_matches("00");
    if short.is_empty() { "00".to_owned() } else { short.to_owned() }
}

//! Requests for certificates (PKCS#10), as gateways send them. Enters: PEM. Leaves: the key to be certified, and whose it
//! is said to be. A request that is not signed with its own key, or asks for more than a name, is refused.

use hangtag_protocol::identity::Identity;
use rcgen::{CertificateSigningRequestParams, DnType, DnValue, IsCa, PublicKey, PublicKeyData as _};

use super::authority::fingerprint;

/// A request whose signature is good.
#[derive(Debug)]
pub(crate) struct Request {
    /// The key.
    pub key: PublicKey,
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    /// It is none.
    #[error("the request for a certificate cannot be read, or is not signed with its own key: {0}")]
    Unreadable(rcgen::Error),
    /// It is somebody else's.
    #[error("the request for a certificate names {found:?}, not {wanted}")]
    OtherName {
        /// Who it is for.
        found: String,
        /// Who it should be for.
        wanted: Identity,
    },
    /// Hosts, or to be an authority.
    #[error("the request for a certificate asks for more than a name")]
    More,
}

impl Request {
    /// Takes one apart, and looks whether it is for this one and asks for nothing but a name.
    pub(crate) fn read(pem: &str, wanted: Identity) -> Result<Self, RequestError> {
        let asked = CertificateSigningRequestParams::from_pem(pem).map_err(RequestError::Unreadable)?;
        let name = match asked.params.distinguished_name.get(&DnType::CommonName) {
            Some(DnValue::Utf8String(name)) => name.clone(),
            Some(DnValue::PrintableString(name)) => name.as_str().to_owned(),
            Some(_) | None => String::new(),
        };
        if name != wanted.to_string() {
            return Err(RequestError::OtherName { found: name, wanted });
        }
        if !asked.params.subject_alt_names.is_empty() || asked.params.is_ca != IsCa::NoCa {
            return Err(RequestError::More);
        }
        Ok(Self { key: asked.public_key })
    }

    /// SHA-256 of the key, in hexadecimal.
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&self.key.subject_public_key_info())
    }
}

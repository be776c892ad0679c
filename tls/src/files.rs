//! Who is who, in PEM files. Enters: paths. Leaves: what rustls needs to know whom to believe and who it is itself, or
//! which file is of no use and why.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::TlsError;

/// Bits of a file's mode that let others than its owner and its group at it.
const OTHERS: u32 = 0o007;
/// The same, and writing by the group.
const MORE_THAN_GROUP_READS: u32 = OTHERS | 0o030;

/// Files in PEM format. They are read at every connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The authorities that may sign the broker's certificate. Nobody else is believed, the machine's own list neither.
    pub authorities: PathBuf,
    /// Who this machine is; without it the broker must not ask.
    pub identity: Option<Identity>,
}

/// A certificate and what proves that it is one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and after it those between it and the authority, if there are any.
    pub certificate: PathBuf,
    /// Its private key, which its owner alone may read, or a group that it was given to.
    pub key: PathBuf,
}

impl Files {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, holds no PEM of the right kind, a key can be read by everybody or is not of its
    /// certificate.
    pub fn read(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.authorities)? {
            roots
                .add(certificate)
                .map_err(|why| TlsError::File(self.authorities.clone(), why.to_string()))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|why| TlsError::Handshake(why.to_string()))?
            .with_root_certificates(roots);
        let Some(Identity { certificate, key }) = &self.identity else {
            return Ok(Arc::new(builder.with_no_client_auth()));
        };
        let config = builder.with_client_auth_cert(certificates(certificate)?, private_key(key)?);
        let config = config.map_err(|why| match why {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::File(key.clone(), format!("is not the key of {}", certificate.display()))
            }
            why => TlsError::File(certificate.clone(), why.to_string()),
        });
        config.map(Arc::new)
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(file)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|why| no_pem(file, &why))?;
    if all.is_empty() {
        return Err(TlsError::File(file.to_owned(), "holds no certificate in PEM format".into()));
    }
    Ok(all)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let mode = fs::metadata(file).map_err(|why| unreadable(file, &why))?.permissions().mode();
    if mode & MORE_THAN_GROUP_READS != 0 {
        let why = format!(
            "has the mode {:04o}: a private key must be its owner's alone, chmod 0600 (or 0640, for a group)",
            mode & 0o7777
        );
        return Err(TlsError::File(file.to_owned(), why));
    }
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|why| match why {
        pem::Error::NoItemsFound => {
            TlsError::File(file.to_owned(), "holds no private key in PEM format".into())
        }
        why => no_pem(file, &why),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|why| unreadable(file, &why))
}

fn unreadable(file: &Path, why: &io::Error) -> TlsError {
    TlsError::File(file.to_owned(), format!("cannot be read: {why}"))
}

fn no_pem(file: &Path, why: &pem::Error) -> TlsError {
    TlsError::File(file.to_owned(), format!("is no PEM: {why}"))
}

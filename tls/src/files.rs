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
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

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
    /// Its private key, which its owner alone may read, or a group that it was given to. It may be in the same file, so
    /// that both are replaced in one step.
    pub key: PathBuf,
}

impl Files {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, holds no PEM of the right kind, a key can be read by everybody or is not of its
    /// certificate.
    pub fn read(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let roots = roots(&self.authorities)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|why| TlsError::Own(why.to_string()))?
            .with_root_certificates(roots);
        let Some(identity) = &self.identity else {
            return Ok(Arc::new(builder.with_no_client_auth()));
        };
        let (chain, key) = identity.read()?;
        let config = builder.with_client_auth_cert(chain, key).map_err(|why| identity.fault(&why))?;
        Ok(Arc::new(config))
    }

    /// Reads the files for who is connected to. Whoever connects may show a certificate of the authorities, and need
    /// not; one of anybody else is refused.
    ///
    /// # Errors
    /// As [`Files::read`]; also when there is no certificate to be shown.
    pub fn read_for_server(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let own = |why: &dyn std::fmt::Display| TlsError::Own(why.to_string());
        let identity = self.identity.as_ref().ok_or_else(|| own(&"a server needs a certificate"))?;
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(roots(&self.authorities)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|why| TlsError::File(self.authorities.clone(), why.to_string()))?;
        let (chain, key) = identity.read()?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|why| own(&why))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|why| identity.fault(&why))?;
        Ok(Arc::new(config))
    }
}

impl Identity {
    /// Reads the files, for whoever answers under that name and asks nobody for a certificate.
    ///
    /// # Errors
    /// When one cannot be read, holds no PEM of the right kind, the key can be read by everybody or is not of the
    /// certificate.
    pub fn server(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let (chain, key) = self.read()?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|why| TlsError::Own(why.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|why| self.fault(&why))?;
        Ok(Arc::new(config))
    }

    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        Ok((certificates(&self.certificate)?, private_key(&self.key)?))
    }

    fn fault(&self, why: &rustls::Error) -> TlsError {
        match why {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::File(self.key.clone(), format!("is not the key of {}", self.certificate.display()))
            }
            why => TlsError::File(self.certificate.clone(), why.to_string()),
        }
    }
}

fn roots(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|why| TlsError::File(file.to_owned(), why.to_string()))?;
    }
    Ok(roots)
}

pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
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

//! The chain's certificate authority, in a folder. Enters: who is to have a certificate, requests that were signed on
//! gateways, tokens. Leaves: certificates, the list of revoked ones, the broker's rules. Whoever has the folder can make
//! certificates that the broker believes.
//!
//! ```text
//! ca.pem            the authority's certificate: everybody gets it
//! ca.key            its private key, mode 0600; may be kept elsewhere, and brought when something is to be signed
//! crl.pem           the revoked certificates, for the broker
//! register.jsonl    everything that was issued, revoked and given out, a line for each; only added to
//! issued/SERIAL.pem every certificate that was issued
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`authority`] | signs certificates and the list of revoked ones |
//! | [`register`] | remembers, in a file that several processes may use |
//! | [`request`] | takes requests for certificates apart |
//! | [`admission`] | who gets a certificate for a token, or for the one he has |
//! | [`acl`] | the broker's rules |

pub(crate) mod acl;
pub(crate) mod admission;
pub(crate) mod authority;
pub(crate) mod register;
pub(crate) mod request;
#[cfg(test)]
mod tests;

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use hangtag_protocol::identity::IdentityError;
use hangtag_tls::TlsError;

/// Why the authority could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PkiError {
    /// There is one already.
    #[error("{} holds an authority already: nothing was changed", .0.display())]
    Exists(PathBuf),
    /// There is none.
    #[error("{} holds no authority: `hangtag-central pki init` makes one", .0.display())]
    Absent(PathBuf),
    /// Its private key is elsewhere.
    #[error("{} is not here: bring it to sign something, or sign where it is", .0.display())]
    NoKey(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {why}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: io::Error,
    },
    /// A file holds something else than it should.
    #[error("{} {what}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A certificate is of no use.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// A name is none.
    #[error("{0}")]
    Identity(#[from] IdentityError),
    /// What is to be signed cannot be.
    #[error("cannot sign: {0}")]
    Sign(#[from] rcgen::Error),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Asked(String),
}

impl PkiError {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |why| Self::File { path, why }
    }

    fn content(path: &Path, what: impl Into<String>) -> Self {
        Self::Content { path: path.to_owned(), what: what.into() }
    }
}

/// Writes a file in one step, to stable storage: it is there whole, or as it was before.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::Builder::new().prefix(".unfinished-").tempfile_in(folder)?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(PkiError::file(path))
}

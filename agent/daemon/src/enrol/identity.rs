//! The gateway's key and certificate on the disk. Enters: what central granted. Leaves: files that are there whole or as they
//! were before, closed to all but the agent's user. A key is made here, and nobody is told it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, lchown};
use std::path::{Path, PathBuf};

use hangtag_protocol::enrol::{Application, Granted};
use hangtag_protocol::identity::{Identity, IdentityError};
use hangtag_protocol::topic::Gateway;
use hangtag_tls::{Certificate, Files, TlsError};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData as _};
use zeroize::Zeroizing;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityFault {
    /// A file cannot be read or written.
    #[error("{}: {why}", .path.display())]
    File { path: PathBuf, why: io::Error },
    /// A file is of no use.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// No certificate can have these names.
    #[error("{0}")]
    Name(#[from] IdentityError),
    /// The key or the request could not be made.
    #[error("cannot make a key or a request: {0}")]
    Make(#[from] rcgen::Error),
    /// What came is not this gateway's.
    #[error("the certificate {0}")]
    Stranger(String),
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> IdentityFault {
    let path = path.to_owned();
    move |why| IdentityFault::File { path, why }
}

/// The folder of a gateway that is enrolled.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The one in a data folder.
    pub(crate) fn within(data: &Path) -> Self {
        Self(data.join("identity"))
    }

    /// The authority.
    pub(crate) fn authority(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// Key and certificate.
    pub(crate) fn gateway(&self) -> PathBuf {
        self.0.join("gateway.pem")
    }

    fn next(&self) -> PathBuf {
        self.0.join("next.key")
    }

    fn next_authority(&self) -> PathBuf {
        self.0.join("next.ca")
    }

    /// The key that is to be certified: the same until [`Folder::settle`].
    pub(crate) fn key(&self) -> Result<KeyPair, IdentityFault> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(failed(&self.0))?;
        self.is_own()?;
        let path = self.next();
        match fs::read_to_string(&path).map(Zeroizing::new) {
            Ok(text) => Ok(KeyPair::from_pem(&text)?),
            Err(why) if why.kind() == ErrorKind::NotFound => {
                let key = KeyPair::generate()?;
                replace(&path, Zeroizing::new(key.serialize_pem()).as_bytes(), 0o600)
                    .map_err(failed(&path))?;
                Ok(key)
            }
            Err(why) => Err(IdentityFault::File { path, why }),
        }
    }

    /// Puts an authority where central is believed by it, before there is a certificate. What is in use stays.
    pub(crate) fn candidate(&self, authority: &str) -> Result<PathBuf, IdentityFault> {
        let path = self.next_authority();
        replace(&path, authority.as_bytes(), 0o644).map_err(failed(&path))?;
        Ok(path)
    }

    /// Takes what was granted for the key, if it is this gateway's. The key stays, so that whoever is stopped before all
    /// is written asks for the same certificate again.
    pub(crate) fn take(
        &self,
        gateway: &Gateway,
        key: &KeyPair,
        certificate: &str,
        authority: &Path,
    ) -> Result<Certificate, IdentityFault> {
        let taken = install(&self.gateway(), gateway, key, certificate, authority)?;
        let own = self.authority();
        fs::rename(authority, &own).map_err(failed(&own))?;
        sync(&self.0).map_err(failed(&self.0))?;
        Ok(taken)
    }

    /// All is written: the next key that is asked for is another one.
    pub(crate) fn settle(&self) -> Result<(), IdentityFault> {
        let next = self.next();
        fs::remove_file(&next).map_err(failed(&next))?;
        sync(&self.0).map_err(failed(&self.0))
    }

    /// Gives the folder to whoever the data belong to, after root wrote it.
    pub(crate) fn give_to(&self, owner: (u32, u32)) -> Result<(), IdentityFault> {
        self.is_own()?;
        // The data belong to the agent's user, who could have put links here: root gives away what it wrote, and no more.
        let give = |path: &Path| match lchown(path, Some(owner.0), Some(owner.1)) {
            Err(why) if why.kind() != ErrorKind::NotFound => Err(failed(path)(why)),
            _ => Ok(()),
        };
        give(&self.0)?;
        [self.authority(), self.gateway(), self.next(), self.next_authority()]
            .iter()
            .try_for_each(|path| give(path))
    }

    /// Whether it is a folder itself, and leads nowhere else.
    fn is_own(&self) -> Result<(), IdentityFault> {
        let file = fs::symlink_metadata(&self.0).map_err(failed(&self.0))?;
        if file.is_dir() { Ok(()) } else { Err(failed(&self.0)(ErrorKind::NotADirectory.into())) }
    }
}

/// What is asked for a key.
pub(crate) fn application(
    gateway: &Gateway,
    key: &KeyPair,
    token: Option<String>,
) -> Result<Application, IdentityFault> {
    let Gateway { tenant, store, gateway } = *gateway;
    let mut params = CertificateParams::new([])?;
    params.distinguished_name = DistinguishedName::new();
    let name = Identity::gateway(store, gateway)?.to_string();
    params.distinguished_name.push(DnType::CommonName, name);
    let csr = params.serialize_request(key)?.pem()?;
    Ok(Application { tenant, store, gateway, token, csr })
}

/// Puts the certificate that was granted for the next key, and that key, in the place of the ones before, in one step.
pub(crate) fn renew(
    files: &Files,
    gateway: &Gateway,
    key: &KeyPair,
    granted: &Granted,
) -> Result<Certificate, IdentityFault> {
    let path = files.identity.as_ref().map(|identity| identity.certificate.clone()).unwrap_or_default();
    install(&path, gateway, key, &granted.certificate, &files.authorities)
}

fn install(
    path: &Path,
    gateway: &Gateway,
    key: &KeyPair,
    certificate: &str,
    authority: &Path,
) -> Result<Certificate, IdentityFault> {
    let text = Zeroizing::new(format!("{}{certificate}", *Zeroizing::new(key.serialize_pem())));
    let new = path.with_extension("new");
    write(&new, text.as_bytes(), 0o600).map_err(failed(&new))?;
    let taken = look(&new, gateway, key, authority).and_then(|taken| {
        // Whoever renews as root must not shut the agent out.
        if let Ok(before) = fs::symlink_metadata(path) {
            lchown(&new, Some(before.uid()), Some(before.gid())).map_err(failed(&new))?;
        }
        fs::rename(&new, path).map_err(failed(path))?;
        sync(path).map_err(failed(path))?;
        Ok(taken)
    });
    if taken.is_err() {
        // It holds a key that nothing is certified for.
        let _ = fs::remove_file(&new);
    }
    taken
}

/// Whether a certificate is this key's and this gateway's, and of that authority.
fn look(
    path: &Path,
    gateway: &Gateway,
    key: &KeyPair,
    authority: &Path,
) -> Result<Certificate, IdentityFault> {
    let stranger = |what: &str| Err(IdentityFault::Stranger(what.to_owned()));
    let certificate = Certificate::read(path)?;
    let wanted = Identity::gateway(gateway.store, gateway.gateway)?.to_string();
    if certificate.name != wanted {
        return stranger(&format!("is that of {:?}, not of {wanted}", certificate.name));
    }
    if certificate.key != key.subject_public_key_info() {
        return stranger("is for another key than the one that was made here");
    }
    if !certificate.is_signed_by(&Certificate::read(authority)?) {
        return stranger("was signed by another authority");
    }
    Ok(certificate)
}

/// Replaces a file as a whole, durably.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    write(&new, bytes, mode)?;
    fs::rename(&new, path)?;
    sync(path)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // What an earlier attempt left may have another mode.
    match fs::remove_file(path) {
        Err(why) if why.kind() != ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the name of a file durable.
fn sync(path: &Path) -> io::Result<()> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    File::open(if folder == Path::new("") { Path::new(".") } else { folder })?.sync_all()
}

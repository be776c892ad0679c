//! Certificates of a chain. Enters: a folder, names, years. Leaves: PEM files, keys that are their owner's alone.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
};

/// Makes a key and a request for a certificate: `FILE.key`, `FILE.csr`.
///
/// # Errors
/// When a file cannot be written.
pub fn request(folder: &Path, file: &str, name: &str) -> anyhow::Result<()> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([])?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let path = |end: &str| folder.join(format!("{file}.{end}"));
    fs::write(path("csr"), params.serialize_request(&key)?.pem()?)?;
    fs::write(path("key"), key.serialize_pem())?;
    fs::set_permissions(path("key"), Permissions::from_mode(0o600))?;
    Ok(())
}

/// Years in which a certificate is good.
pub const GOOD: (i32, i32) = (2020, 4000);

/// An authority, with what it signs in a folder.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority; its certificate is `ca.pem`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn found(folder: &Path, name: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(folder.join("ca.pem"), params.self_signed(&key)?.pem())?;
        Ok(Self { folder: folder.to_owned(), issuer: Issuer::new(params, key) })
    }

    /// Signs a certificate of that host or gateway, from the first day of one year to that of another: `FILE.pem`, `FILE.key`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn sign(&self, file: &str, host: &str, (from, to): (i32, i32)) -> anyhow::Result<()> {
        let key = KeyPair::generate()?;
        let mut params =
            CertificateParams::new(if host.contains('/') { vec![] } else { vec![host.to_owned()] })?;
        params.distinguished_name.push(DnType::CommonName, host);
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let path = |end: &str| self.folder.join(format!("{file}.{end}"));
        fs::write(path("pem"), params.signed_by(&key, &self.issuer)?.pem())?;
        fs::write(path("key"), key.serialize_pem())?;
        fs::set_permissions(path("key"), Permissions::from_mode(0o600))?;
        Ok(())
    }
}

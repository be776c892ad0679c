//! Signs. Enters: who is to have a certificate, and for which key. Leaves: the certificate, and a list of those that are not
//! good any more. Everything that was signed is in the register before anybody gets it.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use hangtag_protocol::id::TenantId;
use hangtag_protocol::identity::Identity;
use hangtag_tls::Certificate;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use rand::RngExt as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, RevokedCertParams, SanType,
    SerialNumber,
};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::register::{Book, How, Issued, Record, Register};
use super::{PkiError, write};

/// How far a clock may be behind and believe in a new certificate all the same; less where that would be much of its life.
const BACKDATED: SignedDuration = SignedDuration::from_mins(5);
const BACKDATED_PART: i32 = 10;
/// How long certificates are good unless something else is said: a gateway that lay in a drawer, or had no line to
/// central, for some months still gets its next one.
pub(crate) const GATEWAY_VALID: SignedDuration = SignedDuration::from_hours(365 * 24);
/// A broker that gets no newer list lets nobody in any more.
pub(crate) const CRL_VALID: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Shorter ones would be over before they are where they belong.
const LEAST_VALID: SignedDuration = SignedDuration::from_secs(10);
const MOST_VALID: SignedDuration = SignedDuration::from_hours(100 * 365 * 24);
/// Bits of a file's mode that let others than its owner at it.
const OTHERS: u32 = 0o077;

/// How long something is good, as people write it: `90d` or `24h`.
///
/// # Errors
/// In words.
pub(crate) fn parse_valid(text: &str) -> Result<SignedDuration, String> {
    let wrong =
        || format!("{text:?} is no length of time like \"90d\" or \"24h\", from 10 seconds to 100 years");
    let span: Span = text.parse().map_err(|_| wrong())?;
    let valid = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    if valid < LEAST_VALID || valid > MOST_VALID { Err(wrong()) } else { Ok(valid) }
}

/// The authority in a folder.
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    folder: PathBuf,
    /// What it did.
    pub register: Register,
}

/// What is to be certified.
#[derive(Clone, Debug)]
pub(crate) struct Order<'a> {
    /// Who.
    pub identity: Identity,
    /// The names and addresses under which it is connected to.
    pub hosts: &'a [String],
    /// How long the certificate is to be good.
    pub valid: SignedDuration,
    /// On whose word.
    pub how: How,
}

/// What was certified.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    /// What the register says of it.
    pub issued: Issued,
    /// The certificate, in PEM format.
    pub pem: String,
}

impl Authority {
    /// Makes one.
    ///
    /// # Errors
    /// When there is one, or a file cannot be written.
    pub(crate) fn found(
        folder: &Path,
        tenant: TenantId,
        valid: SignedDuration,
        now: Timestamp,
    ) -> Result<Self, PkiError> {
        let paths = Paths(folder);
        if paths.register().exists() || paths.certificate().exists() || paths.key().exists() {
            return Err(PkiError::Exists(folder.to_owned()));
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(paths.issued());
        made.map_err(PkiError::file(folder))?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(PkiError::file(folder))?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([])?;
        params.distinguished_name = name(&format!("Hangtag authority of {tenant}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial());
        (params.not_before, params.not_after) = (moment(now - BACKDATED), moment(now + valid));
        let pem = params.self_signed(&key)?.pem();
        let secret = Zeroizing::new(key.serialize_pem());
        write(&paths.key(), &secret, 0o600)?;
        write(&paths.certificate(), &pem, 0o644)?;
        // Last: without it there is no authority.
        let register = Register::begin(&paths.register(), tenant, second(now))?;
        Ok(Self { folder: folder.to_owned(), register })
    }

    /// The one that is there.
    ///
    /// # Errors
    /// When there is none, or a file of it is not in order. Its key need not be there.
    pub(crate) fn open(folder: &Path) -> Result<Self, PkiError> {
        let paths = Paths(folder);
        if !paths.register().exists() {
            return Err(PkiError::Absent(folder.to_owned()));
        }
        Certificate::read(&paths.certificate())?;
        let register = Register::at(paths.register());
        register.book()?;
        Ok(Self { folder: folder.to_owned(), register })
    }

    /// Its certificate, in PEM format.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn certificate(&self) -> Result<String, PkiError> {
        let path = Paths(&self.folder).certificate();
        fs::read_to_string(&path).map_err(PkiError::file(&path))
    }

    /// Where its certificate is.
    pub(crate) fn certificate_path(&self) -> PathBuf {
        Paths(&self.folder).certificate()
    }

    /// Where the list of revoked certificates is.
    pub(crate) fn crl_path(&self) -> PathBuf {
        Paths(&self.folder).crl()
    }

    /// Looks whether it could sign.
    ///
    /// # Errors
    /// When its key is not here, or not in order.
    pub(crate) fn check_key(&self) -> Result<(), PkiError> {
        self.signer().map(drop)
    }

    /// A certificate that was issued, in PEM format.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn issued(&self, serial: &str) -> Result<String, PkiError> {
        let path = Paths(&self.folder).of(serial);
        fs::read_to_string(&path).map_err(PkiError::file(&path))
    }

    /// Makes a key and certifies it: for who runs on the machine where this is done.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub(crate) fn make(
        &self,
        order: &Order<'_>,
        now: Timestamp,
    ) -> Result<(Signed, Zeroizing<String>), PkiError> {
        let key = KeyPair::generate()?;
        let signed = self.certify(order, &key, now)?;
        Ok((signed, Zeroizing::new(key.serialize_pem())))
    }

    /// Certifies a key on the word of whoever calls this.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub(crate) fn certify(
        &self,
        order: &Order<'_>,
        key: &impl PublicKeyData,
        now: Timestamp,
    ) -> Result<Signed, PkiError> {
        let signer = self.signer()?;
        self.register.change(|_| {
            let signed = self.sign(&signer, order, key, now)?;
            Ok((vec![Record::Issued(signed.issued.clone())], signed))
        })
    }

    /// Signs a certificate, and puts it into the folder. It counts when the register has it: who calls this sees to that.
    ///
    /// # Errors
    /// When it cannot be signed or written.
    pub(super) fn sign(
        &self,
        signer: &Signer,
        order: &Order<'_>,
        key: &impl PublicKeyData,
        now: Timestamp,
    ) -> Result<Signed, PkiError> {
        let Order { identity, hosts, valid, how } = order;
        let now = second(now);
        let from = now - BACKDATED.min(*valid / BACKDATED_PART);
        let until = (now + *valid).min(signer.until);
        if until <= now {
            let path = Paths(&self.folder).certificate();
            return Err(PkiError::content(&path, "is over, or the time that was asked for is none"));
        }
        let number = serial();
        let mut params = CertificateParams::new([])?;
        params.distinguished_name = name(&identity.to_string());
        params.subject_alt_names = hosts.iter().map(|host| alternative(host)).collect::<Result<_, _>>()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = purposes(*identity);
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(number.clone());
        (params.not_before, params.not_after) = (moment(from), moment(until));
        let pem = params.signed_by(key, &signer.issuer)?.pem();
        let serial: String = number.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        write(&Paths(&self.folder).of(&serial), &pem, 0o644)?;
        let key = fingerprint(&key.subject_public_key_info());
        let issued = Issued { at: now, serial, identity: *identity, from, until, key, how: *how };
        Ok(Signed { issued, pem })
    }

    /// Revokes what somebody chose of the book, and signs the list anew. Returns the numbers.
    ///
    /// # Errors
    /// When nothing was chosen, or the list cannot be signed: then nothing is revoked.
    pub(crate) fn revoke(
        &self,
        choose: impl FnOnce(&Book) -> Result<Vec<String>, PkiError>,
        valid: SignedDuration,
        now: Timestamp,
    ) -> Result<Vec<String>, PkiError> {
        // What cannot be published is not recorded either.
        let signer = self.signer()?;
        let now = second(now);
        self.register.change(|book| {
            let serials = choose(book)?;
            let record = |serial: &String| Record::Revoked { at: now, serial: serial.clone() };
            let mut records: Vec<Record> = serials.iter().map(record).collect();
            let mut after = book.clone();
            for record in &records {
                after.add(record.clone()).map_err(|what| PkiError::content(&self.folder, what))?;
            }
            // The list first: what is recorded is on it, and whoever is stopped between the two asks again.
            let (_, list) = self.list(&signer, &after, valid, now)?;
            records.push(list);
            Ok::<_, PkiError>((records, serials))
        })
    }

    /// Signs the list of revoked certificates anew. Returns how many are on it, and until when it is good.
    ///
    /// # Errors
    /// When it cannot be signed or written.
    pub(crate) fn renew_crl(
        &self,
        valid: SignedDuration,
        now: Timestamp,
    ) -> Result<(usize, Timestamp), PkiError> {
        self.publish(&self.signer()?, valid, second(now))
    }

    fn publish(
        &self,
        signer: &Signer,
        valid: SignedDuration,
        now: Timestamp,
    ) -> Result<(usize, Timestamp), PkiError> {
        self.register.change(|book| {
            let (said, record) = self.list(signer, book, valid, now)?;
            Ok((vec![record], said))
        })
    }

    /// Signs a list of what is revoked in a book, and writes it. How many are on it, until when it is good, and what is to
    /// be recorded.
    fn list(
        &self,
        signer: &Signer,
        book: &Book,
        valid: SignedDuration,
        now: Timestamp,
    ) -> Result<((usize, Timestamp), Record), PkiError> {
        let number = book.crl.map_or(1, |(last, _)| last + 1);
        let until = (now + valid).min(signer.until);
        let revoked = |entry: &super::register::Entry| {
            let at = entry.revoked.filter(|_| now < entry.issued.until)?;
            Some(RevokedCertParams {
                serial_number: SerialNumber::from(hex::decode(&entry.issued.serial).ok()?),
                revocation_time: moment(at),
                reason_code: None,
                invalidity_date: None,
            })
        };
        let revoked_certs: Vec<_> = book.certificates.iter().filter_map(revoked).collect();
        let count = revoked_certs.len();
        let list = CertificateRevocationListParams {
            // A broker whose clock is a little behind takes it too.
            this_update: moment(now - BACKDATED.min(valid / BACKDATED_PART)),
            next_update: moment(until),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let pem = list.signed_by(&signer.issuer)?.pem()?;
        write(&Paths(&self.folder).crl(), &pem, 0o644)?;
        Ok(((count, until), Record::Crl { at: now, number, until }))
    }

    /// What signs.
    ///
    /// # Errors
    /// When the key is not here, can be read by others, or is another one's.
    pub(super) fn signer(&self) -> Result<Signer, PkiError> {
        let paths = Paths(&self.folder);
        let path = paths.key();
        let mode = match fs::metadata(&path) {
            Ok(file) => file.permissions().mode(),
            Err(why) if why.kind() == ErrorKind::NotFound => return Err(PkiError::NoKey(path)),
            Err(why) => return Err(PkiError::File { path, why }),
        };
        if mode & OTHERS != 0 {
            let what =
                format!("has the mode {:04o}: others than its owner may use it; chmod 0600", mode & 0o7777);
            return Err(PkiError::content(&path, what));
        }
        let text = Zeroizing::new(fs::read_to_string(&path).map_err(PkiError::file(&path))?);
        let key = KeyPair::from_pem(&text)
            .map_err(|_| PkiError::content(&path, "holds no private key in PEM format"))?;
        let own = Certificate::read(&paths.certificate())?;
        if own.key != key.subject_public_key_info() {
            return Err(PkiError::content(
                &path,
                format!("is not the key of {}", paths.certificate().display()),
            ));
        }
        let until = Timestamp::from_second(own.until).unwrap_or(Timestamp::MAX);
        Ok(Signer { issuer: Issuer::from_ca_cert_pem(&self.certificate()?, key)?, until })
    }
}

/// The authority's key, ready to sign.
pub(super) struct Signer {
    issuer: Issuer<'static, KeyPair>,
    until: Timestamp,
}

struct Paths<'a>(&'a Path);

impl Paths<'_> {
    fn certificate(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.join("ca.key")
    }

    fn crl(&self) -> PathBuf {
        self.0.join("crl.pem")
    }

    fn register(&self) -> PathBuf {
        self.0.join("register.jsonl")
    }

    fn issued(&self) -> PathBuf {
        self.0.join("issued")
    }

    fn of(&self, serial: &str) -> PathBuf {
        self.issued().join(format!("{serial}.pem"))
    }
}

/// What a certificate may be used for: a gateway's never as a broker's, nor the other way round.
fn purposes(identity: Identity) -> Vec<ExtendedKeyUsagePurpose> {
    let (client, server) = (ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth);
    match identity {
        Identity::Gateway(..) | Identity::Consumer(_) | Identity::Till(_) => vec![client],
        // Central is connected to as well, at its enrolment door.
        Identity::Central => vec![client, server],
        Identity::Broker => vec![server],
    }
}

fn alternative(host: &str) -> Result<SanType, PkiError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let is_name = !host.is_empty()
        && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '*'));
    if !is_name {
        return Err(PkiError::Asked(format!("{host:?} is no name of a host and no address")));
    }
    Ok(SanType::DnsName(host.try_into()?))
}

fn name(common: &str) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// 120 random bits that nobody can guess, and no leading zero.
fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::rng().random();
    bytes[0] = 1;
    SerialNumber::from_slice(&bytes)
}

/// SHA-256 in hexadecimal.
pub(super) fn fingerprint(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Certificates know no fractions of seconds.
fn second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn moment(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.as_second()).expect("both know the years to 9999")
}

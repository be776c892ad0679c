//! What the authority did: a file of JSON lines that is only added to. Enters: records. Leaves: the [`Book`] that they add
//! up to. Several processes may use it at once: whoever decides something by the book holds the file's lock until what
//! was decided is on stable storage.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use hangtag_protocol::id::{GatewayId, StoreId, TenantId};
use hangtag_protocol::identity::Identity;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::PkiError;

/// The version of the lines.
const VERSION: u8 = 1;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub(crate) enum Record {
    /// The authority was made.
    Founded {
        /// The version of the lines.
        v: u8,
        /// When.
        at: Timestamp,
        /// For which chain.
        tenant: TenantId,
    },
    /// A certificate was signed.
    Issued(Issued),
    /// A certificate is not good any more.
    Revoked {
        /// When.
        at: Timestamp,
        /// Its number.
        serial: String,
    },
    /// Somebody was given a token.
    Token(Token),
    /// The token was used.
    TokenUsed {
        /// When.
        at: Timestamp,
        /// Which.
        hash: String,
        /// For which certificate.
        serial: String,
    },
    /// A list of revoked certificates was signed.
    Crl {
        /// When.
        at: Timestamp,
        /// Its number.
        number: u64,
        /// Until when it is good.
        until: Timestamp,
    },
}

/// A certificate that was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Issued {
    /// When.
    pub at: Timestamp,
    /// Its number, in hexadecimal.
    pub serial: String,
    /// For whom.
    pub identity: Identity,
    /// From when on it is good.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// SHA-256 of the key that it is for, in hexadecimal.
    pub key: String,
    /// On whose word.
    pub how: How,
}

/// On whose word a certificate was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum How {
    /// Somebody at the command line.
    Operator,
    /// Whoever had a token.
    Token,
    /// Whoever had the certificate before.
    Renewal,
}

/// A token that was given out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    /// When.
    pub at: Timestamp,
    /// SHA-256 of it, in hexadecimal.
    pub hash: String,
    /// Which gateway it lets in.
    pub store: StoreId,
    /// Which gateway it lets in.
    pub gateway: GatewayId,
    /// Until when.
    pub until: Timestamp,
}

/// What everything adds up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Book {
    /// The chain.
    pub tenant: TenantId,
    /// All certificates, the oldest first.
    pub certificates: Vec<Entry>,
    /// The tokens that may be used or were, by their hashes. Whoever gets another one for the same gateway, or whose
    /// certificate is revoked, has none any more.
    pub tokens: BTreeMap<String, Given>,
    /// The number of the last list of revoked certificates, and until when it is good.
    pub crl: Option<(u64, Timestamp)>,
}

/// A certificate in the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What was signed.
    pub issued: Issued,
    /// Since when it is not good any more.
    pub revoked: Option<Timestamp>,
}

/// A token in the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// What was given out.
    pub token: Token,
    /// The number of the certificate that it was used for.
    pub used: Option<String>,
}

impl Entry {
    /// Whether it is good at a moment.
    pub(crate) fn is_good(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && now < self.issued.until
    }
}

impl Book {
    /// A certificate by its number.
    pub(crate) fn certificate(&self, serial: &str) -> Option<&Entry> {
        self.certificates.iter().find(|entry| entry.issued.serial == serial)
    }

    /// Everybody who has a certificate that is good at a moment.
    pub(crate) fn identities(&self, now: Timestamp) -> impl Iterator<Item = Identity> {
        self.certificates.iter().filter(move |entry| entry.is_good(now)).map(|entry| entry.issued.identity)
    }

    pub(super) fn add(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Founded { .. } => return Err("a second beginning".into()),
            Record::Issued(issued) => self.certificates.push(Entry { issued, revoked: None }),
            Record::Revoked { at, serial } => {
                let entry = self.certificates.iter_mut().find(|entry| entry.issued.serial == serial);
                let entry = entry.ok_or_else(|| format!("{serial} was never issued"))?;
                entry.revoked = Some(at);
                if let Identity::Gateway(store, gateway) = entry.issued.identity {
                    self.void(store, gateway);
                }
            }
            Record::Token(token) => {
                self.void(token.store, token.gateway);
                self.tokens.insert(token.hash.clone(), Given { token, used: None });
            }
            Record::TokenUsed { hash, serial, .. } => {
                let given = self.tokens.get_mut(&hash).ok_or("a token that was never given out")?;
                given.used = Some(serial);
            }
            Record::Crl { number, until, .. } => self.crl = Some((number, until)),
        }
        Ok(())
    }

    /// Takes back the tokens of a gateway that nobody used.
    fn void(&mut self, store: StoreId, gateway: GatewayId) {
        self.tokens.retain(|_, given| {
            given.used.is_some() || (given.token.store, given.token.gateway) != (store, gateway)
        });
    }
}

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct Register {
    path: PathBuf,
}

impl Register {
    /// Begins one.
    ///
    /// # Errors
    /// When the file is there, or cannot be made.
    pub(super) fn begin(path: &Path, tenant: TenantId, at: Timestamp) -> Result<Self, PkiError> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(PkiError::file(path))?;
        append(&mut file, &[Record::Founded { v: VERSION, at, tenant }]).map_err(PkiError::file(path))?;
        Ok(Self { path: path.to_owned() })
    }

    /// The one that is there.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// What it adds up to.
    ///
    /// # Errors
    /// When it cannot be read, or holds a line that cannot be.
    pub(crate) fn book(&self) -> Result<Book, PkiError> {
        let file = File::open(&self.path).map_err(PkiError::file(&self.path))?;
        file.lock_shared().map_err(PkiError::file(&self.path))?;
        self.read(&file).map(|(book, _)| book)
    }

    /// Lets somebody decide by the book, and adds what was decided; nothing when it fails.
    ///
    /// # Errors
    /// The decision's, and those of the file.
    pub(crate) fn change<T, E: From<PkiError>>(
        &self,
        decide: impl FnOnce(&Book) -> Result<(Vec<Record>, T), E>,
    ) -> Result<T, E> {
        let failed = || PkiError::file(&self.path);
        let mut file =
            OpenOptions::new().read(true).write(true).open(&self.path).map_err(|why| failed()(why))?;
        file.lock().map_err(|why| failed()(why))?;
        let (book, whole) = self.read(&file)?;
        let (records, decided) = decide(&book)?;
        let added = || {
            // What a power cut left of a line was never decided.
            file.set_len(whole)?;
            file.seek(SeekFrom::Start(whole))?;
            append(&mut file, &records)
        };
        let mut added = added;
        added().map_err(|why| failed()(why))?;
        Ok(decided)
    }

    /// The book, and how many bytes of the file are whole lines.
    fn read(&self, mut file: &File) -> Result<(Book, u64), PkiError> {
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(PkiError::file(&self.path))?;
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        let mut book: Option<Book> = None;
        for (number, line) in text[..whole].lines().enumerate() {
            let wrong = |what: String| PkiError::content(&self.path, format!("line {}: {what}", number + 1));
            let record: Record = serde_json::from_str(line).map_err(|why| wrong(why.to_string()))?;
            match (&mut book, record) {
                (None, Record::Founded { v: VERSION, tenant, .. }) => {
                    let (certificates, tokens) = (Vec::new(), BTreeMap::new());
                    book = Some(Book { tenant, certificates, tokens, crl: None });
                }
                (None, Record::Founded { v, .. }) => {
                    return Err(wrong(format!("is of version {v}; this program knows {VERSION}")));
                }
                (None, _) => return Err(wrong("is no beginning".into())),
                (Some(book), record) => book.add(record).map_err(wrong)?,
            }
        }
        let book = book.ok_or_else(|| PkiError::content(&self.path, "is empty"))?;
        Ok((book, u64::try_from(whole).unwrap_or(u64::MAX)))
    }
}

fn append(file: &mut File, records: &[Record]) -> std::io::Result<()> {
    let mut lines = String::new();
    for record in records {
        lines += &serde_json::to_string(record)?;
        lines.push('\n');
    }
    file.write_all(lines.as_bytes())?;
    file.sync_all()
}

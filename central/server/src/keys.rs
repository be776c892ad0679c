//! The private keys and the secret of central, in a folder. Enters: the folder. Leaves: what opens loyalty codes, or
//! every problem in it; public keys for people. Whoever has the folder can read every code that gateways send.
//!
//! ```text
//! ID.key         made = "2026-11-21T09:30:00Z"      one for each key; the newest is the one to give to gateways,
//!                key = "htkey-…"                    the others open what was sealed to them
//! codes.secret   key = "htkey-…"                    keys the numbers that stand for codes; never changes
//! ```
//!
//! The files must be closed to all but their owner.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crypto_box::SecretKey;
use crypto_box::aead::OsRng;
use crypto_box::aead::rand_core::RngCore as _;
use hangtag_central_core::loyalty::Keys;
use hangtag_protocol::key::{KEY_BYTES, PRIVATE, PublicKey, checked, written};
use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::problem::Problem;

const SECRET: &str = "codes.secret";
const KEY: &str = "key";
/// How the names of files begin that are being written.
const UNFINISHED: &str = ".unfinished-";

/// A key in the folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// When it was made.
    pub made: Timestamp,
    /// Its public half, as text.
    pub public: String,
    /// Its id, as text.
    pub id: String,
}

/// Everything in the folder.
#[derive(Debug)]
pub(crate) struct Ring {
    /// What opens codes.
    pub keys: Keys,
    /// The keys, the newest first.
    pub entries: Vec<Entry>,
}

/// A key could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeError {
    /// What is there is not in order.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Folder(Vec<Problem>),
    /// A file cannot be written.
    #[error("{}: {why}", .path.display())]
    Write {
        /// The file or the folder.
        path: PathBuf,
        /// The system's reason.
        why: io::Error,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    #[serde(deserialize_with = "moment")]
    made: Timestamp,
    key: Private,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretFile {
    key: Private,
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| D::Error::custom(format_args!("{text:?} is no time like 2026-11-21T09:30:00Z")))
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Private(Zeroizing<[u8; KEY_BYTES]>);

impl TryFrom<String> for Private {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let text = Zeroizing::new(text);
        checked(PRIVATE, &text)
            .map(|bytes| Self(Zeroizing::new(bytes)))
            .map_err(|_| format!("is not {PRIVATE} and the 72 digits that were written: restore the file"))
    }
}

/// Reads the folder.
///
/// # Errors
/// Everything that is wrong with it. A folder without keys has to be filled first.
pub(crate) fn read(folder: &Path) -> Result<Ring, Vec<Problem>> {
    let mut problems = Vec::new();
    let paths = match files(folder) {
        Ok(paths) if !paths.is_empty() => paths,
        Ok(_) => {
            return Err(vec![Problem::new(
                folder,
                "",
                "holds no key: `hangtag-central keys make` makes one",
            )]);
        }
        Err(why) => {
            let hint =
                if why.kind() == ErrorKind::NotFound { ": `hangtag-central keys make` makes it" } else { "" };
            return Err(vec![Problem::new(folder, "", format_args!("{why}{hint}"))]);
        }
    };
    let mut keys = match one::<SecretFile>(&folder.join(SECRET)) {
        Ok(SecretFile { key }) => Keys::new(key.0),
        Err(problem) => {
            problems.push(problem);
            Keys::default()
        }
    };
    let mut entries = Vec::new();
    for path in paths {
        match one::<KeyFile>(&path) {
            Ok(KeyFile { made, key }) => entries.push(entry(made, keys.add(&key.0))),
            Err(problem) => problems.push(problem),
        }
    }
    entries.sort_by(|a, b| b.cmp(a));
    if problems.is_empty() { Ok(Ring { keys, entries }) } else { Err(problems) }
}

/// Makes a key pair, and the folder and the secret where there are none.
///
/// # Errors
/// When what is there is not in order, or a file cannot be written: nothing is lost then.
pub(crate) fn make(folder: &Path, made: Timestamp) -> Result<Entry, MakeError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |why| MakeError::Write { path, why }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
    let secret = folder.join(SECRET);
    if files(folder).map_err(failed(folder))?.is_empty() && !secret.exists() {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        OsRng.fill_bytes(&mut *bytes);
        write(&secret, |file| file.write_all(text_of(&bytes).as_bytes())).map_err(failed(&secret))?;
    } else if let Err(problem) = one::<SecretFile>(&secret) {
        // Another secret would give every shopper another number.
        return Err(MakeError::Folder(vec![problem]));
    }
    let key = SecretKey::generate(&mut OsRng);
    let entry = entry(made, PublicKey::new(*key.public_key().as_bytes()));
    let path = folder.join(format!("{}.{KEY}", entry.id));
    let bytes = Zeroizing::new(key.to_bytes());
    let text = Zeroizing::new(format!("made = \"{made}\"\n{}", *text_of(&bytes)));
    write(&path, |file| file.write_all(text.as_bytes())).map_err(failed(&path))?;
    Ok(entry)
}

fn entry(made: Timestamp, public: PublicKey) -> Entry {
    Entry { made, public: public.to_string(), id: public.id().to_string() }
}

fn text_of(bytes: &[u8; KEY_BYTES]) -> Zeroizing<String> {
    Zeroizing::new(format!("key = \"{}\"\n", *Zeroizing::new(written(PRIVATE, bytes))))
}

/// The files of keys.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == KEY) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn one<T: for<'d> Deserialize<'d>>(path: &Path) -> Result<T, Problem> {
    let problem = |why: &dyn std::fmt::Display| Problem::new(path, "", why);
    let mode = fs::metadata(path).map_err(|why| problem(&why))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(problem(&format_args!(
            "mode {:o}: others than its owner may use it; chmod 600",
            mode & 0o777
        )));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|why| problem(&why))?);
    toml::from_str(&text).map_err(|why| Problem::toml(path, &text, &why))
}

/// Writes a file that was not there, for its owner only, to stable storage. Whatever stops it, the file is there whole
/// or not at all: half a secret would be taken for one that must be restored.
fn write(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    // Its mode is 600, and what a power cut leaves of it has an ending that is of no key.
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)?;
    fill(file.as_file_mut())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    #[test]
    fn keys_are_made_closed_and_read_again_the_newest_first() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("keys");
        let said = read(&folder).unwrap_err()[0].to_string();
        assert!(said.contains("`hangtag-central keys make` makes it"), "{said}");
        let first = make(&folder, at(0)).unwrap();
        let secret = fs::read(folder.join(SECRET)).unwrap();
        let second = make(&folder, at(1)).unwrap();
        let ring = read(&folder).unwrap();
        assert_eq!(ring.entries, [second.clone(), first.clone()]);
        assert_eq!(fs::read(folder.join(SECRET)).unwrap(), secret, "a number stands for a code for ever");
        let ids: Vec<String> = ring.keys.ids().map(|id| id.to_string()).collect();
        assert!(ids.contains(&first.id) && ids.contains(&second.id));
        assert!(first.public.parse::<PublicKey>().is_ok());
        for file in fs::read_dir(&folder).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_of_a_key_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        let Entry { id, .. } = make(folder, at(0)).unwrap();
        let (key, secret) = (folder.join(format!("{id}.{KEY}")), folder.join(SECRET));
        let good = fs::read_to_string(&key).unwrap();
        let digits = &good[good.find(PRIVATE).unwrap() + PRIVATE.len()..][..60];
        let told = |what: &str| {
            let problems = read(folder).unwrap_err();
            let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let said = said.join("\n");
            assert!(said.contains(what) && !said.contains(&digits[8..20]), "{what} in {said}");
        };
        fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
        told("mode 640: others than its owner may use it; chmod 600");
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        let swapped = if digits.starts_with('0') { "1" } else { "0" };
        fs::write(&key, good.replace(PRIVATE, &format!("{PRIVATE}{swapped}"))).unwrap();
        told("line 2: is not htkey- and the 72 digits");
        fs::write(&key, good.replace("made", "mode")).unwrap();
        told("line 1: unknown field `mode`");
        fs::write(&key, &good).unwrap();
        fs::remove_file(&secret).unwrap();
        told("codes.secret: No such file");
        let refused = make(folder, at(5)).unwrap_err().to_string();
        assert!(refused.contains("codes.secret: No such file"), "{refused}");
        assert_eq!(files(folder).unwrap().len(), 1, "nothing was made");
    }

    #[test]
    fn a_file_that_was_not_finished_does_not_stand_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join(SECRET);
        let cut = write(&secret, |file| {
            file.write_all(b"key = \"htk")?;
            assert!(!secret.exists(), "a power cut here leaves half a secret");
            Err(ErrorKind::StorageFull.into())
        });
        assert_eq!(cut.unwrap_err().kind(), ErrorKind::StorageFull);
        // What a power cut leaves.
        fs::write(dir.path().join(format!("{UNFINISHED}1")), "key = \"htk").unwrap();
        let made = make(dir.path(), at(0)).unwrap();
        assert_eq!(read(dir.path()).unwrap().entries, [made]);
        let before = fs::read(&secret).unwrap();
        let again = write(&secret, |file| file.write_all(b"other"));
        assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&secret).unwrap(), before);
    }
}

//! Copies of the file. Enters: a database in use, or a copy of one. Leaves: a copy, whole and of one moment, beside a
//! central that goes on; or a database made of a copy, with the old one beside it. Nothing is ever overwritten, and a file
//! has its name only when it is complete and on stable storage.
//!
//! A copy is marked as one: whoever puts it into use begins a new generation of the feed (`generation.rs`), whether by
//! [`restore`] or by copying it by hand.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use hangtag_central_core::feed::Generation;
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::TenantId;
use jiff::Timestamp;
use tempfile::NamedTempFile;

use super::db::{Alone, Db, DbError, Mode, binds};
use super::{Address, StoreError, generation, schema};

/// What a file is that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Its schema's version.
    pub version: i64,
    /// The events in it.
    pub events: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Where the database is that it took the place of.
    pub before: Option<PathBuf>,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// The database is on a server.
    #[error("{}: is on a server: {advice}", .address)]
    Server {
        /// The database.
        address: Address,
        /// What to do instead.
        advice: &'static str,
    },
    /// A file of this name is there.
    #[error("{}: is there already, and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// The file cannot be read or written.
    #[error("{}: {why}", .path.display())]
    File {
        /// The file, or the folder in which it should be made.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// The file is no copy of a central's database.
    #[error("{}: is no database of hangtag-central: {why}", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The copy cannot be made.
    #[error("{}: cannot be copied to {}: {why}", .from.display(), .to.display())]
    Copy {
        /// The database.
        from: PathBuf,
        /// What it should be copied to.
        to: PathBuf,
        /// Why.
        why: DbError,
    },
    /// The copy is not what it should be.
    #[error("{}: is damaged: {what}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        what: String,
    },
    /// A central runs on it.
    #[error("{}: another program has it open: stop central first", .0.display())]
    InUse(PathBuf),
    /// The database has data.
    #[error("{}: has data: with --replace it is kept beside the restored one", .0.display())]
    HasData(PathBuf),
    /// The database that is there cannot be read.
    #[error("{}: cannot be read ({why}): with --replace it is kept beside the restored one", .path.display())]
    Unreadable {
        /// The database.
        path: PathBuf,
        /// Why.
        why: DbError,
    },
    /// The database fails, is of a newer program or another tenant's.
    #[error("{0}")]
    Database(#[from] StoreError),
}

/// Copies a database to a file that is not there yet, also while central runs.
///
/// # Errors
/// When it is on a server, or a file cannot be read or written; then no file is left behind.
pub(crate) fn back_up(address: &Address, tenant: TenantId, to: &Path) -> Result<Copied, BackupError> {
    let advice = "copy it with the server's own tools, such as pg_dump (docs/postgresql.md)";
    let from = &real(file(address, advice)?)?;
    if to.try_exists().map_err(|why| of_file(to, why))? {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let made = copy(from, tenant, folder_of(to), to)?;
    mark(&made)?;
    let copied = examine(made.path(), to, tenant)?;
    // SQLite would take what is left of another file of this name for a part of this one.
    set_rest_aside(to, &aside_of(to))?;
    put(made, to, Name::Free)?;
    Ok(copied)
}

/// Makes the database of a copy. One that is there stays beside it, under a name that ends with the time.
///
/// # Errors
/// When the copy cannot be used, or the database is on a server, in use, or has data and `replace` is not said; then
/// everything is as it was. When the restored one cannot be read under its name; then the old one is beside it.
pub(crate) fn restore(
    address: &Address,
    tenant: TenantId,
    from: &Path,
    replace: bool,
) -> Result<Copied, BackupError> {
    let advice =
        "restore it with the server's own tools, then run `hangtag-central restored` (docs/postgresql.md)";
    // A link to the database stays one.
    let to = &real(file(address, advice)?)?;
    let from = &real(from)?;
    if fs::metadata(from).and_then(|a| Ok(a.ino() == fs::metadata(to)?.ino())).unwrap_or(false) {
        return Err(BackupError::Exists(to.to_owned()));
    }
    // Held until the end, so that no central starts on what is about to be replaced.
    let held = hold(to, replace)?;
    // An older one has none.
    let known = held.as_ref().and_then(|db| generation::current(db).ok()).unwrap_or_default();
    let made = copy(from, tenant, folder_of(to), to)?;
    put_into_use(&made, tenant, known, to)?;
    examine(made.path(), from, tenant)?;
    like_its_neighbours(made.path(), to)?;
    let before = set_aside(to)?;
    put(made, to, if before.is_some() { Name::Taken } else { Name::Free })?;
    drop(held);
    Ok(Copied { before, ..examine(to, to, tenant)? })
}

/// Begins a new generation of the feed, after a database was restored in another way than by [`restore`].
///
/// # Errors
/// When the database fails.
pub(crate) fn restored(address: &Address, tenant: TenantId) -> Result<(), StoreError> {
    let mut db = super::open_to_write(address, tenant)?;
    let transaction = db.transaction(Mode::Write)?;
    generation::begin(&transaction, now(), Generation::default())?;
    transaction.commit()
}

/// Marks a copy as one.
fn mark(made: &NamedTempFile) -> Result<(), StoreError> {
    generation::mark_copy(&Db::open_to_write(&address_of(made))?, now())
}

/// Brings a copy to this program's schema, and begins a generation in it. It is told of by the name that it will have.
fn put_into_use(
    made: &NamedTempFile,
    tenant: TenantId,
    known: Generation,
    name: &Path,
) -> Result<(), StoreError> {
    let mut db = Db::open_to_write(&address_of(made))?;
    schema::prepare(&mut db, &name.to_owned().into(), tenant)?;
    let transaction = db.transaction(Mode::Write)?;
    generation::begin(&transaction, now(), known)?;
    transaction.commit()
}

fn file<'a>(address: &'a Address, advice: &'static str) -> Result<&'a Path, BackupError> {
    match address {
        Address::File(path) => Ok(path),
        Address::Server(_) => Err(BackupError::Server { address: address.clone(), advice }),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where a file is, or would be made, without links: SQLite keeps what belongs to it there.
fn real(path: &Path) -> Result<PathBuf, BackupError> {
    match (fs::canonicalize(path), fs::read_link(path)) {
        (Ok(path), _) => Ok(path),
        (Err(why), Ok(to)) if why.kind() == ErrorKind::NotFound => real(&folder_of(path).join(to)),
        (Err(why), _) if why.kind() == ErrorKind::NotFound => Ok(path.to_owned()),
        (Err(why), _) => Err(of_file(path, why)),
    }
}

fn address_of(made: &NamedTempFile) -> Address {
    made.path().to_owned().into()
}

fn of_file(path: &Path, why: io::Error) -> BackupError {
    BackupError::File { path: path.to_owned(), why }
}

fn now() -> UnixMillis {
    UnixMillis(Timestamp::now().as_millisecond())
}

/// Copies a database into a file without a name of its own, which is to be that of `to`.
fn copy(from: &Path, tenant: TenantId, folder: &Path, to: &Path) -> Result<NamedTempFile, BackupError> {
    let address = Address::from(from.to_owned());
    fs::metadata(from).map_err(|why| of_file(from, why))?;
    let made = tempfile::Builder::new().prefix(".hangtag-central-").tempfile_in(folder);
    let made = made.map_err(|why| of_file(folder, why))?;
    let path = made.path().to_str().ok_or_else(|| of_file(to, ErrorKind::InvalidFilename.into()))?;
    loop {
        let before = state(from)?;
        let (db, is_immutable) = look(&address, from)?;
        is_centrals(&db, from)?;
        schema::check(&db, &address, tenant)?;
        db.execute("VACUUM INTO ?1", binds![path]).map_err(|why| match why {
            StoreError::Statement(why) => BackupError::Copy { from: from.to_owned(), to: to.to_owned(), why },
            other => other.into(),
        })?;
        // A file that nobody had open was read as one that nobody changes.
        if !is_immutable || (!before.is_open && state(from)? == before) {
            return Ok(made);
        }
        made.as_file().set_len(0).map_err(|why| of_file(to, why))?;
    }
}

/// Opens a database that people know by this name. Whether it is read as one that nobody changes.
fn look(address: &Address, name: &Path) -> Result<(Db, bool), StoreError> {
    Db::open_to_look(address).map_err(|why| StoreError::Open { address: name.to_owned().into(), why })
}

/// What tells whether a file may have changed.
#[derive(PartialEq)]
struct State {
    is_open: bool,
    written: (i64, i64, u64),
}

fn state(path: &Path) -> Result<State, BackupError> {
    let file = fs::metadata(path).map_err(|why| of_file(path, why))?;
    let is_open = ["-wal", "-journal"].iter().any(|end| beside(path, end).exists());
    Ok(State { is_open, written: (file.mtime(), file.mtime_nsec(), file.len()) })
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Whether a file is a database of this program's.
fn is_centrals(db: &Db, path: &Path) -> Result<(), BackupError> {
    let foreign = |why: String| BackupError::Foreign { path: path.to_owned(), why };
    let question = "SELECT count(*) FROM sqlite_schema WHERE name IN ('event', 'settled', 'epoch')";
    let tables: i64 = db.only(question, &[], |row| row.get(0)).map_err(|why| foreign(why.to_string()))?;
    if tables == 3 && db.version()? > 0 { Ok(()) } else { Err(foreign("its tables are not there".into())) }
}

/// Looks whether a file is whole, by itself. People know it by another name.
fn examine(path: &Path, name: &Path, tenant: TenantId) -> Result<Copied, BackupError> {
    let (db, _) = look(&Address::from(path.to_owned()), name)?;
    let address = Address::from(name.to_owned());
    let found: Vec<String> = db.all("PRAGMA integrity_check(3)", &[], |row| row.get(0))?;
    if found != ["ok"] {
        return Err(BackupError::Damaged { path: name.to_owned(), what: found.join("; ") });
    }
    schema::check(&db, &address, tenant)?;
    let events =
        "SELECT CAST(coalesce(sum(last - first + 1), 0) AS BIGINT) FROM settled WHERE fate = 'stored'";
    Ok(Copied {
        version: db.version()?,
        events: db.only(events, &[], |row| row.get(0))?,
        bytes: fs::metadata(path).map_err(|why| of_file(name, why))?.len(),
        before: None,
    })
}

/// Takes the database that is to be replaced for this program alone, when it can be read.
fn hold(path: &Path, replace: bool) -> Result<Option<Db>, BackupError> {
    if !path.try_exists().map_err(|why| of_file(path, why))? {
        return Ok(None);
    }
    match Db::open_alone(path) {
        Ok(Alone::Taken(db)) => {
            if !replace && has_data(&db)? {
                return Err(BackupError::HasData(path.to_owned()));
            }
            Ok(Some(db))
        }
        Ok(Alone::InUse) => Err(BackupError::InUse(path.to_owned())),
        Err(why) if replace => {
            tracing::warn!(path = %path.display(), %why, "cannot read the database that is replaced");
            Ok(None)
        }
        Err(why) => Err(BackupError::Unreadable { path: path.to_owned(), why }),
    }
}

/// Whether there is anything that a restored one would not have.
fn has_data(db: &Db) -> Result<bool, StoreError> {
    if db.version()? == 0 {
        return db.is_any("SELECT 1 FROM sqlite_schema LIMIT 1", &[]);
    }
    for table in ["epoch", "status", "quarantine"] {
        if db.is_any(&format!("SELECT 1 FROM {table} LIMIT 1"), &[])? {
            return Ok(true);
        }
    }
    // Tables of later versions than the first.
    for table in ["sale", "stock"] {
        let is_there = "SELECT 1 FROM sqlite_schema WHERE name = ?1";
        if db.is_any(is_there, binds![table])? && db.is_any(&format!("SELECT 1 FROM {table} LIMIT 1"), &[])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Lets the file be whose the database was, or whose the folder is: central may run as another user than who restores.
fn like_its_neighbours(made: &Path, to: &Path) -> Result<(), BackupError> {
    let wanted = fs::metadata(to).or_else(|_| fs::metadata(folder_of(to))).map_err(|why| of_file(to, why))?;
    let has = fs::metadata(made).map_err(|why| of_file(to, why))?;
    if (has.uid(), has.gid()) != (wanted.uid(), wanted.gid()) {
        chown(made, Some(wanted.uid()), Some(wanted.gid())).map_err(|why| of_file(to, why))?;
    }
    if wanted.is_file() {
        fs::set_permissions(made, wanted.permissions()).map_err(|why| of_file(to, why))?;
    }
    Ok(())
}

/// Gives the database that is there another name. It loses its own only when the other one takes it.
fn set_aside(path: &Path) -> Result<Option<PathBuf>, BackupError> {
    let aside = aside_of(path);
    set_rest_aside(path, &aside)?;
    if !path.try_exists().map_err(|why| of_file(path, why))? {
        return Ok(None);
    }
    fs::hard_link(path, &aside).or_else(|_| fs::rename(path, &aside)).map_err(|why| of_file(&aside, why))?;
    Ok(Some(aside))
}

/// The same with what belongs to a database that could not be read or is not there any more: SQLite would write it into
/// the next one of this name.
fn set_rest_aside(path: &Path, aside: &Path) -> Result<(), BackupError> {
    for end in ["-wal", "-shm", "-journal"] {
        let (rest, aside) = (beside(path, end), beside(aside, end));
        match fs::rename(&rest, &aside) {
            Ok(()) => {
                tracing::warn!(rest = %rest.display(), aside = %aside.display(), "moved a leftover aside");
            }
            Err(why) if why.kind() == ErrorKind::NotFound => {}
            Err(why) => return Err(of_file(&rest, why)),
        }
    }
    Ok(())
}

fn aside_of(path: &Path) -> PathBuf {
    beside(path, &Timestamp::now().strftime(".before-%Y%m%dT%H%M%S%.3fZ").to_string())
}

/// Whether another file may have a name.
#[derive(Clone, Copy)]
enum Name {
    Free,
    Taken,
}

/// Gives a complete file its name.
fn put(made: NamedTempFile, to: &Path, name: Name) -> Result<(), BackupError> {
    let folder = folder_of(to);
    made.as_file().sync_all().map_err(|why| of_file(to, why))?;
    let put = match name {
        Name::Free => made.persist_noclobber(to),
        Name::Taken => made.persist(to),
    };
    put.map_err(|why| match why.error.kind() {
        ErrorKind::AlreadyExists => BackupError::Exists(to.to_owned()),
        _ => of_file(to, why.error),
    })?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|why| of_file(folder, why))
}

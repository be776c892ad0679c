//! Copies, and what becomes of databases that are made of them.

use std::fs;
use std::path::{Path, PathBuf};

use hangtag_central_core::feed::{Generation, Sequence};

use super::engines;
use super::*;
use crate::store::{back_up, restore, restored};

/// A folder with a database in it, which nobody has open.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Opens the database, and stores batches.
    fn store(&self, name: &str, batches: &[Batch]) -> Store {
        let mut store = Store::open(&self.path(name).into(), options()).unwrap();
        for batch in batches {
            let topic = gateway().topic(Channel::Events);
            let payload = batch.encode().unwrap();
            store.append(&[Message { topic, payload, received: UnixMillis(5) }]).unwrap();
        }
        store
    }

    fn feed(&self, name: &str) -> (Generation, u64) {
        let page = Reader::new(self.path(name).into()).feed(gateway().store, Sequence(0), 100).unwrap();
        assert!(page.events.iter().all(|event| event.generation == page.generation));
        (page.generation, page.last.0)
    }

    fn back_up(&self, from: &str, to: &str) -> Result<u64, String> {
        let copied = back_up(&self.path(from).into(), tenant(), &self.path(to));
        copied.map(|copied| copied.events).map_err(|why| why.to_string())
    }

    fn restore(&self, to: &str, from: &str, replace: bool) -> Result<Option<PathBuf>, String> {
        let copied = restore(&self.path(to).into(), tenant(), &self.path(from), replace);
        copied.map(|copied| copied.before).map_err(|why| why.to_string())
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn clocked(first: u64, count: u64) -> Batch {
    Batch { anchors: vec![anchor(0, 1_700_000_000_000, 20)], ..plain(first, count) }
}

#[test]
fn a_copy_is_of_one_moment_and_made_beside_who_writes() {
    let files = Files::new();
    let mut store = files.store("central.db", &[clocked(1, 5)]);
    assert_eq!(files.back_up("central.db", "copy.db"), Ok(5));
    let topic = gateway().topic(Channel::Events);
    let payload = plain(6, 5).encode().unwrap();
    store.append(&[Message { topic, payload, received: UnixMillis(5) }]).unwrap();
    let said = files.back_up("central.db", "copy.db").unwrap_err();
    assert!(said.ends_with("copy.db: is there already, and is not overwritten"), "{said}");
    drop(store);
    assert_eq!(files.back_up("central.db", "later.db"), Ok(10), "also of what nobody has open");
    assert_eq!(files.names(), ["central.db", "copy.db", "later.db"], "nothing is left beside them");
    for name in ["missing.db", "folder/central.db"] {
        let said = files.back_up(name, "other.db").unwrap_err();
        assert!(said.contains(name) && said.contains("No such file"), "{said}");
    }
    assert!(files.back_up("central.db", "folder/copy.db").unwrap_err().contains("folder: No such file"));
}

#[test]
fn a_restored_database_goes_on_from_the_copy_in_a_new_generation() {
    let files = Files::new();
    drop(files.store("central.db", &[clocked(1, 5)]));
    files.back_up("central.db", "copy.db").unwrap();
    drop(files.store("central.db", &[plain(6, 5)]));
    let (before, last) = files.feed("central.db");
    assert_eq!(last, 10);
    let aside = files.restore("central.db", "copy.db", true).unwrap().unwrap();
    let (first, last) = files.feed("central.db");
    assert!(first > before && last == 5, "{first:?} after {before:?}");
    assert_eq!(files.feed(aside.file_name().unwrap().to_str().unwrap()), (before, 10));
    // What was known is numbered anew.
    let mut store = files.store("central.db", &[plain(8, 3), plain(6, 2)]);
    assert_eq!(store.watermark(&gateway()).unwrap().epochs[0].contiguous_to, Seq(10));
    drop(store);
    let same =
        |known| Reader::new(files.path("central.db").into()).same_up_to(gateway().store, known).unwrap().0;
    assert_eq!((same(before), same(first), same(Generation(UnixMillis(77)))), (5, 0, 0));
    // The same copy again is another generation: what came of the first one is not what comes of this.
    files.restore("central.db", "copy.db", true).unwrap();
    let (second, _) = files.feed("central.db");
    assert!(second > first);
    assert_eq!((same(before), same(first)), (5, 0));
}

fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    // A page of an index alone would be mended by copying the table.
    let page = |quarter: usize| bytes.len() / 4096 * quarter / 4 * 4096;
    let half = page(1)..page(3);
    bytes[half].fill(0xa5);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_copy_that_is_put_in_place_by_hand_begins_a_generation_too() {
    let files = Files::new();
    drop(files.store("central.db", &[clocked(1, 5)]));
    files.back_up("central.db", "copy.db").unwrap();
    let before = files.feed("central.db").0;
    fs::rename(files.path("copy.db"), files.path("central.db")).unwrap();
    assert_eq!(files.feed("central.db").0, before, "whoever only reads changes nothing");
    drop(files.store("central.db", &[]));
    let after = files.feed("central.db").0;
    assert!(after > before);
    drop(files.store("central.db", &[]));
    assert_eq!(files.feed("central.db").0, after, "once");
}

#[test]
fn nothing_takes_the_place_of_data_or_of_what_is_in_use() {
    let files = Files::new();
    drop(files.store("central.db", &[clocked(1, 5)]));
    files.back_up("central.db", "copy.db").unwrap();
    let said = files.restore("central.db", "copy.db", false).unwrap_err();
    assert!(
        said.ends_with("central.db: has data: with --replace it is kept beside the restored one"),
        "{said}"
    );
    let store = files.store("central.db", &[]);
    for replace in [false, true] {
        let said = files.restore("central.db", "copy.db", replace).unwrap_err();
        assert!(said.ends_with("another program has it open: stop central first"), "{said}");
    }
    drop(store);
    let said = files.restore("central.db", "central.db", true).unwrap_err();
    assert!(said.contains("is there already"), "{said}");
    // What holds nothing is no obstacle, and nothing need be there.
    drop(files.store("empty.db", &[]));
    for name in ["empty.db", "new.db"] {
        files.restore(name, "copy.db", false).unwrap();
        assert_eq!(files.feed(name).1, 5);
    }
    assert!(files.names().iter().all(|name| !name.starts_with('.')), "{:?}", files.names());
}

#[test]
fn what_is_no_copy_of_this_tenants_database_is_refused_with_a_word() {
    let files = Files::new();
    drop(files.store("central.db", &[clocked(1, 400)]));
    files.back_up("central.db", "copy.db").unwrap();
    let sql = |name: &str, sql: &str| {
        rusqlite::Connection::open(files.path(name)).unwrap().execute_batch(sql).unwrap();
    };
    fs::write(files.path("text"), "no database, whatever its name says. ".repeat(100)).unwrap();
    sql("other-program.db", "CREATE TABLE t (x)");
    for name in ["newer.db", "tenant.db", "damaged.db"] {
        fs::copy(files.path("copy.db"), files.path(name)).unwrap();
    }
    sql("newer.db", "PRAGMA user_version = 99");
    sql("tenant.db", "UPDATE meta SET value = 'other' WHERE name = 'tenant'");
    damage(&files.path("damaged.db"));
    for (name, said) in [
        ("missing", "No such file"),
        ("text", "is no database of hangtag-central: database: file is not a database"),
        ("other-program.db", "is no database of hangtag-central: its tables are not there"),
        ("newer.db", "has schema version 99, this program knows up to"),
        ("tenant.db", "is the database of tenant \"other\", not of \"demo\""),
        ("damaged.db", "malformed"),
    ] {
        let told = files.restore("restored.db", name, false).unwrap_err();
        assert!(told.contains(said) && told.contains(name), "{said} in {told}");
        assert!(!files.path("restored.db").exists());
    }
    // A database that cannot be read is what copies are for.
    damage(&files.path("central.db"));
    fs::write(files.path("central.db"), b"SQLite format 3\0 and then nothing of it".repeat(100)).unwrap();
    let said = files.restore("central.db", "copy.db", false).unwrap_err();
    assert!(said.contains("central.db: cannot be read (") && said.contains("--replace"), "{said}");
    files.restore("central.db", "copy.db", true).unwrap();
    assert_eq!(files.feed("central.db").1, 400);
}

#[test]
fn what_a_server_restored_begins_a_generation_when_it_is_told() {
    let mut bench = Bench::new();
    bench.send(&clocked(1, 5));
    let page =
        |address: &Address| Reader::new(address.clone()).feed(gateway().store, Sequence(0), 100).unwrap();
    let before = page(&bench.address).generation;
    let backup = engines::back_up(&bench);
    bench.send(&plain(6, 5));
    restored(&backup, tenant()).unwrap();
    let after = page(&backup);
    assert!(after.generation > before && after.last == Sequence(5));
    let reader = Reader::new(backup.clone());
    assert_eq!(reader.same_up_to(gateway().store, before).unwrap(), Sequence(5));
    assert_eq!(reader.same_up_to(StoreId::new("other").unwrap(), before).unwrap(), Sequence(0));
    restored(&backup, tenant()).unwrap();
    assert!(page(&backup).generation > after.generation);
    assert_eq!(reader.same_up_to(gateway().store, before).unwrap(), Sequence(5));
    if let Address::Server(_) = bench.address {
        let said = back_up(&bench.address, tenant(), Path::new("copy.db")).unwrap_err().to_string();
        assert!(said.contains("is on a server") && said.contains("pg_dump"), "{said}");
        let said = restore(&bench.address, tenant(), Path::new("copy.db"), true).unwrap_err().to_string();
        assert!(said.contains("hangtag-central restored"), "{said}");
    }
}

#[test]
fn what_is_left_of_a_database_that_is_gone_gets_into_no_restored_one() {
    let files = Files::new();
    drop(files.store("central.db", &[clocked(1, 5)]));
    files.back_up("central.db", "copy.db").unwrap();
    // A central that was killed leaves its log, and somebody deletes only the file.
    let store = files.store("central.db", &[plain(6, 400)]);
    fs::copy(files.path("central.db-wal"), files.path("log")).unwrap();
    drop(store);
    fs::remove_file(files.path("central.db")).unwrap();
    fs::rename(files.path("log"), files.path("central.db-wal")).unwrap();
    fs::write(files.path("central.db-journal"), b"of something else").unwrap();
    assert_eq!(files.restore("central.db", "copy.db", false), Ok(None));
    assert_eq!(files.feed("central.db").1, 5);
    let whole: String = {
        let db = rusqlite::Connection::open(files.path("central.db")).unwrap();
        db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(whole, "ok");
    let kept: Vec<_> =
        files.names().into_iter().filter(|name| name.starts_with("central.db.before-")).collect();
    assert!(kept.len() == 2 && kept[0].ends_with("-journal") && kept[1].ends_with("-wal"), "{kept:?}");
}

#[test]
fn a_database_behind_a_link_is_copied_whole_and_the_link_stays_one() {
    let files = Files::new();
    fs::create_dir(files.path("disk")).unwrap();
    std::os::unix::fs::symlink("disk/central.db", files.path("central.db")).unwrap();
    let is_link = || files.path("central.db").symlink_metadata().unwrap().is_symlink();
    // What was stored last stands in the log, which lies beside the file.
    let store = files.store("disk/central.db", &[clocked(1, 5)]);
    assert_eq!(files.back_up("central.db", "copy.db"), Ok(5));
    let said = files.restore("central.db", "copy.db", true).unwrap_err();
    assert!(said.ends_with("another program has it open: stop central first"), "{said}");
    drop(store);
    let aside = files.restore("central.db", "copy.db", true).unwrap().unwrap();
    let disk = files.path("disk").canonicalize().unwrap();
    assert_eq!((is_link(), aside.parent()), (true, Some(&*disk)));
    assert_eq!(files.feed("disk/central.db").1, 5);
    // A link to where there is nothing yet tells where it should be.
    fs::remove_file(files.path("disk/central.db")).unwrap();
    files.restore("central.db", "copy.db", false).unwrap();
    assert_eq!((is_link(), files.feed("disk/central.db").1), (true, 5));
}

//! The command `pos import`. Enters: files of tills. Leaves: what became of their lines, in words, and an exit code.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::StoreId;
use hangtag_protocol::topic::About;
use jiff::Timestamp;

use super::import::note_import;
use crate::config::Config;
use crate::pos::{self, Door, Told};
use crate::problem;
use crate::shop::{self, Shop};
use crate::store::{Store, Taken};

/// The most lines in one transaction: a running central waits no longer.
const GROUP: usize = 1_000;
/// The shortest time in which another process may write between two transactions.
const PAUSE: Duration = Duration::from_millis(10);

/// Stores files, and tells what became of them. Every file is tried, whatever is wrong with the others.
///
/// # Errors
/// When the stores file cannot be read, the shop is none of them, or the database fails.
pub(super) fn import_all(
    config: &Config,
    about: About,
    store: Option<StoreId>,
    files: &[PathBuf],
) -> anyhow::Result<ExitCode> {
    let shops = shop::read(&config.stores).map_err(|problems| anyhow::anyhow!(problem::lines(&problems)))?;
    if let Some(store) = store.filter(|store| shops.iter().all(|shop| shop.id != *store)) {
        anyhow::bail!("--store: {} has no store {store}", config.stores.display());
    }
    let options = config.store_options().map_err(|problems| anyhow::anyhow!(problem::lines(&problems)))?;
    let mut database = Store::open(&config.address()?, options)?;
    let mut all = Taken::default();
    let mut code = ExitCode::SUCCESS;
    for path in files {
        let imported = import(&mut database, about, store, &shops, path);
        let (taken, told) = imported.with_context(|| path.display().to_string())?;
        all.new += taken.new;
        all.known += taken.known;
        all.replaced += taken.replaced;
        told.notes.iter().for_each(|note| eprintln!("{}: {note}", path.display()));
        for fault in &told.faults {
            eprintln!("{}: {fault}", path.display());
            code = ExitCode::FAILURE;
        }
    }
    note_import(config, files, all.new)?;
    let what = if about == About::Stock { "counts" } else { "lines" };
    println!("{} {what} new\n{} {what} known\n{} {what} corrected", all.new, all.known, all.replaced);
    Ok(code)
}

/// Stores one file. A file that cannot be read is a fault of its own.
fn import(
    database: &mut Store,
    about: About,
    store: Option<StoreId>,
    shops: &[Shop],
    path: &Path,
) -> anyhow::Result<(Taken, Told)> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(why) => return Ok((Taken::default(), Told::nothing(about, &format!("cannot read: {why}")))),
    };
    let door = Door { about, store, is_told: false, shops: Some(shops) };
    let is_json = bytes.trim_ascii_start().starts_with(b"[") || bytes.trim_ascii_start().starts_with(b"{");
    let mut told = if is_json { pos::json(&bytes, door) } else { pos::sheet(&bytes, door) };
    let mut all = Taken::default();
    let received = UnixMillis(Timestamp::now().as_millisecond());
    for (group, rows) in told.rows.chunks(GROUP).iter().enumerate() {
        let began = Instant::now();
        let Taken { new, known, replaced, refused } = database.append_sales(rows, received)?;
        all.new += new;
        all.known += known;
        all.replaced += replaced;
        all.refused.extend(refused.into_iter().map(|(at, why)| (group * GROUP + at, why)));
        // SQLite's lock is not fair: without a pause a running central would seldom get it.
        std::thread::sleep(began.elapsed().max(PAUSE));
    }
    told.refused(std::mem::take(&mut all.refused));
    Ok((all, told))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::pos::Rows;
    use crate::shop::tests::paris;
    use crate::store::Reader;
    use crate::store::tests::Bench;

    #[test]
    fn a_file_is_stored_once_and_what_is_wrong_in_it_is_named_by_its_line() {
        let mut bench = Bench::new();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sales.csv");
        let mut text = String::from("store,receipt,line,kind,time,gtin,quantity\n");
        let lines = 2 * GROUP + 3;
        for number in 1..=lines {
            let gtin = if number == 1_500 { "1" } else { "4006381333931" };
            writeln!(text, "paris-1,r,{number},sale,2026-11-22 14:03:11,{gtin},1").unwrap();
        }
        // Of another day, under a number that was used.
        text.push_str("paris-1,r,7,sale,2026-11-28 14:03:11,4006381333931,1\n");
        std::fs::write(&file, text).unwrap();
        let shops = [paris()];
        let mut import = || import(&mut bench.store, About::Sale, None, &shops, &file).unwrap();
        let (taken, told) = import();
        assert_eq!((taken.new, taken.known, taken.replaced), (lines as u64 - 1, 0, 0));
        let faults: Vec<String> = told.faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("line 1501: gtin: \"1\" is not a GTIN"), "{faults:?}");
        assert!(
            faults[1].starts_with("line 2005: receipt \"r\" line 7 is a sale of 6 days before"),
            "{faults:?}"
        );
        let (taken, _) = import();
        assert_eq!((taken.new, taken.known, taken.replaced), (0, lines as u64 - 1, 0));
        let stored = Reader::new(bench.address.clone())
            .sales(shops[0].id, UnixMillis(0), UnixMillis(i64::MAX))
            .unwrap();
        assert_eq!(stored.len(), lines - 1);
        let json = folder.path().join("stock.json");
        std::fs::write(&json, r#" {"gtin":"4006381333931","time":"2026-11-22T14:03:11Z","quantity":4}"#)
            .unwrap();
        let (taken, told) =
            super::import(&mut bench.store, About::Stock, Some(shops[0].id), &shops, &json).unwrap();
        assert_eq!((taken.new, &told.faults[..]), (1, &[][..]));
        assert!(matches!(told.rows, Rows::Counts(_)));
        let (_, told) =
            super::import(&mut bench.store, About::Stock, None, &shops, &folder.path().join("absent"))
                .unwrap();
        assert!(told.faults[0].to_string().starts_with("cannot read: No such file"));
    }
}

//! The command `import`. Enters: files. Leaves: what became of them, in words, and an exit code.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use hangtag_protocol::id::StoreId;
use hangtag_protocol::range::{SeqRange, SeqSet};

use super::audit;
use crate::config::Config;
use crate::import::{self, Imported};
use crate::problem::{self, Problem};
use crate::shop;
use crate::store::{Deed, Forks, Key, Store, Sums};

/// The most ranges of lost numbers that one line tells.
const RANGES: usize = 20;

/// What to do with what central does not store under the numbers that it has.
const KEEP: &str = "keep the file; if its agent will never reach the broker again, import it with \
     --fork-as-new-epoch";

/// Stores files, and tells what became of them. Every file is tried, whatever is wrong with the others.
///
/// # Errors
/// When the database cannot be opened.
pub(super) fn import_all(config: &Config, forks: Forks, files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let options = config.store_options().map_err(|problems| anyhow::anyhow!(problem::lines(&problems)))?;
    let address = config.address()?;
    let mut store = Store::open(&address, options)?;
    let mut all = Imported::default();
    let mut code = ExitCode::SUCCESS;
    let mut fail = |path: &PathBuf, why: String| {
        eprintln!("{}: {why}", path.display());
        code = ExitCode::FAILURE;
    };
    for path in files {
        match import::import(&mut store, config.tenant, forks, path) {
            Ok(imported) => {
                imported.problems.iter().for_each(|damage| fail(path, damage.to_string()));
                imported.foreigners(config.tenant).for_each(|line| fail(path, line));
                all.sums += imported.sums;
                all.stores.extend(imported.stores);
                for (key, numbers) in imported.lost {
                    let known = all.lost.entry(key).or_default();
                    numbers.ranges().iter().for_each(|range| known.insert(*range));
                }
            }
            Err(why) => fail(path, why.to_string()),
        }
    }
    note_import(config, files, all.sums.new.events)?;
    let Sums { new, known, adopted, aside, .. } = all.sums;
    for (sum, what) in [(new, "new"), (known, "known"), (aside, "set aside")] {
        println!("{} batches, {} events {what}", sum.batches, sum.events);
    }
    if adopted.batches > 0 {
        println!("{} events of these are new under an epoch of their own", adopted.events);
    }
    all.lost.iter().for_each(|(key, numbers)| println!("{}", lost(key, numbers)));
    strangers(config, &all.stores).iter().for_each(|line| eprintln!("{line}"));
    for line in not_stored(&all.sums) {
        println!("{line}");
        code = ExitCode::FAILURE;
    }
    Ok(code)
}

/// Writes down what was brought in from where.
///
/// # Errors
/// When the database fails.
pub(super) fn note_import(config: &Config, files: &[PathBuf], new: u64) -> anyhow::Result<()> {
    let names: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    let about = format!("{new} new from {}", names.join(", "));
    Ok(audit::access(config)?.note(&audit::entry(Deed::Imported, about))?)
}

/// What was lost on one gateway.
fn lost((gateway, epoch): &Key, numbers: &SeqSet) -> String {
    let ranges = numbers.ranges();
    let events: u64 = ranges.iter().map(SeqRange::len).sum();
    let told = |range: &SeqRange| match range.len() {
        1 => range.first.to_string(),
        _ => format!("{} to {}", range.first, range.last),
    };
    let mut texts: Vec<String> = ranges.iter().take(RANGES).map(told).collect();
    if let more @ 1.. = ranges.len().saturating_sub(RANGES) {
        texts.push(format!("and {more} more ranges"));
    }
    let (store, gateway) = (gateway.store, gateway.gateway);
    format!("{store}/{gateway}: {events} events of epoch {epoch} are lost: {}", texts.join(", "))
}

/// A warning for each store that the page cannot show.
fn strangers(config: &Config, stores: &BTreeSet<StoreId>) -> Vec<String> {
    let file = config.stores.display();
    match shop::read(&config.stores) {
        Ok(shops) => {
            let unknown = stores.iter().filter(|store| shops.iter().all(|shop| shop.id != **store));
            unknown
                .map(|store| format!("{file}: has no store {store:?}: its events are stored and not shown"))
                .collect()
        }
        Err(problems) => problems.iter().map(Problem::to_string).collect(),
    }
}

/// Which batches are in the files alone, and why.
fn not_stored(sums: &Sums) -> Vec<String> {
    let mut lines = Vec::new();
    if sums.forked.batches > 0 {
        let count = sums.forked.batches;
        lines.push(format!("{count} batches belong to a copy of this gateway and were not stored: {KEEP}"));
    }
    let untold = &*format!("central has recorded none of the runs that they tell of: {KEEP}");
    let full = "quarantine is full: raise quarantine.max_mib, and import the file again";
    for (sum, why) in [(sums.untold, untold), (sums.left, full)] {
        if sum.batches > 0 {
            lines.push(format!("{} batches, {} events were not stored: {why}", sum.batches, sum.events));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use hangtag_protocol::batch::Batch;
    use hangtag_protocol::id::{Epoch, Seq};
    use hangtag_protocol::lineage::{Lineage, Run};

    use super::*;
    use crate::store::tests::{Bench, batch, gateway, options, picked};

    const TAG: &str = "3074257bf7194e4000001a85";

    fn told(first: u64, runs: &[(u64, u32)]) -> Batch {
        let runs: Vec<Run> = runs.iter().map(|(first, id)| Run { first: Seq(*first), id: *id }).collect();
        Batch { lineage: Lineage::from(runs), ..batch(first, vec![picked(first * 1_000, TAG)]) }
    }

    fn export(path: &Path, batch: &Batch) {
        let payload = batch.encode().unwrap();
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        fs::write(path, [b"HTGX\x01", &length[..], &payload].concat()).unwrap();
    }

    #[test]
    fn an_import_fails_when_a_batch_is_in_the_file_alone() {
        let mut bench = Bench::new();
        bench.send(&told(1, &[(1, 7)]));
        bench.send(&told(2, &[(1, 7), (2, 8)]));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("exported.htgx");
        let mut import = |batch: &Batch, forks| {
            export(&file, batch);
            let imported = import::import(&mut bench.store, options().tenant, forks, &file).unwrap();
            not_stored(&imported.sums)
        };
        assert_eq!(import(&told(3, &[(1, 7), (2, 8)]), Forks::Refuse), [""; 0]);
        let copy = told(2, &[(1, 7), (2, 9)]);
        let [line] = &import(&copy, Forks::Refuse)[..] else { panic!("one line") };
        assert!(line.starts_with("1 batches belong to a copy of this gateway and were not stored: keep"));
        let old = told(4, &[(4, 9)]);
        let [line] = &import(&old, Forks::Refuse)[..] else { panic!("one line") };
        assert!(line.starts_with("1 batches, 1 events were not stored: central has recorded none"), "{line}");
        assert!(line.ends_with("import it with --fork-as-new-epoch"), "{line}");
        for batch in [copy, old] {
            assert_eq!(import(&batch, Forks::Adopt), [""; 0]);
        }
    }

    #[test]
    fn lost_numbers_are_told_in_one_line() {
        let key = (gateway(), Epoch(0xabc));
        let few = SeqSet::from(vec![SeqRange::new(5, 9), SeqRange::new(12, 12)]);
        assert_eq!(lost(&key, &few), "paris-1/gw-1: 6 events of epoch 0000000000000abc are lost: 5 to 9, 12");
        let many = SeqSet::from((1..=50).map(|n| SeqRange::new(2 * n, 2 * n)).collect::<Vec<_>>());
        assert!(lost(&key, &many).ends_with("38, 40, and 30 more ranges"), "{}", lost(&key, &many));
    }
}

//! The commands. Enters: arguments. Leaves: what the command prints, and an exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use hangtag_protocol::clock::UnixMillis;
use jiff::Timestamp;

use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::problem::Problem;
use crate::store::{Reader, Store, Sums};
use crate::{import, log, pipeline, shop};

/// Stores what shoppers did with clothes, and shows it.
#[derive(Parser)]
#[command(name = "hangtag-central", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Runs until SIGINT or SIGTERM.
    Run(File),
    /// Reads the configuration, the stores file and the catalogue, and prints every problem in them.
    Check(File),
    /// Stores batches that agents exported to files; also while central runs.
    Import {
        #[command(flatten)]
        file: File,
        /// The files.
        #[arg(required = true, value_name = "FILE")]
        exported: Vec<PathBuf>,
    },
    /// Shows what could not be read.
    Quarantine {
        #[command(flatten)]
        file: File,
        #[command(subcommand)]
        what: Option<What>,
    },
}

#[derive(Args)]
pub(crate) struct File {
    /// The configuration, a TOML file.
    #[arg(long, global = true, default_value = "central.toml")]
    config: PathBuf,
}

#[derive(Subcommand)]
pub(crate) enum What {
    /// One line for each payload, the newest first.
    List,
    /// One payload in hexadecimal.
    Show {
        /// The number that `list` tells.
        id: i64,
    },
}

/// The most payloads that are listed.
const LISTED: u32 = 1_000;

impl Command {
    /// Does what was asked.
    ///
    /// # Errors
    /// When it cannot; the text is for people.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run(file) => {
                let config = read(&file)?;
                log::start()?;
                tokio::runtime::Runtime::new().context("runtime")?.block_on(pipeline::run(config))?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Check(file) => Ok(check(&file)),
            Self::Import { file, exported } => {
                log::start()?;
                import_all(&read(&file)?, &exported)
            }
            Self::Quarantine { file, what } => {
                let reader = Reader::new(read(&file)?.data);
                match what.unwrap_or(What::List) {
                    What::List => list(&reader)?,
                    What::Show { id } => show(&reader, id)?,
                }
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn read(file: &File) -> anyhow::Result<Config> {
    Config::read(&file.config).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })
}

fn check(file: &File) -> ExitCode {
    let mut problems = Vec::new();
    match Config::read(&file.config) {
        Ok(config) => {
            match shop::read(&config.stores) {
                Ok(shops) => println!("{}: {} stores", config.stores.display(), shops.len()),
                Err(found) => problems.extend(found),
            }
            if let Some(path) = &config.catalogue {
                let catalogue = Catalogue::read(path);
                println!("{}: {} trade items", path.display(), catalogue.len());
                problems.extend(catalogue.problems);
            }
        }
        Err(found) => problems.extend(found),
    }
    problems.iter().for_each(|problem| println!("{problem}"));
    if problems.is_empty() {
        println!("{}: no problems", file.config.display());
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Every file is tried, whatever is wrong with the others.
fn import_all(config: &Config, files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let mut store = Store::open(&config.data, config.store_options())?;
    let mut sums = Sums::default();
    let mut code = ExitCode::SUCCESS;
    for path in files {
        match import::import(&mut store, config.tenant, path) {
            Ok(imported) => {
                sums += imported.sums;
                for damage in &imported.problems {
                    eprintln!("{}: {damage}", path.display());
                    code = ExitCode::FAILURE;
                }
            }
            Err(why) => {
                eprintln!("{}: {why}", path.display());
                code = ExitCode::FAILURE;
            }
        }
    }
    for (sum, what) in [(sums.new, "new"), (sums.known, "known"), (sums.aside, "set aside")] {
        println!("{} batches, {} events {what}", sum.batches, sum.events);
    }
    for line in not_stored(&sums) {
        println!("{line}");
        code = ExitCode::FAILURE;
    }
    Ok(code)
}

/// Which batches are in the files alone, and why.
fn not_stored(sums: &Sums) -> Vec<String> {
    let mut lines = Vec::new();
    if sums.forked.batches > 0 {
        let count = sums.forked.batches;
        lines.push(format!(
            "{count} batches belong to a copy of this gateway and were not stored: keep the file"
        ));
    }
    let untold = "central has recorded none of the runs that they tell of: keep the file";
    let full = "quarantine is full: raise quarantine.max_mib, and import the file again";
    for (sum, why) in [(sums.untold, untold), (sums.left, full)] {
        if sum.batches > 0 {
            lines.push(format!("{} batches, {} events were not stored: {why}", sum.batches, sum.events));
        }
    }
    lines
}

/// Strangers choose topics and parts of reasons: their control characters must not reach a terminal.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn list(reader: &Reader) -> anyhow::Result<()> {
    println!("{:>6}  {:20}  {:>5}  {:>6}  {:7}  TOPIC: REASON", "ID", "RECEIVED", "TIMES", "BYTES", "KIND");
    for row in reader.quarantine(LISTED)? {
        let received = utc(row.received);
        println!(
            "{:>6}  {received:20}  {:>5}  {:>6}  {:7}  {}: {}",
            row.id,
            row.times,
            row.size,
            row.kind,
            printable(&row.topic),
            printable(&row.reason)
        );
    }
    Ok(())
}

fn show(reader: &Reader, id: i64) -> anyhow::Result<()> {
    let Some((row, payload)) = reader.quarantined(id)? else { bail!("there is no {id} in quarantine") };
    println!("topic     {}\nreceived  {}, {} times", printable(&row.topic), utc(row.received), row.times);
    println!("kind      {}", row.kind);
    println!("reason    {}\nbytes     {}\n", printable(&row.reason), row.size);
    for (line, bytes) in payload.chunks(16).enumerate() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let printable = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
        let text: String = bytes.iter().map(printable).collect();
        println!("{:08x}  {:47}  {text}", line * 16, hex.join(" "));
    }
    Ok(())
}

fn utc(at: UnixMillis) -> String {
    Timestamp::from_millisecond(at.0)
        .map_or_else(|_| at.0.to_string(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use hangtag_protocol::batch::Batch;
    use hangtag_protocol::id::Seq;
    use hangtag_protocol::lineage::{Lineage, Run};

    use super::*;
    use crate::store::tests::{Bench, batch, options, picked};

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
        let mut import = |batch: &Batch| {
            export(&file, batch);
            let imported = import::import(&mut bench.store, options().tenant, &file).unwrap();
            not_stored(&imported.sums)
        };
        assert_eq!(import(&told(3, &[(1, 7), (2, 8)])), [""; 0]);
        assert_eq!(
            import(&told(2, &[(1, 7), (2, 9)])),
            ["1 batches belong to a copy of this gateway and were not stored: keep the file"]
        );
        let [line] = &import(&told(4, &[(4, 9)]))[..] else { panic!("one line") };
        assert!(line.starts_with("1 batches, 1 events were not stored: central has recorded none"), "{line}");
    }
}

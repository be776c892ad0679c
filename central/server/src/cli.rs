//! The commands. Enters: arguments. Leaves: what the command prints, and an exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand};
use hangtag_protocol::id::StoreId;
use hangtag_protocol::topic::About;

use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::pos::schemas;
use crate::problem::Problem;
use crate::store::Forks;
use crate::{log, pipeline};

mod audit;
mod backup;
mod bench;
mod check;
mod import;
mod keys;
mod pki;
mod pos;
mod quarantine;
mod token;
mod user;
mod verify;

use bench::Bench;
use check::check;
use import::import_all;
use quarantine::QuarantineWhat;
use token::TokenWhat;
use user::UserWhat;

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
    /// Reads the configuration, the stores file and the catalogue, looks at the database and the page's port, and
    /// prints every problem. The exit code is 1 when there is one.
    Check(File),
    /// Looks at a catalogue before central is given it.
    Catalogue {
        #[command(subcommand)]
        what: CatalogueWhat,
    },
    /// Stores batches that agents exported to files; also while central runs.
    ///
    /// A batch whose numbers another run of the gateway has used is not stored, because its agent sends it
    /// again under new numbers when it next reaches the broker. The exit code is then 1.
    Import {
        #[command(flatten)]
        file: File,
        /// Stores such batches too, under an epoch of their own.
        ///
        /// Only for a spool whose agent will never reach the broker again: an agent that does sends the same
        /// events under numbers of its own, and they count twice. The epoch follows from the gateway, its old
        /// epoch and its run, so that the same file, or a later export of the same spool, is stored once
        /// however often it is imported; so is what central has under other numbers.
        #[arg(long)]
        fork_as_new_epoch: bool,
        /// The files.
        #[arg(required = true, value_name = "FILE")]
        exported: Vec<PathBuf>,
    },
    /// Shows the public keys to which gateways seal loyalty codes, or makes another key pair.
    ///
    /// The private keys stay in the folder that the configuration names, closed to all but their owner: run this as
    /// central's own user. Old keys stay there too, because codes sealed to them may still come.
    Keys {
        #[command(flatten)]
        file: File,
        #[command(subcommand)]
        what: Option<KeysWhat>,
    },
    /// The chain's certificate authority: who may speak to the broker.
    Pki {
        #[command(subcommand)]
        what: pki::PkiWhat,
    },
    /// What tills tell: sales, returns and counts of stock.
    Pos {
        #[command(flatten)]
        file: File,
        #[command(subcommand)]
        what: PosWhat,
    },
    /// Measures how fast central is on this machine, with invented events in databases of its own.
    ///
    /// Without a broker: how fast batches are stored and rolled up, and how fast the page is. With --mqtt: the whole way
    /// from gateways to what is committed, rolled up and published, and how long live events take beside late ones.
    Bench(Bench),
    /// Writes manual pages and shell completions into a folder, for a package.
    #[command(hide = true)]
    Pages {
        /// The folder.
        folder: PathBuf,
    },
    /// Adds every hour up again from its events, and compares with what is kept of it; also while central runs.
    ///
    /// The exit code is 1 when something differs, and 2 when there was nothing to compare. With --mend hours that differ
    /// are added up anew.
    Verify {
        #[command(flatten)]
        file: File,
        /// Throws away what differs, so that it is made again.
        #[arg(long)]
        mend: bool,
    },
    /// Copies the database to a file, also while central runs.
    ///
    /// The copy is of one moment, and is looked through before it gets its name. A file that is there is not overwritten.
    /// Databases on a server have tools of their own.
    Backup {
        #[command(flatten)]
        file: File,
        /// Where the copy goes: a file that is not there.
        #[arg(value_name = "FILE")]
        to: PathBuf,
    },
    /// Makes the database of a copy. Stop central first.
    ///
    /// Gateways then send again what they still hold and the copy does not have, and the feed tells those who read it that
    /// its places are numbered anew from there on.
    Restore {
        #[command(flatten)]
        file: File,
        /// Takes the place of a database with data, which is kept beside it.
        #[arg(long)]
        replace: bool,
        /// The copy.
        #[arg(value_name = "FILE")]
        from: PathBuf,
    },
    /// Tells the feed that the database was restored in another way than by `restore`, such as a server's own tools.
    /// Before central is started.
    Restored(File),
    /// What could not be used: shows it, tries it again, or drops it. Also while central runs.
    Quarantine {
        #[command(flatten)]
        file: File,
        #[command(subcommand)]
        what: Option<QuarantineWhat>,
    },
    /// People who may see the page: adds, lists and removes them. Also while central runs.
    ///
    /// As soon as there is one, everybody must sign in. Run this as central's own user.
    User {
        #[command(flatten)]
        file: File,
        #[command(subcommand)]
        what: Option<UserWhat>,
    },
    /// Tokens with which programs, such as tills, are let in: makes, lists and revokes them. Also while central runs.
    Token {
        #[command(flatten)]
        file: File,
        #[command(subcommand)]
        what: Option<TokenWhat>,
    },
    /// Prints who signed in or failed to, who changed users or tokens, and who took data along; the latest first.
    Audit {
        #[command(flatten)]
        file: File,
        /// The most lines.
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// As JSON, an object a line.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub(crate) struct File {
    /// The configuration, a TOML file.
    #[arg(long, global = true, default_value = "central.toml")]
    config: PathBuf,
}

#[derive(Subcommand)]
pub(crate) enum CatalogueWhat {
    /// Prints what is in a CSV file with trade items, and every row of it that central would leave out. The exit code is
    /// 1 when there is one.
    Check {
        /// The file.
        #[arg(value_name = "FILE")]
        catalogue: PathBuf,
    },
}

#[derive(Subcommand)]
pub(crate) enum PosWhat {
    /// Stores the lines or counts of CSV files, or of files with the JSON that tills send; also while central runs.
    ///
    /// Lines that are known are taken once, however often a file is imported. The exit code is 1 when something in a
    /// file is wrong; what is good is stored all the same.
    Import {
        /// What the lines are about: sale, return or stock. With sale each line of a CSV file says its kind.
        #[arg(long, default_value = "sale", value_parser = about)]
        kind: About,
        /// The shop, for files that have no column `store`.
        #[arg(long)]
        store: Option<StoreId>,
        /// The files.
        #[arg(required = true, value_name = "FILE")]
        told: Vec<PathBuf>,
    },
    /// Prints the JSON Schema of what tills send.
    Schema {
        /// What the message is about: sale, return or stock.
        #[arg(value_parser = about)]
        kind: About,
    },
}

fn about(name: &str) -> Result<About, String> {
    About::named(name).ok_or_else(|| "is not sale, return or stock".to_owned())
}

#[derive(Subcommand)]
pub(crate) enum KeysWhat {
    /// The public keys with their ids, the newest first.
    List,
    /// Makes a key pair, and prints its public key.
    Make,
}

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
            Self::Check(file) => Ok(check(&file.config)),
            Self::Catalogue { what: CatalogueWhat::Check { catalogue } } => {
                let catalogue = Catalogue::read(&catalogue);
                print!("{}", catalogue.summary());
                catalogue.problems.iter().for_each(|problem| println!("{problem}"));
                Ok(if catalogue.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            Self::Import { file, fork_as_new_epoch, exported } => {
                log::start()?;
                let forks = if fork_as_new_epoch { Forks::Adopt } else { Forks::Refuse };
                import_all(&read(&file)?, forks, &exported)
            }
            Self::Keys { file, what } => match what.unwrap_or(KeysWhat::List) {
                KeysWhat::List => keys::list(&read(&file)?),
                KeysWhat::Make => keys::make(&read(&file)?),
            },
            Self::Pki { what } => what.run(),
            Self::Pos { file, what: PosWhat::Import { kind, store, told } } => {
                log::start()?;
                pos::import_all(&read(&file)?, kind, store, &told)
            }
            Self::Pos { what: PosWhat::Schema { kind }, .. } => {
                print!("{}", if kind == About::Stock { schemas::STOCK } else { schemas::SALE });
                Ok(ExitCode::SUCCESS)
            }
            Self::Bench(bench) => bench.run().map(|()| ExitCode::SUCCESS),
            Self::Pages { folder } => {
                hangtag_service::pages(Cli::command(), &folder)
                    .with_context(|| format!("cannot write to {}", folder.display()))?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Verify { file, mend } => {
                let config = read(&file)?;
                verify::verify(&config.address()?, config.tenant, mend)
            }
            Self::Backup { file, to } => {
                log::start()?;
                backup::back_up(&read(&file)?, &to)
            }
            Self::Restore { file, replace, from } => {
                log::start()?;
                backup::restore(&read(&file)?, &from, replace)
            }
            Self::Restored(file) => {
                log::start()?;
                backup::restored(&read(&file)?)
            }
            Self::Quarantine { file, what } => quarantine::quarantine(&read(&file)?, what),
            Self::User { file, what } => user::user(&read(&file)?, what.unwrap_or(UserWhat::List)),
            Self::Token { file, what } => {
                token::token(&read(&file)?, what.unwrap_or(TokenWhat::List { json: false }))
            }
            Self::Audit { file, limit, json } => audit::list(&read(&file)?, limit, json),
        }
    }
}

fn read(file: &File) -> anyhow::Result<Config> {
    Config::read(&file.config).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }
}

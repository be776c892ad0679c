//! The command `user`. Enters: a name, and a password from a terminal, a file or the standard input, never from the
//! command line, which others on the machine can read. Leaves: people who may sign in.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::Subcommand;
use zeroize::Zeroizing;

use super::audit::{access, entry, moment};
use crate::access::{Name, Role, password};
use crate::config::Config;
use crate::store::Deed;

#[derive(Subcommand)]
pub(crate) enum UserWhat {
    /// Adds a person.
    Add {
        /// The name: letters, digits and . _ - @
        name: Name,
        /// What the person is: merchandiser, privacy-officer or administrator.
        #[arg(long)]
        role: Role,
        #[command(flatten)]
        from: From,
    },
    /// All people, with their roles and when they were last there.
    List,
    /// Removes a person, and signs the person out everywhere.
    Remove {
        /// The name.
        name: Name,
    },
    /// Gives a person another password, and signs the person out everywhere.
    Password {
        /// The name.
        name: Name,
        #[command(flatten)]
        from: From,
    },
    /// Gives a person another role, at once.
    Role {
        /// The name.
        name: Name,
        /// What the person is from now on: merchandiser, privacy-officer or administrator.
        role: Role,
    },
}

/// Where the password is.
#[derive(clap::Args)]
pub(crate) struct From {
    /// A file whose first line is the password. Without it a terminal is asked, or the first line of the standard input
    /// is read.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Does what was asked.
///
/// # Errors
/// When it cannot; the text is for people.
pub(super) fn user(config: &Config, what: UserWhat) -> anyhow::Result<ExitCode> {
    let access = access(config)?;
    match what {
        UserWhat::Add { name, role, from } => {
            let who = name.as_str();
            if access.accounts()?.iter().any(|account| account.name == who) {
                bail!("{who}: is a user already; `user password` and `user role` change one");
            }
            let hash = password::hash(&read(who, from.password_file.as_deref())?);
            let is_first = !access.has_accounts()?;
            let entry = entry(Deed::UserAdded, format!("{who} {role}"));
            ensure!(access.add_account(&name, role, &hash, &entry)?, "{who}: is a user already");
            println!("{who}: {role}");
            if is_first {
                println!("from now on everybody must sign in");
            }
        }
        UserWhat::List => {
            for account in access.accounts()? {
                let made = moment(account.made.0);
                let used = account
                    .used
                    .map_or_else(|| "not signed in".to_owned(), |at| format!("last seen {}", moment(at.0)));
                println!("{}  {}  since {made}  {used}", account.name, account.role);
            }
        }
        UserWhat::Remove { name } => {
            let who = name.as_str();
            ensure!(access.remove_account(&name, &entry(Deed::UserRemoved, who))?, "{who}: is no user");
            println!("{who}: removed");
            if !access.has_accounts()? {
                let open = config.web.is_on_loopback() && config.web.proxy.is_none();
                let then = if open {
                    "nobody is asked who they are any more"
                } else {
                    "nobody can sign in any more"
                };
                println!("that was the last user: {then}");
            }
        }
        UserWhat::Password { name, from } => {
            let who = name.as_str();
            let hash = password::hash(&read(who, from.password_file.as_deref())?);
            ensure!(
                access.set_password(&name, &hash, &entry(Deed::PasswordChanged, who))?,
                "{who}: is no user"
            );
            println!("{who}: has another password, and is signed out everywhere");
        }
        UserWhat::Role { name, role } => {
            let who = name.as_str();
            let entry = entry(Deed::RoleChanged, format!("{who} {role}"));
            ensure!(access.set_role(&name, role, &entry)?, "{who}: is no user");
            println!("{who}: {role}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A password that is fit for use.
fn read(name: &str, file: Option<&Path>) -> anyhow::Result<Zeroizing<String>> {
    let line = |mut text: String| {
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        Zeroizing::new(text)
    };
    let password = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let text = Zeroizing::new(text);
            Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
        }
        None if io::stdin().is_terminal() => {
            let ask = |prompt: String| rpassword::prompt_password(prompt).map(Zeroizing::new);
            let first = ask(format!("Password of {name}: "))?;
            ensure!(*first == *ask("The same again: ".into())?, "the two are not the same");
            first
        }
        None => {
            let mut text = String::new();
            io::stdin().lock().read_line(&mut text).context("the standard input")?;
            line(text)
        }
    };
    password::check(name, &password)?;
    Ok(password)
}

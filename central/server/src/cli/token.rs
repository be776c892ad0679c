//! The command `token`. Enters: what a program may do, and until when. Leaves: a token, printed once; lists; tokens that
//! are good for nothing any more.

use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{bail, ensure};
use clap::Subcommand;
use hangtag_protocol::clock::UnixMillis;

use super::audit::{access, entry, moment};
use crate::access::Scope;
use crate::access::secret::{Secret, TOKEN_PREFIX};
use crate::config::Config;
use crate::store::{Deed, NewToken};

/// The most characters of what a token is for.
const NAME: usize = 64;
/// The longest that a token is good for, in days: ten years.
const MOST_DAYS: i64 = 3_653;

#[derive(Subcommand)]
pub(crate) enum TokenWhat {
    /// Makes a token, and prints it. It cannot be shown again.
    Add {
        /// What it is for, such as "tills of Paris".
        name: String,
        /// What it may do: measures, events, pos or health. May be given several times.
        #[arg(long = "scope", required = true, value_name = "SCOPE")]
        scopes: Vec<Scope>,
        /// How long it is good for, in days or hours, such as 90d or 12h; or never, that it does not expire.
        #[arg(long, default_value = "90d", value_name = "TIME")]
        expires: Life,
    },
    /// All tokens, by number: what they may do, and when they were last used.
    List {
        /// As JSON, an object a line.
        #[arg(long)]
        json: bool,
    },
    /// Takes a token back, at once.
    Revoke {
        /// Its number.
        id: i64,
    },
}

/// How long a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// So many milliseconds.
    For(i64),
    /// Until it is taken back.
    Ever,
}

impl FromStr for Life {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.parse::<u32>().map(i64::from).ok();
        let hours = match text.split_at_checked(text.len().saturating_sub(1)) {
            _ if text == "never" => return Ok(Self::Ever),
            Some((days, "d")) => number(days).map(|days| days * 24),
            Some((hours, "h")) => number(hours),
            Some(_) | None => None,
        };
        match hours.filter(|hours| (1..=MOST_DAYS * 24).contains(hours)) {
            Some(hours) => Ok(Self::For(hours * 3_600_000)),
            None => Err(format!("is not 1h to {MOST_DAYS}d, such as 90d, or never")),
        }
    }
}

/// Does what was asked.
///
/// # Errors
/// When it cannot; the text is for people.
pub(super) fn token(config: &Config, what: TokenWhat) -> anyhow::Result<ExitCode> {
    let access = access(config)?;
    match what {
        TokenWhat::Add { name, mut scopes, expires } => {
            let is_plain = !name.trim().is_empty()
                && name.chars().count() <= NAME
                && !name.chars().any(char::is_control);
            ensure!(is_plain, "a token's name has 1 to {NAME} characters, none of them invisible");
            scopes.sort();
            scopes.dedup();
            let text = format!("{TOKEN_PREFIX}{}", Secret::random().reveal());
            let secret = Secret::told(&text);
            let entry = entry(Deed::TokenAdded, &name);
            let expires = match expires {
                Life::For(ms) => Some(UnixMillis(entry.at.0 + ms)),
                Life::Ever => None,
            };
            let digest = secret.digest();
            let id = access
                .add_token(&NewToken { name: &name, digest: &digest, scopes: &scopes, expires }, &entry)?;
            // The token alone goes to the standard output, so that a script can take it.
            let until = expires
                .map_or_else(|| "it does not expire".into(), |at| format!("good until {}", moment(at.0)));
            eprintln!("token {id} {name:?}: {}; {until}. It cannot be shown again:", names(&scopes));
            println!("{}", secret.reveal());
        }
        TokenWhat::List { json } => {
            for token in access.tokens()? {
                if json {
                    println!("{}", serde_json::to_string(&token)?);
                    continue;
                }
                let state = match (token.revoked, token.expires) {
                    (Some(at), _) => format!("revoked {}", moment(at)),
                    (None, Some(at)) => format!("good until {}", moment(at)),
                    (None, None) => "does not expire".to_owned(),
                };
                let used = token
                    .used
                    .map_or_else(|| "never used".to_owned(), |at| format!("last used {}", moment(at)));
                println!("{}  {:?}  {}  {state}  {used}", token.id, token.name, token.scopes);
            }
        }
        TokenWhat::Revoke { id } => {
            if !access.revoke_token(id, &entry(Deed::TokenRevoked, format!("token {id}")))? {
                bail!("there is no token {id}, or it was revoked before");
            }
            println!("token {id}: revoked");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn names(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_hours_days_or_ever() {
        assert_eq!("12h".parse(), Ok(Life::For(12 * 3_600_000)));
        assert_eq!("90d".parse(), Ok(Life::For(90 * 86_400_000)));
        assert_eq!("never".parse(), Ok(Life::Ever));
        for bad in ["", "d", "0d", "90", "-1d", "3654d", "99999999999d", "9é"] {
            assert!(bad.parse::<Life>().is_err(), "{bad}");
        }
    }
}

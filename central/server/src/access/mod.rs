//! Who may do what. Enters: names, words and passwords of people and programs. Leaves: roles, scopes, secrets and their
//! digests, and whether somebody asks too often. It knows no HTTP and no SQL, and logs no secret.
//!
//! | | |
//! |---|---|
//! | [`password`] | argon2id, and what a password must be |
//! | [`secret`] | random texts for sessions and tokens, and what is kept of them |
//! | [`tally`] | how often somebody may do something |

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

pub(crate) mod password;
pub(crate) mod secret;
pub(crate) mod tally;

/// What a path lets somebody do. A token has some of them, a role too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Reads the page, its tables and measures: sums.
    Measures,
    /// Reads events: single tags and pseudonymous visits.
    Events,
    /// Tells what tills sold and counted.
    Pos,
    /// Reads all that `/health` tells.
    Health,
}

impl Scope {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Measures, Self::Events, Self::Pos, Self::Health];

    /// Its name on the command line, in the database and in answers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Measures => "measures",
            Self::Events => "events",
            Self::Pos => "pos",
            Self::Health => "health",
        }
    }
}

/// What somebody is in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// Sees sums.
    Merchandiser,
    /// Sees profiles of shoppers, and sums.
    PrivacyOfficer,
    /// Sees everything.
    Administrator,
}

impl Role {
    /// All of them, the one that may most last.
    pub(crate) const ALL: [Self; 3] = [Self::Merchandiser, Self::PrivacyOfficer, Self::Administrator];

    /// Its name on the command line, in the configuration and in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Merchandiser => "merchandiser",
            Self::PrivacyOfficer => "privacy-officer",
            Self::Administrator => "administrator",
        }
    }

    /// What it may do. What tills tell comes from programs alone, which have tokens: a browser that is signed in
    /// cannot be made to invent sales.
    pub(crate) fn scopes(self) -> &'static [Scope] {
        match self {
            // There are no profiles yet.
            Self::Merchandiser | Self::PrivacyOfficer => &[Scope::Measures],
            Self::Administrator => &[Scope::Measures, Scope::Events, Scope::Health],
        }
    }
}

/// A word that is none of those that it could be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is not one of {all}")]
pub(crate) struct NoSuchWord {
    word: String,
    all: String,
}

fn named<T: Copy>(word: &str, all: &[T], name: fn(T) -> &'static str) -> Result<T, NoSuchWord> {
    let found = all.iter().copied().find(|one| name(*one) == word);
    found.ok_or_else(|| NoSuchWord {
        word: word.to_owned(),
        all: all.iter().map(|one| name(*one)).collect::<Vec<_>>().join(", "),
    })
}

impl FromStr for Scope {
    type Err = NoSuchWord;

    fn from_str(word: &str) -> Result<Self, NoSuchWord> {
        named(word, &Self::ALL, Self::name)
    }
}

impl FromStr for Role {
    type Err = NoSuchWord;

    fn from_str(word: &str) -> Result<Self, NoSuchWord> {
        named(word, &Self::ALL, Self::name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name by which a person signs in: 1 to 64 letters, digits and `.`, `_`, `-`, `@`, small letters alone, so that
/// one person cannot have two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

/// The most characters of a name.
const NAME_LENGTH: usize = 64;

/// A text that is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name: 1 to {NAME_LENGTH} letters a-z, digits and . _ - @")]
pub(crate) struct NoName(String);

impl Name {
    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        let name = text.trim().to_ascii_lowercase();
        let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
        if (1..=NAME_LENGTH).contains(&name.len()) && name.chars().all(is_good) {
            Ok(Self(name))
        } else {
            Err(NoName(text.chars().take(NAME_LENGTH + 1).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_they_say() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        for scope in Scope::ALL {
            assert_eq!(scope.name().parse(), Ok(scope));
        }
        let said = "admin".parse::<Role>().unwrap_err().to_string();
        assert_eq!(said, "\"admin\" is not one of merchandiser, privacy-officer, administrator");
    }

    #[test]
    fn one_person_has_one_name() {
        assert_eq!("Ana.Li@Example".parse::<Name>().unwrap().as_str(), "ana.li@example");
        for bad in ["", " ", "a b", "a\nb", "é", &"x".repeat(65)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_role_may_tell_of_sales_and_each_may_all_that_a_lesser_one_may() {
        for pair in Role::ALL.windows(2) {
            let [less, more] = [pair[0], pair[1]].map(Role::scopes);
            assert!(less.iter().all(|scope| more.contains(scope)), "{pair:?}");
        }
        assert!(Role::ALL.iter().all(|role| !role.scopes().contains(&Scope::Pos)));
        assert!(!Role::PrivacyOfficer.scopes().contains(&Scope::Events));
    }
}

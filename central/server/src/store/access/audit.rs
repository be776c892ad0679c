//! What is written down of who did what. Enters: deeds. Leaves: rows, the latest first. It holds no secret, and a bounded
//! number of rows: whoever can cause many cannot push out what others did.

use hangtag_protocol::clock::UnixMillis;
use serde::Serialize;

use super::super::StoreError;
use super::super::db::{Db, binds};
use super::Access;

/// Rows that stay: of what anybody can cause, and of the rest.
const NOISE: i64 = 20_000;
const KEPT: i64 = 200_000;
/// After so many rows it is looked whether there are too many.
const EVERY: i64 = 100;
/// The most characters that are kept of a text that somebody sent.
const TEXT: usize = 200;

/// What somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Signed in.
    SignedIn,
    /// Signed out.
    SignedOut,
    /// Was not believed.
    SignInFailed,
    /// Tried too often.
    SignInHeldOff,
    /// Asked for what was not theirs.
    Refused,
    /// Sent the header of a proxy without being that proxy.
    HeadersIgnored,
    /// Took data along.
    Exported,
    /// Brought data in from files.
    Imported,
    /// Added a user.
    UserAdded,
    /// Removed a user.
    UserRemoved,
    /// Gave a user another role.
    RoleChanged,
    /// Gave a user another password.
    PasswordChanged,
    /// Made a token.
    TokenAdded,
    /// Took a token back.
    TokenRevoked,
}

impl Deed {
    /// Its name in the database, and for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SignedIn => "signed in",
            Self::SignedOut => "signed out",
            Self::SignInFailed => "sign-in failed",
            Self::SignInHeldOff => "sign-in held off",
            Self::Refused => "refused",
            Self::HeadersIgnored => "headers ignored",
            Self::Exported => "exported",
            Self::Imported => "imported",
            Self::UserAdded => "user added",
            Self::UserRemoved => "user removed",
            Self::RoleChanged => "role changed",
            Self::PasswordChanged => "password changed",
            Self::TokenAdded => "token added",
            Self::TokenRevoked => "token revoked",
        }
    }

    /// Whether anybody can cause it as often as they like.
    fn is_noise(self) -> bool {
        match self {
            Self::SignInFailed | Self::SignInHeldOff | Self::Refused | Self::HeadersIgnored => true,
            Self::SignedIn
            | Self::SignedOut
            | Self::Exported
            | Self::Imported
            | Self::UserAdded
            | Self::UserRemoved
            | Self::RoleChanged
            | Self::PasswordChanged
            | Self::TokenAdded
            | Self::TokenRevoked => false,
        }
    }
}

/// What is to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When it was done.
    pub at: UnixMillis,
    /// By whom.
    pub who: String,
    /// What.
    pub what: Deed,
    /// From where: an address, or that it was this machine.
    pub address: String,
    /// About what. Never a secret.
    pub about: String,
}

/// What was written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Noted {
    /// When it was done, in Unix milliseconds.
    pub at_ms: i64,
    /// By whom.
    pub who: String,
    /// What.
    pub what: String,
    /// From where.
    pub address: String,
    /// About what.
    pub about: String,
}

impl Access {
    /// Writes something down.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn note(&self, entry: &Entry) -> Result<(), StoreError> {
        self.write(|db| note(db, entry))
    }

    /// What was written down, the latest first.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn audit(&self, limit: u32) -> Result<Vec<Noted>, StoreError> {
        let question = "SELECT at_ms, who, what, address, about FROM audit ORDER BY id DESC LIMIT ?1";
        self.ask(|db| {
            db.all(question, binds![limit], |row| {
                Ok(Noted {
                    at_ms: row.get(0)?,
                    who: row.get(1)?,
                    what: row.get(2)?,
                    address: row.get(3)?,
                    about: row.get(4)?,
                })
            })
        })
    }
}

/// Writes something down within a transaction, or by itself.
pub(super) fn note(db: &Db, entry: &Entry) -> Result<(), StoreError> {
    let Entry { at, who, what, address, about } = entry;
    tracing::info!(who, address, about, "{}", what.name());
    let insert = "INSERT INTO audit (at_ms, who, what, address, about, is_noise)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING id";
    let row = binds![at.0, clean(who), what.name(), clean(address), clean(about), what.is_noise()];
    let id: i64 = db.only(insert, row, |row| row.get(0))?;
    if id % EVERY == 0 {
        for (is_noise, most) in [(true, NOISE), (false, KEPT)] {
            let delete = "DELETE FROM audit WHERE is_noise = ?1 AND id <= (SELECT id FROM audit
                WHERE is_noise = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
            db.execute(delete, binds![is_noise, most])?;
        }
    }
    Ok(())
}

/// A text that stays on its line, and is not longer than it need be.
fn clean(text: &str) -> String {
    text.chars().take(TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{Bench, tenant};

    fn entry(what: Deed, about: &str) -> Entry {
        Entry { at: UnixMillis(7), who: "ana".into(), what, address: "::1".into(), about: about.into() }
    }

    #[test]
    fn the_latest_come_first_and_no_text_leaves_its_line() {
        let bench = Bench::new();
        let access = Access::new(bench.address.clone(), tenant());
        access.note(&entry(Deed::SignedIn, "")).unwrap();
        access.note(&entry(Deed::Exported, "/hours.csv\nforged line")).unwrap();
        let noted = access.audit(10).unwrap();
        let told: Vec<_> = noted.iter().map(|noted| (&*noted.what, &*noted.about)).collect();
        assert_eq!(told, [("exported", "/hours.csv forged line"), ("signed in", "")]);
        assert_eq!((&*noted[0].who, noted[0].at_ms, &*noted[0].address), ("ana", 7, "::1"));
        access.note(&entry(Deed::SignInFailed, &"x".repeat(1_000))).unwrap();
        assert_eq!(access.audit(1).unwrap()[0].about.len(), TEXT);
    }

    #[test]
    fn what_anybody_can_cause_pushes_out_nothing_else() {
        let bench = Bench::new();
        let access = Access::new(bench.address.clone(), tenant());
        access.note(&entry(Deed::UserAdded, "ben")).unwrap();
        let many = "INSERT INTO audit (at_ms, who, what, address, about, is_noise)
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20098)
            SELECT 1, '', 'refused', '', '', 1 FROM n";
        bench.batch(many);
        access.note(&entry(Deed::Refused, "the last")).unwrap();
        let rows = access.audit(u32::MAX).unwrap();
        assert_eq!(rows.len(), usize::try_from(NOISE).unwrap() + 1);
        assert_eq!((&*rows[0].about, &*rows.last().unwrap().what), ("the last", "user added"));
    }
}

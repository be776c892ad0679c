//! Browsers that are signed in. Enters: digests of what their cookies hold, and the time. Leaves: whose they are, as long
//! as they are used often enough and not for too long.

use hangtag_protocol::clock::UnixMillis;

use super::super::StoreError;
use super::super::db::{Mode, binds};
use super::account::role;
use super::audit::{Entry, note};
use super::{Access, USED_TO};
use crate::access::{Name, Role};

/// Browsers of one person that are signed in at a time; the one that was used longest ago goes first.
const AT_ONCE: i64 = 20;

/// When a session is over, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// After it was last used.
    pub idle: i64,
    /// After it began.
    pub after: i64,
}

/// Whose browser it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guest {
    /// The name.
    pub name: String,
    /// What the person is at this moment.
    pub role: Role,
}

impl Access {
    /// Signs a browser in, unless the person has gone or has another password since `password` was read. Sessions that
    /// are over are forgotten.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn begin_session(
        &self,
        digest: &str,
        (name, password): (&Name, &str),
        ends: Ends,
        entry: &Entry,
    ) -> Result<bool, StoreError> {
        let now = entry.at.0;
        self.write(|db| {
            let db = db.transaction(Mode::Write)?;
            let still = "SELECT 1 FROM account WHERE name = ?1 AND password = ?2";
            if !db.is_any(still, binds![name.as_str(), password])? {
                return Ok(false);
            }
            let over = "DELETE FROM session WHERE used <= ?1 OR began <= ?2";
            db.execute(over, binds![now - ends.idle, now - ends.after])?;
            let many = "DELETE FROM session WHERE name = ?1 AND digest IN (SELECT digest FROM session
                WHERE name = ?1 ORDER BY used DESC LIMIT 1000000 OFFSET ?2)";
            db.execute(many, binds![name.as_str(), AT_ONCE - 1])?;
            let insert = "INSERT INTO session VALUES (?1, ?2, ?3, ?3)";
            db.execute(insert, binds![digest, name.as_str(), now])?;
            note(&db, entry)?;
            db.commit()?;
            Ok(true)
        })
    }

    /// Whose browser it is, if it is signed in; it is used at that moment.
    ///
    /// # Errors
    /// When the database cannot be asked. That it cannot be written is no reason to throw somebody out.
    pub(crate) fn session(
        &self,
        digest: &str,
        now: UnixMillis,
        ends: Ends,
    ) -> Result<Option<Guest>, StoreError> {
        let question =
            "SELECT account.name, role, used FROM session JOIN account ON account.name = session.name
            WHERE digest = ?1 AND used > ?2 AND began > ?3";
        let found = self.ask(|db| {
            db.first(question, binds![digest, now.0 - ends.idle, now.0 - ends.after], |row| {
                let guest = Guest { name: row.get(0)?, role: role(row.get(1)?)? };
                Ok((guest, row.get::<i64>(2)?))
            })
        })?;
        let Some((guest, used)) = found else { return Ok(None) };
        if now.0 - used >= USED_TO {
            let update = "UPDATE session SET used = ?2 WHERE digest = ?1 AND used < ?2";
            if let Err(error) = self.write(|db| db.execute(update, binds![digest, now.0])) {
                tracing::warn!(%error, "cannot note that a session is used");
            }
        }
        Ok(Some(guest))
    }

    /// Signs a browser out. False when it is not signed in.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn end_session(&self, digest: &str, entry: &Entry) -> Result<bool, StoreError> {
        self.change(entry, |db| db.execute("DELETE FROM session WHERE digest = ?1", binds![digest]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Deed;
    use crate::store::tests::{Bench, tenant};

    const ENDS: Ends = Ends { idle: 30 * 60_000, after: 12 * 3_600_000 };

    fn entry(at: i64, what: Deed) -> Entry {
        let (who, address, about) = Default::default();
        Entry { at: UnixMillis(at), who, what, address, about }
    }

    fn bench() -> (Bench, Access, Name) {
        let bench = Bench::new();
        let access = Access::new(bench.address.clone(), tenant());
        let ana: Name = "ana".parse().unwrap();
        assert!(!access.has_accounts().unwrap());
        assert!(access.add_account(&ana, Role::Merchandiser, "hash", &entry(0, Deed::UserAdded)).unwrap());
        (bench, access, ana)
    }

    fn begin(access: &Access, digest: &str, name: &Name, at: i64) {
        assert!(access.begin_session(digest, (name, "hash"), ENDS, &entry(at, Deed::SignedIn)).unwrap());
    }

    fn is_in(access: &Access, digest: &str, at: i64) -> bool {
        access.session(digest, UnixMillis(at), ENDS).unwrap().is_some()
    }

    #[test]
    fn a_session_ends_when_it_is_not_used_and_when_it_is_old() {
        let (_bench, access, ana) = bench();
        begin(&access, "a", &ana, 0);
        begin(&access, "b", &ana, 0);
        let mut at = 0;
        while at < ENDS.after {
            assert!(is_in(&access, "a", at), "{at}");
            at += ENDS.idle - 1;
        }
        assert!(!is_in(&access, "a", ENDS.after), "whoever is there all the time signs in again, too");
        assert!(!is_in(&access, "b", ENDS.idle));
        assert!(!is_in(&access, "c", 0));
    }

    #[test]
    fn who_is_changed_is_another_one_at_once() {
        let (_bench, access, ana) = bench();
        begin(&access, "a", &ana, 0);
        assert!(access.set_role(&ana, Role::Administrator, &entry(1, Deed::RoleChanged)).unwrap());
        let guest = access.session("a", UnixMillis(2), ENDS).unwrap().unwrap();
        assert_eq!(guest, Guest { name: "ana".into(), role: Role::Administrator });
        assert!(access.set_password(&ana, "other", &entry(3, Deed::PasswordChanged)).unwrap());
        assert!(!is_in(&access, "a", 4));
        let late = access.begin_session("b", (&ana, "hash"), ENDS, &entry(4, Deed::SignedIn)).unwrap();
        assert!(!late, "the password was changed while it was looked at");
        assert!(access.begin_session("b", (&ana, "other"), ENDS, &entry(4, Deed::SignedIn)).unwrap());
        assert!(access.remove_account(&ana, &entry(5, Deed::UserRemoved)).unwrap());
        assert!(!is_in(&access, "b", 6));
        assert!(!access.has_accounts().unwrap());
        for changed in [
            access.remove_account(&ana, &entry(7, Deed::UserRemoved)),
            access.set_role(&ana, Role::Administrator, &entry(7, Deed::RoleChanged)),
            access.set_password(&ana, "x", &entry(7, Deed::PasswordChanged)),
            access.end_session("b", &entry(7, Deed::SignedOut)),
        ] {
            assert!(!changed.unwrap(), "there is nobody");
        }
        let deeds: Vec<_> = access.audit(9).unwrap().into_iter().rev().map(|noted| noted.what).collect();
        let done =
            ["user added", "signed in", "role changed", "password changed", "signed in", "user removed"];
        assert_eq!(deeds, done, "and what changed nothing is not written down");
    }

    #[test]
    fn one_person_has_so_many_browsers() {
        let (_bench, access, ana) = bench();
        for number in 0..=AT_ONCE {
            begin(&access, &format!("{number}"), &ana, number);
        }
        let signed_in = (0..=AT_ONCE).filter(|number| is_in(&access, &format!("{number}"), AT_ONCE));
        assert_eq!(signed_in.collect::<Vec<_>>(), (1..=AT_ONCE).collect::<Vec<_>>());
        assert!(access.end_session("1", &entry(99, Deed::SignedOut)).unwrap());
        assert!(!is_in(&access, "1", AT_ONCE));
    }
}

//! Programs that are let in. Enters: digests of tokens, and the time. Leaves: what each may do, or why it may not any
//! more.

use hangtag_protocol::clock::UnixMillis;
use serde::Serialize;

use super::super::StoreError;
use super::super::db::{Mode, binds};
use super::audit::{Entry, note};
use super::{Access, USED_TO};
use crate::access::Scope;

/// A token that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewToken<'a> {
    /// What it is for.
    pub name: &'a str,
    /// What it is known by.
    pub digest: &'a str,
    /// What it may do.
    pub scopes: &'a [Scope],
    /// From when on it may nothing any more.
    pub expires: Option<UnixMillis>,
}

/// A token as people see it; the times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Token {
    /// Its number.
    pub id: i64,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: String,
    /// When it was made.
    pub made: i64,
    /// From when on it may nothing any more.
    pub expires: Option<i64>,
    /// When it was last used, to the minute.
    pub used: Option<i64>,
    /// When it was taken back.
    pub revoked: Option<i64>,
}

/// Who has a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// The token's number.
    pub id: i64,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
}

/// What a token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Granted {
    /// That.
    To(Bearer),
    /// Nothing: nobody made it.
    Unknown,
    /// Nothing any more: its time is over.
    Expired,
    /// Nothing any more: somebody took it back.
    Revoked,
}

impl Access {
    /// Makes a token. Its number.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn add_token(&self, token: &NewToken<'_>, entry: &Entry) -> Result<i64, StoreError> {
        let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.name()).collect();
        let insert = "INSERT INTO token (name, digest, scopes, made, expires) VALUES (?1, ?2, ?3, ?4, ?5) RETURNING id";
        self.write(|db| {
            let db = db.transaction(Mode::Write)?;
            let expires = token.expires.map(|at| at.0);
            let row = binds![token.name, token.digest, scopes.join(" "), entry.at.0, expires];
            let id: i64 = db.only(insert, row, |row| row.get(0))?;
            let about = format!("token {id} {}", entry.about);
            note(&db, &Entry { about, ..entry.clone() })?;
            db.commit()?;
            Ok(id)
        })
    }

    /// All tokens, by number; those that were taken back too.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let question = "SELECT id, name, scopes, made, expires, used, revoked FROM token ORDER BY id";
        self.ask(|db| {
            db.all(question, &[], |row| {
                Ok(Token {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    scopes: row.get(2)?,
                    made: row.get(3)?,
                    expires: row.get(4)?,
                    used: row.get(5)?,
                    revoked: row.get(6)?,
                })
            })
        })
    }

    /// Takes a token back. False when there is none of that number, or it was taken back before.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn revoke_token(&self, id: i64, entry: &Entry) -> Result<bool, StoreError> {
        let update = "UPDATE token SET revoked = ?2 WHERE id = ?1 AND revoked IS NULL";
        self.change(entry, |db| db.execute(update, binds![id, entry.at.0]))
    }

    /// What a token is good for; it is used at that moment.
    ///
    /// # Errors
    /// When the database cannot be asked. That it cannot be written is no reason to refuse a program.
    pub(crate) fn token(&self, digest: &str, now: UnixMillis) -> Result<Granted, StoreError> {
        let question = "SELECT id, name, scopes, expires, used, revoked FROM token WHERE digest = ?1";
        let found = self.ask(|db| {
            db.first(question, binds![digest], |row| {
                let scopes: &str = row.get(2)?;
                let wrong =
                    |_| StoreError::Content { table: "token", value: scopes.to_owned(), wanted: "scopes" };
                let scopes =
                    scopes.split_whitespace().map(str::parse).collect::<Result<_, _>>().map_err(wrong)?;
                let times: [Option<i64>; 3] = [row.get(3)?, row.get(4)?, row.get(5)?];
                Ok((Bearer { id: row.get(0)?, name: row.get(1)?, scopes }, times))
            })
        })?;
        let Some((bearer, [expires, used, revoked])) = found else { return Ok(Granted::Unknown) };
        if revoked.is_some() {
            return Ok(Granted::Revoked);
        }
        if expires.is_some_and(|expires| expires <= now.0) {
            return Ok(Granted::Expired);
        }
        if used.is_none_or(|used| now.0 - used >= USED_TO) {
            let update = "UPDATE token SET used = ?2 WHERE id = ?1";
            if let Err(error) = self.write(|db| db.execute(update, binds![bearer.id, now.0])) {
                tracing::warn!(%error, "cannot note that a token is used");
            }
        }
        Ok(Granted::To(bearer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Deed;
    use crate::store::tests::{Bench, tenant};

    fn entry(at: i64, what: Deed) -> Entry {
        let (who, address, about) = Default::default();
        Entry { at: UnixMillis(at), who, what, address, about }
    }

    #[test]
    fn a_token_is_good_until_it_expires_or_is_taken_back() {
        let bench = Bench::new();
        let access = Access::new(bench.address.clone(), tenant());
        let scopes = [Scope::Measures, Scope::Pos];
        let make = |digest, expires: Option<i64>| {
            let token = NewToken { name: "till", digest, scopes: &scopes, expires: expires.map(UnixMillis) };
            access.add_token(&token, &entry(5, Deed::TokenAdded)).unwrap()
        };
        let (first, second) = (make("a", Some(1_000_000)), make("b", None));
        let bearer = |id| Granted::To(Bearer { id, name: "till".into(), scopes: scopes.to_vec() });
        let is = |digest, now| access.token(digest, UnixMillis(now)).unwrap();
        assert_eq!((is("a", 10), is("a", 999_999)), (bearer(first), bearer(first)));
        assert_eq!((is("a", 1_000_000), is("b", 1_000_000)), (Granted::Expired, bearer(second)));
        assert_eq!(is("c", 0), Granted::Unknown);
        assert!(access.revoke_token(second, &entry(7, Deed::TokenRevoked)).unwrap());
        assert!(!access.revoke_token(second, &entry(8, Deed::TokenRevoked)).unwrap());
        assert_eq!(is("b", 9), Granted::Revoked);
        let [one, two] = &access.tokens().unwrap()[..] else { panic!("two tokens") };
        assert_eq!((one.scopes.as_str(), one.made, one.expires), ("measures pos", 5, Some(1_000_000)));
        assert_eq!((one.used, one.revoked), (Some(999_999), None), "of its last use");
        assert_eq!((two.used, two.revoked), (Some(1_000_000), Some(7)));
    }
}

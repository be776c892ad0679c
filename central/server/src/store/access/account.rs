//! People who sign in. Enters: names, roles, hashes of passwords. Leaves: rows; what is changed is written down in the
//! same transaction.

use hangtag_protocol::clock::UnixMillis;

use super::super::StoreError;
use super::super::db::{Db, Mode, binds};
use super::Access;
use super::audit::{Entry, note};
use crate::access::{Name, Role};

/// A person who signs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The name.
    pub name: String,
    /// What the person is.
    pub role: Role,
    /// When the person was added.
    pub made: UnixMillis,
    /// When one of the person's browsers was last heard of, if any is signed in.
    pub used: Option<UnixMillis>,
}

impl Access {
    /// Whether anybody could sign in.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn has_accounts(&self) -> Result<bool, StoreError> {
        self.ask(|db| db.is_any("SELECT 1 FROM account LIMIT 1", &[]))
    }

    /// All people, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let question =
            "SELECT name, role, made, (SELECT max(used) FROM session WHERE session.name = account.name)
            FROM account ORDER BY name";
        self.ask(|db| {
            db.all(question, &[], |row| {
                Ok(Account {
                    name: row.get(0)?,
                    role: role(row.get(1)?)?,
                    made: UnixMillis(row.get(2)?),
                    used: row.get::<Option<i64>>(3)?.map(UnixMillis),
                })
            })
        })
    }

    /// What a person's password is known by.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn password(&self, name: &Name) -> Result<Option<String>, StoreError> {
        let question = "SELECT password FROM account WHERE name = ?1";
        self.ask(|db| db.first(question, binds![name.as_str()], |row| row.get(0)))
    }

    /// Adds a person. False when there is one of that name.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn add_account(
        &self,
        name: &Name,
        role: Role,
        password: &str,
        entry: &Entry,
    ) -> Result<bool, StoreError> {
        let insert = "INSERT INTO account VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) DO NOTHING";
        self.change(entry, |db| db.execute(insert, binds![name.as_str(), role.name(), password, entry.at.0]))
    }

    /// Removes a person, and signs all of the person's browsers out. False when there is none of that name.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn remove_account(&self, name: &Name, entry: &Entry) -> Result<bool, StoreError> {
        self.change(entry, |db| {
            db.execute("DELETE FROM session WHERE name = ?1", binds![name.as_str()])?;
            db.execute("DELETE FROM account WHERE name = ?1", binds![name.as_str()])
        })
    }

    /// Gives a person another role, at once. False when there is none of that name.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn set_role(&self, name: &Name, role: Role, entry: &Entry) -> Result<bool, StoreError> {
        let update = "UPDATE account SET role = ?2 WHERE name = ?1";
        self.change(entry, |db| db.execute(update, binds![name.as_str(), role.name()]))
    }

    /// Gives a person another password, and signs all of the person's browsers out. False when there is none of that
    /// name.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn set_password(
        &self,
        name: &Name,
        password: &str,
        entry: &Entry,
    ) -> Result<bool, StoreError> {
        self.change(entry, |db| {
            db.execute("DELETE FROM session WHERE name = ?1", binds![name.as_str()])?;
            db.execute("UPDATE account SET password = ?2 WHERE name = ?1", binds![name.as_str(), password])
        })
    }

    /// Changes rows and writes it down, or neither. Whether there were any.
    pub(super) fn change(
        &self,
        entry: &Entry,
        change: impl FnOnce(&Db) -> Result<usize, StoreError>,
    ) -> Result<bool, StoreError> {
        self.write(|db| {
            let transaction = db.transaction(Mode::Write)?;
            if change(&transaction)? == 0 {
                return Ok(false);
            }
            note(&transaction, entry)?;
            transaction.commit()?;
            Ok(true)
        })
    }
}

/// A role as it is kept.
pub(super) fn role(text: &str) -> Result<Role, StoreError> {
    let wrong = |_| StoreError::Content { table: "account", value: text.to_owned(), wanted: "a role" };
    text.parse().map_err(wrong)
}

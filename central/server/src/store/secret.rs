//! What decides how numbers of visits are rounded, see [`hangtag_central_core::rounding`]. Enters: a database. Leaves: 128
//! random bits, made when it is first opened for writing: every central that shares the database, and every copy of it,
//! rounds alike.
//!
//! ```text
//! meta          rounding       32 hexadecimal digits
//! ```

use hangtag_central_core::rounding::Secret;

use super::db::{Db, binds};
use super::{Reader, StoreError};

/// Sees to it that there is one. Of two programs that make one at the same time, both use the first.
///
/// # Errors
/// When the database fails.
pub(super) fn ensure(db: &Db) -> Result<(), StoreError> {
    let made = format!("{:032x}", rand::random::<u128>());
    db.execute("INSERT INTO meta VALUES ('rounding', ?1) ON CONFLICT DO NOTHING", binds![made])?;
    Ok(())
}

impl Reader {
    /// What decides how numbers of visits are rounded.
    ///
    /// # Errors
    /// When the database fails, or has none or a broken one.
    pub(crate) fn rounding(&self) -> Result<Secret, StoreError> {
        let question = "SELECT value FROM meta WHERE name = 'rounding'";
        let kept = self.reading()?.first(question, &[], |row| row.get::<String>(0))?;
        let kept = kept.unwrap_or_default();
        let is_whole = kept.len() == 32 && kept.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = is_whole.then(|| u128::from_str_radix(&kept, 16).ok()).flatten();
        // It is not repeated: a broken one is a part of the secret.
        let wrong = || StoreError::Content {
            table: "meta",
            value: "rounding".into(),
            wanted: "followed by 32 hexadecimal digits: run central once, or restore the database",
        };
        number.map(|number| Secret::new(number.to_be_bytes())).ok_or_else(wrong)
    }
}

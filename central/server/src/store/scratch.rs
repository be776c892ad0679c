//! A database for measurements. Enters: a folder, or a server. Leaves: where it is, how to name it in a configuration, and
//! how far whoever writes to it is. On a server it is a schema of its own, which goes with it.

use std::path::Path;

use hangtag_central_core::feed::Form;

use super::changed::NO_HOUR;
use super::db::{Db, binds};
use super::{Address, Reader, StoreError, open_to_read};

/// A database that was not there before.
pub(crate) struct Scratch {
    address: Address,
    config: String,
    /// Where the schema is, and its name, when it is to be dropped.
    schema: Option<(Address, String)>,
}

impl Scratch {
    /// A file.
    pub(crate) fn in_folder(folder: &Path, name: &str) -> Self {
        let path = folder.join(format!("{name}.db"));
        Self { config: format!("data = {path:?}\n"), address: path.into(), schema: None }
    }

    /// A schema on a server.
    ///
    /// # Errors
    /// When the URL is wrong, or the server refuses.
    pub(crate) fn on_server(url: &str, name: &str, keep: bool) -> anyhow::Result<Self> {
        let password = std::env::var("PGPASSWORD").ok();
        let server = |url: &str| Address::server(url, password.as_deref()).map_err(anyhow::Error::msg);
        let schema = format!("hangtag_bench_{name}_{:08x}", rand::random::<u32>());
        let outer = server(url)?;
        open(&outer)?.execute(&format!("CREATE SCHEMA {schema}"), &[])?;
        let joint = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{joint}options=-csearch_path%3D{schema}");
        let config = format!("[database]\nurl = {url:?}\n");
        Ok(Self { address: server(&url)?, config, schema: (!keep).then_some((outer, schema)) })
    }

    /// Where it is.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Its lines in a configuration. A table may begin with them: no keys of the file itself may follow.
    pub(crate) fn config(&self) -> &str {
        &self.config
    }

    /// How many events are stored.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn stored(&self) -> Result<u64, StoreError> {
        Ok(Reader::new(self.address.clone()).totals()?.events)
    }

    /// How many hours wait for their sheet.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn waiting(&self) -> Result<u64, StoreError> {
        let question = "SELECT count(*) FROM changed WHERE (rolled IS NULL OR rolled <> mark) AND hour <> ?1";
        open_to_read(&self.address)?.only(question, binds![NO_HOUR], |row| row.get(0))
    }

    /// How many events of all feeds the broker has acknowledged in this form, and how many there are.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn published(&self, form: Form) -> Result<[u64; 2], StoreError> {
        let question =
            "SELECT CAST(coalesce(sum(s.sequence), 0) AS BIGINT), CAST(coalesce(sum(h.last), 0) AS BIGINT)
            FROM feed_head AS h LEFT JOIN feed_sent AS s ON s.store = h.store AND s.form = ?1";
        open_to_read(&self.address)?.only(question, binds![form.name()], |row| Ok([row.get(0)?, row.get(1)?]))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some((outer, schema)) = &self.schema else { return };
        let drop = format!("DROP SCHEMA {schema} CASCADE");
        if let Err(error) = open(outer).and_then(|db| db.execute(&drop, &[])) {
            tracing::warn!(schema, %error, "cannot drop a schema");
        }
    }
}

fn open(outer: &Address) -> Result<Db, StoreError> {
    Db::open_to_write(outer).map_err(|why| StoreError::Open { address: outer.clone(), why })
}

#[cfg(test)]
mod tests {
    use super::super::tests::options;
    use super::super::{Reader, Store};
    use super::*;

    #[test]
    fn a_database_for_measurements_is_empty_and_on_a_server_goes_with_its_measurement() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = match std::env::var("HANGTAG_TEST_DATABASE") {
            Ok(url) => Scratch::on_server(&url, "once", false).unwrap(),
            Err(_) => Scratch::in_folder(folder.path(), "once"),
        };
        drop(Store::open(scratch.address(), options()).unwrap());
        assert_eq!((scratch.stored().unwrap(), scratch.waiting().unwrap()), (0, 0));
        assert_eq!(scratch.published(Form::Epcis).unwrap(), [0, 0]);
        let address = scratch.address().clone();
        drop(scratch);
        if let Address::Server(_) = address {
            let why = Reader::new(address).totals().unwrap_err().to_string();
            assert!(why.contains("schema version 0"), "{why}");
        }
    }
}

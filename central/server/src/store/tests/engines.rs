//! The same tests on both engines. A plain run is SQLite's; one of its tests starts a server and runs this program
//! again, with all tests that use a [`Bench`] on PostgreSQL, each in a schema of its own.

use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::super::Address;
use super::super::db::Db;
use super::Bench;

#[expect(unreachable_pub, reason = "it is the harness of the end-to-end tests")]
#[path = "../../../../../tests/src/harness/cluster.rs"]
pub(super) mod cluster;

use cluster::Cluster;

/// Names the server of a run on PostgreSQL. Whoever looks for one test's mistake can set it by hand.
const URL: &str = "HANGTAG_TEST_DATABASE";
/// Those that use a [`Bench`].
const TESTS: [&str; 5] = ["store::", "web::", "import::", "cli::import::", "cli::pos::"];

/// Where a test may keep its data.
pub(super) fn address() -> (Address, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let Ok(url) = std::env::var(URL) else { return (folder.path().join("central.db").into(), folder) };
    static SCHEMAS: AtomicU32 = AtomicU32::new(0);
    let schema = format!("test_{}_{}", std::process::id(), SCHEMAS.fetch_add(1, Ordering::Relaxed));
    let server = Address::server(&url, None).unwrap();
    Db::open_to_write(&server).unwrap().batch(&format!("CREATE SCHEMA {schema}")).unwrap();
    let address =
        Address::server(&format!("{url}&options=-csearch_path%3D{schema}&application_name={schema}"), None)
            .unwrap();
    (address, folder)
}

impl Bench {
    /// Makes that a table refuses rows, with the word `poison`: what is written is `INSERT` or `UPDATE`.
    pub(crate) fn poison(&self, written: &str, table: &str, condition: &str) {
        let begin = format!("CREATE TRIGGER poison BEFORE {written} ON {table}");
        let sql = match self.address {
            Address::File(_) => {
                format!("{begin} WHEN {condition} BEGIN SELECT RAISE(ABORT, 'poison'); END")
            }
            Address::Server(_) => format!(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                     $$BEGIN RAISE 'poison' USING ERRCODE = 'check_violation'; END$$;
                 {begin} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse()"
            ),
        };
        self.db().batch(&sql).unwrap();
    }

    /// Ends all connections to a server but the one that says so. Files have none.
    pub(super) fn cut_connections(&self) {
        if let Address::Server(_) = self.address {
            let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE application_name = current_setting('application_name') AND pid <> pg_backend_pid()";
            assert!(self.ask::<i64>(cut) > 0);
        }
    }

    /// Takes that back.
    pub(super) fn heal(&self, table: &str) {
        let on = if let Address::Server(_) = self.address { format!(" ON {table}") } else { String::new() };
        self.db().batch(&format!("DROP TRIGGER poison{on}")).unwrap();
    }
}

/// Copies everything to another place, as a backup does.
pub(super) fn back_up(bench: &Bench) -> Address {
    match &bench.address {
        Address::File(path) => {
            let backup = path.with_extension("backup");
            let sql = format!("VACUUM INTO '{}'", backup.display());
            bench.db().batch(&sql).unwrap();
            backup.into()
        }
        Address::Server(_) => {
            let (address, _) = address();
            drop(super::Store::open(&address, super::options()).unwrap());
            let schema = |of: &Address| -> String {
                let db = Db::open_to_write(of).unwrap();
                db.only("SELECT CAST(current_schema() AS TEXT)", &[], |row| row.get(0)).unwrap()
            };
            let (from, to) = (schema(&bench.address), schema(&address));
            let tables = "SELECT CAST(table_name AS TEXT) FROM information_schema.tables
                 WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'";
            let tables: Vec<String> = bench.db().all(tables, &[], |row| row.get(0)).unwrap();
            for table in tables {
                let sql = format!(
                    "DELETE FROM {to}.{table}; INSERT INTO {to}.{table} SELECT * FROM {from}.{table}"
                );
                bench.db().batch(&sql).unwrap();
            }
            address
        }
    }
}

#[test]
fn all_tests_of_the_store_pass_on_postgresql() {
    if std::env::var_os(URL).is_some() {
        return;
    }
    if let Some(why) = Cluster::missing() {
        assert_ne!(std::env::var("HANGTAG_ALL").as_deref(), Ok("1"), "cannot be run here: {why}");
        // Not with `eprintln`: what that writes is shown of failed tests only.
        let line = format!("skipped: all_tests_of_the_store_pass_on_postgresql: {why}\n");
        return drop(std::io::stderr().write_all(line.as_bytes()));
    }
    let cluster = Cluster::start().unwrap();
    let mut run = Command::new(std::env::current_exe().unwrap());
    let run = run.args(TESTS).env(URL, cluster.url()).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    let db = Db::open_to_read(&Address::server(&cluster.url(), None).unwrap()).unwrap();
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'test%'";
    let schemas: i64 = db.only(schemas, &[], |row| row.get(0)).unwrap();
    assert!(schemas > 50, "only {schemas} tests kept their data on the server: {said}");
}

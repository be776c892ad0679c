//! What rounds numbers of visits: made once, kept, and never repeated.

use super::*;
use crate::store::db::binds;

#[test]
fn a_database_rounds_alike_whoever_opens_it() {
    let bench = Bench::new();
    let reader = Reader::new(bench.address.clone());
    let made = reader.rounding().unwrap();
    drop(Store::open(&bench.address, options()).unwrap());
    assert_eq!(reader.rounding().unwrap(), made);
    assert_ne!(Reader::new(Bench::new().address.clone()).rounding().ok(), Some(made), "another has another");
    for broken in ["12ab", "+0000000000000000000000000000001"] {
        bench.db().execute("UPDATE meta SET value = ?1 WHERE name = 'rounding'", binds![broken]).unwrap();
        let why = reader.rounding().unwrap_err().to_string();
        assert!(why.contains("32 hexadecimal digits") && !why.contains(broken), "{why}");
    }
    bench.db().execute("DELETE FROM meta WHERE name = 'rounding'", &[]).unwrap();
    assert!(reader.rounding().is_err(), "it is not taken to be 0");
    drop(Store::open(&bench.address, options()).unwrap());
    assert_ne!(reader.rounding().unwrap(), made, "a lost one is made anew");
}

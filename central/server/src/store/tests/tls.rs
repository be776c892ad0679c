//! A server that speaks TLS, and whom central believes.

use std::io::Write as _;

use super::engines::cluster::Cluster;
use super::*;
use crate::store::db::Db;

/// Whether a database with this URL can be opened, and is spoken to in cipher; or why not.
fn open(url: &str) -> Result<bool, String> {
    let address = Address::server(url, None)?;
    let db = Db::open_to_write(&address).map_err(|why| why.to_string())?;
    let question = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    db.only(question, &[], |row| row.get(0)).map_err(|why| why.to_string())
}

#[test]
fn a_server_is_spoken_to_in_cipher_and_believed_only_with_a_certificate() {
    if let Some(why) = Cluster::missing() {
        assert_ne!(std::env::var("HANGTAG_ALL").as_deref(), Ok("1"), "cannot be run here: {why}");
        let line = format!("skipped: a_server_is_spoken_to_in_cipher: {why}\n");
        return drop(std::io::stderr().write_all(line.as_bytes()));
    }
    let cluster = Cluster::start_with_tls().unwrap();
    let url = |host: &str, how: &str| cluster.tls_url(host, how);
    let roots = cluster.roots();
    assert_eq!(open(&url("localhost", "sslmode=require")), Ok(true));
    assert_eq!(open(&url("localhost", "sslmode=disable")), Ok(false));
    let full = |file: &std::path::Path| format!("sslmode=verify-full&sslrootcert={}", file.display());
    assert_eq!(open(&url("localhost", &full(&roots))), Ok(true));
    // Its certificate is for another name, or another one vouches for it.
    let said = open(&url("127.0.0.1", &full(&roots))).unwrap_err();
    assert!(said.contains("certificate not valid for name"), "{said}");
    let said = open(&url("localhost", &full(&cluster.other_roots()))).unwrap_err();
    assert!(said.contains("UnknownIssuer") || said.contains("BadSignature"), "{said}");
    // Everything else works as without.
    let address = Address::server(&url("localhost", &full(&roots)), None).unwrap();
    let mut store = Store::open(&address, options()).unwrap();
    let topic = gateway().topic(Channel::Events);
    let payload = plain(1, 3).encode().unwrap();
    store.append(&[Message { topic, payload, received: UnixMillis(5) }]).unwrap();
    assert_eq!(Reader::new(address).totals().unwrap().events, 3);
    // A server that does not speak it is not spoken to in the clear.
    let clear = Cluster::start_on_tcp().unwrap();
    let said = open(&clear.tls_url("localhost", "sslmode=require")).unwrap_err();
    assert!(said.contains("does not support TLS"), "{said}");
}

//! Scans: products are told, loyalty codes are opened as soon as their key is there.

use hangtag_central_core::loyalty::Keys;
use hangtag_protocol::epc::Gtin;
use hangtag_protocol::key::{KeyId, PublicKey};
use hangtag_protocol::scan::{Code, SEAL_BYTES, Scan, Sealed};
use zeroize::Zeroizing;

use super::super::Unopened;
use super::*;

pub(crate) fn scanned(at: u64, visit: Option<u64>, code: Code) -> Event {
    let scan = Scan { zone: ZoneId::new("booth-1").unwrap(), visit: visit.map(Seq), code };
    Event { boot: BootId(7), at: Uptime(at), confidence: 100, what: What::Scanned(scan) }
}

#[test]
fn scans_are_stored_once_with_their_visit() {
    let mut bench = Bench::new();
    let product = Code::Product(Gtin::new("4006381333931").unwrap());
    let sealed = Sealed::new(KeyId(*b"key-id-1"), vec![7; SEAL_BYTES + 32]).unwrap();
    let events = vec![
        fitting(1_000, TAG, 1, What::CarriedIn),
        scanned(2_000, Some(1), product),
        scanned(3_000, None, Code::Loyalty(sealed)),
    ];
    let message = batch(1, events);
    (0..2).for_each(|_| drop(bench.send(&message)));
    let scans =
        "SELECT seq || ':' || coalesce(gtin, '-') || ':' || coalesce(CAST(visit AS TEXT), '-') || ':' || zone
         FROM event WHERE kind = 'scanned' ORDER BY seq";
    assert_eq!(bench.list(scans), "2:04006381333931:1:booth-1,3:-:-:booth-1");
    let sealed = "SELECT seq || ':' || key || ':' || state || ':' || length(sealed) FROM loyalty";
    assert_eq!(bench.list(sealed), "3:6b65792d69642d31:sealed:80");
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM quarantine"), 0);
}

const PUBLIC: &str = "57db4b359f23ae5e146e4e2512056704722506348c150c14753d0c933d04d421";
/// What libsodium made of one code, for the private key of 32 nines.
const BOX: &str = "89d87edeacbf870674a93e3a1b2396bc3da546eaefa39b4ab6b8dde8ec0bdc12\
                   a01a567fce70b742cfd0c20ae2914af2658a55d3dc99cc5dfce7022dd5894fa2\
                   34995b97b9aed98f353275df8865aaf6";
/// The number that stands for it with the secret of 32 fives.
const HASH: &str = "20f99e0f4c36058b2badbba92d9a00df9f170656ceab79489ad6dabfb53a4669";

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

pub(crate) fn with_keys(secret: u8, private: &[u8]) -> Options {
    let mut keys = Keys::new(Zeroizing::new([secret; 32]));
    for key in private {
        keys.add(&[*key; 32]);
    }
    Options { keys: Arc::new(keys), ..options() }
}

pub(crate) fn loyalty(at: u64, change: u8) -> Event {
    let mut sealed = bytes(BOX);
    sealed[40] ^= change;
    let key = PublicKey::new(bytes(PUBLIC).try_into().unwrap()).id();
    scanned(at, None, Code::Loyalty(Sealed::new(key, sealed).unwrap()))
}

const STATES: &str =
    "SELECT seq || state || coalesce(CAST(length(sealed) AS TEXT), '-') || coalesce(code, '-')
     FROM loyalty ORDER BY seq";

#[test]
fn codes_are_opened_when_they_come_or_when_their_key_does() {
    let mut bench = Bench::new();
    let message = batch(1, vec![loyalty(1_000, 0), loyalty(2_000, 1)]);
    bench.send(&message);
    assert_eq!(bench.list(STATES), "1sealed80-,2sealed80-");
    bench.store = Store::open(&bench.address, with_keys(5, &[8])).unwrap();
    assert_eq!(bench.store.open_sealed(10).unwrap(), 0, "it is another key");
    let waits = Unopened { key: PUBLIC[..16].into(), state: "sealed".into(), scans: 2 };
    assert_eq!(Reader::new(bench.address.clone()).unopened().unwrap(), [waits]);
    bench.store = Store::open(&bench.address, with_keys(5, &[8, 9])).unwrap();
    assert_eq!([1, 1, 1].map(|most| bench.store.open_sealed(most).unwrap()), [1, 1, 0]);
    let opened = format!("1opened-{HASH},2broken80-");
    assert_eq!(bench.list(STATES), opened);
    let broken = Unopened { key: PUBLIC[..16].into(), state: "broken".into(), scans: 1 };
    assert_eq!(Reader::new(bench.address.clone()).unopened().unwrap(), [broken]);
    // The same again, and one that comes with its key there.
    bench.send(&message);
    bench.send(&batch(3, vec![loyalty(3_000, 0)]));
    assert_eq!(bench.list(STATES), format!("{opened},3opened-{HASH}"));
}

#[test]
fn a_row_that_cannot_be_read_does_not_hold_up_the_others() {
    let mut bench = Bench::new();
    bench.send(&batch(1, vec![loyalty(1_000, 0), loyalty(2_000, 0), loyalty(3_000, 0)]));
    let db = bench.db();
    let damage = match bench.address {
        Address::File(_) => {
            "UPDATE loyalty SET sealed = CASE seq WHEN 1 THEN x'0102' ELSE 'text' END WHERE seq < 3"
        }
        Address::Server(_) => {
            r"UPDATE loyalty SET sealed = CASE seq WHEN 1 THEN '\x0102' ELSE 'text'::bytea END WHERE seq < 3"
        }
    };
    db.batch(damage).unwrap();
    bench.store = Store::open(&bench.address, with_keys(5, &[9])).unwrap();
    assert_eq!([2, 2].map(|most| bench.store.open_sealed(most).unwrap()), [2, 1]);
    assert_eq!(bench.store.open_sealed(2).unwrap(), 0);
    let kept = format!("1broken2-,2broken4-,3opened-{HASH}");
    assert_eq!(bench.list(STATES), kept, "nothing is lost");
}

#[test]
fn another_secret_is_refused() {
    let bench = Bench::new();
    drop(Store::open(&bench.address, with_keys(5, &[9])).unwrap());
    let Err(why) = Store::open(&bench.address, with_keys(6, &[9])) else { panic!("it was taken") };
    assert!(why.to_string().contains("another codes.secret"), "{why}");
    Store::open(&bench.address, with_keys(5, &[])).unwrap();
    Store::open(&bench.address, options()).unwrap();
}

//! Scans: products are told, loyalty codes are kept sealed.

use hangtag_protocol::epc::Gtin;
use hangtag_protocol::key::KeyId;
use hangtag_protocol::scan::{Code, SEAL_BYTES, Scan, Sealed};

use super::*;

pub(super) fn scanned(at: u64, visit: Option<u64>, code: Code) -> Event {
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
        "SELECT group_concat(seq || ':' || coalesce(gtin, '-') || ':' || coalesce(visit, '-') || ':' || zone)
                 FROM event WHERE kind = 'scanned'";
    assert_eq!(bench.ask::<String>(scans), "2:04006381333931:1:booth-1,3:-:-:booth-1");
    let sealed =
        "SELECT group_concat(seq || ':' || key || ':' || state || ':' || length(sealed)) FROM loyalty";
    assert_eq!(bench.ask::<String>(sealed), "3:6b65792d69642d31:sealed:80");
    assert_eq!(bench.ask::<i64>("SELECT count(*) FROM quarantine"), 0);
}

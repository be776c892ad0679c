//! What tags and people write. Enters: bytes. Leaves: a panic if an EPC or a GTIN that was read is written otherwise.

use hangtag_protocol::epc::{Epc, Gtin, Serial};
use hangtag_protocol::topic::Gateway;

/// EPCs in bytes and in text, GTINs, topics.
///
/// # Panics
/// When a property does not hold.
pub fn epc(bytes: &[u8]) {
    if let Ok(epc) = Epc::new(bytes) {
        assert_eq!(Epc::from_hex(&epc.to_string()), Ok(epc));
        let binary = postcard::to_allocvec(&epc).expect("it encodes");
        assert_eq!(postcard::from_bytes(&binary), Ok(epc));
        if let Some(sgtin) = epc.sgtin() {
            assert_eq!(Gtin::from_number(sgtin.gtin().number()), Ok(sgtin.gtin()));
            assert_eq!(sgtin.gtin().to_string().len(), 14);
            assert!(sgtin.to_string().starts_with("urn:epc:tag:sgtin-"));
            match sgtin.serial {
                Serial::Number(_) => assert_eq!(sgtin.encode_96(), Some(epc)),
                Serial::Text(_) => assert!(!sgtin.serial.to_text().is_empty()),
            }
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(epc) = Epc::from_hex(text) {
        assert!(epc.to_string().eq_ignore_ascii_case(text));
    }
    if let Ok(gtin) = Gtin::new(text) {
        assert_eq!(Gtin::new(&gtin.to_string()), Ok(gtin));
    }
    if let Ok((gateway, channel)) = Gateway::parse(text) {
        assert_eq!(gateway.topic(channel), text);
    }
}

/// Published EPCs, in bytes and in text; GTINs; a topic.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let epcs = [
        "3074257bf7194e4000001a85",
        "30204ed9496334000000006e",
        "3034007d00011c400000000b",
        "301800004000004000000001",
        "3674257bf6b7a659b2c2bf100000000000000000000000000000",
        "fd3795211411234538566cb0afc525065f1876f0d996d800",
    ];
    let texts = epcs.iter().copied().chain(["4006381333931", "hangtag/v1/acme/gw/paris-1/gw-1/events"]);
    let binary = epcs.iter().filter_map(|text| hex::decode(text).ok());
    texts.map(|text| text.as_bytes().to_vec()).chain(binary).collect()
}

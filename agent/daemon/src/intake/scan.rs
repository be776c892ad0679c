//! What becomes of a scanned code before anybody else hears of it. Enters: a code as the scanner's session has it.
//! Leaves: a product, or a sealed loyalty code; nothing when nobody may be told.

use crypto_box::aead::OsRng;
use hangtag_agent_core::intake::Code;
use hangtag_agent_core::seal::seal;
use hangtag_protocol::id::ReaderId;
use hangtag_protocol::key::PublicKey;
use hangtag_protocol::scan;
use tracing::warn;

/// Seals a loyalty code before anything else is done with it. A configuration that describes such codes has a key.
pub(super) fn close(code: Code, key: Option<&PublicKey>, reader: ReaderId) -> Option<scan::Code> {
    match code {
        Code::Product(gtin) => Some(scan::Code::Product(gtin)),
        Code::Unknown => None,
        Code::Loyalty(code) => match seal(code, key?, &mut OsRng) {
            Ok(sealed) => Some(scan::Code::Loyalty(sealed)),
            Err(why) => {
                warn!(%reader, %why, "a scan is lost");
                None
            }
        },
    }
}

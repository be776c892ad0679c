//! What a Gen2 tag sends when it is inventoried. Enters: the bytes as a reader passes them on. Leaves: the EPC,
//! unless the tag's own checksum says that no tag sent them.
//!
//! ```text
//! PC(2) EPC CRC(2)     CRC-16/GENIBUS of PC and EPC, high byte first (EPCglobal Gen2, 6.3.1.5)
//! ```

use crc::{CRC_16_GENIBUS, Crc};
use hangtag_protocol::epc::Epc;

const TAG_CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_GENIBUS);

/// The EPC in what a tag sent. Readers take noise for tags now and then, and frame it well: only the tag's own
/// checksum tells.
pub(super) fn epc(sent: &[u8]) -> Option<Epc> {
    let (protected, crc) = sent.split_last_chunk::<2>()?;
    let (_pc, epc) = protected.split_first_chunk::<2>()?;
    (TAG_CRC.checksum(protected) == u16::from_be_bytes(*crc)).then(|| Epc::new(epc).ok()).flatten()
}

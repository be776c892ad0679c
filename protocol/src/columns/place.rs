//! Where each chance is, in the order in which [`prior`](super::prior) lists them.
//!
//! A bit has one chance, a tree of n bits 2^n - 1, a number 64 and a sized one 63. *By kind* means as many
//! for each of the first seven kinds, one kind after the other; *by class*, for each kind and each eighth of it.

use super::model::NUMBER;

const KINDS: usize = 7;
const CLASSES: usize = KINDS * 8;

/// After which kind, 7 for none: a tree of 3 bits.
pub(super) const KIND: usize = 0;
/// A tree of 8 bits for each kind.
pub(super) const CONFIDENCE: usize = KIND + 8 * 8 * 7;
pub(super) const SAME_BOOT: usize = CONFIDENCE + KINDS * 255;
pub(super) const BOOT_MET: usize = SAME_BOOT + 1;
pub(super) const BOOT_RANK: usize = BOOT_MET + 1;

pub(super) const ON_TICK: usize = BOOT_RANK + NUMBER;
pub(super) const REST: usize = ON_TICK + CLASSES;
pub(super) const EARLIER: usize = REST + 7;
pub(super) const TICKS: usize = EARLIER + CLASSES;
pub(super) const TICKS_EARLIER: usize = TICKS + (KINDS + 1) * NUMBER;

pub(super) const EXPECTED: usize = TICKS_EARLIER + NUMBER;
pub(super) const MET: usize = EXPECTED + KINDS * 8;
pub(super) const RANK: usize = MET + KINDS;
pub(super) const OTHER_RANK: usize = RANK + KINDS * NUMBER;
pub(super) const IS_SGTIN: usize = OTHER_RANK + NUMBER;
pub(super) const EPC_LENGTH: usize = IS_SGTIN + 1;
pub(super) const ITEM_MET: usize = EPC_LENGTH + 63;
pub(super) const ITEM_RANK: usize = ITEM_MET + 1;
pub(super) const COMPANY_MET: usize = ITEM_RANK + NUMBER;
pub(super) const COMPANY_RANK: usize = COMPANY_MET + 1;
pub(super) const ITEM_REFERENCE: usize = COMPANY_RANK + NUMBER;
pub(super) const SERIAL: usize = ITEM_REFERENCE + NUMBER;

pub(super) const SHARED: usize = SERIAL + 63;
pub(super) const MORE: usize = SHARED + NUMBER;
pub(super) const LETTER: usize = MORE + NUMBER;

pub(super) const SAME_ZONE: usize = LETTER + 3 * 63;
pub(super) const ZONE: usize = SAME_ZONE + CLASSES;

pub(super) const SAME_VISIT: usize = ZONE + KINDS * 16;
pub(super) const OWN_VISIT: usize = SAME_VISIT + KINDS * 2;
pub(super) const VISIT: usize = OWN_VISIT + KINDS;

pub(super) const NO_MARGIN: usize = VISIT + NUMBER;
pub(super) const SURE_MARGIN: usize = NO_MARGIN + CLASSES;
pub(super) const MARGIN: usize = SURE_MARGIN + 8;
pub(super) const UNREST: usize = MARGIN + KINDS * NUMBER;
pub(super) const OTHER_UNREST: usize = UNREST + CLASSES * 3;
pub(super) const READS: usize = OTHER_UNREST + 255;
pub(super) const DWELL_SURE: usize = READS + KINDS * NUMBER;
pub(super) const DWELL_BELOW: usize = DWELL_SURE + CLASSES;
pub(super) const DWELL_LESS: usize = DWELL_BELOW + KINDS;
pub(super) const DWELL_MORE: usize = DWELL_LESS + NUMBER;
pub(super) const DWELL: usize = DWELL_MORE + KINDS * NUMBER;

pub(super) const RETRACTS: usize = DWELL + KINDS * NUMBER;
pub(super) const READER_MET: usize = RETRACTS + NUMBER;
pub(super) const READER: usize = READER_MET + 8;
pub(super) const STATE: usize = READER + NUMBER;
pub(super) const ON_TIME: usize = STATE + 3;
pub(super) const FROM_SURE: usize = ON_TIME + 1;
pub(super) const FROM: usize = FROM_SURE + 1;

/// Where what is foreseen ends. What stands behind it begins even: it came later, and must change nothing
/// of how the places before it are read.
pub(super) const FORESEEN: usize = FROM + NUMBER;

/// After a kind above the first seven: a tree of 3 bits.
pub(super) const KIND_AFTER: usize = FORESEEN;
pub(super) const FURTHER_KIND: usize = KIND_AFTER + 7;

/// Of scans.
pub(super) const SCAN_CONFIDENCE: usize = FURTHER_KIND + NUMBER;
pub(super) const SCAN_AT: usize = SCAN_CONFIDENCE + 255;
pub(super) const SCAN_ZONE_MET: usize = SCAN_AT + 63;
pub(super) const SCAN_ZONE: usize = SCAN_ZONE_MET + 1;
pub(super) const SCAN_IN_VISIT: usize = SCAN_ZONE + NUMBER;
pub(super) const SCAN_SAME_VISIT: usize = SCAN_IN_VISIT + 1;
pub(super) const SCAN_VISIT: usize = SCAN_SAME_VISIT + 1;
pub(super) const IS_LOYALTY: usize = SCAN_VISIT + NUMBER;
pub(super) const SAME_KEY: usize = IS_LOYALTY + 1;
pub(super) const SEALED_LENGTH: usize = SAME_KEY + 1;

pub(super) const COUNT: usize = SEALED_LENGTH + NUMBER;

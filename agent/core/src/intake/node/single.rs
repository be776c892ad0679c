//! Condensed reads as single ones again, because inference counts reads and compares neighbours. Enters: what a
//! node condensed. Leaves: at most [`MOST_READS`] reads.

use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::link::message::Condensed;
use hangtag_protocol::read::Read;

/// Single reads that are made of a condensed one; of more no rule could tell.
pub(super) const MOST_READS: u16 = 255;

/// Adds single reads, evenly spread, from the weakest or the strongest to the last: the levels
/// that change least from read to read, because changes that nobody saw would be taken for unrest.
pub(super) fn expand(condensed: &Condensed, last: Uptime, reads: &mut Vec<Read>) {
    let Condensed { epc, antenna, count, span_ms, last_cdbm, .. } = *condensed;
    let (strongest, weakest) = (i32::from(condensed.strongest_cdbm), i32::from(condensed.weakest_cdbm));
    let end = i32::from(last_cdbm);
    let (from, to) =
        if strongest - end > end - weakest { (strongest, weakest) } else { (weakest, strongest) };
    let before = i32::from(count.clamp(1, MOST_READS)) - 1;
    for n in 0..before {
        let level = if before == 1 { from } else { from + (to - from) * n / (before - 1) };
        let way = u64::from(span_ms) * u64::from((before - n).unsigned_abs());
        reads.push(Read {
            at: last - way / u64::from(before.unsigned_abs()),
            epc,
            antenna,
            rssi_cdbm: i16::try_from(level).unwrap_or(last_cdbm),
            phase_ddeg: None,
            channel_khz: condensed.channel_khz,
        });
    }
    let (phase_ddeg, channel_khz) = (condensed.phase_ddeg, condensed.channel_khz);
    reads.push(Read { at: last, epc, antenna, rssi_cdbm: last_cdbm, phase_ddeg, channel_khz });
}

//! Payloads whose header cannot be read. Enters: the payload, and on whose topic it came. Leaves: what the
//! gateway's watermarks say of it, for some minutes, so that the agent encodes the events anew. Only in
//! memory: what central forgets over a restart comes again.

use std::collections::{BTreeMap, VecDeque};

use hangtag_protocol::batch::CRC;
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::topic::Gateway;
use hangtag_protocol::watermark::MAX_UNREADABLE;

/// How long a payload is told of, in milliseconds.
const TOLD_MS: i64 = 600_000;
/// The most gateways that are remembered: strangers could make up any number.
const MAX_GATEWAYS: usize = 1_024;

/// What came lately.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    of: BTreeMap<Gateway, VecDeque<(UnixMillis, u32)>>,
}

impl Unreadable {
    /// Takes note of a payload.
    pub(super) fn note(&mut self, gateway: &Gateway, payload: &[u8], now: UnixMillis) {
        if !self.of.contains_key(gateway) && self.of.len() >= MAX_GATEWAYS {
            self.of.retain(|_, of| of.back().is_some_and(|(at, _)| fresh(*at, now)));
            if self.of.len() >= MAX_GATEWAYS {
                return;
            }
        }
        let digest = CRC.checksum(payload);
        let of = self.of.entry(*gateway).or_default();
        of.retain(|(_, known)| *known != digest);
        of.push_back((now, digest));
        if of.len() > MAX_UNREADABLE {
            of.pop_front();
        }
    }

    /// The CRC-32C of each, the latest last.
    pub(super) fn of(&self, gateway: &Gateway, now: UnixMillis) -> Vec<u32> {
        let of = self.of.get(gateway).into_iter().flatten();
        of.filter(|(at, _)| fresh(*at, now)).map(|(_, digest)| *digest).collect()
    }
}

fn fresh(at: UnixMillis, now: UnixMillis) -> bool {
    now.0.abs_diff(at.0) < TOLD_MS.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::gateway;
    use hangtag_protocol::id::GatewayId;

    #[test]
    fn the_latest_are_told_for_a_while() {
        let mut unreadable = Unreadable::default();
        for n in 0..20u8 {
            unreadable.note(&gateway(), &[n], UnixMillis(n.into()));
        }
        unreadable.note(&gateway(), &[10], UnixMillis(30));
        let told = unreadable.of(&gateway(), UnixMillis(31));
        assert_eq!(told.len(), MAX_UNREADABLE);
        assert_eq!(told.last(), Some(&CRC.checksum(&[10])), "a copy is told once, as the latest");
        assert_eq!(unreadable.of(&gateway(), UnixMillis(TOLD_MS + 29)), [CRC.checksum(&[10])]);
        assert!(unreadable.of(&gateway(), UnixMillis(TOLD_MS + 30)).is_empty());
    }

    #[test]
    fn any_number_of_gateways_takes_bounded_room() {
        let mut unreadable = Unreadable::default();
        let other = |n: usize| Gateway { gateway: GatewayId::new(&format!("x-{n}")).unwrap(), ..gateway() };
        for n in 0..2 * MAX_GATEWAYS {
            unreadable.note(&other(n), b"junk", UnixMillis(0));
        }
        assert_eq!(unreadable.of.len(), MAX_GATEWAYS);
        unreadable.note(&gateway(), b"junk", UnixMillis(TOLD_MS));
        assert_eq!(unreadable.of.len(), 1, "what is old makes room");
    }
}

//! Makes a payload of what the spool read back. Enters: events, and how large a payload may be. Leaves: as
//! much as fits, or word that not even one event does.

use hangtag_agent_core::uplink::Send;
use hangtag_protocol::batch::{Batch, CRC, FORMAT, Header, TooLarge};
use hangtag_protocol::id::Seq;
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::range::SeqRange;
use hangtag_protocol::topic::Gateway;

use crate::spool::{Events, Held};

/// A payload, ready to be sent.
#[derive(Debug)]
pub(super) struct Payload {
    pub(super) bytes: Vec<u8>,
    pub(super) range: SeqRange,
    pub(super) lost: Vec<SeqRange>,
    pub(super) crc: u32,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// The first event alone is too large.
    Event { seq: Seq, bytes: usize },
    /// The broker takes less than a batch without events needs: it is set up wrongly, and no event is to be
    /// blamed for it.
    Broker { bytes: usize },
}

/// Encodes as many of the events as fit. `recorded`: what central knows of the epoch's runs.
pub(super) fn encode(
    gateway: Gateway,
    send: &Send,
    held: Held,
    recorded: &Lineage,
) -> Result<Payload, Misfit> {
    let first = held.first.unwrap_or(send.range.first);
    let header = Header {
        format: FORMAT,
        replayed: send.is_replayed(),
        gateway,
        epoch: send.epoch,
        first,
        count: u32::try_from(held.count()).expect("at most one value"),
    };
    let lineage = held.lineage.since(recorded);
    let ours = |range: &SeqRange| SeqRange { last: range.last.min(Seq(send.end.0 - 1)), ..*range };
    let mut batch = Batch {
        header,
        oldest_held: held.oldest_held,
        lost: held.lost.iter().map(ours).filter(|range| !range.is_empty()).collect(),
        anchors: held.anchors.clone(),
        lineage,
        events: Vec::new(),
    };
    // A whole value is packed already.
    if let Events::Packed { packed, .. } = &held.events
        && let Ok(bytes) = batch.encode_packed(packed)
        && bytes.len() <= send.advice
    {
        let crc = CRC.checksum(&bytes);
        return Ok(Payload { bytes, range: batch.header.range(), lost: batch.lost, crc });
    }
    batch.events = held.into_events();
    let count = batch.events.len();
    keep_events(&mut batch, count);
    loop {
        let encoded = batch.encode();
        let size = encoded.as_ref().map_or_else(|TooLarge(size)| *size, Vec::len);
        let count = batch.events.len();
        match encoded {
            Ok(bytes) if size <= send.advice || (size <= send.limit && count <= 1) => {
                let crc = CRC.checksum(&bytes);
                return Ok(Payload { bytes, range: batch.header.range(), lost: batch.lost, crc });
            }
            // Fewer events need fewer anchors, but these are small.
            Ok(_) | Err(_) if count > 1 => keep_events(&mut batch, count / 2),
            // The next batch tells of the other lost ranges.
            Ok(_) | Err(_) if !batch.lost.is_empty() => batch.lost.truncate(batch.lost.len() / 2),
            Ok(_) | Err(_) => return Err(misfit(batch, size, send.limit)),
        }
    }
}

fn misfit(mut batch: Batch, bytes: usize, limit: usize) -> Misfit {
    let seq = batch.header.first;
    keep_events(&mut batch, 0);
    let empty = batch.encode().map_or_else(|TooLarge(size)| size, |bytes| bytes.len());
    if empty > limit / 2 { Misfit::Broker { bytes: empty } } else { Misfit::Event { seq, bytes } }
}

fn keep_events(batch: &mut Batch, count: usize) {
    batch.events.truncate(count);
    batch.header.count = u32::try_from(batch.events.len()).expect("fewer than before");
}

#[cfg(test)]
mod tests {
    use super::*;
    use hangtag_agent_core::uplink::Purpose;
    use hangtag_protocol::clock::{BootId, Uptime};
    use hangtag_protocol::event::{Coverage, Event, ReaderState, What};
    use hangtag_protocol::id::{Epoch, GatewayId, ReaderId, StoreId, TenantId};

    fn gateway() -> Gateway {
        let (tenant, store) = (TenantId::new("acme").unwrap(), StoreId::new("paris-1").unwrap());
        Gateway { tenant, store, gateway: GatewayId::new("gw-1").unwrap() }
    }

    fn held(count: u64) -> Held {
        let reader = ReaderId::new("rail-a").unwrap();
        let what = What::Coverage(Coverage { reader, state: ReaderState::Listening, from: Uptime(5) });
        let events = (0..count).map(|n| {
            let at = Uptime(n * 7_919 % 1_000_003);
            Event {
                boot: BootId(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                at,
                confidence: 90,
                what: what.clone(),
            }
        });
        Held {
            epoch: Epoch(7),
            first: Some(Seq(10)),
            events: Events::Plain(events.collect()),
            anchors: Vec::new(),
            lost: vec![SeqRange::new(1, 4), SeqRange::new(6, 6), SeqRange::new(100, 900)],
            lineage: Lineage::default(),
            oldest_held: Seq(10),
        }
    }

    fn send(limit: usize, advice: usize) -> Send {
        let range = SeqRange::new(10, 265);
        Send { epoch: Epoch(7), range, purpose: Purpose::Backlog, limit, advice, end: Seq(300) }
    }

    fn sent(send: &Send, held: Held) -> Result<Batch, Misfit> {
        let payload = encode(gateway(), send, held, &Lineage::default())?;
        assert_eq!(payload.crc, CRC.checksum(&payload.bytes));
        let (header, body) = Batch::decode_header(&payload.bytes).unwrap();
        assert_eq!(header.range(), payload.range);
        Ok(Batch::decode_body(header, body).unwrap())
    }

    #[test]
    fn everything_goes_where_it_fits() {
        let batch = sent(&send(65_536, 65_536), held(256)).unwrap();
        assert_eq!((batch.header.first, batch.events.len()), (Seq(10), 256));
        assert!(batch.header.replayed);
        assert_eq!(batch.lost[2], SeqRange::new(100, 299), "only what is this epoch's own");
    }

    #[test]
    fn a_packed_value_goes_as_it_is_or_is_cut_like_any_other() {
        let packed = |count| {
            let held = held(count);
            let (first, events) = (Seq(10), held.into_events());
            let packed = hangtag_protocol::columns::pack(first, &events);
            Held { events: Events::Packed { count: u16::try_from(count).unwrap(), packed }, ..self::held(0) }
        };
        let send_all = send(65_536, 65_536);
        let (as_it_is, anew) = (sent(&send_all, packed(256)), sent(&send_all, held(256)));
        assert_eq!(as_it_is.unwrap(), anew.unwrap());
        let (cut, anew) = (sent(&send(1_000, 1_000), packed(256)), sent(&send(1_000, 1_000), held(256)));
        assert_eq!(cut.unwrap(), anew.unwrap());
    }

    #[test]
    fn batches_are_cut_by_what_the_broker_takes() {
        let limit = 1_000;
        let payload = encode(gateway(), &send(limit, limit), held(256), &Lineage::default()).unwrap();
        assert!(payload.bytes.len() <= limit && payload.range.len() < 256, "{}", payload.range.len());
        let advised = encode(gateway(), &send(65_536, 300), held(256), &Lineage::default()).unwrap();
        assert!(advised.bytes.len() <= 300);
        let single = encode(gateway(), &send(65_536, 10), held(256), &Lineage::default()).unwrap();
        assert_eq!(single.range, SeqRange::new(10, 10), "advice is not a limit for one event");
    }

    #[test]
    fn a_broker_that_takes_next_to_nothing_is_to_blame_and_not_the_event() {
        let why = encode(gateway(), &send(60, 60), held(256), &Lineage::default()).unwrap_err();
        assert!(matches!(why, Misfit::Broker { .. }), "{why:?}");
    }

    #[test]
    fn a_batch_without_events_begins_with_the_next_number() {
        let range = SeqRange::new(266, 265);
        let losses = Send { range, purpose: Purpose::Losses, ..send(65_536, 65_536) };
        let batch = sent(&losses, Held { first: None, ..held(0) }).unwrap();
        assert_eq!((batch.header.first, batch.header.count, batch.lost.len()), (Seq(266), 0, 3));
    }
}

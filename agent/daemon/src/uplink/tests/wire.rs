//! One connection without an uplink: link and wire.

use std::time::Duration;

use hangtag_agent_core::uplink::{Answer, BatchId, Limits, Sent, Settings, SettledBy, Uplink, View};
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::id::Seq;
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::range::SeqSet;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::super::mqtt::{self, Address, Cause, Heard, Link, Lost, Terms, Wire};
use super::{EPOCH, Peer, packet, publish};

/// Where the peer listens, and who comes.
fn address(port: u16) -> Address<'static> {
    Address {
        client_id: "hangtag.test".into(),
        host: "127.0.0.1",
        port,
        socket: None,
        login: None,
        keep_alive: Duration::from_secs(5),
        will: Some(("status".into(), Vec::new())),
    }
}

/// A connection without an uplink: the link, the wire, the peer.
async fn connected(properties: &[u8]) -> (Link, Wire, Peer, Terms) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (mut link, mut wire) = mqtt::open(address(port));
    let (peer, news) = tokio::join!(Peer::accept(&listener, properties), wire.next());
    let Heard::Connected(terms) = link.handle(news.unwrap()).unwrap() else { panic!("CONNACK") };
    (link, wire, peer, terms)
}

/// Numbers for batches.
fn numbers() -> impl FnMut() -> BatchId {
    let (empty, lineage) = (SeqSet::default(), Lineage::default());
    let (epoch, oldest_held, next) = (EPOCH, Seq(1), Seq(1_000_000));
    let view = View { epoch, oldest_held, next, settled: &empty, lost: 0, lineage: &lineage };
    let settings = Settings { backlog_percent: 75, bytes_per_s: None, settled_by: SettledBy::Central };
    let mut core = Uplink::new(settings, [view]);
    core.handle_connected(Limits { window: 16, batch_bytes: 65_536 }, Uptime(0));
    move || {
        let send = core.poll_send(Uptime(0)).unwrap();
        let sent = Sent { range: send.range, bytes: 1, crc: 0, lost: Vec::new() };
        core.handle_sent(&send, sent, Uptime(0))
    }
}

/// What the wire tells until it ends, and how it ends.
async fn hear_out(link: &mut Link, wire: &mut Wire) -> (Vec<Heard>, Lost) {
    let mut heard = Vec::new();
    loop {
        match wire.next().await {
            Ok(news) => heard.push(link.handle(news).unwrap()),
            Err(lost) => {
                heard.extend(wire.rest().into_iter().map(|news| link.handle(news).unwrap()));
                heard.retain(|heard| !matches!(heard, Heard::Nothing));
                return (heard, lost);
            }
        }
    }
}

#[tokio::test]
async fn the_terms_of_the_broker_are_read() {
    let (.., terms) = connected(&[0x21, 0, 20, 0x27, 0, 1, 0, 0]).await;
    assert_eq!(terms, Terms { receive_maximum: 20, packet_bytes: Some(65_536) });
}

#[tokio::test]
async fn a_session_that_was_taken_over_is_known_as_such() {
    let (mut link, mut wire, mut peer, _) = connected(&[]).await;
    peer.write(0xe0, &[0x8e, 0]).await;
    let (_, lost) = hear_out(&mut link, &mut wire).await;
    assert_eq!(lost.cause, Cause::TakenOver);
}

#[tokio::test]
async fn an_acknowledgement_right_before_the_end_counts() {
    let (mut link, mut wire, mut peer, _) = connected(&[]).await;
    let mut number = numbers();
    assert!(link.publish_batch("t".into(), "c", "2".into(), vec![1], &mut number));
    let peer = async move {
        while peer.read().await.kind >> 4 != 3 {}
        // Both in one segment: rumqttc tells the end first.
        let mut bytes = packet(0x40, &[0, 1]);
        bytes.extend(packet(0xe0, &[0x95, 0]));
        peer.0.write_all(&bytes).await.unwrap();
        peer
    };
    let ((heard, lost), _peer) = tokio::join!(hear_out(&mut link, &mut wire), peer);
    assert!(matches!(heard[..], [Heard::Batch(_, Answer::Taken, _)]), "{heard:?}");
    assert_eq!(lost.cause, Cause::Unknown, "what was on its way may have been too large");
}

#[tokio::test]
async fn acknowledgements_in_any_order_belong_to_their_batches() {
    let (mut link, mut wire, mut peer, _) = connected(&[0x21, 0, 2]).await;
    let mut number = numbers();
    let mut ids = Vec::new();
    for n in 0..3 {
        let numbered = || {
            let id = number();
            ids.push(id);
            id
        };
        assert!(link.publish_batch("t".into(), "c", "2".into(), vec![n], numbered));
    }
    let peer = async move {
        let mut got = Vec::new();
        for _ in 0..2 {
            let packet = peer.read().await;
            got.push(publish(&packet).1);
        }
        // The third batch needs the id of the first and must wait for it.
        peer.acknowledge(got[1], 0x97).await;
        peer.acknowledge(got[0], 0).await;
        let third = peer.read().await;
        peer.acknowledge(publish(&third).1, 0x10).await;
        peer.write(0xe0, &[0x8b, 0]).await;
        peer
    };
    let ((heard, lost), _peer) = tokio::join!(hear_out(&mut link, &mut wire), peer);
    let answers: Vec<_> = heard
        .iter()
        .map(|heard| match heard {
            Heard::Batch(id, answer, _) => (*id, *answer),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [(ids[1], Answer::Closed), (ids[0], Answer::Taken), (ids[2], Answer::Unheard)];
    assert_eq!(answers, expected);
    assert_eq!(lost.cause, Cause::Broker, "it shuts down");
}

#[tokio::test]
async fn a_keep_alive_of_none_does_not_make_rumqttc_ping_all_the_time() {
    let (mut link, mut wire, mut peer, _) = connected(&[0x13, 0, 0]).await;
    let mut number = numbers();
    assert!(link.publish_batch("t".into(), "c", "2".into(), vec![1], &mut number));
    let peer = async move {
        let mut pings = 0;
        loop {
            let packet = peer.read().await;
            match packet.kind >> 4 {
                12 => pings += 1,
                3 => break,
                kind => panic!("{kind}"),
            }
        }
        peer.acknowledge(1, 0).await;
        peer.write(0xd0, &[]).await;
        peer.write(0xe0, &[0x8b, 0]).await;
        (peer, pings)
    };
    let ((heard, _), (_peer, pings)) = tokio::join!(hear_out(&mut link, &mut wire), peer);
    assert!(matches!(heard[..], [Heard::Batch(_, Answer::Taken, _)]), "{heard:?}");
    assert!(pings <= 1);
}

#[tokio::test]
async fn a_broker_without_quality_of_service_is_no_use() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (mut link, mut wire) = mqtt::open(address(port));
    let (_peer, news) = tokio::join!(Peer::accept(&listener, &[0x24, 0]), wire.next());
    assert_eq!(link.handle(news.unwrap()).unwrap_err().cause, Cause::Broker);
}

//! The uplink against a scripted peer that speaks a few packets of MQTT 5, and a spool in memory.

use std::time::Duration;

use hangtag_agent_core::uplink::{Answer, BatchId, Limits, Sent, Settings as CoreSettings, SettledBy, View};
use hangtag_protocol::batch::Batch;
use hangtag_protocol::clock::{BootId, Uptime};
use hangtag_protocol::event::{Coverage, Event, ReaderState, What};
use hangtag_protocol::id::{Epoch, GatewayId, ReaderId, Seq, StoreId, TenantId};
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::range::{SeqRange, SeqSet};
use hangtag_protocol::topic::Gateway;
use hangtag_protocol::watermark::{EpochMark, Watermark};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::mqtt::{self, Address, Cause, Heard, Link, Lost, Terms, Wire};
use super::{Settings, Uplink};
use crate::config::Mqtt;
use crate::health::Health;
use crate::spool::{EpochState, Events, Held, Request, State};

const EPOCH: Epoch = Epoch(0xe);
/// Far more than anything here takes, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// One client's connection, seen from the broker.
struct Peer(TcpStream);

#[derive(Debug)]
struct Packet {
    kind: u8,
    body: Vec<u8>,
}

impl Peer {
    /// Takes a client and answers its CONNECT with these properties.
    async fn accept(listener: &TcpListener, properties: &[u8]) -> Self {
        let (stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        let mut peer = Self(stream);
        assert_eq!(peer.read().await.kind >> 4, 1, "CONNECT");
        let mut answer = vec![0, 0, u8::try_from(properties.len()).unwrap()];
        answer.extend(properties);
        peer.write(0x20, &answer).await;
        peer
    }

    /// The same, up to the subscription, for an uplink that is told a watermark at once.
    async fn greet(listener: &TcpListener, properties: &[u8], watermark: &Watermark) -> Self {
        let mut peer = Self::accept(listener, properties).await;
        let subscribe = peer.read().await;
        assert_eq!(subscribe.kind >> 4, 8, "SUBSCRIBE");
        peer.write(0x90, &[subscribe.body[0], subscribe.body[1], 0, 1]).await;
        peer.tell(watermark).await;
        peer
    }

    async fn read(&mut self) -> Packet {
        timeout(PATIENCE, self.next()).await.unwrap().expect("a packet")
    }

    /// The next packet; `None` when the client has closed.
    async fn next(&mut self) -> Option<Packet> {
        let kind = self.0.read_u8().await.ok()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.0.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.ok()?;
        Some(Packet { kind, body })
    }

    async fn write(&mut self, kind: u8, body: &[u8]) {
        self.0.write_all(&packet(kind, body)).await.unwrap();
    }

    async fn tell(&mut self, watermark: &Watermark) {
        let topic = b"ack";
        let mut body = vec![0, u8::try_from(topic.len()).unwrap()];
        body.extend(topic);
        body.push(0);
        body.extend(serde_json::to_vec(watermark).unwrap());
        self.write(0x30, &body).await;
    }

    /// The next batch, with its packet id and the size of its packet. The status is acknowledged on the way.
    async fn batch(&mut self) -> (u16, Batch, usize) {
        loop {
            let packet = self.read().await;
            if packet.kind >> 4 != 3 {
                continue;
            }
            let (topic, id, payload) = publish(&packet);
            if topic.ends_with("/status") {
                self.acknowledge(id, 0).await;
                continue;
            }
            let (header, body) = Batch::decode_header(payload).unwrap();
            return (id, Batch::decode_body(header, body).unwrap(), packet.body.len() + 3);
        }
    }

    async fn acknowledge(&mut self, id: u16, reason: u8) {
        let [high, low] = id.to_be_bytes();
        self.write(0x40, &[high, low, reason, 0]).await;
    }
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    let mut length = body.len();
    while length >= 0x80 {
        bytes.push(u8::try_from(length % 0x80).unwrap() | 0x80);
        length /= 0x80;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend(body);
    bytes
}

fn publish(packet: &Packet) -> (String, u16, &[u8]) {
    let body = &packet.body[..];
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
    let rest = &body[2 + length..];
    let id = u16::from_be_bytes([rest[0], rest[1]]);
    assert!(rest[2] < 0x80, "few properties");
    (topic, id, &rest[3 + usize::from(rest[2])..])
}

fn gateway() -> Gateway {
    let (tenant, store) = (TenantId::new("acme").unwrap(), StoreId::new("paris-1").unwrap());
    Gateway { tenant, store, gateway: GatewayId::new("gw-1").unwrap() }
}

fn event(seq: u64) -> Event {
    let reader = ReaderId::new("rail-a").unwrap();
    let what = What::Coverage(Coverage { reader, state: ReaderState::Listening, from: Uptime(seq) });
    Event { boot: BootId(1), at: Uptime(seq * 1_000), confidence: 100, what }
}

fn state(next: u64) -> State {
    let (settled, lineage) = (SeqSet::default(), Lineage::default());
    let (oldest_held, next) = (Seq(1), Seq(next));
    State {
        epochs: vec![EpochState { epoch: EPOCH, oldest_held, next, settled, lost: 0, lineage }],
        waiting: next.0 - 1,
        held: next.0 - 1,
        live_bytes: 0,
        disk_bytes: 0,
        percent: 0,
        lost: 0,
        oldest_at: None,
        fault: None,
    }
}

fn settled(to: u64) -> Watermark {
    let set = SeqSet::from(vec![SeqRange::new(1, to)]);
    let mark = EpochMark::of(EPOCH, &set, Seq(to), Lineage::default());
    Watermark { v: 1, epochs: vec![mark], unreadable: Vec::new() }
}

fn nothing_settled() -> Watermark {
    Watermark { v: 1, epochs: Vec::new(), unreadable: Vec::new() }
}

/// A running uplink with a spool that holds every event up to what its state says.
struct Bench {
    listener: TcpListener,
    state: watch::Sender<State>,
    requests: mpsc::Receiver<Request>,
    finish: CancellationToken,
    uplink: tokio::task::JoinHandle<()>,
}

impl Bench {
    async fn new(events: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mqtt = Mqtt {
            host: "127.0.0.1".into(),
            port: listener.local_addr().unwrap().port(),
            user: None,
            password_file: None,
            keep_alive_s: 5,
            backlog_share: 75,
            max_kib_per_s: None,
        };
        let (state, watch) = watch::channel(state(events + 1));
        let (spool, requests) = mpsc::channel(8);
        let finish = CancellationToken::new();
        let settled_by = SettledBy::Central;
        let settings = Settings { gateway: gateway(), boot: BootId(1), mqtt, settled_by };
        let health = Health::new(std::iter::empty());
        let uplink = Uplink::new(settings, watch, spool, health, finish.clone());
        let uplink = tokio::spawn(uplink.run());
        Self { listener, state, requests, finish, uplink }
    }

    /// Answers the spool's requests until one is a watermark that settles so many events.
    async fn serve_until(mut requests: mpsc::Receiver<Request>, count: u64) -> mpsc::Receiver<Request> {
        loop {
            match timeout(PATIENCE, requests.recv()).await.unwrap().expect("the uplink lives") {
                Request::Settle { settled, .. } if settled.len() == count => return requests,
                request => answer(request),
            }
        }
    }
}

fn answer(request: Request) {
    if let Request::Read { epoch, range, reply, .. } = request {
        let held = Held {
            epoch,
            first: (!range.is_empty()).then_some(range.first),
            events: Events::Plain((range.first.0..=range.last.0).map(event).collect()),
            anchors: Vec::new(),
            lost: Vec::new(),
            lineage: Lineage::default(),
            oldest_held: Seq(1),
        };
        let _ = reply.send(vec![held]);
    }
}

#[tokio::test]
async fn batches_are_no_larger_than_the_broker_says() {
    let bench = Bench::new(600).await;
    let spool = tokio::spawn(Bench::serve_until(bench.requests, 600));
    // Maximum packet size 1,000.
    let mut peer = Peer::greet(&bench.listener, &[0x27, 0, 0, 3, 232], &nothing_settled()).await;
    let mut next = 1;
    while next <= 600 {
        let (id, batch, size) = peer.batch().await;
        assert!(size <= 1_000, "{size}");
        assert_eq!(batch.header.first, Seq(next));
        assert!(batch.header.replayed, "it waited for the connection");
        next += batch.events.len() as u64;
        peer.acknowledge(id, 0).await;
        peer.tell(&settled(next - 1)).await;
    }
    spool.await.unwrap();
    // What is accepted from here on is live, and the end waits until it is taken.
    let _ = bench.state.send(state(602));
}

#[tokio::test]
async fn the_backlog_leaves_places_of_what_the_broker_takes() {
    let bench = Bench::new(256 * 21).await;
    let spool = tokio::spawn(Bench::serve_until(bench.requests, 256 * 21));
    // Receive maximum 5: one place is the status's, and one is kept for live events.
    let mut peer = Peer::greet(&bench.listener, &[0x21, 0, 5], &nothing_settled()).await;
    for round in 0..7 {
        let mut ids = Vec::new();
        for n in 0..3 {
            let (id, batch, _) = peer.batch().await;
            assert_eq!(batch.header.first, Seq(256 * (3 * round + n) + 1));
            ids.push(id);
        }
        if round == 3 {
            let _ = bench.state.send(state(256 * 22 + 1));
            let (id, batch, _) = peer.batch().await;
            assert_eq!((batch.header.first, batch.header.replayed), (Seq(256 * 21 + 1), false));
            ids.push(id);
        }
        for id in ids {
            peer.acknowledge(id, 0).await;
        }
    }
    peer.tell(&settled(256 * 21)).await;
    spool.await.unwrap();
}

#[tokio::test]
async fn the_end_waits_until_live_events_are_taken() {
    let mut bench = Bench::new(0).await;
    let mut peer = Peer::greet(&bench.listener, &[], &nothing_settled()).await;
    // The status tells that it is ready.
    let packet = peer.read().await;
    let (topic, id, _) = publish(&packet);
    assert!(topic.ends_with("/status"));
    peer.acknowledge(id, 0).await;
    let _ = bench.state.send(state(4));
    bench.finish.cancel();
    answer(timeout(PATIENCE, bench.requests.recv()).await.unwrap().unwrap());
    let (id, batch, _) = peer.batch().await;
    assert_eq!((batch.events.len(), batch.header.replayed), (3, false));
    peer.acknowledge(id, 0).await;
    let goodbye = peer.read().await;
    assert!(publish(&goodbye).0.ends_with("/status"));
    assert_eq!(peer.read().await.kind >> 4, 14, "DISCONNECT");
    drop(peer);
    timeout(PATIENCE, bench.uplink).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_spool_that_is_stuck_costs_no_connection() {
    let mut bench = Bench::new(10).await;
    let mut peer = Peer::greet(&bench.listener, &[], &nothing_settled()).await;
    let Some(Request::Read { epoch, range, ahead, reply }) = bench.requests.recv().await else {
        panic!("a question")
    };
    // It does not answer. The keep alive goes on: nothing else waits for it.
    while peer.read().await.kind >> 4 != 12 {}
    peer.write(0xd0, &[]).await;
    for to in [1, 2, 3] {
        peer.tell(&settled(to)).await;
    }
    answer(Request::Read { epoch, range, ahead, reply });
    let spool = tokio::spawn(Bench::serve_until(bench.requests, 10));
    let (id, batch, _) = peer.batch().await;
    assert_eq!(batch.header.range().last, Seq(10));
    peer.acknowledge(id, 0).await;
    peer.tell(&settled(10)).await;
    spool.await.unwrap();
}

#[tokio::test]
async fn a_broker_that_never_answers_the_subscription_is_left() {
    let bench = Bench::new(10).await;
    let mut peer = Peer::accept(&bench.listener, &[]).await;
    // Pings are answered: but for the subscription it would be kept for ever.
    let left = async {
        while let Some(packet) = peer.next().await {
            match packet.kind >> 4 {
                8 => {}
                12 => peer.write(0xd0, &[]).await,
                kind => panic!("{kind}: nothing is sent before watermarks can come"),
            }
        }
    };
    timeout(PATIENCE, left).await.expect("it is left");
    // And tried again.
    Peer::greet(&bench.listener, &[], &nothing_settled()).await;
}

#[tokio::test]
async fn a_refused_batch_is_sent_again_on_another_connection() {
    let bench = Bench::new(10).await;
    let spool = tokio::spawn(Bench::serve_until(bench.requests, 10));
    let mut peer = Peer::greet(&bench.listener, &[], &nothing_settled()).await;
    let (id, ..) = peer.batch().await;
    peer.acknowledge(id, 0x87).await;
    let mut peer = Peer::greet(&bench.listener, &[], &nothing_settled()).await;
    let (id, batch, _) = peer.batch().await;
    assert_eq!((batch.header.first, batch.events.len(), batch.header.replayed), (Seq(1), 10, true));
    peer.acknowledge(id, 0).await;
    peer.tell(&settled(10)).await;
    spool.await.unwrap();
}

#[tokio::test]
async fn the_uplink_ends_when_the_spool_has() {
    let bench = Bench::new(10).await;
    let _peer = Peer::greet(&bench.listener, &[], &nothing_settled()).await;
    drop((bench.state, bench.requests));
    timeout(PATIENCE, bench.uplink).await.unwrap().unwrap();
}

/// A connection without an uplink: the link, the wire, the peer.
async fn connected(properties: &[u8]) -> (Link, Wire, Peer, Terms) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (client_id, will) = ("hangtag.test".into(), ("status".into(), Vec::new()));
    let keep_alive = Duration::from_secs(5);
    let address = Address { client_id, host: "127.0.0.1", port, login: None, keep_alive, will };
    let (mut link, mut wire) = mqtt::open(address);
    let (peer, news) = tokio::join!(Peer::accept(&listener, properties), wire.next());
    let Heard::Connected(terms) = link.handle(news.unwrap()).unwrap() else { panic!("CONNACK") };
    (link, wire, peer, terms)
}

/// Numbers for batches.
fn numbers() -> impl FnMut() -> BatchId {
    let (empty, lineage) = (SeqSet::default(), Lineage::default());
    let (epoch, oldest_held, next) = (EPOCH, Seq(1), Seq(1_000_000));
    let view = View { epoch, oldest_held, next, settled: &empty, lost: 0, lineage: &lineage };
    let settings = CoreSettings { backlog_percent: 75, bytes_per_s: None, settled_by: SettledBy::Central };
    let mut core = hangtag_agent_core::uplink::Uplink::new(settings, [view]);
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
    let (client_id, will) = ("hangtag.test".into(), ("status".into(), Vec::new()));
    let keep_alive = Duration::from_secs(5);
    let address = Address { client_id, host: "127.0.0.1", port, login: None, keep_alive, will };
    let (mut link, mut wire) = mqtt::open(address);
    let (_peer, news) = tokio::join!(Peer::accept(&listener, &[0x24, 0]), wire.next());
    assert_eq!(link.handle(news.unwrap()).unwrap_err().cause, Cause::Broker);
}

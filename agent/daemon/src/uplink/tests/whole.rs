//! A running uplink, with a spool that holds every event up to what its state says.

use hangtag_agent_core::uplink::SettledBy;
use hangtag_protocol::clock::{BootId, Uptime};
use hangtag_protocol::event::{Coverage, Event, ReaderState, What};
use hangtag_protocol::id::{GatewayId, ReaderId, Seq, StoreId, TenantId};
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::range::{SeqRange, SeqSet};
use hangtag_protocol::topic::Gateway;
use hangtag_protocol::watermark::{EpochMark, Watermark};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::{Settings, Uplink};
use super::{EPOCH, PATIENCE, Peer, publish};
use crate::config::Mqtt;
use crate::health::Health;
use crate::spool::{EpochState, Events, Held, Request, State, Tally};

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
        kept_percent: 0,
        lost: 0,
        oldest_at: None,
        fault: None,
        tally: Tally::default(),
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
            tls: None,
            renew: None,
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
        let heart = hangtag_service::Life::begin().heart("uplink");
        let uplink = Uplink::new(settings, watch, spool, health, finish.clone(), heart);
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

#[tokio::test]
async fn an_event_that_the_broker_hangs_up_on_is_found_within_the_minute() {
    const POISON: Seq = Seq(300);
    let Bench { listener, state: _state, mut requests, uplink: _uplink, .. } = Bench::new(600).await;
    let spool = tokio::spawn(async move {
        loop {
            match requests.recv().await.expect("the uplink lives") {
                Request::SetAside { range, .. } => return range,
                request => answer(request),
            }
        }
    });
    let broker = tokio::spawn(async move {
        loop {
            let mut peer = Peer::greet(&listener, &[], &nothing_settled()).await;
            loop {
                let (id, batch, _) = peer.batch().await;
                if batch.header.range().first <= POISON && POISON <= batch.header.range().last {
                    break;
                }
                peer.acknowledge(id, 0).await;
            }
        }
    });
    let aside = timeout(PATIENCE, spool).await.expect("the pauses stay short").unwrap();
    assert_eq!(aside, SeqRange { first: POISON, last: POISON });
    broker.abort();
}

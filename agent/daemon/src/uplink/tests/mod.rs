//! The uplink against a scripted peer that speaks a few packets of MQTT 5, and a spool in memory.

mod whole;
mod wire;

use std::time::Duration;

use hangtag_protocol::batch::Batch;
use hangtag_protocol::id::Epoch;
use hangtag_protocol::watermark::Watermark;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

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

//! How the node hears that the gateway knows how the runs before this one ended.

use super::*;
use hangtag_protocol::link::message::MAX_WORDS;

const NOW: Uptime = Uptime(10);

fn node<const SENT: usize>() -> Node<SENT, 512, 4> {
    let identity =
        Identity { node: NodeId(9), firmware: Firmware::default(), reason: BootReason::Panic, boot: BOOT };
    Node::new(identity, None, Uptime(0))
}

fn ended(boot: u32, words: &str) -> Ended<'_> {
    Ended { boot, reason: BootReason::Panic, reads: 70, uptime: Uptime(5_000), forgotten: 0, words }
}

/// The gateway acknowledges, and of what it is sent then takes the numbered frames.
fn acknowledge<const SENT: usize>(
    node: &mut Node<SENT, 512, 4>,
    boot: u32,
    (durable, received): (u32, u32),
) -> Vec<(u32, u32)> {
    let ack = Ack { durable, received, window: 8, gap: false };
    node.handle_gateway(&Frame::of(Kind::Ack, boot, 0, &ack), NOW);
    let mut told = Vec::new();
    while let Some(wire) = node.poll_gateway(NOW) {
        Deframer::new().handle_bytes(&wire, |frame| {
            let frame = frame.unwrap();
            if Kind::of(frame.kind) == Some(Kind::Ended) {
                told.push((frame.number, frame.message::<Ended<'_>>().unwrap().boot));
            }
        });
    }
    told
}

#[test]
fn a_node_that_was_given_no_past_has_told_all_of_it() {
    let mut node = node::<1_024>();
    assert!(node.is_past_durable());
    acknowledge(&mut node, BOOT, (1, 1));
    assert!(node.is_past_durable());
}

#[test]
fn a_past_is_durable_when_all_of_it_is_and_not_when_it_was_received() {
    let mut node = node::<1_024>();
    for boot in [5, 6] {
        node.handle_ended(&ended(boot, "the words"));
        assert!(!node.is_past_durable());
    }
    assert_eq!(acknowledge(&mut node, BOOT, (1, 1)), [(1, 5), (2, 6)], "before everything else");
    for (of, ack) in [(BOOT, (1, 3)), (BOOT + 1, (3, 3)), (BOOT, (2, 3))] {
        assert_eq!(acknowledge(&mut node, of, ack), []);
        assert!(!node.is_past_durable(), "{of:x} {ack:?}");
    }
    acknowledge(&mut node, BOOT, (3, 3));
    assert!(node.is_past_durable());
    node.handle_told(&Told::Configured(Configured { id: 1, outcome: Outcome::Taken }), NOW);
    acknowledge(&mut node, BOOT, (3, 3));
    assert!(node.is_past_durable(), "what this run tells is not its past");
}

/// Or it would be forgotten, and nobody would ever know of it.
#[test]
fn what_had_no_room_is_not_durable_whatever_else_is() {
    let long = "x".repeat(MAX_WORDS);
    let mut node = node::<256>();
    for boot in [5, 6, 7] {
        node.handle_ended(&ended(boot, &long));
    }
    node.handle_ended(&ended(8, ""));
    assert_eq!(acknowledge(&mut node, BOOT, (1, 1)), [(1, 5), (2, 6), (3, 8)], "the third has no room");
    acknowledge(&mut node, BOOT, (4, 4));
    assert!(!node.is_past_durable());
}

//! What the broker is owed. Enters: messages that came, and what the writer settled. Leaves: which messages
//! to acknowledge and which watermarks to publish, and when. A message is acknowledged once, after it is
//! stored, and after those that came before it: MQTT wants acknowledgements in order, whatever the order
//! in which the writer stores.

use std::collections::BTreeMap;
use std::time::Duration;

use hangtag_protocol::topic::Gateway;
use tokio::time::Instant;

use crate::store::Delivery;

/// A gateway is told its watermark at most this often.
pub(crate) const MARK_EVERY: Duration = Duration::from_millis(50);

/// The messages of one connection that are not acknowledged.
#[derive(Debug)]
pub(crate) struct Acks<P> {
    /// Whether they are stored.
    waiting: BTreeMap<Delivery, (P, bool)>,
}

impl<P> Acks<P> {
    /// Nothing came yet.
    pub(crate) fn new() -> Self {
        Self { waiting: BTreeMap::new() }
    }

    /// A message came. Deliveries are numbered in the order in which they come.
    pub(crate) fn came(&mut self, delivery: Delivery, message: P) {
        self.waiting.insert(delivery, (message, false));
    }

    /// A message is stored. One of an earlier connection is of no concern: the broker sends it again, and
    /// then it is a duplicate.
    pub(crate) fn stored(&mut self, delivery: Delivery) {
        if let Some((_, stored)) = self.waiting.get_mut(&delivery) {
            *stored = true;
        }
    }

    /// The message to acknowledge next.
    pub(crate) fn due(&self) -> Option<&P> {
        self.waiting.first_key_value().and_then(|(_, (message, stored))| stored.then_some(message))
    }

    /// The message that was due is acknowledged.
    pub(crate) fn acknowledged(&mut self) {
        self.waiting.pop_first();
    }
}

/// The watermarks of all gateways.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    of: BTreeMap<Gateway, Mark>,
}

#[derive(Debug)]
struct Mark {
    due: Option<String>,
    told: Option<Instant>,
}

impl Marks {
    /// A gateway's watermark is this; what was not told yet need not be told any more.
    pub(crate) fn set(&mut self, gateway: Gateway, json: String) {
        self.of.entry(gateway).or_insert(Mark { due: None, told: None }).due = Some(json);
    }

    /// A watermark that is to be published.
    pub(crate) fn due(&self, now: Instant) -> Option<(Gateway, &str)> {
        let due =
            |(gateway, mark): (&Gateway, &'_ Mark)| mark.at(now).filter(|at| *at <= now).map(|_| *gateway);
        let gateway = self.of.iter().find_map(due)?;
        Some((gateway, self.of.get(&gateway)?.due.as_deref()?))
    }

    /// The watermark that was due is published.
    pub(crate) fn told(&mut self, gateway: &Gateway, now: Instant) {
        if let Some(mark) = self.of.get_mut(gateway) {
            *mark = Mark { due: None, told: Some(now) };
        }
    }

    /// When the next one is due.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        self.of.values().filter_map(|mark| mark.at(now)).min()
    }

    /// Whether everything is told.
    pub(crate) fn is_empty(&self) -> bool {
        self.of.values().all(|mark| mark.due.is_none())
    }
}

impl Mark {
    fn at(&self, now: Instant) -> Option<Instant> {
        self.due.as_ref().map(|_| self.told.map_or(now, |told| told + MARK_EVERY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::gateway;
    use hangtag_protocol::id::GatewayId;

    #[test]
    fn only_what_is_stored_is_acknowledged_and_in_order() {
        let mut acks = Acks::new();
        (1..=4).for_each(|n| acks.came(Delivery(n), n));
        acks.stored(Delivery(2));
        acks.stored(Delivery(4));
        assert_eq!(acks.due(), None, "the first is not stored");
        acks.stored(Delivery(1));
        let mut sent = Vec::new();
        while let Some(message) = acks.due().copied() {
            sent.push(message);
            acks.acknowledged();
        }
        assert_eq!(sent, [1, 2]);
        acks.stored(Delivery(1));
        assert_eq!(acks.due(), None, "nothing is acknowledged twice");
        acks.stored(Delivery(3));
        assert_eq!(acks.due(), Some(&3));
    }

    #[test]
    fn what_an_earlier_connection_brought_is_not_acknowledged() {
        let mut acks = Acks::new();
        acks.came(Delivery(7), ());
        acks.stored(Delivery(3));
        assert_eq!(acks.due(), None);
    }

    #[test]
    fn a_gateway_is_told_the_latest_and_not_too_often() {
        let mut marks = Marks::default();
        let other = Gateway { gateway: GatewayId::new("gw-2").unwrap(), ..gateway() };
        let now = Instant::now();
        assert_eq!((marks.due(now), marks.next(now)), (None, None));
        marks.set(gateway(), "1".into());
        marks.set(gateway(), "2".into());
        assert_eq!(marks.due(now), Some((gateway(), "2")));
        marks.told(&gateway(), now);
        assert!(marks.is_empty());
        marks.set(gateway(), "3".into());
        marks.set(other, "a".into());
        assert_eq!(marks.due(now), Some((other, "a")), "one does not wait for the other");
        marks.told(&other, now);
        assert_eq!((marks.due(now), marks.next(now)), (None, Some(now + MARK_EVERY)));
        marks.set(gateway(), "4".into());
        assert_eq!(marks.due(now + MARK_EVERY), Some((gateway(), "4")));
    }
}

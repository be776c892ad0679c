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

/// So long after a gateway was told its watermark, whoever is not alone looks whether that still holds.
const CHECK_AFTER: Duration = Duration::from_secs(2);
/// The most watermarks that are looked at in one go: what is to be stored waits.
const CHECKS: usize = 32;

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
///
/// Where several processes store for the same gateways, one may read a watermark, stand still, and publish it after
/// another has published a later one. So each looks at what it told once more after a while, and tells again what
/// does not hold any more: the last word on a gateway is followed by a look of whoever said it.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    of: BTreeMap<Gateway, Mark>,
    has_others: bool,
}

#[derive(Debug, Default)]
struct Mark {
    due: Option<String>,
    told: Option<Instant>,
    /// What was told last, and when that is looked at again; only beside others.
    last: Option<String>,
    check: Option<Instant>,
}

impl Marks {
    /// Those of a process that is not the only one.
    pub(crate) fn among_others() -> Self {
        Self { has_others: true, ..Self::default() }
    }

    /// A gateway's watermark is this; what was not told yet need not be told any more.
    pub(crate) fn set(&mut self, gateway: Gateway, json: String) {
        self.of.entry(gateway).or_default().due = Some(json);
    }

    /// A gateway's watermark turned out to be this. It is told when it was told otherwise.
    pub(crate) fn checked(&mut self, gateway: Gateway, json: String) {
        let mark = self.of.entry(gateway).or_default();
        if mark.due.is_none() && mark.last.as_ref() != Some(&json) {
            mark.due = Some(json);
        }
    }

    /// Some of the gateways whose watermark should be looked at; each is named once.
    pub(crate) fn doubtful(&mut self, now: Instant) -> Vec<Gateway> {
        let doubtful = self.of.iter_mut().filter(|(_, mark)| mark.check.is_some_and(|at| at <= now));
        let named = doubtful.take(CHECKS).map(|(gateway, mark)| {
            mark.check = None;
            *gateway
        });
        named.collect()
    }

    /// These are to be looked at then.
    pub(crate) fn check_at(&mut self, gateways: &[Gateway], at: Instant) {
        for gateway in gateways {
            self.of.entry(*gateway).or_default().check = Some(at);
        }
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
            let last = mark.due.take().filter(|_| self.has_others);
            let check = self.has_others.then(|| now + CHECK_AFTER);
            *mark = Mark { due: None, told: Some(now), last, check };
        }
    }

    /// When the next one is due, or to be looked at.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        self.of.values().flat_map(|mark| [mark.at(now), mark.check]).flatten().min()
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

    #[test]
    fn who_is_not_alone_looks_again_at_what_it_told() {
        let mut marks = Marks::among_others();
        let now = Instant::now();
        marks.set(gateway(), "1".into());
        assert_eq!(marks.doubtful(now), []);
        assert_eq!(marks.due(now), Some((gateway(), "1")));
        marks.told(&gateway(), now);
        assert_eq!(marks.next(now), Some(now + CHECK_AFTER));
        let later = now + CHECK_AFTER;
        assert_eq!(marks.doubtful(later), [gateway()]);
        assert_eq!((marks.doubtful(later), marks.next(later)), (vec![], None), "once");
        marks.checked(gateway(), "1".into());
        assert_eq!(marks.due(later), None, "it still holds");
        marks.check_at(&[gateway()], later);
        assert_eq!(marks.doubtful(later), [gateway()]);
        marks.checked(gateway(), "2".into());
        assert_eq!(marks.due(later), Some((gateway(), "2")));
        marks.told(&gateway(), later);
        assert_eq!(marks.next(later), Some(later + CHECK_AFTER), "until it holds");
        let mut alone = Marks::default();
        alone.set(gateway(), "1".into());
        alone.told(&gateway(), now);
        assert_eq!(alone.next(now), None);
    }
}

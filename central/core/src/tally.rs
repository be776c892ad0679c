//! What a day's events add up to. Enters: the events about garments, oldest first, without the
//! retracted ones, and scans. Leaves: counts per product, per zone and per hour, of the same events.
//!
//! A try-on is a distinct pair of visit and tag: a garment put on twice in one visit is tried once.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::{Epc, Gtin};
use hangtag_protocol::event::Kind;
use hangtag_protocol::id::{Epoch, GatewayId, Seq, ZoneId};

use crate::measures::{self, Share};

/// One stay in one booth: the event that opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Visit {
    /// The gateway.
    pub gateway: GatewayId,
    /// Its spool's life.
    pub epoch: Epoch,
    /// The number of the event.
    pub opened_by: Seq,
}

/// One event about a garment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handled {
    /// When.
    pub at: UnixMillis,
    /// What happened.
    pub kind: Kind,
    /// The tag.
    pub epc: Epc,
    /// Where.
    pub zone: ZoneId,
    /// In which visit, for events in a booth.
    pub visit: Option<Visit>,
    /// How long the state that ended had lasted, in tenths of a second.
    pub dwell_ds: u16,
}

/// How often each thing happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Garments taken from a rail or shelf.
    pub picked_up: u64,
    /// Garments put on a rail or shelf again.
    pub put_down: u64,
    /// Garments brought into a booth.
    pub carried_in: u64,
    /// Distinct pairs of visit and garment that were tried on.
    pub tried_on: u64,
}

/// A code that was scanned. Whose a loyalty code is plays no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// Where.
    pub zone: ZoneId,
    /// In which visit, if one was open.
    pub visit: Option<Visit>,
    /// Whether it was a product's; else it was a shopper's.
    pub is_product: bool,
}

/// What a tag stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Article {
    /// A trade item.
    Product(Gtin),
    /// The tag is no SGTIN.
    Unknown,
}

/// What happened in one zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// The counts.
    pub counts: Counts,
    /// Loyalty codes that were scanned.
    pub loyalty_scans: u64,
    /// Codes of products that were.
    pub product_scans: u64,
    visits: BTreeSet<Visit>,
    dwells: Vec<u32>,
}

impl Zone {
    /// Distinct visits.
    #[must_use]
    pub fn visits(&self) -> usize {
        self.visits.len()
    }

    /// Median time from carried in to carried out, in tenths of a second.
    #[must_use]
    pub fn median_dwell_ds(&self) -> Option<u32> {
        measures::median(&mut self.dwells.clone())
    }
}

/// A day's sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Of everything.
    pub total: Counts,
    /// Per trade item.
    pub products: BTreeMap<Article, Counts>,
    /// Distinct tags that are no SGTIN.
    pub unknown_tags: BTreeSet<Epc>,
    /// Per zone.
    pub zones: BTreeMap<ZoneId, Zone>,
    /// Per hour, as many as there are starts of hours.
    pub hours: Vec<Counts>,
    starts: Vec<UnixMillis>,
    picked: BTreeSet<Epc>,
    picked_then_tried: BTreeSet<Epc>,
    tried: BTreeSet<(Visit, Epc)>,
}

impl Tally {
    /// Begins a day whose hours start at these moments. What is later than the last start is counted
    /// in the last hour; what is earlier than the first is in no hour.
    #[must_use]
    pub fn new(starts: Vec<UnixMillis>) -> Self {
        Self { hours: alloc::vec![Counts::default(); starts.len()], starts, ..Self::default() }
    }

    /// Counts an event. They must come oldest first.
    pub fn add(&mut self, event: &Handled) {
        let count: fn(&mut Counts) -> &mut u64 = match event.kind {
            Kind::PickedUp => {
                self.picked.insert(event.epc);
                |c| &mut c.picked_up
            }
            Kind::PutDown => |c| &mut c.put_down,
            Kind::CarriedIn => {
                self.visit(event);
                |c| &mut c.carried_in
            }
            Kind::TriedOn => {
                self.visit(event);
                if !event.visit.is_some_and(|visit| self.tried.insert((visit, event.epc))) {
                    return;
                }
                if self.picked.contains(&event.epc) {
                    self.picked_then_tried.insert(event.epc);
                }
                |c| &mut c.tried_on
            }
            Kind::CarriedOut => {
                self.visit(event).dwells.push(event.dwell_ds.into());
                return;
            }
            Kind::Retracted | Kind::Coverage | Kind::Scanned => return,
        };
        let article = event.epc.sgtin().map_or(Article::Unknown, |sgtin| Article::Product(sgtin.gtin()));
        if article == Article::Unknown {
            self.unknown_tags.insert(event.epc);
        }
        *count(&mut self.total) += 1;
        *count(self.products.entry(article).or_default()) += 1;
        *count(&mut self.zones.entry(event.zone).or_default().counts) += 1;
        let hour = self.starts.partition_point(|start| *start <= event.at).checked_sub(1);
        if let Some(hour) = hour.and_then(|hour| self.hours.get_mut(hour)) {
            *count(hour) += 1;
        }
    }

    /// Counts a scan. A visit in which something was scanned is a visit.
    pub fn add_scan(&mut self, scan: &Scanned) {
        let zone = self.zones.entry(scan.zone).or_default();
        zone.visits.extend(scan.visit);
        if scan.is_product {
            zone.product_scans += 1;
        } else {
            zone.loyalty_scans += 1;
        }
    }

    /// Of the distinct garments picked up, the share that was tried on later the same day.
    #[must_use]
    pub fn tried_of_picked(&self) -> Option<Share> {
        Share::of(self.picked_then_tried.len() as u64, self.picked.len() as u64)
    }

    /// Distinct visits in all booths.
    #[must_use]
    pub fn visits(&self) -> usize {
        self.zones.values().flat_map(|zone| &zone.visits).collect::<BTreeSet<_>>().len()
    }

    fn visit(&mut self, event: &Handled) -> &mut Zone {
        let zone = self.zones.entry(event.zone).or_default();
        zone.visits.extend(event.visit);
        zone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn handled(at: i64, kind: Kind, epc: &str, zone: &str, visit: Option<u64>) -> Handled {
        Handled {
            at: UnixMillis(at),
            kind,
            epc: Epc::from_hex(epc).unwrap(),
            zone: ZoneId::new(zone).unwrap(),
            visit: visit.map(|opened_by| Visit {
                gateway: GatewayId::new("g").unwrap(),
                epoch: Epoch(1),
                opened_by: Seq(opened_by),
            }),
            dwell_ds: 600,
        }
    }

    const A: &str = "3074257bf7194e4000001a85";
    const OTHER: &str = "e28068900000500e88c6a4a7";

    fn day(events: &[Handled]) -> Tally {
        let mut tally = Tally::new(vec![UnixMillis(0), UnixMillis(100)]);
        events.iter().for_each(|event| tally.add(event));
        tally
    }

    #[test]
    fn twice_in_one_visit_is_one_try_on_and_in_two_visits_two() {
        let tally = day(&[
            handled(1, Kind::TriedOn, A, "booth-1", Some(1)),
            handled(2, Kind::TriedOn, A, "booth-1", Some(1)),
            handled(100, Kind::TriedOn, A, "booth-1", Some(9)),
        ]);
        assert_eq!(tally.total.tried_on, 2);
        assert_eq!(tally.hours.iter().map(|h| h.tried_on).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(tally.visits(), 2);
    }

    #[test]
    fn products_zones_and_hours_add_up_to_the_total() {
        let tally = day(&[
            handled(0, Kind::PickedUp, A, "rail", None),
            handled(1, Kind::PickedUp, OTHER, "rail", None),
            handled(2, Kind::PutDown, OTHER, "shelf", None),
            handled(99, Kind::CarriedIn, A, "booth-1", Some(4)),
            handled(150, Kind::CarriedOut, A, "booth-1", Some(4)),
        ]);
        let expected = Counts { picked_up: 2, put_down: 1, carried_in: 1, tried_on: 0 };
        let sum = |counts: &mut dyn Iterator<Item = Counts>| {
            counts.fold(Counts::default(), |a, b| Counts {
                picked_up: a.picked_up + b.picked_up,
                put_down: a.put_down + b.put_down,
                carried_in: a.carried_in + b.carried_in,
                tried_on: a.tried_on + b.tried_on,
            })
        };
        assert_eq!(tally.total, expected);
        assert_eq!(sum(&mut tally.products.values().copied()), expected);
        assert_eq!(sum(&mut tally.zones.values().map(|z| z.counts)), expected);
        assert_eq!(sum(&mut tally.hours.iter().copied()), expected);
        assert_eq!(tally.unknown_tags.len(), 1);
        assert_eq!(tally.zones[&ZoneId::new("booth-1").unwrap()].median_dwell_ds(), Some(600));
    }

    #[test]
    fn scans_are_counted_where_they_were_and_are_no_handling() {
        let visit = handled(1, Kind::CarriedIn, A, "booth-1", Some(1)).visit;
        let zone = |name| ZoneId::new(name).unwrap();
        let mut tally = day(&[handled(1, Kind::CarriedIn, A, "booth-1", Some(1))]);
        let before = tally.total;
        for (zone, visit, is_product) in
            [(zone("booth-1"), visit, false), (zone("booth-1"), visit, false), (zone("till"), None, true)]
        {
            tally.add_scan(&Scanned { zone, visit, is_product });
        }
        let scans = |name| {
            let zone = &tally.zones[&zone(name)];
            (zone.visits(), zone.loyalty_scans, zone.product_scans)
        };
        assert_eq!((scans("booth-1"), scans("till")), ((1, 2, 0), (0, 0, 1)));
        assert_eq!((tally.total, tally.visits()), (before, 1));
    }

    #[test]
    fn only_a_try_on_after_the_pick_up_converts_it() {
        let tally = day(&[
            handled(0, Kind::TriedOn, A, "booth-1", Some(1)),
            handled(1, Kind::PickedUp, A, "rail", None),
            handled(2, Kind::PickedUp, OTHER, "rail", None),
            handled(3, Kind::TriedOn, OTHER, "booth-1", Some(8)),
        ]);
        let share = tally.tried_of_picked().unwrap();
        assert_eq!((share.part, share.whole), (1, 2));
    }
}

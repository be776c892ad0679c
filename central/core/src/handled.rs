//! What is counted. Enters: nothing; these are the types in which the store hands events over. Leaves: an
//! event about a garment, a scan, and what a tag stands for.

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::{Epc, Gtin};
use hangtag_protocol::event::Kind;
use hangtag_protocol::id::{Epoch, GatewayId, Seq, ZoneId};
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

/// A map that keeps the order in which keys came, with a fast hash: its keys are not chosen by an attacker.
pub type Map<K, V> = IndexMap<K, V, FxBuildHasher>;

/// One stay in one booth: the event that opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// A code that was scanned. Whose a loyalty code is plays no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// When.
    pub at: UnixMillis,
    /// Where.
    pub zone: ZoneId,
    /// In which visit, if one was open.
    pub visit: Option<Visit>,
    /// Whether it was a product's; else it was a shopper's.
    pub is_product: bool,
}

/// What a tag stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Article {
    /// A trade item.
    Product(Gtin),
    /// The tag is no SGTIN.
    Unknown,
}

impl Article {
    /// What a tag stands for.
    #[must_use]
    pub fn of(epc: &Epc) -> Self {
        epc.sgtin().map_or(Self::Unknown, |sgtin| Self::Product(sgtin.gtin()))
    }
}

/// How often each thing happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Garments taken from a rail or shelf.
    pub picked_up: u64,
    /// Garments put on a rail or shelf again.
    pub put_down: u64,
    /// Distinct pairs of visit and garment that were brought into a booth.
    pub carried_in: u64,
    /// Distinct pairs of visit and garment that were tried on.
    pub tried_on: u64,
}

impl core::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.picked_up += other.picked_up;
        self.put_down += other.put_down;
        self.carried_in += other.carried_in;
        self.tried_on += other.tried_on;
    }
}

//! The database: SQLite, one writer, readers on their own connections. All SQL is in this folder.
//! Enters: MQTT payloads with their topics. Leaves: watermarks, and what the page shows. What was
//! acknowledged is on stable storage: write-ahead log, `synchronous=FULL`.
//!
//! ```text
//! event        one row per event; PRIMARY KEY (store, gateway, epoch, seq)
//!   store, gateway, epoch, seq   the event's id; epoch as 16 hexadecimal digits
//!   boot, uptime                 when, by the gateway's own clock: 16 hexadecimal digits, ms
//!   wall_ms, clock_error         time of day (Unix ms, UTC) derived from anchors and how far off it
//!                                may be (ms; 4294967295 = nobody vouches for it); NULL: no clock yet
//!   kind                         picked_up put_down carried_in tried_on carried_out retracted coverage
//!                                scanned
//!   confidence                   percent
//!   epc, gtin, zone              garment events: tag (hex), GTIN-14 where the tag is an SGTIN, place
//!                                scanned: no tag; the GTIN-14 of a product, none of a loyalty code
//!   visit                        booth events, and scans in a visit: seq of the event that opened it
//!   reads, margin, unrest, dwell evidence: count, dB, percent, tenths of a second
//!   reader, state, since         coverage: listening | silent | absent | off, from uptime `since` to `uptime`
//!   retracts                     retracted: seq of the mistaken event
//!   digest                       CRC-32C of the content, to tell a copy from a conflict
//!   received                     when central got it (Unix ms)
//! loyalty      one row per scanned loyalty code, by the event's id; nothing that it could be read from
//!   key                          the id of the key to which it was sealed, 16 hexadecimal digits
//!   state                        sealed: its key is not there; opened; broken: its key does not open it, or it is damaged
//!   sealed                       as it came, until it is opened
//!   code                         opened: the keyed hash that stands for it, 64 hexadecimal digits
//! epoch        one row per spool life of a gateway: when its first and last batch came (Unix ms)
//!   lineage                      the runs that wrote it, JSON as in the watermark: [[first, run], …]
//!   oldest_held                  the agent said that it holds nothing below; 0 = it said nothing
//! settled      ranges of seq per epoch with their fate: stored | quarantined | lost
//! gap          view: the lost ranges of `settled`, and, with why = unexplained, what lies below
//!              `oldest_held` and is not settled
//! anchor       what the wall clock showed at one uptime of one boot
//! status       the last health message of each gateway, JSON as it came
//! quarantine   payloads that could not be used, whole, with the reason; `times` counts copies
//!   kind                         refused | fork | settled: what became of its numbers
//! dropped      what somebody took out of it for good, when and why, without the payload
//! changed      per shop and hour (Unix hours; the least number for events without a time of day) a random
//!              mark, which is another one after every change of what the hour adds up to
//! sale, stock  what tills told: drawn in `sale.rs`
//! sheet        per shop and hour what counts of its events, packed: drawn in `roll.rs`
//! zone         which zones the shops have: drawn in `zone.rs`
//! feed, feed_head, feed_waiting, feed_sent, lease: where in its shop's feed each event stands, how far that is
//!                              published, and by whom; drawn in `feed.rs`
//! feed_past    which numberings of the feeds were before the present one; drawn in `generation.rs`
//! deleted      per shop and table what was deleted because of its age
//! account, session, token, audit: who may come in, and who did what; drawn in `access.rs`
//! meta         name and value: whose database it is (tenant); what tells the secret that keys `code` from others
//!              (codes); which numbering of the feeds counts, and whether this is a copy (generation, backup);
//!              the highest number that a payload in quarantine had (quarantine; in files only); what decides how
//!              numbers of visits are rounded (rounding); which version sheets are of, and whether zones were noted from
//!              those of before (sheets, zones)
//! ```
//!
//! Times are Unix milliseconds. Numbers fit signed 64 bits because `admit` refuses larger ones; a
//! visit's and a retraction's are kept by their bits.

use hangtag_protocol::id::{StoreId, TenantId};

mod access;
mod address;
mod adopt;
mod append;
mod backlog;
mod backup;
mod changed;
mod clock;
mod db;
mod deleted;
mod epoch;
mod event;
mod fed;
mod feed;
mod feeder;
mod floor;
mod generation;
mod group;
mod idle;
mod lease;
mod loyalty;
mod memory;
mod piece;
mod quarantine;
mod read;
mod release;
mod retention;
mod roll;
mod sale;
mod schema;
mod scratch;
mod secret;
mod sheet;
mod sums;
mod unreadable;
mod work;
mod writer;
mod zone;

use db::{Db, DbError};

pub(crate) use access::{Access, Bearer, Deed, Ends, Entry, Granted, Guest, NewToken, Noted};
pub(crate) use address::Address;
pub(crate) use append::{Message, Options, Store};
pub(crate) use backlog::{Backlog, GatewaySums, QuarantineSum};
pub(crate) use backup::{Copied, back_up, restore, restored};
pub(crate) use db::Word;
pub(crate) use deleted::Deleted;
pub(crate) use epoch::Key;
pub(crate) use fed::Page;
pub(crate) use feeder::Feeder;
pub(crate) use floor::floor;
pub(crate) use group::Forks;
pub(crate) use loyalty::Unopened;
pub(crate) use piece::Hours;
pub(crate) use quarantine::Quarantined;
pub(crate) use read::{Coverage, GatewayHealth, NotRecording, Quality, Reader, Totals};
pub(crate) use release::{Dropped, Replayed};
pub(crate) use retention::{Keeper, Limits};
pub(crate) use roll::{Roller, Verified, verify};
pub(crate) use sale::Taken;
pub(crate) use scratch::Scratch;
pub(crate) use sums::Sums;
pub(crate) use work::Work;
pub(crate) use writer::{Delivery, Failing, Input, Question, Settled, Writer};
pub(crate) use zone::Zone;

/// Why the database did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The file cannot be opened.
    #[error("{}: {why}", .address)]
    Open {
        /// The database.
        address: Address,
        /// The database's reason.
        why: DbError,
    },
    /// A newer program made the schema.
    #[error("{}: has schema version {found}, this program knows up to {}: use the newer program", .address, schema::VERSION)]
    Newer {
        /// The database.
        address: Address,
        /// Its version.
        found: i64,
    },
    /// An older program made the schema, and whoever only reads cannot change it.
    #[error("{}: has schema version {found}, this program reads {}: bring it up to date by running central once", .address, schema::VERSION)]
    Older {
        /// The database.
        address: Address,
        /// Its version.
        found: i64,
    },
    /// The file belongs to another tenant.
    #[error("{}: is the database of tenant {owner:?}, not of {:?}: give each tenant a database of its own", .address, .tenant.as_str())]
    Tenant {
        /// The database.
        address: Address,
        /// Whose it is.
        owner: String,
        /// Who opened it.
        tenant: TenantId,
    },
    /// The numbers that stand for codes were made with another secret.
    #[error("{}: loyalty codes were hashed with another codes.secret than the one in the folder of keys: restore that, or the same shopper would be another", .address)]
    Secret {
        /// The database.
        address: Address,
    },
    /// A statement failed.
    #[error("database: {0}")]
    Statement(#[from] DbError),
    /// A row holds what this program never writes.
    #[error("database: table {table} holds {value:?}, which is not {wanted}")]
    Content {
        /// The table.
        table: &'static str,
        /// The value.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A sheet that is all that is left of its hour cannot be read.
    #[error(
        "database: what is kept of the hour {hour} of store {store} cannot be read, and its events are deleted: use the newer program if one made it, else restore a backup (`hangtag-central verify` lists all such hours)"
    )]
    Sheet {
        /// The shop.
        store: StoreId,
        /// Unix milliseconds divided by those of an hour.
        hour: i64,
    },
    /// This program has a mistake.
    #[error("panicked: {0}")]
    Panicked(String),
}

impl StoreError {
    /// Whether another message would fail alike: the disk, the file or another process is to blame.
    fn is_of_every_message(&self) -> bool {
        match self {
            Self::Open { .. }
            | Self::Newer { .. }
            | Self::Older { .. }
            | Self::Tenant { .. }
            | Self::Secret { .. } => true,
            Self::Content { .. } | Self::Sheet { .. } | Self::Panicked(_) => false,
            Self::Statement(why) => why.is_of_every_message(),
        }
    }
}

/// Opens the database for writing; makes its file and its tables when they are missing.
fn open_to_write(address: &Address, tenant: TenantId) -> Result<Db, StoreError> {
    let mut db =
        Db::open_to_write(address).map_err(|why| StoreError::Open { address: address.clone(), why })?;
    schema::prepare(&mut db, address, tenant)?;
    Ok(db)
}

/// Whether the database, whose file must exist, could be opened for writing: one of a version that is known, of this
/// tenant. Changes nothing.
///
/// # Errors
/// What is in the way.
pub(crate) fn check(address: &Address, tenant: TenantId) -> Result<(), StoreError> {
    let (db, _) =
        Db::open_to_look(address).map_err(|why| StoreError::Open { address: address.clone(), why })?;
    schema::check(&db, address, tenant)
}

/// Opens the database for reading; its tables must exist.
fn open_to_read(address: &Address) -> Result<Db, StoreError> {
    let db = Db::open_to_read(address).map_err(|why| StoreError::Open { address: address.clone(), why })?;
    match schema::version(&db, address)? {
        schema::VERSION => Ok(db),
        found => Err(StoreError::Older { address: address.clone(), found }),
    }
}

#[cfg(test)]
pub(crate) mod tests;

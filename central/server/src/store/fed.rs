//! The feed as others read it. Enters: a shop, and the last place that is known. Leaves: the events after it, in
//! order, each as what is known of it at this moment: a better clock may have come since it was first told.

use std::collections::BTreeMap;

use hangtag_central_core::feed::{Clock, Deed, Fed, Garment, Generation, Retraction, Sequence, Told};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::{Epc, Gtin};
use hangtag_protocol::event::{Evidence, Kind};
use hangtag_protocol::id::{EventId, Seq, StoreId, ZoneId};

use super::db::{Db, Mode, Row, binds};
use super::piece::state;
use super::read::{Reader, content, kind, parse};
use super::{StoreError, generation};

/// A stretch of a shop's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// The events, in order.
    pub events: Vec<Fed>,
    /// The last place that the page reaches: that of its last event, if that is still there.
    pub to: Sequence,
    /// The place of the last event of the whole feed; 0 while there is none.
    pub last: Sequence,
    /// The place of the first event that is still there; one more than `last` when none is.
    pub first: Sequence,
    /// The numbering by which these are places.
    pub generation: Generation,
}

/// Some events of one epoch, and where in the feed they are.
struct Slice {
    id: EventId,
    count: i64,
    sequence: i64,
}

impl Reader {
    /// The events of a shop's feed after a place, at most so many.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn feed(&self, store: StoreId, after: Sequence, limit: u32) -> Result<Page, StoreError> {
        let mut connection = self.reading()?;
        let db = connection.transaction(Mode::Read)?;
        page(&db, store, after, limit)
    }

    /// Up to which place the present numbering of a shop's feed is the one that was known as an earlier generation.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn same_up_to(&self, store: StoreId, known: Generation) -> Result<Sequence, StoreError> {
        generation::same_up_to(&*self.reading()?, store, known)
    }
}

/// The same within a transaction.
pub(super) fn page(db: &Db, store: StoreId, after: Sequence, limit: u32) -> Result<Page, StoreError> {
    let question = "SELECT first, last FROM feed_head WHERE store = ?1";
    let ends = db.first(question, binds![store.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (first, last) =
        ends.map_or((Sequence(1), Sequence(0)), |(first, last)| (Sequence(first), Sequence(last)));
    let generation = generation::current(db)?;
    // Whoever asks for what is deleted gets what is left; whether that is all, `first` tells.
    let after = after.max(Sequence(first.0.saturating_sub(1)));
    let (mut events, mut to) = (Vec::new(), after);
    if after < last {
        for slice in slices(db, store, after.0.cast_signed(), limit.into())? {
            read(db, &slice, &mut events)?;
            to = Sequence((slice.sequence + slice.count - 1).cast_unsigned());
        }
    }
    events.iter_mut().for_each(|event| event.stands_in(generation));
    Ok(Page { events, to, first, last, generation })
}

fn slices(db: &Db, store: StoreId, after: i64, limit: i64) -> Result<Vec<Slice>, StoreError> {
    let question = "SELECT sequence, gateway, epoch, seq, count FROM feed WHERE store = ?1 AND sequence >=
            coalesce((SELECT max(sequence) FROM feed WHERE store = ?1 AND sequence <= ?2), 1)
        ORDER BY sequence LIMIT ?3";
    let (mut slices, mut room) = (Vec::new(), limit);
    db.each(question, binds![store.as_str(), after + 1, limit], |row| {
        let (sequence, seq, count): (i64, i64, i64) = (row.get(0)?, row.get(3)?, row.get(4)?);
        let skipped = (after + 1 - sequence).max(0);
        let count = (count - skipped).min(room);
        if count > 0 {
            room -= count;
            let id = EventId {
                store,
                gateway: parse(row.get(1)?, "a gateway")?,
                epoch: parse(row.get(2)?, "an epoch")?,
                seq: Seq((seq + skipped).cast_unsigned()),
            };
            slices.push(Slice { id, count, sequence: sequence + skipped });
        }
        Ok(())
    })?;
    Ok(slices)
}

const COLUMNS: &str =
    "seq, wall_ms, clock_error, received, kind, confidence, epc, zone, visit, reads, margin, unrest,
    dwell, reader, state, uptime, since, retracts, gtin";

fn read(db: &Db, slice: &Slice, events: &mut Vec<Fed>) -> Result<(), StoreError> {
    let EventId { store, gateway, epoch, seq } = slice.id;
    let first = seq.0.cast_signed();
    let last = first + slice.count - 1;
    let before = events.len();
    let mut retracted = retractions(db, slice, last)?;
    let question = format!(
        "SELECT {COLUMNS} FROM event
         WHERE store = ?1 AND gateway = ?2 AND epoch = ?3 AND seq BETWEEN ?4 AND ?5 ORDER BY seq"
    );
    let of = binds![store.as_str(), gateway.as_str(), epoch.to_string(), first, last];
    db.each(&question, of, |row| {
        let seq: i64 = row.get(0)?;
        events.push(fed(row, slice.id, Sequence((slice.sequence + seq - first).cast_unsigned()))?);
        Ok(())
    })?;
    for event in &mut events[before..] {
        if let Told::Retracted { mistaken, said } = &mut event.what {
            *said = find(db, *mistaken)?.map(Box::new);
        }
        if let Some(by) = retracted.remove(&event.id.seq)
            && sequence_of(db, by.id)?.is_some_and(|stands| stands < event.sequence)
        {
            event.retracted = Some(by);
        }
    }
    if events.len() - before != usize::try_from(slice.count).unwrap_or(0) {
        tracing::error!(%store, %gateway, %epoch, first, last, "events of the feed are not there any more");
    }
    Ok(())
}

/// The first retraction of each of these events that has one.
fn retractions(db: &Db, slice: &Slice, last: i64) -> Result<BTreeMap<Seq, Retraction>, StoreError> {
    let EventId { store, gateway, epoch, seq } = slice.id;
    let question = "SELECT retracts, seq, wall_ms, clock_error, received FROM event
        WHERE store = ?1 AND gateway = ?2 AND epoch = ?3 AND retracts BETWEEN ?4 AND ?5 AND kind = 'retracted'
        ORDER BY seq DESC";
    let of = binds![store.as_str(), gateway.as_str(), epoch.to_string(), seq.0.cast_signed(), last];
    let mut retractions = BTreeMap::new();
    db.each(question, of, |row| {
        let id = EventId { seq: Seq(row.get::<i64>(1)?.cast_unsigned()), ..slice.id };
        let by = Retraction { id, clock: clock(row, 2)?, received: UnixMillis(row.get(4)?) };
        retractions.insert(Seq(row.get::<i64>(0)?.cast_unsigned()), by);
        Ok(())
    })?;
    Ok(retractions)
}

/// An event, unless it is not there or a retraction.
fn find(db: &Db, id: EventId) -> Result<Option<Fed>, StoreError> {
    let question = format!(
        "SELECT {COLUMNS} FROM event WHERE store = ?1 AND gateway = ?2 AND epoch = ?3 AND seq = ?4
           AND kind <> 'retracted'"
    );
    let EventId { store, gateway, epoch, seq } = id;
    let of = binds![store.as_str(), gateway.as_str(), epoch.to_string(), seq.0.cast_signed()];
    db.first(&question, of, |row| fed(row, id, Sequence::default()))
}

fn sequence_of(db: &Db, id: EventId) -> Result<Option<Sequence>, StoreError> {
    let question = "SELECT sequence + (?4 - seq) FROM feed
        WHERE store = ?1 AND gateway = ?2 AND epoch = ?3 AND seq <= ?4 AND seq + count > ?4
        ORDER BY seq DESC LIMIT 1";
    let EventId { store, gateway, epoch, seq } = id;
    let of = binds![store.as_str(), gateway.as_str(), epoch.to_string(), seq.0.cast_signed()];
    db.first(question, of, |row| row.get(0).map(Sequence))
}

fn clock(row: &Row<'_>, from: usize) -> Result<Clock, StoreError> {
    let at: Option<i64> = row.get(from)?;
    let error: Option<u32> = row.get(from + 1)?;
    Ok(Clock::new(at.map(UnixMillis).zip(error)))
}

fn fed(row: &Row<'_>, of: EventId, sequence: Sequence) -> Result<Fed, StoreError> {
    // A visit's and a retraction's numbers are kept by their bits.
    let number = |column: usize| row.get::<Option<i64>>(column).map(|n| n.map(|n| Seq(n.cast_unsigned())));
    let small = |column: usize| -> Result<u8, StoreError> {
        let number: u16 = row.get(column)?;
        number.try_into().map_err(|_| content(&number.to_string(), "a number of 8 bits"))
    };
    let zone = || -> Result<ZoneId, StoreError> { parse(row.get(7)?, "a zone") };
    let beside = |seq| EventId { seq, ..of };
    let kind = kind(row.get(4)?)?;
    let what = match (Deed::new(kind), kind) {
        (Some(deed), _) => {
            let epc: &str = row.get(6)?;
            Told::Garment(Garment {
                deed,
                epc: Epc::from_hex(epc).map_err(|_| content(epc, "an EPC"))?,
                zone: zone()?,
                visit: number(8)?,
                evidence: Evidence {
                    reads: row.get(9)?,
                    margin_db: small(10)?,
                    unrest: small(11)?,
                    dwell_ds: row.get(12)?,
                },
            })
        }
        (None, Kind::Coverage) => Told::Coverage {
            reader: parse(row.get(13)?, "a reader")?,
            state: state(row.get(14)?)?,
            lasted_ms: row.get::<i64>(15)?.saturating_sub(row.get(16)?).max(0).cast_unsigned(),
        },
        (None, Kind::Scanned) => {
            let product = row.get::<Option<&str>>(18)?;
            let product = product.map(|gtin| Gtin::new(gtin).map_err(|_| content(gtin, "a GTIN")));
            Told::Scanned { zone: zone()?, visit: number(8)?, product: product.transpose()? }
        }
        (None, _) => Told::Retracted { mistaken: beside(number(17)?.unwrap_or_default()), said: None },
    };
    Ok(Fed {
        id: beside(number(0)?.unwrap_or_default()),
        sequence,
        generation: Generation::default(),
        clock: clock(row, 1)?,
        received: UnixMillis(row.get(3)?),
        confidence: small(5)?,
        what,
        retracted: None,
    })
}

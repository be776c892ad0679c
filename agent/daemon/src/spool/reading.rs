//! Reading events back. Enters: a range of an epoch. Leaves: the events, with all that a batch tells beside
//! them. What cannot be read is lost, and that is on record before anything else happens with it.

use hangtag_agent_core::spool::epoch::EpochIndex;
use hangtag_agent_core::spool::value::{VALUE_EVENTS, Value, ValueError};
use hangtag_protocol::clock::{BootId, ClockAnchor};
use hangtag_protocol::columns;
use hangtag_protocol::event::Event;
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::Lineage;
use hangtag_protocol::range::SeqRange;
use tracing::{debug, error};

use super::recovery::Opened;
use super::store::{StoreError, guarded};
use super::{Spool, carve, commit};

/// Lost ranges that one batch tells of; the next tells of the next ones.
const LOST_PER_BATCH: usize = 64;
/// Values that are read at once while a backlog drains.
pub(crate) const AHEAD: usize = 64;

/// Events that were read back.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) epoch: Epoch,
    /// The number of the first; `None` when none of the range is held.
    pub(crate) first: Option<Seq>,
    pub(crate) events: Events,
    pub(crate) anchors: Vec<ClockAnchor>,
    /// Lost ranges of the epoch that central may not know of, the lowest ones.
    pub(crate) lost: Vec<SeqRange>,
    pub(crate) lineage: Lineage,
    pub(crate) oldest_held: Seq,
}

/// The events themselves.
#[derive(Debug)]
pub(crate) enum Events {
    /// A whole value, as it is on disk.
    Packed { count: u16, packed: Vec<u8> },
    /// A part of one.
    Plain(Vec<Event>),
}

impl Held {
    /// How many events there are.
    pub(crate) fn count(&self) -> usize {
        match &self.events {
            Events::Packed { count, .. } => (*count).into(),
            Events::Plain(events) => events.len(),
        }
    }

    /// The events, unpacked; none when another program packed them.
    pub(crate) fn into_events(self) -> Vec<Event> {
        match (self.events, self.first) {
            (Events::Plain(events), _) => events,
            (Events::Packed { count, packed }, Some(first)) => {
                columns::unpack(first, count.into(), &packed).unwrap_or_default()
            }
            (Events::Packed { .. }, None) => Vec::new(),
        }
    }

    /// The number of the last event.
    pub(crate) fn last(&self) -> Option<Seq> {
        self.first.map(|first| Seq((first.0 + self.count() as u64).saturating_sub(1)))
    }
}

impl Spool {
    /// The first events of a range that are held, as many as one value has of them; none when none is held.
    /// What is lost is stepped over.
    pub(super) fn read(&mut self, epoch: Epoch, range: SeqRange) -> Result<Held, StoreError> {
        let mut from = range.first;
        while from <= range.last {
            let Some(Opened { store, index, meta, .. }) = &mut self.opened else { return Ok(nothing(epoch)) };
            let Some(held) = index.epoch(epoch) else { return Ok(nothing(epoch)) };
            let Some((key, first)) = held.value_at(from).filter(|(_, first)| *first <= range.last) else {
                break;
            };
            let mut bytes = guarded(|| store.record(key))?.unwrap_or_default();
            let value = match Value::read_as(&bytes, epoch, first) {
                Ok(value) => value,
                Err(why) => {
                    self.lose(epoch, first, &why)?;
                    continue;
                }
            };
            // Events that were set aside are held, and are not to be sent.
            let wanted = SeqRange { first: first.max(from), last: value.range().last.min(range.last) };
            let Some(open) = held.record().lost.missing_in(wanted).first().copied() else {
                from = wanted.last.plus(1);
                continue;
            };
            let boots: Vec<BootId> = value.boots().collect();
            let events = if open == value.range() {
                let (count, before) = (value.count, bytes.len() - value.packed.len());
                bytes.drain(..before);
                Events::Packed { count, packed: bytes }
            } else {
                match value.events() {
                    Ok(events) => Events::Plain(part(events, first, open)),
                    Err(why) => {
                        self.lose(epoch, first, &why)?;
                        continue;
                    }
                }
            };
            return Ok(told(held, &meta.anchors, &boots, Some(open.first), events));
        }
        let Some(Opened { index, meta, .. }) = &self.opened else { return Ok(nothing(epoch)) };
        let Some(held) = index.epoch(epoch) else { return Ok(nothing(epoch)) };
        Ok(told(held, &meta.anchors, &[], None, Events::Plain(Vec::new())))
    }

    /// Reads on after what was read: the next values that are not settled.
    pub(super) fn read_ahead(&mut self, epoch: Epoch, held: &mut Vec<Held>) {
        while held.len() < AHEAD {
            let Some(last) = held.last().and_then(Held::last) else { return };
            let Some(index) = self.opened.as_ref().and_then(|opened| opened.index.epoch(epoch)) else {
                return;
            };
            let rest = SeqRange { first: last.plus(1), last: Seq(index.record().next.0 - 1) };
            let Some(open) = index.record().settled.missing_in(rest).first().copied() else { return };
            let range = SeqRange { last: open.last.min(open.first.plus(VALUE_EVENTS as u64 - 1)), ..open };
            match self.read(epoch, range) {
                Ok(next) if next.first.is_some() => held.push(next),
                // Whoever asks for it is told.
                Ok(_) => return,
                Err(why) => {
                    error!(%why, "cannot read events ahead");
                    return self.broken(&why);
                }
            }
        }
    }

    /// While the store cannot be opened, for want of space or because the disk became read-only, its files
    /// can be read all the same.
    pub(super) fn read_from_files(&mut self, epoch: Epoch, range: SeqRange) -> Option<Held> {
        if self.files.is_none() {
            let look = carve::Carved::look(&[self.folder.spool()]);
            self.files = Some(look.inspect_err(|why| debug!(%why, "the spool's files cannot be read")).ok()?);
        }
        let files = self.files.as_ref()?;
        let meta = files.meta.as_ref()?;
        let record = meta.epochs.iter().find(|record| record.epoch == epoch)?;
        let mut from = range.first;
        loop {
            let bytes = files.value_at(epoch, from)?;
            let value = Value::read(&bytes).ok().filter(|value| value.first <= range.last)?;
            let wanted = SeqRange { first: value.first.max(from), last: value.range().last.min(range.last) };
            let Some(open) = record.lost.missing_in(wanted).first().copied() else {
                from = wanted.last.plus(1);
                continue;
            };
            let boots: Vec<BootId> = value.boots().collect();
            return Some(Held {
                epoch,
                first: Some(open.first),
                anchors: of_boots(&meta.anchors, &boots),
                lost: record.lost.ranges().iter().take(LOST_PER_BATCH).copied().collect(),
                lineage: record.lineage.clone(),
                oldest_held: record.oldest,
                events: Events::Plain(part(value.events().ok()?, value.first, open)),
            });
        }
    }

    /// Takes an unreadable value out, after its loss is on record.
    fn lose(&mut self, epoch: Epoch, first: Seq, why: &ValueError) -> Result<(), StoreError> {
        error!(%epoch, first = first.0, %why, "a value cannot be read back: its events are lost");
        let Some(Opened { store, index, meta, .. }) = &mut self.opened else { return Ok(()) };
        let before = index.lost();
        let puts = index.lose_value(epoch, first).into_iter().collect();
        self.tally.unreadable += index.lost().saturating_sub(before);
        guarded(|| commit(store, index, meta, puts, None))?;
        let removed = index.take_removed();
        guarded(|| store.remove(&removed))
    }
}

/// What was read, with what a batch tells beside it.
fn told(
    held: &EpochIndex,
    anchors: &[ClockAnchor],
    boots: &[BootId],
    first: Option<Seq>,
    events: Events,
) -> Held {
    Held {
        epoch: held.record().epoch,
        first,
        anchors: of_boots(anchors, boots),
        lost: held.untold().into_iter().take(LOST_PER_BATCH).collect(),
        lineage: held.record().lineage.clone(),
        oldest_held: held.oldest_held(),
        events,
    }
}

fn of_boots(anchors: &[ClockAnchor], boots: &[BootId]) -> Vec<ClockAnchor> {
    anchors.iter().filter(|anchor| boots.contains(&anchor.boot)).copied().collect()
}

/// The events of a range that lies within those that begin with `first`.
fn part(mut events: Vec<Event>, first: Seq, range: SeqRange) -> Vec<Event> {
    events.drain(..usize::try_from(range.first.0 - first.0).unwrap_or(usize::MAX).min(events.len()));
    events.truncate(usize::try_from(range.len()).unwrap_or(usize::MAX));
    events
}

fn nothing(epoch: Epoch) -> Held {
    Held {
        epoch,
        first: None,
        events: Events::Plain(Vec::new()),
        anchors: Vec::new(),
        lost: Vec::new(),
        lineage: Lineage::default(),
        oldest_held: Seq(0),
    }
}

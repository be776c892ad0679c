//! Builds a spool anew from what is held or was found. Enters: epochs with their values. Leaves: a finished
//! folder that takes the place of the present one. The present one is not touched before.
//!
//! | why | what changes |
//! |---|---|
//! | sled's file never shrinks after a backlog | nothing |
//! | central has other events under our numbers | those from there on get new numbers in a new epoch |
//! | the database is damaged | what was found stays in its epoch, new events come into a new one |

use hangtag_agent_core::infer;
use hangtag_agent_core::intake::node::Marks;
use hangtag_agent_core::spool::epoch::{EpochIndex, EpochRecord};
use hangtag_agent_core::spool::value::Value;
use hangtag_agent_core::spool::{Index, Put};
use hangtag_protocol::clock::ClockAnchor;
use hangtag_protocol::event::{Event, What};
use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::lineage::Run;
use hangtag_protocol::range::SeqRange;
use tracing::warn;

use super::disk::Folder;
use super::recovery::{Opened, random};
use super::store::{Meta, Store, StoreError};

/// Records that are written at once.
const GROUP: usize = 64;

/// A spool that is being built.
pub(super) struct Builder {
    folder: Folder,
    store: Store,
    epochs: Vec<EpochIndex>,
    puts: Vec<Put>,
}

impl Builder {
    pub(super) fn new(folder: &Folder) -> Result<Self, StoreError> {
        folder.finish_replacing()?;
        let store = Store::open(&folder.building())?;
        Ok(Self { folder: folder.clone(), store, epochs: Vec::new(), puts: Vec::new() })
    }

    /// Begins an epoch; what follows belongs to it.
    pub(super) fn epoch(&mut self, record: EpochRecord) {
        let slot = u16::try_from(self.epochs.len()).expect("a spool holds few epochs");
        self.epochs.push(EpochIndex::new(EpochRecord { slot, ..record }));
    }

    /// Takes over a value as it is; what cannot be read is lost.
    pub(super) fn value(&mut self, range: SeqRange, bytes: Vec<u8>) -> Result<(), StoreError> {
        match self.current().adopt(bytes) {
            Ok(puts) => self.write(puts),
            Err(why) => {
                warn!(?range, %why, "a value cannot be read back: its events are lost");
                self.current().lose(range);
                Ok(())
            }
        }
    }

    /// Takes up events that follow the last.
    pub(super) fn events(&mut self, events: &[Event]) -> Result<(), StoreError> {
        let puts = self.current().append(events);
        self.write(puts)
    }

    fn current(&mut self) -> &mut EpochIndex {
        self.epochs.last_mut().expect("an epoch was begun")
    }

    fn write(&mut self, puts: Vec<Put>) -> Result<(), StoreError> {
        self.puts.extend(puts);
        if self.puts.len() < GROUP { Ok(()) } else { self.store.write(std::mem::take(&mut self.puts)) }
    }

    /// Makes everything durable and lets it take the place of the present spool.
    pub(super) fn finish(
        mut self,
        commits: u64,
        minutes: u32,
        anchors: Vec<ClockAnchor>,
        snapshot: &[u8],
        damaged: bool,
    ) -> Result<(), StoreError> {
        let index = Index::new(self.epochs, Vec::new());
        let (epochs, marks) = index.records();
        let meta = Meta { commits, minutes, epochs, marks: marks.to_vec(), anchors };
        self.store.commit(self.puts, &meta, Some(snapshot))?;
        self.store.close()?;
        Ok(self.folder.replace(damaged)?)
    }
}

/// Where central has other events than the spool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fork {
    pub(super) epoch: Epoch,
    pub(super) from: Seq,
    /// The run that accepts the moved events once more.
    pub(super) run: u32,
}

/// Builds the spool anew from its own values; with a fork, moves what is held from there on into a new
/// epoch.
pub(super) fn rebuild(folder: &Folder, opened: &Opened, fork: Option<Fork>) -> Result<(), StoreError> {
    let Opened { store, index, meta, .. } = opened;
    let mut builder = Builder::new(folder)?;
    let mut moved: Vec<(EpochRecord, Fork)> = Vec::new();
    for epoch in index.epochs() {
        let fork = fork.filter(|fork| fork.epoch == epoch.record().epoch);
        let mut record = epoch.record().clone();
        if let Some(fork) = fork {
            moved.push((record.clone(), fork));
            record.lineage = record.lineage.before(fork.from);
            record.next = record.next.min(fork.from);
            let beyond = SeqRange { first: fork.from, last: Seq(u64::MAX) };
            record.settled.remove(beyond);
            record.lost.remove(beyond);
        }
        let (id, end) = (record.epoch, record.next);
        builder.epoch(record);
        each_value(store, epoch, |range, bytes| {
            if range.first >= end {
                return Ok(());
            }
            let own = usize::try_from(end.0 - range.first.0).unwrap_or(usize::MAX);
            let cut = || Value::read_as(&bytes, id, range.first).and_then(|value| value.cut(own));
            if range.last >= end
                && let Ok(cut) = cut()
            {
                return builder.value(range, cut);
            }
            // What cannot be read is refused, and lost as far as it belongs here.
            builder.value(SeqRange { last: range.last.min(Seq(end.0 - 1)), ..range }, bytes)
        })?;
    }
    let mut snapshot = store.snapshot()?;
    for (record, fork) in moved {
        let mut to = EpochRecord::new(Epoch(random()?), 0);
        to.lineage.push(Run { first: Seq::FIRST, id: fork.run });
        builder.epoch(to);
        let epoch = index.epoch(record.epoch).expect("it was listed");
        // One to one: what is missing here is missing there, and is told to be.
        let number = |seq: Seq| (seq >= fork.from).then(|| Seq(seq.0 - fork.from.0 + 1));
        each_value(store, epoch, |range, bytes| {
            let events = Value::read_as(&bytes, record.epoch, range.first).and_then(|value| value.events());
            let own = (range.first.0..).map(Seq).zip(events.unwrap_or_default());
            let own: Vec<(Seq, Event)> =
                own.filter_map(|(seq, event)| Some((number(seq)?, renumber(event, number)))).collect();
            let Some((first, _)) = own.first() else { return Ok(()) };
            builder.current().skip_to(*first);
            builder.events(&own.into_iter().map(|(_, event)| event).collect::<Vec<_>>())
        })?;
        builder.current().skip_to(number(record.next).unwrap_or(Seq::FIRST));
        // Open visits belong to the epoch that takes events.
        let is_current = index.current().record().epoch == record.epoch;
        let (marks, visits) = Marks::split(&snapshot).unwrap_or_default();
        let moved = is_current.then(|| infer::renumber(visits, number).ok()).flatten();
        snapshot = marks.with(moved.unwrap_or_default());
    }
    builder.finish(meta.commits + 1, meta.minutes, meta.anchors.clone(), &snapshot, false)
}

/// Reads every value of an epoch, one at a time.
pub(super) fn each_value(
    store: &Store,
    epoch: &EpochIndex,
    mut take: impl FnMut(SeqRange, Vec<u8>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for (key, range) in epoch.all_values() {
        take(range, store.record(key)?.unwrap_or_default())?;
    }
    Ok(())
}

/// The event as it is in a new epoch. A visit or a retraction that points to an event which stayed behind
/// points to none.
fn renumber(mut event: Event, number: impl Fn(Seq) -> Option<Seq>) -> Event {
    match &mut event.what {
        What::CarriedIn(fitting) | What::TriedOn(fitting) | What::CarriedOut(fitting) => {
            fitting.visit = number(fitting.visit).unwrap_or_default();
        }
        What::Retracted { seq } => *seq = number(*seq).unwrap_or_default(),
        What::Scanned(scan) => scan.visit = scan.visit.and_then(number),
        What::PickedUp(_) | What::PutDown(_) | What::Coverage(_) => {}
    }
    event
}

#[cfg(test)]
mod tests {
    use hangtag_protocol::clock::{BootId, Uptime};
    use hangtag_protocol::epc::Gtin;
    use hangtag_protocol::id::ZoneId;
    use hangtag_protocol::scan::{Code, Scan};

    use super::*;

    #[test]
    fn a_scan_moves_with_its_visit_or_is_in_none() {
        let scanned = |visit| Event {
            boot: BootId(1),
            at: Uptime(2),
            confidence: 100,
            what: What::Scanned(Scan {
                zone: ZoneId::new("booth-1").unwrap(),
                visit,
                code: Code::Product(Gtin::new("96385074").unwrap()),
            }),
        };
        let number = |seq: Seq| seq.0.checked_sub(100).map(Seq);
        for (before, after) in [(Some(Seq(107)), Some(Seq(7))), (Some(Seq(99)), None), (None, None)] {
            assert_eq!(renumber(scanned(before), number), scanned(after));
        }
    }
}

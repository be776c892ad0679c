//! Reads to events. Enters: reads, scans, which readers listen, and time. Leaves: numbered events.
//!
//! Each garment is a state machine (`tag`) over how its tag looks to the antennas (`track`), looked
//! at every half second. Here the garments meet: a zone in which many change at once has a passer-by,
//! and the garments in a booth make a visit. Events are numbered here, so that a visit can be named by
//! the event that opened it.

pub mod acceleration;
pub mod layout;
pub mod motion;
pub mod presence;

mod gone;
mod known;
mod learned;
mod mean;
pub mod rule;
mod sensed;
mod snapshot;
mod state;
mod stay;
mod tag;
mod track;
mod votes;
mod worn;

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::hash::BuildHasherDefault;

use hangtag_protocol::clock::{BootId, Uptime};
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::{Coverage, Event, Fitting, Handling, ReaderState, What};
use hangtag_protocol::id::{Seq, ZoneId};
use hangtag_protocol::read::Read;
use hangtag_protocol::scan::{Code, Scan};
use indexmap::IndexMap;
use rustc_hash::FxHasher;

use gone::Gone;
use known::Known;
pub use layout::{Layout, SensorOn, Zone, ZoneKind};
use learned::Remembered;
pub use learned::{Learned, LearnedError, MOST_BYTES as MOST_LEARNED_BYTES, Writing, ZoneLearned};
use presence::Surest;
use rule::Rule;
use sensed::Sensed;
pub use snapshot::{RestoreError, renumber};
use state::{Conclusion, State, Surroundings};
use stay::{Stay, Tried};
use tag::Tag;
use track::TICK_MS;

/// The most garments that are followed; one more makes the one unseen for longest be forgotten.
pub const MAX_TAGS: usize = 200_000;
/// A garment unseen for so long is forgotten, in milliseconds: ten days, because shops close for holidays.
const FORGOTTEN_MS: u64 = 10 * 24 * 3_600_000;
/// A reader's state is told at least so often, in milliseconds, so that a gateway that dies hides at
/// most this much of its coverage.
const COVERAGE_MS: u64 = 60_000;
/// All garments of a visit unheard for so long: whoever comes next is a new visit, in milliseconds.
const VISIT_PAUSE_MS: u64 = 8_000;

// A fixed hasher: the same reads give the same order, and so the same events.
type Map<V> = IndexMap<Known, V, BuildHasherDefault<FxHasher>>;

/// Reads to events.
#[derive(Debug)]
pub struct Inference {
    layout: Layout,
    boot: BootId,
    next: Seq,
    tags: Map<Tag>,
    remembered: Remembered,
    readers: Vec<Reader>,
    /// What was concluded of the garments in booths.
    stays: Map<Stay>,
    /// Those that were said to have left because they were silent.
    gone: Map<Gone>,
    sensed: Sensed,
    /// Per zone, the open visit of a booth.
    visits: Vec<Option<Seq>>,
    tick: Uptime,
    events: VecDeque<(Seq, Event)>,
}

#[derive(Clone, Copy, Debug)]
struct Reader {
    state: ReaderState,
    since: Uptime,
    /// Since when the state is not yet told by an event.
    untold: Uptime,
}

impl Inference {
    /// Starts with an empty shop. `next` is the number that the first event gets.
    #[must_use]
    pub fn new(layout: Layout, boot: BootId, next: Seq, now: Uptime) -> Self {
        let reader = Reader { state: ReaderState::Absent, since: now, untold: now };
        Self {
            readers: vec![reader; layout.readers().len()],
            visits: vec![None; layout.zones().len()],
            sensed: Sensed::new(&layout),
            layout,
            boot,
            next,
            tags: Map::default(),
            remembered: Remembered::new(now),
            stays: Map::default(),
            gone: Map::default(),
            tick: now + TICK_MS,
            events: VecDeque::new(),
        }
    }

    /// Takes a read of the reader with this number in the layout. Reads of ports that the layout does
    /// not name are ignored.
    pub fn handle_read(&mut self, reader: usize, read: &Read) {
        let Some(antenna) = self.layout.antenna(reader, read.antenna) else { return };
        let zone = self.layout.zone_of(antenna);
        let antenna = u16::try_from(antenna).expect("fewer than 65,536 antennas");
        let known = Known::from(read.epc);
        match self.tags.get_mut(&known) {
            Some(tag) => tag.handle_read(antenna, zone, read),
            None => self.meet(known).handle_read(antenna, zone, read),
        }
    }

    /// A garment that is heard for the first time since the start.
    fn meet(&mut self, known: Known) -> &mut Tag {
        let habit = self.remembered.take(&known);
        if self.tags.len() >= MAX_TAGS {
            self.forget_oldest();
        } else if self.tags.len() + self.remembered.len() >= MAX_TAGS {
            self.remembered.forget_one();
        }
        let tag = self.tags.entry(known).or_insert_with(Tag::new);
        if let Some(habit) = habit {
            tag.recall(&habit);
        }
        tag
    }

    /// Takes a code that the scanner with this number in the layout read: an event at once, in the visit that
    /// is open in the scanner's booth. Nothing is concluded from it. Scanners to which the layout gives no zone
    /// are ignored.
    pub fn handle_scan(&mut self, reader: usize, code: Code, at: Uptime) {
        let Some(zone) = self.layout.zone_of_scanner(reader) else { return };
        let scan = Scan { zone: self.layout.zones()[zone].id, visit: self.open_visit(zone, None, at), code };
        self.push(at, 100, What::Scanned(scan));
    }

    /// Takes what a reader is doing from now on.
    pub fn handle_reader(&mut self, reader: usize, state: ReaderState, now: Uptime) {
        if self.readers[reader].state != state {
            self.turn(reader, state, now);
            if state != ReaderState::Listening
                && let Some(zone) = self.layout.occupancy_of(reader)
            {
                self.sensed.lose(zone);
            }
        }
    }

    fn turn(&mut self, reader: usize, state: ReaderState, now: Uptime) {
        self.tell_coverage(reader, now);
        self.readers[reader] = Reader { state, since: now, untold: now };
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Uptime) {
        while self.tick <= now {
            let tick = self.tick;
            self.tick = tick + TICK_MS;
            self.end_tick(tick);
        }
    }

    /// Nobody looked at what came in between: the process stood still, or the disk did. Reads may be
    /// missing, so that the time is no evidence. What sensors said holds: what they say comes late, but it comes.
    pub fn handle_stall(&mut self, from: Uptime, now: Uptime) {
        for reader in 0..self.readers.len() {
            if self.readers[reader].state == ReaderState::Listening {
                self.turn(reader, ReaderState::Silent, from);
                self.turn(reader, ReaderState::Listening, now);
            }
        }
        self.tick = self.tick.max(now);
    }

    /// Tells all coverage up to now, as before a shutdown.
    pub fn handle_shutdown(&mut self, now: Uptime) {
        (0..self.readers.len()).for_each(|reader| self.tell_coverage(reader, now));
    }

    /// The next event and its number.
    pub fn poll_event(&mut self) -> Option<(Seq, Event)> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Uptime {
        self.tick
    }

    /// How many garments are followed.
    #[must_use]
    pub fn tags(&self) -> usize {
        self.tags.len()
    }

    fn end_tick(&mut self, now: Uptime) {
        for reader in 0..self.readers.len() {
            if now.since(self.readers[reader].untold) >= COVERAGE_MS {
                self.tell_coverage(reader, now);
            }
        }
        let listening: Vec<Option<Uptime>> = self
            .readers
            .iter()
            .map(|reader| (reader.state == ReaderState::Listening).then_some(reader.since))
            .collect();
        let (commotion, surest) = self.look_around(now);
        let around = Surroundings {
            layout: &self.layout,
            listening: &listening,
            commotion: &commotion,
            surest: &surest,
            free: &self.sensed.free(now),
            now,
        };
        let mut concluded = Vec::new();
        for (epc, tag) in &mut self.tags {
            if let Some(conclusion) = tag.end_tick(&around) {
                concluded.push((Epc::from(epc), conclusion));
            }
        }
        // What happened first is numbered first; the sort keeps the order of equals.
        concluded.sort_by_key(|(_, conclusion)| conclusion.at());
        for (epc, conclusion) in concluded {
            self.conclude(epc, conclusion, now);
        }
        self.doubt(now);
        self.forget_gone(&listening, now);
        if now.0 % (60 * 1_000) < TICK_MS {
            self.tags.retain(|_, tag| tag.last_read().is_none_or(|last| now.since(last) < FORGOTTEN_MS));
        }
    }

    /// Per antenna: whether so many resting garments changed at once that somebody walks past, and the recent
    /// reads of the tags that are surest to be in its zone.
    fn look_around(&self, now: Uptime) -> (Vec<bool>, Vec<f32>) {
        let antennas = self.layout.antennas();
        let (mut counts, mut surest) = (vec![(0u32, 0u32); antennas], vec![Surest::default(); antennas]);
        for tag in self.tags.values() {
            if let Some((antenna, disturbed)) = tag.disturbance(now) {
                let count = &mut counts[usize::from(antenna)];
                count.0 += 1;
                count.1 += u32::from(disturbed);
            }
            for (antenna, reads) in tag.recent_reads(now) {
                surest[usize::from(antenna)].add(reads as f32);
            }
        }
        let commotion = counts.into_iter().enumerate().map(|(antenna, (all, disturbed))| {
            let shaken = self.sensed.is_shaken(self.layout.zone_of(antenna), now);
            shaken || disturbed >= 3 && disturbed * 8 > all
        });
        (commotion.collect(), surest.into_iter().map(Surest::reads).collect())
    }

    fn conclude(&mut self, epc: Epc, conclusion: Conclusion, now: Uptime) {
        let (at, confidence, what) = match conclusion {
            Conclusion::PickedUp { at, zone, confidence, evidence } => {
                (at, confidence, What::PickedUp(Handling { epc, zone: self.zone(zone), evidence }))
            }
            Conclusion::PutDown { at, zone, confidence, evidence } => {
                (at, confidence, What::PutDown(Handling { epc, zone: self.zone(zone), evidence }))
            }
            Conclusion::CarriedIn { at, zone, confidence, evidence } => {
                if self.take_back(epc, zone, now) {
                    return;
                }
                let visit = self.visit(epc, zone, now);
                self.stay(epc, zone, at);
                (at, confidence, What::CarriedIn(Fitting { epc, zone: self.zone(zone), visit, evidence }))
            }
            Conclusion::TriedOn { at, zone, visit, confidence, evidence } => {
                if let Some(stay) = self.stays.get_mut(&Known::from(epc)) {
                    let seq = Some(self.next);
                    stay.tried = Some(Tried { seq, at, concluded: now, confidence, evidence });
                }
                (at, confidence, What::TriedOn(Fitting { epc, zone: self.zone(zone), visit, evidence }))
            }
            Conclusion::CarriedOut { at, zone, visit, silent, confidence, evidence } => {
                let what = What::CarriedOut(Fitting { epc, zone: self.zone(zone), visit, evidence });
                self.close(zone, visit);
                let known = Known::from(epc);
                self.gone.swap_remove(&known);
                let stay = self.stays.swap_remove(&known);
                let no_try_on = stay.and_then(|stay| stay.left(at));
                let worn = self.tags.get_mut(&known).and_then(|tag| tag.worn.take());
                if let (Some(mut stay), Some(worn), true) = (stay, worn, silent) {
                    stay.tried = stay.tried.filter(|_| no_try_on.is_none());
                    let carried_out = self.next;
                    self.gone.insert(
                        known,
                        Gone { carried_out, zone, visit, last: at, listened: now, silent_ms: 0, stay, worn },
                    );
                }
                self.push(at, confidence, what);
                if let Some(seq) = no_try_on {
                    self.retract(seq, Rule::HadLeft, now);
                }
                return;
            }
        };
        self.push(at, confidence, what);
    }

    /// Ends a booth's open visit when its last garment has left.
    fn close(&mut self, zone: u16, visit: Seq) {
        let open = &mut self.visits[usize::from(zone)];
        if *open == Some(visit) && !self.tags.values().any(|tag| tag.is_in_visit(zone, visit)) {
            *open = None;
        }
    }

    fn zone(&self, zone: u16) -> ZoneId {
        self.layout.zones()[usize::from(zone)].id
    }

    /// The visit that a garment joins which was just carried in: the booth's open one, unless all its
    /// garments have fallen silent, or a new one, named by the event about to be numbered.
    fn visit(&mut self, epc: Epc, zone: u16, now: Uptime) -> Seq {
        let epc = Known::from(epc);
        let open = self.open_visit(zone.into(), Some(&epc), now);
        // Who comes to a new visit took the booth.
        self.gone.retain(|_, gone| open.is_some() || gone.zone != zone);
        let visit = open.unwrap_or(self.next);
        self.visits[usize::from(zone)] = Some(visit);
        if let Some(State::Booth { visit: of_tag, .. }) = self.tags.get_mut(&epc).map(|tag| &mut tag.state) {
            *of_tag = visit;
        }
        visit
    }

    /// The visit that is open in a zone, if another garment of it was heard just now: else whoever was in the booth
    /// may have gone.
    fn open_visit(&self, zone: usize, besides: Option<&Known>, now: Uptime) -> Option<Seq> {
        let number = u16::try_from(zone).expect("fewer than 65,536 zones");
        self.visits[zone].filter(|visit| {
            self.tags.iter().any(|(other, tag)| {
                Some(other) != besides
                    && tag.is_in_visit(number, *visit)
                    && tag.last_read().is_some_and(|last| now.since(last) < VISIT_PAUSE_MS)
            })
        })
    }

    fn tell_coverage(&mut self, reader: usize, now: Uptime) {
        let Reader { state, untold, .. } = self.readers[reader];
        self.readers[reader].untold = now;
        if now > untold {
            let reader = self.layout.readers()[reader];
            self.push(now, 100, What::Coverage(Coverage { reader, state, from: untold }));
        }
    }

    fn push(&mut self, at: Uptime, confidence: u8, what: What) {
        self.events.push_back((self.next, Event { boot: self.boot, at, confidence, what }));
        self.next = self.next.plus(1);
    }

    fn forget_oldest(&mut self) {
        let oldest = (0..self.tags.len()).min_by_key(|slot| self.tags[*slot].last_read());
        if let Some(slot) = oldest {
            self.tags.swap_remove_index(slot);
        }
    }
}

impl Tag {
    fn is_in_visit(&self, zone: u16, visit: Seq) -> bool {
        matches!(self.state, State::Booth { zone: z, visit: v, .. } if z == zone && v == visit)
    }
}

impl Conclusion {
    fn at(&self) -> Uptime {
        match self {
            Self::PickedUp { at, .. }
            | Self::PutDown { at, .. }
            | Self::CarriedIn { at, .. }
            | Self::TriedOn { at, .. }
            | Self::CarriedOut { at, .. } => *at,
        }
    }
}

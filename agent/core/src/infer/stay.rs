//! What was concluded of a garment in a booth, and whether it still holds. Enters: the numbers of events, and how
//! its tag looks while it is there. Leaves: a [`Mistake`], for which events are retracted, at most once each.
//!
//! | what turns out later | what was a mistake |
//! |---|---|
//! | it had left when its silence was taken for a body that shields it | the try-on |
//! | the booth next door hears it far better for long, and this one hardly ever did | everything here; it was there |
//! | nothing but booths ever heard it, and it has hung as it hung at the first moment, still, for hours | everything: nobody brought it |
//!
//! Silence is never a contradiction by itself, and neither is a garment that was left behind: it was brought.

use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::{Evidence, What};
use hangtag_protocol::id::Seq;
use serde::{Deserialize, Serialize};

use super::Inference;
use super::known::Known;
use super::layout::{Layout, ZoneKind};
use super::presence::MARGIN_DB;
use super::rule::Rule;
use super::state::{Conclusion, State};
use super::tag::booth::{TRY_ON_MS, WORN_TICKS};
use super::tag::{RECENT_MS, Tracks};
use super::track::{TICK_MS, Track};

/// Ticks for which the booth next door must win: 20 seconds.
const NEXT_DOOR_TICKS: u16 = 40;
/// The reads of late that it must have.
const NEXT_DOOR_READS: u32 = 3;
/// A tag that has hung in a booth for so long was not brought by a shopper, in milliseconds.
const PARKED_MS: u64 = 2 * 3_600_000;
/// In how many ticks of that time it must have been read at least.
const PARKED_TICKS: u16 = (PARKED_MS / TICK_MS / 4) as u16;
/// One in so many of these may have been restless.
const PARKED_RESTLESS: u16 = 20;
/// How far its level may be from what it was at first, in dB.
const PARKED_DB: f32 = 3.0;

/// What was concluded of a garment in a booth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stay {
    /// The event that says it was carried in; absent when its number is of another epoch.
    pub(super) carried_in: Option<Seq>,
    pub(super) tried: Option<Tried>,
    pub(super) since: Uptime,
    /// Its level in hundredths of a dBm when it was carried in.
    pub(super) level_cdbm: i16,
    /// Ticks in which this booth heard it clearly better than the others.
    here_ticks: u16,
    /// Ticks in which another booth did.
    there_ticks: u16,
    /// Ticks in which it was read, and of these, restless.
    read_ticks: u16,
    restless_ticks: u16,
}

/// What was concluded of a try-on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Tried {
    /// The event; absent when its number is of another epoch.
    pub(super) seq: Option<Seq>,
    pub(super) at: Uptime,
    /// When it was concluded.
    pub(super) concluded: Uptime,
    pub(super) confidence: u8,
    pub(super) evidence: Evidence,
}

/// What was a mistake.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mistake {
    /// It was in this booth all along.
    NextDoor { zone: u16, evidence: Evidence },
    /// It hangs there for ever, and is heard best by this antenna.
    Parked { antenna: u16 },
}

impl Inference {
    /// Remembers that the event about to be numbered says that a garment was carried in.
    pub(super) fn stay(&mut self, epc: Epc, zone: u16, at: Uptime) {
        let known = Known::from(epc);
        let tracks = self.tags.get(&known).into_iter().flat_map(|tag| tag.tracks().iter());
        let here = tracks.filter(|track| self.layout.zone_of(track.antenna.into()) == usize::from(zone));
        let level_dbm = here.map(Track::level_dbm).max_by(f32::total_cmp).unwrap_or_default();
        self.stays.insert(known, Stay::new(self.next, at, level_dbm));
    }

    /// Looks whether what was concluded of garments in booths still holds.
    pub(super) fn doubt(&mut self, now: Uptime) {
        let (tags, layout) = (&self.tags, &self.layout);
        let mut mistakes = Vec::new();
        self.stays.retain(|epc, stay| {
            let Some((tag, State::Booth { zone, visit, .. })) = tags.get(epc).map(|tag| (tag, tag.state))
            else {
                return false;
            };
            let mistake = stay.end_tick(zone, tag.tracks(), layout, now);
            mistakes.extend(mistake.map(|mistake| (epc.clone(), (zone, visit), *stay, mistake)));
            mistake.is_none()
        });
        for (epc, left, stay, mistake) in mistakes {
            self.correct(&epc, left, &stay, mistake, now);
        }
    }

    /// Retracts what was a mistake, and concludes what was so instead.
    fn correct(&mut self, known: &Known, left: (u16, Seq), stay: &Stay, mistake: Mistake, now: Uptime) {
        let rule = match mistake {
            Mistake::NextDoor { .. } => Rule::NextDoor,
            Mistake::Parked { .. } => Rule::Parked,
        };
        stay.events().for_each(|seq| self.retract(seq, rule, now));
        let Some(tag) = self.tags.get_mut(known) else { return };
        match mistake {
            Mistake::Parked { antenna } => tag.park(left.0, antenna, now),
            Mistake::NextDoor { zone, evidence } => {
                let (since, tried) = (stay.since, stay.tried.is_some());
                tag.state = State::Booth { zone, visit: Seq(0), since, tried };
                let (epc, confidence) = (Epc::from(known), Rule::BoothWins.confidence());
                self.conclude(epc, Conclusion::CarriedIn { at: since, zone, confidence, evidence }, now);
                // It may be back in the stay that was said to have ended, and was tried on there before.
                let before = self.stays.get(known).is_some_and(|stay| stay.tried.is_some());
                if let (Some(Tried { at, confidence, evidence, .. }), Some(visit), false) =
                    (stay.tried, self.visits[usize::from(zone)], before)
                {
                    let tried = Conclusion::TriedOn { at, zone, visit, confidence, evidence };
                    self.conclude(epc, tried, now);
                    if let Some(State::Booth { tried, .. }) =
                        self.tags.get_mut(known).map(|tag| &mut tag.state)
                    {
                        *tried = true;
                    }
                }
            }
        }
        self.close(left.0, left.1);
    }

    pub(super) fn retract(&mut self, seq: Seq, rule: Rule, now: Uptime) {
        self.push(now, rule.confidence(), What::Retracted { seq });
    }
}

impl Stay {
    pub(super) fn new(carried_in: Seq, since: Uptime, level_dbm: f32) -> Self {
        Self {
            carried_in: Some(carried_in),
            tried: None,
            since,
            level_cdbm: (level_dbm * 100.0) as i16,
            here_ticks: 0,
            there_ticks: 0,
            read_ticks: 0,
            restless_ticks: 0,
        }
    }

    /// The try-on that was none, if the garment was last heard in the booth at this time: what was silence then
    /// was its absence.
    pub(super) fn left(&self, last: Uptime) -> Option<Seq> {
        let Tried { seq, concluded, evidence, .. } = self.tried?;
        let absent_ticks = concluded.since(last) / TICK_MS;
        let worn_ticks = u64::from(evidence.unrest) * 64 / 100;
        // The share was rounded down.
        let too_few = worn_ticks + 1 < absent_ticks + u64::from(WORN_TICKS);
        seq.filter(|_| last.since(self.since) < TRY_ON_MS || too_few)
    }

    /// Looks at the garment at the end of a tick, in the booth where it is said to be.
    pub(super) fn end_tick(
        &mut self,
        zone: u16,
        tracks: &Tracks,
        layout: &Layout,
        now: Uptime,
    ) -> Option<Mistake> {
        let zone_of = |track: &Track| layout.zone_of(track.antenna.into());
        let is_booth = |track: &Track| layout.zones()[zone_of(track)].kind == ZoneKind::Booth;
        let is_here = |track: &&Track| zone_of(track) == usize::from(zone);
        let loudest = |a: &&Track, b: &&Track| a.level_dbm().total_cmp(&b.level_dbm());
        let recent = || tracks.iter().filter(|track| now.since(track.last) < RECENT_MS);
        let here = recent().filter(is_here).max_by(loudest)?;
        if here.seen_last_tick() {
            self.read_ticks = self.read_ticks.saturating_add(1);
            self.restless_ticks = self.restless_ticks.saturating_add(u16::from(here.is_restless()));
        }

        let others = recent().filter(|track| !is_here(track));
        let heard = |track: &&Track| is_booth(track) && track.reads_recently() >= NEXT_DOOR_READS;
        let next = others.filter(heard).max_by(loudest);
        let lead_db = next.map_or(-MARGIN_DB, |next| next.level_dbm() - here.level_dbm());
        if let Some(next) = next
            && lead_db >= MARGIN_DB
        {
            self.there_ticks = self.there_ticks.saturating_add(1);
            if self.there_ticks >= NEXT_DOOR_TICKS && self.here_ticks <= self.there_ticks / 2 {
                let reads = next.reads_recently().try_into().unwrap_or(u16::MAX);
                // A float cast saturates.
                let evidence = Evidence { reads, margin_db: lead_db as u8, unrest: 0, dwell_ds: 0 };
                let zone = u16::try_from(zone_of(next)).expect("fewer than 65,536 zones");
                return Some(Mistake::NextDoor { zone, evidence });
            }
        } else if lead_db <= -MARGIN_DB {
            self.here_ticks = self.here_ticks.saturating_add(1);
        }

        let still = self.restless_ticks <= self.read_ticks / PARKED_RESTLESS;
        let same = (here.level_dbm() - f32::from(self.level_cdbm) / 100.0).abs() <= PARKED_DB;
        let parked = now.since(self.since) >= PARKED_MS
            && self.read_ticks >= PARKED_TICKS
            && still
            && same
            && tracks.iter().all(is_booth);
        parked.then_some(Mistake::Parked { antenna: here.antenna })
    }

    /// The events of it that can be retracted, the latest first.
    pub(super) fn events(&self) -> impl Iterator<Item = Seq> {
        [self.tried.and_then(|tried| tried.seq), self.carried_in].into_iter().flatten()
    }

    /// The same with the numbers of a new epoch; those that have none there cannot be retracted any more.
    pub(super) fn renumbered(self, number: impl Fn(Seq) -> Option<Seq>) -> Self {
        let tried = self.tried.map(|tried| Tried { seq: tried.seq.and_then(&number), ..tried });
        Self { carried_in: self.carried_in.and_then(&number), tried, ..self }
    }
}

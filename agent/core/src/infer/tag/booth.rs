//! A garment in a fitting booth: carried in, tried on, carried out. Enters: how its tag looks at the end of a tick.
//! Leaves: at most one conclusion.

use hangtag_protocol::event::Evidence;
use hangtag_protocol::id::Seq;

use super::super::presence::MARGIN_DB;
use super::super::rule::Rule;
use super::super::state::{Conclusion, State, Surroundings};
use super::super::track::{TICK_MS, Track};
use super::{Best, Tag, deciseconds, whole_db};

/// In how many of the last ticks a booth that wins must have heard what was carried in.
const IN_TICKS: usize = 2;
/// A tag unseen in its booth for so long is said to have been carried out, in milliseconds: [`gone`](super::super::gone)
/// knows better if it is heard again.
const LEFT_MS: u64 = 14_000;
/// While nobody listens in the booth, others' word that it is there counts after so long, in milliseconds.
const DEAF_MS: u64 = 25_000;
/// A tag unseen in a booth in which nobody is has left after so long, in milliseconds.
const LEFT_FREE_MS: u64 = 8_000;
/// The shortest stay in a booth in which a garment can have been tried on, in milliseconds.
pub(in super::super) const TRY_ON_MS: u64 = 30_000;
/// Ticks of the last 64 (32 s) in which a worn garment is restless or silent, at least.
pub(in super::super) const WORN_TICKS: u32 = 32;
/// Ticks of them in which it was read and restless, at least: silence alone proves nothing, unless it was so long that it
/// seemed to have left.
const WORN_READ_TICKS: u32 = 3;

impl Tag {
    pub(super) fn end_tick_booth(
        &mut self,
        best: Option<Best>,
        around: &Surroundings<'_>,
    ) -> Option<Conclusion> {
        let State::Booth { zone, visit, since, tried } = self.state else { return None };
        let now = around.now;
        // A booth may have several antennas.
        let is_here = |track: &Track| around.layout.zone_of(track.antenna.into()) == usize::from(zone);
        let here = || self.tracks.iter().filter(|track| is_here(track));
        let latest = here().max_by_key(|track| track.last);
        let last = latest.map_or(since, |track| track.last);
        let reads = latest.map_or(0, Track::reads_recently).try_into().unwrap_or(u16::MAX);
        let listening = around.listening_in(usize::from(zone));
        let unseen_ms = listening.map_or(0, |listening| now.since(last.max(listening)));
        let stay_ms = now.since(since);

        // Without a body nothing is worn, and nothing hides what is there.
        let free = around.free[usize::from(zone)];
        if listening.is_some() {
            let heard = || here().filter(|track| track.seen_last_tick());
            let (silent, turns) = (heard().next().is_none(), heard().any(Track::compares_turns));
            let unsteady = heard().any(Track::is_restless);
            let worn = self.worn.get_or_insert_default();
            let turned = worn.end_reads();
            let restless = if turns { turned } else { unsteady };
            worn.end_tick(restless && !free, silent && !free);
        }
        // Who hears a garment faintly hears it best while the booth's own reader is silent.
        let quiet_here = |ms| match listening {
            Some(_) => unseen_ms > ms,
            None => now.since(last) > DEAF_MS,
        };

        // The booth next door hears a worn garment too: only a floor zone ends a stay at once.
        let on_floor =
            best.as_ref().is_some_and(|best| self.is_floor(best.zone, around) && quiet_here(2_000));
        let next_door = best
            .as_ref()
            .is_some_and(|best| best.zone != zone && self.is_booth(best.zone, around) && quiet_here(10_000));
        if on_floor || next_door || unseen_ms >= if free { LEFT_FREE_MS } else { LEFT_MS } {
            let at = last.max(since);
            let evidence = Evidence {
                reads,
                margin_db: best.as_ref().map_or(0, |best| whole_db(best.margin_db)),
                unrest: 0,
                dwell_ds: deciseconds(at.since(since)),
            };
            // In a free booth nobody hides it; a worn one may still be heard next door.
            let silent = !on_floor && !free;
            self.lift(None, at);
            let confidence = if on_floor { Rule::FloorWins } else { Rule::Left }.confidence();
            return Some(Conclusion::CarriedOut { at, zone, visit, silent, confidence, evidence });
        }

        let of_late = self.worn.as_deref()?;
        let (worn, restless) = of_late.ticks();
        if tried
            || free
            || stay_ms < TRY_ON_MS
            || worn < WORN_TICKS
            || restless < WORN_READ_TICKS && !of_late.was_hidden()
            || unseen_ms > 8_000
        {
            return None;
        }
        let at = (now - of_late.put_on_ago()).max(since);
        self.state = State::Booth { zone, visit, since, tried: true };
        let evidence = Evidence {
            reads,
            margin_db: best.as_ref().map_or(0, |best| whole_db(best.margin_db)),
            unrest: u8::try_from(worn * 100 / 64).expect("a share of 64 in percent"),
            dwell_ds: deciseconds(stay_ms),
        };
        let confidence =
            Rule::Worn.confidence() + u8::try_from((worn - WORN_TICKS).min(30)).expect("at most 30");
        Some(Conclusion::TriedOn { at, zone, visit, confidence, evidence })
    }

    pub(super) fn carried_in(&mut self, best: &Best, around: &Surroundings<'_>) -> Option<Conclusion> {
        let track = &self.tracks[best.track];
        if best.margin_db < MARGIN_DB || track.ticks_seen() < IN_TICKS {
            return None;
        }
        let at = around.now - track.ticks_seen() as u64 * TICK_MS;
        let evidence = self.evidence(best, 0, 0);
        self.worn = None;
        // The visit is known to the booth; it is set when the event is numbered.
        self.state = State::Booth { zone: best.zone, visit: Seq(0), since: at, tried: false };
        let confidence = Rule::BoothWins.confidence() + whole_db(best.margin_db).min(25);
        Some(Conclusion::CarriedIn { at, zone: best.zone, confidence, evidence })
    }
}

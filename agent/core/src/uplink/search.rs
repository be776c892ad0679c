//! Which event makes the broker hang up. Enters: what was on its way when a connection ended, what the broker
//! took. Leaves: the next piece to try, in the end one event, or how large a batch may be.
//!
//! A broker that takes only small messages and does not say so, or that hangs up on one certain message,
//! would otherwise be sent the same batch on every connection for ever. Suspicion falls on what was on its way
//! when two connections in a row ended. From then on the suspects go first and one piece at a time, each half of
//! what is left; on each connection a batch without events goes before them. Where that one passed, the piece
//! at which the connection then ends holds the event at fault, and what the broker takes is innocent:
//!
//! | hang-ups | until |
//! |---|---|
//! | 2 | the batches that were on their way both times are suspected |
//! | 1 | it is known which batch it is: it was alone |
//! | 8 | of its 256 events half are left each time |
//! | 2 | the last one has failed three times where others pass, and is given up |
//!
//! So an event on which a broker hangs up, and on nothing else, costs [`MOST_HANG_UPS`](super::MOST_HANG_UPS)
//! connections at most, however many batches were on their way. An end where nothing had passed before is an
//! outage: it costs no event, and tells nothing.

use alloc::string::String;
use alloc::vec::Vec;

use hangtag_protocol::id::{Epoch, Seq};
use hangtag_protocol::range::{SeqRange, SeqSet};

use super::Uplink;

/// So often a single event may fail where other batches pass.
pub(super) const ALONE: u8 = 3;

/// The search for an event at fault.
#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    /// Events one of which may be at fault; none when nothing is suspected.
    suspects: Vec<(Epoch, SeqRange)>,
    /// They were on their way when two connections in a row ended.
    narrowing: bool,
    /// How often the connection ended at the one that is left.
    strikes: u8,
    /// The size of the smallest piece of several events at which it ended, in bytes; and of the largest piece
    /// that was taken.
    hung: Option<usize>,
    passed: usize,
}

/// What the end of a connection tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clue {
    /// Nothing; it may have been an outage.
    None,
    /// Fewer events are suspected, or one more certainly.
    Nearer,
    /// This event cannot be sent.
    Found(Epoch, SeqRange),
}

impl Search {
    /// Whether batches go one at a time, after one that shows whether the broker takes anything.
    pub(super) fn is_narrowing(&self) -> bool {
        self.narrowing
    }

    /// A connection ended while these batches, with their sizes in bytes, were on their way; or the broker
    /// refused one. `proved`: the connection had taken another batch before.
    pub(super) fn handle_end(&mut self, lost: &[(Epoch, SeqRange, usize)], proved: bool) -> Clue {
        let ranges = lost.iter().filter(|(_, range, _)| !range.is_empty());
        let ranges: Vec<(Epoch, SeqRange)> = ranges.map(|(epoch, range, _)| (*epoch, *range)).collect();
        if self.narrowing {
            return match lost {
                [(epoch, range, bytes)] if proved && !range.is_empty() => {
                    self.convict(*epoch, *range, *bytes)
                }
                _ => Clue::None,
            };
        }
        if ranges.is_empty() {
            return Clue::None;
        }
        let known = self.suspects.iter();
        let both = known.flat_map(|known| ranges.iter().filter_map(move |lost| common(known, lost)));
        let both: Vec<_> = both.collect();
        self.narrowing = !both.is_empty();
        self.suspects = if both.is_empty() { ranges } else { both };
        Clue::None
    }

    /// The connection ended at this piece, which was alone on its way.
    fn convict(&mut self, epoch: Epoch, range: SeqRange, bytes: usize) -> Clue {
        if range.len() > 1 {
            self.hung = Some(bytes);
            (self.suspects, self.strikes) = (Vec::from([(epoch, range)]), 0);
            return Clue::Nearer;
        }
        let again = self.suspects == [(epoch, range)];
        self.strikes = if again { self.strikes + 1 } else { 1 };
        self.suspects = Vec::from([(epoch, range)]);
        if self.strikes < ALONE {
            return Clue::Nearer;
        }
        *self = Self::default();
        Clue::Found(epoch, range)
    }

    /// The broker took a batch. Returns how large batches may be, in bytes, if that ends the search and it was
    /// the size.
    pub(super) fn handle_taken(&mut self, epoch: Epoch, range: SeqRange, bytes: usize) -> Option<usize> {
        if self.suspects.is_empty() {
            return None;
        }
        self.passed = self.passed.max(bytes);
        let (hung, passed) = (self.hung, self.passed);
        self.forget(epoch, range);
        // One that is larger than what it ended at shows that the size was not the cause.
        hung.filter(|hung| self.suspects.is_empty() && passed < *hung).map(|hung| passed.max(hung / 2))
    }

    /// These events are innocent, or are not to be sent any more.
    pub(super) fn forget(&mut self, epoch: Epoch, range: SeqRange) {
        if self.suspects.is_empty() {
            return;
        }
        let gone = SeqSet::from(Vec::from([range]));
        let left = self.suspects.iter().flat_map(|(of, suspect)| {
            let left = if *of == epoch { gone.missing_in(*suspect) } else { Vec::from([*suspect]) };
            left.into_iter().map(|range| (*of, range))
        });
        self.suspects = left.collect();
        if self.suspects.is_empty() {
            *self = Self::default();
        }
    }

    /// Keeps the suspects that are still to be sent.
    pub(super) fn keep(&mut self, to_be_sent: impl Fn(Epoch, SeqRange) -> bool) {
        for (epoch, range) in self.suspects.clone() {
            if !to_be_sent(epoch, range) {
                self.forget(epoch, range);
            }
        }
    }

    /// What is to be tried, most of all the first: ranges, and how many events of one at most.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (Epoch, SeqRange, u64)> {
        let suspects = if self.narrowing { &self.suspects[..] } else { &[] };
        let half = suspects.iter().map(|(_, range)| range.len()).sum::<u64>().div_ceil(2);
        suspects.iter().map(move |(epoch, range)| (*epoch, *range, half))
    }

    /// As much of a batch as may go at once: suspects go alone, and no more of them than a piece.
    pub(super) fn clip(&self, epoch: Epoch, range: SeqRange) -> SeqRange {
        let suspect = self.pieces().filter_map(|(of, suspect, most)| {
            let inside = common(&(of, suspect), &(epoch, range))?.1;
            Some((inside, most))
        });
        match suspect.min_by_key(|(inside, _)| inside.first) {
            Some((inside, most)) if inside.first == range.first => {
                SeqRange { last: inside.last.min(inside.first.plus(most - 1)), ..inside }
            }
            Some((inside, _)) => SeqRange { last: Seq(inside.first.0 - 1), ..range },
            None => range,
        }
    }
}

impl Uplink {
    /// Batches were on their way when their connection ended, or one was refused.
    pub(super) fn lose(&mut self, lost: &[(Epoch, SeqRange, usize)], proved: bool) {
        let clue = self.trouble.handle_end(lost, proved);
        self.nearer |= clue != Clue::None;
        if let Clue::Found(epoch, range) = clue {
            let why = String::from("the broker takes other batches and ends the connection at this event");
            self.set_aside(epoch, range, why);
        }
    }
}

/// What two batches have in common.
fn common(one: &(Epoch, SeqRange), other: &(Epoch, SeqRange)) -> Option<(Epoch, SeqRange)> {
    let range = SeqRange { first: one.1.first.max(other.1.first), last: one.1.last.min(other.1.last) };
    (one.0 == other.0 && !range.is_empty()).then_some((one.0, range))
}

#[cfg(test)]
mod tests {
    use super::*;

    const E: Epoch = Epoch(1);

    fn end(search: &mut Search, ranges: &[(u64, u64)], proved: bool) -> Clue {
        let lost: Vec<_> =
            ranges.iter().map(|(first, last)| (E, SeqRange::new(*first, *last), 1_000)).collect();
        search.handle_end(&lost, proved)
    }

    fn pieces(search: &Search) -> Vec<(SeqRange, u64)> {
        search.pieces().map(|(_, range, most)| (range, most)).collect()
    }

    #[test]
    fn what_was_on_its_way_at_two_ends_is_suspected() {
        let mut search = Search::default();
        assert_eq!(end(&mut search, &[(1, 256)], true), Clue::None);
        assert!(!search.is_narrowing());
        search.handle_taken(E, SeqRange::new(1, 256), 1_000);
        end(&mut search, &[(1, 256), (257, 512)], true);
        assert!(!search.is_narrowing(), "it passed in between");
        end(&mut search, &[(600, 700)], true);
        assert!(!search.is_narrowing(), "others");
        end(&mut search, &[(650, 750), (800, 900)], false);
        assert_eq!(pieces(&search), [(SeqRange::new(650, 700), 26)]);
    }

    #[test]
    fn an_outage_tells_nothing() {
        let mut search = Search::default();
        for _ in 0..50 {
            assert_eq!(end(&mut search, &[(1, 256), (257, 512)], false), Clue::None);
        }
        assert_eq!(end(&mut search, &[(1, 256), (257, 512)], true), Clue::None, "which of them?");
        assert_eq!(pieces(&search), [(SeqRange::new(1, 256), 256), (SeqRange::new(257, 512), 256)]);
    }

    #[test]
    fn one_event_is_given_up_after_three_ends_where_others_pass() {
        let mut search = Search::default();
        for _ in 0..2 {
            end(&mut search, &[(7, 7)], false);
        }
        assert_eq!(end(&mut search, &[(7, 7)], true), Clue::Nearer);
        assert_eq!(end(&mut search, &[(7, 7)], false), Clue::None);
        assert_eq!(end(&mut search, &[(7, 7)], true), Clue::Nearer);
        assert_eq!(end(&mut search, &[(7, 7)], true), Clue::Found(E, SeqRange::new(7, 7)));
        assert!(!search.is_narrowing());
    }

    #[test]
    fn a_search_that_finds_no_event_tells_the_size() {
        let mut search = Search::default();
        for _ in 0..2 {
            end(&mut search, &[(1, 4)], false);
        }
        end(&mut search, &[(1, 4)], true);
        assert_eq!(search.handle_taken(E, SeqRange::new(1, 2), 550), None, "there are more");
        assert_eq!(search.handle_taken(E, SeqRange::new(3, 4), 600), Some(600));
        assert!(!search.is_narrowing());
        // An outage in the middle of a piece; a larger one passes.
        for _ in 0..2 {
            end(&mut search, &[(1, 4), (5, 9)], false);
        }
        search.handle_taken(E, SeqRange::new(5, 9), 1_200);
        end(&mut search, &[(1, 2)], true);
        assert_eq!(search.handle_taken(E, SeqRange::new(1, 2), 700), None);
    }

    #[test]
    fn other_batches_end_before_the_suspects() {
        let mut search = Search::default();
        for _ in 0..2 {
            end(&mut search, &[(101, 110)], false);
        }
        assert_eq!(search.clip(E, SeqRange::new(50, 200)), SeqRange::new(50, 100));
        assert_eq!(search.clip(E, SeqRange::new(104, 200)), SeqRange::new(104, 108));
        assert_eq!(search.clip(E, SeqRange::new(111, 200)), SeqRange::new(111, 200));
        assert_eq!(search.clip(Epoch(2), SeqRange::new(50, 200)), SeqRange::new(50, 200));
        search.keep(|_, range| range.first.0 > 200);
        assert!(!search.is_narrowing());
    }
}

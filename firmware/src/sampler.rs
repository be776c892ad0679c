//! Condenses reads. Enters: every read of a module that sees hundreds of tags a second. Leaves: per
//! tag and antenna one [`Condensed`] for each stretch of time, with nothing lost of how many reads
//! there were, when the first and last came, how strong they were at most, at least and at last. Memory is
//! fixed: when there is no room the oldest is handed out before its time, never dropped.
//!
//! There is no queue inside: what [`Sampler::handle_read`] pushes out it returns, so that the caller
//! decides where it waits. Phase and channel are those of the last read, because a mean of angles over
//! hopping carriers says nothing; a line that is fast enough for every read should carry every read.

use arrayvec::ArrayVec;
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::link::message::Condensed;
use hangtag_protocol::read::Read;

/// Condenses reads of up to `N` pairs of tag and antenna at a time.
#[derive(Debug)]
pub struct Sampler<const N: usize> {
    window_ms: u16,
    open: ArrayVec<Open, N>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    first: Uptime,
    strongest: i16,
    weakest: i16,
    count: u16,
    last: Read,
}

impl<const N: usize> Sampler<N> {
    /// A sampler whose stretches span at most so many milliseconds; with 0 each read is one. Fails to compile
    /// when `N` is 0.
    #[must_use]
    pub fn new(window_ms: u16) -> Self {
        const { assert!(N > 0, "a sampler needs room for one") };
        Self { window_ms, open: ArrayVec::new() }
    }

    /// Takes a read. Reads may come in any order of time. What is returned had to make room: the
    /// earlier stretch of the same tag and antenna, or the oldest of all.
    #[must_use = "what is handed out is nowhere else"]
    pub fn handle_read(&mut self, read: &Read) -> Option<Condensed> {
        let window = u64::from(self.window_ms);
        if window == 0 {
            return Some(Condensed::single(read));
        }
        let mine =
            self.open.iter().position(|open| open.last.epc == read.epc && open.last.antenna == read.antenna);
        let handed_out = match mine {
            Some(at) if self.open[at].takes(read, window) => {
                self.open[at].add(read);
                return None;
            }
            Some(at) => Some(self.open.swap_remove(at).close()),
            None if self.open.is_full() => self.take_oldest(),
            None => None,
        };
        self.open.push(Open::new(read));
        handed_out
    }

    /// Hands out the oldest stretch, if it is over: no read of this moment would belong to it. Call it
    /// until it returns `None`.
    #[must_use = "what is handed out is nowhere else"]
    pub fn poll_condensed(&mut self, now: Uptime) -> Option<Condensed> {
        let over = self.poll_timeout().is_some_and(|due| due <= now);
        if over { self.take_oldest() } else { None }
    }

    /// When the oldest stretch will be over; `None` when there is none.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Uptime> {
        self.open.iter().map(|open| open.first).min().map(|first| first + u64::from(self.window_ms) + 1)
    }

    /// Hands out the oldest stretch, over or not: to empty the sampler before the node stops.
    #[must_use = "what is handed out is nowhere else"]
    pub fn take_oldest(&mut self) -> Option<Condensed> {
        let (oldest, _) = self.open.iter().enumerate().min_by_key(|(_, open)| open.first)?;
        Some(self.open.swap_remove(oldest).close())
    }
}

impl Open {
    fn new(read: &Read) -> Self {
        Self { first: read.at, strongest: read.rssi_cdbm, weakest: read.rssi_cdbm, count: 1, last: *read }
    }

    /// Whether the stretch has room for the read, in time and in its count.
    fn takes(&self, read: &Read, window: u64) -> bool {
        self.last.at.max(read.at).since(self.first.min(read.at)) <= window && self.count < u16::MAX
    }

    fn add(&mut self, read: &Read) {
        self.count += 1;
        self.first = self.first.min(read.at);
        self.strongest = self.strongest.max(read.rssi_cdbm);
        self.weakest = self.weakest.min(read.rssi_cdbm);
        if read.at >= self.last.at {
            self.last = *read;
        }
    }

    fn close(self) -> Condensed {
        let span_ms = self.last.at.since(self.first);
        Condensed {
            count: self.count,
            span_ms: u16::try_from(span_ms).expect("a stretch is no longer than the window"),
            strongest_cdbm: self.strongest,
            weakest_cdbm: self.weakest,
            ..Condensed::single(&self.last)
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use hangtag_protocol::epc::Epc;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    fn first(condensed: &Condensed) -> Uptime {
        condensed.last - u64::from(condensed.span_ms)
    }

    fn read(tag: u8, antenna: u8, at: u64, rssi_cdbm: i16) -> Read {
        let epc = Epc::new(&[tag; 12]).unwrap();
        Read { at: Uptime(at), epc, antenna, rssi_cdbm, phase_ddeg: None, channel_khz: None }
    }

    #[test]
    fn reads_of_one_window_become_one() {
        let mut sampler = Sampler::<4>::new(100);
        for (at, rssi) in [(1_000, -6_000), (1_040, -5_000), (1_100, -7_001)] {
            assert_eq!(sampler.handle_read(&read(1, 1, at, rssi)), None);
        }
        assert_eq!(sampler.poll_timeout(), Some(Uptime(1_101)));
        assert_eq!(sampler.poll_condensed(Uptime(1_100)), None, "a read at 1,100 would still belong to it");
        assert_eq!(
            sampler.poll_condensed(Uptime(1_101)),
            Some(Condensed {
                epc: Epc::new(&[1; 12]).unwrap(),
                antenna: 1,
                count: 3,
                last: Uptime(1_100),
                span_ms: 100,
                strongest_cdbm: -5_000,
                weakest_cdbm: -7_001,
                last_cdbm: -7_001,
                phase_ddeg: None,
                channel_khz: None,
            })
        );
        assert_eq!((sampler.poll_condensed(Uptime(9_999)), sampler.poll_timeout()), (None, None));
    }

    #[test]
    fn what_is_last_is_so_by_its_time() {
        let mut sampler = Sampler::<4>::new(100);
        let last = Read { phase_ddeg: Some(900), channel_khz: Some(865_700), ..read(1, 1, 50, -5_000) };
        for read in [read(1, 1, 20, -7_000), last, read(1, 1, 40, -6_000)] {
            assert_eq!(sampler.handle_read(&read), None);
        }
        let told = sampler.take_oldest().unwrap();
        assert_eq!((told.last, told.span_ms, told.last_cdbm), (Uptime(50), 30, -5_000));
        assert_eq!((told.phase_ddeg, told.channel_khz), (Some(900), Some(865_700)));
    }

    #[test]
    fn without_a_window_each_read_is_told() {
        let mut sampler = Sampler::<4>::new(0);
        for _ in 0..2 {
            assert_eq!(sampler.handle_read(&read(1, 1, 7, -5_000)).unwrap().count, 1);
        }
        assert_eq!(sampler.poll_timeout(), None);
    }

    #[test]
    fn antennas_are_kept_apart() {
        let mut sampler = Sampler::<4>::new(100);
        assert_eq!(sampler.handle_read(&read(1, 1, 0, -5_000)), None);
        assert_eq!(sampler.handle_read(&read(1, 2, 0, -6_000)), None);
        let mut antennas: Vec<_> =
            core::iter::from_fn(|| sampler.take_oldest()).map(|c| (c.antenna, c.count)).collect();
        antennas.sort_unstable();
        assert_eq!(antennas, [(1, 1), (2, 1)]);
    }

    #[test]
    fn a_read_after_the_window_hands_out_the_stretch_before() {
        let mut sampler = Sampler::<4>::new(100);
        assert_eq!(sampler.handle_read(&read(1, 1, 0, -5_000)), None);
        let before = sampler.handle_read(&read(1, 1, 101, -6_000)).unwrap();
        assert_eq!((before.count, before.last), (1, Uptime(0)));
        assert_eq!(sampler.take_oldest().unwrap().last, Uptime(101));
    }

    #[test]
    fn without_room_the_oldest_is_handed_out_early() {
        let mut sampler = Sampler::<2>::new(1_000);
        assert_eq!(sampler.handle_read(&read(1, 1, 20, -5_000)), None);
        assert_eq!(sampler.handle_read(&read(2, 1, 10, -5_000)), None);
        let oldest = sampler.handle_read(&read(3, 1, 30, -5_000)).unwrap();
        assert_eq!((oldest.epc, oldest.last), (Epc::new(&[2; 12]).unwrap(), Uptime(10)));
        assert_eq!(sampler.poll_timeout(), Some(Uptime(1_021)));
    }

    #[test]
    fn a_full_count_starts_a_new_stretch() {
        for rssi in [i16::MIN, i16::MAX] {
            let mut sampler = Sampler::<1>::new(1_000);
            for _ in 0..u16::MAX {
                assert_eq!(sampler.handle_read(&read(1, 1, 5, rssi)), None);
            }
            let full = sampler.handle_read(&read(1, 1, 5, rssi)).unwrap();
            assert_eq!((full.count, full.last_cdbm), (u16::MAX, rssi));
            assert_eq!(sampler.take_oldest().unwrap().count, 1);
        }
    }

    #[test]
    fn a_clock_near_its_end_does_not_overflow() {
        let mut sampler = Sampler::<1>::new(u16::MAX);
        assert_eq!(sampler.handle_read(&read(1, 1, u64::MAX, -5_000)), None);
        assert_eq!(sampler.poll_condensed(Uptime(u64::MAX)).unwrap().count, 1);
    }

    type Sums = BTreeMap<(Epc, u8), Vec<(u64, i16)>>;

    proptest! {
        /// Whatever the order, the window and the room: per tag and antenna the counts add up, the
        /// extremes are those of all reads, the last level is one of the last moment, and no stretch is longer than
        /// the window.
        #[test]
        fn nothing_is_lost(
            reads in prop::collection::vec(
                (0u8..6, 1u8..3, 0u64..5_000, any::<i16>(), prop::bool::weighted(0.2)), 0..300),
            window in 0u16..2_000,
        ) {
            let mut sampler = Sampler::<5>::new(window);
            let (mut plain, mut out) = (Sums::new(), Vec::new());
            for &(tag, antenna, at, rssi, poll) in &reads {
                let read = read(tag, antenna, at, rssi);
                plain.entry((read.epc, antenna)).or_default().push((at, rssi));
                out.extend(sampler.handle_read(&read));
                if poll {
                    while let Some(condensed) = sampler.poll_condensed(Uptime(at)) {
                        prop_assert!(at > first(&condensed).0 + u64::from(window));
                        out.push(condensed);
                    }
                }
            }
            out.extend(core::iter::from_fn(|| sampler.take_oldest()));
            for condensed in &out {
                prop_assert!(condensed.span_ms <= window);
                prop_assert!((condensed.weakest_cdbm..=condensed.strongest_cdbm).contains(&condensed.last_cdbm));
            }
            for (key, seen) in &plain {
                let mine: Vec<_> = out.iter().filter(|c| (c.epc, c.antenna) == *key).collect();
                let count: usize = mine.iter().map(|c| usize::from(c.count)).sum();
                prop_assert_eq!(count, seen.len());
                prop_assert_eq!(mine.iter().map(|c| first(c).0).min(), seen.iter().map(|s| s.0).min());
                prop_assert_eq!(mine.iter().map(|c| c.last.0).max(), seen.iter().map(|s| s.0).max());
                prop_assert_eq!(mine.iter().map(|c| c.strongest_cdbm).max(), seen.iter().map(|s| s.1).max());
                prop_assert_eq!(mine.iter().map(|c| c.weakest_cdbm).min(), seen.iter().map(|s| s.1).min());
                let latest = seen.iter().map(|s| s.0).max();
                let levels: Vec<_> = mine.iter().filter(|c| Some(c.last.0) == latest).map(|c| c.last_cdbm).collect();
                prop_assert!(seen.iter().any(|s| Some(s.0) == latest && levels.contains(&s.1)));
            }
            let handed: usize = out.iter().map(|c| usize::from(c.count)).sum();
            prop_assert_eq!(handed, reads.len(), "nothing is made up");
        }
    }
}

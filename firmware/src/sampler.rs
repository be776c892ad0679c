//! Condenses reads. Enters: every read of a module that sees hundreds of tags a second. Leaves: per
//! tag and antenna one [`Condensed`] for each stretch of time, with nothing lost of how many reads
//! there were, when the first and last came, and how strong they were. Memory is fixed: when there is no
//! room the oldest is handed out before its time, never dropped.
//!
//! There is no queue inside: what [`Sampler::handle_read`] pushes out it returns, so that the caller
//! decides where it waits. Phase and channel are not condensed, because a mean of angles over hopping
//! carriers says nothing; a line that is fast enough for every read should carry every read.

use arrayvec::ArrayVec;
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::read::Read;

/// Reads of one tag at one antenna within one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condensed {
    /// The tag.
    pub epc: Epc,
    /// The reader's port, counted from 1.
    pub antenna: u8,
    /// How many reads, at least 1.
    pub count: u16,
    /// When the earliest came.
    pub first: Uptime,
    /// When the latest came, at most the window after `first`.
    pub last: Uptime,
    /// The strongest, in hundredths of a dBm.
    pub strongest_cdbm: i16,
    /// The weakest, in hundredths of a dBm.
    pub weakest_cdbm: i16,
    /// The mean of the decibel values (not of the powers), in hundredths of a dBm, rounded to the
    /// nearest and halves away from zero.
    pub mean_cdbm: i16,
}

/// Condenses reads of up to `N` pairs of tag and antenna at a time.
#[derive(Debug)]
pub struct Sampler<const N: usize> {
    window_ms: u32,
    open: ArrayVec<Open, N>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    epc: Epc,
    antenna: u8,
    count: u16,
    first: Uptime,
    last: Uptime,
    strongest: i16,
    weakest: i16,
    // 65,535 times the least or the greatest 16-bit number still fits.
    sum: i32,
}

impl<const N: usize> Sampler<N> {
    /// A sampler whose stretches span at most so many milliseconds; 0 condenses only reads of the same
    /// millisecond. Fails to compile when `N` is 0.
    #[must_use]
    pub fn new(window_ms: u32) -> Self {
        const { assert!(N > 0, "a sampler needs room for one") };
        Self { window_ms, open: ArrayVec::new() }
    }

    /// Takes a read. Reads may come in any order of time. What is returned had to make room: the
    /// earlier stretch of the same tag and antenna, or the oldest of all.
    #[must_use = "what is handed out is nowhere else"]
    pub fn handle_read(&mut self, read: &Read) -> Option<Condensed> {
        let window = u64::from(self.window_ms);
        let mine = self.open.iter().position(|open| open.epc == read.epc && open.antenna == read.antenna);
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
        Self {
            epc: read.epc,
            antenna: read.antenna,
            count: 1,
            first: read.at,
            last: read.at,
            strongest: read.rssi_cdbm,
            weakest: read.rssi_cdbm,
            sum: read.rssi_cdbm.into(),
        }
    }

    /// Whether the stretch has room for the read, in time and in its count.
    fn takes(&self, read: &Read, window: u64) -> bool {
        self.last.max(read.at).since(self.first.min(read.at)) <= window && self.count < u16::MAX
    }

    fn add(&mut self, read: &Read) {
        self.count += 1;
        self.first = self.first.min(read.at);
        self.last = self.last.max(read.at);
        self.strongest = self.strongest.max(read.rssi_cdbm);
        self.weakest = self.weakest.min(read.rssi_cdbm);
        self.sum += i32::from(read.rssi_cdbm);
    }

    fn close(self) -> Condensed {
        let count = i32::from(self.count);
        let half = if self.sum < 0 { -count / 2 } else { count / 2 };
        // Halves are added to the rest and not to the sum, which may be near its end.
        let mean = self.sum / count + (self.sum % count + half) / count;
        Condensed {
            epc: self.epc,
            antenna: self.antenna,
            count: self.count,
            first: self.first,
            last: self.last,
            strongest_cdbm: self.strongest,
            weakest_cdbm: self.weakest,
            mean_cdbm: i16::try_from(mean).expect("a mean lies between the extremes"),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

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
                first: Uptime(1_000),
                last: Uptime(1_100),
                strongest_cdbm: -5_000,
                weakest_cdbm: -7_001,
                mean_cdbm: -6_000,
            })
        );
        assert_eq!((sampler.poll_condensed(Uptime(9_999)), sampler.poll_timeout()), (None, None));
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
        assert_eq!(sampler.take_oldest().unwrap().first, Uptime(101));
    }

    #[test]
    fn without_room_the_oldest_is_handed_out_early() {
        let mut sampler = Sampler::<2>::new(1_000);
        assert_eq!(sampler.handle_read(&read(1, 1, 20, -5_000)), None);
        assert_eq!(sampler.handle_read(&read(2, 1, 10, -5_000)), None);
        let oldest = sampler.handle_read(&read(3, 1, 30, -5_000)).unwrap();
        assert_eq!((oldest.epc, oldest.first), (Epc::new(&[2; 12]).unwrap(), Uptime(10)));
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
            assert_eq!((full.count, full.mean_cdbm), (u16::MAX, rssi));
            assert_eq!(sampler.take_oldest().unwrap().count, 1);
        }
    }

    #[test]
    fn a_clock_near_its_end_does_not_overflow() {
        let mut sampler = Sampler::<1>::new(u32::MAX);
        assert_eq!(sampler.handle_read(&read(1, 1, u64::MAX, -5_000)), None);
        assert_eq!(sampler.poll_condensed(Uptime(u64::MAX)).unwrap().count, 1);
    }

    type Sums = BTreeMap<(Epc, u8), Vec<(u64, i16)>>;

    proptest! {
        /// Whatever the order, the window and the room: per tag and antenna the counts add up, the
        /// extremes are those of all reads, the sums agree, and no stretch is longer than the window.
        #[test]
        fn nothing_is_lost(
            reads in prop::collection::vec(
                (0u8..6, 1u8..3, 0u64..5_000, any::<i16>(), prop::bool::weighted(0.2)), 0..300),
            window in 0u32..2_000,
        ) {
            let mut sampler = Sampler::<5>::new(window);
            let (mut plain, mut out) = (Sums::new(), Vec::new());
            for &(tag, antenna, at, rssi, poll) in &reads {
                let read = read(tag, antenna, at, rssi);
                plain.entry((read.epc, antenna)).or_default().push((at, rssi));
                out.extend(sampler.handle_read(&read));
                if poll {
                    while let Some(condensed) = sampler.poll_condensed(Uptime(at)) {
                        prop_assert!(at > condensed.first.0 + u64::from(window));
                        out.push(condensed);
                    }
                }
            }
            out.extend(core::iter::from_fn(|| sampler.take_oldest()));
            for condensed in &out {
                prop_assert!(condensed.last.since(condensed.first) <= u64::from(window));
                prop_assert!(condensed.first <= condensed.last);
                prop_assert!((condensed.weakest_cdbm..=condensed.strongest_cdbm).contains(&condensed.mean_cdbm));
            }
            for (key, seen) in &plain {
                let mine: Vec<_> = out.iter().filter(|c| (c.epc, c.antenna) == *key).collect();
                let count: usize = mine.iter().map(|c| usize::from(c.count)).sum();
                prop_assert_eq!(count, seen.len());
                prop_assert_eq!(mine.iter().map(|c| c.first.0).min(), seen.iter().map(|s| s.0).min());
                prop_assert_eq!(mine.iter().map(|c| c.last.0).max(), seen.iter().map(|s| s.0).max());
                prop_assert_eq!(mine.iter().map(|c| c.strongest_cdbm).max(), seen.iter().map(|s| s.1).max());
                prop_assert_eq!(mine.iter().map(|c| c.weakest_cdbm).min(), seen.iter().map(|s| s.1).min());
                // A rounded mean is at most half off: together at most half of the count.
                let told: i64 = mine.iter().map(|c| i64::from(c.mean_cdbm) * i64::from(c.count)).sum();
                let right: i64 = seen.iter().map(|s| i64::from(s.1)).sum();
                prop_assert!(2 * (told - right).unsigned_abs() <= seen.len() as u64);
            }
            let handed: usize = out.iter().map(|c| usize::from(c.count)).sum();
            prop_assert_eq!(handed, reads.len(), "nothing is made up");
        }
    }
}

//! How often somebody may do something. Enters: who does it, and the time. Leaves: whether they may, or after how long.
//! What is remembered is bounded whoever comes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The most that are remembered at a time; beyond it whoever began first is forgotten.
const REMEMBERED: usize = 10_000;

/// Counts per key, each in a window of time that begins with the first.
#[derive(Debug)]
pub(crate) struct Tally<K> {
    most: u32,
    within: Duration,
    windows: BTreeMap<K, Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Instant,
    count: u32,
}

impl<K: Ord + Clone> Tally<K> {
    /// Lets everybody do something so often within such a time.
    pub(crate) fn new(most: u32, within: Duration) -> Self {
        Self { most, within, windows: BTreeMap::new() }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// When it is one too many: how long until the next may be.
    pub(crate) fn take(&mut self, key: &K, now: Instant) -> Result<(), Duration> {
        let within = self.within;
        let is_over = |window: &Window| now.saturating_duration_since(window.began) >= within;
        match self.windows.get_mut(key) {
            Some(window) if !is_over(window) => {
                if window.count >= self.most {
                    return Err(within - now.saturating_duration_since(window.began));
                }
                window.count += 1;
            }
            Some(_) | None => {
                if self.windows.len() >= REMEMBERED {
                    self.windows.retain(|_, window| !is_over(window));
                }
                if self.windows.len() >= REMEMBERED {
                    let first = self.windows.iter().min_by_key(|(_, window)| window.began);
                    if let Some(first) = first.map(|(key, _)| key.clone()) {
                        self.windows.remove(&first);
                    }
                }
                self.windows.insert(key.clone(), Window { began: now, count: 1 });
            }
        }
        Ok(())
    }

    /// Takes one back that did not count after all.
    pub(crate) fn give_back(&mut self, key: &K) {
        if let Some(window) = self.windows.get_mut(key) {
            window.count = window.count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn whoever_does_it_too_often_waits_and_others_do_not() {
        let mut tally = Tally::new(2, MINUTE);
        let now = Instant::now();
        assert_eq!(tally.take(&1, now), Ok(()));
        assert_eq!(tally.take(&1, now + MINUTE / 2), Ok(()));
        assert_eq!(tally.take(&1, now + MINUTE / 2), Err(MINUTE / 2));
        assert_eq!(tally.take(&2, now + MINUTE / 2), Ok(()));
        assert_eq!(tally.take(&1, now + MINUTE), Ok(()));
        tally.give_back(&1);
        assert_eq!([(); 3].map(|()| tally.take(&1, now + MINUTE).is_ok()), [true, true, false]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut tally = Tally::new(1, MINUTE);
        let now = Instant::now();
        let all = u64::try_from(REMEMBERED).unwrap();
        for key in 0..all + 100 {
            tally.take(&key, now + Duration::from_millis(key)).unwrap();
        }
        assert_eq!(tally.windows.len(), REMEMBERED);
        let later = now + Duration::from_millis(all + 100);
        assert!(tally.take(&(all + 99), later).is_err(), "the latest are remembered");
        assert!(tally.take(&0, later).is_ok(), "the first is forgotten");
        tally.take(&u64::MAX, now + 2 * MINUTE).unwrap();
        assert_eq!(tally.windows.len(), 1, "those whose time is over go first");
    }
}

//! How fast the backlog may go. Enters: bytes that were sent, how long central took for them. Leaves: whether
//! more may be sent. A live event waits in the broker and in central behind all that was sent before it, so
//! the unsettled part of the backlog is kept as large as central settles in a quarter of a second.

use hangtag_protocol::clock::Uptime;

/// Unsettled bytes of the backlog: at least, at first and at most. The rest of what may be unsettled is left
/// to live events.
const BACKLOG_BYTES: (u64, u64, u64) = (32 << 10, 128 << 10, 960 << 10);
/// A backlog batch that took longer than this to be settled says that there is too much of it, in
/// milliseconds.
const SLOW_MS: u64 = 400;
/// Below this there is room for more.
const QUICK_MS: u64 = 250;
/// By how much the backlog's share grows at a time once central was too slow; before, it grows at once to what
/// central is seen to settle in [`QUICK_MS`].
const GROWTH: u64 = 64 << 10;

/// How much of the backlog may be unsettled.
#[derive(Clone, Debug)]
pub(super) struct Share {
    limit: u64,
    /// Central was too slow once: from then on the limit grows by steps.
    found: bool,
    /// Batches that were sent before do not know of the latest halving.
    halved_at: Uptime,
}

impl Share {
    pub(super) fn new() -> Self {
        Self { limit: BACKLOG_BYTES.1, found: false, halved_at: Uptime(0) }
    }

    pub(super) fn has_room(&self, unsettled: u64) -> bool {
        unsettled < self.limit
    }

    /// One watermark settled `settled` bytes of the backlog, of `unsettled` that had been on their way; the
    /// slowest batch was sent at `sent_at`.
    pub(super) fn handle_settled(&mut self, sent_at: Uptime, settled: u64, unsettled: u64, now: Uptime) {
        let took = now.since(sent_at);
        if took > SLOW_MS && sent_at >= self.halved_at {
            self.limit = (self.limit / 2).max(BACKLOG_BYTES.0);
            (self.found, self.halved_at) = (true, now);
        } else if took < QUICK_MS && unsettled >= self.limit / 2 {
            // A limit that was not in use proved nothing.
            let grown = if self.found {
                self.limit + GROWTH
            } else {
                (self.limit * 2).max(settled.saturating_mul(QUICK_MS) / took.max(1))
            };
            self.limit = grown.min(BACKLOG_BYTES.2);
        }
    }
}

/// Bytes per second, as a bucket that fills at that rate. Live events may overdraw it.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    bytes_per_s: Option<u64>,
    /// Thousandths of bytes; at most those of a second.
    level: i64,
    at: Uptime,
}

impl Bucket {
    pub(super) fn new(bytes_per_s: Option<u64>) -> Self {
        Self { bytes_per_s, level: 0, at: Uptime(0) }
    }

    /// When the backlog may go on.
    pub(super) fn ready_at(&self) -> Uptime {
        match self.bytes_per_s {
            Some(rate) if self.level < 0 => self.at + self.level.unsigned_abs().div_ceil(rate.max(1)),
            Some(_) | None => self.at,
        }
    }

    pub(super) fn take(&mut self, bytes: usize, now: Uptime) {
        let Some(rate) = self.bytes_per_s else { return };
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let filled = signed(rate.saturating_mul(now.since(self.at)));
        let full = signed(rate.saturating_mul(1_000));
        self.level = self.level.saturating_add(filled).min(full);
        self.level = self.level.saturating_sub(signed((bytes as u64).saturating_mul(1_000)));
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_central_halves_the_backlog_once_per_round() {
        let mut share = Share::new();
        share.handle_settled(Uptime(0), 1 << 20, 1 << 20, Uptime(500));
        assert!(share.has_room((64 << 10) - 1) && !share.has_room(64 << 10));
        share.handle_settled(Uptime(400), 1 << 20, 1 << 20, Uptime(900));
        assert!(!share.has_room(64 << 10) && share.has_room(63 << 10), "sent before the halving");
        for round in 1..20 {
            share.handle_settled(Uptime(1_000 * round), 1 << 20, 1 << 20, Uptime(1_000 * round + 500));
        }
        assert!(share.has_room((32 << 10) - 1) && !share.has_room(32 << 10), "never less");
    }

    #[test]
    fn a_quick_central_gets_more_of_the_backlog() {
        let mut share = Share::new();
        share.handle_settled(Uptime(0), 100, 100, Uptime(10));
        assert!(!share.has_room(128 << 10), "there was no need");
        for _ in 0..40 {
            share.handle_settled(Uptime(0), 1 << 20, 1 << 20, Uptime(200));
        }
        assert!(share.has_room((960 << 10) - 1) && !share.has_room(960 << 10), "never more");
    }

    #[test]
    fn until_central_was_too_slow_it_gets_at_once_what_it_is_seen_to_settle() {
        let mut share = Share::new();
        share.handle_settled(Uptime(0), 128 << 10, 128 << 10, Uptime(50));
        assert!(share.has_room((640 << 10) - 1) && !share.has_room(640 << 10), "as much in 250 ms");
        let mut share = Share::new();
        share.handle_settled(Uptime(0), 4 << 10, 128 << 10, Uptime(200));
        assert!(share.has_room((256 << 10) - 1) && !share.has_room(256 << 10), "twice as much at least");
        share.handle_settled(Uptime(0), 1 << 20, 1 << 20, Uptime(500));
        share.handle_settled(Uptime(500), 128 << 10, 128 << 10, Uptime(510));
        assert!(share.has_room((192 << 10) - 1) && !share.has_room(192 << 10), "by steps from then on");
    }

    #[test]
    fn the_bucket_holds_the_rate() {
        let mut bucket = Bucket::new(Some(10_240));
        let (mut now, mut sent) = (Uptime(5_000), 0);
        bucket.take(0, now);
        let until = now + 60_000;
        while now < until {
            if bucket.ready_at() <= now {
                bucket.take(4_000, now);
                sent += 4_000;
            }
            now = now + 7;
        }
        assert!((600_000..640_000).contains(&sent), "{sent}");
        assert_eq!(Bucket::new(None).ready_at(), Uptime(0));
    }
}

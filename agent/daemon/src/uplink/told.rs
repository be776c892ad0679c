//! What of a broker that is away is worth a line in the log. Enters: why each attempt failed, and when. Leaves:
//! whether to tell of it: every new reason at once, the same one now and then.

use std::time::Duration;

use tokio::time::Instant;

/// While the broker stays away for the same reason, attempts are told of at most so often.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// What was told of a broker that is away.
#[derive(Default)]
pub(super) struct Told {
    why: String,
    /// When that was told last.
    at: Option<Instant>,
    /// Attempts that failed for that reason.
    attempts: u64,
}

impl Told {
    /// Whether to tell of one more attempt that failed, and how many there were for this reason.
    pub(super) fn takes(&mut self, why: &str, now: Instant) -> Option<u64> {
        if self.why != why {
            *self = Self { why: why.to_owned(), ..Self::default() };
        }
        self.attempts += 1;
        if self.at.is_some_and(|at| now < at + TELL_AGAIN) {
            return None;
        }
        self.at = Some(now);
        Some(self.attempts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_reason_is_told_at_once_and_an_old_one_now_and_then() {
        let begin = Instant::now();
        let mut told = Told::default();
        let mut attempt = |why, second| told.takes(why, begin + Duration::from_secs(second));
        assert_eq!(attempt("refused", 0), Some(1));
        assert_eq!((attempt("refused", 1), attempt("refused", 9)), (None, None));
        assert_eq!(attempt("refused", 10), Some(4), "whoever watches sees that it goes on");
        assert_eq!(attempt("no such name", 11), Some(1));
        assert_eq!((attempt("refused", 12), attempt("refused", 40)), (Some(1), Some(2)));
    }
}

//! Growing delays between attempts: doubled each time up to a limit, with jitter, so that a hundred
//! gateways do not come back at the same moment.

/// Delays that double from a first one up to a limit.
#[derive(Clone, Debug)]
pub struct Backoff {
    first_ms: u64,
    limit_ms: u64,
    next_ms: u64,
}

/// Pauses between connections to the broker, in milliseconds: first and longest. A broker that was away for an hour
/// finds its gateways again within half a minute.
const TO_BROKER_MS: (u64, u64) = (500, 30_000);

/// Within how many milliseconds those come back who lost a connection that had lasted: 2,000 agents make 400 connections
/// a second then.
pub const SCATTERED_MS: u64 = 5_000;

impl Backoff {
    /// The pauses between an agent's connections to its broker.
    #[must_use]
    pub fn to_broker() -> Self {
        Self::new(TO_BROKER_MS.0, TO_BROKER_MS.1)
    }

    /// Starts at `first_ms` and never exceeds `limit_ms`, both in milliseconds.
    #[must_use]
    pub fn new(first_ms: u64, limit_ms: u64) -> Self {
        Self { first_ms, limit_ms, next_ms: first_ms }
    }

    /// The next delay in milliseconds: between half of the doubled value and all of it, as `random`
    /// decides.
    pub fn next_ms(&mut self, random: u64) -> u64 {
        let full = self.next_full_ms();
        full / 2 + random % (full / 2 + 1)
    }

    /// The next delay in milliseconds without jitter, where nobody else could come at the same moment.
    pub fn next_full_ms(&mut self) -> u64 {
        let full = self.next_ms;
        self.next_ms = full.saturating_mul(2).min(self.limit_ms);
        full
    }

    /// Starts over after the end of something that had lasted, with a delay in milliseconds that is anywhere from none to
    /// [`SCATTERED_MS`], as `random` decides: all who lost the same thing at the same moment come at moments of their own.
    pub fn scattered_ms(&mut self, random: u64) -> u64 {
        self.reset();
        random % (SCATTERED_MS + 1)
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.next_ms = self.first_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit_and_starts_over() {
        let mut backoff = Backoff::new(100, 1_000);
        for full in [100, 200, 400, 800, 1_000, 1_000] {
            let delay = backoff.next_ms(u64::MAX / 3);
            assert!((full / 2..=full).contains(&delay), "{delay} of {full}");
        }
        backoff.reset();
        assert!(backoff.next_ms(1) <= 100);
    }

    #[test]
    fn who_lost_the_same_comes_back_at_a_moment_of_its_own() {
        let mut backoff = Backoff::to_broker();
        for _ in 0..9 {
            backoff.next_full_ms();
        }
        // The words of a generator, evenly over all there are.
        let pauses: alloc::vec::Vec<u64> =
            (0..1_000).map(|n| backoff.scattered_ms(n * (u64::MAX / 1_000))).collect();
        for second in 0..5 {
            let came = pauses.iter().filter(|pause| **pause / 1_000 == second).count();
            assert!((150..=250).contains(&came), "{came} in second {second}");
        }
        assert!(backoff.next_ms(0) <= 500, "and what comes after that grows anew");
    }
}

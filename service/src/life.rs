//! Readiness and signs of life, for systemd (`Type=notify`, `WatchdogSec=`). Enters: beats of the stages. Leaves:
//! `READY=1`, `WATCHDOG=1` for as long as every stage beats, `STOPPING=1`, on the socket that `NOTIFY_SOCKET` names.
//!
//! A stage that waits for another one beats all the same: only who hangs falls silent. The keeper must never beat for
//! a stage, nor tell of life while one is silent.

use std::fmt;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info};

/// A stage beats so many times in the time after which it counts as silent.
const BEATS: u32 = 4;

/// The life of a program, while it runs.
#[derive(Clone, Debug)]
pub struct Life(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// After so long without `WATCHDOG=1` the program is killed; none without a watchdog.
    limit: Option<Duration>,
    born: Instant,
    stages: Mutex<Vec<Weak<Stage>>>,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Stage {
    name: &'static str,
    /// Milliseconds since the program's birth.
    last: AtomicU64,
}

/// One stage's heart. A stage that has ended, with its heart, is missed by nobody here.
#[derive(Debug)]
pub struct Heart {
    life: Life,
    stage: Arc<Stage>,
    next: Instant,
}

impl Life {
    /// Begins, on a runtime of tokio, with the watchdog that systemd asks for.
    #[must_use]
    pub fn begin() -> Self {
        Self::with(sd_notify::watchdog_enabled(), || tell(&[NotifyState::Watchdog]))
    }

    fn with(limit: Option<Duration>, tell: impl Fn() + Send + 'static) -> Self {
        let (stages, keeper) = (Mutex::default(), Mutex::default());
        let life = Self(Arc::new(Inner { limit, born: Instant::now(), stages, keeper }));
        if let Some(limit) = limit {
            info!(?limit, "the service manager watches");
            let keeper = tokio::spawn(keep(Arc::downgrade(&life.0), limit, tell));
            *life.0.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
        }
        life
    }

    /// A stage begins.
    #[must_use]
    pub fn heart(&self, name: &'static str) -> Heart {
        let stage = Arc::new(Stage { name, last: AtomicU64::new(self.0.now()) });
        self.0.stages.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&stage));
        Heart { life: self.clone(), stage, next: Instant::now() }
    }

    /// The program does what it is for.
    pub fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// The program ends.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }
}

impl Inner {
    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The stage that has been silent for longest at that time, if for longer than that.
    fn silent(&self, now: u64, longer_than: Duration) -> Option<(&'static str, Duration)> {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        stages.retain(|stage| stage.strong_count() > 0);
        let silence = |stage: Arc<Stage>| {
            let last = stage.last.load(Ordering::Relaxed);
            (stage.name, Duration::from_millis(now.saturating_sub(last)))
        };
        let longest =
            stages.iter().filter_map(Weak::upgrade).map(silence).max_by_key(|(_, silence)| *silence);
        longest.filter(|(_, silence)| *silence > longer_than)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            keeper.abort();
        }
    }
}

impl Heart {
    /// Beats when that is due; for ever without a watchdog. Cancel-safe: a stage puts it beside what it waits for.
    pub async fn beat(&mut self) {
        let Some(limit) = self.life.0.limit else { return pending().await };
        sleep_until(self.next).await;
        self.next = Instant::now() + limit / 2 / BEATS;
        self.stage.last.store(self.life.0.now(), Ordering::Relaxed);
    }

    /// Waits for something, and beats meanwhile: for what a stage waits for without being to blame.
    pub async fn while_waiting<T>(&mut self, what: impl Future<Output = T>) -> T {
        tokio::pin!(what);
        loop {
            // What is waited for is kept over the turns.
            tokio::select! {
                done = &mut what => return done,
                () = self.beat() => {}
            }
        }
    }
}

/// Tells of life four times as often as it must, for as long as no stage is silent for half the limit.
async fn keep(life: Weak<Inner>, limit: Duration, tell: impl Fn()) {
    let mut told = None;
    let mut turn = tokio::time::interval(limit / BEATS);
    loop {
        turn.tick().await;
        let Some(life) = life.upgrade() else { return };
        match (life.silent(life.now(), limit / 2), told) {
            (None, _) => {
                if told.take().is_some() {
                    info!("every stage lives again");
                }
                tell();
            }
            (Some((stage, silence)), None) => {
                error!(stage, ?silence, "a stage hangs; the service manager is told of no life");
                told = Some(stage);
            }
            (Some(_), Some(_)) => {}
        }
    }
}

fn tell(what: &[NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(what) {
        debug!(%why, what = %Words(what), "the service manager cannot be told");
    }
}

/// For the log.
struct Words<'a>(&'a [NotifyState<'a>]);

impl fmt::Display for Words<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|state| write!(out, "{state} "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn who_is_silent_for_longest_is_named_and_who_has_ended_is_not_missed() {
        let life = Life::with(Some(LIMIT), || {});
        let (early, late) = (life.heart("early"), life.heart("late"));
        early.stage.last.store(1_000, Ordering::Relaxed);
        late.stage.last.store(4_000, Ordering::Relaxed);
        let silent = |now| life.0.silent(now, Duration::from_secs(5));
        assert_eq!(silent(6_000), None);
        assert_eq!(silent(6_001), Some(("early", Duration::from_millis(5_001))));
        drop(early);
        assert_eq!(silent(9_000), None);
        assert_eq!(silent(9_500), Some(("late", Duration::from_millis(5_500))));
        drop(late);
        assert_eq!(silent(1_000_000), None);
    }

    #[tokio::test]
    async fn a_heart_beats_at_once_and_then_in_its_time() {
        let life = Life::with(Some(LIMIT), || {});
        let mut heart = life.heart("stage");
        heart.stage.last.store(u64::MAX, Ordering::Relaxed);
        let begun = Instant::now();
        heart.beat().await;
        assert_ne!(heart.stage.last.load(Ordering::Relaxed), u64::MAX);
        let due = heart.next - begun;
        assert!(due >= LIMIT / 8 && due < LIMIT / 7, "{due:?}");
        assert_eq!(heart.while_waiting(async { 7 }).await, 7);
    }

    #[tokio::test]
    async fn without_a_watchdog_nothing_beats() {
        let life = Life::with(None, || panic!("told"));
        let mut heart = life.heart("stage");
        heart.stage.last.store(u64::MAX, Ordering::Relaxed);
        tokio::select! {
            biased;
            () = heart.beat() => panic!("it beats"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(heart.while_waiting(async { 7 }).await, 7);
        assert_eq!(heart.stage.last.load(Ordering::Relaxed), u64::MAX);
    }
}

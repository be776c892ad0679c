//! Thousands of agents whose broker is started anew. Enters: how many, for how long it is away, with jitter or without.
//! Leaves: how many connections the broker was asked for, and took, in each second.
//!
//! What connects is MQTT 5 with the agents' own pauses (`hangtag_agent_core::backoff`), a connection each, from one process to
//! a Mosquitto of its own. TLS is not spoken: a broker that has to check certificates takes fewer connections a second.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hangtag_agent_core::backoff::Backoff;
use rand::RngExt as _;
use rumqttc::v5::{AsyncClient, Event, Incoming, MqttOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::harness::broker::Mosquitto;
use crate::harness::process::wait_for;
use crate::harness::{folder, free_port};

/// Files that are open beside the connections: logs, listeners, the runtime's.
const BESIDE: u64 = 200;
/// How long all of them may take to be connected.
const PATIENCE: Duration = Duration::from_secs(180);
/// The first connections are spread over this time: they are not what is measured.
const START: Duration = Duration::from_secs(2);
/// How finely a rush is looked at.
const SLICE: Duration = Duration::from_millis(100);

/// Agents, and what happens to them.
#[derive(Clone, Copy, Debug)]
pub struct Herd {
    /// How many.
    pub agents: u32,
    /// For how long the broker is away.
    pub away: Duration,
    /// Whether they throw dice for their pauses.
    pub jitter: bool,
}

/// How the agents came back.
#[derive(Debug)]
pub struct Return {
    herd: Herd,
    /// When a connection was asked for, and when the broker accepted one, since it was there again.
    asked: Vec<Duration>,
    accepted: Vec<Duration>,
    /// What was asked for while it was away.
    in_vain: usize,
}

/// What all agents note.
#[derive(Default)]
struct Notes {
    asked: Mutex<Vec<Instant>>,
    accepted: Mutex<Vec<Instant>>,
    connected: AtomicUsize,
}

impl Herd {
    /// Connects all, starts the broker anew, and waits until all are connected again. Blocks.
    ///
    /// # Errors
    /// When the system allows too few open files, or not all are connected in time.
    pub fn run(self) -> anyhow::Result<Return> {
        allow_files(u64::from(self.agents) + BESIDE)?;
        let folder = folder()?;
        let port = free_port()?;
        let mut broker = Mosquitto::start_forgetful(&folder.path().join("mosquitto"), port)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let notes = Arc::new(Notes::default());
        for number in 0..self.agents {
            runtime.spawn(agent(number, START * number / self.agents, port, self.jitter, Arc::clone(&notes)));
        }
        let all_connected = || {
            let connected = notes.connected.load(Ordering::Relaxed);
            Ok((connected == self.agents as usize).then_some(()))
        };
        wait_for("all agents to be connected", PATIENCE, all_connected)?;
        broker.kill()?;
        let gone = Instant::now();
        take(&notes.asked);
        take(&notes.accepted);
        wait_for("all agents to have noticed", PATIENCE, || {
            Ok((notes.connected.load(Ordering::Relaxed) == 0).then_some(()))
        })?;
        std::thread::sleep(self.away.saturating_sub(gone.elapsed()));
        let back = Instant::now();
        broker.restart()?;
        wait_for("all agents to be connected again", PATIENCE, all_connected)?;
        let since = |times: Vec<Instant>| -> Vec<Duration> {
            times.into_iter().filter_map(|at| at.checked_duration_since(back)).collect()
        };
        let asked = take(&notes.asked);
        let all = asked.len();
        let asked = since(asked);
        let came =
            Return { herd: self, in_vain: all - asked.len(), asked, accepted: since(take(&notes.accepted)) };
        runtime.shutdown_background();
        Ok(came)
    }
}

/// One agent, for ever.
async fn agent(number: u32, start: Duration, port: u16, jitter: bool, notes: Arc<Notes>) {
    let random = || rand::rng().random::<u64>();
    tokio::time::sleep(start).await;
    let mut backoff = Backoff::to_broker();
    loop {
        let mut options = MqttOptions::new(format!("herd-{number}"), "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(60)).set_clean_start(true).set_connection_timeout(5);
        options.set_outgoing_inflight_upper_limit(8);
        let (_client, mut events) = AsyncClient::new(options, 1);
        note(&notes.asked);
        let mut established = false;
        while let Ok(event) = events.poll().await {
            if let Event::Incoming(Incoming::ConnAck(_)) = event {
                note(&notes.accepted);
                notes.connected.fetch_add(1, Ordering::Relaxed);
                established = true;
            }
        }
        if established {
            notes.connected.fetch_sub(1, Ordering::Relaxed);
            backoff.reset();
        }
        let pause = match (jitter, established) {
            // As of a connection that had lasted.
            (true, true) => backoff.scattered_ms(random()),
            (true, false) => backoff.next_ms(random()),
            (false, _) => backoff.next_full_ms(),
        };
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

fn note(times: &Mutex<Vec<Instant>>) {
    times.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
}

fn take(times: &Mutex<Vec<Instant>>) -> Vec<Instant> {
    std::mem::take(&mut times.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Raises the number of files that this process may open, and the broker that it starts, as far as the system lets it.
fn allow_files(wanted: u64) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let is_enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= wanted);
    if is_enough(limit.current) {
        return Ok(());
    }
    ensure!(
        is_enough(limit.maximum),
        "{wanted} files must be open, and this system allows {} (ulimit -Hn): fewer agents, or a higher limit",
        limit.maximum.unwrap_or_default()
    );
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).context("cannot raise the number of open files (ulimit -n)")
}

/// How many there are in each slice of time.
fn per(slice: Duration, times: &[Duration]) -> Vec<usize> {
    let mut counts = Vec::new();
    for at in times {
        let number = usize::try_from(at.as_millis() / slice.as_millis()).unwrap_or(usize::MAX);
        if counts.len() <= number {
            counts.resize(number + 1, 0);
        }
        counts[number] += 1;
    }
    counts
}

impl fmt::Display for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { herd, asked, accepted, in_vain } = self;
        let jitter = if herd.jitter { "with jitter" } else { "without jitter" };
        writeln!(f, "{} agents, {jitter}, broker away for {} s", herd.agents, herd.away.as_secs())?;
        let most = |slice| per(slice, accepted).into_iter().max().unwrap_or(0);
        let last = accepted.iter().max().copied().unwrap_or_default();
        writeln!(
            f,
            "  most connections in a second {}, in {} ms {}; all were back after {:.1} s; {in_vain} asked in vain before",
            most(Duration::from_secs(1)),
            SLICE.as_millis(),
            most(SLICE),
            last.as_secs_f64(),
        )?;
        let second = Duration::from_secs(1);
        let (asked, accepted) = (per(second, asked), per(second, accepted));
        writeln!(f, "  second  asked  accepted")?;
        for number in 0..asked.len().max(accepted.len()) {
            let at = |counts: &[usize]| counts.get(number).copied().unwrap_or(0);
            writeln!(f, "  {number:>6} {:>6} {:>9}", at(&asked), at(&accepted))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_by_their_slices() {
        let ms = |all: &[u64]| all.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
        assert_eq!(per(Duration::from_secs(1), &ms(&[0, 999, 1_000, 3_500])), [2, 1, 0, 1]);
        assert_eq!(per(SLICE, &[]), [0; 0]);
    }

    #[test]
    fn more_agents_than_the_system_has_files_for_are_refused_in_words() {
        let said = allow_files(u64::MAX / 2);
        if getrlimit(Resource::Nofile).maximum.is_some() {
            let said = said.unwrap_err().to_string();
            assert!(said.contains("ulimit -Hn"), "{said}");
        }
    }

    #[test]
    fn a_herd_comes_back_to_a_broker_that_was_away() -> anyhow::Result<()> {
        let herd = Herd { agents: 40, away: Duration::from_secs(1), jitter: true };
        let came = herd.run()?;
        assert_eq!(came.accepted.len(), 40);
        assert!(came.to_string().contains("40 agents, with jitter"));
        Ok(())
    }
}

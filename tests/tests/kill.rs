//! Agent, broker and central are killed at random moments, again and again, while events flow.

use std::path::Path;
use std::time::{Duration, Instant};

use hangtag_protocol::line::EventLine;
use hangtag_tests::emulator::carousel::Carousel;
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::gateway::{Gateway, STOPS_WITHIN};
use hangtag_tests::harness::judge::{BEGIN, judge, wait_complete};
use hangtag_tests::harness::process::Process;
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder, free_port, long, seed};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Every pair of kill and restart.
const ROUNDS: u32 = 50;
const LONG_ROUNDS: u32 = 1_000;
/// What one commit can hold.
const COMMIT: i64 = 256;
/// After the last round agent and central may still be waiting before they connect again, and the agent
/// before it sends again what the broker lost.
const CATCH_UP: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    Agent,
    Broker,
    Central,
}

/// The three that run.
struct Running {
    agent: Option<Process>,
    broker: Mosquitto,
    central: Option<Process>,
    site: Site,
    gateway: Gateway,
}

impl Running {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        let broker_port = free_port()?;
        let broker = Mosquitto::start(&folder.join("mosquitto"), broker_port)?;
        let site = Site::for_test(folder, broker_port)?;
        let gateway = Gateway::create(&site, "agent", &folder.join("agent-data"), broker_port, "")?;
        let central = Some(site.start_central()?);
        Ok(Self { agent: Some(gateway.start()?), broker, central, site, gateway })
    }

    fn kill(&mut self, victim: Victim) -> anyhow::Result<()> {
        match victim {
            Victim::Agent => self.agent.take().map_or(Ok(()), Process::kill)?,
            Victim::Broker => self.broker.kill()?,
            Victim::Central => self.central.take().map_or(Ok(()), Process::kill)?,
        }
        Ok(())
    }

    fn restart(&mut self, victim: Victim) -> anyhow::Result<()> {
        match victim {
            Victim::Agent => self.agent = Some(self.gateway.start()?),
            Victim::Broker => self.broker.restart()?,
            Victim::Central => self.central = Some(self.site.spawn_central()?),
        }
        Ok(())
    }

    /// Fails when one of them ended by itself.
    fn check(&mut self) -> anyhow::Result<()> {
        self.agent.iter_mut().chain(&mut self.central).try_for_each(Process::check)
    }
}

#[test]
fn however_often_they_are_killed_every_accepted_event_is_in_central_exactly_once() -> anyhow::Result<()> {
    let folder = folder()?;
    let seed = seed();
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut running = Running::start(folder.path())?;
    let carousel = Carousel::start(&running.gateway.readers(), seed, 200)?;

    let begin = Instant::now();
    let rounds = if long() { LONG_ROUNDS } else { ROUNDS };
    let mut killed = [0_u64; 3];
    let mut last_logged = Vec::new();
    for _ in 0..rounds {
        // Now and then so soon that the one before has hardly started.
        let run_ms = if dice.random_bool(0.2) { 0..60 } else { 200..2_000 };
        std::thread::sleep(Duration::from_millis(dice.random_range(run_ms)));
        running.check()?;
        let mut victims = vec![Victim::Agent, Victim::Broker, Victim::Central];
        let spared = if dice.random_bool(0.25) { 1 } else { 2 };
        for _ in 0..spared {
            victims.remove(dice.random_range(0..victims.len()));
        }
        for victim in &victims {
            running.kill(*victim)?;
            killed[*victim as usize] += 1;
            if *victim == Victim::Agent {
                last_logged.push(last_line(&running.gateway.accepted_log())?);
            }
        }
        for victim in victims {
            running.restart(victim)?;
        }
    }
    let flowed = begin.elapsed();
    drop(carousel);
    let Running { agent, broker: _broker, central, site, gateway } = running;
    agent.expect("it was started again").stop(STOPS_WITHIN)?;
    // What the last agent could not send before it ended, the next one does.
    let mut agent = gateway.start()?;
    let mut central = central.expect("it was started again");
    let mut verdict = wait_complete(CATCH_UP, || {
        agent.check()?;
        central.check()?;
        judge(&gateway.accepted_log(), &site.database())
    })?;
    agent.stop(STOPS_WITHIN)?;
    if verdict.missing == 0 {
        verdict = wait_complete(CATCH_UP, || judge(&gateway.accepted_log(), &site.database()))?;
    }
    central.stop(STOPS_WITHIN)?;

    let [agents, brokers, centrals] = killed;
    let rate = verdict.accepted / flowed.as_secs().max(1);
    println!(
        "{rounds} rounds in {flowed:.1?}: killed agent {agents}, broker {brokers}, central {centrals} times; \
         {rate} events/s; {verdict:?}"
    );
    assert!(verdict.is_exact(), "{verdict:?}");
    assert_eq!(verdict.epochs, 1, "nothing gave reason to begin anew");
    // A kill may fall between the barrier and the log: of the one commit that was under way then.
    for (first, last) in &verdict.unlogged_ranges {
        // More than one where the next agent did not live to log anything.
        let kills = last_logged.iter().filter(|logged| **logged == first - 1).count();
        assert!(kills > 0, "{first} to {last} are not in the log, and no agent was killed before {first}");
        let most = COMMIT * i64::try_from(kills)?;
        assert!(last - first < most, "{first} to {last} are more than a commit for each of {kills} kills");
    }
    assert!(verdict.by_kind.contains_key("carried_in"), "there were visits, too: {verdict:?}");
    assert!(verdict.accepted >= u64::from(rounds), "events flowed: {verdict:?}");
    Ok(())
}

/// The number in the last whole line of a log that may not be there yet; 0 when there is none.
fn last_line(log: &Path) -> anyhow::Result<i64> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let Some(line) = whole.lines().last() else { return Ok(0) };
    let line = line.rfind(BEGIN).map_or(line, |start| &line[start..]);
    let line: EventLine = serde_json::from_str(line)?;
    Ok(i64::try_from(line.seq.0)?)
}

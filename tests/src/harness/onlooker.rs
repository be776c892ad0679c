//! The agent's local socket, as an onlooker uses it. Enters: a request. Leaves: what the agent tells, as it comes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::bail;
use serde_json::Value;
use tokio::time::{Instant, interval};

use super::process::{Process, wait_for};
use super::site::Site;

const PATIENCE: Duration = Duration::from_secs(60);
/// About as often as a USB adapter hands over bytes.
const TICK: Duration = Duration::from_millis(16);

/// What the agent's socket tells.
#[derive(Debug)]
pub struct Told(Receiver<Value>);

impl Told {
    /// Asks a running agent, as soon as it answers.
    ///
    /// # Errors
    /// When it ends, or does not answer in time.
    pub fn ask(site: &Site, agent: &mut Process, what: &str) -> anyhow::Result<Self> {
        let socket = site.folder.join("agent-data/agent.sock");
        let mut stream = wait_for("the agent's socket", PATIENCE, || {
            agent.check()?;
            Ok(UnixStream::connect(&socket).ok())
        })?;
        writeln!(stream, "{what}")?;
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let Ok(value) = serde_json::from_str(&line) else { return };
                if tell.send(value).is_err() {
                    return;
                }
            }
        });
        Ok(Self(told))
    }

    /// What it has told already and nobody has taken.
    #[must_use]
    pub fn now(&self) -> Option<Value> {
        self.0.try_recv().ok()
    }

    /// Lets the device do something at every tick, given the milliseconds of a clock, until the agent tells
    /// what is looked for.
    ///
    /// # Errors
    /// When it does not tell it in time.
    pub async fn until(
        &self,
        clock: Instant,
        mut act: impl FnMut(u64),
        looked_for: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let end = Instant::now() + PATIENCE;
        let mut tick = interval(TICK);
        let mut others = Vec::new();
        while Instant::now() < end {
            tick.tick().await;
            act(u64::try_from(clock.elapsed().as_millis())?);
            while let Ok(value) = self.0.try_recv() {
                if looked_for(&value) {
                    return Ok(value);
                }
                others.push(value);
            }
        }
        bail!("waited in vain; the agent told {} other things, the last {:?}", others.len(), others.last())
    }
}

/// What the agent knows of its readers at this moment, one value for each.
///
/// # Errors
/// When it does not answer.
pub fn readers(site: &Site) -> anyhow::Result<Vec<Value>> {
    let mut stream = UnixStream::connect(site.folder.join("agent-data/agent.sock"))?;
    writeln!(stream, "readers")?;
    BufReader::new(stream).lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

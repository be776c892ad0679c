//! A gateway one of whose readers is a reader node. Enters: folders, and the reader that becomes a node. Leaves: the
//! gateway, and what it has durable of the node's run. It never has a broker: what is accepted stays.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::free_port;
use super::gateway::{Gateway, STOPS_WITHIN};
use super::process::wait_for;
use super::site::Site;

/// How long an agent may take to start and to hear a node, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Makes the gateway, with its data in a folder of its own. The first reader that speaks `instead_of` becomes the
/// node.
///
/// # Errors
/// When files cannot be written, or no reader speaks that.
pub fn gateway(folder: &Path, data: &Path, instead_of: &str) -> anyhow::Result<Gateway> {
    let nowhere = free_port()?;
    let site = Site::for_test(folder, nowhere)?;
    let gateway = Gateway::create(&site, "agent", data, nowhere, "")?;
    let file = folder.join("agent.toml");
    let text = std::fs::read_to_string(&file)?;
    let with_node = text.replacen(&format!("protocol = \"{instead_of}\""), "protocol = \"node\"", 1);
    ensure!(with_node != text, "no reader speaks {instead_of}:\n{text}");
    std::fs::write(file, with_node)?;
    Ok(gateway)
}

/// What the gateway has durable of the node's run: reads, and reads that the node says it dropped. Another agent
/// on the same data says it to who asks.
///
/// # Errors
/// When that agent fails, or the node does not greet it.
pub fn durable(gateway: &Gateway) -> anyhow::Result<(u64, u64)> {
    let before = std::fs::read_to_string(gateway.log()).unwrap_or_default().len();
    let mut agent = gateway.start()?;
    let found = wait_for("the agent to greet the node", PATIENCE, || {
        agent.check()?;
        let text = std::fs::read_to_string(gateway.log())?;
        let said = text[before..].split_once("; had ").map(|(_, said)| said.to_owned());
        Ok(said.filter(|said| said.contains('\n')))
    })?;
    agent.stop(STOPS_WITHIN)?;
    let mut numbers = found.split(' ').filter_map(|word| word.parse::<u64>().ok());
    Ok((numbers.next().context("no reads")?, numbers.next().context("no dropped")?))
}

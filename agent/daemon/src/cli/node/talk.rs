//! Talks to a node at a port that nobody has. Enters: the port, and what the node is to be told, if it is. Leaves: what
//! it says of itself. Nothing that it tells is called durable: it keeps all of it.

use std::io;
use std::path::Path;
use std::time::Duration;

use hangtag_agent_core::intake::node::{Link, Marks, Settings};
use hangtag_protocol::status::NodeHealth;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout};

use super::{Result, Source};
use crate::clock;
use crate::intake::port::open;
use crate::intake::probing::{hung_up, write};

/// How long a node may take to say who it is, and its module to take a configuration.
const HELLO: Duration = Duration::from_secs(5);
const CONFIGURED: Duration = Duration::from_secs(15);
/// How long one of which all else is known may take to say what its clock shows.
const CLOCK: Duration = Duration::from_secs(1);

pub(super) async fn talk(path: &Path, baud: u32, settings: Option<&Settings>) -> Result {
    match ask(path, baud, settings).await {
        Ok(Some(node)) if settings.is_some() && node.configured.is_none() => {
            let seconds = CONFIGURED.as_secs();
            Result::Silent {
                why: format!("node {} did not answer within {seconds} s: its module may not", node.node),
            }
        }
        Ok(Some(node)) => Result::There {
            from: Source::Port,
            fault: None,
            stale: false,
            lost_reads: None,
            node: Box::new(node),
        },
        Ok(None) => {
            Result::Silent { why: format!("no node answers at {baud} baud within {} s", HELLO.as_secs()) }
        }
        Err(why) => Result::Unusable { why: why.to_string() },
    }
}

/// What a node says of itself within the time that it has; nothing when none is there.
async fn ask(path: &Path, baud: u32, settings: Option<&Settings>) -> io::Result<Option<NodeHealth>> {
    let mut port = open(path, baud)?;
    let mut link = Link::new(settings, clock::uptime());
    let nothing = Marks::default();
    let begun = Instant::now();
    let mut known = None;
    let mut buffer = [0; 4_096];
    loop {
        link.handle_timeout(clock::uptime());
        while let Some(bytes) = link.poll_write() {
            write(&mut port, &bytes).await?;
        }
        let node = link.node();
        let said = node
            .is_some_and(|node| node.health.is_some() && (settings.is_none() || node.configured.is_some()));
        if said {
            known.get_or_insert_with(Instant::now);
        }
        let all = node.is_some_and(|node| node.clock_off_ms.is_some());
        let end = match (known, node, settings) {
            (Some(_), _, _) if all => return Ok(node),
            (Some(since), _, _) => since + CLOCK,
            (None, Some(_), Some(_)) => begun + CONFIGURED,
            (None, _, _) => begun + HELLO,
        };
        if Instant::now() >= end {
            return Ok(node);
        }
        let due = link.poll_timeout().map_or(u64::MAX, |at| at.since(clock::uptime()));
        let pause = Duration::from_millis(due).min(end.saturating_duration_since(Instant::now()));
        match timeout(pause, port.read(&mut buffer)).await {
            Ok(Ok(0)) => return Err(hung_up()),
            Ok(Ok(count)) => link.handle_bytes(&buffer[..count], &nothing, &nothing, clock::uptime()),
            Ok(Err(why)) => return Err(why),
            Err(_) => {}
        }
        while link.poll_taken().is_some() || link.poll_notice().is_some() {}
    }
}

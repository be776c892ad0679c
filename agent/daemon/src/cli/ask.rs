//! Asks the agent that runs. Enters: a configuration, a request. Leaves: a stream or an answer; nothing when no
//! agent runs; an error when one may run and cannot be asked, so that nobody takes its ports or files then.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::config::Config;

/// How long an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The running agent, with a request sent to it.
pub(super) async fn ask(config: &Config, request: &str) -> anyhow::Result<Option<UnixStream>> {
    let path = config.socket();
    match UnixStream::connect(&path).await {
        Ok(mut stream) => {
            stream.write_all(format!("{request}\n").as_bytes()).await.context("asking the agent")?;
            Ok(Some(stream))
        }
        // A socket without an agent is left when one is killed.
        Err(why) if matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(why) if why.kind() == io::ErrorKind::PermissionDenied => bail!(
            "no permission to ask the agent at {}: only root and {} may; try it with sudo",
            path.display(),
            owner_of(&path)
        ),
        Err(why) => Err(why).with_context(|| format!("cannot ask the agent at {}", path.display())),
    }
}

/// All that the agent answers.
pub(super) async fn answer(mut stream: UnixStream) -> anyhow::Result<String> {
    let mut answer = String::new();
    let within = timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    within.with_context(|| format!("the agent does not answer within {} s", PATIENCE.as_secs()))??;
    Ok(answer)
}

/// The user that a file belongs to, as far as one may know.
fn owner_of(path: &Path) -> String {
    let owner = path.metadata().or_else(|_| path.parent().unwrap_or(path).metadata());
    owner.map_or_else(|_| "the user that it runs as".into(), |file| format!("user {}", user(file.uid())))
}

/// The name of a user, or the number of one without a name.
pub(super) fn user(id: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| id.to_string())
}

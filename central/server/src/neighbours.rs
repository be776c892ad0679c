//! What other processes on the same database commit. Enters: word of own commits, and of theirs. Leaves: word of both, for
//! the page; and for the others, word of the own ones.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::store::{Address, Word};

/// The others are told at most this often: a page is not newer than a second anyway.
const TELL_EVERY: Duration = Duration::from_millis(250);
/// How long after the connection was lost it is tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// Passes word on until told to stop.
pub(crate) async fn run(
    address: Address,
    mut own: watch::Receiver<u64>,
    news: watch::Sender<u64>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut has_warned = false;
    loop {
        let ended = tokio::select! {
            ended = listen(&address, &mut own, &news, &mut has_warned) => ended,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match ended {
            Ended::Over => return,
            Ended::Lost(why) if has_warned => tracing::debug!(why, "cannot hear of other centrals"),
            Ended::Lost(why) => {
                tracing::warn!(why, "cannot hear of other centrals, will try again");
                has_warned = true;
            }
        }
        let again = Instant::now() + PAUSE;
        loop {
            tokio::select! {
                () = sleep_until(again) => break,
                changed = own.changed() => match changed {
                    Ok(()) => bump(&news),
                    Err(_) => return,
                },
                _ = stopping.wait_for(|stop| *stop) => return,
            }
        }
    }
}

/// Why nothing more is heard.
enum Ended {
    /// There is nobody to hear of, or nothing will be committed any more.
    Over,
    /// The connection is gone.
    Lost(String),
}

async fn listen(
    address: &Address,
    own: &mut watch::Receiver<u64>,
    news: &watch::Sender<u64>,
    has_warned: &mut bool,
) -> Ended {
    let mut word = match Word::open(address).await {
        Ok(Some(word)) => word,
        Ok(None) => {
            while own.changed().await.is_ok() {
                bump(news);
            }
            return Ended::Over;
        }
        Err(why) => return Ended::Lost(why.to_string()),
    };
    tracing::info!("hears of what other centrals store");
    *has_warned = false;
    // What they stored meanwhile nobody told.
    bump(news);
    loop {
        tokio::select! {
            is_there = word.hear() => if !is_there {
                return Ended::Lost("the session with the database ended".into());
            },
            changed = own.changed() => {
                if changed.is_err() {
                    return Ended::Over;
                }
                bump(news);
                if let Err(why) = word.tell().await {
                    return Ended::Lost(why.to_string());
                }
                // What is committed meanwhile is told next time.
                sleep(TELL_EVERY).await;
                continue;
            }
        }
        bump(news);
    }
}

fn bump(news: &watch::Sender<u64>) {
    news.send_modify(|count| *count += 1);
}

//! A trial connection, for `doctor`. Enters: who the gateway is, where the broker is. Leaves: at which step the broker
//! refuses it, and why. It comes under another client id than the agent, whose session goes on; has no last will, and
//! publishes one short message, not retained, where the gateway answers commands: nothing is made of it.

use std::path::Path;
use std::time::Duration;

use hangtag_protocol::topic::{Channel, Gateway};
use tokio::time::timeout;

use super::mqtt::{self, Address, Heard, Lost, Wire};
use super::{client_id, login};
use crate::config::Mqtt;

/// How long each answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Which says what it is to people who listen.
const MESSAGE: &[u8] = br#"{"doctor":"a trial message, of which nothing is made"}"#;

/// What the broker is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing yet: the password.
    Login,
    Connect,
    Subscribe,
    Publish,
}

/// Connects, subscribes, publishes, and says goodbye.
///
/// # Errors
/// With the step that failed.
pub(crate) async fn run(gateway: Gateway, mqtt: &Mqtt, socket: Option<&Path>) -> Result<(), (Step, String)> {
    let login = login(mqtt).map_err(|why| (Step::Login, format!("{why:#}")))?;
    let address = Address {
        client_id: format!("{}.doctor", client_id(gateway)),
        host: &mqtt.host,
        port: mqtt.port,
        socket,
        login,
        keep_alive: Duration::from_secs(mqtt.keep_alive_s.into()),
        will: None,
    };
    let (mut link, mut wire) = mqtt::open(address);
    let mut step = Step::Connect;
    loop {
        let news = next(&mut wire).await.map_err(|lost| (step, lost.why))?;
        match link.handle(news).map_err(|lost| (step, lost.why))? {
            Heard::Connected(_) => {
                step = Step::Subscribe;
                link.subscribe(gateway.topic(Channel::Ack)).map_err(|lost| (step, lost.why))?;
            }
            Heard::Subscribed => {
                step = Step::Publish;
                if !link.publish_trial(reply(gateway), MESSAGE.to_vec()) {
                    return Err((step, "there is no room for a message".into()));
                }
            }
            Heard::Trial(Ok(())) => break,
            Heard::Trial(Err(why)) => return Err((step, why)),
            Heard::Message(_) | Heard::Batch(..) | Heard::Nothing => {}
        }
    }
    link.disconnect();
    // Whether it hears the goodbye matters to nobody.
    let _ = next(&mut wire).await;
    Ok(())
}

async fn next(wire: &mut Wire) -> Result<mqtt::News, Lost> {
    match timeout(PATIENCE, wire.next()).await {
        Ok(news) => news,
        Err(_) => Err(Lost::broker(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

/// Beside the status, where the gateway answers commands.
fn reply(gateway: Gateway) -> String {
    let status = gateway.topic(Channel::Status);
    let above = status.rsplit_once('/').map_or(status.as_str(), |(above, _)| above);
    format!("{above}/reply")
}

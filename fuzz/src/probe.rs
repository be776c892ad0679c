//! Finding out who is at a port. Enters: a script, with the frames of all protocols. Leaves: a panic if a probe takes
//! longer than it says, has two outcomes or none, or finds whom nobody spoke for.

use hangtag_agent_core::intake::probe::{LONGEST_MS, Outcome, Who};
use hangtag_agent_core::intake::{Known, Probe, Protocol};
use hangtag_protocol::clock::Uptime;

use crate::script::{Piece, Script};
use crate::seal;
use crate::{node, readers};

const PROTOCOLS: [&str; 4] = ["thingmagic", "r200", "chafon", "ruuvi"];

/// Tries one conversation.
///
/// # Panics
/// When a property does not hold.
pub fn run(bytes: &[u8]) {
    let frames: Vec<Vec<u8>> = PROTOCOLS.iter().flat_map(|protocol| readers::known(protocol)).collect();
    let script = Script::new(bytes, sealed, &frames);
    let baud = [None, Some(57_600), Some(115_200)][usize::from(script.choice) % 3];
    let before = [
        None,
        Some((Who::Reader(Protocol::R200), 115_200)),
        Some((Who::Reader(Protocol::ThingMagic), 38_400)),
        Some((Who::Reader(Protocol::Chafon), 57_600)),
        Some((Who::Reader(Protocol::Ruuvi), 115_200)),
        Some((Who::Reader(Protocol::Scanner), 9_600)),
        Some((Who::Node, 115_200)),
    ][usize::from(script.choice / 3) % 7];
    let begin = Uptime(5_000);
    let mut now = begin;
    let mut probe = Probe::new(&Known { baud, before, ..Known::default() }, now);
    let (mut outcomes, mut pieces) = (Vec::new(), script.pieces.iter().cycle());
    // Somebody may say the same for ever, and time passes all the same.
    for turn in 0..20_000 {
        while probe.poll_action().is_some() {}
        outcomes.extend(probe.poll_outcome());
        let Some(due) = probe.poll_timeout() else { break };
        assert!(due <= begin + LONGEST_MS, "it wants to go on at {due:?}");
        match pieces.next().filter(|_| turn % 2 == 0) {
            Some(Piece::Bytes(bytes)) => probe.handle_bytes(bytes, now),
            Some(Piece::Pause(ms)) => now = (now + *ms).min(due),
            None => now = due.min(now + 1_000),
        }
        probe.handle_timeout(now);
    }
    assert_eq!(outcomes.len(), 1, "{outcomes:?} at {now:?}");
    if let [Outcome::Found(found)] = &outcomes[..] {
        assert!(script.bytes() > 0, "{found:?}");
        assert!(baud.is_none_or(|baud| found.baud == baud) || before.is_some(), "{found:?}");
    }
}

/// Conversations with every reader that is known.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    PROTOCOLS
        .iter()
        .flat_map(|protocol| readers::seeds(protocol))
        .chain(readers::scanner_seeds())
        .chain(node::seeds())
        .collect()
}

/// A frame of the protocol that the first byte says.
fn sealed(payload: &[u8]) -> Vec<u8> {
    let Some((&which, payload)) = payload.split_first() else { return Vec::new() };
    match which % 6 {
        0 => seal::thingmagic(payload),
        1 => seal::r200(payload),
        2 => seal::chafon(payload),
        3 => seal::ruuvi(payload),
        4 => node::sealed(payload),
        _ => seal::line(payload),
    }
}

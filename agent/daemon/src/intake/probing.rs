//! Probes a port. Enters: a port that was just opened. Leaves: which reader is there, at which speed the port is
//! then, or why none was found.

use std::io::{self, ErrorKind};
use std::time::Duration;

use hangtag_agent_core::intake::probe::{Action, Outcome};
use hangtag_agent_core::intake::{Known, Probe};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_serial::{ClearBuffer, SerialPort as _, SerialStream};
use tracing::trace;
use zeroize::Zeroizing;

use super::STUCK;
use crate::clock;

/// Finds out who is at a port; with it, what came in by which a scanner was known.
///
/// # Errors
/// When the port fails or takes no bytes.
pub(crate) async fn probe(
    port: &mut SerialStream,
    known: &Known,
) -> io::Result<(Outcome, Zeroizing<Vec<u8>>)> {
    let mut probe = Probe::new(known, clock::uptime());
    // What comes may be a loyalty code.
    let mut buffer = Zeroizing::new([0; 4_096]);
    loop {
        while let Some(action) = probe.poll_action() {
            match action {
                Action::Speed(baud) => {
                    port.set_baud_rate(baud)?;
                    port.clear(ClearBuffer::All)?;
                }
                Action::Send(bytes) => {
                    trace!(bytes = %hex::encode(&bytes), "asked");
                    write(port, &bytes).await?;
                }
            }
        }
        if let Some(outcome) = probe.poll_outcome() {
            return Ok((outcome, probe.take_heard()));
        }
        let due = probe.poll_timeout().map_or(0, |at| at.since(clock::uptime()));
        match timeout(Duration::from_millis(due), port.read(&mut buffer[..])).await {
            Ok(Ok(0)) => return Err(hung_up()),
            Ok(Ok(count)) => probe.handle_bytes(&buffer[..count], clock::uptime()),
            Ok(Err(why)) => return Err(why),
            Err(_) => {}
        }
        // Also when bytes never stop coming.
        probe.handle_timeout(clock::uptime());
    }
}

/// Sends bytes, unless the line takes none.
pub(crate) async fn write(port: &mut SerialStream, bytes: &[u8]) -> io::Result<()> {
    match timeout(STUCK, port.write_all(bytes)).await {
        Ok(written) => written,
        Err(_) => Err(io::Error::new(ErrorKind::TimedOut, "the line takes no bytes")),
    }
}

/// A line that hung up gives 0 bytes for ever.
pub(crate) fn hung_up() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the line hung up")
}

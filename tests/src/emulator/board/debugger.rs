//! A debugger at QEMU. Enters: its socket, numbers of registers. Leaves: their contents, by GDB's remote protocol: `$`
//! packet `#` sum of its bytes, each acknowledged with `+`. The processor stands still while a debugger is there.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};

/// The number of the program counter of an ARM.
pub(super) const PC: u8 = 15;
/// The same of the status of a Cortex-M.
pub(super) const STATUS: u8 = 25;

const PATIENCE: Duration = Duration::from_secs(60);

/// A debugger.
pub(super) struct Debugger(UnixStream);

impl Debugger {
    /// Stops the processor.
    pub(super) fn attach(socket: &Path) -> anyhow::Result<Self> {
        let line = UnixStream::connect(socket).context("QEMU takes no debugger")?;
        line.set_read_timeout(Some(PATIENCE))?;
        let mut debugger = Self(line);
        // QEMU sets single registers only for who has asked what there are.
        let registers = debugger.ask("qXfer:features:read:target.xml:0,ffb")?;
        ensure!(registers.contains("<target"), "QEMU does not name its registers: {registers}");
        Ok(debugger)
    }

    /// What a register holds.
    pub(super) fn register(&mut self, number: u8) -> anyhow::Result<u32> {
        let answer = self.ask(&format!("p{number:x}"))?;
        let bytes = hex::decode(&answer).ok().and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        bytes.map(u32::from_le_bytes).with_context(|| format!("register {number} holds {answer:?}"))
    }

    /// Sets a register.
    pub(super) fn set(&mut self, number: u8, value: u32) -> anyhow::Result<()> {
        let answer = self.ask(&format!("P{number:x}={}", hex::encode(value.to_le_bytes())))?;
        ensure!(answer == "OK", "QEMU did not set register {number}: {answer}");
        Ok(())
    }

    /// Lets the processor go on.
    pub(super) fn leave(mut self) -> anyhow::Result<()> {
        let answer = self.ask("D")?;
        ensure!(answer == "OK", "QEMU did not let the debugger go: {answer}");
        Ok(())
    }

    fn ask(&mut self, packet: &str) -> anyhow::Result<String> {
        let line = &mut self.0;
        let sum = packet.bytes().fold(0_u8, |sum, byte| sum.wrapping_add(byte));
        write!(line, "${packet}#{sum:02x}")?;
        let mut answer = String::new();
        let mut byte = [0];
        loop {
            line.read_exact(&mut byte).with_context(|| format!("no answer to {packet}: {answer:?}"))?;
            answer.push(char::from(byte[0]));
            if let Some((said, _)) = answer.split_once('#').filter(|(_, sum)| sum.len() == 2) {
                line.write_all(b"+")?;
                let (_, said) = said.split_once('$').context("no packet")?;
                // It says by itself that the processor has stopped.
                if !said.starts_with('T') {
                    return Ok(said.to_owned());
                }
                answer.clear();
            }
        }
    }
}

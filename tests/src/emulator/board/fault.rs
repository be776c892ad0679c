//! A processor that fails. Enters: QEMU's socket for debuggers. Leaves: a program counter that points nowhere, by
//! GDB's remote protocol: `$` packet `#` sum of its bytes, each acknowledged with `+`.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};

/// Where nothing is: neither memory nor anything that answers.
pub(super) const NOWHERE: u32 = 0xdead_beee;

/// The program counter of an ARM.
const PC: u8 = 15;
const PATIENCE: Duration = Duration::from_secs(60);

/// Stops the processor, sets its program counter and lets it go on.
pub(super) fn jump_to_nowhere(socket: &Path) -> anyhow::Result<()> {
    let mut line = UnixStream::connect(socket).context("QEMU takes no debugger")?;
    line.set_read_timeout(Some(PATIENCE))?;
    // QEMU sets single registers only for who has asked what there are.
    let registers = ask(&mut line, "qXfer:features:read:target.xml:0,ffb")?;
    ensure!(registers.contains("<target"), "QEMU does not name its registers: {registers}");
    let answer = ask(&mut line, &format!("P{PC:x}={}", hex::encode(NOWHERE.to_le_bytes())))?;
    ensure!(answer == "OK", "QEMU did not set the program counter: {answer}");
    // A debugger that leaves lets the processor go on.
    let answer = ask(&mut line, "D")?;
    ensure!(answer == "OK", "QEMU did not let the debugger go: {answer}");
    Ok(())
}

fn ask(line: &mut UnixStream, packet: &str) -> anyhow::Result<String> {
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

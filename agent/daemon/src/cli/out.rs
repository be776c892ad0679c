//! Standard output and standard error of the commands. Enters: text. Leaves: the same, until nobody reads it
//! any more (`| head`): that ends a command, and is no error.

use std::fmt::Display;
use std::io::{self, Write};

/// Standard output.
pub(crate) struct Out(io::Stdout);

/// Who read the output has gone.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
struct NobodyReads;

/// Standard output.
pub(crate) fn out() -> Out {
    Out(io::stdout())
}

/// Tells on standard error why something failed. If that is closed nobody can be told.
pub(crate) fn complain(why: impl Display) {
    let _ = writeln!(io::stderr(), "hangtag-agent: {why}");
}

/// Whether a command failed only because nobody reads its output any more.
pub(crate) fn nobody_reads(why: &anyhow::Error) -> bool {
    why.chain().filter_map(|why| why.downcast_ref::<io::Error>()).any(|why| {
        let inner = why.get_ref();
        inner.is_some_and(|inner| inner.is::<NobodyReads>())
    })
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(told)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(told)
    }
}

fn told(why: io::Error) -> io::Error {
    if why.kind() == io::ErrorKind::BrokenPipe { io::Error::new(why.kind(), NobodyReads) } else { why }
}

//! A serial port that is never waited for. Enters: a port by embedded-io's traits, and frames one at a time.
//! Leaves: the bytes that are there, and on the port as many as it takes. A port that fails is asked again: its
//! errors are counted, and what was not sent is kept.

use arrayvec::ArrayVec;
use embedded_io::{Read, ReadReady, Write, WriteReady};
use hangtag_protocol::link::MAX_WIRE;

/// A port with the rest of the frame that it did not take yet.
#[derive(Debug)]
pub struct Line<P> {
    port: P,
    unsent: ArrayVec<u8, MAX_WIRE>,
    errors: u32,
}

impl<P> Line<P> {
    /// A line over a port.
    pub fn new(port: P) -> Self {
        Self { port, unsent: ArrayVec::new(), errors: 0 }
    }

    /// How often the port failed.
    #[must_use]
    pub fn errors(&self) -> u32 {
        self.errors
    }
}

impl<P: Read + ReadReady> Line<P> {
    /// Hands on what is there, at most [`AT_ONCE`] bytes, and says whether something was.
    pub fn hear(&mut self, take: impl FnOnce(&[u8])) -> bool {
        let mut bytes = [0; AT_ONCE];
        let mut length = 0;
        while length < AT_ONCE {
            let read = self
                .port
                .read_ready()
                .and_then(|ready| if ready { self.port.read(&mut bytes[length..]) } else { Ok(0) });
            match read {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(_) => {
                    self.errors = self.errors.saturating_add(1);
                    break;
                }
            }
        }
        if length > 0 {
            take(&bytes[..length]);
        }
        length > 0
    }
}

impl<P: Write + WriteReady> Line<P> {
    /// Puts on the port what it takes, at most [`AT_ONCE`] bytes: a port without a speed of its own would take all that
    /// there is while the other is not heard. The next frame is asked for only when the one before is gone, because what
    /// is asked for counts as sent. Says whether something is left.
    pub fn say<B: AsRef<[u8]>>(&mut self, mut next: impl FnMut() -> Option<B>) -> bool {
        let mut room = AT_ONCE;
        loop {
            if self.unsent.is_empty() {
                let Some(frame) = next() else { return false };
                self.unsent.try_extend_from_slice(frame.as_ref()).expect("frames are at most MAX_WIRE long");
            }
            let written = self.port.write_ready().and_then(|ready| {
                if ready { self.port.write(&self.unsent[..room.min(self.unsent.len())]) } else { Ok(0) }
            });
            match written {
                Ok(0) => return true,
                Ok(count) => {
                    self.unsent.drain(..count);
                    room -= count;
                }
                Err(_) => {
                    self.errors = self.errors.saturating_add(1);
                    return true;
                }
            }
        }
    }
}

/// The most bytes that are heard or said in one go: what comes in 20 ms at 115,200 baud, so that no line keeps the other
/// waiting for longer.
pub const AT_ONCE: usize = 256;

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use embedded_io::{ErrorKind, ErrorType};
    use std::collections::VecDeque;
    use std::vec::Vec;

    /// A port that takes and gives a few bytes at a time and fails on its N-th operation.
    #[derive(Default)]
    struct Port {
        incoming: VecDeque<u8>,
        sent: Vec<u8>,
        takes: usize,
        operations: u32,
        fails_at: u32,
    }

    impl Port {
        fn operate(&mut self) -> Result<(), ErrorKind> {
            self.operations += 1;
            if self.operations == self.fails_at { Err(ErrorKind::Other) } else { Ok(()) }
        }
    }

    impl ErrorType for Port {
        type Error = ErrorKind;
    }

    impl Read for Port {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
            self.operate()?;
            let count = buffer.len().min(3).min(self.incoming.len());
            for (to, byte) in buffer.iter_mut().zip(self.incoming.drain(..count)) {
                *to = byte;
            }
            Ok(count)
        }
    }

    impl ReadReady for Port {
        fn read_ready(&mut self) -> Result<bool, ErrorKind> {
            self.operate()?;
            Ok(!self.incoming.is_empty())
        }
    }

    impl Write for Port {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
            self.operate()?;
            assert!(self.takes > 0, "a port that is not ready would wait");
            let count = bytes.len().min(self.takes);
            self.sent.extend(&bytes[..count]);
            self.takes -= count;
            Ok(count)
        }

        fn flush(&mut self) -> Result<(), ErrorKind> {
            panic!("a flush waits");
        }
    }

    impl WriteReady for Port {
        fn write_ready(&mut self) -> Result<bool, ErrorKind> {
            self.operate()?;
            Ok(self.takes > 0)
        }
    }

    #[test]
    fn whatever_fails_once_every_byte_comes_and_goes_once() {
        let incoming: Vec<u8> = (0..=255).cycle().take(600).collect();
        let frames: Vec<Vec<u8>> = (1..=20).map(|length| std::vec![length; usize::from(length)]).collect();
        let mut failed = 0;
        for fails_at in 0..500 {
            let port = Port { incoming: incoming.iter().copied().collect(), fails_at, ..Port::default() };
            let mut line = Line::new(port);
            let (mut heard, mut given) = (Vec::new(), 0);
            for round in 0..500 {
                line.hear(|bytes| heard.extend(bytes));
                line.port.takes = round % 7;
                line.say(|| {
                    given += 1;
                    frames.get(given - 1)
                });
            }
            assert_eq!((heard, &line.port.sent), (incoming.clone(), &frames.concat()));
            assert_eq!(line.errors(), u32::from(fails_at > 0), "fails at {fails_at}");
            failed += line.errors();
        }
        assert_eq!(failed, 499);
    }

    #[test]
    fn a_port_that_takes_everything_is_given_a_little_at_a_time() {
        let mut line = Line::new(Port { takes: usize::MAX, ..Port::default() });
        let mut left = 10;
        let mut next = || {
            left -= 1;
            (left >= 0).then_some([7; 100])
        };
        for sent in [AT_ONCE, 2 * AT_ONCE, 3 * AT_ONCE] {
            assert!(line.say(&mut next), "something is left");
            assert_eq!(line.port.sent.len(), sent);
        }
        assert!(!line.say(&mut next));
        assert_eq!(line.port.sent.len(), 1_000);
    }

    #[test]
    fn the_next_frame_is_not_asked_for_before_the_last_is_gone() {
        let mut line = Line::new(Port { takes: 4, ..Port::default() });
        let mut asked = 0;
        let mut next = || {
            asked += 1;
            (asked <= 2).then_some([asked; 5])
        };
        assert!(line.say(&mut next));
        assert!(line.say(&mut next));
        line.port.takes = 1;
        assert!(line.say(&mut next), "the second waits");
        line.port.takes = 9;
        assert!(!line.say(&mut next));
        assert_eq!((line.port.sent, asked), ([[1; 5], [2; 5]].concat(), 3));
    }
}

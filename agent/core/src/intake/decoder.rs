//! Bytes of one serial line to messages. Enters: bytes in any chunks. Leaves: what each good frame says,
//! and how many bytes belonged to none. It never holds more than one frame, and never waits for a frame of
//! which enough is there to see that it is none.

use alloc::vec::Vec;
use core::fmt;

use zeroize::{Zeroize as _, Zeroizing};

use super::chafon::{self, Dialect};
use super::scanner::Lines;
use super::{Message, Protocol, Scan, Settings, r200, ruuvi, thingmagic};

/// The languages, each with what it must remember between two frames.
#[derive(Debug)]
enum Language {
    R200,
    ThingMagic,
    Chafon { address: u8, dialect: Option<Dialect> },
    Ruuvi,
    Scanner(Lines),
}

impl Language {
    fn scan(&mut self, rest: &[u8]) -> Scan {
        match self {
            Self::R200 => r200::scan(rest),
            Self::ThingMagic => thingmagic::scan(rest),
            Self::Chafon { .. } => chafon::scan(rest),
            Self::Ruuvi => ruuvi::scan(rest),
            Self::Scanner(lines) => lines.scan(rest),
        }
    }

    fn read(&mut self, frame: &[u8], on_message: &mut dyn FnMut(Message)) {
        match self {
            Self::R200 => r200::message(frame).into_iter().for_each(on_message),
            Self::ThingMagic => thingmagic::message(frame, on_message),
            Self::Ruuvi => on_message(ruuvi::message(frame)),
            Self::Scanner(lines) => lines.message(frame).into_iter().for_each(on_message),
            Self::Chafon { address, dialect } => {
                chafon::message(frame, *address, *dialect, &mut |message| {
                    if let Message::Reader(info) = &message {
                        *dialect = Some(info.dialect());
                    }
                    on_message(message);
                });
            }
        }
    }

    /// Whether it skips what comes until something ends.
    fn waits(&self) -> bool {
        match self {
            Self::Scanner(lines) => lines.waits(),
            Self::R200 | Self::ThingMagic | Self::Chafon { .. } | Self::Ruuvi => false,
        }
    }

    fn begin_anew(&mut self) {
        match self {
            Self::Scanner(lines) => lines.begin_anew(),
            Self::R200 | Self::ThingMagic | Self::Chafon { .. } | Self::Ruuvi => {}
        }
    }
}

/// Room for a line, or a frame, and for what comes at once behind it, in bytes.
const SCANNED: usize = 8_192;

/// Bytes in any chunks to messages.
pub(super) struct Decoder {
    language: Language,
    // Never grows beyond the longest frame: bytes are understood or skipped as they come.
    pending: Zeroizing<Vec<u8>>,
    garbage: u64,
}

impl Decoder {
    pub(super) fn new(settings: &Settings) -> Self {
        let language = match settings {
            Settings::R200(_) => Language::R200,
            Settings::ThingMagic(_) => Language::ThingMagic,
            Settings::Chafon { address, .. } => Language::Chafon { address: *address, dialect: None },
            Settings::Ruuvi => Language::Ruuvi,
            Settings::Scanner { loyalty } => Language::Scanner(Lines::new(loyalty.clone())),
        };
        // A buffer that grows leaves what it held behind, and a scanner's cannot be wiped then.
        let capacity = if let Language::Scanner(_) = language { SCANNED } else { 0 };
        Self::of(language, capacity)
    }

    /// One that hears whoever speaks a language, or another: it may be a scanner.
    pub(super) fn hearing(protocol: Protocol) -> Self {
        let language = match protocol {
            Protocol::R200 => Language::R200,
            Protocol::ThingMagic => Language::ThingMagic,
            Protocol::Chafon => Language::Chafon { address: chafon::BROADCAST, dialect: None },
            Protocol::Ruuvi => Language::Ruuvi,
            Protocol::Scanner => Language::Scanner(Lines::new(Vec::new())),
        };
        Self::of(language, SCANNED)
    }

    fn of(language: Language, capacity: usize) -> Self {
        Self { language, pending: Zeroizing::new(Vec::with_capacity(capacity)), garbage: 0 }
    }

    pub(super) fn handle_bytes(&mut self, bytes: &[u8], mut on_message: impl FnMut(Message)) {
        self.pending.extend_from_slice(bytes);
        let mut start = 0;
        while start < self.pending.len() {
            let rest = &self.pending[start..];
            match self.language.scan(rest) {
                Scan::More => break,
                Scan::Garbage(length) => {
                    start += length;
                    self.garbage += length as u64;
                }
                Scan::Frame(length) => {
                    self.language.read(&rest[..length], &mut on_message);
                    start += length;
                }
            }
        }
        self.take_out(start);
    }

    /// Takes out the first bytes, and overwrites what that leaves behind: it may have been a loyalty code.
    fn take_out(&mut self, count: usize) {
        self.pending.drain(..count);
        self.pending.spare_capacity_mut()[..count].zeroize();
    }

    /// Gives up waiting for the rest of a frame: its first byte was garbage after all, and a good frame may
    /// stand behind it.
    pub(super) fn give_up(&mut self, mut on_message: impl FnMut(Message)) {
        // No line begins inside another.
        if let Language::Scanner(_) = self.language {
            return self.forget();
        }
        while !self.pending.is_empty() {
            self.take_out(1);
            self.garbage += 1;
            self.handle_bytes(&[], &mut on_message);
        }
    }

    /// Forgets what has begun: its rest will not come.
    pub(super) fn forget(&mut self) {
        self.garbage += self.pending.len() as u64;
        self.pending.zeroize();
        self.language.begin_anew();
    }

    /// Whether the rest of something that may be a frame has not come yet.
    pub(super) fn waits(&self) -> bool {
        !self.pending.is_empty() || self.language.waits()
    }

    /// Bytes that belonged to no good frame, so far.
    pub(super) fn garbage(&self) -> u64 {
        self.garbage
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What waits may be the beginning of a loyalty code.
        let Self { language, pending, garbage } = self;
        write!(f, "Decoder {{ {language:?}, {} bytes wait, {garbage} were garbage }}", pending.len())
    }
}

#[cfg(test)]
mod tests;

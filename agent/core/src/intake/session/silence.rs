//! When a reader counts as silent, and what may wake it. Enters: what the reader is, and when it last reported.

use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;

use super::super::{Settings, ruuvi};
use super::{NUDGED_MS, Session};

impl Session {
    /// When a reader counts as silent. A reading module reports about once a second, be it that it sees no
    /// tag; a receiver has nothing to report where no sensor tag is, but answers; a scanner is silent as long
    /// as nobody scans.
    pub(super) fn silent_at(&self, nudged: bool) -> Option<Uptime> {
        let silence_ms = match self.settings {
            Settings::R200(_) | Settings::Chafon { .. } => 2_000,
            Settings::ThingMagic(_) => 3_000,
            Settings::Ruuvi => 10_000,
            Settings::Scanner { .. } => return None,
        };
        Some(self.reported + silence_ms + if nudged { NUDGED_MS } else { 0 })
    }

    /// What may wake a reader that fell silent, without setting it up anew.
    pub(super) fn nudge(&self) -> Option<Vec<u8>> {
        match self.settings {
            // Its rounds may have run out.
            Settings::R200(_) => Some(self.steps.last()?.bytes.clone()),
            Settings::ThingMagic(_) | Settings::Scanner { .. } => None,
            Settings::Ruuvi => Some(ruuvi::ask()),
            // The command or the end of its round may have been lost.
            Settings::Chafon { .. } => self.rounds.get(self.round).cloned(),
        }
    }
}

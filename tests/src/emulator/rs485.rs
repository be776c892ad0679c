//! Chafon readers on one RS-485 line. Enters: host commands, tags, time. Leaves: frames of all of them. Who is spoken
//! to while another searches does not hear it, and the other's search is lost: a host must ask one after the other.

use super::chafon::Chafon;
use crate::shop::Sighting;

/// The readers of a line.
#[derive(Clone, Debug)]
pub struct Rs485(Vec<Chafon>);

impl Rs485 {
    /// Readers with these addresses, as they left the factory.
    #[must_use]
    pub fn new(addresses: &[u8]) -> Self {
        Self(addresses.iter().map(|address| Chafon::new(*address)).collect())
    }

    /// Takes bytes from the host, in any chunks, and returns the answers.
    #[must_use]
    pub fn handle_bytes(&mut self, bytes: &[u8], now_ms: u64) -> Vec<u8> {
        if self.0.iter().any(Chafon::is_searching) {
            self.0.iter_mut().for_each(Chafon::interrupt);
            return Vec::new();
        }
        self.0.iter_mut().flat_map(|reader| reader.handle_bytes(bytes, now_ms)).collect()
    }

    /// Shows a tag to the reader that its sighting names, counted from 0.
    #[must_use]
    pub fn handle_sighting(&mut self, sighting: &Sighting) -> Vec<u8> {
        self.0.get_mut(sighting.reader).map_or_else(Vec::new, |reader| reader.handle_sighting(sighting))
    }

    /// Lets time pass.
    #[must_use]
    pub fn handle_timeout(&mut self, now_ms: u64) -> Vec<u8> {
        self.0.iter_mut().flat_map(|reader| reader.handle_timeout(now_ms)).collect()
    }

    /// Whether a host has asked any of them for tags.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.0.iter().any(Chafon::is_reading)
    }
}

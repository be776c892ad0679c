//! What one sensor saw, once. Made by the agent's intake from a reader's frames; eaten by inference.

use serde::{Deserialize, Serialize};

use crate::clock::Uptime;
use crate::epc::Epc;

/// A tag that answered a reader, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// When the gateway received it.
    pub at: Uptime,
    /// The tag.
    pub epc: Epc,
    /// The reader's port, counted from 1 as readers print it.
    pub antenna: u8,
    /// Received signal strength in hundredths of a dBm; readers give -9000 to -2000.
    pub rssi_cdbm: i16,
    /// Phase of the answer in tenths of a degree, 0 to 3599, where the reader tells it. Readers that
    /// cannot tell a half turn report 0 to 1799.
    pub phase_ddeg: Option<u16>,
    /// Carrier in kHz, where the reader tells it.
    pub channel_khz: Option<u32>,
}

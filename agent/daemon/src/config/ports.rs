//! The ports in the configuration. Enters: each reader's. Leaves: what is wrong when two are at one and cannot share
//! it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hangtag_protocol::id::ReaderId;

use super::Setup;
use super::sheet::Table;

/// Who is at which port.
#[derive(Default)]
pub(super) struct Ports(BTreeMap<PathBuf, Vec<AtPort>>);

/// A reader at a port, and by what it can be told from others there: its speed and address.
#[derive(Clone, Copy)]
struct AtPort {
    id: Option<ReaderId>,
    address: Option<(u32, u8)>,
}

impl Ports {
    /// Notes who is at a port, and tells when somebody is there who cannot share it.
    pub(super) fn take(
        &mut self,
        table: &Table<'_, '_>,
        port: &Path,
        id: Option<ReaderId>,
        setup: Option<&Setup>,
    ) {
        let this = AtPort { id, address: setup.and_then(Setup::address) };
        let others = self.0.entry(port.to_owned()).or_default();
        if let Some(other) = others.last() {
            let name = other.id.map_or_else(|| "another reader".into(), |id| format!("reader \"{id}\""));
            let taken = others.iter().any(|other| other.address == this.address);
            match (this.address, other.address) {
                (Some((baud, _)), Some((there, _))) if baud != there => {
                    table.wrong("baud", format!("{name} is at this port with {there} baud"));
                }
                (Some(_), Some(_)) if taken => {
                    table.wrong("address", "another reader at this port has this address");
                }
                (Some(_), Some(_)) => {}
                // What else is wrong with one of them may be why.
                _ if setup.is_none() => {}
                _ => table.wrong(
                    "port",
                    format!("{name} is at this port; only chafon readers with an address each can share one"),
                ),
            }
        }
        others.push(this);
    }
}

//! The real programs, started and judged from outside: for the demo and the end-to-end tests. Enters:
//! a folder to work in. Leaves: running processes, and what they did.
//!
//! | module | does |
//! |---|---|
//! | [`binaries`] | builds agent and central and says where they are |
//! | [`process`] | starts, kills and stops a program, and reads its memory |
//! | [`broker`] | rumqttd within this process, or Mosquitto as another |
//! | [`site`] | the files of a shop: configurations, catalogue, stores; agent and central in it |
//! | [`judge`] | compares what the agent accepted with what central has |
//! | [`listener`] | listens to the batches on the broker, and publishes what should not be there |

pub mod binaries;
pub mod broker;
pub mod judge;
pub mod listener;
pub mod process;
pub mod site;

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// A port on loopback that nothing listens on at this moment.
///
/// # Errors
/// When there is none.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

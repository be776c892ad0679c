//! A shop in real time: its readers on pseudo-terminals in one folder. Enters: a shop, a folder.
//! Leaves: bytes on the ports, paced by the clock. It drops what a port cannot take and never waits
//! for one.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::line::{Faults, Line};
use super::port::Port;
use crate::shop::Shop;

/// A shop that is open.
pub struct LiveShop {
    shop: Shop,
    ports: Vec<Port>,
    opened: Instant,
    ticks: u32,
}

/// How often readers hand over what they saw: about as often as a USB adapter does.
const TICK: Duration = Duration::from_millis(16);

impl LiveShop {
    /// Plugs in every reader under its name in `folder`, which is made when it is missing, and opens
    /// the shop. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the folder or a port cannot be made.
    pub fn open(shop: Shop, folder: &Path, faults: Faults) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut ports = Vec::new();
        for (number, reader) in shop.layout().readers.iter().enumerate() {
            let line = Line::new(number as u64, faults);
            let mut port = Port::new(&folder.join(reader.id.as_str()), reader.protocol, line);
            port.plug()?;
            ports.push(port);
        }
        Ok(Self { shop, ports, opened: Instant::now(), ticks: 0 })
    }

    /// Waits for the next tick, lets the shop run up to it and feeds the ports. Call it for as long
    /// as the shop is open; it may be dropped while it waits.
    pub async fn tick(&mut self) {
        tokio::time::sleep_until(self.opened + TICK * self.ticks).await;
        self.ticks += 1;
        let now_ms = self.now_ms();
        let mut seen = vec![Vec::new(); self.ports.len()];
        for sighting in self.shop.run_to(now_ms) {
            seen[sighting.reader].push(sighting);
        }
        for (port, sightings) in self.ports.iter().zip(seen) {
            port.feed(now_ms, sightings);
        }
    }

    /// Milliseconds since the shop opened: the time of its truth.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).expect("shorter than the age of the universe")
    }

    /// The shop.
    pub fn shop(&mut self) -> &mut Shop {
        &mut self.shop
    }

    /// The ports, in the layout's order, to plug and unplug.
    pub fn ports(&mut self) -> &mut [Port] {
        &mut self.ports
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::r200::START_UP;
    use crate::shop::{Difficulty, Pace, Settings};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_serial::SerialPortBuilderExt as _;

    #[tokio::test]
    async fn a_host_on_one_port_gets_tags_while_nobody_listens_on_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let shop = Shop::new(Settings { seed: 1, pace: Pace::Demo, difficulty: Difficulty::Normal });
        let mut live = LiveShop::open(shop, &folder.path().join("readers"), Faults::default()).unwrap();
        let link = live.ports()[1].link().to_owned();
        assert!(link.ends_with("readers/rail-b"));
        let mut host = tokio_serial::new(link.to_str().unwrap(), 115_200).open_native_async().unwrap();
        for command in START_UP {
            host.write_all(command).await.unwrap();
        }
        let mut received = Vec::new();
        let listen = async {
            let mut buffer = [0; 256];
            // A tag notice whose EPC is an SGTIN-96.
            while !hex::encode(&received).contains("30003036451fd4") {
                let count = host.read(&mut buffer).await.unwrap();
                received.extend(&buffer[..count]);
            }
        };
        let run = async {
            loop {
                live.tick().await;
            }
        };
        tokio::select! {
            () = listen => {}
            () = run => unreachable!("the shop never closes"),
            () = tokio::time::sleep(Duration::from_secs(10)) => panic!("no tag in {received:02x?}"),
        }
    }
}

//! What the agent knows of its own health, gathered from all stages. Enters: what stages notice.
//! Leaves: the status message, and the answers of the local socket. It decides nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hangtag_agent_core::infer::{Layout, SensorOn};
use hangtag_agent_core::intake::{Mac, Motion};
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::ReaderState;
use hangtag_protocol::id::{ReaderId, ZoneId};
use hangtag_protocol::status::{CertificateHealth, ReaderHealth};
use serde::{Deserialize, Serialize};

/// Phones and other shops have sensor tags too: of more than so many the one unheard for longest is forgotten.
const SENSORS: usize = 256;
/// A sensor tag unheard for so long is not told any more, in milliseconds.
const SENSOR_GONE_MS: u64 = 600_000;

/// The health of the readers and of the certificate, and the sensor tags around. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Health {
    readers: Arc<Mutex<Vec<ReaderHealth>>>,
    sensors: Arc<Mutex<BTreeMap<Mac, SensorLine>>>,
    certificate: Arc<Mutex<Option<CertificateHealth>>>,
    broker: Arc<Mutex<BrokerHealth>>,
}

/// How it went with the broker since the agent started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BrokerHealth {
    /// There is a connection.
    pub(crate) is_connected: bool,
    /// Connections that the broker accepted.
    pub(crate) connections: u64,
    /// Connections that it did not come to, or that ended.
    pub(crate) losses: u64,
}

/// A sensor tag that was heard, as `watch` gets it: whether the configuration knows it or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SensorLine {
    /// Its address, as it is printed on it.
    pub(crate) sensor: String,
    /// When it was heard last.
    pub(crate) at: Uptime,
    pub(crate) rssi_cdbm: i16,
    /// How often it has moved since it was first heard.
    pub(crate) moves: u64,
    pub(crate) battery_mv: Option<u16>,
    /// The tag of the garment that it is on, or the zone of its rail or shelf; neither if the configuration does
    /// not know it.
    pub(crate) epc: Option<Epc>,
    pub(crate) zone: Option<ZoneId>,
}

impl Health {
    /// Starts with readers of which nothing is known.
    pub(crate) fn new(readers: impl Iterator<Item = ReaderId>) -> Self {
        let unknown = |id| ReaderHealth {
            id,
            state: ReaderState::Absent,
            protocol: None,
            module: None,
            reads: 0,
            garbage: 0,
            bad_tags: 0,
            lost_reads: 0,
            fault: None,
            temperature_c: None,
            node: None,
        };
        let readers = Arc::new(Mutex::new(readers.map(unknown).collect()));
        let (sensors, certificate, broker) = (Arc::default(), Arc::default(), Arc::default());
        Self { readers, sensors, certificate, broker }
    }

    /// A sensor tag was heard.
    pub(crate) fn heard(&self, motion: &Motion) {
        let mut sensors = self.sensors.lock().unwrap_or_else(PoisonError::into_inner);
        let moves = sensors.get(&motion.sensor).map_or(0, |before| before.moves) + u64::from(motion.moves);
        let line = SensorLine {
            sensor: motion.sensor.to_string(),
            at: motion.at,
            rssi_cdbm: motion.rssi_cdbm,
            moves,
            battery_mv: motion.battery_mv,
            epc: None,
            zone: None,
        };
        sensors.insert(motion.sensor, line);
        if sensors.len() > SENSORS
            && let Some(oldest) = sensors.iter().min_by_key(|(_, line)| line.at).map(|(mac, _)| *mac)
        {
            sensors.remove(&oldest);
        }
    }

    /// The sensor tags that were heard of late, by address, with what the configuration says of each.
    pub(crate) fn sensors(&self, layout: &Layout, now: Uptime) -> Vec<SensorLine> {
        let sensors = self.sensors.lock().unwrap_or_else(PoisonError::into_inner);
        let of_late = sensors.iter().filter(|(_, line)| now.since(line.at) < SENSOR_GONE_MS);
        let line = |(mac, line): (&Mac, &SensorLine)| {
            let (epc, zone) = match layout.sensor(*mac) {
                Some(SensorOn::Garment(epc)) => (Some(epc), None),
                Some(SensorOn::Fixture(zone)) => (None, Some(zone)),
                None => (None, None),
            };
            SensorLine { epc, zone, ..line.clone() }
        };
        of_late.map(line).collect()
    }

    /// What is known of the gateway's certificate from here on.
    pub(crate) fn certified(&self, certificate: Option<CertificateHealth>) {
        *self.certificate.lock().unwrap_or_else(PoisonError::into_inner) = certificate;
    }

    /// What is known of the gateway's certificate; none if it has none.
    pub(crate) fn certificate(&self) -> Option<CertificateHealth> {
        self.certificate.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is known of one reader.
    pub(crate) fn update(&self, reader: usize, change: impl FnOnce(&mut ReaderHealth)) {
        if let Some(health) = self.lock().get_mut(reader) {
            change(health);
        }
    }

    /// What is known of all readers.
    pub(crate) fn readers(&self) -> Vec<ReaderHealth> {
        self.lock().clone()
    }

    /// The broker accepted a connection.
    pub(crate) fn connected(&self) {
        let mut broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner);
        broker.is_connected = true;
        broker.connections += 1;
    }

    /// A connection to the broker ended, or did not come to be.
    pub(crate) fn disconnected(&self) {
        let mut broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner);
        broker.is_connected = false;
        broker.losses += 1;
    }

    /// How it went with the broker.
    pub(crate) fn broker(&self) -> BrokerHealth {
        *self.broker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ReaderHealth>> {
        // Plain counters and texts: a panic of another stage leaves nothing half-changed.
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What a gateway says of its own health: JSON, retained on its `status` topic. The agent's last
//! will is the same with `state` = `offline` and nothing else known.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::clock::BootId;
use crate::event::ReaderState;
use crate::id::{Epoch, ReaderId, Seq};
use crate::link::message::{self, BootReason, Firmware, NodeId, Outcome};

/// The version of the JSON.
pub const VERSION: u8 = 1;

/// A gateway's health.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`VERSION`].
    pub v: u8,
    /// Whether the agent is connected.
    pub state: Presence,
    /// The agent's version.
    pub agent: String,
    /// Everything an agent that is connected knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// Whether the agent is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It is connected.
    Online,
    /// It said goodbye, or the broker lost it.
    Offline,
}

/// What an agent that is connected knows of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// The kernel's run, as 16 hexadecimal digits.
    #[serde(with = "boot_text")]
    pub boot: BootId,
    /// Milliseconds since the kernel started.
    pub uptime_ms: u64,
    /// The spool's life.
    pub epoch: Epoch,
    /// The number that the next event will have.
    pub next: Seq,
    /// Events that the gateway holds and central has not settled.
    pub waiting: u64,
    /// Age of the oldest of them in milliseconds, 0 when none waits or its age is unknown.
    pub oldest_ms: u64,
    /// Events that were lost on the gateway and that central does not know to be lost yet.
    pub lost: u64,
    /// How much of what the spool may take is taken by what waits, in percent, 0 to 100.
    #[serde(default)]
    pub spool_percent: u8,
    /// Why the spool accepts nothing at the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool_fault: Option<String>,
    /// The certificate that the broker knows it by, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateHealth>,
    /// The readers.
    pub readers: Vec<ReaderHealth>,
}

/// A gateway's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateHealth {
    /// Whole days for which it is good still, by the gateway's clock; negative when it is over.
    pub days_left: i64,
    /// Why it could not be renewed, or read, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// The health of one reader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReaderHealth {
    /// The reader.
    pub id: ReaderId,
    /// What it is doing.
    pub state: ReaderState,
    /// The language in which it is talked to, and the speed of its line: `r200, 115200 baud`. Where the
    /// configuration leaves it open, what was found at its port last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// What the reader says it is: module and firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// Reads since the agent started.
    pub reads: u64,
    /// Bytes since the agent started that belonged to no good frame.
    pub garbage: u64,
    /// Tags since the agent started whose data was damaged.
    #[serde(default)]
    pub bad_tags: u64,
    /// Reads that a node's runs had taken in and that were lost as these ended, as far as that was told since the
    /// agent started.
    #[serde(default)]
    pub lost_reads: u64,
    /// The fault from which it has not recovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// How warm it was when it last said so, in degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<i8>,
    /// What is known of it if it is a reader node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeHealth>,
}

/// The health of a reader node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeHealth {
    /// Who it is, as 16 hexadecimal digits.
    #[serde(with = "node_text")]
    pub node: NodeId,
    /// The version of its firmware, as `1.2.3`.
    #[serde(with = "firmware_text")]
    pub firmware: Firmware,
    /// Why it started.
    pub reason: BootReason,
    /// What became of the configuration that it was told; nothing before it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured: Option<Outcome>,
    /// The number of the configuration that it was told, which follows from what that says; nothing where it was told
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<u32>,
    /// How far off what it dates may be, in milliseconds; unknown if it does not say what its clock shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_off_ms: Option<u64>,
    /// What it said of itself last; nothing before it does, and when it is not there any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<message::Health>,
}

mod boot_text {
    use crate::clock::BootId;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(boot: &BootId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(boot)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BootId, D::Error> {
        let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16)
            .map(BootId)
            .map_err(|_| de::Error::custom(format_args!("{text:?} is not a hexadecimal boot id")))
    }
}

mod node_text {
    use crate::link::message::NodeId;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(node: &NodeId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(node)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NodeId, D::Error> {
        let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16)
            .map(NodeId)
            .map_err(|_| de::Error::custom(format_args!("{text:?} is not a hexadecimal node id")))
    }
}

mod firmware_text {
    use crate::link::message::Firmware;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(firmware: &Firmware, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(firmware)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Firmware, D::Error> {
        let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let mut numbers = text.split('.').map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => Ok(Firmware { major, minor, patch }),
            _ => Err(de::Error::custom(format_args!("{text:?} is not a version as in 1.2.3"))),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::clock::Uptime;
    use alloc::string::ToString as _;

    #[test]
    fn a_nodes_health_is_read_back_as_it_was_written() {
        let health = message::Health {
            uptime: Uptime(90_000),
            reads: 100_000,
            dropped: 12,
            waiting: 1_500,
            reader_listens: true,
            temperature_dc: Some(-55),
            line_errors: 3,
            accelerometer_fault: Some(message::SensorFault::Stranger(0x11)),
            ..message::Health::default()
        };
        let node = NodeHealth {
            node: NodeId(u64::MAX - 1),
            firmware: Firmware { major: 1, minor: 20, patch: 3 },
            reason: BootReason::BrownOut,
            configured: Some(Outcome::NotKept),
            told: Some(u32::MAX),
            clock_off_ms: Some(7),
            health: Some(health),
        };
        let text = serde_json::to_string(&node).unwrap();
        assert!(text.starts_with(
            r#"{"node":"fffffffffffffffe","firmware":"1.20.3","reason":"brown_out","configured":"not_kept","told":4294967295,"#
        ));
        assert_eq!(serde_json::from_str::<NodeHealth>(&text).unwrap(), node);
        let unsaid = text.replacen(r#""told":4294967295,"#, "", 1);
        assert_eq!(serde_json::from_str::<NodeHealth>(&unsaid).unwrap(), NodeHealth { told: None, ..node });
        // A node of another age tells less or more.
        let other = text.replacen(r#""line_errors":3,"#, r#""colour":"red","#, 1);
        let less = Some(message::Health { line_errors: 0, ..health });
        assert_eq!(serde_json::from_str::<NodeHealth>(&other).unwrap().health, less);
        for (from, to, why) in [("1.20.3", "1.20", "is not a version"), ("fffffffffffffffe", "x", "no")] {
            let bad =
                serde_json::from_str::<NodeHealth>(&text.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(bad.contains(why), "{bad}");
        }
        let older = r#"{"id":"a","state":"listening","reads":1,"garbage":0}"#;
        let mut reader = serde_json::from_str::<ReaderHealth>(older).unwrap();
        assert_eq!((reader.node, reader.bad_tags, reader.lost_reads), (None, 0, 0));
        reader.lost_reads = 7;
        let text = serde_json::to_string(&reader).unwrap();
        assert_eq!(
            text,
            r#"{"id":"a","state":"listening","reads":1,"garbage":0,"bad_tags":0,"lost_reads":7}"#
        );
        assert_eq!(serde_json::from_str::<ReaderHealth>(&text).unwrap(), reader);
    }
}

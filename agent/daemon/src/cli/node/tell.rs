//! Nodes, for people. Enters: what became of each that was asked for. Leaves: text.

use hangtag_agent_core::intake::node::refusal;
use hangtag_protocol::link::command::Configure;
use hangtag_protocol::link::message::{Health, Outcome, SensorFault, SensorState};
use hangtag_protocol::status::NodeHealth;

use super::{Line, Result, Source};

/// The agent reads its file when it starts.
const STALE: &str = "was changed since the agent started, which tells the node what it said before: restart the agent \
                     (systemctl restart hangtag-agent)";

pub(super) fn tell(lines: &[Line]) -> String {
    let mut text = String::new();
    for Line { reader, port, told, result } in lines {
        text += &match reader {
            Some(reader) => format!("{reader}, at {}\n", port.display()),
            None => format!("{}\n", port.display()),
        };
        if let Some(told) = told {
            let would = match result {
                Result::NotAsked => "would be told",
                Result::There { stale: true, .. } => "the file says",
                Result::There { .. }
                | Result::Silent { .. }
                | Result::InUse { .. }
                | Result::Unusable { .. } => "is told",
            };
            text += &line(would, &words(told));
        }
        match result {
            Result::There { from, fault, stale, lost_reads, node } => {
                text += &there(node);
                if let Some(lost) = lost_reads.filter(|lost| *lost > 0) {
                    text += &line(
                        "lost",
                        &format!("{lost} reads with its earlier runs, since the agent started"),
                    );
                }
                if let Some(fault) = fault {
                    text += &line("fault", fault);
                }
                if *stale {
                    text += &line("file", STALE);
                }
                let from = match from {
                    Source::Agent => "the running agent",
                    Source::Port => "the node itself; no agent runs",
                };
                text += &line("said by", from);
            }
            Result::NotAsked => {}
            Result::Silent { why } => text += &line("silent", why),
            Result::InUse { process, name } => {
                text += &line("in use", &format!("by process {process} ({name})"));
            }
            Result::Unusable { why } => text += &line("unusable", why),
        }
    }
    text
}

fn line(what: &str, text: &str) -> String {
    format!("  {what:<14}{text}\n")
}

fn words(told: &Configure) -> String {
    let Configure { region, power_cdbm, antennas, window_ms, motion_mg, settle_ms, occupied, .. } = told;
    let region = format!("{region:?}").to_lowercase();
    let dbm = f32::from(*power_cdbm) / 100.0;
    let ports: Vec<String> =
        (0..16).filter(|bit| antennas & (1 << bit) != 0).map(|bit| (bit + 1).to_string()).collect();
    let booth = match occupied {
        Some(level) => format!("a booth is occupied at level {}", format!("{level:?}").to_lowercase()),
        None => "no sensor of a booth".to_owned(),
    };
    format!(
        "region {region}, {dbm} dBm, antenna {}, window {window_ms} ms, motion {motion_mg} mg, settle {settle_ms} ms, \
         {booth}",
        ports.join(", ")
    )
}

fn there(node: &NodeHealth) -> String {
    let NodeHealth { node: id, firmware, reason, configured, clock_off_ms, health, told: _ } = node;
    let mut text = line("node", &format!("{id}, firmware {firmware}"));
    let reason = format!("{reason:?}").to_lowercase();
    match health {
        Some(health) => {
            text += &line("started", &format!("{} ago, reason: {reason}", ago(health.uptime.0)));
            text += &of_itself(health);
        }
        None => text += &line("started", &format!("reason: {reason}")),
    }
    let clock = clock_off_ms.map_or_else(
        || "not known: it does not say what it shows".into(),
        |off| format!("known to {off} ms"),
    );
    text += &line("clock", &clock);
    match configured {
        Some(Outcome::Taken) => text += &line("configuration", "taken"),
        Some(other) => text += &line("configuration", refusal(*other).unwrap_or("taken")),
        None => {}
    }
    text
}

fn of_itself(health: &Health) -> String {
    let listens = if health.reader_listens { "listens" } else { "does not answer" };
    let errors = |count| match count {
        0 => String::new(),
        count => format!(", {count} times an overrun, a framing error or noise"),
    };
    let (garbage, noise) = (health.reader_garbage, errors(health.reader_line_errors));
    let mut text = line("its reader", &format!("{listens}; {garbage} bytes of garbage from it{noise}"));
    text += &line("reads", &format!("{}, and no room for {} of them", health.reads, health.dropped));
    text += &line("waiting", &format!("{} bytes", health.waiting));
    let noise = errors(health.line_errors);
    text += &line("line", &format!("{} bytes of garbage from the gateway{noise}", health.garbage));
    for (what, state, fault) in [
        ("accelerometer", health.sensors.accelerometer, health.accelerometer_fault),
        ("booth", health.sensors.occupancy, health.occupancy_fault),
    ] {
        let state = match (state, fault) {
            (SensorState::Unused, _) => continue,
            (SensorState::Works, _) => "its sensor works".into(),
            (SensorState::Absent | SensorState::Failed, Some(fault)) => wrong(fault),
            (SensorState::Absent, None) => "nothing answers".into(),
            (SensorState::Failed, None) => "its sensor is there, and cannot be read".into(),
        };
        text += &line(what, &state);
    }
    if let Some(tenths) = health.temperature_dc {
        text += &line("temperature", &format!("{:.1} °C", f32::from(tenths) / 10.0));
    }
    if let Some(mv) = health.supply_mv {
        text += &line("supply", &format!("{:.2} V", f32::from(mv) / 1_000.0));
    }
    text
}

fn wrong(fault: SensorFault) -> String {
    let why = match fault {
        SensorFault::Stranger(who) => {
            return format!(
                "another sensor answers, which the node does not know: its WHO_AM_I is {who:#04x}"
            );
        }
        SensorFault::Unreadable => "cannot be read: its bus or its pin fails",
        SensorFault::Forgetful => {
            "does not hold its settings: it loses its power for moments, or bits on its wires"
        }
        SensorFault::Garbled => "says what is no measurement",
        SensorFault::Silent => "measures nothing",
        SensorFault::Stuck => "says the same for longer than can be",
        SensorFault::NoGravity => "measures what is not gravity where all is still",
        SensorFault::Unsteady => "holds no level",
    };
    format!("its sensor {why}")
}

fn ago(ms: u64) -> String {
    let (minutes, seconds) = (ms / 60_000, ms / 1_000 % 60);
    match (minutes / 1_440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} days {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use hangtag_protocol::link::message::Sensors;

    use super::*;

    #[test]
    fn sensors_that_nobody_asks_are_not_told() {
        let sensors = Sensors { accelerometer: SensorState::Failed, occupancy: SensorState::Unused };
        let text = of_itself(&Health { sensors, ..Health::default() });
        assert!(text.contains("  accelerometer its sensor is there, and cannot be read\n"), "{text}");
        assert!(!text.contains("booth"), "{text}");
    }

    #[test]
    fn what_is_wrong_with_a_sensor_and_with_a_line_is_told() {
        let sensors = Sensors { accelerometer: SensorState::Absent, occupancy: SensorState::Failed };
        let cut = Health { sensors, line_errors: 7, ..Health::default() };
        let stranger = Some(SensorFault::Stranger(0x11));
        let other =
            Health { accelerometer_fault: stranger, occupancy_fault: Some(SensorFault::Stuck), ..cut };
        let (cut, other) = (of_itself(&cut), of_itself(&other));
        assert!(cut.contains("  accelerometer nothing answers\n"), "{cut}");
        assert!(
            other.contains("  accelerometer another sensor answers") && other.contains("0x11"),
            "{other}"
        );
        assert!(other.contains("  booth         its sensor says the same for longer"), "{other}");
        assert!(other.contains("from the gateway, 7 times an overrun"), "{other}");
        assert!(other.contains("0 bytes of garbage from it\n"), "{other}");
    }

    #[test]
    fn time_is_told_in_what_suits_it() {
        let told = [5_900, 125_000, 7_500_000, 200_000_000].map(ago);
        assert_eq!(told, ["5 s", "2 min 5 s", "2 h 5 min", "2 days 7 h"]);
    }
}

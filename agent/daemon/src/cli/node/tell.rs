//! Nodes, for people. Enters: what became of each that was asked for. Leaves: text.

use hangtag_agent_core::intake::node::refusal;
use hangtag_protocol::link::command::Configure;
use hangtag_protocol::link::message::{Health, Outcome, SensorState};
use hangtag_protocol::status::NodeHealth;

use super::{Line, Result, Source};

pub(super) fn tell(lines: &[Line]) -> String {
    let mut text = String::new();
    for Line { reader, port, told, result } in lines {
        text += &match reader {
            Some(reader) => format!("{reader}, at {}\n", port.display()),
            None => format!("{}\n", port.display()),
        };
        if let Some(told) = told {
            let would = if matches!(result, Result::NotAsked) { "would be told" } else { "is told" };
            text += &line(would, &words(told));
        }
        match result {
            Result::There { from, fault, node } => {
                text += &there(node);
                if let Some(fault) = fault {
                    text += &line("fault", fault);
                }
                let from = match (from, told.is_some()) {
                    (Source::Agent, true) => {
                        "the running agent, which told the node when it met it; what was changed in the file since \
                         is told after a restart of the agent"
                    }
                    (Source::Agent, false) => "the running agent",
                    (Source::Port, _) => "the node itself; no agent runs",
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
    let NodeHealth { node: id, firmware, reason, configured, clock_off_ms, health } = node;
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
    let mut text =
        line("its reader", &format!("{listens}; {} bytes of garbage from it", health.reader_garbage));
    text += &line("reads", &format!("{}, and no room for {} of them", health.reads, health.dropped));
    text += &line("waiting", &format!("{} bytes", health.waiting));
    text += &line("line", &format!("{} bytes of garbage from the gateway", health.garbage));
    for (what, state) in
        [("accelerometer", health.sensors.accelerometer), ("booth", health.sensors.occupancy)]
    {
        let state = match state {
            SensorState::Unused => continue,
            SensorState::Absent => "nothing answers, or something else does",
            SensorState::Works => "its sensor works",
            SensorState::Failed => "its sensor is there, and cannot be read",
        };
        text += &line(what, state);
    }
    if let Some(tenths) = health.temperature_dc {
        text += &line("temperature", &format!("{:.1} °C", f32::from(tenths) / 10.0));
    }
    if let Some(mv) = health.supply_mv {
        text += &line("supply", &format!("{:.2} V", f32::from(mv) / 1_000.0));
    }
    text
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
    fn time_is_told_in_what_suits_it() {
        let told = [5_900, 125_000, 7_500_000, 200_000_000].map(ago);
        assert_eq!(told, ["5 s", "2 min 5 s", "2 h 5 min", "2 days 7 h"]);
    }
}

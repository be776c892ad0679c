//! The sensors of the firmware's image in an emulated microcontroller: what is not there is missed and holds nothing
//! up, and a booth's pin is looked at when the agent says what its level means.

use std::time::Duration;

use anyhow::ensure;
use hangtag_protocol::link::message::{Health, SensorState, Sensors};
use hangtag_tests::emulator::board::{Board, image, refusal};
use hangtag_tests::harness::gateway::STOPS_WITHIN;
use hangtag_tests::harness::process::wait_for;
use hangtag_tests::harness::{folder, node, skip};

/// How long something that happens within seconds may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
const READER: &str = "loose-1";

#[test]
fn a_booths_pin_is_asked_as_the_agent_says_and_a_bus_that_hangs_holds_nothing_up() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        return skip(why);
    }
    let folder = folder()?;
    let gateway = node::gateway(folder.path(), &folder.path().join("agent-data"), "r200")?;
    let (reads, garments) = (500, 20);
    let mut board = Board::boot(&image()?, folder.path(), &gateway.readers().join(READER), reads, garments)?;
    let told = |board: &mut Board, occupancy| {
        // QEMU has no I2C: every transfer takes as long as it may.
        let sensors = Sensors { accelerometer: SensorState::Failed, occupancy };
        let is_so = |health: &Health| health.sensors == sensors && health.waiting == 0;
        let mut agent = gateway.start()?;
        let health = wait_for("the node to tell how its sensors are", PATIENCE, || {
            agent.check()?;
            board.check()?;
            Ok(board.counts().health().filter(is_so))
        })?;
        agent.stop(STOPS_WITHIN)?;
        anyhow::Ok(health)
    };
    told(&mut board, SensorState::Unused)?;
    let file = folder.path().join("agent.toml");
    let text = std::fs::read_to_string(&file)?;
    let with_booth = text.replacen(
        "protocol = \"node\"",
        "protocol = \"node\"\noccupancy = \"booth-1\"\noccupied = \"low\"",
        1,
    );
    ensure!(with_booth != text, "no reader is a node:\n{text}");
    std::fs::write(file, with_booth)?;
    let health = told(&mut board, SensorState::Works)?;
    ensure!(health.reader_listens && health.garbage == 0 && health.reader_garbage == 0, "{health:?}");
    Ok(())
}

//! The learned file on a disk: replaced whole or not at all, and set aside when it cannot be read.

use std::os::unix::fs::PermissionsExt as _;

use hangtag_agent_core::infer::{Layout, Zone, ZoneKind};
use hangtag_protocol::clock::BootId;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::ReaderState;
use hangtag_protocol::id::{GatewayId, ReaderId, Seq, StoreId, TenantId, ZoneId};
use hangtag_protocol::read::Read;

use super::*;

fn gateway(name: &str) -> Gateway {
    Gateway {
        tenant: TenantId::new("acme").unwrap(),
        store: StoreId::new("paris").unwrap(),
        gateway: GatewayId::new(name).unwrap(),
    }
}

fn inference() -> Inference {
    let rail = ZoneId::new("rail").unwrap();
    let mut layout = Layout::new(vec![Zone { id: rail, kind: ZoneKind::Rail }]);
    layout.add_reader(ReaderId::new("rail").unwrap(), &[(1, rail)]).unwrap();
    Inference::new(layout, BootId(1), Seq::FIRST, Uptime(0))
}

/// So many garments that have rested for some seconds.
fn stocked(garments: u32) -> Inference {
    let mut inference = inference();
    inference.handle_reader(0, ReaderState::Listening, Uptime(0));
    for at in (0..12_000).step_by(250).map(Uptime) {
        inference.handle_timeout(at);
        for garment in 0..garments {
            let epc = Epc::new(&u128::from(garment).to_le_bytes()[..12]).unwrap();
            let rssi_cdbm = -6_000 - i16::try_from(at.0 / 250 % 2 * 100).unwrap();
            let read =
                Read { at, epc, antenna: 1, rssi_cdbm, phase_ddeg: Some(9), channel_khz: Some(866_300) };
            inference.handle_read(0, &read);
        }
    }
    inference
}

fn files(data: &Path) -> Vec<String> {
    let names = fs::read_dir(data).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_was_learned_is_written_when_it_is_due_and_only_if_it_changed() {
    let data = tempfile::tempdir().unwrap();
    let stocked = stocked(1_500);
    let mut fresh = inference();
    let mut keeper = Keeper::open(data.path(), &gateway("gw-1"), &mut fresh, Uptime(0));
    keeper.step(&stocked, Uptime(EVERY_MS - 1)).await;
    assert_eq!(keeper.due(Uptime(5)), Uptime(EVERY_MS));
    let mut now = Uptime(EVERY_MS);
    let mut slices = 0;
    while !matches!(keeper.state, State::Saving(..)) {
        // Every read makes a step.
        for _ in 0..10 {
            keeper.step(&stocked, now).await;
        }
        if matches!(keeper.state, State::Slicing(..)) {
            assert_eq!(keeper.due(Uptime(0)), now + PAUSE_MS);
        }
        now = now + PAUSE_MS;
        slices += 1;
    }
    assert_eq!(slices, 1 + 3, "a pause after every {SLICE} garments");
    while matches!(keeper.state, State::Saving(..)) {
        keeper.step(&stocked, now).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(files(data.path()), ["learned"]);
    assert_eq!(read(&path(data.path())).unwrap().tags(), 1_500);
    // The same once more is not worth a write.
    fs::remove_file(path(data.path())).unwrap();
    keeper.finish(&stocked, now).await;
    assert_eq!(files(data.path()), [""; 0]);
}

#[tokio::test]
async fn the_end_writes_what_is_then_remembered() {
    let data = tempfile::tempdir().unwrap();
    let stocked = stocked(3);
    let keeper = Keeper::open(data.path(), &gateway("gw-1"), &mut inference(), Uptime(0));
    keeper.finish(&stocked, Uptime(12_000)).await;
    let mut next = inference();
    Keeper::open(data.path(), &gateway("gw-1"), &mut next, Uptime(0));
    let mut writing = next.begin_learned("");
    while !next.write_learned(&mut writing, 1, Uptime(0)) {}
    assert_eq!(Learned::read(&writing.finish()).unwrap().tags(), 3);
}

#[tokio::test]
async fn a_save_that_hangs_is_left_alone() {
    let data = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::open(data.path(), &gateway("gw-1"), &mut inference(), Uptime(0));
    keeper.state = State::Saving(0, tokio::spawn(std::future::pending()));
    keeper.finish(&stocked(3), Uptime(12_000)).await;
    assert_eq!(files(data.path()), [""; 0], "two would write into one file");
}

#[tokio::test]
async fn a_damaged_file_and_another_gateways_are_set_aside_and_learning_begins_anew() {
    let data = tempfile::tempdir().unwrap();
    let stocked = stocked(3);
    Keeper::open(data.path(), &gateway("gw-1"), &mut inference(), Uptime(0))
        .finish(&stocked, Uptime(0))
        .await;
    let good = fs::read(path(data.path())).unwrap();
    let mut damaged = good.clone();
    damaged[60] ^= 1;
    for (bytes, own) in [(damaged, true), (good, false), (b"something else".to_vec(), true)] {
        fs::write(path(data.path()), &bytes).unwrap();
        let mut next = inference();
        let gateway = gateway(if own { "gw-1" } else { "gw-2" });
        let keeper = Keeper::open(data.path(), &gateway, &mut next, Uptime(0));
        assert_eq!(files(data.path()), ["learned.set-aside"]);
        assert_eq!(fs::read(data.path().join("learned.set-aside")).unwrap(), bytes);
        keeper.finish(&next, Uptime(0)).await;
        assert_eq!(read(&path(data.path())).unwrap().tags(), 0, "nothing was taken up");
    }
}

#[test]
fn a_file_that_cannot_be_replaced_is_as_it_was() {
    let data = tempfile::tempdir().unwrap();
    let path = path(data.path());
    replace(&path, b"first").unwrap();
    fs::create_dir(data.path().join("learned.tmp")).unwrap();
    assert!(replace(&path, b"second").is_err());
    assert_eq!(fs::read(&path).unwrap(), b"first");
    fs::remove_dir(data.path().join("learned.tmp")).unwrap();
    replace(&path, b"second").unwrap();
    assert_eq!((fs::read(&path).unwrap(), files(data.path()).len()), (b"second".to_vec(), 1));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o200, 0o200, "it can be replaced again");
}

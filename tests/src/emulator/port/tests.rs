//! The port from the host's side: a real serial port is opened, closed and pulled out.

use super::*;
use crate::emulator::thingmagic::START_UP;
use hangtag_protocol::epc::Epc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_serial::{SerialPortBuilderExt as _, SerialStream};

const PATIENCE: Duration = Duration::from_secs(10);

fn open(link: &Path) -> SerialStream {
    tokio_serial::new(link.to_str().unwrap(), 115_200).open_native_async().unwrap()
}

async fn start(host: &mut SerialStream, port: &Port) {
    for command in START_UP {
        host.write_all(command).await.unwrap();
    }
    timeout(PATIENCE, port.started()).await.expect("the module is started");
}

fn tag() -> Sighting {
    Sighting {
        at_ms: 5,
        reader: 0,
        antenna: 2,
        epc: Epc::from_hex("30751feb705c5904e3d50d70").unwrap(),
        rssi_cdbm: -5000,
        phase_ddeg: Some(900),
        channel_khz: 865_700,
    }
}

/// Shows the module a tag again and again until its EPC arrives.
async fn hears_a_tag(host: &mut SerialStream, port: &Port) {
    let mut received = Vec::new();
    let mut buffer = [0; 256];
    let heard = async {
        while !hex::encode(&received).contains("30751feb705c5904e3d50d70") {
            port.feed(10, vec![tag()]);
            if let Ok(count) = timeout(Duration::from_millis(20), host.read(&mut buffer)).await {
                let count = count.unwrap();
                assert_ne!(count, 0, "the line is alive");
                received.extend(&buffer[..count]);
            }
        }
    };
    timeout(PATIENCE, heard).await.expect("the tag is heard");
}

fn port(folder: &Path) -> Port {
    let mut port = Port::new(&folder.join("booths"), Protocol::ThingMagic, Line::clean());
    port.plug().unwrap();
    port
}

#[tokio::test]
async fn a_host_that_starts_the_module_gets_tags() {
    let folder = tempfile::tempdir().unwrap();
    let port = port(folder.path());
    let mut host = open(port.link());
    start(&mut host, &port).await;
    hears_a_tag(&mut host, &port).await;
}

#[tokio::test]
async fn unplugged_it_is_gone_and_plugged_again_it_wants_to_be_set_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut port = port(folder.path());
    let mut host = open(port.link());
    start(&mut host, &port).await;
    port.unplug().await.unwrap();
    assert!(!port.link().is_symlink());
    let mut buffer = Vec::new();
    let end = timeout(PATIENCE, host.read_to_end(&mut buffer)).await.expect("the line ends");
    assert!(end.is_err() || end.is_ok_and(|count| count < 1000));
    drop(host);
    port.plug().unwrap();
    assert!(!port.is_reading());
    let mut host = open(port.link());
    start(&mut host, &port).await;
    hears_a_tag(&mut host, &port).await;
}

#[tokio::test]
async fn somebody_elses_file_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("mine");
    fs::write(&link, "mine").unwrap();
    let mut port = Port::new(&link, Protocol::R200, Line::clean());
    assert_eq!(port.plug().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&link).unwrap(), "mine");
}

#[tokio::test]
async fn a_host_that_comes_back_finds_the_module_reading() {
    let folder = tempfile::tempdir().unwrap();
    let port = port(folder.path());
    let mut host = open(port.link());
    start(&mut host, &port).await;
    let first = fs::read_link(port.link()).unwrap();
    drop(host);
    timeout(PATIENCE, async {
        while fs::read_link(port.link()).unwrap() == first {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a fresh terminal under the old name");
    assert!(port.is_reading(), "the module kept its power");
    let mut host = open(port.link());
    start(&mut host, &port).await;
    hears_a_tag(&mut host, &port).await;
}

#[tokio::test]
async fn a_host_that_does_not_read_costs_bytes_and_no_time() {
    let folder = tempfile::tempdir().unwrap();
    let port = port(folder.path());
    let mut host = open(port.link());
    start(&mut host, &port).await;
    timeout(PATIENCE, async {
        while port.counts().dropped.load(Ordering::Relaxed) == 0 {
            port.feed(40, vec![tag(); 50]);
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the terminal's buffer fills up");
    drop(host);
}

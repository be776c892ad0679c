//! A local socket over which a running agent shows what it sees and holds, for `watch` and `spool`.
//! Enters: one line that names what is wanted. Leaves: lines of JSON. It changes nothing, and an onlooker
//! that does not read is cut off.
//!
//! | request | answer |
//! |---|---|
//! | `reads` | one line per read, until the onlooker goes |
//! | `motions` | one line per word of a sensor tag, until the onlooker goes |
//! | `scans` | one line per scanned code, until the onlooker goes; never a loyalty code itself |
//! | `readers` | one line per reader: what it is, and what it does |
//! | `sensors` | one line per sensor tag heard of late: its address, and what the configuration says of it |
//! | `spool` | one line: what waits |

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hangtag_agent_core::infer::Layout;
use hangtag_agent_core::intake::Motion;
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::id::{Epoch, ReaderId, Seq};
use hangtag_protocol::range::SeqRange;
use hangtag_protocol::read::Read;
use hangtag_protocol::scan::Code;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::clock;
use crate::health::Health;
use crate::intake::Seen;
use crate::spool::{EpochState, State};

/// An onlooker that takes no line within this time is cut off.
const PATIENCE: Duration = Duration::from_secs(5);

/// One read, as `watch` gets it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReadLine {
    pub(crate) reader: ReaderId,
    #[serde(flatten)]
    pub(crate) read: Read,
}

/// What a sensor tag said, as onlookers get it.
#[derive(Debug, Serialize)]
struct MotionLine {
    reader: ReaderId,
    at: Uptime,
    /// The tag's address, as it is printed on it.
    sensor: String,
    /// How often it moved since it was last heard.
    moves: u8,
    rssi_cdbm: i16,
    acceleration_mg: Option<[i16; 3]>,
    battery_mv: Option<u16>,
}

impl MotionLine {
    fn new(reader: ReaderId, motion: &Motion) -> Self {
        let &Motion { at, sensor, moves, rssi_cdbm, acceleration_mg, battery_mv, .. } = motion;
        Self { reader, at, sensor: sensor.to_string(), moves, rssi_cdbm, acceleration_mg, battery_mv }
    }
}

/// What a scanner read, as onlookers get it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ScanLine {
    pub(crate) reader: ReaderId,
    pub(crate) at: Uptime,
    pub(crate) kind: ScanKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gtin: Option<String>,
}

/// What a scanned code is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ScanKind {
    /// A shopper's own; it was sealed.
    Loyalty,
    /// A product's.
    Product,
    /// Neither: it was left.
    Unknown,
}

impl ScanLine {
    pub(crate) fn new(reader: ReaderId, at: Uptime, code: Option<&Code>) -> Self {
        let (kind, gtin) = match code {
            Some(Code::Loyalty(_)) => (ScanKind::Loyalty, None),
            Some(Code::Product(gtin)) => (ScanKind::Product, Some(gtin.to_string())),
            None => (ScanKind::Unknown, None),
        };
        Self { reader, at, kind, gtin }
    }
}

/// What waits, as `spool` gets it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SpoolLine {
    pub(crate) epoch: Epoch,
    /// The number that the next event gets.
    pub(crate) next: u64,
    /// Events that are held and that central has not settled.
    pub(crate) waiting: u64,
    /// Age of the oldest of them in seconds, if it is known: a running agent knows it of its own boot.
    pub(crate) oldest_s: Option<u64>,
    /// Events that are held, settled or not.
    pub(crate) held: u64,
    /// Bytes of the held events, packed.
    pub(crate) live_bytes: u64,
    /// Bytes that the spool takes on disk.
    pub(crate) disk_bytes: u64,
    /// How much of what it may take is taken by what waits, in percent; unknown only if the disk does not answer.
    pub(crate) percent: Option<u8>,
    /// How much by what is settled and only kept, which goes first.
    #[serde(default)]
    pub(crate) kept_percent: Option<u8>,
    /// Events that were lost because the spool was full or damaged, or that could not be sent, and that
    /// central does not know to be lost.
    pub(crate) lost: u64,
    /// Why nothing is accepted at the moment.
    pub(crate) fault: Option<String>,
    /// What is wrong with the files of a stopped agent's spool; a running one has mended it.
    #[serde(default)]
    pub(crate) damage: Option<String>,
    /// Earlier epochs that are not sent whole yet; not those that are kept only in case central asks again.
    pub(crate) earlier: Vec<Epoch>,
}

impl SpoolLine {
    /// What a spool's state says to people.
    pub(crate) fn new(state: &State) -> Self {
        let current = state.current();
        let (_, earlier) = state.epochs.split_last().expect("a spool always has an epoch that takes events");
        // Others only wait until nobody may ask for them again.
        let unsent = |held: &&EpochState| {
            let all = SeqRange { first: held.oldest_held, last: Seq(held.next.0.saturating_sub(1)) };
            held.lost > 0 || !all.is_empty() && !held.settled.covers(all)
        };
        let earlier = earlier.iter().filter(unsent).map(|held| held.epoch);
        Self {
            epoch: current.epoch,
            next: current.next.0,
            waiting: state.waiting,
            oldest_s: state.oldest_at.map(|at| clock::uptime().since(at) / 1_000),
            held: state.held,
            live_bytes: state.live_bytes,
            disk_bytes: state.disk_bytes,
            percent: Some(state.percent),
            kept_percent: Some(state.kept_percent),
            lost: state.lost,
            fault: state.fault.clone(),
            damage: None,
            earlier: earlier.collect(),
        }
    }
}

/// What the socket's task works with.
pub(crate) struct Onlooker {
    listener: UnixListener,
    path: PathBuf,
    readers: Vec<ReaderId>,
    layout: Layout,
    reads: broadcast::Sender<Seen>,
    health: Health,
    state: watch::Receiver<State>,
}

impl Onlooker {
    /// Opens the socket; only the agent's own user may use it.
    pub(crate) fn bind(
        path: &Path,
        (readers, layout): (Vec<ReaderId>, Layout),
        reads: broadcast::Sender<Seen>,
        health: Health,
        state: watch::Receiver<State>,
    ) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path: path.to_owned(), readers, layout, reads, health, state })
    }

    /// Serves onlookers for ever.
    pub(crate) async fn run(self) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (readers, layout, reads, health, state) = (
                        self.readers.clone(),
                        self.layout.clone(),
                        self.reads.subscribe(),
                        self.health.clone(),
                        self.state.clone(),
                    );
                    tokio::spawn(async move {
                        if let Err(why) = serve(stream, (&readers, &layout), reads, &health, &state).await {
                            debug!(%why, "an onlooker went");
                        }
                    });
                }
                Err(why) => {
                    warn!(socket = %self.path.display(), %why, "cannot take an onlooker");
                    tokio::time::sleep(PATIENCE).await;
                }
            }
        }
    }
}

async fn serve(
    mut stream: UnixStream,
    (readers, layout): (&[ReaderId], &Layout),
    reads: broadcast::Receiver<Seen>,
    health: &Health,
    state: &watch::Receiver<State>,
) -> io::Result<()> {
    let mut request = String::new();
    let (input, mut output) = stream.split();
    timeout(PATIENCE, BufReader::new(input).read_line(&mut request)).await??;
    match request.trim() {
        "spool" => {
            let line = SpoolLine::new(&state.borrow());
            output.write_all(&line_of(&line)).await
        }
        "readers" => {
            let lines: Vec<u8> = health.readers().iter().flat_map(line_of).collect();
            timeout(PATIENCE, output.write_all(&lines)).await?
        }
        "sensors" => {
            let sensors = health.sensors(layout, clock::uptime());
            let lines: Vec<u8> = sensors.iter().flat_map(line_of).collect();
            timeout(PATIENCE, output.write_all(&lines)).await?
        }
        "reads" => {
            let line = |reader: usize, read| line_of(&ReadLine { reader: readers[reader], read });
            tell(output, reads, |seen| match seen {
                Seen::Read { reader, read } => Some(line(reader, read)),
                Seen::Frame { reader, taken } => {
                    Some(taken.reads.into_iter().flat_map(|read| line(reader, read)).collect())
                }
                Seen::Motion { .. } | Seen::Scan { .. } | Seen::Reader { .. } => None,
            })
            .await
        }
        "motions" => {
            tell(output, reads, |seen| match seen {
                Seen::Motion { reader, motion } => Some(line_of(&MotionLine::new(readers[reader], &motion))),
                Seen::Read { .. } | Seen::Frame { .. } | Seen::Scan { .. } | Seen::Reader { .. } => None,
            })
            .await
        }
        "scans" => {
            tell(output, reads, |seen| match seen {
                Seen::Scan { reader, at, code } => {
                    Some(line_of(&ScanLine::new(readers[reader], at, code.as_ref())))
                }
                Seen::Read { .. } | Seen::Frame { .. } | Seen::Motion { .. } | Seen::Reader { .. } => None,
            })
            .await
        }
        other => output.write_all(format!("unknown request {other:?}\n").as_bytes()).await,
    }
}

/// Tells what comes from now on, until the onlooker goes.
async fn tell(
    mut output: impl AsyncWrite + Unpin,
    mut seen: broadcast::Receiver<Seen>,
    line: impl Fn(Seen) -> Option<Vec<u8>>,
) -> io::Result<()> {
    loop {
        match seen.recv().await {
            Ok(seen) => {
                if let Some(line) = line(seen) {
                    timeout(PATIENCE, output.write_all(&line)).await??;
                }
            }
            // An onlooker that is too slow misses some.
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
        }
    }
}

fn line_of(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("plain values always encode");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use hangtag_protocol::lineage::Lineage;
    use hangtag_protocol::range::SeqSet;

    use super::*;
    use crate::spool::Tally;

    #[test]
    fn an_epoch_that_is_only_kept_in_case_is_not_unsent() {
        let epoch = |id, settled: Option<u64>, lost| EpochState {
            epoch: Epoch(id),
            oldest_held: Seq(5),
            next: Seq(11),
            settled: SeqSet::from(settled.map(|last| SeqRange::new(1, last)).into_iter().collect::<Vec<_>>()),
            lost,
            lineage: Lineage::default(),
        };
        let epochs =
            vec![epoch(1, Some(10), 0), epoch(2, Some(9), 0), epoch(3, Some(10), 2), epoch(4, None, 0)];
        let state = State {
            epochs,
            waiting: 1,
            held: 20,
            live_bytes: 1,
            disk_bytes: 2,
            percent: 1,
            kept_percent: 0,
            lost: 2,
            oldest_at: None,
            fault: None,
            tally: Tally::default(),
        };
        assert_eq!(SpoolLine::new(&state).earlier, [Epoch(2), Epoch(3)]);
    }
}

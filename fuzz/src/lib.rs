//! What must be true of every decoder, whatever bytes it is given. Enters: bytes that a fuzzer made up. Leaves:
//! nothing, or a panic that says which property does not hold.
//!
//! | module | targets |
//! |---|---|
//! | [`readers`] | drivers of readers on a serial line: `thingmagic`, `r200`, `chafon`, `ruuvi`, `scanner` |
//! | [`probe`] | finding out who is at a port: `probe` |
//! | [`node`] | the node link: `frames`, `node` (the gateway's end), `sender` (the node's) |
//! | [`messages`] | what central and the agent send one another: `batch`, `watermark`, `status` |
//! | [`kept`] | what the spool finds on a disk: `spool`, `snapshot` |
//! | [`text`] | what people and devices write: `epc` |
//!
//! [`script`] makes a conversation out of a fuzzer's bytes, [`seal`] frames with good checksums, and [`mutate`]
//! other bytes out of seeds, for runs without a fuzzer. The seeds are the known-answer frames of the decoders' own
//! tests.
//!
//! `cargo test -p hangtag-fuzz` gives each target a bounded number of cases; `tests/run --fuzz` lets libFuzzer look
//! for new ones.

pub mod kept;
pub mod messages;
pub mod mutate;
pub mod node;
pub mod probe;
pub mod readers;
pub mod script;
pub mod seal;
pub mod text;

/// A decoder, and what it is tried with.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// Where to begin: inputs that go deep.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Tries one input.
    ///
    /// # Panics
    /// When a property does not hold.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "thingmagic", seeds: || readers::seeds("thingmagic"), run: readers::thingmagic },
    Target { name: "r200", seeds: || readers::seeds("r200"), run: readers::r200 },
    Target { name: "chafon", seeds: || readers::seeds("chafon"), run: readers::chafon },
    Target { name: "ruuvi", seeds: || readers::seeds("ruuvi"), run: readers::ruuvi },
    Target { name: "scanner", seeds: readers::scanner_seeds, run: readers::scanner },
    Target { name: "probe", seeds: probe::seeds, run: probe::run },
    Target { name: "frames", seeds: node::seeds, run: node::frames },
    Target { name: "node", seeds: node::seeds, run: node::gateway },
    Target { name: "sender", seeds: node::seeds, run: node::sender },
    Target { name: "batch", seeds: messages::batch_seeds, run: messages::batch },
    Target { name: "watermark", seeds: messages::watermark_seeds, run: messages::watermark },
    Target { name: "status", seeds: messages::status_seeds, run: messages::status },
    Target { name: "spool", seeds: kept::spool_seeds, run: kept::spool },
    Target { name: "snapshot", seeds: kept::snapshot_seeds, run: kept::snapshot },
    Target { name: "epc", seeds: text::seeds, run: text::epc },
];

/// The target with a name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}

//! Drivers of readers on a serial line. Enters: a script. Leaves: a panic if a driver depends on how bytes are cut,
//! does not find a good frame behind garbage, counts more garbage than came in, or never comes to rest.

use hangtag_agent_core::intake::{LoyaltyPattern, Radio, Region, Session, Settings};
use hangtag_protocol::clock::Uptime;

use crate::script::{Piece, Script};
use crate::seal;

/// Frames that public sources print, with what must become of each.
const FRAMES: &str = include_str!("../../agent/core/tests/frames.tsv");

const PRODUCT: &str = "4006381333931";
const CHAFON_INFO: &str = "1100210000160c034e001e0a01000000e651";
const CHAFON_TAG: &str = "1500010304010c49440000000000000a0003346425c0";
const THINGMAGIC_TAG: &str =
    "ff2822000010001b01ff0101c4110e16400000012700000500000f00803000000000000000000000001545e94a561d";
const R200_TAG: &str = "bb02220011c9340030751feb705c5904e3d50d703a76ef7e";
const R200_RARE_TAG: &str = "aa02220011c73000e28068900000500e88c6a4a7119b29dd";
/// Another sensor tag than in any seed.
const SENSOR: [u8; 6] = [1, 2, 3, 4, 5, 6];

/// One driver, and how it is tried.
struct Driver {
    protocol: &'static str,
    settings: Settings,
    seal: fn(&[u8]) -> Vec<u8>,
    /// What is understood behind any garbage, at the latest when nothing more comes; and how that shows.
    good: Vec<u8>,
    sign: &'static str,
}

/// How the bytes of a script are cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    AsWritten,
    Bytes,
    /// What comes without a pause comes at once.
    Joined,
}

/// ThingMagic Mercury.
pub fn thingmagic(bytes: &[u8]) {
    let settings = Settings::ThingMagic(radio());
    let (good, sign) = (hex(THINGMAGIC_TAG), "000000000000000000001545");
    try_out(bytes, &Driver { protocol: "thingmagic", settings, seal: seal::thingmagic, good, sign });
}

/// R200, in both framings.
pub fn r200(bytes: &[u8]) {
    for (good, sign) in [(R200_TAG, "30751feb705c5904e3d50d70"), (R200_RARE_TAG, "e28068900000500e88c6a4a7")]
    {
        let settings = Settings::R200(radio());
        try_out(bytes, &Driver { protocol: "r200", settings, seal: seal::r200, good: hex(good), sign });
    }
}

/// Chafon, in both dialects.
pub fn chafon(bytes: &[u8]) {
    // What a reader said of itself before decides how its lists are read.
    let good = [hex(CHAFON_INFO), hex(CHAFON_TAG)].concat();
    let settings = Settings::Chafon { radio: radio(), address: 0 };
    try_out(
        bytes,
        &Driver { protocol: "chafon", settings, seal: seal::chafon, good, sign: "49440000000000000a000334" },
    );
}

/// A receiver of Ruuvi sensor tags.
pub fn ruuvi(bytes: &[u8]) {
    let mut report = vec![0x10];
    report.extend(SENSOR);
    report.extend(hex("2c0201041bff990405"));
    report.extend(hex("12fc5394c37c0004fffc040cac364200cdcbb8334c884f"));
    report.extend(hex("2cd82c"));
    let driver = Driver {
        protocol: "ruuvi",
        settings: Settings::Ruuvi,
        seal: seal::ruuvi,
        good: seal::ruuvi(&report),
        sign: "01:02:03:04:05:06",
    };
    try_out(bytes, &driver);
}

/// A barcode scanner.
///
/// # Panics
/// When a property does not hold.
pub fn scanner(bytes: &[u8]) {
    let loyalty = vec![LoyaltyPattern::new("LC-##*").expect("a pattern")];
    // The end of a line ends whatever came before it.
    let good = [b"\r\n", PRODUCT.as_bytes(), b"\r\n"].concat();
    let settings = Settings::Scanner { loyalty };
    try_out(bytes, &Driver { protocol: "scanner", settings, seal: seal::line, good, sign: PRODUCT });
}

/// Scripts of the frames that public sources print for a protocol.
#[must_use]
pub fn seeds(protocol: &str) -> Vec<Vec<u8>> {
    let frames = known(protocol);
    let mut seeds: Vec<Vec<u8>> = (0..2)
        .flat_map(|choice| frames.iter().map(move |frame| Script::of_bytes(choice, &[frame])))
        .collect();
    // Without what stands around them, so that a change of them is framed well.
    let inner = |frame: &Vec<u8>| match protocol {
        "thingmagic" => frame[2..frame.len() - 2].to_vec(),
        "r200" => [&frame[1..3], &frame[5..frame.len() - 2]].concat(),
        "chafon" => frame[1..frame.len() - 2].to_vec(),
        _ => frame[2..frame.len() - 3].to_vec(),
    };
    seeds.extend(frames.iter().map(|frame| Script::of_payloads(0, &[&inner(frame)])));
    let all: Vec<Vec<u8>> = frames.iter().map(inner).collect();
    seeds.push(Script::of_payloads(1, &all.iter().map(Vec::as_slice).collect::<Vec<_>>()));
    seeds
}

/// Lines as scanners send them.
#[must_use]
pub fn scanner_seeds() -> Vec<Vec<u8>> {
    let lines: [&[u8]; 6] = [
        b"4006381333931\r\n",
        b"]C10104006381333931\r",
        b"https://id.example.com/01/09521141123454/21/1\r\n",
        b"LC-42SECRET\n",
        b"\x02 0123456\x03\r",
        b"]d201040063813339311724010121A\x1d10B\r\n",
    ];
    let long = [b'7'; 700];
    lines.iter().chain([&&long[..]]).map(|line| Script::of_bytes(0, &[line])).collect()
}

fn radio() -> Radio {
    Radio { region: Region::Eu, power_cdbm: 2_000, antennas: vec![1, 2] }
}

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text).expect("hexadecimal digits")
}

/// The replies that public sources print, and that are good.
pub(crate) fn known(protocol: &str) -> Vec<Vec<u8>> {
    let fields = FRAMES.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let of_protocol =
        fields.filter(|fields| fields[0] == protocol && fields[1] == "rx" && fields[3] == "valid");
    of_protocol.map(|fields| hex(fields[2])).collect()
}

fn try_out(bytes: &[u8], driver: &Driver) {
    let script = Script::new(bytes, driver.seal, &known(driver.protocol));
    let written = play(&script, driver, Cut::AsWritten);
    for cut in [Cut::Bytes, Cut::Joined] {
        let other = play(&script, driver, cut);
        assert_eq!(other, written, "{cut:?}");
    }
}

/// What a session told, each kind in its order: how bytes are cut decides which of two kinds is seen first.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    reads: Vec<String>,
    motions: Vec<String>,
    scans: Vec<String>,
    notices: Vec<String>,
    writes: Vec<String>,
    garbage: u64,
    bad_tags: u64,
}

/// What a session made of a script.
fn play(script: &Script, driver: &Driver, cut: Cut) -> Told {
    // Either a reader that reads, or one that is to be set up.
    let listens = script.choice.is_multiple_of(2);
    let mut now = Uptime(1_000);
    let mut session = match listens {
        true => Session::listening(&driver.settings, now),
        false => Session::new(&driver.settings, now),
    };
    let mut told = Told::default();
    let mut joined = Vec::new();
    let mut paused_ms = 0;
    drain(&mut session, &mut told);
    for piece in &script.pieces {
        match (piece, cut) {
            (Piece::Bytes(bytes), _) if bytes.is_empty() => {}
            (Piece::Bytes(bytes), Cut::AsWritten) => session.handle_bytes(bytes, now),
            (Piece::Bytes(bytes), Cut::Bytes) => {
                bytes.iter().for_each(|byte| session.handle_bytes(&[*byte], now));
            }
            (Piece::Bytes(bytes), Cut::Joined) => joined.extend(bytes),
            (Piece::Pause(ms), _) => {
                take(&mut session, &mut joined, now);
                // Who reads must not fall silent, or it is set up anew.
                let ms = if listens { (*ms).min(1_000 - paused_ms) } else { *ms };
                paused_ms += ms;
                now = pass(&mut session, &mut told, now, ms);
            }
        }
        drain(&mut session, &mut told);
    }
    take(&mut session, &mut joined, now);
    drain(&mut session, &mut told);
    assert!(session.garbage() <= script.bytes() as u64, "more garbage than bytes");
    if listens {
        // A sensor tag that was heard before may say the same again, which is no motion.
        let told_before = told.motions.iter().any(|motion| motion.contains(driver.sign));
        let mut behind = Told::default();
        session.handle_bytes(&driver.good, now);
        now = pass(&mut session, &mut behind, now, 600);
        let mut signs = [&behind.reads, &behind.motions, &behind.scans].into_iter().flatten();
        assert!(told_before || signs.any(|told| told.contains(driver.sign)), "{behind:?}");
    }
    let _ = pass(&mut session, &mut told, now, 600);
    Told { garbage: session.garbage(), bad_tags: session.bad_tags(), ..told }
}

/// Hands over what was held back; without bytes nothing has come.
fn take(session: &mut Session, joined: &mut Vec<u8>, now: Uptime) {
    if !joined.is_empty() {
        session.handle_bytes(joined, now);
        joined.clear();
    }
}

/// Lets time pass, and does what is due when it is due.
fn pass(session: &mut Session, told: &mut Told, now: Uptime, ms: u64) -> Uptime {
    let end = now + ms;
    drain(session, told);
    let mut last = (Uptime(0), 0);
    while let Some((at, reason)) = session.poll_timeout().filter(|(at, _)| *at <= end) {
        let at = at.max(now);
        last = if at == last.0 { (at, last.1 + 1) } else { (at, 0) };
        assert!(last.1 < 600, "{reason:?} is due at {at:?} for ever");
        session.handle_timeout(at);
        drain(session, told);
    }
    end
}

fn drain(session: &mut Session, told: &mut Told) {
    while let Some(read) = session.poll_read() {
        assert!(read.phase_ddeg.is_none_or(|phase| phase < 3_600), "{read:?}");
        told.reads.push(format!("{read:?}"));
    }
    told.motions.extend(std::iter::from_fn(|| session.poll_motion()).map(|motion| format!("{motion:?}")));
    told.scans.extend(std::iter::from_fn(|| session.poll_scan()).map(|scan| format!("{scan:?}")));
    told.notices.extend(std::iter::from_fn(|| session.poll_notice()).map(|notice| format!("{notice:?}")));
    told.writes.extend(std::iter::from_fn(|| session.poll_write()).map(|bytes| hex::encode(&bytes)));
}

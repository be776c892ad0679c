//! The simulated shop on the command line: makes captures, plays recordings, scores conclusions; and a herd of agents.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::ReaderId;
use hangtag_tests::emulator::line::Line;
use hangtag_tests::emulator::port::Port;
use hangtag_tests::herd::Herd;
use hangtag_tests::shop::layout::{Layout, Protocol, agent_toml, stores_toml};
use hangtag_tests::shop::stock::{catalogue_csv, products};
use hangtag_tests::shop::till::Till;
use hangtag_tests::shop::{Difficulty, Pace, Settings, Shop};
use hangtag_tests::uci::{Trial, trial_number};
use hangtag_tests::{capture, score};

/// A simulated clothing shop: captures, recordings, scores.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write what the readers of a simulated shop send, and what really happened.
    Capture {
        /// Everything random comes from it.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How long the shop is open.
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// How much happens.
        #[arg(long, value_enum, default_value = "shop")]
        pace: PaceName,
        /// How hard the readers have it.
        #[arg(long, value_enum, default_value = "normal")]
        difficulty: DifficultyName,
        /// The protocol of the readers at the rails; of the two only thingmagic tells phases.
        #[arg(long, value_enum, default_value = "r200")]
        rails: ProtocolName,
        /// Where the antennas of rails and shelf hang.
        #[arg(long, value_enum, default_value = "above")]
        antennas: AntennasName,
        /// Some styles are bought often, others seldom.
        #[arg(long)]
        tastes: bool,
        /// The folder for capture.txt, truth.jsonl, sales.csv, catalogue.csv, stores.toml and agent.toml. In
        /// sales.csv the shop opens at 2026-01-05T09:00:00Z.
        #[arg(long)]
        out: PathBuf,
    },
    /// Turn a trial of UCI data set 427 into a capture of the reader `uci`.
    Uci {
        /// The trial.
        trial: PathBuf,
        /// The capture.
        #[arg(long)]
        out: PathBuf,
    },
    /// Play a trial of UCI data set 427 on a pseudo-terminal, from the moment a host starts the reader.
    Play {
        /// The trial.
        trial: PathBuf,
        /// The name of the serial port.
        #[arg(long)]
        link: PathBuf,
        /// How many times faster than it was recorded.
        #[arg(long, default_value_t = 1.0)]
        speed: f64,
        /// The protocol that the reader speaks; of the two only this one carries phases.
        #[arg(long, value_enum, default_value = "thingmagic")]
        protocol: ProtocolName,
    },
    /// Connect thousands of agents to a Mosquitto of their own, start that anew, and tell how they come back.
    Herd {
        /// How many agents.
        #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
        agents: u32,
        /// For how many seconds the broker is away.
        #[arg(long, default_value_t = 20)]
        away_s: u64,
        /// Only with jitter, without the comparison.
        #[arg(long)]
        only_jitter: bool,
    },
    /// Compare concluded events with the truth.
    Score {
        /// What really happened, as `capture` wrote it.
        #[arg(long)]
        truth: PathBuf,
        /// What was concluded, one JSON line per event.
        #[arg(long)]
        events: PathBuf,
        /// The uptime in milliseconds at which the shop opened.
        #[arg(long, default_value_t = 0)]
        offset_ms: u64,
        /// As JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum AntennasName {
    /// Over the garments: nobody who handles one stands between.
    Above,
    /// Over the aisle: whoever handles a garment does.
    Aisle,
}

#[derive(Clone, Copy, ValueEnum)]
enum PaceName {
    Demo,
    Shop,
    Closed,
}

#[derive(Clone, Copy, ValueEnum)]
enum DifficultyName {
    Easy,
    Normal,
    Hard,
}

#[derive(Clone, Copy, ValueEnum)]
enum ProtocolName {
    Thingmagic,
    R200,
}

impl From<ProtocolName> for Protocol {
    fn from(name: ProtocolName) -> Self {
        match name {
            ProtocolName::Thingmagic => Self::ThingMagic,
            ProtocolName::R200 => Self::R200,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Capture { seed, minutes, pace, difficulty, rails, antennas, tastes, out } => {
            let pace = match pace {
                PaceName::Demo => Pace::Demo,
                PaceName::Shop => Pace::Shop,
                PaceName::Closed => Pace::Closed,
            };
            let difficulty = match difficulty {
                DifficultyName::Easy => Difficulty::Easy,
                DifficultyName::Normal => Difficulty::Normal,
                DifficultyName::Hard => Difficulty::Hard,
            };
            let layout = match antennas {
                AntennasName::Above => Layout::demo(),
                AntennasName::Aisle => Layout::demo().with_antennas_over_the_aisle(),
            };
            let layout = layout.with_rails(rails.into());
            let settings = Settings { seed, pace, difficulty };
            let shop = Shop::with_layout(settings, layout);
            let shop = if tastes { shop.with_tastes() } else { shop };
            write_capture(settings, shop, minutes, &out)
        }
        Command::Uci { trial, out } => {
            let sightings = read_trial(&trial)?.sightings();
            let mut file = create(&out)?;
            let reader = ReaderId::new("uci").expect("a name");
            writeln!(file, "# {} as reader {reader}, protocol thingmagic", trial.display())?;
            capture::write_sightings(&mut file, reader, Protocol::ThingMagic, &sightings)?;
            file.flush().with_context(|| out.display().to_string())
        }
        Command::Play { trial, link, speed, protocol } => {
            play(&read_trial(&trial)?, &link, speed, protocol.into()).await
        }
        Command::Herd { agents, away_s, only_jitter } => {
            let both: &[bool] = if only_jitter { &[true] } else { &[true, false] };
            for jitter in both.iter().copied() {
                let herd = Herd { agents, away: Duration::from_secs(away_s), jitter };
                // It waits for the broker's process, and has a runtime of its own.
                println!("{}", tokio::task::spawn_blocking(move || herd.run()).await??);
            }
            Ok(())
        }
        Command::Score { truth, events, offset_ms, json } => {
            let truths = score::read_lines(&truth.display().to_string(), &read(&truth)?)?;
            let events = score::read_lines(&events.display().to_string(), &read(&events)?)?;
            let kinds = score::score(&truths, &events, offset_ms);
            let visits = score::visits(&truths, &events, offset_ms);
            if json {
                let scores = serde_json::json!({ "kinds": kinds, "visits": visits });
                println!("{scores:#}");
            } else {
                println!("{}{visits}", score::Table(&kinds));
            }
            Ok(())
        }
    }
}

/// When the shop of a capture opens, by its till's clock: 2026-01-05T09:00:00Z.
const OPENED: UnixMillis = UnixMillis(1_767_603_600_000);

fn write_capture(settings: Settings, mut shop: Shop, minutes: u64, out: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let mut file = create(&out.join("capture.txt"))?;
    writeln!(file, "# simulated shop: {settings:?}, {minutes} minutes")?;
    let truths = capture::write(&mut file, &mut shop, minutes * 60_000)?;
    file.flush()?;
    let mut file = create(&out.join("truth.jsonl"))?;
    for truth in &truths {
        writeln!(file, "{}", serde_json::to_string(truth)?)?;
    }
    file.flush()?;
    let sales = shop.take_sales();
    fs::write(out.join("sales.csv"), Till::new(&products(), OPENED).csv("demo-shop", &sales))?;
    fs::write(out.join("catalogue.csv"), catalogue_csv(&products()))?;
    fs::write(out.join("stores.toml"), stores_toml())?;
    let agent = agent_toml(shop.layout(), Path::new("readers"), 1883, Path::new("agent-data"));
    fs::write(out.join("agent.toml"), agent)?;
    let (things, sold) = (truths.len(), sales.len());
    println!("{}: {minutes} minutes, {things} things happened, {sold} garments were sold", out.display());
    Ok(())
}

/// How often the module is told of the time while no tag is in sight.
const IDLE: Duration = Duration::from_millis(250);

async fn play(trial: &Trial, link: &Path, speed: f64, protocol: Protocol) -> anyhow::Result<()> {
    ensure!(speed > 0.0 && speed.is_finite(), "--speed {speed}: must be above 0");
    let mut port = Port::new(link, protocol, Line::clean());
    port.plug().with_context(|| link.display().to_string())?;
    println!("{}", link.display());
    port.started().await;
    let begin = tokio::time::Instant::now();
    for sighting in trial.sightings() {
        let due = begin + Duration::from_millis(sighting.at_ms).div_f64(speed);
        // Between two reads the module goes on saying that it sees no tag.
        while tokio::time::Instant::now() + IDLE < due {
            tokio::time::sleep(IDLE).await;
            let now_ms = begin.elapsed().mul_f64(speed).as_millis();
            port.feed(u64::try_from(now_ms)?.min(sighting.at_ms), Vec::new());
        }
        tokio::time::sleep_until(due).await;
        port.feed(sighting.at_ms, vec![sighting]);
    }
    // What the host has not read when the line goes dead is lost.
    tokio::time::sleep(Duration::from_secs(1)).await;
    port.unplug().await.with_context(|| link.display().to_string())
}

fn read_trial(path: &Path) -> anyhow::Result<Trial> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(Trial::parse(&path.display().to_string(), trial_number(&name), &read(path)?)?)
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn create(path: &Path) -> anyhow::Result<BufWriter<File>> {
    Ok(BufWriter::new(File::create(path).with_context(|| path.display().to_string())?))
}

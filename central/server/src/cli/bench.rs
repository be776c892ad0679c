//! How fast central is on this machine. Enters: how many events, of how many shops; a broker or none, a server or none.
//! Leaves: one line per measure, `name value unit`. It fills a database of its own with days of invented shops, as
//! batches like those that agents send.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use clap::Args;
use hangtag_protocol::batch::Batch;
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::TenantId;
use hangtag_protocol::topic::Channel;
use jiff::Timestamp;
use rumqttc::v5::MqttOptions;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::catalogue::Catalogue;
use crate::connection::{self, Login};
use crate::days::Days;
use crate::feed::Scene;
use crate::goods::Goods;
use crate::ingest;
use crate::shop::Shop;
use crate::store::{Address, Message, Options, Reader, Roller, Scratch, Store, floor};
use crate::web::{self, Site, Vitals, router};

mod central;
mod invent;
mod road;
mod uplink;

use invent::{A_DAY, Invented, write_files};
use road::Road;

/// Events whose rows the bare engine writes.
const BARE: usize = 200_000;
/// How often a page is asked for that was asked for before.
const AGAIN: u32 = 20;

/// What is measured.
#[derive(Args, Clone, Debug)]
pub(crate) struct Bench {
    /// How many events, 20,000 to a store and day.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// Of how many stores.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    stores: u64,
    /// Keeps the database in this folder, with a configuration: `run` shows it. On a server its schema is kept.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Measures on this PostgreSQL server, in schemas of its own, and not in a file. A password is taken from the
    /// environment, as `PGPASSWORD`.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Measures the whole way through this broker: one gateway for each store publishes, and a central of its own, in a
    /// process of its own, listens. What is retained there is taken back at the end.
    #[arg(long, value_name = "HOST:PORT")]
    mqtt: Option<String>,
    /// The user to whom the broker lets do everything below `hangtag/v1/bench-…`.
    #[arg(long, requires = "mqtt")]
    user: Option<String>,
    /// The file whose first line is that user's password.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// How many late events stream in beside live ones.
    #[arg(long, default_value_t = 1_000_000, requires = "mqtt", value_parser = clap::value_parser!(u64).range(1..))]
    late: u64,
}

/// A broker, and how to log in.
struct Broker {
    host: String,
    port: u16,
    login: Option<Login>,
    /// The same for a configuration.
    text: String,
}

impl Bench {
    /// Measures.
    ///
    /// # Errors
    /// When a file, the database, the broker or central fails.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let temporary = tempfile::tempdir()?;
        let folder = self.keep.as_deref().unwrap_or(temporary.path());
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let folder = std::path::absolute(folder)?;
        match &self.mqtt {
            None => self.within(&folder),
            Some(broker) => {
                let name = format!("bench-{:08x}", rand::random::<u32>());
                let road = Road {
                    bench: self,
                    broker: Broker::new(broker, self.user.clone(), self.password_file.as_deref())?,
                    folder: &folder,
                    tenant: TenantId::new(&name)?,
                    client: format!("hangtag-{name}"),
                };
                Runtime::new()?.block_on(road.measure())
            }
        }
    }

    /// Measures what is done within one process.
    fn within(&self, folder: &Path) -> anyhow::Result<()> {
        let shops = write_files(folder, self.stores)?;
        let scratch = self.scratch(folder, "central")?;
        let address = scratch.address();
        let tenant = TenantId::new("bench")?;
        std::fs::write(
            folder.join("central.toml"),
            format!(
                "tenant = \"bench\"\nstores = \"stores.toml\"\ncatalogue = \"catalogue.csv\"\n{}\n\
                 [mqtt]\nhost = \"127.0.0.1\"\nport = 1883\n[web]\nlisten = \"127.0.0.1:8080\"\n",
                scratch.config()
            ),
        )?;
        let options = Options { tenant, quarantine_bytes: 1 << 20, keys: Arc::default() };
        let mut store = Store::open(address, options)?;
        let days = i64::try_from(self.events.div_ceil(A_DAY * self.stores))?;
        let (mut written, mut stored, mut bytes, mut seconds) = (0, 0, 0, 0.0);
        let gateways = (0..self.stores).map(|shop| Invented::late(tenant, shop));
        let mut gateways = gateways.collect::<anyhow::Result<Vec<_>>>()?;
        let mut sample: Vec<Batch> = Vec::new();
        for ago in (0..days).rev() {
            for gateway in &mut gateways {
                let count = A_DAY.min(self.events - written);
                let batches = gateway.day(ago, count)?;
                let messages = batches.iter().map(message).collect::<anyhow::Result<Vec<_>>>()?;
                written += count;
                bytes += messages.iter().map(|message| message.payload.len()).sum::<usize>();
                let began = Instant::now();
                let mut rest = &messages[..];
                while !rest.is_empty() {
                    let appended = store.append(rest)?;
                    rest = &rest[appended.taken..];
                    stored += appended.sums.new.events;
                }
                seconds += began.elapsed().as_secs_f64();
                if sample.iter().map(|batch| batch.events.len()).sum::<usize>() < BARE {
                    sample.extend(batches);
                }
            }
        }
        anyhow::ensure!(stored == written, "of {written} events {stored} were stored");
        let bare = floor(self.scratch(folder, "bare")?.address(), tenant, &sample)?;
        say("events", written as f64, "events");
        say("bytes_per_event_on_wire", bytes as f64 / written as f64, "bytes");
        say("append", written as f64 / seconds, "events/s");
        say("append_of_bare_engine", written as f64 / seconds / bare.rows, "times bare_engine");
        say("bare_engine", bare.rows, "rows/s");
        say("bare_engine_with_rollups", bare.rolled, "rows/s");

        let mut roller = Roller::open(address, tenant)?;
        let began = Instant::now();
        let mut hours = 0;
        while let rolled @ 1.. = roller.roll(16)? {
            hours += rolled;
        }
        say("roll", written as f64 / began.elapsed().as_secs_f64(), "events/s");
        say("rolled", hours as f64, "hours");
        drop(store);
        drop(roller);
        if let Address::File(path) = address {
            let size = std::fs::metadata(path)?.len();
            say("bytes_per_event_on_disk", size as f64 / written as f64, "bytes");
        }
        Runtime::new()?.block_on(pages(address, folder, tenant, &shops))
    }

    fn scratch(&self, folder: &Path, name: &str) -> anyhow::Result<Scratch> {
        Ok(match &self.database {
            None => Scratch::in_folder(folder, name),
            Some(url) => Scratch::on_server(url, name, self.keep.is_some())?,
        })
    }
}

impl Broker {
    /// Reads what the command line says.
    fn new(place: &str, user: Option<String>, password_file: Option<&Path>) -> anyhow::Result<Self> {
        let parts = place.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) =
            parts.with_context(|| format!("--mqtt {place}: is not HOST:PORT, like broker:1883"))?;
        let mut text = format!("host = {host:?}\nport = {port}\n");
        let login = user.map(|user| -> anyhow::Result<Login> {
            text += &format!("user = {user:?}\n");
            let Some(file) = password_file else { return Ok((user, String::new())) };
            let file = std::path::absolute(file)?;
            text += &format!("password_file = {file:?}\n");
            let password = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            Ok((user, password.lines().next().unwrap_or_default().to_owned()))
        });
        let login = login.transpose()?;
        Ok(Self { host: host.to_owned(), port, login, text })
    }

    fn options(&self, client_id: &str) -> MqttOptions {
        connection::options(client_id, &self.host, self.port, self.login.clone())
    }
}

fn message(batch: &Batch) -> anyhow::Result<Message> {
    let received = UnixMillis(Timestamp::now().as_millisecond());
    Ok(Message { topic: batch.header.gateway.topic(Channel::Events), payload: batch.encode()?, received })
}

fn say(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.*} {unit}", usize::from(value < 100.0) * 2);
}

/// Asks for the page as it is first asked for, with its days in memory, and again.
async fn pages(address: &Address, folder: &Path, tenant: TenantId, shops: &[Shop]) -> anyhow::Result<()> {
    for (name, query) in [
        ("page", "/"),
        ("page_four_weeks", "/?period=28d"),
        ("page_one_store", "/?store=shop-0"),
        ("page_filtered", "/?category=category-1&colour=red"),
    ] {
        let goods = Arc::new(Goods::new(Catalogue::read(&folder.join("catalogue.csv"))));
        let days = Days::new(Reader::new(address.clone()), goods.clone());
        let site = || site(address, (days.clone(), goods.clone()), tenant, shops.to_vec());
        let (cold, size) = ask(&site(), query).await?;
        say(&format!("{name}_first"), cold * 1e3, "ms");
        let mut sum = 0.0;
        for _ in 0..AGAIN {
            sum += ask(&site(), query).await?.0;
        }
        say(&format!("{name}_anew"), sum * 1e3 / f64::from(AGAIN), "ms");
        let same = site();
        ask(&same, query).await?;
        let mut sum = 0.0;
        for _ in 0..AGAIN {
            sum += ask(&same, query).await?.0;
        }
        say(&format!("{name}_again"), sum * 1e3 / f64::from(AGAIN), "ms");
        say(&format!("{name}_size"), size as f64, "bytes");
    }
    Ok(())
}

/// The page of the database, as a process has it that was not asked for it.
fn site(
    address: &Address,
    (days, goods): (Days, Arc<Goods>),
    tenant: TenantId,
    shops: Vec<Shop>,
) -> Arc<Site> {
    Arc::new(Site {
        days,
        reader: Reader::new(address.clone()),
        scene: Scene::new(tenant, &shops),
        shops,
        goods,
        commits: watch::channel(0).1,
        vitals: Vitals {
            broker: watch::channel(ingest::Broker::Connected).1,
            failing: watch::channel(None).1,
            forms: Vec::new(),
        },
        stopping: watch::channel(false).1,
        now: Timestamp::now,
        turns: web::turns(),
        made: web::Made::default(),
    })
}

/// Asks for a page: seconds, and its bytes.
async fn ask(site: &Arc<Site>, query: &str) -> anyhow::Result<(f64, usize)> {
    let began = Instant::now();
    let answer = router(site.clone()).oneshot(Request::get(query).body(Body::empty())?).await?;
    anyhow::ensure!(answer.status().is_success(), "{query}: {}", answer.status());
    let bytes = to_bytes(answer.into_body(), usize::MAX).await?.len();
    Ok((began.elapsed().as_secs_f64(), bytes))
}

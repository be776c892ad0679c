//! `cargo demo`: a whole small shop on this machine. Enters: nothing but options. Leaves: a page to
//! open, and at the end a report.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::topic::About;
use hangtag_tests::emulator::line::Faults;
use hangtag_tests::emulator::live::LiveShop;
use hangtag_tests::harness::binaries::Binaries;
use hangtag_tests::harness::judge::{Verdict, judge};
use hangtag_tests::harness::listener::{Heard, Listener};
use hangtag_tests::harness::process::{Process, memory_kib};
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::till::{Till, in_central};
use hangtag_tests::harness::{broker, free_port};
use hangtag_tests::shop::layout::stores_toml_open_all_day;
use hangtag_tests::shop::stock::products;
use hangtag_tests::shop::till::Till as Receipts;
use hangtag_tests::shop::{Difficulty, Pace, Sale, Settings, Shop};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};

/// Where the page is when nothing else is there already.
const PAGE: u16 = 8480;
/// How long agent and central may take to end.
const END: Duration = Duration::from_secs(15);

/// Starts a whole small shop: simulated readers on pseudo-terminals, the agent, a till, a broker, central with its
/// page. Ctrl-C stops everything.
#[derive(Parser)]
#[command(name = "cargo demo")]
struct Arguments {
    /// End by itself after so long, as in 150s or 5m.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    time: Option<Duration>,
    /// At the end, write a JSON report to this file.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The same number gives the same day in the shop.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep configurations, logs and data in this folder, instead of removing them at the end.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(char::is_alphabetic).len());
    let seconds = match unit {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        _ => return Err(format!("{unit:?} is not s, m or h")),
    };
    let number: u64 = number.parse().map_err(|_| format!("{number:?} is not a whole number"))?;
    Ok(Duration::from_secs(number * seconds))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let scratch = tempfile::Builder::new().prefix("hangtag-demo-").tempdir()?;
    let folder = match &arguments.keep {
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
            std::path::absolute(folder)?
        }
        None => scratch.path().to_owned(),
    };
    println!("building    hangtag-agent and hangtag-central");
    let binaries = tokio::task::spawn_blocking(Binaries::build).await??;

    let broker_port = free_port()?;
    broker::embedded(broker_port)?;
    println!("broker      rumqttd on 127.0.0.1:{broker_port}, within this process");
    let page = if std::net::TcpListener::bind(("127.0.0.1", PAGE)).is_ok() { PAGE } else { free_port()? };
    let site = Site::create(&folder, binaries, broker_port, page)?;
    // Whenever it is started, it is seen in opening hours.
    site.write("stores.toml", &stores_toml_open_all_day())?;
    let central = site.start_central()?;
    println!("central     process {}, SQLite in {}", central.id(), site.database().display());
    let settings = Settings { seed: arguments.seed, pace: Pace::Demo, difficulty: Difficulty::Normal };
    let opened = UnixMillis(Timestamp::now().as_millisecond());
    let shop = LiveShop::open(Shop::new(settings).with_tastes(), &site.readers(), Faults::default())?;
    println!("readers     on pseudo-terminals in {}", site.readers().display());
    let listener = Listener::start(broker_port);
    let counter =
        Counter { till: Till::start(broker_port), writes: Receipts::new(&products(), opened), sold: 0 };
    let agent = site.start_agent()?;
    println!("agent       process {}, spool in {}/agent-data", agent.id(), folder.display());
    println!();
    println!("page        {}", site.url("/"));
    println!();
    let how =
        if arguments.time.is_some() { "ends by itself; Ctrl-C ends it sooner" } else { "Ctrl-C ends it" };
    println!("{how}");

    let mut demo = Demo { site, shop, counter, listener, agent, central };
    demo.run(arguments.time).await?;
    let (exact, report) = tokio::task::block_in_place(|| demo.end())?;
    if let Some(path) = &arguments.report {
        write(path, &report)?;
        println!("report      {}", path.display());
    }
    anyhow::ensure!(
        exact,
        "central does not have exactly what the agent accepted and the till sold; --keep FOLDER keeps the logs"
    );
    Ok(())
}

/// The shop's till.
struct Counter {
    till: Till,
    writes: Receipts,
    /// Lines that it told.
    sold: u64,
}

struct Demo {
    site: Site,
    shop: LiveShop,
    counter: Counter,
    listener: Listener,
    agent: Process,
    central: Process,
}

impl Counter {
    async fn tell(&mut self, sales: Vec<Sale>) -> anyhow::Result<()> {
        for sale in sales {
            self.till.tell(About::Sale, &self.writes.line(&sale)).await?;
            self.sold += 1;
        }
        Ok(())
    }

    async fn count_stock(&mut self) -> anyhow::Result<()> {
        self.till.tell(About::Stock, &self.writes.stock()).await
    }
}

impl Demo {
    /// Lets the shop run until the time is over, or Ctrl-C.
    async fn run(&mut self, time: Option<Duration>) -> anyhow::Result<()> {
        let started = Instant::now();
        let end = started + time.unwrap_or(Duration::from_secs(365 * 86_400));
        let mut tell = started + Duration::from_secs(10);
        self.counter.count_stock().await?;
        // Made once: a signal that comes while nobody waits is kept.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        loop {
            tokio::select! {
                () = self.shop.tick() => self.counter.tell(self.shop.shop().take_sales()).await?,
                () = sleep_until(end) => break,
                _ = interrupt.recv() => {
                    println!("\nended by Ctrl-C");
                    break;
                }
                _ = terminate.recv() => {
                    println!("\nended by SIGTERM");
                    break;
                }
            }
            if Instant::now() >= tell {
                tell += Duration::from_secs(10);
                self.agent.check()?;
                self.central.check()?;
                println!("{}", self.line(started.elapsed())?);
            }
        }
        println!();
        Ok(())
    }

    fn line(&self, elapsed: Duration) -> anyhow::Result<String> {
        let Verdict { accepted, in_central, by_kind, try_ons, .. } =
            judge(&self.site.accepted_log(), &self.site.database())?;
        let of = |kind: &str| by_kind.get(kind).copied().unwrap_or(0);
        let seconds = elapsed.as_secs();
        Ok(format!(
            "{:02}:{:02}  accepted {accepted}, in central {in_central}: picked up {}, put down {}, carried in {}, \
             tried on {try_ons}, sold {}",
            seconds / 60,
            seconds % 60,
            of("picked_up"),
            of("put_down"),
            of("carried_in"),
            self.counter.sold,
        ))
    }

    /// Stops everything in the order of the data's way, and reports.
    fn end(self) -> anyhow::Result<(bool, Value)> {
        let Self { site, shop, counter, listener, agent, central } = self;
        let memory = json!({
            "hangtag-agent": memory(agent.id())?,
            "hangtag-central": memory(central.id())?,
            "this process (shop, readers, rumqttd)": memory(std::process::id())?,
        });
        agent.stop(END)?;
        drop(shop);
        // What the agent sent last is with the broker; central takes it.
        let (verdict, lines) = tokio::runtime::Handle::current().block_on(settled(&site, &counter))?;
        central.stop(END)?;
        let heard = listener.heard();
        println!("{}", summary(&verdict, &heard));
        println!("sold {}, in central {lines}", counter.sold);
        let mut report = report(&verdict, &heard, &memory);
        report["sold"] = counter.sold.into();
        report["sales_in_central"] = lines.into();
        Ok((verdict.is_exact() && lines == counter.sold, report))
    }
}

/// Waits until central has what was accepted and sold, or does not get any further.
async fn settled(site: &Site, counter: &Counter) -> anyhow::Result<(Verdict, u64)> {
    counter.till.settled(END).await?;
    let end = Instant::now() + END;
    loop {
        let verdict = judge(&site.accepted_log(), &site.database())?;
        let (lines, _) = in_central(&site.database())?;
        if (verdict.missing == 0 && lines == counter.sold) || Instant::now() > end {
            return Ok((verdict, lines));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn summary(verdict: &Verdict, heard: &Heard) -> String {
    let Verdict { accepted, in_central, missing, doubled, try_ons, .. } = verdict;
    format!(
        "accepted {accepted}, in central {in_central}, missing {missing}, doubled {doubled}; \
         {try_ons} try-ons; {:.1} bytes per event on the wire",
        bytes_per_event(heard)
    )
}

fn bytes_per_event(heard: &Heard) -> f64 {
    heard.bytes as f64 / heard.events.max(1) as f64
}

fn report(verdict: &Verdict, heard: &Heard, memory: &Value) -> Value {
    json!({
        "accepted": verdict.accepted,
        "in_central": verdict.in_central,
        "missing": verdict.missing,
        "doubled": verdict.doubled,
        "changed": verdict.changed,
        "gaps": verdict.gaps,
        "events_by_kind": verdict.by_kind,
        "try_ons": verdict.try_ons,
        "batches": heard.batches,
        "bytes_per_event": (bytes_per_event(heard) * 10.0).round() / 10.0,
        "memory_kib": memory,
    })
}

fn memory(process: u32) -> anyhow::Result<Value> {
    let (now, most) = memory_kib(process)?;
    Ok(json!({ "now": now, "most": most }))
}

fn write(path: &Path, report: &Value) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

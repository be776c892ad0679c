//! What monitors see, through real doors: agent and central are scraped, and everything that the alerts, the dashboard and
//! the documentation name is there; and everything that is there is documented.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hangtag_tests::emulator::carousel::Carousel;
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::gateway::{Gateway, STOPS_WITHIN, succeeded};
use hangtag_tests::harness::process::{Process, wait_for};
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder, free_port};

const PATIENCE: Duration = Duration::from_secs(60);
/// Metrics that need something which this shop has not: a reader that says how warm it is, and a certificate.
const NOT_HERE: [&str; 3] = [
    "hangtag_agent_reader_temperature_celsius",
    "hangtag_agent_certificate_remaining_seconds",
    "hangtag_agent_certificate_fault",
];

/// What a scrape said: the number of each sample, by name and labels as they were written.
type Samples = BTreeMap<String, f64>;

fn scrape(port: u16) -> anyhow::Result<Samples> {
    let text = ureq::get(format!("http://127.0.0.1:{port}/metrics")).call()?.body_mut().read_to_string()?;
    parse(&text)
}

/// Reads OpenMetrics text: every sample has help and a type before it, and the end is marked.
fn parse(text: &str) -> anyhow::Result<Samples> {
    ensure!(text.ends_with("# EOF\n"), "the end is missing: {text}");
    let (mut helped, mut types, mut samples) = (BTreeSet::new(), BTreeMap::new(), Samples::new());
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            ensure!(help.len() > 5, "{line}");
            helped.insert(name);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            types.insert(name, kind);
        } else {
            let (series, number) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
            let name = name_of(series);
            let family = types.keys().find(|family| belongs(name, family, types[*family])).copied();
            let family = family.with_context(|| format!("no type: {line}"))?;
            ensure!(helped.contains(family), "no help: {line}");
            ensure!(samples.insert(series.to_owned(), number.parse()?).is_none(), "twice: {line}");
        }
    }
    Ok(samples)
}

fn name_of(series: &str) -> &str {
    series.split('{').next().unwrap_or(series)
}

/// Whether a sample is one of a metric's.
fn belongs(sample: &str, family: &str, kind: &str) -> bool {
    let endings: &[&str] = match kind {
        "counter" => &["_total"],
        "histogram" => &["_bucket", "_sum", "_count"],
        _ => &[""],
    };
    sample.strip_prefix(family).is_some_and(|ending| endings.contains(&ending))
}

/// The names of metrics that a text holds.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c));
    let ours = |word: &&str| word.starts_with("hangtag_agent_") || word.starts_with("hangtag_central_");
    words.filter(ours).map(str::to_owned).collect()
}

fn sheet_of(file: &str) -> anyhow::Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// The metric of a sample, as the documentation names it.
fn documented(sample: &str) -> &str {
    let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|ending| sample.strip_suffix(ending));
    histogram.filter(|name| name.ends_with("_seconds")).unwrap_or(sample)
}

#[test]
fn alerts_dashboard_and_documentation_name_what_is_there_and_nothing_else() -> anyhow::Result<()> {
    let folder = folder()?;
    let (broker_port, agent_port, central_port) = (free_port()?, free_port()?, free_port()?);
    let mut broker = Mosquitto::start(&folder.path().join("mosquitto"), broker_port)?;
    let site = Site::for_test(folder.path(), broker_port)?;
    let config = std::fs::read_to_string(folder.path().join("central.toml"))?;
    let more = format!("[feed]\npublish = \"both\"\n[metrics]\nlisten = \"127.0.0.1:{central_port}\"\n");
    site.write("central.toml", &format!("{config}{more}"))?;
    let mut central = site.start_central()?;
    let metrics = format!("[metrics]\nlisten = \"127.0.0.1:{agent_port}\"\n");
    let gateway = Gateway::create(&site, "agent", &folder.path().join("agent-data"), broker_port, &metrics)?;
    let mut agent = gateway.start()?;
    let carousel = Carousel::start(&gateway.readers(), 1, 100)?;
    gateway.wait_accepted(&mut agent, 40)?;
    drop(carousel);

    // What it accepted arrives, and all of that can be seen from outside.
    let agrees = |agent: &mut Process, central: &mut Process| -> anyhow::Result<Option<(Samples, Samples)>> {
        agent.check()?;
        central.check()?;
        let (Ok(of_agent), Ok(of_central)) = (scrape(agent_port), scrape(central_port)) else {
            return Ok(None);
        };
        let kinds =
            of_agent.iter().filter(|(series, _)| name_of(series) == "hangtag_agent_events_accepted_total");
        let accepted: f64 = kinds.map(|(_, number)| number).sum();
        let is_even = accepted >= 40.0
            && of_agent["hangtag_agent_watermark_lag_events"] < 0.5
            && (of_central["hangtag_central_events_stored"] - accepted).abs() < 0.5;
        Ok(is_even.then_some((of_agent, of_central)))
    };
    let (of_agent, of_central) =
        wait_for("both to tell the same", PATIENCE, || agrees(&mut agent, &mut central))?;
    let one = |samples: &Samples, series: &str, number: f64| {
        let told = samples.get(series).copied();
        assert!(told.is_some_and(|told| (told - number).abs() < 0.5), "{series}: {told:?}, not {number}");
    };
    let accepted = gateway.accepted();
    one(&of_central, "hangtag_central_batch_events_total{fate=\"new\"}", f64::from(u32::try_from(accepted)?));
    one(&of_central, "hangtag_central_gateways{state=\"online\"}", 1.0);
    one(&of_central, "hangtag_central_broker_connected", 1.0);
    one(&of_agent, "hangtag_agent_broker_connected", 1.0);
    one(&of_agent, "hangtag_agent_broker_connections_total", 1.0);
    one(&of_agent, "hangtag_agent_spool_waiting_events", 0.0);
    one(&of_agent, "hangtag_agent_spool_cap_bytes", 1_073_741_824.0);
    assert!(of_agent["hangtag_agent_reads_total{reader=\"carousel\"}"] > 40.0);
    assert!(of_central["hangtag_central_commit_seconds_count"] >= 1.0);
    assert!(of_central["hangtag_central_watermarks_published_total"] >= 1.0);
    assert!(of_central["hangtag_central_http_requests_total{class=\"health\",status=\"200\"}"] >= 1.0);

    let told: BTreeSet<String> =
        of_agent.keys().chain(of_central.keys()).map(|series| name_of(series).to_owned()).collect();
    let documentation = names(&sheet_of("docs/metrics.md")?);
    for metric in &told {
        assert!(documentation.contains(documented(metric)), "docs/metrics.md does not tell of {metric}");
    }
    let known: BTreeSet<&str> =
        told.iter().flat_map(|sample| [sample.as_str(), documented(sample)]).chain(NOT_HERE).collect();
    for file in ["docs/metrics.md", "deploy/alerts/hangtag.rules.yml", "deploy/grafana/hangtag.json"] {
        let named = names(&sheet_of(file)?);
        assert!(named.len() > 10, "{file} names next to nothing");
        let unknown: Vec<&String> = named.iter().filter(|name| !known.contains(name.as_str())).collect();
        assert!(unknown.is_empty(), "{file} names what is not there: {unknown:?}");
    }
    serde_json::from_str::<serde_json::Value>(&sheet_of("deploy/grafana/hangtag.json")?)?;

    // A broker that goes away is seen on both sides, and one that comes back too.
    broker.stop()?;
    let connected = |wanted: f64, agent: &mut Process, central: &mut Process| {
        wait_for("both to see the broker", PATIENCE, || {
            agent.check()?;
            central.check()?;
            let (of_agent, of_central) = (scrape(agent_port)?, scrape(central_port)?);
            let told =
                [of_agent["hangtag_agent_broker_connected"], of_central["hangtag_central_broker_connected"]];
            Ok(told.iter().all(|told| (told - wanted).abs() < 0.5).then_some(of_agent))
        })
    };
    let away = connected(0.0, &mut agent, &mut central)?;
    assert!(away["hangtag_agent_broker_disconnections_total"] >= 1.0);
    broker.restart()?;
    let back = connected(1.0, &mut agent, &mut central)?;
    one(&back, "hangtag_agent_broker_connections_total", 2.0);
    agent.stop(STOPS_WITHIN)?;
    central.stop(STOPS_WITHIN)
}

#[test]
fn nothing_is_told_to_other_machines_unless_somebody_says_so() -> anyhow::Result<()> {
    let folder = folder()?;
    let site = Site::for_test(folder.path(), free_port()?)?;
    let metrics = "[metrics]\nlisten = \"0.0.0.0:9464\"\n";
    for (file, mut check) in [("agent.toml", site.agent("check")), ("central.toml", site.central("check"))] {
        let config = std::fs::read_to_string(folder.path().join(file))?;
        site.write(file, &format!("{config}\n{metrics}"))?;
        let output = check.output()?;
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success() && said.contains("metrics.listen"), "{file}: {said}");
        assert!(said.contains("anyone = true"), "{file}: {said}");
    }
    Ok(())
}

/// Where Debian's package `prometheus` is, its own checker has a look too.
#[test]
fn prometheus_takes_the_alerts() -> anyhow::Result<()> {
    let promtool = Path::new("/usr/bin/promtool");
    if !promtool.exists() {
        return hangtag_tests::harness::skip("promtool is not installed: apt-get install prometheus");
    }
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/alerts/hangtag.rules.yml");
    let output = Command::new(promtool).args(["check", "rules"]).arg(rules).output()?;
    succeeded(output).map(drop)
}

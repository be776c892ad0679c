//! The merchandisers' page in a real browser, on a central that is fed by a broker: what is on it, that it stays up
//! to date, that it can be used without a mouse, without script, in the dark and on a telephone, and that it asks
//! nobody else for anything. Pictures of it are left in `target/screenshots`.

mod browser;
mod day;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::process::{Process, wait_for};
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder, free_port, noon, skip};
use hangtag_tests::shop::layout::stores_toml;
use hangtag_tests::shop::stock::products;
use tempfile::TempDir;

use browser::{Browser, Tab};
use day::Day;

const PATIENCE: Duration = Duration::from_secs(60);
/// All that a page may weigh, in bytes.
const HEAVIEST: u64 = 300_000;
/// Where `tests/run` puts axe-core, below the target folder.
const AXE: &str = "axe-core-4.14.1/axe.min.js";
/// How many styles the simulated shop has.
const STYLES: usize = 6;
/// Widths of a telephone and of a desk.
const TELEPHONE: i64 = 390;
const DESK: i64 = 1_280;

/// A shop with a day behind it, and a browser.
struct Bench {
    day: Day,
    counts: [u64; 2],
    browser: Browser,
    central: Process,
    site: Site,
    _broker: Mosquitto,
    _folder: TempDir,
}

impl Bench {
    /// Starts everything, and waits until central has counted the day. `None` where there is no browser.
    async fn start() -> anyhow::Result<Option<Self>> {
        if !browser::is_installed() {
            skip("chromium is not installed")?;
            return Ok(None);
        }
        let folder = folder()?;
        let broker_port = free_port()?;
        let broker = Mosquitto::start(&folder.path().join("mosquitto"), broker_port)?;
        let site = Site::for_test(folder.path(), broker_port)?;
        site.write("stores.toml", &stores_toml().replace("Europe/Paris", noon()))?;
        let central = site.start_central()?;
        let mut day = Day::begin(broker_port)?;
        let counts = day.shoppers().await?;
        wait_for("the day to be counted", PATIENCE, || Ok((tried_on(&site)? == counts[1]).then_some(())))?;
        let browser = Browser::start().await?;
        Ok(Some(Self { day, counts, browser, central, site, _broker: broker, _folder: folder }))
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.site.web_port)
    }

    /// A tab with the page in it.
    async fn page(&self) -> anyhow::Result<Tab> {
        let tab = self.browser.tab().await?;
        tab.open(&self.url("/")).await?;
        Ok(tab)
    }

    async fn end(self) -> anyhow::Result<()> {
        self.browser.close().await?;
        self.central.stop(Duration::from_secs(10))
    }
}

/// What the table by hour has as tried on.
fn tried_on(site: &Site) -> anyhow::Result<u64> {
    let csv = site.get("/hours.csv")?;
    let mut lines = csv.trim_start_matches('\u{feff}').lines();
    let column = lines.next().unwrap_or_default().split(',').position(|name| name == "tried_on");
    let column = column.context("no column tried_on")?;
    // Of hours in which nobody listened nothing is said.
    let counts = lines.map(|line| line.split(',').nth(column).context("a short line"));
    counts.filter(|count| !matches!(count, Ok(""))).map(|count| Ok(count?.parse::<u64>()?)).sum()
}

/// What stands in the tile with this name.
fn tile(name: &str) -> String {
    format!(
        "[...document.querySelectorAll('.tile')].find(t => t.querySelector('.label').textContent === '{name}')\
         .querySelector('.value').textContent"
    )
}

/// How far the page is wider than the window.
const TOO_WIDE: &str = "document.documentElement.scrollWidth - document.documentElement.clientWidth";

/// What must be seen of the days before anybody scrolls, and is not within its box: all numbers of the axis, the legend,
/// the last day's name, and both of its bars.
const UNSEEN_OF_DAYS: &str = "(() => {
    const box = document.querySelector('#days .scroll'), at = box.getBoundingClientRect();
    const texts = [...box.querySelectorAll('text.axis')], rects = [...box.querySelectorAll('rect')];
    const numbers = texts.filter(t => /^[0-9]+$/.test(t.textContent));
    const days = texts.filter(t => !numbers.includes(t)), bars = rects.filter(r => r.querySelector('title'));
    const must = [...numbers, ...box.querySelectorAll('text.name'), ...days.slice(-1), ...bars.slice(-2)];
    if (numbers.length < 2 || days.length !== 7 || bars.length < 7) return ['no chart of seven days'];
    const isIn = of => of.left >= at.left - 1 && of.right <= at.right + 1;
    return must.filter(m => !isIn(m.getBoundingClientRect())).map(m => m.textContent);
})()";

/// Headings whose words come nearer than so many pixels to the link beside them.
const HEADS_TOO_CLOSE: &str = "[...document.querySelectorAll('.head')].filter(head => {
    const words = document.createRange();
    words.selectNodeContents(head.querySelector('h2'));
    return words.getBoundingClientRect().right + 8 > head.querySelector('a').getBoundingClientRect().left;
}).map(head => head.textContent)";

/// A garment passes the till: without one there is nothing to draw against the try-ons.
fn sell(bench: &Bench) -> anyhow::Result<()> {
    let product = products().first().context("the shop sells nothing")?.epc(1);
    let gtin = product.sgtin().context("a tag without a product")?.gtin();
    let line = format!(
        r#"{{"receipt":"r1","line":1,"time":"{}","gtin":"{gtin}","quantity":1}}"#,
        jiff::Timestamp::now()
    );
    let door = bench.site.url("/api/v1/pos/demo-shop/sale");
    ureq::post(&door).header("Content-Type", "application/json").send(line).context(door)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shows_the_day_asks_nobody_else_and_stays_up_to_date() -> anyhow::Result<()> {
    let Some(mut bench) = Bench::start().await? else { return Ok(()) };
    let tab = bench.browser.tab().await?;
    // The page also looks once a minute; here it must be told.
    tab.beforehand("window.setInterval = () => 0").await?;
    tab.open(&bench.url("/")).await?;
    let shown: String = tab.eval(&tile("Tried on")).await?;
    assert_eq!(shown, bench.counts[1].to_string());
    let shown: String = tab.eval(&tile("Picked up")).await?;
    assert_eq!(shown, bench.counts[0].to_string());
    tab.picture("page").await?;

    let (requests, bytes) = tab.traffic(1).await?;
    println!("the page weighs {bytes} bytes");
    assert!((1_000..HEAVIEST).contains(&bytes), "{bytes} bytes");
    let own = bench.url("/");
    let strange: Vec<_> =
        requests.iter().filter(|url| !url.starts_with(&own) && !url.starts_with("data:")).collect();
    assert!(strange.is_empty() && !requests.is_empty(), "{requests:?}");

    tab.eval::<bool>("window.stayed = true").await?;
    bench.day.one_more_try_on().await?;
    let more = format!("{} === '{}'", tile("Tried on"), bench.counts[1] + 1);
    tab.until("one more try-on", &more).await?;
    assert!(tab.eval::<bool>("window.stayed === true").await?, "the page was loaded anew");
    tab.is_quiet("after an update")?;
    bench.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_can_be_taken_along() -> anyhow::Result<()> {
    let Some(bench) = Bench::start().await? else { return Ok(()) };
    sell(&bench)?;
    let tab = bench.page().await?;
    let links: Vec<String> = tab
        .eval("[...document.querySelectorAll('a[href*=\".csv\"]')].map(a => a.getAttribute('href'))")
        .await?;
    assert!(links.len() >= 3, "{links:?}");
    for link in &links {
        tab.eval::<bool>(&format!("document.querySelector(`a[href='{link}']`).click(), true")).await?;
        let table = link.trim_start_matches('/').split('.').next().unwrap_or_default();
        let file = wait_for(&format!("{link} to be saved"), PATIENCE, || {
            Ok(saved(&bench.browser.downloads(), table))
        })?;
        assert_eq!(std::fs::read_to_string(file)?, bench.site.get(link)?, "{link}");
    }
    tab.is_quiet("after downloads")?;
    bench.end().await
}

/// The file of a table, when it is whole.
fn saved(folder: &Path, table: &str) -> Option<std::path::PathBuf> {
    let names =
        std::fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let name = names.into_iter().find(|name| name.starts_with(table) && name.ends_with(".csv"))?;
    let file = folder.join(name);
    // An empty one keeps the place until the download is whole.
    file.metadata().is_ok_and(|of| of.len() > 0).then_some(file)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keyboard_alone_reaches_everything() -> anyhow::Result<()> {
    let Some(bench) = Bench::start().await? else { return Ok(()) };
    let tab = bench.page().await?;
    let stops = tab.stops().await?;
    let unseen: Vec<_> = stops.iter().filter(|stop| !stop.seen).collect();
    assert!(unseen.is_empty(), "nobody sees that these have the focus: {unseen:#?}");
    let nameless: Vec<_> = stops.iter().filter(|stop| stop.name.is_empty()).collect();
    assert!(nameless.is_empty(), "{nameless:#?}");
    // In the order in which they are read: past everything, the filter, then what leads on; and nothing is left out.
    assert_eq!(stops[0].href, "#main", "{stops:#?}");
    let of = |element: &str| stops.iter().position(|stop| stop.element == element);
    let (period, from, show) = (of("select"), of("input"), of("button"));
    assert!(period.is_some() && period < from && from < show, "{stops:#?}");
    let links: Vec<String> = tab
        .eval(
            "[...document.querySelectorAll('a[href]')].filter(a => a.checkVisibility()).map(a => a.getAttribute('href'))",
        )
        .await?;
    let reached: Vec<&String> = stops.iter().map(|stop| &stop.href).filter(|href| !href.is_empty()).collect();
    assert_eq!(reached, links.iter().collect::<Vec<_>>());

    // Into a style, and to yesterday, on which there was nothing.
    tab.open(&bench.url("/")).await?;
    tab.walk_to("(at.getAttribute('href') || '').includes('style=')").await?;
    tab.press("Enter").await?;
    tab.until("one style", "location.href.includes('style=') && document.readyState === 'complete'").await?;
    tab.walk_to("at.name === 'period'").await?;
    // From the last seven days up to yesterday.
    tab.press("ArrowUp").await?;
    tab.walk_to("at.localName === 'button'").await?;
    tab.press("Enter").await?;
    tab.until("yesterday", "location.href.includes('period=yesterday') && location.href.includes('style=')")
        .await?;
    tab.until("a day that nobody measured", &format!("{} === '–'", tile("Tried on"))).await?;
    tab.is_quiet("after a walk")?;
    bench.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_style_leads_to_its_own_numbers() -> anyhow::Result<()> {
    let Some(bench) = Bench::start().await? else { return Ok(()) };
    sell(&bench)?;
    let tab = bench.page().await?;
    let links: Vec<String> = tab
        .eval("[...document.querySelectorAll('#styles-table tbody th a')].map(a => a.getAttribute('href'))")
        .await?;
    assert_eq!(links.len(), STYLES, "{links:?}");
    // What is tried much and sold seldom is at the right, below.
    let corner = |text: &str| {
        format!(
            "[...document.querySelectorAll('#styles .corner')].find(c => c.textContent === '{text}').getBBox()"
        )
    };
    let (unsold, untried) = (corner("tried, not sold: fit or price?"), corner("sells without a try-on"));
    let apart = format!("(a => b => a.x > b.x && a.y > b.y)({unsold})({untried})");
    assert!(tab.eval::<bool>(&apart).await?, "the corners are mixed up");
    let mut sum = 0;
    for link in &links {
        tab.open(&bench.url(link)).await?;
        let shown: u64 = tab.eval(&format!("Number({})", tile("Tried on"))).await?;
        sum += shown;
        let back: bool =
            tab.eval("!!document.querySelector('.crumbs a') && !!document.querySelector('h1')").await?;
        assert!(back, "no way back from {link}");
    }
    assert_eq!(sum, bench.counts[1], "the styles add up");
    tab.is_quiet("in the styles")?;
    bench.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speaks_chinese_to_who_asks_for_it_and_remembers() -> anyhow::Result<()> {
    let Some(bench) = Bench::start().await? else { return Ok(()) };
    let tab = bench.page().await?;
    let tag = "document.documentElement.lang";
    assert_eq!(tab.eval::<String>(tag).await?, "en");
    tab.eval::<bool>("document.querySelector(\"a[hreflang='zh-CN']\").click(), true").await?;
    tab.until("Chinese", &format!("{tag} === 'zh-CN' && document.readyState === 'complete'")).await?;
    let shown: String = tab.eval(&tile("试穿")).await?;
    assert_eq!(shown, bench.counts[1].to_string());
    tab.open(&bench.url("/")).await?;
    assert_eq!(tab.eval::<String>(tag).await?, "zh-CN", "it is remembered");
    for width in [TELEPHONE, DESK] {
        tab.size(width, 844).await?;
        assert_eq!(tab.eval::<i64>(TOO_WIDE).await?, 0, "{width} wide");
        tab.picture(&format!("page-{width}-chinese")).await?;
    }
    // What stayed English would be a row of words; names of goods and files are single ones.
    let text: String = tab.eval("document.body.innerText").await?;
    let english = text.lines().find(|line| {
        let words =
            line.split(' ').filter(|word| word.len() > 2 && word.chars().all(|c| c.is_ascii_lowercase()));
        words.count() >= 3
    });
    assert_eq!(english, None);
    tab.is_quiet("in Chinese")?;
    tab.eval::<bool>("document.querySelector(\"a[hreflang='en']\").click(), true").await?;
    tab.until("English", &format!("{tag} === 'en'")).await?;
    bench.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fits_a_telephone_in_the_dark_and_needs_no_script() -> anyhow::Result<()> {
    let Some(bench) = Bench::start().await? else { return Ok(()) };
    let tab = bench.browser.tab().await?;
    tab.without_script().await?;
    for scheme in ["light", "dark"] {
        tab.prefer(scheme).await?;
        for width in [TELEPHONE, DESK] {
            tab.size(width, 844).await?;
            tab.open(&bench.url("/")).await?;
            let too_wide: i64 = tab.eval(TOO_WIDE).await?;
            assert_eq!(too_wide, 0, "{width} wide, {scheme}");
            let shown: String = tab.eval(&tile("Tried on")).await?;
            assert_eq!(shown, bench.counts[1].to_string(), "{width} wide, {scheme}");
            let unseen: Vec<String> = tab.eval(UNSEEN_OF_DAYS).await?;
            assert!(unseen.is_empty(), "{width} wide, {scheme}: {unseen:?}");
            let close: Vec<String> = tab.eval(HEADS_TOO_CLOSE).await?;
            assert!(close.is_empty(), "{width} wide, {scheme}: {close:?}");
            tab.picture(&format!("page-{width}-{scheme}")).await?;
            assert_eq!(tab.eval::<i64>("innerWidth").await?, width, "a picture changes nothing");
        }
    }
    let ran: bool = tab.eval("typeof busy !== 'undefined'").await?;
    assert!(!ran, "the script ran");
    bench.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_no_barrier() -> anyhow::Result<()> {
    let file = browser::target()?.join(AXE);
    let Ok(axe) = std::fs::read_to_string(&file) else {
        return skip(format_args!("{} is not there: tests/run fetches it", file.display()));
    };
    let Some(bench) = Bench::start().await? else { return Ok(()) };
    let tab = bench.browser.tab().await?;
    for scheme in ["light", "dark"] {
        tab.prefer(scheme).await?;
        for (width, path) in
            [(TELEPHONE, "/"), (DESK, "/?compare=year&lang=zh-CN"), (DESK, "/?period=today&lang=en")]
        {
            tab.size(width, 844).await?;
            tab.open(&bench.url(path)).await?;
            let found = barriers(&tab, &axe).await?;
            ensure!(found.is_empty(), "{path}, {width} wide, {scheme}: {found:#?}");
        }
    }
    // What finds nothing must be able to find something.
    tab.eval::<bool>("document.querySelector('h1').innerHTML = '<img src=data:,>', true").await?;
    let found = barriers(&tab, &axe).await?;
    assert!(found.iter().any(|barrier| barrier.starts_with("image-alt")), "{found:?}");
    bench.end().await
}

/// What axe-core says of the page, after WCAG 2.2 A and AA and its own good practice: a rule, and what breaks it.
async fn barriers(tab: &Tab, axe: &str) -> anyhow::Result<Vec<String>> {
    const RULES: &str = "{runOnly: {type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', \
                         'best-practice']}, rules: {'target-size': {enabled: true}}}";
    tab.eval::<bool>(&format!("{axe};true")).await?;
    let say = "found.violations.map(v => `${v.id}: ${v.help}: ${v.nodes.map(n => n.html).join(' and ')}`)";
    tab.eval(&format!("axe.run(document, {RULES}).then(found => {say})")).await
}

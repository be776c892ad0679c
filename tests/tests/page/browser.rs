//! A browser without a window. Enters: addresses, keys, script. Leaves: what the page then is, what it asked of
//! whom, and every complaint of the browser. Needs Debian's `chromium`.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use chromiumoxide::cdp::browser_protocol::browser::{SetDownloadBehaviorBehavior, SetDownloadBehaviorParams};
use chromiumoxide::cdp::browser_protocol::emulation::{
    MediaFeature, SetDeviceMetricsOverrideParams, SetScriptExecutionDisabledParams,
};
use chromiumoxide::cdp::browser_protocol::input::{DispatchKeyEventParams, DispatchKeyEventType};
use chromiumoxide::cdp::browser_protocol::log::{EventEntryAdded, LogEntryLevel};
use chromiumoxide::cdp::browser_protocol::network::{EventLoadingFinished, EventRequestWillBeSent};
use chromiumoxide::cdp::browser_protocol::page::Viewport;
use chromiumoxide::cdp::js_protocol::runtime::{
    ConsoleApiCalledType, EvaluateParams, EventConsoleApiCalled, EventExceptionThrown,
};
use chromiumoxide::keys::get_key_definition;
use chromiumoxide::page::ScreenshotParams;
use chromiumoxide::{BrowserConfig, Page};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// Where Debian has it.
const PROGRAM: &str = "/usr/bin/chromium";
/// How often a condition is looked for, and for how long. The browser's start is within it, too.
const LOOK: Duration = Duration::from_millis(30);
const PATIENCE: Duration = Duration::from_secs(60);

/// A page with more places for the focus is broken.
const MOST_STOPS: usize = 300;

/// Whether there is a browser.
pub(crate) fn is_installed() -> bool {
    Path::new(PROGRAM).exists()
}

/// The folder of what cargo made: what is fetched lies there, and what the tests leave to look at.
pub(crate) fn target() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find the path of this program")?;
    // target/PROFILE/deps/test
    own.ancestors().nth(3).map(Path::to_owned).context("this program is in no target folder")
}

/// A browser; it ends when this is dropped.
pub(crate) struct Browser {
    browser: chromiumoxide::Browser,
    handler: JoinHandle<()>,
    folder: TempDir,
}

impl Browser {
    /// Starts one with a profile of its own.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut config = BrowserConfig::builder()
            .chrome_executable(PROGRAM)
            .user_data_dir(folder.path().join("profile"))
            .launch_timeout(PATIENCE)
            .request_timeout(PATIENCE)
            .viewport(None)
            // /dev/shm is small in containers.
            .args(["disable-dev-shm-usage", "lang=en-GB"]);
        if rustix::process::geteuid().is_root() {
            config = config.no_sandbox();
        }
        let config = config.build().map_err(|why| anyhow!(why))?;
        let (browser, mut handler) = chromiumoxide::Browser::launch(config).await?;
        let handler = tokio::spawn(async move { while handler.next().await.is_some() {} });
        Ok(Self { browser, handler, folder })
    }

    /// The folder into which it downloads.
    pub(crate) fn downloads(&self) -> PathBuf {
        self.folder.path().join("downloads")
    }

    /// An empty tab, 1,280 wide.
    pub(crate) async fn tab(&self) -> anyhow::Result<Tab> {
        let mut downloads = SetDownloadBehaviorParams::new(SetDownloadBehaviorBehavior::Allow);
        downloads.download_path = Some(self.downloads().display().to_string());
        self.browser.execute(downloads).await?;
        let page = self.browser.new_page("about:blank").await?;
        let tab = Tab { page, heard: Arc::default() };
        tab.listen().await?;
        tab.size(1_280, 900).await?;
        Ok(tab)
    }

    /// Ends it.
    pub(crate) async fn close(mut self) -> anyhow::Result<()> {
        self.browser.close().await?;
        self.browser.wait().await?;
        self.handler.abort();
        Ok(())
    }
}

/// What was heard of a tab.
#[derive(Default)]
struct Heard {
    complaints: Vec<String>,
    requests: Vec<String>,
    bytes: u64,
    answers: usize,
}

/// A tab.
pub(crate) struct Tab {
    page: Page,
    heard: Arc<Mutex<Heard>>,
}

impl Tab {
    async fn listen(&self) -> anyhow::Result<()> {
        let page = &self.page;
        page.enable_log().await?;
        page.enable_runtime().await?;
        let (mut said, mut thrown) = (
            page.event_listener::<EventConsoleApiCalled>().await?,
            page.event_listener::<EventExceptionThrown>().await?,
        );
        let mut logged = page.event_listener::<EventEntryAdded>().await?;
        let mut asked = page.event_listener::<EventRequestWillBeSent>().await?;
        let mut answered = page.event_listener::<EventLoadingFinished>().await?;
        let heard = Arc::clone(&self.heard);
        // It ends with the tab: then the streams do.
        tokio::spawn(async move {
            loop {
                let mut complaint = None;
                tokio::select! {
                    Some(event) = said.next() => match event.r#type {
                        ConsoleApiCalledType::Error | ConsoleApiCalledType::Warning | ConsoleApiCalledType::Assert => {
                            complaint = Some(format!("console: {:?}", event.args));
                        }
                        _ => {}
                    },
                    Some(event) = thrown.next() => complaint = Some(format!("thrown: {}", event.exception_details)),
                    Some(event) = logged.next() => match event.entry.level {
                        LogEntryLevel::Error | LogEntryLevel::Warning => {
                            complaint = Some(format!("log: {} {:?}", event.entry.text, event.entry.url));
                        }
                        LogEntryLevel::Verbose | LogEntryLevel::Info => {}
                    },
                    Some(event) = asked.next() => lock(&heard).requests.push(event.request.url.clone()),
                    Some(event) = answered.next() => {
                        let mut heard = lock(&heard);
                        heard.bytes += event.encoded_data_length as u64;
                        heard.answers += 1;
                    }
                    else => return,
                }
                lock(&heard).complaints.extend(complaint);
            }
        });
        Ok(())
    }

    /// Opens an address, and waits until it has loaded.
    pub(crate) async fn open(&self, url: &str) -> anyhow::Result<()> {
        self.page.goto(url).await.with_context(|| format!("opening {url}"))?;
        Ok(())
    }

    /// What an expression is; a promise is awaited.
    pub(crate) async fn eval<T: DeserializeOwned>(&self, script: &str) -> anyhow::Result<T> {
        let mut params = EvaluateParams::new(script);
        params.await_promise = Some(true);
        params.return_by_value = Some(true);
        let result = self.page.evaluate_expression(params).await.with_context(|| short(script))?;
        // What is null or undefined comes without a value.
        let value = result.value().cloned().unwrap_or_default();
        serde_json::from_value(value).with_context(|| short(script))
    }

    /// Waits until an expression is true.
    pub(crate) async fn until(&self, what: &str, script: &str) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        // While one page follows another there is no place to look.
        while !self.eval::<bool>(script).await.unwrap_or(false) {
            if Instant::now() > end {
                let text: String = self.eval("document.body.innerText").await.unwrap_or_default();
                bail!("waited {PATIENCE:?} in vain for {what}; the page says\n{text}");
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Presses a key, such as `Tab` or `Enter`.
    pub(crate) async fn press(&self, key: &str) -> anyhow::Result<()> {
        let known = get_key_definition(key).with_context(|| format!("there is no key {key}"))?;
        for r#type in [DispatchKeyEventType::KeyDown, DispatchKeyEventType::KeyUp] {
            let mut event = DispatchKeyEventParams::new(r#type.clone());
            event.key = Some(known.key.into());
            event.code = Some(known.code.into());
            event.windows_virtual_key_code = Some(known.key_code);
            event.text = known.text.filter(|_| r#type == DispatchKeyEventType::KeyDown).map(Into::into);
            self.page.execute(event).await?;
        }
        Ok(())
    }

    /// Makes the window so large.
    pub(crate) async fn size(&self, width: i64, height: i64) -> anyhow::Result<()> {
        self.page.execute(SetDeviceMetricsOverrideParams::new(width, height, 1.0, false)).await?;
        Ok(())
    }

    /// Has the reader prefer dark or light.
    pub(crate) async fn prefer(&self, scheme: &str) -> anyhow::Result<()> {
        self.page.emulate_media_features(vec![MediaFeature::new("prefers-color-scheme", scheme)]).await?;
        Ok(())
    }

    /// Runs no script of pages that are opened from now on.
    pub(crate) async fn without_script(&self) -> anyhow::Result<()> {
        self.page.execute(SetScriptExecutionDisabledParams::new(true)).await?;
        Ok(())
    }

    /// Leaves a picture of the whole page in `target/screenshots`.
    pub(crate) async fn picture(&self, name: &str) -> anyhow::Result<()> {
        let folder = target()?.join("screenshots");
        std::fs::create_dir_all(&folder)?;
        // `full_page` would leave the window at another size.
        let of = "document.documentElement";
        let (width, height) = self.eval(&format!("[{of}.scrollWidth, {of}.scrollHeight]")).await?;
        let clip = Viewport { x: 0.0, y: 0.0, width, height, scale: 1.0 };
        let whole = ScreenshotParams::builder().capture_beyond_viewport(true).clip(clip).build();
        self.page.save_screenshot(whole, folder.join(format!("{name}.png"))).await?;
        Ok(())
    }

    /// Fails if the browser complained of anything.
    pub(crate) fn is_quiet(&self, when: impl Display) -> anyhow::Result<()> {
        let complaints = lock(&self.heard).complaints.clone();
        ensure!(complaints.is_empty(), "{when}: {complaints:#?}");
        Ok(())
    }

    /// Everything that was asked for so far, and the bytes of all answers that have ended, as they came. At least
    /// so many have.
    pub(crate) async fn traffic(&self, answers: usize) -> anyhow::Result<(Vec<String>, u64)> {
        let end = Instant::now() + PATIENCE;
        loop {
            {
                let heard = lock(&self.heard);
                if heard.answers >= answers {
                    return Ok((heard.requests.clone(), heard.bytes));
                }
                ensure!(Instant::now() < end, "{} answers of {:?}", heard.answers, heard.requests);
            }
            sleep(LOOK).await;
        }
    }

    /// Runs a script before those of pages that are opened from now on.
    pub(crate) async fn beforehand(&self, script: &str) -> anyhow::Result<()> {
        self.page.evaluate_on_new_document(script).await?;
        Ok(())
    }

    /// Walks with the keyboard until the focus is on what a script is true of, `at` being what has it.
    pub(crate) async fn walk_to(&self, what: &str) -> anyhow::Result<()> {
        for _ in 0..MOST_STOPS {
            self.press("Tab").await?;
            if self.eval(&format!("(at => !!({what}))(document.activeElement)")).await? {
                return Ok(());
            }
        }
        bail!("the keyboard does not reach {what}")
    }

    /// Walks through everything that the keyboard reaches.
    pub(crate) async fn stops(&self) -> anyhow::Result<Vec<Stop>> {
        self.eval::<bool>("document.activeElement.blur(), window.stoppedAt = null, true").await?;
        let mut stops: Vec<Stop> = Vec::new();
        while stops.len() < MOST_STOPS {
            self.press("Tab").await?;
            let stop: Option<Stop> = self.eval(STOP).await?;
            // Behind the last the focus leaves the page.
            let Some(stop) = stop else { return Ok(stops) };
            if !stop.again {
                stops.push(stop);
            }
        }
        bail!("the keyboard goes round in circles: {stops:?}")
    }
}

/// What has the focus.
#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct Stop {
    /// Its element, in lower case.
    pub(crate) element: String,
    /// What it is called.
    pub(crate) name: String,
    /// Where it leads, as it is written; empty if nowhere.
    pub(crate) href: String,
    /// Whether it can be seen that it has the focus.
    pub(crate) seen: bool,
    /// Whether it had it before, as a date has with its day, month and year.
    again: bool,
}

const STOP: &str = r#"(() => {
    const at = document.activeElement;
    if (!at || at === document.body || at === document.documentElement) return null;
    const marked = (of) => {
        const style = getComputedStyle(of);
        return (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2)
            || (of.matches("circle, path, rect") && parseFloat(style.strokeWidth) >= 2 && style.stroke !== "none");
    };
    const again = window.stoppedAt === at;
    window.stoppedAt = at;
    const label = at.labels && at.labels[0] ? at.labels[0].innerText : "";
    return {
        element: at.localName,
        name: at.getAttribute("aria-label") || label || at.textContent.trim(),
        href: at.getAttribute("href") || "",
        seen: marked(at) || [...at.children].some(marked),
        again,
    };
})()"#;

fn lock(heard: &Mutex<Heard>) -> std::sync::MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn short(script: &str) -> String {
    script.chars().take(200).collect()
}

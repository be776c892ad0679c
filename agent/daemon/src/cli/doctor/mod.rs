//! `doctor`: what usually goes wrong on a gateway, looked for one by one. Enters: a configuration; the machine, its
//! ports, its disk, the broker. Leaves: of each thing whether it is well, in a sentence, and what to do if it is not; an
//! exit code. It opens no port and takes nobody's session; it writes a small file into the data folder and a short
//! message to the broker, which nothing is made of.

mod broker;
mod clock;
mod disk;
mod holder;
mod port;
mod spool;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use rustix::process::geteuid;
use serde::Serialize;

use super::check;
use super::out::out;
use crate::config::{Config, ConfigError};

/// What `doctor --help` says at the end.
pub(super) const CODES: &str = "\
Exit codes:
  0  everything is well
  1  there are warnings: the agent works, and something will go wrong or is not as it should be
  2  there are faults: the agent does not work, or events do not reach central";

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warning,
    Fault,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    state: State,
    /// What was found, a sentence.
    what: String,
    /// What to do about it.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

/// All that was found, in the order of looking.
#[derive(Debug, Default)]
struct Chart(Vec<Finding>);

impl Chart {
    fn ok(&mut self, check: &'static str, what: impl Into<String>) {
        self.0.push(Finding { check, state: State::Ok, what: what.into(), mend: None });
    }

    fn warning(&mut self, check: &'static str, what: impl Into<String>, mend: impl Into<String>) {
        let mend = Some(mend.into());
        self.0.push(Finding { check, state: State::Warning, what: what.into(), mend });
    }

    fn fault(&mut self, check: &'static str, what: impl Into<String>, mend: impl Into<String>) {
        let mend = Some(mend.into());
        self.0.push(Finding { check, state: State::Fault, what: what.into(), mend });
    }

    /// Takes over what a look without advice found; whether it found anything.
    fn take(&mut self, check: &'static str, found: check::Findings, mend: &str) -> bool {
        let any = !found.is_empty();
        let (errors, warnings) = found.into_parts();
        errors.into_iter().for_each(|what| self.fault(check, what, mend));
        warnings.into_iter().for_each(|what| self.warning(check, what, mend));
        any
    }

    fn worst(&self) -> State {
        self.0.iter().map(|finding| finding.state).max().unwrap_or(State::Ok)
    }
}

/// Looks at everything.
pub(super) async fn run(path: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let mut chart = Chart::default();
    match Config::load(path) {
        Ok(config) => look(path, &config, &mut chart).await,
        Err(why @ ConfigError::Wrong { .. }) => {
            let mend = format!("mend {} and check it with hangtag-agent check", path.display());
            for line in why.to_string().lines() {
                chart.fault("configuration", line, mend.as_str());
            }
            clock::look(None, &mut chart);
        }
        Err(why) => {
            let mend = "write it, or enrol this gateway; an example is in /usr/share/doc/hangtag-agent/examples. \
                        Who may read it: root and hangtag-agent";
            chart.fault("configuration", why.to_string(), mend);
            clock::look(None, &mut chart);
        }
    }
    let text = if json { serde_json::to_string(&chart.0)? + "\n" } else { words(&chart) };
    match out().write_all(text.as_bytes()) {
        Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => return Err(why.into()),
        _ => {}
    }
    Ok(ExitCode::from(match chart.worst() {
        State::Ok => 0,
        State::Warning => 1,
        State::Fault => 2,
    }))
}

async fn look(path: &Path, config: &Config, chart: &mut Chart) {
    let mut found = check::Findings::default();
    check::password(config, &mut found);
    check::choices(config, &mut found);
    check::sensors(config, &mut found);
    let mend = format!("change {} and look again", path.display());
    if !chart.take("configuration", found, &mend) {
        chart.ok("configuration", format!("{} is good", path.display()));
    }
    port::look(config, chart);
    clock::look(Some(config), chart);
    disk::look(config, chart);
    spool::look(config, chart).await;
    broker::look(config, chart).await;
}

fn words(chart: &Chart) -> String {
    let mut text = String::new();
    for Finding { check, state, what, mend } in &chart.0 {
        let state = match state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Fault => "FAULT",
        };
        // Writing to text does not fail.
        let _ = writeln!(text, "{state:<8} {check:<14} {what}");
        if let Some(mend) = mend {
            let _ = writeln!(text, "{:<8} {:<14} → {mend}", "", "");
        }
    }
    let count = |state| chart.0.iter().filter(|finding| finding.state == state).count();
    let (faults, warnings) = (count(State::Fault), count(State::Warning));
    let _ = writeln!(text, "{} checks, {warnings} warnings, {faults} faults", chart.0.len());
    if geteuid().is_root() {
        text += "note: root may do everything. Whether the service's own user may: \
                 runuser -u hangtag-agent -- hangtag-agent doctor\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_all_counts_and_advice_stands_below_what_is_wrong() {
        let mut chart = Chart::default();
        assert_eq!(chart.worst(), State::Ok);
        chart.ok("clock", "it is right");
        chart.fault("disk", "it is full", "make room");
        chart.warning("port", "is not there", "plug it in");
        assert_eq!(chart.worst(), State::Fault);
        let text = words(&chart);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["FAULT", "disk", "it", "is", "full"]);
        assert!(lines[2].ends_with("→ make room"));
        assert!(text.contains("3 checks, 1 warnings, 1 faults"));
        let json = serde_json::to_string(&chart.0).unwrap();
        assert!(json.contains(r#"{"check":"disk","state":"fault","what":"it is full","do":"make room"}"#));
    }
}

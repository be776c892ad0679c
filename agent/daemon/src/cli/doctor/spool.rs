//! How the spool is. Enters: a running agent's answer, or the files of a stopped one's. Leaves: findings.

use super::Chart;
use crate::cli::spool::{duration, line};
use crate::config::Config;
use crate::onlooker::SpoolLine;

const CHECK: &str = "spool";
/// What waits for longer, in seconds, tells of a broker or a central that is away.
const OLD_S: u64 = 3_600;
/// A fuller spool soon loses events.
const FULL_PERCENT: u8 = 80;

pub(super) async fn look(config: &Config, chart: &mut Chart) {
    if !config.data.join("spool").exists() {
        return chart.ok(CHECK, "there is none yet: the agent makes it");
    }
    match line(config).await {
        Ok((line, running)) => judge(&line, running, chart),
        Err(why) => chart.warning(
            CHECK,
            format!("cannot be looked at: {why:#}"),
            "run it as root or as hangtag-agent; if the agent runs and does not answer: journalctl -u hangtag-agent",
        ),
    }
}

fn judge(line: &SpoolLine, running: bool, chart: &mut Chart) {
    let before = chart.0.len();
    if let Some(fault) = &line.fault {
        chart.fault(
            CHECK,
            format!("accepts nothing: {fault}"),
            "make room on the disk, or mend it; the agent goes on by itself",
        );
    }
    if let Some(damage) = &line.damage {
        chart.warning(
            CHECK,
            format!("is damaged: {damage}"),
            "start the agent: it rescues what can be read, and tells central what is lost",
        );
    }
    if let Some(percent) = line.percent.filter(|percent| *percent >= FULL_PERCENT) {
        chart.warning(
            CHECK,
            format!("is full to {percent} % of events that central has not"),
            "see why they do not leave (broker, below), or raise spool.cap_mib",
        );
    }
    if let Some(age) = line.oldest_s.filter(|age| *age >= OLD_S && line.waiting > 0) {
        chart.warning(
            CHECK,
            format!("{} events wait, the oldest for {}", line.waiting, duration(age)),
            "see whether the broker can be reached (below), and whether central runs and knows this gateway",
        );
    }
    if line.lost > 0 {
        chart.warning(
            CHECK,
            format!("{} events were lost, and central does not know it yet", line.lost),
            "nothing brings them back; central shows them as a gap. Look why: journalctl -u hangtag-agent",
        );
    }
    if !running {
        chart.warning(
            CHECK,
            "no agent runs",
            "systemctl enable --now hangtag-agent; then journalctl -u hangtag-agent",
        );
    }
    if chart.0.len() == before {
        chart.ok(CHECK, format!("the agent runs; {} events wait", line.waiting));
    }
}

#[cfg(test)]
mod tests {
    use hangtag_protocol::id::Epoch;

    use super::super::State;
    use super::*;

    fn line() -> SpoolLine {
        SpoolLine {
            epoch: Epoch(7),
            next: 100,
            waiting: 10,
            oldest_s: Some(60),
            held: 20,
            live_bytes: 1_000,
            disk_bytes: 4_000,
            percent: Some(1),
            kept_percent: None,
            lost: 0,
            fault: None,
            damage: None,
            earlier: Vec::new(),
        }
    }

    #[test]
    fn what_is_old_full_lost_or_stuck_is_told_each_with_advice() {
        type Change = fn(&mut SpoolLine);
        let cases: [(Change, State, &str); 6] = [
            (|_| {}, State::Ok, "10 events wait"),
            (|line| line.oldest_s = Some(7_300), State::Warning, "the oldest for 2 h 1 min"),
            (|line| line.percent = Some(80), State::Warning, "full to 80 %"),
            (|line| line.lost = 3, State::Warning, "3 events were lost"),
            (
                |line| line.fault = Some("the disk is full".into()),
                State::Fault,
                "accepts nothing: the disk is full",
            ),
            (|line| line.damage = Some("a page".into()), State::Warning, "is damaged: a page"),
        ];
        for (change, state, text) in cases {
            let (mut line, mut chart) = (line(), Chart::default());
            change(&mut line);
            judge(&line, true, &mut chart);
            let [finding] = chart.0.as_slice() else { panic!("{chart:?}") };
            assert!(finding.state == state && finding.what.contains(text), "{finding:?}");
            assert_eq!(finding.mend.is_some(), state != State::Ok);
        }
        let mut chart = Chart::default();
        judge(&line(), false, &mut chart);
        assert_eq!(chart.worst(), State::Warning);
    }
}

//! Whether the clock is right. Enters: the wall clock, what time services say of it. Leaves: findings. Events keep
//! their order whatever the clock shows; the times of day that merchandisers see hang on it, and so do certificates.

use std::path::Path;
use std::process::Command;

use super::Chart;
use crate::clock;
use crate::config::Config;

const CHECK: &str = "clock";

/// What the machine says of its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// Something keeps it right.
    Yes,
    /// Nothing does: the kernel says so.
    No,
    /// Nobody can be asked.
    Unknown,
}

pub(super) fn look(config: Option<&Config>, chart: &mut Chart) {
    let vouched = config.is_some_and(|config| config.clock_kept);
    judge(kept(), clock::is_plausible(), vouched, chart);
}

fn judge(kept: Kept, is_plausible: bool, vouched: bool, chart: &mut Chart) {
    let mend = "systemctl enable --now systemd-timesyncd (or chrony), let UDP port 123 out to a time server, and see \
                `timedatectl`; with something else that keeps the clock right: kept = true in [clock]";
    if !is_plausible {
        let what = "the clock was never set: it shows a time before this program was made";
        return chart.fault(CHECK, what, mend);
    }
    match (kept, vouched) {
        (Kept::Yes, _) => chart.ok(CHECK, "a time service has set the clock"),
        (Kept::No, true) => chart.warning(
            CHECK,
            "clock.kept = true, but the kernel says that nothing keeps the clock right",
            mend,
        ),
        (Kept::No, false) => {
            chart.warning(CHECK, "nothing keeps the clock right: times of day are shown with a remark", mend);
        }
        (Kept::Unknown, true) => chart.ok(CHECK, "clock.kept = true vouches for the clock"),
        (Kept::Unknown, false) => {
            chart.warning(CHECK, "nobody says whether anything keeps the clock right", mend);
        }
    }
}

/// systemd-timesyncd leaves a file; of chrony and others the kernel knows, whom timedated asks (adjtimex).
fn kept() -> Kept {
    if clock::is_synchronised() {
        return Kept::Yes;
    }
    // Without systemd it would only complain.
    if !Path::new("/run/systemd/system").exists() {
        return Kept::Unknown;
    }
    let asked = Command::new("timedatectl").args(["show", "--property=NTPSynchronized"]).output();
    asked.map_or(Kept::Unknown, |answer| said(&String::from_utf8_lossy(&answer.stdout)))
}

fn said(answer: &str) -> Kept {
    match answer.trim() {
        "NTPSynchronized=yes" => Kept::Yes,
        "NTPSynchronized=no" => Kept::No,
        _ => Kept::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn what_timedated_says_is_understood() {
        assert_eq!(said("NTPSynchronized=yes\n"), Kept::Yes);
        assert_eq!(said("NTPSynchronized=no\n"), Kept::No);
        assert_eq!(said(""), Kept::Unknown);
    }

    #[test]
    fn a_clock_that_was_never_set_is_a_fault_and_one_that_nobody_keeps_a_warning() {
        for (kept, plausible, vouched, wanted) in [
            (Kept::Yes, true, false, State::Ok),
            (Kept::Yes, false, true, State::Fault),
            (Kept::No, true, false, State::Warning),
            (Kept::No, true, true, State::Warning),
            (Kept::Unknown, true, true, State::Ok),
            (Kept::Unknown, true, false, State::Warning),
        ] {
            let mut chart = Chart::default();
            judge(kept, plausible, vouched, &mut chart);
            assert_eq!(chart.worst(), wanted, "{kept:?} {plausible} {vouched}");
            assert_eq!(chart.0.len(), 1);
        }
    }
}

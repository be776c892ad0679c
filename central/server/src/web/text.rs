//! Numbers and times for people.

use hangtag_central_core::measures::Share;
use hangtag_protocol::clock::UnixMillis;
use jiff::Timestamp;

/// `1,234,567`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `25 %`.
pub(crate) fn percent(value: f64) -> String {
    format!("{:.0} %", value * 100.0)
}

/// `95 % interval 18–33 %`.
pub(crate) fn interval(share: &Share) -> String {
    format!("95 % interval {:.0}–{:.0} %", share.low * 100.0, share.high * 100.0)
}

/// `1 min 12 s`.
pub(crate) fn seconds(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, s) => format!("{s} s"),
        (m, s) => format!("{m} min {s} s"),
    }
}

/// `3 h 05 min`.
pub(crate) fn minutes(ms: i64) -> String {
    match (ms / 3_600_000, ms / 60_000 % 60) {
        (0, m) => format!("{m} min"),
        (h, m) => format!("{h} h {m:02} min"),
    }
}

/// `12 s ago`; what lies in the future is `just now`.
pub(crate) fn ago(at: UnixMillis, now: Timestamp) -> String {
    let seconds = now.as_millisecond().saturating_sub(at.0) / 1_000;
    match seconds {
        ..2 => "just now".into(),
        2..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([5, 72].map(seconds), ["5 s", "1 min 12 s"]);
        assert_eq!([300_000, 11_100_000].map(minutes), ["5 min", "3 h 05 min"]);
        let now = Timestamp::from_second(1_000_000).unwrap();
        let before = |s: i64| ago(UnixMillis((1_000_000 - s) * 1_000), now);
        assert_eq!(
            [-9, 12, 300, 7_300, 400_000].map(before),
            ["just now", "12 s ago", "5 min ago", "2 h ago", "4 days ago"]
        );
    }
}

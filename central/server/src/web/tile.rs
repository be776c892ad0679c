//! The sums at the top of the page. Enters: a report and what it is compared with. Leaves: numbers and differences in
//! words.

use hangtag_central_core::compare::FEWEST;
use hangtag_central_core::measures::Share;

use crate::report::Report;

use super::lang::Lang;
use super::rows::{interval, of_whole};

/// A sum.
pub(crate) struct Tile {
    /// What it is.
    pub label: String,
    /// The number.
    pub value: String,
    /// How it differs from what it is compared with; `None` without a comparison.
    pub change: Option<Change>,
    /// Numerator, denominator and interval, or what else belongs to it.
    pub notes: Vec<String>,
}

/// A difference.
pub(crate) struct Change {
    /// In words, with its sign.
    pub text: String,
    /// Its class: `up`, `down` or `same`.
    pub class: &'static str,
}

pub(super) fn tiles(report: &Report, compared: Option<&Report>, lang: Lang) -> Vec<Tile> {
    let count = |label: String, of: fn(&Report) -> u64, notes: Vec<String>| {
        let change = compared.map(|before| change_of_count((report, before), of, lang));
        if !report.is_measured() {
            return Tile { label, value: "–".into(), change, notes: vec![lang.text("unmeasured")] };
        }
        Tile { label, value: lang.count(of(report)), change, notes }
    };
    let share = |label: String, none: String, of: fn(&Report) -> Option<Share>| {
        let value = of(report);
        let change = compared.and_then(|before| Some(change_of_share(&value?, &of(before)?, lang)));
        let none = if report.is_measured() { none } else { lang.text("unmeasured") };
        let notes =
            value.map_or_else(|| vec![none], |share| vec![of_whole(&share, lang), interval(&share, lang)]);
        let value = value.map_or("–".into(), |share| lang.percent(share.value));
        Tile { label, value, change, notes }
    };
    // Of some goods visits are not counted: see `tables`.
    let visits =
        report.is_all.then(|| lang.format("tile-tried-on-visits", &[("count", report.period.trying.into())]));
    let stay = |of: &Report, quantile| {
        let stay = of.period.dwell(quantile).filter(|_| of.is_all || of.period.visits >= FEWEST);
        stay.map(|ds| u64::from(ds) / 10)
    };
    let dwell = |of: &Report| stay(of, 0.5);
    let p90 = stay(report, 0.9).map(|seconds| lang.seconds(seconds));
    let none_picked = || lang.text("tile-none-picked");
    vec![
        count(lang.text("tile-tried-on"), |of| of.period.total.counts.tried_on, visits.into_iter().collect()),
        count(lang.text("tile-picked-up"), |of| of.period.total.counts.picked_up, Vec::new()),
        share(lang.text("tile-pick-to-try"), none_picked(), |of| of.period.tried_of_picked()),
        share(
            lang.text("tile-try-to-buy"),
            if report.has_tills { lang.text("tile-none-tried") } else { lang.text("no-tills") },
            |of| of.bought(of.period.total.bought_product()),
        ),
        share(lang.text("tile-put-back"), none_picked(), |of| of.period.total.put_back()),
        Tile {
            label: lang.text("tile-stay"),
            value: dwell(report).map_or("–".into(), |seconds| lang.seconds(seconds)),
            change: compared
                .and_then(|before| Some(change(dwell(report)?, dwell(before)?, &|n| lang.seconds(n), lang))),
            notes: p90.map(|p90| lang.format("tile-stay-p90", &[("time", p90.into())])).into_iter().collect(),
        },
    ]
}

/// How a count differs from the one before. Where of one of the stretches much more is unknown than of the other, the
/// difference would tell of readers and not of shoppers.
fn change_of_count((report, before): (&Report, &Report), of: fn(&Report) -> u64, lang: Lang) -> Change {
    let same = |text| Change { text, class: "same" };
    let (now, then) = (report.extent(), before.extent());
    if !before.is_measured() {
        return same(lang.text("change-unmeasured"));
    }
    let words = lang.count(of(before));
    if !report.is_measured() {
        return same(lang.format("change-from", &[("before", words.into())]));
    }
    if !now.is_like(&then) {
        let args = [("before", words.into()), ("then", then.known.into()), ("now", now.known.into())];
        return same(lang.format("change-partly", &args));
    }
    change(of(report), of(before), &|n| lang.count(n), lang)
}

/// How a number differs from the one before, which is written by `words`.
fn change(value: u64, before: u64, words: &dyn Fn(u64) -> String, lang: Lang) -> Change {
    let before_text = words(before);
    if before == 0 {
        return Change { text: lang.format("change-from", &[("before", before_text.into())]), class: "same" };
    }
    let part = value as f64 / before as f64 - 1.0;
    // What rounds to nothing is no change.
    let (class, key) = if part.abs() < 0.005 {
        ("same", "change-same")
    } else if part > 0.0 {
        ("up", "change-up")
    } else {
        ("down", "change-down")
    };
    // A share above 100 % is a rise of more than that.
    let percent = ((part.abs() * 100.0).round() as u64).max(1);
    Change { text: lang.format(key, &[("percent", percent.into()), ("before", before_text.into())]), class }
}

/// Two shares differ when the interval of their difference does not hold 0 (Newcombe 1998, method 10).
fn change_of_share(share: &Share, before: &Share, lang: Lang) -> Change {
    let points = (share.value - before.value) * 100.0;
    let square = |a: f64| a * a;
    let low = share.value
        - before.value
        - (square(share.value - share.low) + square(before.high - before.value)).sqrt();
    let high = share.value - before.value
        + (square(share.high - share.value) + square(before.value - before.low)).sqrt();
    let (class, key) = if low > 0.0 {
        ("up", "change-share-up")
    } else if high < 0.0 {
        ("down", "change-share-down")
    } else {
        ("same", "change-share-same")
    };
    let args = [("points", format!("{points:+.1}").into()), ("before", lang.percent(before.value).into())];
    Change { text: lang.format(key, &args), class }
}

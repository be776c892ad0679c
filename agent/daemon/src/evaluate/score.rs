//! What an evaluation says. Enters: cases, judged. Leaves: for each task and rule how often it was right, as
//! a table for people or as JSON.

use std::fmt;

use serde::Serialize;

/// What a file's cases are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Split {
    /// The rules' numbers were chosen by looking at it.
    Tuning,
    /// It was not looked at when numbers were chosen, and is what figures are quoted from.
    Reporting,
}

/// How judgements compare with labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    /// Judged so, and rightly.
    pub(super) hits: u64,
    /// Judged so, and wrongly.
    pub(super) false_alarms: u64,
    /// Not judged so, and wrongly.
    pub(super) misses: u64,
    /// Not judged so, and rightly.
    pub(super) rejections: u64,
}

impl Counts {
    pub(super) fn add(&mut self, judged: bool, label: bool) {
        *match (judged, label) {
            (true, true) => &mut self.hits,
            (true, false) => &mut self.false_alarms,
            (false, true) => &mut self.misses,
            (false, false) => &mut self.rejections,
        } += 1;
    }

    fn join(self, other: Self) -> Self {
        Self {
            hits: self.hits + other.hits,
            false_alarms: self.false_alarms + other.false_alarms,
            misses: self.misses + other.misses,
            rejections: self.rejections + other.rejections,
        }
    }

    pub(super) fn cases(self) -> u64 {
        self.hits + self.false_alarms + self.misses + self.rejections
    }

    /// The share of what was judged so that is so; absent if nothing was.
    fn precision(self) -> Option<f64> {
        share(self.hits, self.hits + self.false_alarms)
    }

    /// The share of what is so that was judged so; absent if nothing is.
    fn recall(self) -> Option<f64> {
        share(self.hits, self.hits + self.misses)
    }

    /// The harmonic mean of both; absent if nothing is so.
    pub(super) fn f1(self) -> Option<f64> {
        self.recall()?;
        share(2 * self.hits, 2 * self.hits + self.false_alarms + self.misses)
    }

    /// The share of what is not so that was judged so.
    fn false_alarm_rate(self) -> Option<f64> {
        share(self.false_alarms, self.false_alarms + self.rejections)
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Cases that belong together, as all of one person or place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) split: Split,
    #[serde(flatten)]
    pub(super) counts: Counts,
}

/// How one rule did at a task.
#[derive(Clone, Debug, Default)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) groups: Vec<Group>,
}

impl Rule {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), groups: Vec::new() }
    }

    /// Counts one case.
    pub(super) fn add(&mut self, group: &str, split: Split, judged: bool, label: bool) {
        let at = self.groups.iter().position(|known| known.name == group && known.split == split);
        let at = at.unwrap_or_else(|| {
            self.groups.push(Group { name: group.to_owned(), split, counts: Counts::default() });
            self.groups.len() - 1
        });
        self.groups[at].counts.add(judged, label);
    }

    /// The cases of one split together.
    pub(super) fn counts(&self, split: Split) -> Counts {
        self.of(split).fold(Counts::default(), |sum, group| sum.join(group.counts))
    }

    /// The lowest and the highest F1 when one group is left out; absent with fewer than two groups.
    fn spread(&self, split: Split) -> Option<(f64, f64)> {
        let groups: Vec<&Group> = self.of(split).collect();
        let without = |left_out: usize| {
            let others = groups.iter().enumerate().filter(|(at, _)| *at != left_out);
            others.fold(Counts::default(), |sum, (_, group)| sum.join(group.counts)).f1()
        };
        let f1s: Vec<f64> = (0..groups.len()).filter_map(without).collect();
        let least = f1s.iter().copied().min_by(f64::total_cmp)?;
        let most = f1s.iter().copied().max_by(f64::total_cmp)?;
        (groups.len() > 1).then_some((least, most))
    }

    fn of(&self, split: Split) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(move |group| group.split == split)
    }
}

/// One question that recordings answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Task {
    /// Its short name.
    pub(super) name: String,
    /// What a case is, which files chose the numbers, and what the recordings cannot say.
    pub(super) about: String,
    /// The agent's own rule first, then plain ones to hold it against.
    pub(super) rules: Vec<Rule>,
}

#[derive(Serialize)]
struct Line<'a> {
    task: &'a str,
    rule: &'a str,
    files: Split,
    cases: u64,
    #[serde(flatten)]
    counts: Counts,
    precision: Option<f64>,
    recall: Option<f64>,
    f1: Option<f64>,
    false_alarm_rate: Option<f64>,
    f1_leaving_one_group_out: Option<(f64, f64)>,
    groups: Vec<&'a Group>,
}

impl Task {
    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let of_rule = |rule: &'_ Rule, split| (rule.counts(split).cases() > 0).then_some(split);
        let splits = [Split::Tuning, Split::Reporting];
        self.rules.iter().flat_map(move |rule| {
            splits.into_iter().filter_map(move |split| of_rule(rule, split)).map(move |split| {
                let counts = rule.counts(split);
                Line {
                    task: &self.name,
                    rule: &rule.name,
                    files: split,
                    cases: counts.cases(),
                    counts,
                    precision: counts.precision(),
                    recall: counts.recall(),
                    f1: counts.f1(),
                    false_alarm_rate: counts.false_alarm_rate(),
                    f1_leaving_one_group_out: rule.spread(split),
                    groups: rule.of(split).collect(),
                }
            })
        })
    }

    /// For scripts: one object per rule and split.
    pub(super) fn json(&self) -> impl Iterator<Item = serde_json::Result<serde_json::Value>> {
        self.lines().map(|line| {
            let mut value = serde_json::to_value(line)?;
            value["about"] = self.about.as_str().into();
            Ok(value)
        })
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n  {}", self.name, self.about)?;
        writeln!(
            f,
            "  {:<26} {:<9} {:>6} {:>6} {:>6} {:>6} {:>9} {:>6} {:>6} {:>8}  F1, one group left out",
            "rule", "files", "cases", "right", "wrong", "missed", "precision", "recall", "F1", "false/no"
        )?;
        for line in self.lines() {
            let of = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.3}"));
            let spread = line.f1_leaving_one_group_out;
            let spread = spread.map_or("-".into(), |(least, most)| format!("{least:.3} to {most:.3}"));
            writeln!(
                f,
                "  {:<26} {:<9} {:>6} {:>6} {:>6} {:>6} {:>9} {:>6} {:>6} {:>8}  {spread}",
                line.rule,
                if line.files == Split::Tuning { "tuning" } else { "reporting" },
                line.cases,
                line.counts.hits,
                line.counts.false_alarms,
                line.counts.misses,
                of(line.precision),
                of(line.recall),
                of(line.f1),
                of(line.false_alarm_rate),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_one_split_and_spread_over_groups() {
        let mut rule = Rule::new("r");
        for (group, split, judged, label, times) in [
            ("a", Split::Reporting, true, true, 8),
            ("a", Split::Reporting, false, true, 2),
            ("b", Split::Reporting, true, true, 10),
            ("b", Split::Reporting, true, false, 5),
            ("b", Split::Reporting, false, false, 15),
            ("c", Split::Tuning, true, false, 99),
        ] {
            (0..times).for_each(|_| rule.add(group, split, judged, label));
        }
        let counts = rule.counts(Split::Reporting);
        assert_eq!(counts, Counts { hits: 18, false_alarms: 5, misses: 2, rejections: 15 });
        assert_eq!((counts.precision(), counts.recall()), (Some(18.0 / 23.0), Some(0.9)));
        assert_eq!(counts.f1(), Some(36.0 / 43.0));
        assert_eq!(counts.false_alarm_rate(), Some(0.25));
        assert_eq!(rule.spread(Split::Reporting), Some((20.0 / 25.0, 16.0 / 18.0)));
        assert_eq!(rule.counts(Split::Tuning).f1(), None, "nothing of it is so");
        let task = Task { name: "t".into(), about: "x".into(), rules: vec![rule] };
        assert_eq!(task.to_string().lines().count(), 5);
        let json: Vec<serde_json::Value> = task.json().map(Result::unwrap).collect();
        assert_eq!((json[0]["files"].as_str(), json[1]["hits"].as_u64()), (Some("tuning"), Some(18)));
    }
}

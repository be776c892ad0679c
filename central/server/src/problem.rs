//! What is wrong in a file that a person wrote. Every file is read to its end, so that all of its
//! problems are told at once; each one names its file and its line or key.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, the key or both; empty for the file as a whole.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

impl Problem {
    /// Names a problem.
    pub(crate) fn new(file: &Path, place: impl Into<String>, what: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), place: place.into(), what: what.to_string() }
    }

    /// A file that is not TOML, or not the TOML that was expected.
    pub(crate) fn toml(file: &Path, text: &str, error: &toml::de::Error) -> Self {
        let line = error.span().map(|span| line_at(text, span.start));
        Self::new(file, line.map_or_else(String::new, |n| format!("line {n}")), error.message())
    }

    /// A value of a TOML file, found by the names and positions that lead to it and named as people know it.
    pub(crate) fn value(
        file: &Path,
        text: &str,
        path: &[&str],
        name: impl fmt::Display,
        what: impl fmt::Display,
    ) -> Self {
        let place =
            line_of(text, path).map_or_else(|| name.to_string(), |line| format!("line {line}: {name}"));
        Self::new(file, place, what)
    }
}

/// All of them, a line for each.
pub(crate) fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// The line on which a value begins, from 1. None when the file does not have it.
fn line_of(text: &str, path: &[&str]) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let (first, rest) = path.split_first()?;
    let mut value = root.get_ref().get(*first)?;
    for step in rest {
        value = match value.get_ref() {
            DeValue::Array(values) => values.get(step.parse::<usize>().ok()?)?,
            other => other.get(*step)?,
        };
    }
    Some(line_at(text, value.span().start))
}

fn line_at(text: &str, byte: usize) -> usize {
    text.as_bytes().iter().take(byte).filter(|byte| **byte == b'\n').count() + 1
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.what)
    }
}

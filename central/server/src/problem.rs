//! What is wrong in a file that a person wrote. Every file is read to its end, so that all of its
//! problems are told at once; each one names its file and its line or key.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line or the key; empty for the file as a whole.
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
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        Self::new(file, line.map_or_else(String::new, |n| format!("line {n}")), error.message())
    }
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

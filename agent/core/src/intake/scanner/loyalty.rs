//! Loyalty codes, and the patterns that describe them. A code shows itself to nobody: it can only be
//! sealed ([`seal`](crate::seal)), and leaves no trace in memory.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;
use zeroize::Zeroizing;

/// A loyalty code as it was scanned. It has no text form, its debug form tells only how long it is, and it
/// cannot be copied: whoever holds it seals it or drops it.
#[derive(PartialEq, Eq)]
pub struct LoyaltyCode(Zeroizing<Vec<u8>>);

impl LoyaltyCode {
    pub(crate) fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Hands the code to `seal`, which must give back nothing that it could be read from.
    pub fn seal<T>(self, seal: impl FnOnce(&[u8]) -> T) -> T {
        seal(&self.0)
    }
}

impl fmt::Debug for LoyaltyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoyaltyCode({} characters)", self.0.len())
    }
}

/// What a shop's loyalty codes look like: characters that stand for themselves, `#` for a digit, `?` for a
/// letter or digit, and at the end `*` for any rest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct LoyaltyPattern(String);

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Empty, or longer than any line.
    #[error("a loyalty pattern has 1 to 128 characters")]
    Length,
    /// A character that no scanner sends.
    #[error("{0:?} cannot stand in a loyalty pattern: only printable ASCII characters can")]
    Character(char),
    /// `*` somewhere else than at the end.
    #[error("* can stand at the end of a loyalty pattern only")]
    Star,
    /// It describes everything of some length, products among it.
    #[error("a loyalty pattern needs a character that stands for itself, or it describes products too")]
    Everything,
}

const LONGEST: usize = 128;

impl LoyaltyPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is none, or describes too much.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if !(1..=LONGEST).contains(&text.len()) {
            return Err(PatternError::Length);
        }
        if let Some(strange) = text.chars().find(|c| !matches!(c, ' '..='~')) {
            return Err(PatternError::Character(strange));
        }
        let body = text.strip_suffix('*').unwrap_or(text);
        if body.contains('*') {
            return Err(PatternError::Star);
        }
        if body.chars().all(|c| c == '#' || c == '?') {
            return Err(PatternError::Everything);
        }
        Ok(Self(text.into()))
    }

    /// Whether a code looks like this.
    pub(super) fn describes(&self, code: &str) -> bool {
        let (pattern, any_rest) = match self.0.strip_suffix('*') {
            Some(pattern) => (pattern, true),
            None => (self.0.as_str(), false),
        };
        let long_enough = code.len() == pattern.len() || any_rest && code.len() > pattern.len();
        long_enough
            && pattern.bytes().zip(code.bytes()).all(|(pattern, byte)| match pattern {
                b'#' => byte.is_ascii_digit(),
                b'?' => byte.is_ascii_alphanumeric(),
                itself => byte == itself,
            })
    }
}

impl TryFrom<String> for LoyaltyPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        Self::new(&text)
    }
}

impl fmt::Display for LoyaltyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

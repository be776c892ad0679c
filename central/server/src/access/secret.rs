//! Random texts that let somebody in. Enters: nothing, or what somebody sends. Leaves: 256 random bits as text, once; and
//! the digest by which they are known again. The text itself is kept nowhere.

use std::fmt;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// What every token begins with, so that one that was left somewhere is recognised by people and by scanners.
pub(crate) const TOKEN_PREFIX: &str = "httok-";

/// A text that lets whoever has it in. It is wiped from memory, and not shown by `Debug`.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    /// Another one every time.
    pub(crate) fn random() -> Self {
        Self(Zeroizing::new(hex::encode(rand::random::<[u8; 32]>())))
    }

    /// What somebody sent for one.
    pub(crate) fn told(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// The text, for whom it is meant.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it. It has 256 random bits, so that nothing slower is needed.
    pub(crate) fn digest(&self) -> String {
        of("", &self.0)
    }

    /// What a form must bring along, so that nobody else's page can send it in the name of whoever has this.
    pub(crate) fn of_forms(&self) -> String {
        of("form", &self.0)
    }

    /// Whether a form brought that along. How long it takes tells nothing of it: what is compared are digests.
    pub(crate) fn fits(&self, form: &str) -> bool {
        of("compare", &self.of_forms()) == of("compare", form)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// SHA-256 of a text for one purpose, as 64 hexadecimal digits.
fn of(purpose: &str, text: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(purpose);
    hasher.update([0]);
    hasher.update(text);
    hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_are_known_again() {
        let (one, other) = (Secret::random(), Secret::random());
        assert_eq!(one.reveal().len(), 64);
        assert_ne!(one.reveal(), other.reveal());
        assert_eq!(Secret::told(one.reveal()).digest(), one.digest());
        assert_ne!(one.digest(), other.digest());
        assert!(!format!("{one:?}").contains(one.reveal()));
    }

    #[test]
    fn a_form_fits_the_secret_that_it_was_made_for() {
        let (one, other) = (Secret::random(), Secret::random());
        assert!(one.fits(&one.of_forms()));
        assert!(!one.fits(&other.of_forms()) && !one.fits("") && !one.fits(one.reveal()));
        assert!(!one.fits(&one.digest()), "what the database has is of no use");
    }
}

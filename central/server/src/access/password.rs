//! Passwords. Enters: what somebody typed. Leaves: an argon2id hash in PHC's form, or whether it is the one that a hash
//! was made of. Takes some 30 ms and 19 MiB: callers do it on threads that may block, few at a time.

use std::sync::LazyLock;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

/// The fewest characters of a password.
const SHORTEST: usize = 12;
/// The most bytes: more only cost time.
pub(crate) const LONGEST: usize = 1_024;

/// OWASP's parameters for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Why a text is no password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// It can be guessed.
    #[error("a password has at least {SHORTEST} characters: take some words")]
    Short,
    /// It is no password.
    #[error("a password has at most {LONGEST} bytes")]
    Long,
    /// Everybody would try it first.
    #[error("a password is not the name, and not one character again and again")]
    Plain,
}

/// Whether a text may be somebody's password.
///
/// # Errors
/// When it may not.
pub(crate) fn check(name: &str, password: &str) -> Result<(), Unfit> {
    let small = password.to_lowercase();
    let first = small.chars().next();
    if small.chars().count() < SHORTEST {
        Err(Unfit::Short)
    } else if password.len() > LONGEST {
        Err(Unfit::Long)
    } else if small == name.to_lowercase() || small.chars().all(|c| Some(c) == first) {
        Err(Unfit::Plain)
    } else {
        Ok(())
    }
}

/// What is kept of a password.
pub(crate) fn hash(password: &str) -> String {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).expect("16 bytes are a salt");
    let hash = argon2().hash_password(password.as_bytes(), &salt);
    hash.expect("the parameters are good, and so is a salt of 16 bytes").to_string()
}

/// Whether a password is the one of a hash. Without a hash it is not, and that takes as long: nobody learns by the clock
/// whether there is such a user.
pub(crate) fn verify(password: &str, hash: Option<&str>) -> bool {
    static NOBODY: LazyLock<String> = LazyLock::new(|| self::hash(&hex::encode(rand::random::<[u8; 32]>())));
    let is_right = |hash: &str| {
        let parsed = PasswordHash::new(hash);
        parsed.is_ok_and(|parsed| argon2().verify_password(password.as_bytes(), &parsed).is_ok())
    };
    match hash {
        Some(hash) => is_right(hash),
        None => {
            is_right(&NOBODY);
            false
        }
    }
}

fn argon2() -> Argon2<'static> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash_alone() {
        let kept = hash("a rail of dresses");
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_ne!(kept, hash("a rail of dresses"), "each has a salt of its own");
        assert!(verify("a rail of dresses", Some(&kept)));
        assert!(!verify("a rail of dressex", Some(&kept)));
        assert!(!verify("a rail of dresses", None));
        assert!(!verify("", Some("no hash at all")));
    }

    #[test]
    fn what_everybody_would_guess_is_refused() {
        assert_eq!(check("ana", "short words"), Err(Unfit::Short));
        assert_eq!(check("ana", &"x".repeat(1_025)), Err(Unfit::Long));
        assert_eq!(check("administrator", "Administrator"), Err(Unfit::Plain));
        assert_eq!(check("ana", "aaaaaaaaaaaaaa"), Err(Unfit::Plain));
        assert_eq!(check("ana", "试衣间里有一面很大的镜子"), Ok(()), "characters, not bytes");
    }
}

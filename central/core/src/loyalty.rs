//! Opens scanned loyalty codes. Enters: sealed codes, and what central alone knows: its private keys and its secret.
//! Leaves: for each code a number that stands for it. The code itself is seen nowhere else and kept nowhere.
//!
//! The number is HMAC-SHA-256 (RFC 2104) of the code, keyed with the secret: the same code gives the same number
//! whatever key it was sealed to, and nobody without the secret can try out codes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use crypto_box::SecretKey;
use hangtag_protocol::key::{KEY_BYTES, KeyId, PublicKey};
use hangtag_protocol::scan::{MAX_CODE, Sealed};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What no code is: it begins with a byte that no scanner sends.
const MARK: &[u8] = b"\0hangtag loyalty secret";

/// What opens loyalty codes. It shows nothing of itself.
#[derive(Default)]
pub struct Keys {
    keys: BTreeMap<KeyId, SecretKey>,
    secret: Option<Zeroizing<[u8; KEY_BYTES]>>,
}

/// What stands for a loyalty code. Shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CodeHash([u8; 32]);

/// What came of a sealed code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It was opened.
    Code(CodeHash),
    /// The key to which it is sealed is not here.
    NoKey,
    /// Its key does not open it, or what was in it is no code: it was changed or never was one.
    Broken,
}

impl Keys {
    /// Begins with the secret, and no keys.
    #[must_use]
    pub fn new(secret: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self { keys: BTreeMap::new(), secret: Some(secret) }
    }

    /// Adds a private key; returns its public half.
    pub fn add(&mut self, key: &[u8; KEY_BYTES]) -> PublicKey {
        let key = SecretKey::from_bytes(*key);
        let public = PublicKey::new(*key.public_key().as_bytes());
        self.keys.insert(public.id(), key);
        public
    }

    /// The keys that are here.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys.keys().copied()
    }

    /// What tells one secret from another, and nothing else of it.
    #[must_use]
    pub fn mark(&self) -> Option<CodeHash> {
        Some(hash(self.secret.as_deref()?, MARK))
    }

    /// Opens a sealed code.
    #[must_use]
    pub fn open(&self, sealed: &Sealed) -> Opened {
        let (Some(key), Some(secret)) = (self.keys.get(&sealed.key()), self.secret.as_deref()) else {
            return Opened::NoKey;
        };
        let Ok(filled) = key.unseal(sealed.as_bytes()).map(Zeroizing::<Vec<u8>>::new) else {
            return Opened::Broken;
        };
        let length = filled.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        match &filled[..length] {
            code if code.is_empty() || code.len() > MAX_CODE || code.contains(&0) => Opened::Broken,
            code => Opened::Code(hash(secret, code)),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({:?})", self.keys.keys())
    }
}

impl fmt::Display for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn hash(secret: &[u8; KEY_BYTES], message: &[u8]) -> CodeHash {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length will do");
    mac.update(message);
    CodeHash(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;
    use alloc::{format, vec};
    use hangtag_protocol::scan::SEAL_BYTES;

    const PUBLIC: &str = "57db4b359f23ae5e146e4e2512056704722506348c150c14753d0c933d04d421";
    /// What libsodium 1.0.18's `crypto_box_seal` made of "LC-4711-ab" and 22 zero bytes.
    const BOX: &str = "89d87edeacbf870674a93e3a1b2396bc3da546eaefa39b4ab6b8dde8ec0bdc12\
                       a01a567fce70b742cfd0c20ae2914af2658a55d3dc99cc5dfce7022dd5894fa2\
                       34995b97b9aed98f353275df8865aaf6";
    /// What Python's `hmac` makes of "LC-4711-ab" with the secret of 32 fives.
    const HASH: &str = "20f99e0f4c36058b2badbba92d9a00df9f170656ceab79489ad6dabfb53a4669";

    fn bytes(hex: &str) -> Vec<u8> {
        hex::decode(hex).unwrap()
    }

    fn keys(keys: &[u8]) -> Keys {
        let mut all = Keys::new(Zeroizing::new([5; 32]));
        for key in keys {
            all.add(&[*key; 32]);
        }
        all
    }

    fn sealed(bytes: Vec<u8>) -> Sealed {
        let id = PublicKey::new(self::bytes(PUBLIC).try_into().unwrap()).id();
        Sealed::new(id, bytes).unwrap()
    }

    #[test]
    fn what_libsodium_sealed_is_opened_to_what_others_hash() {
        let Opened::Code(hash) = keys(&[8, 9]).open(&sealed(bytes(BOX))) else { panic!() };
        assert_eq!(hash.to_string(), HASH);
        assert_eq!(keys(&[9]).ids().collect::<Vec<_>>(), [sealed(bytes(BOX)).key()]);
    }

    #[test]
    fn a_key_that_is_missing_and_a_box_that_is_broken_are_told_apart() {
        assert_eq!(keys(&[8]).open(&sealed(bytes(BOX))), Opened::NoKey);
        assert_eq!(Keys::default().open(&sealed(bytes(BOX))), Opened::NoKey);
        for at in [0, 31, 32, 47, 79] {
            let mut changed = bytes(BOX);
            changed[at] ^= 1;
            assert_eq!(keys(&[9]).open(&sealed(changed)), Opened::Broken, "{at}");
        }
        assert_eq!(keys(&[9]).open(&sealed(vec![0; SEAL_BYTES])), Opened::Broken);
    }

    #[test]
    fn nothing_of_a_secret_is_shown() {
        let (one, other) = (keys(&[9]), Keys::new(Zeroizing::new([6; 32])));
        assert_ne!(one.mark(), other.mark());
        assert_eq!(Keys::default().mark(), None);
        assert_eq!(format!("{one:?}"), "Keys([57db4b359f23ae5e])");
    }
}

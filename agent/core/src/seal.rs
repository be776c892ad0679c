//! Seals loyalty codes. Enters: a code, central's public key, and random bytes from the daemon. Leaves: a sealed
//! box that only central opens. Nobody here can: the key that each box is made with is forgotten at once.

use crypto_box::aead::rand_core::CryptoRngCore;
use hangtag_protocol::key::PublicKey;
use hangtag_protocol::scan::{BLOCK, MAX_CODE, Sealed};
use zeroize::Zeroizing;

use crate::intake::LoyaltyCode;

/// Why a code was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scanned code could not be sealed")]
pub struct SealError;

/// Seals a code to a key. `random` must be unpredictable: it makes the key of this one box.
///
/// # Errors
/// Never for codes that intake makes, which are short; the cipher has a limit.
pub fn seal(
    code: LoyaltyCode,
    key: &PublicKey,
    random: &mut impl CryptoRngCore,
) -> Result<Sealed, SealError> {
    code.seal(|code| {
        let mut filled = Zeroizing::new([0; MAX_CODE]);
        let length = code.len().next_multiple_of(BLOCK);
        filled.get_mut(..code.len()).ok_or(SealError)?.copy_from_slice(code);
        let central = crypto_box::PublicKey::from_bytes(*key.as_bytes());
        let sealed = central.seal(random, &filled[..length]).map_err(|_| SealError)?;
        Sealed::new(key.id(), sealed).map_err(|_| SealError)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto_box::SecretKey;
    use crypto_box::aead::rand_core::{CryptoRng, RngCore};
    use hangtag_protocol::scan::{MAX_SEALED, SEAL_BYTES};

    /// Counts up: enough to see what is made of it.
    struct Counting(u8);

    impl CryptoRng for Counting {}

    impl RngCore for Counting {
        fn next_u32(&mut self) -> u32 {
            let mut bytes = [0; 4];
            self.fill_bytes(&mut bytes);
            u32::from_le_bytes(bytes)
        }
        fn next_u64(&mut self) -> u64 {
            u64::from(self.next_u32())
        }
        fn fill_bytes(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                self.0 = self.0.wrapping_add(1);
                *byte = self.0;
            }
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), crypto_box::aead::rand_core::Error> {
            self.fill_bytes(bytes);
            Ok(())
        }
    }

    #[test]
    fn only_the_private_key_opens_what_is_sealed_and_its_length_tells_little() {
        let secret = SecretKey::from_bytes([9; 32]);
        let key = PublicKey::new(*secret.public_key().as_bytes());
        let mut random = Counting(0);
        for (length, blocks) in [(1, 1), (32, 1), (33, 2), (MAX_CODE, 4)] {
            let text = "L".repeat(length);
            let sealed = seal(LoyaltyCode::new(&text), &key, &mut random).unwrap();
            assert_eq!((sealed.key(), sealed.as_bytes().len()), (key.id(), SEAL_BYTES + blocks * BLOCK));
            assert!(!sealed.as_bytes().windows(4).any(|window| window == b"LLLL"));
            let opened = secret.unseal(sealed.as_bytes()).unwrap();
            assert_eq!(
                (&opened[..length], &opened[length..]),
                (text.as_bytes(), &[0; 128][..opened.len() - length])
            );
            assert!(SecretKey::from_bytes([8; 32]).unseal(sealed.as_bytes()).is_err());
        }
        assert_eq!(SEAL_BYTES + MAX_CODE, MAX_SEALED);
        let again = |random: &mut Counting| seal(LoyaltyCode::new("LC-1"), &key, random).unwrap();
        assert_ne!(again(&mut random), again(&mut random), "nobody sees that a code came twice");
    }
}

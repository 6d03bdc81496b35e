//! Secret bytes, and BLAKE2s with and without a key. Must not know what a secret is for. Every secret of the crate is a [`Secret`], so every one is wiped when it is dropped and none prints.

use std::fmt;

use blake2::{
    Blake2s256, Blake2sMac, Digest,
    digest::{KeyInit, Mac, consts::U16},
};
use rand_core::TryCryptoRng;
#[cfg(test)]
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The source of randomness failed. There is no fallback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntropyError;

impl fmt::Display for EntropyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source of randomness failed")
    }
}

impl std::error::Error for EntropyError {}

/// Bytes that nobody else may see: not copied, not compared except in constant time, not printed, wiped on drop.
pub(crate) struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// Takes the bytes over and wipes the place they came from.
    pub(crate) fn take(bytes: &mut [u8; N]) -> Self {
        let secret = Self(*bytes);
        bytes.zeroize();
        secret
    }

    pub(crate) const fn zeroed() -> Self {
        Self([0; N])
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }

    pub(crate) const fn as_mut_bytes(&mut self) -> &mut [u8; N] {
        &mut self.0
    }

    /// Whether both hold the same bytes, in a time that does not tell where they differ.
    #[cfg(test)]
    pub(crate) fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// A second copy, for the transactional handshake only.
    pub(super) const fn duplicate(&self) -> Self {
        Self(self.0)
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0 = [0; N];
        // Byte by byte, as `zeroize` would, a handshake's secrets take a good part of what making them takes.
        zeroize::optimization_barrier(&self.0);
    }
}

impl<const N: usize> ZeroizeOnDrop for Secret<N> {}

/// `N` random bytes.
pub(crate) fn random<const N: usize, R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<[u8; N], EntropyError> {
    let mut bytes = [0; N];
    rng.try_fill_bytes(&mut bytes).map_err(|_| EntropyError)?;
    Ok(bytes)
}

/// `N` random bytes that are secret.
pub(crate) fn random_secret<const N: usize, R: TryCryptoRng + ?Sized>(
    rng: &mut R,
) -> Result<Secret<N>, EntropyError> {
    let mut secret = Secret::zeroed();
    rng.try_fill_bytes(secret.as_mut_bytes()).map_err(|_| EntropyError)?;
    Ok(secret)
}

/// BLAKE2s-256 of the parts, one after another.
pub(crate) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Blake2s256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Keyed BLAKE2s with 16 bytes of output (RFC 7693) of the parts, one after another.
pub(crate) fn keyed_hash(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = Blake2sMac::<U16>::new(key.into());
    for part in parts {
        Mac::update(&mut mac, part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::{BrokenRng, FixedRng, unhex};

    #[test]
    fn the_hash_has_its_published_value() {
        // RFC 7693, appendix B.
        let abc = "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982";
        assert_eq!(hash(&[b"a", b"", b"bc"]).as_slice(), unhex(abc));
    }

    #[test]
    fn a_keyed_hash_is_blake2s_with_its_key_and_length_as_parameters() {
        // Python, `hashlib.blake2s(b"abc", key=bytes(range(32)), digest_size=16)`.
        let mut key = [0; 32];
        key.iter_mut().zip(0..).for_each(|(byte, at)| *byte = at);
        assert_eq!(keyed_hash(&key, &[b"a", b"bc"]).as_slice(), unhex("61ba5f165c194692e09d12520cc4c74a"));
    }

    #[test]
    fn a_failing_source_of_randomness_is_an_error() {
        assert_eq!(random::<8, _>(&mut BrokenRng), Err(EntropyError));
        assert!(random_secret::<32, _>(&mut BrokenRng).is_err());
        assert_eq!(random::<3, _>(&mut FixedRng::new(&[1, 2, 3])), Ok([1, 2, 3]));
    }

    #[test]
    fn taking_bytes_wipes_their_first_place() {
        let mut bytes = [7; 32];
        let secret = Secret::take(&mut bytes);
        assert_eq!(bytes, [0; 32]);
        assert_eq!(secret.as_bytes(), &[7; 32]);
        assert!(secret.ct_eq(&secret.duplicate()));
        assert!(!secret.ct_eq(&Secret::zeroed()));
    }
}

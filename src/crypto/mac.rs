//! HMAC-BLAKE2s-256 (RFC 2104): at once, and under a key that was taken in before. Must not know what it makes keys for.
//!
//! A key costs HMAC two blocks of the hash before anything is said under it. Most keys here give several others, so they
//! are taken in once for all of those: a block for each pad, and then two for each short output.

use blake2::{
    Blake2s256, Blake2sVarCore, Digest,
    digest::block_api::{Block, Buffer, UpdateCore, VariableOutputCore},
};
use zeroize::ZeroizeOnDrop;

use super::Secret;

/// Length of a hash, in bytes.
const HASH_LEN: usize = 32;
const INNER: u8 = 0x36;
const OUTER: u8 = 0x5c;

/// A key as HMAC takes it in: a whole block, zeros behind the key, under a pad. Wiped on drop.
struct Padded(Block<Blake2sVarCore>);

impl Padded {
    fn new(key: &[u8; 32], pad: u8) -> Self {
        let mut this = Self(Block::<Blake2sVarCore>::default());
        this.0.fill(pad);
        this.0.iter_mut().zip(key).for_each(|(to, from)| *to ^= *from);
        this
    }
}

impl Drop for Padded {
    fn drop(&mut self) {
        self.0.fill(0);
        zeroize::optimization_barrier(&self.0);
    }
}

impl ZeroizeOnDrop for Padded {}

/// HMAC of the parts, one after another. Every key of the protocol has 32 bytes.
pub(crate) fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> Secret<32> {
    #[cfg(test)]
    counter::note();
    let hashed = |pad: u8, parts: &[&[u8]]| {
        let mut hasher = Blake2s256::new_with_prefix(Padded::new(key, pad).0.as_slice());
        parts.iter().for_each(|part| hasher.update(part));
        let mut hash = Secret::zeroed();
        hasher.finalize_into(hash.as_mut_bytes().into());
        hash
    };
    hashed(OUTER, &[hashed(INNER, parts).as_bytes()])
}

/// A key that gives several others, by RFC 5869's Expand. It is kept as the two states of the hash behind its pads, which
/// are wiped on drop, and give what the key would.
pub(super) struct Expand {
    inner: Blake2sVarCore,
    outer: Blake2sVarCore,
}

impl Expand {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let behind = |pad: u8| {
            let mut state = Blake2sVarCore::new_with_params(&[], &[], 0, HASH_LEN);
            state.update_blocks(std::slice::from_ref(&Padded::new(key, pad).0));
            state
        };
        Self { inner: behind(INNER), outer: behind(OUTER) }
    }

    /// A second copy, for the transactional handshake only.
    pub(super) fn duplicate(&self) -> Self {
        Self { inner: self.inner.clone(), outer: self.outer.clone() }
    }

    /// HMAC of the parts and the counter. With the counter something always follows the key: the hash treats its last block
    /// in another way, so a state behind the key could not say what HMAC of nothing is.
    pub(super) fn block(&self, parts: &[&[u8]], counter: u8) -> Secret<32> {
        #[cfg(test)]
        counter::note();
        let mut buffer = Buffer::<Blake2sVarCore>::default();
        let mut state = self.inner.clone();
        for part in parts.iter().chain([&&[counter][..]]) {
            buffer.digest_blocks(part, |blocks| state.update_blocks(blocks));
        }
        let hash = finish(state, buffer);
        let mut buffer = Buffer::<Blake2sVarCore>::default();
        buffer.digest_blocks(hash.as_bytes(), |_| {});
        finish(self.outer.clone(), buffer)
    }
}

impl ZeroizeOnDrop for Expand {}

fn finish(mut state: Blake2sVarCore, mut buffer: Buffer<Blake2sVarCore>) -> Secret<32> {
    let mut hash = Secret::zeroed();
    state.finalize_variable_core(&mut buffer, hash.as_mut_bytes().into());
    hash
}

/// Counts what is derived, so that a test can say what something costs.
#[cfg(test)]
pub(crate) mod counter {
    use std::cell::Cell;

    thread_local!(static DERIVED: Cell<usize> = const { Cell::new(0) });

    pub(super) fn note() {
        DERIVED.set(DERIVED.get() + 1);
    }

    /// How many values of HMAC the work takes, whichever way.
    pub(crate) fn of<T>(work: impl FnOnce() -> T) -> (T, usize) {
        let before = DERIVED.get();
        let given = work();
        (given, DERIVED.get() - before)
    }
}

#[cfg(test)]
mod tests {
    use ::hmac::{KeyInit, Mac, SimpleHmac};
    use chacha20::ChaCha8Rng;
    use rand_core::{Rng, SeedableRng};

    use super::*;
    use crate::crypto::testing::unhex;

    /// Several blocks of the hash.
    const LONGEST: usize = 300;

    /// HMAC by the crate of that name.
    fn by_the_crate(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
        let mut mac = SimpleHmac::<Blake2s256>::new_from_slice(key).unwrap();
        Mac::update(&mut mac, message);
        mac.finalize().into_bytes().into()
    }

    /// A key, a message of each length, and where to cut it in three.
    fn each_length(mut check: impl FnMut(&[u8; 32], &[u8], [usize; 2])) {
        let seed = 0x2104;
        println!("seed {seed}");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for len in 0..=LONGEST {
            let (mut key, mut message) = ([0; 32], vec![0; len]);
            rng.fill_bytes(&mut key);
            rng.fill_bytes(&mut message);
            let mut cuts = [(); 2].map(|()| usize::try_from(rng.next_u32()).unwrap() % (len + 1));
            cuts.sort_unstable();
            check(&key, &message, cuts);
        }
    }

    #[test]
    fn hmac_has_a_value_made_elsewhere() {
        // Python, `hmac.new(bytes(range(32)), message, hashlib.blake2s)`.
        let mut key = [0; 32];
        key.iter_mut().zip(0..).for_each(|(byte, at)| *byte = at);
        let values = [
            (&b""[..], "e2641d24dfa8dd89e8cb77f1cdc77d8c006e5bebdfc4d6a3a3a6f8d5b7586fb0"),
            (b"message", "db1ebbda189c6ec2d7755c2592537050e44264aa57a3d4f825f451ebcdff4cd3"),
        ];
        for (message, value) in values {
            assert_eq!(hmac(&key, &[message]).as_bytes().as_slice(), unhex(value));
        }
    }

    #[test]
    fn hmac_is_that_of_the_crate_at_every_length_and_cut() {
        each_length(|key, message, [first, second]| {
            let parts = [&message[..first], &message[first..second], &message[second..]];
            assert_eq!(hmac(key, &parts).as_bytes(), &by_the_crate(key, message), "{} bytes", message.len());
        });
    }

    #[test]
    fn a_key_taken_in_once_gives_what_the_key_gives_each_time_and_at_every_length() {
        each_length(|key, message, [first, second]| {
            let parts = [&message[..first], &message[first..second], &message[second..]];
            let expand = Expand::new(key);
            let copy = expand.duplicate();
            for counter in [1, 2, 0xff] {
                let expected = by_the_crate(key, &[message, &[counter]].concat());
                for expand in [&expand, &copy] {
                    let block = expand.block(&parts, counter);
                    assert_eq!(block.as_bytes(), &expected, "{} bytes, {counter}", message.len());
                }
            }
        });
    }
}

//! The one place that calls a cipher: ChaCha20-Poly1305, XChaCha20-Poly1305, and the ChaCha20 block that masks
//! headers. Must not know what it protects. Opening verifies before it writes: a buffer that does not open stays as
//! it was, and receiving in place relies on that.
//!
//! Packets have a back end of their own, chosen here when the crate is built, and Noise messages use it too. It gives the
//! same bytes as the reference, `chacha20poly1305`, which envelopes and tickets use; the tests compare all that are built.

use chacha20::{
    ChaChaCore, KeyIvInit, R20,
    cipher::{Block, StreamCipherCore},
    variants::Ietf,
};
use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305};

use super::Secret;
#[cfg(target_pointer_width = "64")]
pub(crate) use super::one_pass as portable;
#[cfg(feature = "ring")]
use super::ring_aead as packets;
// Elsewhere products of 64 bits are slow, and how long they take was not looked at.
#[cfg(not(target_pointer_width = "64"))]
pub(crate) use reference as portable;

/// Length of a tag, in bytes.
pub(crate) const TAG_LEN: usize = 16;
/// A key of any of the three.
pub(crate) type Key = Secret<32>;

/// Encrypts in place and returns the tag, by the reference. `None`, and nothing sealed, beyond the cipher's limit of 256 GiB.
#[cfg(any(test, feature = "fuzzing"))]
#[must_use]
pub(crate) fn seal_in_place(
    key: &Key,
    nonce: &[u8; 12],
    aad: &[u8],
    buffer: &mut [u8],
) -> Option<[u8; TAG_LEN]> {
    #[cfg(test)]
    recorder::note(key, nonce);
    reference::seal(key, nonce, aad, buffer)
}

/// Verifies, then decrypts in place, by the reference. `false`, and the buffer untouched, if it is not authentic.
#[cfg(any(test, feature = "fuzzing"))]
#[must_use]
pub(crate) fn open_in_place(
    key: &Key,
    nonce: &[u8; 12],
    aad: &[u8],
    buffer: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> bool {
    reference::open(key, nonce, aad, buffer, tag)
}

/// What the back end of packets makes of a key and keeps beside it, once it needs it.
pub(crate) use packets::Prepared;

/// As [`seal_in_place`], by the back end of packets. `prepared` is this key's.
#[must_use]
pub(crate) fn seal_packet_in_place(
    (key, prepared): (&Key, &mut Prepared),
    nonce: &[u8; 12],
    aad: &[u8],
    buffer: &mut [u8],
) -> Option<[u8; TAG_LEN]> {
    #[cfg(test)]
    recorder::note(key, nonce);
    packets::seal((key, prepared), nonce, aad, buffer)
}

/// As [`open_in_place`], by the back end of packets. `prepared` is this key's.
#[must_use]
pub(crate) fn open_packet_in_place(
    (key, prepared): (&Key, &mut Prepared),
    nonce: &[u8; 12],
    aad: &[u8],
    buffer: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> bool {
    packets::open((key, prepared), nonce, aad, buffer, tag)
}

/// By default: nothing is kept beside a key.
#[cfg(not(feature = "ring"))]
mod packets {
    use super::{Key, TAG_LEN, portable};

    #[derive(Default)]
    pub(crate) struct Prepared(());

    impl Prepared {
        pub(crate) const fn forget(&mut self) {}
    }

    #[inline(always)]
    pub(super) fn seal(
        (key, _): (&Key, &mut Prepared),
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Option<[u8; TAG_LEN]> {
        portable::seal(key, nonce, aad, buffer)
    }

    #[inline(always)]
    pub(super) fn open(
        (key, _): (&Key, &mut Prepared),
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> bool {
        portable::open(key, nonce, aad, buffer, tag)
    }
}

#[cfg(test)]
pub(crate) type Seal = fn(&Key, &[u8; 12], &[u8], &mut [u8]) -> Option<[u8; TAG_LEN]>;
#[cfg(test)]
pub(crate) type Open = fn(&Key, &[u8; 12], &[u8], &mut [u8], &[u8; TAG_LEN]) -> bool;

/// Every back end that this build has, for tests: whatever packets use first, then what it may stand for.
#[cfg(test)]
pub(crate) const BACK_ENDS: &[(&str, Seal, Open)] = &[
    (
        "packets",
        |key, nonce, aad, text| seal_packet_in_place((key, &mut Prepared::default()), nonce, aad, text),
        |key, nonce, aad, text, tag| {
            open_packet_in_place((key, &mut Prepared::default()), nonce, aad, text, tag)
        },
    ),
    ("reference", seal_in_place, open_in_place),
    #[cfg(feature = "ring")]
    ("default", portable::seal, portable::open),
    #[cfg(feature = "ring")]
    (
        "ring",
        |key, nonce, aad, text| packets::seal_by_ring((key, &mut Prepared::default()), nonce, aad, text),
        |key, nonce, aad, text, tag| {
            packets::open_by_ring((key, &mut Prepared::default()), nonce, aad, text, tag)
        },
    ),
];

/// `chacha20poly1305` as it comes.
#[cfg(any(test, feature = "fuzzing", not(target_pointer_width = "64")))]
pub(crate) mod reference {
    use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};

    use super::{Key, TAG_LEN};

    pub(crate) fn seal(key: &Key, nonce: &[u8; 12], aad: &[u8], buffer: &mut [u8]) -> Option<[u8; TAG_LEN]> {
        let cipher = ChaCha20Poly1305::new(key.as_bytes().into());
        cipher.encrypt_inout_detached(nonce.into(), aad, buffer.into()).ok().map(Into::into)
    }

    pub(crate) fn open(
        key: &Key,
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> bool {
        let cipher = ChaCha20Poly1305::new(key.as_bytes().into());
        cipher.decrypt_inout_detached(nonce.into(), aad, buffer.into(), tag.into()).is_ok()
    }
}

/// As [`seal_in_place`], with a nonce long enough to be drawn at random.
#[must_use]
pub(crate) fn seal_wide_in_place(
    key: &Key,
    nonce: &[u8; 24],
    aad: &[u8],
    buffer: &mut [u8],
) -> Option<[u8; TAG_LEN]> {
    #[cfg(test)]
    recorder::note(key, nonce);
    let cipher = XChaCha20Poly1305::new(key.as_bytes().into());
    cipher.encrypt_inout_detached(nonce.into(), aad, buffer.into()).ok().map(Into::into)
}

/// As [`open_in_place`], for what [`seal_wide_in_place`] sealed.
#[must_use]
pub(crate) fn open_wide_in_place(
    key: &Key,
    nonce: &[u8; 24],
    aad: &[u8],
    buffer: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> bool {
    let cipher = XChaCha20Poly1305::new(key.as_bytes().into());
    cipher.decrypt_inout_detached(nonce.into(), aad, buffer.into(), tag.into()).is_ok()
}

/// The mask of a header: the first bytes of the ChaCha20 block whose counter and nonce are the sample (RFC 9001,
/// 5.4.4).
#[must_use]
pub(crate) fn block_mask(key: &Key, sample: &[u8; TAG_LEN]) -> [u8; 4] {
    let [c0, c1, c2, c3, nonce @ ..] = sample;
    let mut core = ChaChaCore::<R20, Ietf>::new(key.as_bytes().into(), nonce.into());
    // The stream interface refuses the last counter, which a peer or chance may choose; the block core does not.
    core.set_block_pos(u32::from_le_bytes([*c0, *c1, *c2, *c3]));
    let mut block = Block::<ChaChaCore<R20, Ietf>>::default();
    core.write_keystream_block(&mut block);
    let [m0, m1, m2, m3, ..] = <[u8; 64]>::from(block);
    [m0, m1, m2, m3]
}

/// Proves that no pair of key and nonce seals twice: while it runs, every seal of this thread is noted.
#[cfg(test)]
pub(crate) mod recorder {
    use std::{cell::RefCell, collections::HashSet};

    use super::Key;
    use crate::crypto::hash;

    #[derive(Default)]
    struct Seen {
        pairs: HashSet<[u8; 16]>,
        repeated: usize,
    }

    thread_local!(static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) });

    /// Forgets everything and begins to note.
    pub(crate) fn start() {
        SEEN.with(|seen| *seen.borrow_mut() = Some(Seen::default()));
    }

    /// Stops. Returns how many different pairs sealed, and how often one did that had sealed before.
    pub(crate) fn finish() -> (usize, usize) {
        SEEN.with(|seen| seen.borrow_mut().take().map_or((0, 0), |seen| (seen.pairs.len(), seen.repeated)))
    }

    pub(super) fn note(key: &Key, nonce: &[u8]) {
        SEEN.with(|seen| {
            if let Some(seen) = seen.borrow_mut().as_mut() {
                let pair = hash(&[key.as_bytes(), nonce]);
                if !seen.pairs.insert(*pair.first_chunk().unwrap()) {
                    seen.repeated += 1;
                }
            }
        });
    }
}

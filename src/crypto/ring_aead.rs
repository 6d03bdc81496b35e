//! ChaCha20-Poly1305 (RFC 8439, 2.8) of the crate `ring` for packets: the feature `ring`. Must not know packets. Nothing that
//! does not open is changed: `ring` leaves such a text in an unspecified state, so it is kept and put back.
//!
//! Short texts are sealed and opened by the default back end here too: it takes no longer, and who sends no others needs no
//! second key in memory.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::ZeroizeOnDrop;

use super::{
    Secret,
    aead::{Key, TAG_LEN, portable},
};

/// The longest text for the default back end, in bytes: its first step makes the key stream of so many.
const SHORT: usize = 192;
/// The longest text that is opened here, and not by the default back end: more than the path MTU of most networks, and
/// little enough for the stack.
const LONGEST_OPENED: usize = 1_536;

/// A key as `ring` wants it: seventeen times as large, and too dear to make for each packet. There from the first long text
/// on. Wiped on drop, as far as `ring` lets it (SECURITY.md).
#[derive(Default)]
pub(crate) struct Prepared(Option<Box<LessSafeKey>>);

impl Prepared {
    /// Wipes it where it stands; the next long text makes it anew.
    pub(crate) fn forget(&mut self) {
        let Some(mut kept) = self.0.take() else { return };
        // There is no other way to the bytes inside than another key in their place.
        if let Some(zeros) = made(&Secret::zeroed()) {
            *kept = zeros;
            zeroize::optimization_barrier(&*kept);
        }
    }

    /// Of `key`. Always `Some`: keys have the one length that there is.
    fn of(&mut self, key: &Key) -> Option<&LessSafeKey> {
        if self.0.is_none() {
            self.0 = made(key).map(Box::new);
        }
        self.0.as_deref()
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.forget();
    }
}

impl ZeroizeOnDrop for Prepared {}

fn made(key: &Key) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, key.as_bytes()).ok().map(LessSafeKey::new)
}

/// As [`super::aead::seal_packet_in_place`].
pub(super) fn seal(
    (key, prepared): (&Key, &mut Prepared),
    nonce: &[u8; 12],
    aad: &[u8],
    text: &mut [u8],
) -> Option<[u8; TAG_LEN]> {
    if text.len() <= SHORT {
        return portable::seal(key, nonce, aad, text);
    }
    seal_by_ring((key, prepared), nonce, aad, text)
}

/// As [`super::aead::open_packet_in_place`].
pub(super) fn open(
    (key, prepared): (&Key, &mut Prepared),
    nonce: &[u8; 12],
    aad: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> bool {
    if text.len() <= SHORT {
        return portable::open(key, nonce, aad, text, tag);
    }
    open_by_ring((key, prepared), nonce, aad, text, tag)
}

/// As [`seal`], whatever the length.
pub(super) fn seal_by_ring(
    (key, prepared): (&Key, &mut Prepared),
    nonce: &[u8; 12],
    aad: &[u8],
    text: &mut [u8],
) -> Option<[u8; TAG_LEN]> {
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let tag = prepared.of(key)?.seal_in_place_separate_tag(nonce, Aad::from(aad), text).ok()?;
    tag.as_ref().try_into().ok()
}

/// As [`open`], whatever the length, but for texts that are too long to be kept.
pub(super) fn open_by_ring(
    (key, prepared): (&Key, &mut Prepared),
    nonce: &[u8; 12],
    aad: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> bool {
    let mut room = [0; LONGEST_OPENED];
    let Some(kept) = room.get_mut(..text.len()) else {
        return portable::open(key, nonce, aad, text, tag);
    };
    // Nothing is allocated for a packet that may be forged: a new key is kept once it has opened something.
    let mut new = if prepared.0.is_none() { made(key) } else { None };
    let Some(cipher) = prepared.0.as_deref().or(new.as_ref()) else {
        return portable::open(key, nonce, aad, text, tag);
    };
    kept.copy_from_slice(text);
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let opened = cipher.open_in_place_separate_tag(nonce, Aad::from(aad), (*tag).into(), text, 0..).is_ok();
    if opened {
        if let Some(new) = new {
            prepared.0 = Some(Box::new(new));
        }
        return true;
    }
    text.copy_from_slice(kept);
    if let Some((new, zeros)) = new.as_mut().zip(made(&Secret::zeroed())) {
        *new = zeros;
        zeroize::optimization_barrier(new);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_text_leaves_no_key_in_memory_and_a_short_one_needs_none() {
        let (key, mut sealing, mut opening) = (Secret::zeroed(), Prepared::default(), Prepared::default());
        let mut text = [7; SHORT + 1];
        let tag = seal((&key, &mut sealing), &[0; 12], b"", &mut text[1..]).unwrap();
        assert!(open((&key, &mut opening), &[0; 12], b"", &mut text[1..], &tag));
        assert!(sealing.0.is_none() && opening.0.is_none());
        let tag = seal((&key, &mut sealing), &[1; 12], b"", &mut text).unwrap();
        assert!(sealing.0.is_some());
        assert!(!open((&key, &mut opening), &[1; 12], b"", &mut text, &[0; 16]));
        assert!(opening.0.is_none());
        assert!(open((&key, &mut opening), &[1; 12], b"", &mut text, &tag));
        assert!(opening.0.is_some());
        for mut prepared in [sealing, opening] {
            prepared.forget();
            assert!(prepared.0.is_none());
        }
    }
}

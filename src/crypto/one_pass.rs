//! ChaCha20-Poly1305 (RFC 8439, 2.8) for packets: the key stream of the `chacha20` crate, taken in as many blocks as its
//! back end makes at once, and the Poly1305 of this crate. A short packet takes one such step for both of its keys. Must
//! not know packets. Opening verifies before it writes.
//!
//! Everything runs inside the closure that the back end calls, and everything in it is inlined into it: a call between
//! the two would cost the back end its vector registers.

use chacha20::{
    ChaChaCore, KeyIvInit, R20,
    cipher::{
        BlockSizeUser, ParBlocks, StreamCipherBackend, StreamCipherClosure, StreamCipherCore, consts::U64,
    },
    variants::Ietf,
};
use subtle::ConstantTimeEq;
use zeroize::ZeroizeOnDrop;

use super::{
    aead::{Key, TAG_LEN},
    poly1305::{Poly1305, words},
};

/// Length of a block of the key stream, in bytes.
const BLOCK_LEN: u64 = 64;

/// As [`super::aead::seal_packet_in_place`].
pub(crate) fn seal(key: &Key, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> Option<[u8; TAG_LEN]> {
    let lengths = Lengths::of(aad, text)?;
    let mut tag = None;
    core(key, nonce).process_with_backend(Seal { aad, text, lengths, tag: &mut tag });
    tag
}

/// As [`super::aead::open_packet_in_place`].
pub(crate) fn open(key: &Key, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], tag: &[u8; TAG_LEN]) -> bool {
    let Some(lengths) = Lengths::of(aad, text) else { return false };
    let mut opened = false;
    core(key, nonce).process_with_backend(Open { aad, text, lengths, tag, opened: &mut opened });
    opened
}

fn core(key: &Key, nonce: &[u8; 12]) -> ChaChaCore<R20, Ietf> {
    ChaChaCore::new(key.as_bytes().into(), nonce.into())
}

/// The last block that is authenticated.
#[derive(Clone, Copy)]
struct Lengths {
    aad: u64,
    text: u64,
}

impl Lengths {
    /// `None` for a text that needs more blocks than the counter of 32 bits can count behind block 0. RFC 8439, 2.8.
    fn of(aad: &[u8], text: &[u8]) -> Option<Self> {
        Self::checked(u64::try_from(aad.len()).ok()?, u64::try_from(text.len()).ok()?)
    }

    fn checked(aad: u64, text: u64) -> Option<Self> {
        (text.div_ceil(BLOCK_LEN) <= u32::MAX.into()).then_some(Self { aad, text })
    }
}

struct Seal<'a> {
    aad: &'a [u8],
    text: &'a mut [u8],
    lengths: Lengths,
    tag: &'a mut Option<[u8; TAG_LEN]>,
}

impl BlockSizeUser for Seal<'_> {
    type BlockSize = U64;
}

impl StreamCipherClosure for Seal<'_> {
    #[inline(always)]
    fn call<B: StreamCipherBackend<BlockSize = U64>>(self, backend: &mut B) {
        let Self { aad, text, lengths, tag } = self;
        let mut stream = KeyStream::new(backend);
        let Some(mut mac) = stream.authenticator() else { return };
        mac.update_padded(aad);
        stream.apply(text, Some(&mut mac));
        mac.update_lengths(lengths.aad, lengths.text);
        *tag = Some(mac.finish());
    }
}

struct Open<'a> {
    aad: &'a [u8],
    text: &'a mut [u8],
    lengths: Lengths,
    tag: &'a [u8; TAG_LEN],
    opened: &'a mut bool,
}

impl BlockSizeUser for Open<'_> {
    type BlockSize = U64;
}

impl StreamCipherClosure for Open<'_> {
    #[inline(always)]
    fn call<B: StreamCipherBackend<BlockSize = U64>>(self, backend: &mut B) {
        let Self { aad, text, lengths, tag, opened } = self;
        let mut stream = KeyStream::new(backend);
        let Some(mut mac) = stream.authenticator() else { return };
        mac.update_padded(aad);
        mac.update_padded(text);
        mac.update_lengths(lengths.aad, lengths.text);
        if is_same(mac.finish(), *tag) {
            stream.apply(text, None);
            *opened = true;
        }
    }
}

/// The key stream of one packet, as many blocks at a time as the back end makes at once. Wiped on drop.
pub(super) struct KeyStream<'b, B: StreamCipherBackend<BlockSize = U64>> {
    backend: &'b mut B,
    blocks: ParBlocks<B>,
}

impl<'b, B: StreamCipherBackend<BlockSize = U64>> KeyStream<'b, B> {
    /// Takes the first blocks. `backend` must be at block 0.
    #[inline(always)]
    fn new(backend: &'b mut B) -> Self {
        let mut blocks = ParBlocks::<B>::default();
        backend.gen_par_ks_blocks(&mut blocks);
        Self { backend, blocks }
    }

    /// Its key is the first half of block 0; nobody uses the other. Always `Some`: a back end makes at least one block.
    #[inline(always)]
    fn authenticator(&self) -> Option<Poly1305> {
        let key = self.blocks.as_flattened().first_chunk()?;
        Some(Poly1305::new(key))
    }

    /// Adds the stream from block 1 on, once, and authenticates what comes out. All pieces but the last are whole blocks.
    #[inline(always)]
    fn apply(&mut self, text: &mut [u8], mut mac: Option<&mut Poly1305>) {
        let stream = self.blocks.as_flattened();
        let step = stream.len();
        let (_, stream) = stream.split_at(step.min(64));
        let (head, tail) = text.split_at_mut(text.len().min(stream.len()));
        xor(head, stream);
        if let Some(mac) = &mut mac {
            mac.update_padded(head);
        }
        for piece in tail.chunks_mut(step) {
            self.backend.gen_par_ks_blocks(&mut self.blocks);
            xor(piece, self.blocks.as_flattened());
            if let Some(mac) = &mut mac {
                mac.update_padded(piece);
            }
        }
    }
}

impl<B: StreamCipherBackend<BlockSize = U64>> Drop for KeyStream<'_, B> {
    #[inline(always)]
    fn drop(&mut self) {
        self.blocks = ParBlocks::<B>::default();
        // Byte by byte, as `zeroize` would, takes as long as the packet.
        zeroize::optimization_barrier(&self.blocks);
    }
}

impl<B: StreamCipherBackend<BlockSize = U64>> ZeroizeOnDrop for KeyStream<'_, B> {}

/// Adds the key stream, which is at least as long, in pieces of fixed sizes: for short texts a loop over bytes costs as
/// much as the authenticator.
#[inline(always)]
fn xor(text: &mut [u8], stream: &[u8]) {
    let (text, stream) = xor_pieces::<32>(text, stream);
    let (text, stream) = xor_pieces::<8>(text, stream);
    xor_pieces::<1>(text, stream);
}

/// Returns what is shorter than a piece, and the stream from there on.
#[inline(always)]
fn xor_pieces<'t, 's, const N: usize>(text: &'t mut [u8], stream: &'s [u8]) -> (&'t mut [u8], &'s [u8]) {
    let whole = text.len().saturating_sub(text.len() % N);
    let (text, text_rest) = text.split_at_mut(whole);
    let (stream, stream_rest) = stream.split_at(whole);
    for (text, key) in text.chunks_exact_mut(N).zip(stream.chunks_exact(N)) {
        if let (Some(text), Some(key)) = (text.first_chunk_mut::<N>(), key.first_chunk::<N>()) {
            // By way of a local: nothing in it can overlap the stream, so it is one instruction.
            let mut both = *text;
            both.iter_mut().zip(key).for_each(|(text, key)| *text ^= *key);
            *text = both;
        }
    }
    (text_rest, stream_rest)
}

/// Whether the tags are the same, in a time that does not tell where they differ.
#[inline(always)]
fn is_same(ours: [u8; TAG_LEN], theirs: [u8; TAG_LEN]) -> bool {
    let ([low, high], [their_low, their_high]) = (words(&ours), words(&theirs));
    ((low ^ their_low) | (high ^ their_high)).ct_eq(&0).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_the_counter_cannot_count_is_refused() {
        // RFC 8439, 2.8: 2^32 - 1 blocks behind the one for the authenticator's key.
        let longest = 64 * u64::from(u32::MAX);
        assert!(Lengths::checked(0, longest).is_some());
        assert!(Lengths::checked(0, longest + 1).is_none());
    }
}

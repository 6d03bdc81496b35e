//! Poly1305 (RFC 8439, 2.5) for packets, in words of 64 bits. Must not know ciphers. Its time depends on lengths only: no
//! branch and no index follows the key, the message or the sum.
//!
//! The sum is `h[2] * 2^128 + h[1] * 2^64 + h[0]`, below 2^130 + 2^64 between two blocks: `h[2]` is at most 4.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Length of a block and of a tag, in bytes.
const BLOCK_LEN: usize = 16;
/// The bits of `r` that count, as two words. RFC 8439, 2.5.1.
const CLAMP: [u64; 2] = [0x0fff_fffc_0fff_ffff, 0x0fff_fffc_0fff_fffc];

/// The authenticator of one message. Its key must be of this message alone. Its fields are wiped on drop; copies of them
/// that the compiler makes, in registers or on the stack, are not (SECURITY.md).
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Poly1305 {
    r: [u64; 2],
    /// `r[1] * 5 / 4`.
    s: u64,
    h: [u64; 3],
    /// Added to the sum at the end.
    pad: [u64; 2],
}

impl Poly1305 {
    #[inline(always)]
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let (r, pad) = key.split_at(BLOCK_LEN);
        let [r0, r1] = words(r);
        let [clamp0, clamp1] = CLAMP;
        let r = [r0 & clamp0, r1 & clamp1];
        let [_, r1] = r;
        Self { r, s: r1.wrapping_add(r1 >> 2), h: [0; 3], pad: words(pad) }
    }

    /// Takes in the bytes, and as many zeros as make them whole blocks. RFC 8439, 2.8.
    #[inline(always)]
    pub(super) fn update_padded(&mut self, bytes: &[u8]) {
        let blocks = bytes.chunks_exact(BLOCK_LEN);
        let rest = blocks.remainder();
        for block in blocks {
            self.block(words(block), 1);
        }
        if !rest.is_empty() {
            self.block(last_words(bytes, rest), 1);
        }
    }

    /// Takes in the two lengths that end the message of an AEAD. RFC 8439, 2.8.
    #[inline(always)]
    pub(super) fn update_lengths(&mut self, aad: u64, text: u64) {
        self.block([aad, text], 1);
    }

    /// Adds a block, with `top` at 2^128, and multiplies by `r`. `top` is 1 for every whole block.
    #[inline(always)]
    fn block(&mut self, block: [u64; 2], top: u64) {
        let ([r0, r1], s) = (self.r, self.s);
        let [h0, h1, h2] = self.h;
        let [b0, b1] = block;
        let (h0, carry) = add(h0, b0, 0);
        let (h1, carry) = add(h1, b1, carry);
        // At most 6.
        let h2 = h2.wrapping_add(top).wrapping_add(carry);

        // `h1 * r1` stands at 2^128 and `h2 * r1` at 2^192. 2^130 is 5 here and `r1` a multiple of 4, so they are
        // `h1 * s` at 1 and `h2 * s` at 2^64. Both words of `r` are below 2^60 and `s` is below 2^61: no sum of products
        // comes near 2^128, and no product of `h2` leaves its word.
        let [d0, carry] = halves(product(h0, r0).wrapping_add(product(h1, s)));
        let middle = product(h0, r1).wrapping_add(product(h1, r0));
        let middle = middle.wrapping_add(h2.wrapping_mul(s).into()).wrapping_add(carry.into());
        let [d1, carry] = halves(middle);
        // Below 2^63.
        let d2 = h2.wrapping_mul(r0).wrapping_add(carry);

        // What stands at 2^130 and above, `d2 / 4`, comes back times 5.
        let back = (d2 & !3).wrapping_add(d2 >> 2);
        let (h0, carry) = add(d0, back, 0);
        let (h1, carry) = add(d1, 0, carry);
        self.h = [h0, h1, (d2 & 3).wrapping_add(carry)];
    }

    /// The tag.
    #[inline(always)]
    pub(super) fn finish(self) -> [u8; BLOCK_LEN] {
        let ([h0, h1, h2], [pad0, pad1]) = (self.h, self.pad);
        // The sum is below twice 2^130 - 5, which is to be taken off once or not at all. Whether it is shows at 2^130
        // once 5 is added; modulo 2^128, taking it off is adding 5.
        let (_, carry) = add(h0, 5, 0);
        let (_, carry) = add(h1, 0, carry);
        let over = h2.wrapping_add(carry) >> 2;
        let (h0, carry) = add(h0, over.wrapping_mul(5), 0);
        let (h1, _) = add(h1, 0, carry);
        let (t0, carry) = add(h0, pad0, 0);
        let (t1, _) = add(h1, pad1, carry);
        (u128::from(t1) << 64 | u128::from(t0)).to_le_bytes()
    }
}

/// What is left over of `bytes` behind its whole blocks, with zeros behind it. It is read in pieces of fixed sizes that
/// may overlap: a copy of a few bytes costs more than the block.
#[inline(always)]
fn last_words(bytes: &[u8], rest: &[u8]) -> [u64; 2] {
    let bits = |bytes: usize| u32::try_from(bytes.wrapping_mul(8)).unwrap_or_default();
    let joined = |first: u128, last: u128, width: usize| {
        first | last.wrapping_shl(bits(rest.len().wrapping_sub(width)))
    };
    halves(if let Some(last) = bytes.last_chunk::<BLOCK_LEN>() {
        u128::from_le_bytes(*last).wrapping_shr(bits(BLOCK_LEN.wrapping_sub(rest.len())))
    } else if let (Some(first), Some(last)) = (rest.first_chunk(), rest.last_chunk()) {
        joined(u64::from_le_bytes(*first).into(), u64::from_le_bytes(*last).into(), 8)
    } else if let (Some(first), Some(last)) = (rest.first_chunk(), rest.last_chunk()) {
        joined(u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into(), 4)
    } else {
        rest.iter().rev().fold(0, |sum, byte| sum << 8 | u128::from(*byte))
    })
}

/// The first 16 bytes as two little-endian words.
#[inline(always)]
pub(super) fn words(block: &[u8]) -> [u64; 2] {
    halves(u128::from_le_bytes(block.first_chunk().copied().unwrap_or_default()))
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the lower half is one of the two")]
const fn halves(wide: u128) -> [u64; 2] {
    [wide as u64, (wide >> 64) as u64]
}

#[inline(always)]
fn product(a: u64, b: u64) -> u128 {
    u128::from(a).wrapping_mul(b.into())
}

/// Sum and carry. `carry` is 0 or 1.
#[inline(always)]
fn add(a: u64, b: u64, carry: u64) -> (u64, u64) {
    let [sum, carry] = halves(u128::from(a).wrapping_add(b.into()).wrapping_add(carry.into()));
    (sum, carry)
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha8Rng;
    use rand_core::{Rng, SeedableRng};

    use super::*;
    use crate::crypto::testing::{unhex, unhex_array};

    /// Of a message of any length, as RFC 8439, 2.5 ends it: with a one behind the last byte.
    fn mac(key: &[u8; 32], message: &[u8]) -> [u8; 16] {
        let mut mac = Poly1305::new(key);
        let (whole, rest) = message.split_at(message.len() / 16 * 16);
        mac.update_padded(whole);
        if !rest.is_empty() {
            let mut block = [0; 16];
            block[..rest.len()].copy_from_slice(rest);
            block[rest.len()] = 1;
            mac.block(words(&block), 0);
        }
        mac.finish()
    }

    /// The same from the text of RFC 8439, 2.5.1, as a second opinion: numbers of many bits in digits of 8, and a
    /// remainder by taking away.
    fn plain_mac(key: &[u8; 32], message: &[u8]) -> [u8; 16] {
        let mut r = key[..16].to_vec();
        [3, 7, 11, 15].iter().for_each(|&at| r[at] &= 15);
        [4, 8, 12].iter().for_each(|&at| r[at] &= 252);
        let mut sum = vec![0];
        for block in message.chunks(16) {
            sum = plus(&sum, &[block, &[1]].concat());
            sum = remainder(times(&sum, &r));
        }
        plus(&sum, &key[16..])[..16].try_into().unwrap()
    }

    fn carried(digits: &[u64]) -> Vec<u8> {
        let mut carry = 0;
        let mut number = Vec::new();
        for digit in digits.iter().chain(&[0; 8]) {
            carry += digit;
            number.push((carry & 0xff) as u8);
            carry >>= 8;
        }
        number
    }

    fn plus(a: &[u8], b: &[u8]) -> Vec<u8> {
        let digit = |of: &[u8], at: usize| u64::from(*of.get(at).unwrap_or(&0));
        carried(&(0..a.len().max(b.len())).map(|at| digit(a, at) + digit(b, at)).collect::<Vec<_>>())
    }

    fn times(a: &[u8], b: &[u8]) -> Vec<u8> {
        let mut digits = vec![0; a.len() + b.len()];
        for (i, a) in a.iter().enumerate() {
            for (j, b) in b.iter().enumerate() {
                digits[i + j] += u64::from(*a) * u64::from(*b);
            }
        }
        carried(&digits)
    }

    /// Modulo 2^130 - 5: the long way, by multiples of it from the largest down.
    fn remainder(mut number: Vec<u8>) -> Vec<u8> {
        let p = [&[0xfb][..], &[0xff; 15], &[3]].concat();
        while number.last() == Some(&0) {
            number.pop();
        }
        for shift in (0..(number.len() * 8).saturating_sub(129)).rev() {
            let mut multiple = vec![0; shift / 8];
            multiple.extend(times(&p, &[1 << (shift % 8)]));
            let len = number.len().max(multiple.len());
            number.resize(len, 0);
            multiple.resize(len, 0);
            if number.iter().rev().ge(multiple.iter().rev()) {
                let mut borrow = 0;
                for (digit, taken) in number.iter_mut().zip(&multiple) {
                    let left = i32::from(*digit) - i32::from(*taken) - borrow;
                    *digit = u8::try_from(left.rem_euclid(256)).unwrap();
                    borrow = i32::from(left < 0);
                }
            }
        }
        number.truncate(17);
        number
    }

    fn key(r: &str, pad: &str) -> [u8; 32] {
        let half = |hex: &str| unhex(&format!("{hex:0<32}"));
        [half(r), half(pad)].concat().try_into().unwrap()
    }

    const LETTER: &str = "Any submission to the IETF intended by the Contributor for publication as all or part of an IETF \
        Internet-Draft or RFC and any statement made within the context of an IETF activity is considered an \"IETF \
        Contribution\". Such statements include oral statements in IETF sessions, as well as written and electronic \
        communications made at any time or place, which are addressed to";
    const VERSE: &str = "'Twas brillig, and the slithy toves\nDid gyre and gimble in the wabe:\n\
        All mimsy were the borogoves,\nAnd the mome raths outgrabe.";

    #[test]
    fn the_vectors_of_rfc_8439_hold() {
        let ones = "ff".repeat(16);
        let hex = |text: &str| hex::encode(text);
        let pair = "01000000000000000400000000000000";
        let three = format!("{:0<32}{:0<32}{:0<32}", "e33594d7505e43b9", "3394d7505e4379cd01", "");
        // Key in two halves, message, tag; what is left out of a half or a tag is zeros. Section 2.5.2, then appendix A.3.
        let vectors = [
            (
                "85d6be7857556d337f4452fe42d506a8",
                "0103808afb0db2fd4abff6af4149f51b",
                hex("Cryptographic Forum Research Group"),
                "a8061dc1305136c6c22b8baf0c0127a9",
            ),
            ("", "", "00".repeat(64), ""),
            ("", "36e5f6b5c5e06070f0efca96227a863e", hex(LETTER), "36e5f6b5c5e06070f0efca96227a863e"),
            ("36e5f6b5c5e06070f0efca96227a863e", "", hex(LETTER), "f3477e7cd95417af89a6b8794c310cf0"),
            (
                "1c9240a5eb55d38af333888604f6b5f0",
                "473917c1402b80099dca5cbc207075c0",
                hex(VERSE),
                "4541669a7eaaee61e708dc7cbcc5eb62",
            ),
            ("02", "", ones.clone(), "03"),
            ("02", &ones, format!("{:0<32}", "02"), "03"),
            ("01", "", format!("{ones}f0{}{:0<32}", &ones[2..], "11"), "05"),
            ("01", "", format!("{ones}fb{}{}", "fe".repeat(15), "01".repeat(16)), ""),
            ("02", "", format!("fd{}", &ones[2..]), &format!("fa{}", &ones[2..])),
            (pair, "", format!("{three}{:0<32}", "01"), "14000000000000005500000000000000"),
            (pair, "", three, "13"),
        ];
        for (at, (r, pad, message, tag)) in vectors.into_iter().enumerate() {
            let (key, message) = (key(r, pad), unhex(&message));
            assert_eq!(hex::encode(mac(&key, &message)), format!("{tag:0<32}"), "vector {at}");
            assert_eq!(hex::encode(plain_mac(&key, &message)), format!("{tag:0<32}"), "vector {at}");
        }
    }

    #[test]
    fn sums_around_multiples_of_the_prime_are_reduced() {
        // With an `r` of 1 the sum is that of the blocks; each whole block brings 2^128. The last one is chosen so that
        // the sum passes p, 2^130 and 2p in steps of 1, where a carry goes through all words.
        for whole in 1..=8_u128 {
            for first in [0, 1, u128::MAX, u128::MAX << 64, u128::MAX >> 64] {
                for last in (u128::MAX - 40..=u128::MAX).chain(0..=40) {
                    let mut message = Vec::new();
                    (1..whole).for_each(|_| message.extend(first.to_le_bytes()));
                    message.extend(last.wrapping_sub((whole - 1).wrapping_mul(first)).to_le_bytes());
                    for key in [key("01", ""), key("01", &"ff".repeat(16))] {
                        assert_eq!(mac(&key, &message), plain_mac(&key, &message), "{whole} {first} {last}");
                    }
                }
            }
        }
    }

    #[test]
    fn extreme_keys_and_messages_give_what_plain_arithmetic_gives() {
        let seed = 0x1305;
        println!("seed {seed}");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let extreme = |rng: &mut ChaCha8Rng| -> [u8; 16] {
            let word = |rng: &mut ChaCha8Rng| match rng.next_u32() % 8 {
                0 => 0,
                1 => u64::MAX,
                2 => u64::MAX - u64::from(rng.next_u32() % 8),
                3 => u64::from(rng.next_u32() % 8),
                4 => 1 << (rng.next_u32() % 64),
                5 => u64::MAX >> (rng.next_u32() % 64),
                6 => u64::MAX << (rng.next_u32() % 64),
                _ => rng.next_u64(),
            };
            let [low, high] = [word(rng), word(rng)];
            (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
        };
        for round in 0..4_000 {
            let key: [u8; 32] = [extreme(&mut rng), extreme(&mut rng)].concat().try_into().unwrap();
            let blocks = rng.next_u32() % 6;
            let mut message: Vec<u8> = (0..=blocks).flat_map(|_| extreme(&mut rng)).collect();
            message.truncate(message.len() - usize::try_from(rng.next_u32() % 16).unwrap());
            assert_eq!(mac(&key, &message), plain_mac(&key, &message), "round {round}");
        }
    }

    #[test]
    fn zeros_behind_the_message_are_those_of_its_last_block() {
        let key = key("85d6be7857556d337f4452fe42d506a8", "0103808afb0db2fd4abff6af4149f51b");
        let bytes: Vec<u8> = (1..=80).collect();
        for len in 0..=bytes.len() {
            let mut padded = bytes[..len].to_vec();
            padded.resize(len.next_multiple_of(16), 0);
            let mut ours = Poly1305::new(&key);
            ours.update_padded(&bytes[..len]);
            assert_eq!(ours.finish(), plain_mac(&key, &padded), "{len} bytes");
        }
        let mut ours = Poly1305::new(&key);
        ours.update_lengths(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
        let block: [u8; 16] = unhex_array("efcdab89674523011032547698badcfe");
        assert_eq!(ours.finish(), plain_mac(&key, &block));
    }
}

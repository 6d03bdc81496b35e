//! The four bytes in front of a sealed packet, unmasked: two bits of epoch and thirty of packet number; and how a
//! truncated number becomes a whole one. PROTOCOL.md, "Packets". Knows no keys and no masks.

use super::MAX_NUMBER;

/// Length of the word, in bytes.
pub(crate) const WORD_LEN: usize = 4;
/// Bits of the packet number that are sent in the word.
pub(crate) const NUMBER_BITS: u32 = 30;
const NUMBER_MASK: u32 = (1 << NUMBER_BITS) - 1;

/// The word of a packet, big-endian: the low 2 bits of `epoch`, then the low 30 bits of `number`.
#[inline]
pub(crate) fn encode_word(epoch: u32, number: u64) -> [u8; WORD_LEN] {
    let number = low_bits::<NUMBER_BITS>(number);
    (epoch << NUMBER_BITS | number).to_be_bytes()
}

/// The epoch bits (0 to 3) and the truncated number of a word.
#[inline]
pub(crate) fn split_word(word: [u8; WORD_LEN]) -> (u8, u32) {
    let word = u32::from_be_bytes(word);
    let [.., epoch] = (word >> NUMBER_BITS).to_be_bytes();
    (epoch, word & NUMBER_MASK)
}

/// The packet number whose low 30 bits are `truncated` and that is closest to `expected`, the number after the highest
/// received. `None` if it would exceed `MAX_NUMBER`.
#[inline]
pub(crate) fn decode_number(truncated: u32, expected: u64) -> Option<u64> {
    closest::<NUMBER_BITS>(truncated, expected)
}

/// As [`decode_number`], with all 32 bits, for plain datagrams.
#[inline]
pub(crate) fn decode_number_32(truncated: u32, expected: u64) -> Option<u64> {
    closest::<32>(truncated, expected)
}

/// The low `BITS` bits of a packet number, at most 32.
#[inline]
pub(crate) fn low_bits<const BITS: u32>(number: u64) -> u32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    u32::from_le_bytes([a, b, c, d]) & (u32::MAX >> (32 - BITS))
}

/// RFC 9000, A.3, as a subtraction: the window is the 2^`BITS` numbers from `expected - 2^(BITS - 1) + 1` on, cut at
/// zero. Without a branch on the bits received, which are secret when this runs.
#[inline]
fn closest<const BITS: u32>(truncated: u32, expected: u64) -> Option<u64> {
    let half = 1_u64 << (BITS - 1);
    let mask = (1_u64 << BITS) - 1;
    let low = expected.saturating_add(1).saturating_sub(half);
    let number = low.checked_add(u64::from(truncated).wrapping_sub(low) & mask)?;
    (number <= MAX_NUMBER).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_holds_epoch_and_number() {
        assert_eq!(encode_word(0, 0), [0; 4]);
        assert_eq!(encode_word(6, (7 << 30) | 5), [0x80, 0, 0, 5]);
        for (epoch, number) in [(0, 1), (3, (1 << 30) - 1), (5, MAX_NUMBER)] {
            let (bits, truncated) = split_word(encode_word(epoch, number));
            assert_eq!(u32::from(bits), epoch % 4);
            assert_eq!(u64::from(truncated), number % (1 << 30));
        }
    }

    #[test]
    fn a_number_decodes_as_in_the_examples_of_rfc_9000() {
        // A.2: with 0xabe8b3 acknowledged, 0xac5c02 and 0xace8fe need 16 and 18 bits, so 30 always do.
        for number in [0xac_5c02, 0xac_e8fe] {
            assert_eq!(decode_number(low_bits::<30>(number), 0xab_e8b4), Some(number));
        }
        // A.3, as it stands: 16 bits, 0x9b32, after 0xa82f30ea.
        assert_eq!(closest::<16>(0x9b32, 0xa82f_30eb), Some(0xa82f_9b32));
        // The same with 30 bits: 0x282f9b32 are the low ones.
        assert_eq!(decode_number(0x282f_9b32, 0xa82f_30eb), Some(0xa82f_9b32));
    }

    /// The candidate with the right low bits that lies in (expected - 2^(bits-1), expected + 2^(bits-1)], or the lowest
    /// one if that window begins below zero; by trying all around.
    fn oracle(bits: u32, truncated: u32, expected: u64) -> Option<u64> {
        let (win, expected) = (1_u128 << bits, u128::from(expected));
        let first = (expected >> bits).saturating_sub(2);
        let number = (first..first + 5)
            .map(|high| high * win + u128::from(truncated))
            .find(|&candidate| candidate + win / 2 > expected)?;
        u64::try_from(number).ok().filter(|&number| number <= MAX_NUMBER)
    }

    #[test]
    fn a_number_decodes_as_a_brute_force_search_says() {
        let half = 1_u64 << 29;
        let edges = [
            0,
            1,
            2,
            half - 1,
            half,
            half + 1,
            2 * half - 1,
            2 * half,
            2 * half + 1,
            3 * half,
            1 << 40,
            1 << 61,
            MAX_NUMBER - 2 * half,
            MAX_NUMBER - half,
            MAX_NUMBER - 1,
            MAX_NUMBER,
            MAX_NUMBER + 1,
        ];
        let near = |n: u64| (0..4).flat_map(move |d| [n.saturating_sub(d), (n + d).min(MAX_NUMBER + 1)]);
        for expected in edges.into_iter().flat_map(near) {
            let offsets = [0, 1, 2, half - 2, half - 1, half, half + 1, half + 2, 2 * half - 1];
            for truncated in
                offsets.into_iter().flat_map(|d| [expected.wrapping_add(d), expected.wrapping_sub(d), d])
            {
                let low = low_bits::<30>(truncated);
                assert_eq!(
                    decode_number(low, expected),
                    oracle(30, low, expected),
                    "{low:#x} at {expected:#x}"
                );
                let low = low_bits::<32>(truncated);
                assert_eq!(
                    decode_number_32(low, expected),
                    oracle(32, low, expected),
                    "{low:#x} at {expected:#x}"
                );
            }
        }
        // Exhaustively with four bits.
        for expected in 0..200 {
            for low in 0..16 {
                assert_eq!(closest::<4>(low, expected), oracle(4, low, expected), "{low} at {expected}");
            }
        }
    }

    #[test]
    fn nothing_beyond_the_largest_number_is_decoded() {
        assert_eq!(decode_number(low_bits::<30>(MAX_NUMBER), MAX_NUMBER), Some(MAX_NUMBER));
        assert_eq!(decode_number(0, MAX_NUMBER), None);
        assert_eq!(decode_number(5, u64::MAX), None);
    }
}

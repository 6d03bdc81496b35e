//! Each back end beside the reference, `chacha20poly1305`: whatever one seals the other opens, and what was changed neither
//! opens nor writes.

use chacha20::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::{
    Secret,
    aead::{BACK_ENDS, Open, seal_in_place},
};

/// Several steps of every back end, and more than the longest datagram that leaves.
const LONGEST: usize = 2_100;
const LONGEST_AAD: usize = 40;

/// Everything that a packet is opened with.
struct Sealed {
    key: [u8; 32],
    nonce: [u8; 12],
    aad: Vec<u8>,
    text: Vec<u8>,
    tag: [u8; 16],
}

impl Sealed {
    fn bits(&self) -> usize {
        8 * (32 + 12 + self.aad.len() + self.text.len() + 16)
    }

    /// Changes one bit, or back again.
    fn flip(&mut self, bit: usize) {
        let parts: [&mut [u8]; 5] =
            [&mut self.tag, &mut self.text, &mut self.aad, &mut self.nonce, &mut self.key];
        let byte = parts.into_iter().flatten().nth(bit / 8).unwrap();
        *byte ^= 1 << (bit % 8);
    }

    fn open(&self, open: Open, buffer: &mut [u8]) -> bool {
        let Self { key, nonce, aad, tag, .. } = self;
        open(&Secret::take(&mut key.clone()), nonce, aad, buffer, tag)
    }

    /// With this bit changed it must not open, and its text must stay as it came.
    fn is_refused_with(&mut self, bit: usize, open: Open) -> bool {
        self.flip(bit);
        let mut buffer = self.text.clone();
        let refused = !self.open(open, &mut buffer) && buffer == self.text;
        self.flip(bit);
        refused
    }
}

fn sealed_by_the_reference(rng: &mut ChaCha8Rng, len: usize, aad_len: usize) -> (Vec<u8>, Sealed) {
    let mut bytes = vec![0; len + aad_len];
    rng.fill_bytes(&mut bytes);
    let (mut key, mut nonce) = ([0; 32], [0; 12]);
    rng.fill_bytes(&mut key);
    rng.fill_bytes(&mut nonce);
    let aad = bytes.split_off(len);
    let mut text = bytes.clone();
    let tag = seal_in_place(&Secret::take(&mut key.clone()), &nonce, &aad, &mut text).unwrap();
    (bytes, Sealed { key, nonce, aad, text, tag })
}

#[test]
fn every_back_end_seals_and_opens_as_the_reference_does_at_every_length() {
    let seed = 0x8439;
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for len in 0..=LONGEST {
        for aad_len in 0..=LONGEST_AAD {
            let (plain, mut sealed) = sealed_by_the_reference(&mut rng, len, aad_len);
            let bit = usize::try_from(rng.next_u32()).unwrap() % sealed.bits();
            for &(back_end, seal, open) in BACK_ENDS.iter().filter(|(back_end, ..)| *back_end != "reference")
            {
                let what = format!("{back_end}: {len} bytes, {aad_len} associated");
                let mut ours = plain.clone();
                let key = Secret::take(&mut sealed.key.clone());
                let tag = seal(&key, &sealed.nonce, &sealed.aad, &mut ours);
                assert!(tag == Some(sealed.tag) && ours == sealed.text, "{what}");
                assert!(sealed.open(open, &mut ours) && ours == plain, "{what}");
                assert!(sealed.is_refused_with(bit, open), "{what}, bit {bit}");
            }
        }
    }
}

#[test]
fn no_bit_of_a_packet_can_be_changed() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (len, aad_len) in [(1, 4), (100, 12), (300, 32)] {
        let (_, mut sealed) = sealed_by_the_reference(&mut rng, len, aad_len);
        for &(back_end, _, open) in BACK_ENDS {
            assert!(
                (0..sealed.bits()).all(|bit| sealed.is_refused_with(bit, open)),
                "{back_end}: {len} bytes"
            );
        }
    }
}

#[test]
fn what_is_cut_or_moved_over_to_the_associated_data_does_not_open() {
    for &(back_end, seal, open) in BACK_ENDS {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        // Zeros at the border between the two: only the lengths tell them apart.
        let (_, mut sealed) = sealed_by_the_reference(&mut rng, 64, 16);
        let key = Secret::take(&mut sealed.key.clone());
        sealed.text.fill(0);
        sealed.tag = seal(&key, &sealed.nonce, &sealed.aad, &mut sealed.text).unwrap();
        for cut in 1..=64 {
            let mut short = sealed.text[..64 - cut].to_vec();
            let refused = !sealed.open(open, &mut short) && short == sealed.text[..64 - cut];
            assert!(refused, "{back_end}: {cut} bytes less");
            let mut long = [&sealed.text[..], &vec![0; cut]].concat();
            assert!(!sealed.open(open, &mut long), "{back_end}: {cut} bytes more");
        }
        let mut moved = Sealed { aad: [&sealed.aad[..], &sealed.text[..16]].concat(), ..sealed };
        let mut rest = moved.text.split_off(16);
        assert!(!moved.open(open, &mut rest), "{back_end}");
    }
}

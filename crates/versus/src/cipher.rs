//! The ciphers of the bare sockets, behind one seam: ours as packets are sealed with it, `chacha20poly1305` as a library's
//! users build it, and `ring`.

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use ring::aead::{AES_128_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use sealgram::fuzzing::PacketCipher;

use crate::end::Outcome;

pub const TAG: usize = 16;
const KEY: [u8; 32] = [7; 32];

pub trait Cipher {
    /// Seals all but the last 16 bytes, and puts the tag there.
    fn seal(&self, number: u64, packet: &mut [u8]);

    /// Opens all but the last 16 bytes in place; false if the tag is another.
    fn open(&self, number: u64, packet: &mut [u8]) -> bool;
}

fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_le_bytes());
    nonce
}

/// Ours.
pub struct Own(PacketCipher);

impl Own {
    pub fn new() -> Self {
        Self(PacketCipher::new(KEY))
    }
}

impl Cipher for Own {
    fn seal(&self, number: u64, packet: &mut [u8]) {
        if let Some((text, tag)) = packet.split_last_chunk_mut::<TAG>() {
            *tag = self.0.seal(&nonce(number), &[], text).unwrap_or_default();
        }
    }

    fn open(&self, number: u64, packet: &mut [u8]) -> bool {
        let Some((text, tag)) = packet.split_last_chunk_mut::<TAG>() else { return false };
        self.0.open(&nonce(number), &[], text, tag)
    }
}

/// The crate `chacha20poly1305`.
pub struct Crate(ChaCha20Poly1305);

impl Crate {
    pub fn new() -> Self {
        Self(ChaCha20Poly1305::new(&KEY.into()))
    }
}

impl Cipher for Crate {
    fn seal(&self, number: u64, packet: &mut [u8]) {
        if let Some((text, tag)) = packet.split_last_chunk_mut::<TAG>() {
            let made = self.0.encrypt_inout_detached((&nonce(number)).into(), &[], text.into());
            *tag = made.map(Into::into).unwrap_or_default();
        }
    }

    fn open(&self, number: u64, packet: &mut [u8]) -> bool {
        let Some((text, tag)) = packet.split_last_chunk_mut::<TAG>() else { return false };
        self.0.decrypt_inout_detached((&nonce(number)).into(), &[], text.into(), (&*tag).into()).is_ok()
    }
}

/// `ring`, with assembly.
pub struct Ring(LessSafeKey);

impl Ring {
    fn new(algorithm: &'static Algorithm) -> Outcome<Self> {
        let key =
            UnboundKey::new(algorithm, &KEY[..algorithm.key_len()]).map_err(|_| "a key of a wrong length")?;
        Ok(Self(LessSafeKey::new(key)))
    }

    pub fn chacha() -> Outcome<Self> {
        Self::new(&CHACHA20_POLY1305)
    }

    pub fn aes() -> Outcome<Self> {
        Self::new(&AES_128_GCM)
    }
}

impl Cipher for Ring {
    fn seal(&self, number: u64, packet: &mut [u8]) {
        if let Some((text, tag)) = packet.split_last_chunk_mut::<TAG>() {
            let nonce = Nonce::assume_unique_for_key(nonce(number));
            if let Ok(made) = self.0.seal_in_place_separate_tag(nonce, Aad::empty(), text) {
                tag.copy_from_slice(made.as_ref());
            }
        }
    }

    fn open(&self, number: u64, packet: &mut [u8]) -> bool {
        let nonce = Nonce::assume_unique_for_key(nonce(number));
        self.0.open_in_place(nonce, Aad::empty(), packet).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_back_end_seals_the_others_open_and_a_changed_byte_none() {
        let all: [Box<dyn Cipher>; 3] =
            [Box::new(Own::new()), Box::new(Crate::new()), Box::new(Ring::chacha().unwrap())];
        for seals in &all {
            let mut sealed = vec![3; 1_200 + TAG];
            seals.seal(9, &mut sealed);
            for opens in &all {
                let mut packet = sealed.clone();
                assert!(opens.open(9, &mut packet));
                assert!(packet[..1_200].iter().all(|byte| *byte == 3));
                let mut packet = sealed.clone();
                packet[5] ^= 1;
                assert!(!opens.open(9, &mut packet));
            }
        }
    }
}

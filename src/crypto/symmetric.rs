//! What a Noise handshake has mixed so far, and the cipher under it. Noise, sections 5.1 and 5.2. Must not know tokens.

use super::{
    NoiseError, Secret,
    aead::{Prepared, TAG_LEN, open_packet_in_place, seal_packet_in_place},
    hash, hmac,
    mac::Expand,
};

/// The key `k` of a `CipherState`.
enum CipherKey {
    /// Nothing is encrypted yet.
    None,
    /// The second output of the last HKDF, once it is wanted: of two tokens in a row the first one's `k` never is.
    Due(Expand),
    Made(Secret<32>),
}

impl CipherKey {
    fn duplicate(&self) -> Self {
        match self {
            Self::None => Self::None,
            Self::Due(expand) => Self::Due(expand.duplicate()),
            Self::Made(key) => Self::Made(key.duplicate()),
        }
    }
}

/// `CipherState` and `SymmetricState` in one. Noise, sections 5.1 and 5.2.
pub(super) struct Symmetric {
    chaining_key: Secret<32>,
    /// Of everything so far. Public.
    pub(super) hash: [u8; 32],
    key: CipherKey,
    nonce: u64,
}

impl Symmetric {
    /// `InitializeSymmetric`: every name here is longer than a hash, so it is always hashed.
    pub(super) fn new(name: &str) -> Self {
        let hash = hash(&[name.as_bytes()]);
        let mut chaining_key = Secret::zeroed();
        chaining_key.as_mut_bytes().copy_from_slice(&hash);
        Self { chaining_key, hash, key: CipherKey::None, nonce: 0 }
    }

    pub(super) fn duplicate(&self) -> Self {
        Self {
            chaining_key: self.chaining_key.duplicate(),
            hash: self.hash,
            key: self.key.duplicate(),
            nonce: self.nonce,
        }
    }

    pub(super) fn mix_hash(&mut self, parts: &[&[u8]; 2]) {
        let [first, second] = parts;
        self.hash = hash(&[&self.hash, first, second]);
    }

    /// `HKDF(ck, input, ..)`: its first output, and what makes the others.
    fn hkdf(&self, input: &[u8]) -> (Secret<32>, Expand) {
        let expand = Expand::new(hmac(self.chaining_key.as_bytes(), &[input]).as_bytes());
        (expand.block(&[], 1), expand)
    }

    pub(super) fn mix_key(&mut self, input: &[u8]) {
        let (chaining_key, expand) = self.hkdf(input);
        self.chaining_key = chaining_key;
        self.key = CipherKey::Due(expand);
        self.nonce = 0;
    }

    pub(super) fn mix_key_and_hash(&mut self, input: &[u8]) {
        let (chaining_key, expand) = self.hkdf(input);
        let hash = expand.block(&[chaining_key.as_bytes()], 2);
        self.chaining_key = chaining_key;
        self.mix_hash(&[hash.as_bytes(), &[]]);
        self.key = CipherKey::Made(expand.block(&[hash.as_bytes()], 3));
        self.nonce = 0;
    }

    /// Makes `k` if it is due. The chaining key is still the first output of the HKDF whose second this is.
    fn make_key(&mut self) {
        if let CipherKey::Due(expand) = &self.key {
            self.key = CipherKey::Made(expand.block(&[self.chaining_key.as_bytes()], 2));
        }
    }

    /// `EncryptAndHash`, from `plaintext` to the front of `out`. Returns the rest of `out`.
    pub(super) fn encrypt<'o>(
        &mut self,
        plaintext: &[u8],
        out: &'o mut [u8],
    ) -> Result<&'o mut [u8], NoiseError> {
        let (text, rest) = out.split_at_mut_checked(plaintext.len()).ok_or(NoiseError::Misuse)?;
        text.copy_from_slice(plaintext);
        self.make_key();
        let key = match &self.key {
            CipherKey::Made(key) => key,
            CipherKey::Due(_) => return Err(NoiseError::Misuse),
            CipherKey::None => {
                self.mix_hash(&[text, &[]]);
                return Ok(rest);
            }
        };
        let (tag, rest) = rest.split_first_chunk_mut::<TAG_LEN>().ok_or(NoiseError::Misuse)?;
        // A key of Noise seals one text, or two.
        let key = (key, &mut Prepared::default());
        *tag = seal_packet_in_place(key, &nonce(self.nonce), &self.hash, text).ok_or(NoiseError::Misuse)?;
        self.nonce = self.nonce.checked_add(1).ok_or(NoiseError::Misuse)?;
        self.mix_hash(&[text, tag]);
        Ok(rest)
    }

    /// `DecryptAndHash`, from `message` to `out`, which has the length of the plaintext.
    pub(super) fn decrypt(&mut self, message: &[u8], out: &mut [u8]) -> Result<(), NoiseError> {
        let (text, tag) = message.split_at_checked(out.len()).ok_or(NoiseError::Refused)?;
        out.copy_from_slice(text);
        self.make_key();
        match &self.key {
            CipherKey::Made(key) => {
                let tag = tag.try_into().map_err(|_| NoiseError::Refused)?;
                let key = (key, &mut Prepared::default());
                if !open_packet_in_place(key, &nonce(self.nonce), &self.hash, out, tag) {
                    return Err(NoiseError::Refused);
                }
                self.nonce = self.nonce.checked_add(1).ok_or(NoiseError::Misuse)?;
            }
            CipherKey::Due(_) => return Err(NoiseError::Misuse),
            CipherKey::None if tag.is_empty() => {}
            CipherKey::None => return Err(NoiseError::Refused),
        }
        self.mix_hash(&[text, tag]);
        Ok(())
    }

    /// `Split`: the keys of the two directions.
    pub(super) fn split(&self) -> [Secret<32>; 2] {
        let (first, expand) = self.hkdf(&[]);
        let second = expand.block(&[first.as_bytes()], 2);
        [first, second]
    }

    /// Bytes that a ciphertext is longer than its plaintext.
    pub(super) const fn overhead(&self) -> usize {
        if matches!(self.key, CipherKey::None) { 0 } else { TAG_LEN }
    }
}

/// Four zero bytes and the counter, little-endian. Noise, section 12.3.
const fn nonce(counter: u64) -> [u8; 12] {
    let [n0, n1, n2, n3, n4, n5, n6, n7] = counter.to_le_bytes();
    [0, 0, 0, 0, n0, n1, n2, n3, n4, n5, n6, n7]
}

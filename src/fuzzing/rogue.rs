//! A peer that has every key it should have and keeps to no rule: it seals what it is told to, envelopes, handshake
//! messages and packets alike. The hostile suite lets it loose on real endpoints. It follows PROTOCOL.md ("Envelope",
//! "Keys", "Packets") by itself and shares no state machine with what it attacks.

use std::fmt;

use chacha20::ChaCha8Rng;
use rand_core::SeedableRng;

use crate::{
    crypto::{
        self, EnvelopeKeys, Handshake, Prologue, Secret, Side, Split,
        aead::{Prepared, block_mask, open_packet_in_place, seal_in_place, seal_packet_in_place},
    },
    sealed::Credentials,
    wire::header::{WORD_LEN, decode_number, encode_word, split_word},
};

/// Nonce and tag of an envelope.
const AROUND: (usize, usize) = (24, 16);
const TAG_LEN: usize = 16;
/// Longer than any Noise message of ours.
const ROOM: usize = 512;

/// The name by which a handshake message is referred to.
#[must_use]
pub fn reference(noise_message: &[u8]) -> [u8; 16] {
    let mut reference = [0; 16];
    let hash = crypto::hash(&[noise_message]);
    reference.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    reference
}

/// One handshake of the evil peer's, from either side.
pub struct EvilHandshake {
    envelope: EnvelopeKeys,
    prologue: Prologue,
    noise: Option<Handshake>,
    side: Side,
    rng: ChaCha8Rng,
}

impl fmt::Debug for EvilHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EvilHandshake(..)")
    }
}

impl EvilHandshake {
    /// Who begins the handshake, or answers it, with these credentials. `None` if they do not fit the side.
    #[must_use]
    pub fn new(
        credentials: &Credentials,
        initiates: bool,
        app_id: &[u8],
        route: &[u8],
        seed: u64,
    ) -> Option<Self> {
        let side = if initiates { Side::Initiator } else { Side::Responder };
        let prologue = Prologue::new(credentials.profile.byte(), app_id, route)?;
        let pattern = credentials.profile.pattern();
        let noise = Handshake::new(pattern, side, prologue.as_bytes(), credentials.keys()).ok();
        let envelope = credentials.envelope_keys(app_id);
        Some(Self { envelope, prologue, noise, side, rng: ChaCha8Rng::seed_from_u64(seed) })
    }

    fn side_of(initiator: bool) -> Side {
        if initiator { Side::Initiator } else { Side::Responder }
    }

    /// An envelope around any body, under the key of either direction, behind `clear` and bound to it.
    #[must_use]
    pub fn envelope(&mut self, from_initiator: bool, clear: &[u8], body: &[u8]) -> Vec<u8> {
        let mut envelope = [&[0; AROUND.0], body, &[0; AROUND.1]].concat();
        let sealed = self.envelope.seal(&mut self.rng, Self::side_of(from_initiator), clear, &mut envelope);
        if sealed.is_ok() { [clear, &envelope].concat() } else { Vec::new() }
    }

    /// What is inside an envelope, if it is one.
    #[must_use]
    pub fn body(&self, from_initiator: bool, clear_len: usize, datagram: &[u8]) -> Option<Vec<u8>> {
        let (clear, envelope) = datagram.split_at_checked(clear_len)?;
        let mut envelope = envelope.to_vec();
        self.envelope.open(Self::side_of(from_initiator), clear, &mut envelope).map(|body| body.to_vec())
    }

    /// Our next Noise message with any payload.
    #[must_use]
    pub fn message(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let mut message = vec![0; ROOM];
        let len = self.noise.as_mut()?.write(&mut self.rng, payload, &mut message).ok()?;
        message.truncate(len);
        Some(message)
    }

    /// The payload of the peer's next Noise message.
    #[must_use]
    pub fn read(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let mut payload = vec![0; ROOM];
        let (next, len) = self.noise.as_ref()?.read(message, &mut payload).ok()?;
        self.noise = Some(next);
        payload.truncate(len);
        Some(payload)
    }

    /// Message 1 of NK for the server with this static key: any ephemeral key, and the Diffie-Hellman result that all
    /// points of low order give.
    #[must_use]
    pub fn message_of_low_order(&self, server: &[u8; 32], ephemeral: &[u8; 32], payload: &[u8]) -> Vec<u8> {
        let start = crypto::hash(&[b"Noise_NK_25519_ChaChaPoly_BLAKE2s"]);
        let mut hash = crypto::hash(&[&start, self.prologue.as_bytes()]);
        hash = crypto::hash(&[&hash, server]);
        hash = crypto::hash(&[&hash, ephemeral]);
        let temporary = crypto::hmac(&start, &[&[0; 32]]);
        let first = crypto::hmac(temporary.as_bytes(), &[&[1]]);
        let key = crypto::hmac(temporary.as_bytes(), &[first.as_bytes(), &[2]]);
        let mut text = payload.to_vec();
        let tag = seal_in_place(&key, &[0; 12], &hash, &mut text).unwrap_or_default();
        [&ephemeral[..], &text, &tag].concat()
    }

    /// The keys of the session, once the handshake is whole.
    #[must_use]
    pub fn session(self) -> Option<EvilSession> {
        let split = self.noise?.split().ok()?;
        Some(EvilSession { split, side: self.side })
    }
}

/// The keys of a session in the hands of a peer who does as he likes.
pub struct EvilSession {
    split: Split,
    side: Side,
}

impl fmt::Debug for EvilSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EvilSession(..)")
    }
}

/// What PROTOCOL.md, "Keys", says of a direction and an epoch.
struct EpochKeys {
    header: Secret<32>,
    key: Secret<32>,
    iv: Secret<32>,
}

impl EvilSession {
    fn keys(&self, from: Side, epoch: u32) -> EpochKeys {
        let Split { i2r, r2i, hash } = &self.split;
        let direction = if from == Side::Initiator { i2r } else { r2i };
        let mut traffic = crypto::hmac(direction.as_bytes(), &[b"sealgram/1 traffic", hash, &[1]]);
        let header = crypto::hmac(traffic.as_bytes(), &[b"hp", &[1]]);
        for _ in 0..epoch {
            traffic = crypto::hmac(traffic.as_bytes(), &[b"next", &[1]]);
        }
        let key = crypto::hmac(traffic.as_bytes(), &[b"key", &[1]]);
        EpochKeys { header, key, iv: crypto::hmac(traffic.as_bytes(), &[b"iv", &[1]]) }
    }

    /// A packet of ours in any epoch, with any number and any payload, behind `prefix`.
    #[must_use]
    pub fn packet(&self, prefix: &[u8], epoch: u32, number: u64, payload: &[u8]) -> Vec<u8> {
        self.packet_of(self.side, prefix, epoch, number, payload)
    }

    /// A packet under the keys by which the other side seals: what comes to it is then a reflection.
    #[must_use]
    pub fn reflection(&self, prefix: &[u8], epoch: u32, number: u64, payload: &[u8]) -> Vec<u8> {
        self.packet_of(self.side.other(), prefix, epoch, number, payload)
    }

    fn packet_of(&self, from: Side, prefix: &[u8], epoch: u32, number: u64, payload: &[u8]) -> Vec<u8> {
        let keys = self.keys(from, epoch);
        let word = encode_word(epoch, number);
        let mut text = payload.to_vec();
        let associated = [prefix, &word].concat();
        let tag = seal_packet_in_place(
            (&keys.key, &mut Prepared::default()),
            &nonce(&keys.iv, number),
            &associated,
            &mut text,
        );
        let tag: [u8; TAG_LEN] = tag.unwrap_or_default();
        let mask = u32::from_ne_bytes(block_mask(&keys.header, &tag));
        let word = (u32::from_ne_bytes(word) ^ mask).to_ne_bytes();
        [prefix, &word, &text, &tag].concat()
    }

    /// The number and the payload of a packet of the peer's, of its first four epochs and near number `near`.
    #[must_use]
    pub fn open(&self, near: u64, packet: &[u8]) -> Option<(u64, Vec<u8>)> {
        let (word, rest) = packet.split_first_chunk::<WORD_LEN>()?;
        let (text, tag) = rest.split_last_chunk::<TAG_LEN>()?;
        let header = self.keys(self.side.other(), 0).header;
        let mask = u32::from_ne_bytes(block_mask(&header, tag));
        let word = (u32::from_ne_bytes(*word) ^ mask).to_ne_bytes();
        let (epoch, truncated) = split_word(word);
        let number = decode_number(truncated, near)?;
        let keys = self.keys(self.side.other(), epoch.into());
        let mut text = text.to_vec();
        open_packet_in_place(
            (&keys.key, &mut Prepared::default()),
            &nonce(&keys.iv, number),
            &word,
            &mut text,
            tag,
        )
        .then_some((number, text))
    }
}

fn nonce(iv: &Secret<32>, number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce.iter_mut().zip(iv.as_bytes()).for_each(|(to, from)| *to = *from);
    for (byte, number) in nonce.iter_mut().rev().zip(number.to_le_bytes()) {
        *byte ^= number;
    }
    nonce
}

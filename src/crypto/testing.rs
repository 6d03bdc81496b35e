//! What the tests of this room share: fixed and failing randomness, hex.

use std::{convert::Infallible, fmt};

use rand_core::{TryCryptoRng, TryRng};

use super::{Channel, Handshake, Keys, Pattern, Secret, SecretKey, Side, Split};

/// Yields the given bytes, then fails the test.
pub(crate) struct FixedRng<'a>(&'a [u8]);

impl<'a> FixedRng<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl TryRng for FixedRng<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        let (now, later) = self.0.split_at(target.len());
        target.copy_from_slice(now);
        self.0 = later;
        Ok(())
    }
}

impl TryCryptoRng for FixedRng<'_> {}

/// Always fails.
pub(crate) struct BrokenRng;

#[derive(Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

impl TryRng for BrokenRng {
    type Error = Broken;

    fn try_next_u32(&mut self) -> Result<u32, Broken> {
        Err(Broken)
    }

    fn try_next_u64(&mut self) -> Result<u64, Broken> {
        Err(Broken)
    }

    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Broken> {
        Err(Broken)
    }
}

impl TryCryptoRng for BrokenRng {}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

pub(crate) fn unhex_array<const N: usize>(text: &str) -> [u8; N] {
    unhex(text).try_into().unwrap()
}

/// The fixed keys of both ends of a test handshake.
pub(crate) struct Parties {
    pub(crate) initiator: SecretKey,
    pub(crate) responder: SecretKey,
    pub(crate) psk: Secret<32>,
}

impl Parties {
    pub(crate) fn new() -> Self {
        Self {
            initiator: SecretKey::from_bytes([0x11; 32]),
            responder: SecretKey::from_bytes([0x22; 32]),
            psk: Secret::take(&mut [0x33; 32]),
        }
    }

    /// One end, with exactly the keys that the pattern takes.
    pub(crate) fn end(&self, pattern: Pattern, side: Side, prologue: &[u8]) -> Handshake {
        let (initiator, responder) = (self.initiator.public_key(), self.responder.public_key());
        let (local, remote) = match side {
            Side::Initiator => (
                pattern.initiator_has_static().then_some(&self.initiator),
                pattern.knows_responder().then_some(&responder),
            ),
            Side::Responder => (
                pattern.responder_has_static().then_some(&self.responder),
                pattern.knows_initiator().then_some(&initiator),
            ),
        };
        let psk = pattern.has_psk().then_some(&self.psk);
        Handshake::new(pattern, side, prologue, Keys { local, remote, psk, static_static: None }).unwrap()
    }
}

/// The ephemeral secret that the test handshakes of a side use.
pub(crate) const fn ephemeral(side: Side) -> [u8; 32] {
    match side {
        Side::Initiator => [0x44; 32],
        Side::Responder => [0x55; 32],
    }
}

/// Writes the next message with the side's fixed ephemeral.
pub(crate) fn write(end: &mut Handshake, side: Side, payload: &[u8]) -> Vec<u8> {
    let mut out = [0; 1024];
    let len = end.write(&mut FixedRng::new(&ephemeral(side)), payload, &mut out).unwrap();
    out[..len].to_vec()
}

/// Both ends of a session with made-up keys.
pub(crate) fn channels() -> (Channel, Channel) {
    let split =
        || Split { i2r: Secret::take(&mut [0x61; 32]), r2i: Secret::take(&mut [0x62; 32]), hash: [0x63; 32] };
    (Channel::derive(&split(), Side::Initiator), Channel::derive(&split(), Side::Responder))
}

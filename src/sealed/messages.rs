//! The bytes of handshake messages: what rides inside Noise, and the datagram around it. Keeps no state; a message
//! that does not fit our limits never becomes a value. PROTOCOL.md, "Hello" and "Envelope".

use std::time::Duration;

use rand_core::TryCryptoRng;

use super::{Failure, profile::Profile};
use crate::{
    config::Config,
    connection::Negotiated,
    crypto::{EnvelopeError, EnvelopeKeys, Side, packet::OVERHEAD},
    error::Dropped,
    wire::{
        codec::Writer,
        envelope::{Body, ENVELOPE_HEADROOM, ENVELOPE_TAIL, Kind},
        frame::CID_LEN,
        hello::{ANSWER_LEN, Answer, Hello, Versions},
    },
};

/// Bytes of a sealed packet that are not frames.
pub(super) const PACKET_OVERHEAD: usize = OVERHEAD;
/// Length of the shortest datagram with a PATH_CHALLENGE: word, frame, tag.
pub(super) const CHALLENGE_DATAGRAM: u16 = 29;
/// Longest Noise message with a `Hello` and a connection id inside: XX, message 2.
const MAX_NOISE: usize = 160;

/// A Noise message, kept to be sent again.
#[derive(Clone, Debug)]
pub(super) struct NoiseBytes {
    bytes: [u8; MAX_NOISE],
    len: usize,
}

impl NoiseBytes {
    /// What `write` put into the buffer.
    pub(super) fn written(write: impl FnOnce(&mut [u8]) -> Result<usize, Failure>) -> Result<Self, Failure> {
        let mut bytes = [0; MAX_NOISE];
        let len = write(&mut bytes)?;
        Ok(Self { bytes, len })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The `ref` that answers the message with this hash.
pub(super) fn reference(id: &[u8; 32]) -> [u8; 16] {
    let [reference @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *id;
    reference
}

/// What both sides will keep to: the smaller of each pair of limits. PROTOCOL.md, "Hello".
fn negotiate(config: &Config, peer: &Hello) -> Negotiated {
    let agreed = Hello::new(config).agreed(peer);
    Negotiated {
        idle_timeout: Duration::from_millis(agreed.idle_timeout_ms.into()),
        max_datagram: agreed.max_datagram,
        max_fragments: agreed.max_fragments,
        max_message: agreed.max_message,
        overhead: PACKET_OVERHEAD,
    }
}

/// The longest payload: `Hello` and a connection id.
pub(super) const MAX_PAYLOAD: usize = ANSWER_LEN;

/// The payload of message 1. In the patterns with FIN that message is secret from nobody, so it says no more than the
/// versions. Returns its length.
pub(super) fn init_payload(profile: Profile, config: &Config, out: &mut [u8; MAX_PAYLOAD]) -> usize {
    if profile.has_fin() { put(out, &Versions::OWN.to_bytes()) } else { hello_payload(config, out) }
}

/// The payload of message 2: `Hello` and the id by which we want to be addressed. Between two endpoints there is none.
pub(super) fn answer_payload(
    config: &Config,
    cid: Option<[u8; CID_LEN]>,
    out: &mut [u8; MAX_PAYLOAD],
) -> usize {
    let mut writer = Writer::new(out);
    // The buffer holds the longest answer, so there is room.
    let written = Answer { hello: Hello::new(config), cid }.write(&mut writer);
    if written.is_ok() { writer.written() } else { 0 }
}

/// The payload of message 3, and of message 1 where there is no message 3.
pub(super) fn hello_payload(config: &Config, out: &mut [u8; MAX_PAYLOAD]) -> usize {
    put(out, &Hello::new(config).to_bytes())
}

fn put(out: &mut [u8], bytes: &[u8]) -> usize {
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    bytes.len()
}

/// Reads the payload of message 1. `Ok(None)`: fine, and the limits come with message 3.
pub(super) fn read_init(
    profile: Profile,
    config: &Config,
    payload: &[u8],
) -> Result<Option<Negotiated>, Dropped> {
    if profile.has_fin() {
        return Versions::from_bytes(payload).map(|_| None).map_err(|_| Dropped::Handshake);
    }
    read_hello(config, payload).map(Some)
}

/// Reads the payload of message 2: the limits, and the id by which a server of many peers wants to be addressed.
pub(super) fn read_answer(
    config: &Config,
    payload: &[u8],
) -> Result<(Negotiated, Option<[u8; CID_LEN]>), Dropped> {
    let answer = Answer::from_bytes(payload, config.handshake_bytes).map_err(|_| Dropped::Handshake)?;
    Ok((negotiate(config, &answer.hello), answer.cid))
}

/// Reads the payload of message 3, or of message 1 where there is no message 3.
pub(super) fn read_hello(config: &Config, payload: &[u8]) -> Result<Negotiated, Dropped> {
    let hello = Hello::from_bytes(payload, config.handshake_bytes).map_err(|_| Dropped::Handshake)?;
    Ok(negotiate(config, &hello))
}

/// Seals one handshake message into the front of `out`: `clear`, which stands before the envelope and is bound to it,
/// then an envelope of `size` bytes. Returns the datagram's length.
pub(super) fn seal<R: TryCryptoRng + ?Sized>(
    keys: &EnvelopeKeys,
    rng: &mut R,
    from: Side,
    clear: &[u8],
    body: &Body<'_>,
    size: usize,
    out: &mut [u8],
) -> Result<usize, Failure> {
    let len = clear.len().saturating_add(size);
    let (front, envelope) =
        out.get_mut(..len).and_then(|out| out.split_at_mut_checked(clear.len())).ok_or(Failure::Room)?;
    front.copy_from_slice(clear);
    let end = size.saturating_sub(ENVELOPE_TAIL);
    let plain = envelope.get_mut(ENVELOPE_HEADROOM..end).ok_or(Failure::Room)?;
    body.encode(plain).map_err(|_| Failure::Room)?;
    keys.seal(rng, from, clear, envelope).map_err(|error| match error {
        EnvelopeError::Entropy => Failure::Entropy,
        EnvelopeError::Length => Failure::Room,
    })?;
    Ok(len)
}

/// Opens and decodes an envelope that the side `from` sealed; `clear` is what stood before it in the datagram. An
/// envelope of ours without a proper body is dropped like noise.
pub(super) fn open<'a>(
    keys: &EnvelopeKeys,
    from: Side,
    clear: &[u8],
    envelope: &'a mut [u8],
) -> Option<Result<Body<'a>, Dropped>> {
    let body = keys.open(from, clear, envelope)?;
    Some(Body::decode(body).map_err(|_| Dropped::Handshake).and_then(|body| {
        let fits = match from {
            Side::Initiator => matches!(body.kind, Kind::Init | Kind::Fin),
            Side::Responder => matches!(body.kind, Kind::Resp | Kind::Cookie),
        };
        if fits { Ok(body) } else { Err(Dropped::Handshake) }
    }))
}

//! The bytes of handshake messages: what rides inside Noise, and the datagram around it. Keeps no state; a message
//! that does not fit our limits never becomes a value. PROTOCOL.md, "Hello" and "Envelope".

use std::time::Duration;

use rand_core::TryCryptoRng;

use super::Failure;
use crate::{
    config::Config,
    connection::Negotiated,
    crypto::{EnvelopeKeys, Side},
    error::Dropped,
    wire::{
        envelope::{Body, Kind},
        hello::{Hello, Tail, Versions},
    },
};

/// The wire version that this code speaks.
pub(super) const VERSION: u8 = 1;
/// Length of a FIN datagram, in bytes. PROTOCOL.md, "Envelope".
pub(super) const FIN_BYTES: usize = 256;
/// Bytes of nonce before and tag behind the body of an envelope.
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
/// Bytes of a sealed packet that are not frames.
pub(super) const PACKET_OVERHEAD: usize = 20;
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
    pub(super) fn written(
        write: impl FnOnce(&mut [u8]) -> Result<usize, Failure>,
    ) -> Result<Self, Failure> {
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

fn own_hello(config: &Config) -> Hello {
    Hello {
        min_version: VERSION,
        max_version: VERSION,
        flags: 0,
        max_datagram: config.max_datagram_bytes,
        idle_timeout_ms: u32::try_from(config.idle_timeout.as_millis()).unwrap_or(u32::MAX),
        max_fragments: config.max_fragments,
        max_message: config.max_message_bytes,
    }
}

/// What both sides will keep to: the smaller of each pair of limits. `None` if the peer's are out of range.
/// PROTOCOL.md, "Hello".
fn negotiate(config: &Config, peer: &Hello) -> Option<Negotiated> {
    let speaks = peer.min_version <= VERSION && VERSION <= peer.max_version;
    if !speaks || peer.max_datagram < config.handshake_bytes {
        return None;
    }
    Some(Negotiated {
        idle_timeout: config.idle_timeout.min(Duration::from_millis(peer.idle_timeout_ms.into())),
        max_datagram: config.max_datagram_bytes.min(peer.max_datagram),
        max_fragments: config.max_fragments.min(peer.max_fragments),
        max_message: config.max_message_bytes.min(peer.max_message),
        overhead: PACKET_OVERHEAD,
    })
}

/// What rides in the three messages of a handshake. In the patterns with FIN, message 1 is not secret from anyone, so
/// it says no more than the versions.
#[derive(Debug)]
pub(super) struct Payloads {
    pub(super) has_fin: bool,
}

/// The longest payload: `Hello`, length of the connection id, connection id.
pub(super) const MAX_PAYLOAD: usize = 33;

impl Payloads {
    /// Of message 1; returns its length.
    pub(super) fn init(&self, config: &Config, out: &mut [u8; MAX_PAYLOAD]) -> usize {
        if self.has_fin { put(out, &Versions { min: VERSION, max: VERSION }.encode()) } else { self.fin(config, out) }
    }

    /// Of message 2: `Hello` and the id by which we want to be addressed. Between two endpoints there is none.
    pub(super) fn response(&self, config: &Config, out: &mut [u8; MAX_PAYLOAD]) -> usize {
        let len = self.fin(config, out);
        // The length of the absent id is the one zero byte behind `Hello`.
        len + 1
    }

    /// Of message 3.
    #[expect(clippy::unused_self, reason = "one family of functions")]
    pub(super) fn fin(&self, config: &Config, out: &mut [u8; MAX_PAYLOAD]) -> usize {
        put(out, &own_hello(config).encode())
    }

    /// `Some(None)`: fine, and the limits come later.
    pub(super) fn read_init(&self, config: &Config, payload: &[u8]) -> Option<Option<Negotiated>> {
        if self.has_fin {
            let versions = Versions::decode(payload).ok()?;
            return (versions.min <= VERSION && VERSION <= versions.max).then_some(None);
        }
        self.read_fin(config, payload).map(Some)
    }

    /// An id in the answer belongs to a server of many peers; between two endpoints it is refused.
    pub(super) fn read_response(&self, config: &Config, payload: &[u8]) -> Option<Negotiated> {
        let (&0, hello) = payload.split_last()? else { return None };
        self.read_fin(config, hello)
    }

    #[expect(clippy::unused_self, reason = "one family of functions")]
    pub(super) fn read_fin(&self, config: &Config, payload: &[u8]) -> Option<Negotiated> {
        negotiate(config, &Hello::decode(payload).ok()?)
    }
}

fn put(out: &mut [u8], bytes: &[u8]) -> usize {
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    bytes.len()
}

/// Seals one handshake message into the front of `out`, padded to a datagram of `size` bytes.
pub(super) fn seal<R: TryCryptoRng + ?Sized>(
    keys: &EnvelopeKeys,
    rng: &mut R,
    from: Side,
    body: &Body<'_>,
    size: usize,
    out: &mut [u8],
) -> Result<usize, Failure> {
    let datagram = out.get_mut(..size).ok_or(Failure::Room)?;
    let end = size.saturating_sub(TAG_LEN);
    let plain = datagram.get_mut(NONCE_LEN..end).ok_or(Failure::Room)?;
    body.encode(plain).map_err(|_| Failure::Room)?;
    keys.seal(rng, from, &[], datagram).map_err(|_| Failure::Entropy)?;
    Ok(size)
}

/// Opens and decodes a handshake datagram that the side `from` sealed. An envelope of ours without a proper body is
/// dropped like noise.
pub(super) fn open<'a>(
    keys: &EnvelopeKeys,
    from: Side,
    datagram: &'a mut [u8],
) -> Option<Result<Body<'a>, Dropped>> {
    let body = keys.open(from, &[], datagram)?;
    Some(Body::decode(body).map_err(|_| Dropped::Handshake).and_then(|body| {
        let fits = match from {
            Side::Initiator => matches!(body.kind, Kind::Init | Kind::Fin),
            Side::Responder => matches!(body.kind, Kind::Resp | Kind::Cookie),
        };
        if fits { Ok(body) } else { Err(Dropped::Handshake) }
    }))
}

//! A handshake that is over and that nobody has confirmed, as a table of many keeps it: what the keys are made from, not
//! the keys. Those are made when a packet comes that they may open. PROTOCOL.md, "Flood defence".

use super::{Agreed, seal::Prefix};
use crate::{
    connection::Negotiated,
    crypto::{Channel, Handshake, NoiseError, OpenKeys, PublicKey, Side, Split},
};

/// What a half-open entry of a server waits for.
#[derive(Debug)]
pub(super) enum Waits {
    /// FIN, which this state reads.
    Fin(Box<Handshake>),
    /// The packet that confirms.
    Packet(Box<Finished>),
}

/// The end of a handshake in which we answered.
#[derive(Debug)]
pub(super) struct Finished {
    split: Split,
    /// The peer's static key, where the profile proves one.
    pub(super) peer: Option<PublicKey>,
    negotiated: Negotiated,
}

impl Finished {
    pub(super) fn new(noise: Handshake, negotiated: Negotiated) -> Result<Self, NoiseError> {
        let peer = noise.remote_static();
        Ok(Self { split: noise.split()?, peer, negotiated })
    }

    /// The keys that open, for one packet to be tried with.
    pub(super) fn open_keys(&self) -> Box<OpenKeys> {
        OpenKeys::derive(&self.split, Side::Responder)
    }

    /// The session under the keys that opened its first packet, with all others. `init` is BLAKE2s of message 1.
    pub(super) fn confirmed(&self, open: Box<OpenKeys>, init: [u8; 32]) -> Agreed {
        let channel = Channel::around(open, &self.split, Side::Responder);
        // Not taken apart by value: what the keys are made from is wiped where it lies.
        let Self { peer, negotiated, .. } = *self;
        // What a server sends to a client has nothing in front.
        let (cid, prefix) = (None, Prefix::default());
        Agreed { channel, side: Side::Responder, peer, init, negotiated, cid, prefix }
    }
}

//! From the handshake's two keys to everything a session seals and opens with. PROTOCOL.md, "Keys", has each line.
//! Must not know packets. What a later key was made from is erased as soon as the later key exists.

use super::{
    Secret, Side, hmac,
    noise::Split,
    packet::{OpenKeys, SealKey},
};

/// The key and the nonce base of one direction in one epoch.
pub(super) struct PacketKey {
    pub(super) key: Secret<32>,
    pub(super) iv: Secret<12>,
}

impl PacketKey {
    const fn zeroed() -> Self {
        Self { key: Secret::zeroed(), iv: Secret::zeroed() }
    }

    /// Wipes it where it stands.
    pub(super) fn erase(&mut self) {
        *self = Self::zeroed();
    }
}

/// The secret of one direction in one epoch, from which the epoch's packet key and the next secret are made.
pub(super) struct Traffic(Secret<32>);

impl Traffic {
    /// Wipes it where it stands.
    pub(super) fn erase(&mut self) {
        self.0 = Secret::zeroed();
    }

    /// Binds the key of a direction to everything that was said in the handshake.
    fn first(direction: &Secret<32>, hash: &[u8; 32]) -> Self {
        Self(hmac(direction.as_bytes(), &[b"sealgram/1 traffic", hash, &[1]]))
    }

    #[cfg(test)]
    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The key that masks headers. Made from the first secret only: it hides the epoch, so it cannot depend on it.
    pub(super) fn header_key(&self) -> Secret<32> {
        hmac(self.0.as_bytes(), &[b"hp", &[1]])
    }

    pub(super) fn packet_key(&self) -> PacketKey {
        let key = hmac(self.0.as_bytes(), &[b"key", &[1]]);
        let wide = hmac(self.0.as_bytes(), &[b"iv", &[1]]);
        let mut iv = Secret::zeroed();
        for (to, from) in iv.as_mut_bytes().iter_mut().zip(wide.as_bytes()) {
            *to = *from;
        }
        PacketKey { key, iv }
    }

    /// The secret of the next epoch. PROTOCOL.md, "Ratchet"; nothing is mixed in yet.
    pub(super) fn next(&self) -> Self {
        Self(hmac(self.0.as_bytes(), &[b"next", &[1]]))
    }
}

/// A session's keys, one way each, and what it shows to the application. The keys stay where they were made until they
/// are wiped: a session that moves from an attempt to its life would leave copies of them behind.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) seal: Box<SealKey>,
    pub(crate) open: Box<OpenKeys>,
    /// Secret of the session, the same on both sides; released to the application once the session is confirmed.
    pub(crate) exporter: Box<Secret<32>>,
    /// The handshake hash, the same on both sides. Public.
    pub(crate) hash: [u8; 32],
}

impl Channel {
    /// The keys of `side`. What they are made from is the caller's to erase.
    pub(crate) fn derive(split: &Split, side: Side) -> Self {
        let Split { i2r, r2i, hash } = split;
        let exporter = Box::new(hmac(i2r.as_bytes(), &[b"exporter", r2i.as_bytes(), hash, &[1]]));
        let (out, into) = match side {
            Side::Initiator => (i2r, r2i),
            Side::Responder => (r2i, i2r),
        };
        let seal = Box::new(SealKey::new(Traffic::first(out, hash)));
        let open = Box::new(OpenKeys::new(&Traffic::first(into, hash)));
        Self { seal, open, exporter, hash: *hash }
    }

    /// Wipes every key where it stands. From now on nothing is sealed and nothing opens.
    pub(crate) fn erase(&mut self) {
        let Self { seal, open, exporter, hash: _ } = self;
        seal.erase();
        open.erase();
        **exporter = Secret::zeroed();
    }
}

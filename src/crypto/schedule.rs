//! From the handshake's two keys to everything a session seals and opens with. PROTOCOL.md, "Keys", has each line.
//! Must not know packets. What a later key was made from is erased as soon as the later key exists.

use super::{
    Secret, Side,
    aead::Prepared,
    mac::Expand,
    noise::Split,
    packet::{OpenKeys, SealKey},
};

/// The key and the nonce base of one direction in one epoch.
pub(super) struct PacketKey {
    pub(super) key: Secret<32>,
    pub(super) iv: Secret<12>,
    pub(super) prepared: Prepared,
}

impl PacketKey {
    fn zeroed() -> Self {
        Self { key: Secret::zeroed(), iv: Secret::zeroed(), prepared: Prepared::default() }
    }

    /// What sealing and opening take.
    pub(super) const fn for_cipher(&mut self) -> (&Secret<32>, &mut Prepared) {
        (&self.key, &mut self.prepared)
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
    fn first(direction: &Expand, hash: &[u8; 32]) -> Self {
        Self(direction.block(&[b"sealgram/1 traffic", hash], 1))
    }

    #[cfg(test)]
    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The key that masks headers, and that of the packets of epoch 0. The former is made from the first secret only: it
    /// hides the epoch, so it cannot depend on it.
    pub(super) fn first_keys(&self) -> (Secret<32>, PacketKey) {
        let expand = Expand::new(self.0.as_bytes());
        (expand.block(&[b"hp"], 1), packet_key(&expand))
    }

    pub(super) fn packet_key(&self) -> PacketKey {
        packet_key(&Expand::new(self.0.as_bytes()))
    }

    /// The secret of the next epoch. PROTOCOL.md, "Ratchet"; nothing is mixed in yet.
    pub(super) fn next(&self) -> Self {
        Self(Expand::new(self.0.as_bytes()).block(&[b"next"], 1))
    }
}

fn packet_key(expand: &Expand) -> PacketKey {
    let key = expand.block(&[b"key"], 1);
    let wide = expand.block(&[b"iv"], 1);
    let mut iv = Secret::zeroed();
    for (to, from) in iv.as_mut_bytes().iter_mut().zip(wide.as_bytes()) {
        *to = *from;
    }
    PacketKey { key, iv, prepared: Prepared::default() }
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
        Self::with(split, side, None)
    }

    /// The keys of `side`, with those for opening that [`OpenKeys::derive`] made and that may have opened something since.
    pub(crate) fn around(open: Box<OpenKeys>, split: &Split, side: Side) -> Self {
        Self::with(split, side, Some(open))
    }

    fn with(split: &Split, side: Side, open: Option<Box<OpenKeys>>) -> Self {
        let Split { i2r, r2i, hash } = split;
        let (from_i, from_r) = (Expand::new(i2r.as_bytes()), Expand::new(r2i.as_bytes()));
        let exporter = Box::new(from_i.block(&[b"exporter", r2i.as_bytes(), hash], 1));
        let (out, into) = match side {
            Side::Initiator => (&from_i, &from_r),
            Side::Responder => (&from_r, &from_i),
        };
        let seal = Box::new(SealKey::new(Traffic::first(out, hash)));
        let open = open.unwrap_or_else(|| Box::new(OpenKeys::new(Traffic::first(into, hash))));
        Self { seal, open, exporter, hash: *hash }
    }

    /// Gives back what can be made again, while nothing happens.
    pub(crate) fn rest(&mut self) {
        self.seal.rest();
        self.open.rest();
    }

    /// Wipes every key where it stands. From now on nothing is sealed and nothing opens.
    pub(crate) fn erase(&mut self) {
        let Self { seal, open, exporter, hash: _ } = self;
        seal.erase();
        open.erase();
        **exporter = Secret::zeroed();
    }
}

impl OpenKeys {
    /// What opens the packets that `side` gets, and nothing else: less than half of the work for all of its keys.
    pub(crate) fn derive(split: &Split, side: Side) -> Box<Self> {
        let direction = match side {
            Side::Initiator => &split.r2i,
            Side::Responder => &split.i2r,
        };
        Box::new(Self::new(Traffic::first(&Expand::new(direction.as_bytes()), &split.hash)))
    }
}

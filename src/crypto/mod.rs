//! Keys and everything made with them: the Noise handshake, the key schedule, the sealing of packets and of
//! handshake datagrams. Knows no frames, no addresses and no sessions; time and chance are arguments. Nothing here
//! changes by bytes that did not authenticate.

pub(crate) mod aead;
#[cfg(test)]
mod back_ends;
pub(crate) mod envelope;
#[cfg(test)]
mod frozen;
#[cfg(test)]
mod hygiene;
#[cfg(test)]
mod interop;
mod keys;
mod mac;
pub(crate) mod noise;
#[cfg(target_pointer_width = "64")]
pub(crate) mod one_pass;
pub(crate) mod packet;
pub(crate) mod pattern;
#[cfg(target_pointer_width = "64")]
mod poly1305;
#[cfg(feature = "ring")]
mod ring_aead;
pub(crate) mod schedule;
mod secret;
mod symmetric;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod vectors;

pub(crate) use envelope::{EnvelopeError, EnvelopeKeys};
pub use keys::{InvalidKey, Invite, Psk, PublicKey, SecretKey};
pub(crate) use keys::{InviteKeys, Prologue, derive_invite, dh, paired_env_base};
#[cfg(test)]
pub(crate) use mac::counter;
pub(crate) use mac::hmac;
pub(crate) use noise::{Handshake, Keys, NoiseError, Split, Start};
pub(crate) use packet::{OpenKeys, SealError, SealKey};
pub(crate) use pattern::Pattern;
pub(crate) use schedule::Channel;
pub use secret::EntropyError;
pub(crate) use secret::{Secret, hash, keyed_hash, random, random_secret};

/// Who sent the first handshake message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Initiator,
    Responder,
}

impl Side {
    /// The other side.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

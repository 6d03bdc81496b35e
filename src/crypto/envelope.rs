//! The envelope around handshake datagrams: nonce, ciphertext, tag, every byte of it random-looking. PROTOCOL.md,
//! "Envelope". Must not know what is inside. It is a gate, not proof of who sent it: with most profiles everybody who
//! knows the responder's public key or the app id can make one.

use rand_core::TryCryptoRng;

use super::{
    EntropyError, PublicKey, Secret, Side,
    aead::{TAG_LEN, open_wide_in_place, seal_wide_in_place},
    hmac,
    secret::random,
};

/// Length of the nonce in front, in bytes.
pub(crate) const NONCE_LEN: usize = 24;
/// Bytes that an envelope is longer than its body.
#[cfg(test)]
pub(crate) const OVERHEAD: usize = NONCE_LEN + TAG_LEN;

/// Why an envelope could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EnvelopeError {
    /// The source of randomness failed.
    Entropy,
    /// The buffer has no room for nonce and tag: a mistake of the caller.
    Length,
}

impl From<EntropyError> for EnvelopeError {
    fn from(_: EntropyError) -> Self {
        Self::Entropy
    }
}

/// The two keys, one a direction, between a would-be initiator and a would-be responder.
#[derive(Debug)]
pub(crate) struct EnvelopeKeys {
    from_initiator: Secret<32>,
    from_responder: Secret<32>,
}

impl EnvelopeKeys {
    /// `base` is what the profile says: from the static keys, from the invite, a network key, or zeros. `app_id` has at
    /// most 32 bytes. `responder_static` is the key of whoever answers, if the profile gives it one beforehand.
    pub(crate) fn new(
        base: &[u8; 32],
        profile: u8,
        app_id: &[u8],
        responder_static: Option<&PublicKey>,
    ) -> Self {
        let app_len = u8::try_from(app_id.len()).unwrap_or(u8::MAX);
        let responder = responder_static.map_or(&[][..], |key| key.as_bytes());
        let key = |direction: u8| {
            hmac(base, &[b"sealgram/1 envelope", &[profile, direction, app_len], app_id, responder])
        };
        Self { from_initiator: key(0), from_responder: key(1) }
    }

    pub(super) const fn key(&self, from: Side) -> &Secret<32> {
        match from {
            Side::Initiator => &self.from_initiator,
            Side::Responder => &self.from_responder,
        }
    }

    /// Seals in place: `envelope` is 24 bytes of room, the body, 16 bytes of room; `route` is what stands before it in
    /// the datagram. Takes a fresh nonce each time, so the same body may be sealed again.
    pub(crate) fn seal<R: TryCryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        from: Side,
        route: &[u8],
        envelope: &mut [u8],
    ) -> Result<(), EnvelopeError> {
        let (nonce_out, rest) = envelope.split_first_chunk_mut::<NONCE_LEN>().ok_or(EnvelopeError::Length)?;
        let (body, tag_out) = rest.split_last_chunk_mut::<TAG_LEN>().ok_or(EnvelopeError::Length)?;
        let nonce = random::<NONCE_LEN, R>(rng)?;
        let tag = seal_wide_in_place(self.key(from), &nonce, route, body).ok_or(EnvelopeError::Length)?;
        *nonce_out = nonce;
        *tag_out = tag;
        Ok(())
    }

    /// Opens in place and returns the body. `None`, and the bytes untouched, if the key does not open it.
    pub(crate) fn open<'e>(&self, from: Side, route: &[u8], envelope: &'e mut [u8]) -> Option<&'e mut [u8]> {
        let (nonce, rest) = envelope.split_first_chunk_mut::<NONCE_LEN>()?;
        let (body, tag) = rest.split_last_chunk_mut::<TAG_LEN>()?;
        open_wide_in_place(self.key(from), nonce, route, body, tag).then_some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{
        SecretKey,
        testing::{BrokenRng, FixedRng},
    };

    const BASE: [u8; 32] = [4; 32];

    fn keys() -> EnvelopeKeys {
        EnvelopeKeys::new(&BASE, 1, b"app", None)
    }

    fn sealed(body: &[u8], from: Side, route: &[u8]) -> Vec<u8> {
        let mut envelope = vec![0; OVERHEAD + body.len()];
        envelope[NONCE_LEN..NONCE_LEN + body.len()].copy_from_slice(body);
        keys().seal(&mut FixedRng::new(&[9; NONCE_LEN]), from, route, &mut envelope).unwrap();
        envelope
    }

    #[test]
    fn an_envelope_opens_only_with_its_direction_and_route() {
        for from in [Side::Initiator, Side::Responder] {
            let envelope = sealed(b"body", from, b"route");
            assert_eq!(keys().open(from, b"route", &mut envelope.clone()).unwrap(), b"body");
            for (side, route) in [(from.other(), &b"route"[..]), (from, b""), (from, b"routf")] {
                let mut copy = envelope.clone();
                assert!(keys().open(side, route, &mut copy).is_none());
                assert_eq!(copy, envelope, "untouched");
            }
        }
    }

    #[test]
    fn any_changed_byte_and_any_other_length_is_refused_and_left_alone() {
        let envelope = sealed(b"some body", Side::Initiator, b"");
        for at in 0..envelope.len() {
            let mut forged = envelope.clone();
            forged[at] ^= 1;
            let before = forged.clone();
            assert!(keys().open(Side::Initiator, b"", &mut forged).is_none());
            assert_eq!(forged, before);
            assert!(keys().open(Side::Initiator, b"", &mut envelope[..at].to_vec()).is_none());
        }
        assert!(keys().open(Side::Initiator, b"", &mut [envelope, vec![0]].concat()).is_none());
    }

    #[test]
    fn every_input_of_the_keys_matters() {
        let responder = SecretKey::from_bytes([1; 32]).public_key();
        let variants = [
            keys(),
            EnvelopeKeys::new(&[5; 32], 1, b"app", None),
            EnvelopeKeys::new(&BASE, 2, b"app", None),
            EnvelopeKeys::new(&BASE, 1, b"ap", None),
            EnvelopeKeys::new(&BASE, 1, b"app", Some(&responder)),
        ];
        let all: Vec<_> =
            variants.iter().flat_map(|keys| [&keys.from_initiator, &keys.from_responder]).collect();
        for (at, key) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| !key.ct_eq(other)));
        }
    }

    #[test]
    fn the_same_body_is_sealed_under_a_fresh_nonce() {
        let mut first = vec![0; OVERHEAD + 4];
        let mut second = first.clone();
        keys().seal(&mut FixedRng::new(&[1; NONCE_LEN]), Side::Initiator, b"", &mut first).unwrap();
        keys().seal(&mut FixedRng::new(&[2; NONCE_LEN]), Side::Initiator, b"", &mut second).unwrap();
        assert_ne!(first[NONCE_LEN..], second[NONCE_LEN..]);
    }

    #[test]
    fn without_randomness_or_room_nothing_is_sealed() {
        let mut envelope = [7; OVERHEAD + 1];
        assert_eq!(
            keys().seal(&mut BrokenRng, Side::Initiator, b"", &mut envelope),
            Err(EnvelopeError::Entropy)
        );
        assert_eq!(envelope, [7; OVERHEAD + 1]);
        let short = &mut envelope[..OVERHEAD - 1];
        assert_eq!(keys().seal(&mut BrokenRng, Side::Initiator, b"", short), Err(EnvelopeError::Length));
    }
}

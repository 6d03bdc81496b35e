//! The keys that applications hold: static key pairs, pre-shared secrets, invites; and what is derived from them
//! before a handshake begins. Must not know sessions. A public key is canonical and not zero, or it does not exist.

use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    mac::hmac,
    secret::{EntropyError, Secret, random_secret},
};

/// Why bytes or text are not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidKey {
    /// The text is not exactly 64 hexadecimal digits.
    Text,
    /// The public key is not the one encoding of its point: its top bit is set or it is not below 2^255 - 19.
    NotCanonical,
    /// The public key is zero, with which nothing can be agreed.
    Zero,
    /// The public key is our own, or nothing can be agreed with it.
    Unusable,
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a key is written as 64 hexadecimal digits",
            Self::NotCanonical => "the public key is not in canonical form",
            Self::Zero => "the public key is zero",
            Self::Unusable => "the public key is our own, or nothing can be agreed with it",
        })
    }
}

impl std::error::Error for InvalidKey {}

/// A peer's static key, which names it. X25519, 32 bytes.
///
/// `Display` and `FromStr` use 64 hexadecimal digits, written in lower case and read in either.
#[derive(Clone, Copy)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Checks and takes 32 bytes.
    ///
    /// # Errors
    /// [`InvalidKey::NotCanonical`] if another encoding of the same key exists and is the proper one: else one private
    /// key could appear as several peers. [`InvalidKey::Zero`] for 32 zero bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, InvalidKey> {
        let [lowest, middle @ .., highest] = &bytes;
        // p = 2^255 - 19 is ed ff .. ff 7f in little-endian.
        let reaches_p = *highest == 0x7f && middle.iter().all(|byte| *byte == 0xff) && *lowest >= 0xed;
        if *highest & 0x80 != 0 || reaches_p {
            Err(InvalidKey::NotCanonical)
        } else if bytes == [0; 32] {
            Err(InvalidKey::Zero)
        } else {
            Ok(Self(bytes))
        }
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for PublicKey {}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::from_bytes(*parse_hex(text)?.as_bytes())
    }
}

/// A static private key with its public key. Keep it: it is the identity that peers know. Wiped on drop.
pub struct SecretKey {
    secret: Secret<32>,
    public: PublicKey,
}

impl SecretKey {
    /// Takes 32 bytes that `expose_bytes` returned or that a good source of randomness made.
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; 32]) -> Self {
        Self::from_secret(Secret::take(&mut bytes))
    }

    pub(crate) fn from_rng<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Self, EntropyError> {
        random_secret(rng).map(Self::from_secret)
    }

    fn from_secret(secret: Secret<32>) -> Self {
        let scalar = x25519_dalek::StaticSecret::from(*secret.as_bytes());
        let public = PublicKey(x25519_dalek::PublicKey::from(&scalar).to_bytes());
        Self { secret, public }
    }

    /// The public key that belongs to it; give it to the peers.
    #[must_use]
    pub const fn public_key(&self) -> PublicKey {
        self.public
    }

    /// The 32 secret bytes, for storage. The returned copy is wiped on drop; copies of it are not.
    #[must_use]
    pub fn expose_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*self.secret.as_bytes())
    }

    /// A second copy, for handshakes only.
    pub(super) const fn duplicate(&self) -> Self {
        Self { secret: self.secret.duplicate(), public: self.public }
    }

    #[cfg(test)]
    pub(super) const fn set_top_bit_of_public_key(&mut self) {
        self.public.0[31] |= 0x80;
    }

    /// The shared secret with the owner of `public`, any 32 bytes.
    pub(super) fn agree(&self, public: &[u8; 32]) -> Option<Secret<32>> {
        let scalar = x25519_dalek::StaticSecret::from(*self.secret.as_bytes());
        let shared = scalar.diffie_hellman(&x25519_dalek::PublicKey::from(*public));
        // A result that the other side could force tells nothing about it. PROTOCOL.md, "Handshake".
        if !shared.was_contributory() {
            return None;
        }
        Some(Secret::take(&mut shared.to_bytes()))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// A secret of 32 bytes that both peers were given beforehand, added to a handshake with static keys. Wiped on drop.
///
/// It must come from a generator: a word or a short code can be found by trying.
pub struct Psk(Secret<32>);

impl Psk {
    /// Takes 32 bytes that a good source of randomness made.
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; 32]) -> Self {
        Self(Secret::take(&mut bytes))
    }

    pub(crate) fn from_rng<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Self, EntropyError> {
        random_secret(rng).map(Self)
    }

    pub(crate) const fn secret(&self) -> &Secret<32> {
        &self.0
    }
}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Psk(..)")
    }
}

/// A secret of 32 bytes that opens one session between two peers: who holds it can be either of them. Wiped on drop.
///
/// It is for two; never give one invite to several. It must come from a generator: a word or a short code can be found
/// by trying, without anybody noticing. `FromStr` reads 64 hexadecimal digits of either case.
pub struct Invite(Secret<32>);

impl Invite {
    /// Takes 32 bytes that a good source of randomness made.
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; 32]) -> Self {
        Self(Secret::take(&mut bytes))
    }

    pub(crate) fn from_rng<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Self, EntropyError> {
        random_secret(rng).map(Self)
    }

    /// 64 hexadecimal digits in lower case, to hand to the other peer over a private channel. The returned text is
    /// wiped on drop; copies of it are not.
    #[must_use]
    pub fn expose_hex(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(64));
        for byte in self.0.as_bytes() {
            for digit in [byte >> 4, byte & 0x0f] {
                text.extend(char::from_digit(digit.into(), 16));
            }
        }
        text
    }
}

impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Invite(..)")
    }
}

impl FromStr for Invite {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        parse_hex(text).map(Self)
    }
}

fn parse_hex(text: &str) -> Result<Secret<32>, InvalidKey> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if text.len() != 64 {
        return Err(InvalidKey::Text);
    }
    let mut secret = Secret::zeroed();
    for (to, pair) in secret.as_mut_bytes().iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let &[high, low] = pair else { return Err(InvalidKey::Text) };
        *to = digit(high).ok_or(InvalidKey::Text)? << 4 | digit(low).ok_or(InvalidKey::Text)?;
    }
    Ok(secret)
}

/// The secret that two static keys agree on; `None` if the other side forced it.
pub(crate) fn dh(local: &SecretKey, remote: &PublicKey) -> Option<Secret<32>> {
    local.agree(remote.as_bytes())
}

/// What an invite is split into, so that no key serves two purposes. PROTOCOL.md, "Profiles".
#[derive(Debug)]
pub(crate) struct InviteKeys {
    /// The `psk` of the Noise handshake.
    pub(crate) psk: Secret<32>,
    /// The base of the envelope keys.
    pub(crate) env_base: Secret<32>,
}

/// PROTOCOL.md, "Profiles".
pub(crate) fn derive_invite(invite: &Invite) -> InviteKeys {
    let secret = invite.0.as_bytes();
    InviteKeys {
        psk: hmac(secret, &[b"sealgram/1 psk", &[1]]),
        env_base: hmac(secret, &[b"sealgram/1 env", &[1]]),
    }
}

/// The base of the envelope keys of two peers who know each other's static key; `static_static` is their `dh`.
/// PROTOCOL.md, "Profiles".
pub(crate) fn paired_env_base(static_static: &Secret<32>) -> Secret<32> {
    hmac(static_static.as_bytes(), &[b"sealgram/1 env", &[1]])
}

/// What both sides must agree on without saying it: hashed into the handshake, never sent. PROTOCOL.md, "Prologue".
#[derive(Debug)]
pub(crate) struct Prologue {
    bytes: [u8; Self::MAX_LEN],
    len: usize,
}

impl Prologue {
    const LABEL: &'static [u8] = b"sealgram/1";
    const WIRE_VERSION: u8 = 1;
    /// Longest app id, in bytes.
    pub(crate) const MAX_APP_ID: usize = 32;
    /// Longest route, in bytes.
    pub(crate) const MAX_ROUTE: usize = 20;
    const MAX_LEN: usize = Self::LABEL.len() + 4 + Self::MAX_APP_ID + Self::MAX_ROUTE;

    /// `None` if `app_id` or `route` is too long.
    pub(crate) fn new(profile: u8, app_id: &[u8], route: &[u8]) -> Option<Self> {
        if app_id.len() > Self::MAX_APP_ID || route.len() > Self::MAX_ROUTE {
            return None;
        }
        let app_len = u8::try_from(app_id.len()).ok()?;
        let route_len = u8::try_from(route.len()).ok()?;
        let mut prologue = Self { bytes: [0; Self::MAX_LEN], len: 0 };
        for part in [Self::LABEL, &[Self::WIRE_VERSION, profile, app_len], app_id, &[route_len], route] {
            let end = prologue.len.checked_add(part.len())?;
            prologue.bytes.get_mut(prologue.len..end)?.copy_from_slice(part);
            prologue.len = end;
        }
        Some(prologue)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::{BrokenRng, FixedRng, unhex_array};

    const P: [u8; 32] = {
        let mut bytes = [0xff; 32];
        bytes[0] = 0xed;
        bytes[31] = 0x7f;
        bytes
    };

    #[test]
    fn only_the_one_encoding_of_a_public_key_is_taken() {
        let mut below = P;
        below[0] = 0xec;
        let mut gap = P;
        gap[17] = 0xfe;
        let mut top_bit = [9; 32];
        top_bit[31] = 0x80;
        assert_eq!(PublicKey::from_bytes(P), Err(InvalidKey::NotCanonical));
        assert_eq!(PublicKey::from_bytes([0xff; 32]), Err(InvalidKey::NotCanonical));
        assert_eq!(PublicKey::from_bytes(top_bit), Err(InvalidKey::NotCanonical));
        assert_eq!(PublicKey::from_bytes([0; 32]), Err(InvalidKey::Zero));
        assert_eq!(PublicKey::from_bytes(below).unwrap().as_bytes(), &below);
        assert_eq!(PublicKey::from_bytes(gap).unwrap().as_bytes(), &gap);
    }

    #[test]
    fn text_forms_round_trip_and_refuse_everything_else() {
        let key = SecretKey::from_bytes([5; 32]).public_key();
        let text = key.to_string();
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(text.to_uppercase().parse(), Ok(key));
        assert_eq!(format!("{key:?}"), format!("PublicKey({text})"));
        let invite = Invite::from_bytes([0xa7; 32]);
        assert_eq!(&*invite.expose_hex(), &"a7".repeat(32));
        assert!(invite.0.ct_eq(&invite.expose_hex().parse::<Invite>().unwrap().0));
        for bad in ["", &text[1..], &format!("{text}0"), &text.replace(|_| true, "+"), &"é".repeat(32)] {
            assert_eq!(bad.parse::<PublicKey>(), Err(InvalidKey::Text));
            assert!(bad.parse::<Invite>().is_err());
        }
    }

    #[test]
    fn a_static_key_agrees_with_rfc_7748() {
        // RFC 7748, section 6.1.
        let alice = unhex_array("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let bob = unhex_array("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        let (alice, bob) = (SecretKey::from_bytes(alice), SecretKey::from_bytes(bob));
        let public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
        assert_eq!(alice.public_key().to_string(), public);
        let shared = unhex_array("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(dh(&alice, &bob.public_key()).unwrap().as_bytes(), &shared);
        assert_eq!(dh(&bob, &alice.public_key()).unwrap().as_bytes(), &shared);
    }

    #[test]
    fn a_low_order_point_agrees_on_nothing() {
        let key = SecretKey::from_bytes([5; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        assert!(dh(&key, &PublicKey::from_bytes(one).unwrap()).is_none());
        assert!(key.agree(&[0; 32]).is_none());
        assert!(key.agree(&P).is_none());
    }

    #[test]
    fn keys_come_from_the_given_randomness_or_not_at_all() {
        assert_eq!(*SecretKey::from_rng(&mut FixedRng::new(&[9; 32])).unwrap().expose_bytes(), [9; 32]);
        assert_eq!(*Invite::from_rng(&mut FixedRng::new(&[9; 32])).unwrap().0.as_bytes(), [9; 32]);
        assert!(SecretKey::from_rng(&mut BrokenRng).is_err());
        assert!(Invite::from_rng(&mut BrokenRng).is_err());
    }

    #[test]
    fn an_invite_never_gives_one_key_two_purposes() {
        let keys = derive_invite(&Invite::from_bytes([1; 32]));
        assert!(!keys.psk.ct_eq(&keys.env_base));
        assert!(!keys.psk.ct_eq(&derive_invite(&Invite::from_bytes([2; 32])).psk));
        let first = SecretKey::from_bytes([1; 32]);
        let second = SecretKey::from_bytes([2; 32]);
        let ours = paired_env_base(&dh(&first, &second.public_key()).unwrap());
        let theirs = paired_env_base(&dh(&second, &first.public_key()).unwrap());
        assert!(ours.ct_eq(&theirs));
    }

    #[test]
    fn a_prologue_is_laid_out_as_written() {
        let prologue = Prologue::new(0x11, b"app", b"route").unwrap();
        assert_eq!(prologue.as_bytes(), b"sealgram/1\x01\x11\x03app\x05route");
        assert_eq!(Prologue::new(1, &[], &[]).unwrap().as_bytes(), b"sealgram/1\x01\x01\x00\x00");
        assert_eq!(Prologue::new(1, &[7; 32], &[8; 20]).unwrap().as_bytes().len(), 66);
        assert!(Prologue::new(1, &[7; 33], &[]).is_none());
        assert!(Prologue::new(1, &[], &[7; 21]).is_none());
    }
}

//! The Noise handshake, revision 34, carried out token by token from the tables of [`Pattern`]. Must not know what
//! the payloads mean or how messages travel. A message that fails changes nothing: reading returns the next state and
//! leaves the old one as it was, writing commits only when it succeeds.

use rand_core::TryCryptoRng;

use super::{
    PublicKey, Secret, SecretKey, Side,
    pattern::{Pattern, Token},
    symmetric::Symmetric,
};

/// Why a handshake did not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoiseError {
    /// The message is forged, damaged, of another handshake, or of the wrong length. Says no more on purpose.
    Refused,
    /// The source of randomness failed.
    Entropy,
    /// Keys that do not fit the pattern, a call out of turn, or a buffer too short: a mistake of the caller.
    Misuse,
}

/// What a side brings along. Exactly what the pattern needs; more is a mistake.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keys<'a> {
    pub(crate) local: Option<&'a SecretKey>,
    pub(crate) remote: Option<&'a PublicKey>,
    pub(crate) psk: Option<&'a Secret<32>>,
    /// The `dh` of both static keys, if it is known already; saves computing it again. Only with `remote`.
    pub(crate) static_static: Option<&'a Secret<32>>,
}

/// What a finished handshake leaves. Noise, `Split()`.
#[derive(Debug)]
pub(crate) struct Split {
    pub(crate) i2r: Secret<32>,
    pub(crate) r2i: Secret<32>,
    /// The handshake hash: the same on both sides, different in every session. Public.
    pub(crate) hash: [u8; 32],
}

/// A handshake under way, on one side. Noise, section 5.3.
pub(crate) struct Handshake {
    symmetric: Symmetric,
    pattern: Pattern,
    side: Side,
    /// Messages written and read so far.
    done: u8,
    local_static: Option<SecretKey>,
    local_ephemeral: Option<SecretKey>,
    remote_static: Option<PublicKey>,
    remote_ephemeral: Option<[u8; 32]>,
    psk: Option<Secret<32>>,
    static_static: Option<Secret<32>>,
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handshake({:?}, {:?}, {})", self.pattern, self.side, self.done)
    }
}

/// How every handshake of an end begins, with the hashes that are the same in all of them.
#[derive(Debug)]
pub(crate) struct Start(Handshake);

impl Start {
    /// As [`Handshake::new`].
    pub(crate) fn new(
        pattern: Pattern,
        side: Side,
        prologue: &[u8],
        keys: Keys<'_>,
    ) -> Result<Self, NoiseError> {
        Handshake::new(pattern, side, prologue, keys).map(Self)
    }

    pub(crate) fn handshake(&self) -> Handshake {
        self.0.duplicate()
    }
}

impl Handshake {
    pub(crate) fn new(
        pattern: Pattern,
        side: Side,
        prologue: &[u8],
        keys: Keys<'_>,
    ) -> Result<Self, NoiseError> {
        let (has_local, knows_remote) = match side {
            Side::Initiator => (pattern.initiator_has_static(), pattern.knows_responder()),
            Side::Responder => (pattern.responder_has_static(), pattern.knows_initiator()),
        };
        let fits = keys.local.is_some() == has_local
            && keys.remote.is_some() == knows_remote
            && keys.psk.is_some() == pattern.has_psk()
            && (keys.static_static.is_none() || (has_local && knows_remote));
        if !fits {
            return Err(NoiseError::Misuse);
        }
        let mut symmetric = Symmetric::new(pattern.name());
        symmetric.mix_hash(&[prologue, &[]]);
        let local = keys.local.map(SecretKey::public_key);
        let (initiator, responder) = match side {
            Side::Initiator => (local, keys.remote.copied()),
            Side::Responder => (keys.remote.copied(), local),
        };
        // Pre-messages, the initiator's first.
        for (known, key) in [(pattern.knows_initiator(), initiator), (pattern.knows_responder(), responder)] {
            if known {
                symmetric.mix_hash(&[key.ok_or(NoiseError::Misuse)?.as_bytes(), &[]]);
            }
        }
        if pattern.begins_with_psk() {
            symmetric.mix_key_and_hash(keys.psk.ok_or(NoiseError::Misuse)?.as_bytes());
        }
        Ok(Self {
            symmetric,
            pattern,
            side,
            done: 0,
            local_static: keys.local.map(SecretKey::duplicate),
            local_ephemeral: None,
            remote_static: keys.remote.copied(),
            remote_ephemeral: None,
            // What was mixed in is not asked for again.
            psk: keys.psk.filter(|_| !pattern.begins_with_psk()).map(Secret::duplicate),
            static_static: keys.static_static.map(Secret::duplicate),
        })
    }

    fn duplicate(&self) -> Self {
        Self {
            symmetric: self.symmetric.duplicate(),
            pattern: self.pattern,
            side: self.side,
            done: self.done,
            local_static: self.local_static.as_ref().map(SecretKey::duplicate),
            local_ephemeral: self.local_ephemeral.as_ref().map(SecretKey::duplicate),
            remote_static: self.remote_static,
            remote_ephemeral: self.remote_ephemeral,
            psk: self.psk.as_ref().map(Secret::duplicate),
            static_static: self.static_static.as_ref().map(Secret::duplicate),
        }
    }

    /// The tokens of the next message, if it is the turn of `side`.
    fn tokens(&self, side: Side) -> Result<&'static [Token], NoiseError> {
        let turn = if self.done % 2 == 0 { Side::Initiator } else { Side::Responder };
        let tokens = self.pattern.messages().get(usize::from(self.done)).copied();
        let tokens = tokens.filter(|_| turn == side).ok_or(NoiseError::Misuse)?;
        // A secret that comes before everything else was mixed in when the handshake was made.
        let psk_is_in = self.done == 0 && self.pattern.begins_with_psk();
        Ok(tokens.get(usize::from(psk_is_in)..).unwrap_or_default())
    }

    /// Writes the next message with `payload` into `out`; returns its length. On an error nothing has changed but
    /// `out`.
    pub(crate) fn write<R: TryCryptoRng + ?Sized>(
        &mut self,
        rng: &mut R,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<usize, NoiseError> {
        let tokens = self.tokens(self.side)?;
        let room = out.len();
        let mut next = self.duplicate();
        let mut rest = out;
        for token in tokens {
            rest = next.write_token(*token, rng, rest)?;
        }
        rest = next.symmetric.encrypt(payload, rest)?;
        let len = room.checked_sub(rest.len()).ok_or(NoiseError::Misuse)?;
        next.done = next.done.saturating_add(1);
        *self = next;
        Ok(len)
    }

    fn write_token<'o, R: TryCryptoRng + ?Sized>(
        &mut self,
        token: Token,
        rng: &mut R,
        out: &'o mut [u8],
    ) -> Result<&'o mut [u8], NoiseError> {
        match token {
            Token::E => {
                let key = SecretKey::from_rng(rng).map_err(|_| NoiseError::Entropy)?;
                let public = *key.public_key().as_bytes();
                self.local_ephemeral = Some(key);
                let (to, rest) = out.split_first_chunk_mut::<32>().ok_or(NoiseError::Misuse)?;
                *to = public;
                self.mix_ephemeral(&public);
                Ok(rest)
            }
            Token::S => {
                let public = self.local_static.as_ref().ok_or(NoiseError::Misuse)?.public_key();
                self.symmetric.encrypt(public.as_bytes(), out)
            }
            Token::Ee | Token::Es | Token::Se | Token::Ss | Token::Psk => self.mix(token).map(|()| out),
        }
    }

    /// Reads the next message. Returns the state after it and the length of the payload, which is at the front of
    /// `payload_out`; `self` stays as it was, so that a better message may still come.
    pub(crate) fn read(&self, message: &[u8], payload_out: &mut [u8]) -> Result<(Self, usize), NoiseError> {
        let tokens = self.tokens(self.side.other())?;
        let mut next = self.duplicate();
        let mut rest = message;
        for token in tokens {
            rest = next.read_token(*token, rest)?;
        }
        let len = rest.len().checked_sub(next.symmetric.overhead()).ok_or(NoiseError::Refused)?;
        let payload = payload_out.get_mut(..len).ok_or(NoiseError::Refused)?;
        next.symmetric.decrypt(rest, payload)?;
        next.done = next.done.saturating_add(1);
        Ok((next, len))
    }

    fn read_token<'m>(&mut self, token: Token, message: &'m [u8]) -> Result<&'m [u8], NoiseError> {
        match token {
            Token::E => {
                let (public, rest) = message.split_first_chunk::<32>().ok_or(NoiseError::Refused)?;
                self.remote_ephemeral = Some(*public);
                self.mix_ephemeral(public);
                Ok(rest)
            }
            Token::S => {
                let len = 32 + self.symmetric.overhead();
                let (sealed, rest) = message.split_at_checked(len).ok_or(NoiseError::Refused)?;
                let mut public = [0; 32];
                self.symmetric.decrypt(sealed, &mut public)?;
                self.remote_static = Some(PublicKey::from_bytes(public).map_err(|_| NoiseError::Refused)?);
                Ok(rest)
            }
            Token::Ee | Token::Es | Token::Se | Token::Ss | Token::Psk => self.mix(token).map(|()| message),
        }
    }

    /// With a pre-shared secret an ephemeral key is mixed into the key too. Noise, section 9.2.
    fn mix_ephemeral(&mut self, public: &[u8; 32]) {
        self.symmetric.mix_hash(&[public, &[]]);
        if self.pattern.has_psk() {
            self.symmetric.mix_key(public);
        }
    }

    /// The tokens that send nothing.
    fn mix(&mut self, token: Token) -> Result<(), NoiseError> {
        let (e, s) = (self.local_ephemeral.as_ref(), self.local_static.as_ref());
        let (re, rs) = (self.remote_ephemeral.as_ref(), self.remote_static.as_ref().map(PublicKey::as_bytes));
        let (local, remote) = match (token, self.side, &self.static_static) {
            (Token::Psk, _, _) => {
                let psk = self.psk.as_ref().ok_or(NoiseError::Misuse)?;
                self.symmetric.mix_key_and_hash(psk.as_bytes());
                return Ok(());
            }
            (Token::Ss, _, Some(known)) => {
                self.symmetric.mix_key(known.as_bytes());
                return Ok(());
            }
            (Token::Ss, _, None) => (s, rs),
            (Token::Ee, _, _) => (e, re),
            (Token::Es, Side::Initiator, _) | (Token::Se, Side::Responder, _) => (e, rs),
            (Token::Es, Side::Responder, _) | (Token::Se, Side::Initiator, _) => (s, re),
            (Token::E | Token::S, _, _) => return Err(NoiseError::Misuse),
        };
        let (local, remote) = local.zip(remote).ok_or(NoiseError::Misuse)?;
        let shared = local.agree(remote).ok_or(NoiseError::Refused)?;
        self.symmetric.mix_key(shared.as_bytes());
        Ok(())
    }

    /// Whether the last message was written or read.
    pub(crate) fn is_finished(&self) -> bool {
        usize::from(self.done) >= self.pattern.messages().len()
    }

    /// Ends the handshake. [`NoiseError::Misuse`] before it is finished.
    pub(crate) fn split(self) -> Result<Split, NoiseError> {
        if !self.is_finished() {
            return Err(NoiseError::Misuse);
        }
        let [i2r, r2i] = self.symmetric.split();
        Ok(Split { i2r, r2i, hash: self.symmetric.hash })
    }

    /// The hash of everything so far.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) const fn hash(&self) -> [u8; 32] {
        self.symmetric.hash
    }

    /// The other side's static key, once it is known.
    pub(crate) const fn remote_static(&self) -> Option<PublicKey> {
        self.remote_static
    }

    /// The other side's ephemeral key, once it was read.
    #[cfg(test)]
    pub(crate) const fn remote_ephemeral(&self) -> Option<[u8; 32]> {
        self.remote_ephemeral
    }

    /// This side's ephemeral public key, once it was written.
    pub(crate) fn local_ephemeral(&self) -> Option<[u8; 32]> {
        self.local_ephemeral.as_ref().map(|key| *key.public_key().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{
        dh,
        testing::{BrokenRng, FixedRng, Parties, ephemeral, write},
    };

    fn ends(pattern: Pattern) -> [(Side, Handshake); 2] {
        let parties = Parties::new();
        [Side::Initiator, Side::Responder].map(|side| (side, parties.end(pattern, side, b"prologue")))
    }

    fn read(end: &Handshake, message: &[u8]) -> Result<Handshake, NoiseError> {
        end.read(message, &mut [0; 256]).map(|(next, _)| next)
    }

    #[test]
    fn a_forged_message_leaves_the_state_as_it_was() {
        for pattern in Pattern::ALL {
            let [mut writer, mut reader] = ends(pattern);
            for turn in 0..pattern.messages().len() {
                let message = write(&mut writer.1, writer.0, b"text");
                let before = reader.1.hash();
                for at in 0..message.len() {
                    let mut forged = message.clone();
                    forged[at] ^= 0x40;
                    let verdict = read(&reader.1, &forged).map(|_| ());
                    let in_clear = turn == 0 && pattern == Pattern::Xx;
                    assert_eq!(verdict.is_ok(), in_clear, "{pattern:?}, message {turn}, byte {at}");
                    let cut = read(&reader.1, &message[..at]).map(|_| ());
                    assert!(
                        cut.is_err() || (in_clear && at >= 32),
                        "{pattern:?}, message {turn}, cut to {at}"
                    );
                }
                assert_eq!(reader.1.hash(), before);
                reader.1 = read(&reader.1, &message).unwrap();
                assert_eq!(reader.1.hash(), writer.1.hash());
                std::mem::swap(&mut writer, &mut reader);
            }
            let [one, other] = [writer, reader].map(|(_, end)| end.split().unwrap());
            assert!(one.i2r.ct_eq(&other.i2r) && one.r2i.ct_eq(&other.r2i) && !one.i2r.ct_eq(&one.r2i));
        }
    }

    #[test]
    fn a_failed_write_changes_nothing_and_can_be_repeated() {
        for pattern in Pattern::ALL {
            let [(side, mut writer), (_, reader)] = ends(pattern);
            let before = writer.hash();
            assert_eq!(writer.write(&mut BrokenRng, b"text", &mut [0; 256]), Err(NoiseError::Entropy));
            let mut rng = FixedRng::new(&[8; 32]);
            assert_eq!(writer.write(&mut rng, b"text", &mut [0; 35]), Err(NoiseError::Misuse));
            assert_eq!((writer.hash(), writer.local_ephemeral()), (before, None));
            let message = write(&mut writer, side, b"text");
            assert_eq!(read(&reader, &message).unwrap().hash(), writer.hash());
        }
    }

    #[test]
    fn a_call_out_of_turn_is_refused() {
        for pattern in Pattern::ALL {
            let [(_, mut initiator), (_, mut responder)] = ends(pattern);
            let mut rng = FixedRng::new(&[]);
            assert_eq!(responder.write(&mut rng, b"", &mut [0; 256]), Err(NoiseError::Misuse));
            assert_eq!(read(&initiator, &[0; 96]).map(|_| ()), Err(NoiseError::Misuse));
            write(&mut initiator, Side::Initiator, b"");
            assert_eq!(initiator.write(&mut rng, b"", &mut [0; 256]), Err(NoiseError::Misuse));
            assert_eq!(initiator.split().map(|_| ()), Err(NoiseError::Misuse));
        }
    }

    #[test]
    fn nothing_follows_the_last_message() {
        for pattern in Pattern::ALL {
            let [mut writer, mut reader] = ends(pattern);
            for _ in pattern.messages() {
                let message = write(&mut writer.1, writer.0, b"");
                reader.1 = read(&reader.1, &message).unwrap();
                std::mem::swap(&mut writer, &mut reader);
            }
            let mut rng = FixedRng::new(&[]);
            assert_eq!(writer.1.write(&mut rng, b"", &mut [0; 256]), Err(NoiseError::Misuse));
            assert_eq!(read(&writer.1, &[0; 48]).map(|_| ()), Err(NoiseError::Misuse));
        }
    }

    #[test]
    fn keys_must_fit_the_pattern_exactly() {
        let parties = Parties::new();
        let public = parties.responder.public_key();
        for pattern in Pattern::ALL {
            for side in [Side::Initiator, Side::Responder] {
                let mut fitting = 0;
                for choice in 0..16_u8 {
                    let keys = Keys {
                        local: (choice & 1 != 0).then_some(&parties.initiator),
                        remote: (choice & 2 != 0).then_some(&public),
                        psk: (choice & 4 != 0).then_some(&parties.psk),
                        static_static: (choice & 8 != 0).then_some(&parties.psk),
                    };
                    fitting += u8::from(Handshake::new(pattern, side, b"", keys).is_ok());
                }
                // The cached agreement is optional where both statics are known beforehand.
                let both_known = match side {
                    Side::Initiator => pattern.initiator_has_static() && pattern.knows_responder(),
                    Side::Responder => pattern.responder_has_static() && pattern.knows_initiator(),
                };
                assert_eq!(fitting, 1 + u8::from(both_known), "{pattern:?} {side:?}");
            }
        }
    }

    #[test]
    fn a_cached_agreement_gives_the_same_messages() {
        let parties = Parties::new();
        let remote = parties.responder.public_key();
        let static_static = dh(&parties.initiator, &remote).unwrap();
        let keys = Keys { local: Some(&parties.initiator), remote: Some(&remote), ..Keys::default() };
        let cached = Keys { static_static: Some(&static_static), ..keys };
        let [plain, quick] = [keys, cached].map(|keys| {
            let mut end = Handshake::new(Pattern::Kk, Side::Initiator, b"", keys).unwrap();
            write(&mut end, Side::Initiator, b"text")
        });
        assert_eq!(plain, quick);
    }

    #[test]
    fn different_prologues_never_meet() {
        let parties = Parties::new();
        for pattern in Pattern::ALL {
            let mut initiator = parties.end(pattern, Side::Initiator, b"one");
            let mut responder = parties.end(pattern, Side::Responder, b"two");
            let message = write(&mut initiator, Side::Initiator, b"text");
            // XX authenticates nothing in its first message; its second one tells.
            let after = match read(&responder, &message) {
                Err(refused) => Err(refused),
                Ok(next) => {
                    responder = next;
                    read(&initiator, &write(&mut responder, Side::Responder, b""))
                }
            };
            assert_eq!(after.map(|_| ()), Err(NoiseError::Refused), "{pattern:?}");
        }
    }

    #[test]
    fn another_encoding_of_a_static_key_is_no_second_identity() {
        // The key is sealed rightly but written with its top bit set, which X25519 ignores.
        let [(_, mut initiator), (_, responder)] = ends(Pattern::Ik);
        let mut key = Parties::new().initiator.duplicate();
        key.set_top_bit_of_public_key();
        initiator.local_static = Some(key);
        let message = write(&mut initiator, Side::Initiator, b"text");
        assert_eq!(read(&responder, &message).map(|_| ()), Err(NoiseError::Refused));
    }

    #[test]
    fn a_payload_longer_than_its_buffer_is_refused() {
        let [(side, mut writer), (_, reader)] = ends(Pattern::Kk);
        let message = write(&mut writer, side, &[7; 100]);
        assert_eq!(reader.read(&message, &mut [0; 99]).map(|_| ()), Err(NoiseError::Refused));
        assert_eq!(reader.read(&message, &mut [0; 100]).map(|(_, len)| len), Ok(100));
    }

    #[test]
    fn message_sizes_are_those_of_the_protocol() {
        // PROTOCOL.md, "Envelope": sizes with an empty payload.
        let sizes = |pattern| -> Vec<usize> {
            let [mut writer, mut reader] = ends(pattern);
            let messages: &[&[Token]] = Pattern::messages(pattern);
            let size = |_: &&[Token]| {
                let message = write(&mut writer.1, writer.0, b"");
                reader.1 = read(&reader.1, &message).unwrap();
                std::mem::swap(&mut writer, &mut reader);
                message.len()
            };
            messages.iter().map(size).collect()
        };
        assert_eq!(sizes(Pattern::Kk), [48, 48]);
        assert_eq!(sizes(Pattern::NnPsk0), [48, 48]);
        assert_eq!(sizes(Pattern::Nk), [48, 48]);
        assert_eq!(sizes(Pattern::Ik), [96, 48]);
        assert_eq!(sizes(Pattern::Xx), [32, 96, 64]);
    }

    #[test]
    fn ephemeral_keys_are_shown_to_both_sides() {
        let [(side, mut writer), (_, reader)] = ends(Pattern::NnPsk0);
        assert_eq!((writer.local_ephemeral(), reader.remote_ephemeral()), (None, None));
        let message = write(&mut writer, side, b"");
        let public = *SecretKey::from_bytes(ephemeral(side)).public_key().as_bytes();
        let after = read(&reader, &message).unwrap();
        assert_eq!((writer.local_ephemeral(), after.remote_ephemeral()), (Some(public), Some(public)));
        assert_eq!(reader.remote_ephemeral(), None, "the state before the message knows nothing of it");
    }
}

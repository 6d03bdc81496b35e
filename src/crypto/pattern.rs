//! The handshakes that exist, as tables: Noise revision 34, section 7, unmodified. Must not know how a token is
//! carried out. Nothing is negotiated: the pattern is configuration.

/// One step of a handshake message. Noise, section 5.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    E,
    S,
    Ee,
    Es,
    Se,
    Ss,
    Psk,
}

/// A handshake pattern with its modifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    Kk,
    KkPsk2,
    Ik,
    IkPsk2,
    Nk,
    Xx,
    XxPsk3,
    NnPsk0,
}

impl Pattern {
    /// All of them.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) const ALL: [Self; 8] =
        [Self::Kk, Self::KkPsk2, Self::Ik, Self::IkPsk2, Self::Nk, Self::Xx, Self::XxPsk3, Self::NnPsk0];

    /// The name that the handshake hash begins with. Every one is longer than a hash.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kk => "Noise_KK_25519_ChaChaPoly_BLAKE2s",
            Self::KkPsk2 => "Noise_KKpsk2_25519_ChaChaPoly_BLAKE2s",
            Self::Ik => "Noise_IK_25519_ChaChaPoly_BLAKE2s",
            Self::IkPsk2 => "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s",
            Self::Nk => "Noise_NK_25519_ChaChaPoly_BLAKE2s",
            Self::Xx => "Noise_XX_25519_ChaChaPoly_BLAKE2s",
            Self::XxPsk3 => "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s",
            Self::NnPsk0 => "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s",
        }
    }

    /// The tokens of each message; the initiator sends the first, then they take turns.
    pub(crate) const fn messages(self) -> &'static [&'static [Token]] {
        use Token::{E, Ee, Es, Psk, S, Se, Ss};
        match self {
            Self::Kk => &[&[E, Es, Ss], &[E, Ee, Se]],
            Self::KkPsk2 => &[&[E, Es, Ss], &[E, Ee, Se, Psk]],
            Self::Ik => &[&[E, Es, S, Ss], &[E, Ee, Se]],
            Self::IkPsk2 => &[&[E, Es, S, Ss], &[E, Ee, Se, Psk]],
            Self::Nk => &[&[E, Es], &[E, Ee]],
            Self::Xx => &[&[E], &[E, Ee, S, Es], &[S, Se]],
            Self::XxPsk3 => &[&[E], &[E, Ee, S, Es], &[S, Se, Psk]],
            Self::NnPsk0 => &[&[Psk, E], &[E, Ee]],
        }
    }

    /// Whether the responder knows the initiator's static key beforehand.
    pub(crate) const fn knows_initiator(self) -> bool {
        matches!(self, Self::Kk | Self::KkPsk2)
    }

    /// Whether the initiator knows the responder's static key beforehand.
    pub(crate) const fn knows_responder(self) -> bool {
        matches!(self, Self::Kk | Self::KkPsk2 | Self::Ik | Self::IkPsk2 | Self::Nk)
    }

    /// Whether the initiator has a static key.
    pub(crate) const fn initiator_has_static(self) -> bool {
        !matches!(self, Self::Nk | Self::NnPsk0)
    }

    /// Whether the responder has a static key.
    pub(crate) const fn responder_has_static(self) -> bool {
        !matches!(self, Self::NnPsk0)
    }

    /// Whether the first thing in the handshake is its pre-shared secret.
    pub(crate) const fn begins_with_psk(self) -> bool {
        matches!(self, Self::NnPsk0)
    }

    /// Whether the handshake takes a pre-shared secret.
    pub(crate) const fn has_psk(self) -> bool {
        matches!(self, Self::KkPsk2 | Self::IkPsk2 | Self::XxPsk3 | Self::NnPsk0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_questions_agree_with_the_tables() {
        for pattern in Pattern::ALL {
            let sends = |start: usize, token: Token| {
                pattern.messages().iter().skip(start).step_by(2).any(|tokens| tokens.contains(&token))
            };
            assert!(pattern.name().len() > 32, "{pattern:?}");
            assert_eq!(pattern.name().contains("psk"), pattern.has_psk());
            assert_eq!(pattern.messages().concat().contains(&Token::Psk), pattern.has_psk());
            assert_eq!(pattern.messages()[0].first() == Some(&Token::Psk), pattern.begins_with_psk());
            assert_eq!(pattern.initiator_has_static(), pattern.knows_initiator() || sends(0, Token::S));
            assert_eq!(pattern.responder_has_static(), pattern.knows_responder() || sends(1, Token::S));
            assert!(!(pattern.knows_initiator() && sends(0, Token::S)));
            assert!(!(pattern.knows_responder() && sends(1, Token::S)));
        }
    }
}

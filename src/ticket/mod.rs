//! Tickets: what a player holds to find a server and to get in, as bytes and as text; their sealing by a game's backend
//! and the check of it; whom a redirect may send where. PROTOCOL.md, "Tickets" and "Following a redirect". Knows no sessions and no
//! clock; nothing is allocated by a declared length, and nothing secret stands in what everybody may read.

mod address;
mod builder;
mod check;
mod error;
#[cfg(test)]
mod frozen;
mod public;
mod redirect;
#[cfg(test)]
mod tests;
mod text;

use std::{fmt, str::FromStr};

pub use self::{
    address::{AddressError, AddressRules, TicketAddress},
    builder::{TicketBuilder, TicketGrant},
    check::{Admission, TicketKey, TicketKeys, TicketScope},
    error::TicketError,
    redirect::{Dialled, RedirectError},
};
use self::{builder::SEALED_OVERHEAD, public::Public};
use crate::{crypto::PublicKey, wire::codec::Reader};

/// How a ticket's reader proves who he is: the profile of the handshake. Those of an invite are not among them, since an
/// invite is a secret of two and names no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TicketProfile {
    /// Both know each other's key: [`Credentials::paired`](crate::Credentials::paired).
    Paired,
    /// The same with a pre-shared key: [`Credentials::paired_psk`](crate::Credentials::paired_psk).
    PairedPsk,
    /// Both show their key: [`Credentials::tofu`](crate::Credentials::tofu).
    Tofu,
    /// An anonymous player: [`Credentials::client`](crate::Credentials::client).
    Client,
    /// A player with a key: [`Credentials::client_auth`](crate::Credentials::client_auth).
    ClientAuth,
    /// The same with a pre-shared key: [`Credentials::client_auth_psk`](crate::Credentials::client_auth_psk).
    ClientAuthPsk,
}

impl TicketProfile {
    /// The byte of PROTOCOL.md, "Profiles".
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Paired => 0x01,
            Self::PairedPsk => 0x11,
            Self::Tofu => 0x03,
            Self::Client => 0x04,
            Self::ClientAuth => 0x05,
            Self::ClientAuthPsk => 0x15,
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::Paired,
            0x11 => Self::PairedPsk,
            0x03 => Self::Tofu,
            0x04 => Self::Client,
            0x05 => Self::ClientAuth,
            0x15 => Self::ClientAuthPsk,
            _ => return None,
        })
    }

    /// Whether the player has a key that a ticket can be bound to.
    const fn names_player(self) -> bool {
        !matches!(self, Self::Client)
    }
}

/// A ticket: where a game is, whose keys its servers have, and optionally a sealed part by which the game's backend lets
/// this player in. At most 1,024 bytes.
///
/// `Display` and `FromStr` are its pasteable text, `sg1` and letters and digits; reading forgives white space and either
/// case. Everything but the sealed part can be read, and without a sealed part also be changed, by everybody. So the way
/// by which a ticket reaches a player decides whether its keys can be trusted; and a sealed ticket that names no player
/// admits whoever holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    public: Public,
    bytes: Vec<u8>,
    is_sealed: bool,
}

impl Ticket {
    /// Longest ticket, in bytes.
    pub const MAX_BYTES: usize = public::MAX_TICKET;

    /// Begins a ticket for the server with this key.
    #[must_use]
    pub fn builder(profile: TicketProfile, server: PublicKey) -> TicketBuilder {
        TicketBuilder::new(profile, server)
    }

    /// Reads a ticket. Whether the sealed part is authentic only the holder of the key can say ([`TicketKeys::check`]).
    ///
    /// # Errors
    /// [`TicketError::TooLong`], [`TicketError::UnknownFormat`], or [`TicketError::Malformed`] with the part at fault.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TicketError> {
        Self::split(bytes).map(|(ticket, _)| ticket)
    }

    /// As `from_bytes`, with the length of the public part.
    fn split(bytes: &[u8]) -> Result<(Self, usize), TicketError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(TicketError::TooLong);
        }
        let mut reader = Reader::new(bytes);
        let (public, is_sealed) = Public::read(&mut reader)?;
        let rest = reader.rest().len();
        if is_sealed != (rest > 0) || (is_sealed && rest < SEALED_OVERHEAD) {
            return Err(TicketError::Malformed("sealed part"));
        }
        Ok((Self { public, bytes: bytes.to_vec(), is_sealed }, bytes.len() - rest))
    }

    /// The bytes, for storage or a transport of your own.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The profile of the handshake.
    #[must_use]
    pub const fn profile(&self) -> TicketProfile {
        self.public.profile
    }

    /// The application, as in [`Config::app_id`](crate::Config::app_id). 0 to 32 bytes.
    #[must_use]
    pub fn app_id(&self) -> &[u8] {
        &self.public.app_id
    }

    /// The token by which a balancer finds the server. 0 to 20 bytes.
    #[must_use]
    pub fn route(&self) -> &[u8] {
        &self.public.route
    }

    /// The keys of the servers, 1 to 4, the preferred one first.
    #[must_use]
    pub fn server_keys(&self) -> &[PublicKey] {
        &self.public.keys
    }

    /// Where they can be reached, 0 to 8, the preferred one first. Dial only what [`AddressRules`] allow.
    #[must_use]
    pub fn addresses(&self) -> &[TicketAddress] {
        &self.public.addresses
    }

    /// When the ticket ends, in seconds since 1970; `None` for never.
    #[must_use]
    pub const fn expires(&self) -> Option<u64> {
        if self.public.expires == 0 { None } else { Some(self.public.expires) }
    }

    /// Whether no server lets it in any more at `unix_now` (seconds since 1970).
    #[must_use]
    pub fn has_expired(&self, unix_now: u64) -> bool {
        self.expires().is_some_and(|expires| unix_now.saturating_sub(check::SKEW) >= expires)
    }

    /// What the ticket's maker wants its reader to know, such as the name of the game.
    #[must_use]
    pub fn public_data(&self) -> &[u8] {
        &self.public.data
    }

    /// Whether the public part is written as it was read.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn is_canonical(&self) -> bool {
        let mut again = Vec::new();
        self.public.write(self.is_sealed, &mut again).is_ok()
            && self.bytes.starts_with(&again)
            && (self.is_sealed || self.bytes.len() == again.len())
    }

    /// Whether a backend sealed it.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        self.is_sealed
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(&self.bytes, f)
    }
}

/// Without the sealed part, which may be all that is needed to get in.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("profile", &self.public.profile)
            .field("server_keys", &self.public.keys)
            .field("addresses", &self.public.addresses)
            .field("is_sealed", &self.is_sealed)
            .finish_non_exhaustive()
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    /// Reads the text of a ticket, of at most 4,096 bytes.
    fn from_str(text: &str) -> Result<Self, TicketError> {
        Self::from_bytes(&text::read(text)?)
    }
}

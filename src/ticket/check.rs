//! The server's side: the key that it shares with its backend, and the check of what a player presents. A pure function:
//! the time, the player's key from the handshake and what was revoked are arguments. PROTOCOL.md, "Check of a ticket".

use std::fmt;

use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use super::{Ticket, TicketError, TicketGrant, TicketProfile, builder::open};
use crate::crypto::{EntropyError, PublicKey, Secret, random};

/// By how much clocks may differ, in seconds.
pub(super) const SKEW: u64 = 30;

/// The key under which a backend seals tickets, 32 bytes, shared with the server that checks them. Wiped on drop.
///
/// Give each server a key of its own: who takes one server can make tickets for all that share its key.
pub struct TicketKey(pub(super) Secret<32>);

impl TicketKey {
    /// Takes 32 bytes that `expose_bytes` returned or that a good source of randomness made.
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; 32]) -> Self {
        Self(Secret::take(&mut bytes))
    }

    pub(crate) fn from_rng<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Self, EntropyError> {
        let mut bytes = Zeroizing::new(random::<32, R>(rng)?);
        Ok(Self(Secret::take(&mut bytes)))
    }

    /// The 32 secret bytes, for storage. The returned copy is wiped on drop; copies of it are not.
    #[must_use]
    pub fn expose_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*self.0.as_bytes())
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(..)")
    }
}

/// What a server is, for which a ticket must be.
#[derive(Clone, Copy, Debug)]
pub struct TicketScope<'a> {
    /// Its application, as in [`Config::app_id`](crate::Config::app_id).
    pub app_id: &'a [u8],
    /// The profile of the handshake in which the ticket was presented.
    pub profile: TicketProfile,
    /// Its own static key.
    pub server: &'a PublicKey,
    /// Its own route.
    pub route: &'a [u8],
}

/// What a ticket that passed the check says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admission {
    /// The ticket's number.
    pub id: [u8; 16],
    /// The player that it was given to; it is the one of the handshake. `None` for a bearer ticket.
    pub player: Option<PublicKey>,
    /// When it was issued, in seconds since 1970.
    pub issued: u64,
    /// When it ends, in seconds since 1970.
    pub expires: u64,
    /// What the backend says of the player.
    pub user_data: Vec<u8>,
}

/// The one or two keys whose tickets a server accepts; two while a new one comes into use. Wiped on drop.
pub struct TicketKeys(Vec<TicketKey>);

impl TicketKeys {
    /// The key in use.
    #[must_use]
    pub fn new(current: TicketKey) -> Self {
        Self(vec![current])
    }

    /// Also accepts tickets under an older key, or under one that the backend will use soon.
    #[must_use]
    pub fn with_other(mut self, other: TicketKey) -> Self {
        self.0.truncate(1);
        self.0.push(other);
        self
    }

    /// Checks the ticket that a player presented. `player` is the key that the handshake proved, if it proves one;
    /// `unix_now` is in seconds since 1970, and the clocks may differ by 30; `is_revoked` is asked last, about the id of
    /// a ticket that is good else.
    ///
    /// # Errors
    /// In this order: [`TicketError::TooLong`], [`UnknownFormat`](TicketError::UnknownFormat),
    /// [`Malformed`](TicketError::Malformed), [`NotSealed`](TicketError::NotSealed),
    /// [`WrongSeal`](TicketError::WrongSeal), [`WrongApp`](TicketError::WrongApp),
    /// [`WrongProfile`](TicketError::WrongProfile), [`WrongServer`](TicketError::WrongServer),
    /// [`WrongRoute`](TicketError::WrongRoute), [`SharedBearer`](TicketError::SharedBearer),
    /// [`WrongPlayer`](TicketError::WrongPlayer), [`NotYetValid`](TicketError::NotYetValid),
    /// [`Expired`](TicketError::Expired), [`Revoked`](TicketError::Revoked).
    pub fn check(
        &self,
        ticket: &[u8],
        here: &TicketScope<'_>,
        player: Option<&PublicKey>,
        unix_now: u64,
        is_revoked: impl FnOnce(&[u8; 16]) -> bool,
    ) -> Result<Admission, TicketError> {
        let (parsed, public_len) = Ticket::split(ticket)?;
        if !parsed.is_sealed() {
            return Err(TicketError::NotSealed);
        }
        let (public, sealed) =
            ticket.split_at_checked(public_len).ok_or(TicketError::Malformed("sealed part"))?;
        let opened = open(&self.0, public, sealed)?;
        let grant = TicketGrant::from_bytes(&opened)?;
        is_for(&parsed, here)?;
        is_of(&parsed, &grant, player)?;
        let expires = parsed.expires().unwrap_or_default();
        if unix_now.saturating_add(SKEW) < grant.issued {
            return Err(TicketError::NotYetValid);
        }
        if parsed.has_expired(unix_now) {
            return Err(TicketError::Expired);
        }
        if is_revoked(&grant.id) {
            return Err(TicketError::Revoked);
        }
        let TicketGrant { id, player, issued, user_data } = grant;
        Ok(Admission { id, player, issued, expires, user_data: user_data.to_vec() })
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKeys(..)")
    }
}

fn is_for(ticket: &Ticket, here: &TicketScope<'_>) -> Result<(), TicketError> {
    for (fits, error) in [
        (ticket.app_id() == here.app_id, TicketError::WrongApp),
        (ticket.profile() == here.profile, TicketError::WrongProfile),
        (ticket.server_keys().contains(here.server), TicketError::WrongServer),
        (ticket.route() == here.route, TicketError::WrongRoute),
    ] {
        if !fits {
            return Err(error);
        }
    }
    Ok(())
}

/// Whether it is this player's. Keys are compared in constant time, as everywhere.
fn is_of(ticket: &Ticket, grant: &TicketGrant<'_>, player: Option<&PublicKey>) -> Result<(), TicketError> {
    match (&grant.player, player) {
        (None, _) if ticket.server_keys().len() != 1 => Err(TicketError::SharedBearer),
        (None, _) => Ok(()),
        (Some(named), Some(proven)) if named == proven => Ok(()),
        (Some(_), _) => Err(TicketError::WrongPlayer),
    }
}

//! What can be wrong with a ticket, in the order in which it is found out.

use std::fmt;

use crate::crypto::{EntropyError, InvalidKey};

/// Why a ticket was not made, not read, or not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TicketError {
    /// The text is none of a ticket: it does not begin with `sg1`, or has a character that never stands in one.
    Text,
    /// The text was cut, or a character of it was changed.
    Checksum,
    /// The ticket is longer than 1,024 bytes.
    TooLong,
    /// The ticket has this format, which a later version of the library may know.
    UnknownFormat(u8),
    /// This part of the ticket is missing, out of its range, or not in its one form.
    Malformed(&'static str),
    /// No backend sealed the ticket.
    NotSealed,
    /// None of the keys opens the sealed part: another backend made it, or somebody changed the ticket.
    WrongSeal,
    /// The ticket is for another application.
    WrongApp,
    /// The ticket is for another profile than the one that the handshake had.
    WrongProfile,
    /// The ticket is for other servers.
    WrongServer,
    /// The ticket is for another route.
    WrongRoute,
    /// The ticket names no player and several servers, so that each of them could use it at the others.
    SharedBearer,
    /// The ticket was given to another player, or to a player with a key and this one has none: it was stolen.
    WrongPlayer,
    /// The ticket has expired.
    Expired,
    /// The ticket was issued in the future: one of the two clocks is wrong.
    NotYetValid,
    /// The backend took the ticket back.
    Revoked,
    /// The profile of the ticket takes a pre-shared key and none was given, or it takes none and one was given.
    Psk,
    /// The server's key is our own, or nothing can be agreed with it.
    Key(InvalidKey),
    /// The source of randomness failed.
    Entropy(EntropyError),
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "the text is no ticket",
            Self::Checksum => "the text of the ticket was cut or changed",
            Self::TooLong => "the ticket is longer than 1,024 bytes",
            Self::UnknownFormat(format) => return write!(f, "the ticket has the unknown format {format}"),
            Self::Malformed(part) => return write!(f, "the ticket's {part} is malformed"),
            Self::NotSealed => "the ticket has no sealed part",
            Self::WrongSeal => "the ticket was sealed by another backend, or changed",
            Self::WrongApp => "the ticket is for another application",
            Self::WrongProfile => "the ticket is for another profile",
            Self::WrongServer => "the ticket is for another server",
            Self::WrongRoute => "the ticket is for another route",
            Self::SharedBearer => "the ticket names no player, but several servers",
            Self::WrongPlayer => "the ticket was given to another player",
            Self::Expired => "the ticket has expired",
            Self::NotYetValid => "the ticket is not valid yet",
            Self::Revoked => "the ticket was revoked",
            Self::Psk => "the ticket's profile and the pre-shared key do not go together",
            Self::Key(error) => return error.fmt(f),
            Self::Entropy(error) => return error.fmt(f),
        })
    }
}

impl std::error::Error for TicketError {}

impl From<EntropyError> for TicketError {
    fn from(error: EntropyError) -> Self {
        Self::Entropy(error)
    }
}

impl From<InvalidKey> for TicketError {
    fn from(error: InvalidKey) -> Self {
        Self::Key(error)
    }
}

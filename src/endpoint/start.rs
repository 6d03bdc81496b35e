//! Why an endpoint or a server was not made.

use std::{fmt, io};

use crate::{crypto::InvalidKey, error::ConfigError, sealed::NoListener, ticket::TicketError};

/// An endpoint could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A field of the configuration is out of range.
    Config(ConfigError),
    /// The peer's public key cannot be used.
    Key(InvalidKey),
    /// The socket could not be made ready.
    Socket(io::Error),
    /// A server was given the credentials of a side that only dials.
    Role,
    /// The operating system gave no randomness.
    Entropy,
    /// The ticket does not lead to a session.
    Ticket(TicketError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Key(error) => error.fmt(f),
            Self::Socket(error) => write!(f, "the socket could not be made ready: {error}"),
            Self::Role => f.write_str("a server needs credentials that answer"),
            Self::Entropy => f.write_str("the operating system gave no randomness"),
            Self::Ticket(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Key(error) => Some(error),
            Self::Socket(error) => Some(error),
            Self::Ticket(error) => Some(error),
            Self::Role | Self::Entropy => None,
        }
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<NoListener> for StartError {
    fn from(error: NoListener) -> Self {
        match error {
            NoListener::Config(error) => Self::Config(error),
            NoListener::Role => Self::Role,
            NoListener::Entropy => Self::Entropy,
        }
    }
}

//! What an endpoint tells its application about the life of the session. Holds no secret: a handshake hash is public.
//! Events come in the order in which the things happened, and each is told once.

use std::{fmt, net::SocketAddr, ops::Deref};

use zeroize::Zeroizing;

use crate::crypto::PublicKey;
use crate::delivery::{MessageId, Outcome};
use crate::error::CloseReason;

/// Names one peer of a server. No two peers have the same name, also not one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// The bytes of a ticket that somebody shows, as they came. Whoever has them may be able to use them, so `Debug` tells
/// only how many they are. Derefs to the bytes. Wiped when dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ShownTicket(Zeroizing<Vec<u8>>);

impl From<&[u8]> for ShownTicket {
    fn from(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl Deref for ShownTicket {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ShownTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShownTicket({} bytes)", self.0.len())
    }
}

/// Something happened to the session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Only at a server: somebody has proven that he holds his keys and asks to join. Nothing of his is read, and nothing
    /// sent to him, before [`accept`](crate::Server::accept); without an answer he is forgotten after
    /// [`ServerConfig::accept_timeout`](crate::ServerConfig::accept_timeout).
    Join {
        /// His static key, where the profile gives him one.
        key: Option<PublicKey>,
        /// The ticket that he shows, at most 1,024 bytes, unchecked; empty without one.
        ticket: ShownTicket,
        /// Where he is now. It says nothing about who he is.
        address: SocketAddr,
    },
    /// Only over sockets with addresses: the peer has moved, and has proven that it receives at its new address.
    PathChanged {
        /// The address before.
        from: SocketAddr,
        /// The address from now on.
        to: SocketAddr,
    },
    /// A session is live: the peer has proven that it holds its keys.
    Connected {
        /// The peer's static key, where the profile gives it one. `None` at a plain endpoint.
        peer: Option<PublicKey>,
        /// Equal at both ends of one session and of no other; to be compared by another channel. `None` at a plain
        /// endpoint.
        handshake_hash: Option<[u8; 32]>,
    },
    /// The same peer began a new session (it restarted, or the old session had fallen silent); the old one is gone.
    PeerReconnected {
        /// The hash of the new session. `None` at a plain endpoint.
        handshake_hash: Option<[u8; 32]>,
        /// `Delivery` messages of the old session that were not acknowledged. They are never sent again by themselves.
        undelivered: Vec<MessageId>,
    },
    /// Messages that were queued before the session began are longer than its peer takes. They were dropped.
    Refused {
        /// Which, oldest first.
        messages: Vec<MessageId>,
        /// Longest `Delivery` message of this session, in bytes; `None` and `Order` may have a smaller limit of their own.
        max_bytes: usize,
    },
    /// What became of a message that was sent with [`SendOptions::notice`](crate::SendOptions::notice); told once for
    /// each. Notices come before other events that happened at the same time, so the last ones of a session before its
    /// end.
    Notice {
        /// The message.
        message: MessageId,
        /// What became of it.
        outcome: Outcome,
    },
    /// The server asks its client to go elsewhere, at most once in a session. Nothing has changed yet: whoever follows
    /// dials the other server with an endpoint of its own, and closes this session when that one is there.
    Redirected {
        /// A ticket for the other server, at most 1,024 bytes. Only that it came from this server is proven.
        ticket: ShownTicket,
    },
    /// The session ended, or never came about.
    Closed {
        /// Why.
        reason: CloseReason,
        /// `Delivery` messages that were not acknowledged.
        undelivered: Vec<MessageId>,
    },
}

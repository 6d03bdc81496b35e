//! What a sealed endpoint offers beyond a plain one because its peer may be a server: a ticket to show, and a network
//! that may change without the server losing sight of us. PROTOCOL.md, "Moving" and "Joining".

use std::io;

use super::Endpoint;
use crate::{error::ConfigError, sealed::Sealed, socket::UdpLike};

impl<U: UdpLike> Endpoint<U, Sealed> {
    /// Goes on over another socket, because the machine has changed its network: the session stays, its messages too.
    /// Returns the socket before.
    ///
    /// The next datagram leaves at once. A server that follows its clients (a [`SealedServer`](crate::SealedServer), or
    /// any other peer that does not filter by address) finds the session again by an id that was never seen on the old
    /// network; a peer with a connected socket hears nothing from the new address.
    ///
    /// # Errors
    /// What kept the new socket from being made ready; then the old one stays.
    pub fn replace_socket(&mut self, mut socket: U) -> io::Result<U> {
        socket.prepare()?;
        let now = self.environment.now();
        let old = std::mem::replace(&mut self.socket, socket);
        // What the old socket did not take counts as lost: it must not be seen on both networks.
        self.kept = 0;
        self.stuck = false;
        self.core.moved(now, &mut self.environment, self.socket.may_fragment());
        self.transmit(now);
        Ok(old)
    }

    /// The ticket that the server is shown from the next join on, in place of that of the
    /// [`Credentials`](crate::Credentials::with_ticket).
    ///
    /// # Errors
    /// [`ConfigError`] with the field `ticket` if it does not fit a datagram: 1,024 bytes, or less where
    /// [`Config::max_datagram_bytes`](crate::Config::max_datagram_bytes) is below 1,076.
    pub fn set_ticket(&mut self, ticket: &[u8]) -> Result<(), ConfigError> {
        self.core.set_ticket(ticket)
    }
}

//! What a sealed endpoint offers beyond a plain one because its peer may be a server: a ticket to show, and a network
//! that may change without the server losing sight of us. PROTOCOL.md, "Moving" and "Joining".

use std::{io, time::Duration};

use super::Endpoint;
use crate::{
    config::Config,
    crypto::{Psk, SecretKey},
    endpoint::StartError,
    error::ConfigError,
    os::Environment,
    sealed::Sealed,
    socket::UdpLike,
    ticket::{Ticket, TicketError},
};

impl<U: UdpLike> Endpoint<U, Sealed> {
    /// Makes the endpoint of a player who holds a ticket: its profile, application, route and first server key, with the
    /// ticket shown when the handshake has proven who the player is. `socket` is connected to one of the ticket's
    /// addresses; `psk` is for the profiles that take one. For a server key other than the first, or an environment of
    /// your own, use [`Ticket::credentials`].
    ///
    /// # Errors
    /// - [`StartError::Ticket`]: `own` or `psk` does not go with the ticket.
    /// - [`StartError::Config`]: a field of `config` is out of range, or datagrams are too small for the ticket.
    /// - [`StartError::Socket`]: the socket could not be made ready.
    pub fn from_ticket(
        socket: U,
        ticket: &Ticket,
        own: &SecretKey,
        psk: Option<&Psk>,
        config: Config,
    ) -> Result<Self, StartError> {
        Self::make_from_ticket(socket, ticket, (own, psk), config, Environment::os())
    }

    /// [`from_ticket`](Self::from_ticket) without a psk, with a clock and randomness of the caller's, for tests.
    ///
    /// # Errors
    /// As [`from_ticket`](Self::from_ticket).
    #[cfg(feature = "sim")]
    pub fn from_ticket_with_environment(
        socket: U,
        ticket: &Ticket,
        own: &SecretKey,
        config: Config,
        environment: Environment,
    ) -> Result<Self, StartError> {
        Self::make_from_ticket(socket, ticket, (own, None), config, environment)
    }

    fn make_from_ticket(
        socket: U,
        ticket: &Ticket,
        (own, psk): (&SecretKey, Option<&Psk>),
        config: Config,
        environment: Environment,
    ) -> Result<Self, StartError> {
        let [server, ..] = ticket.server_keys() else {
            return Err(StartError::Ticket(TicketError::WrongServer));
        };
        let credentials = ticket.credentials(server, own, psk).map_err(StartError::Ticket)?;
        let credentials = credentials.with_route(ticket.route())?.with_ticket(ticket.as_bytes())?;
        let config = Config { app_id: ticket.app_id().to_vec(), ..config };
        Self::make_sealed(socket, credentials, config, environment)
    }

    /// Goes on over another socket, because the machine has changed its network: the session stays, its messages too.
    /// Returns the socket before.
    ///
    /// The next datagram leaves at once. A server of many peers finds the session again by an id that was never seen on
    /// the old network, and follows. A peer with a connected socket of its own hears nothing from another address.
    ///
    /// # Errors
    /// What kept the new socket from being made ready; then the old one stays.
    pub fn replace_socket(&mut self, mut socket: U) -> io::Result<U> {
        socket.prepare()?;
        let now = self.environment.now();
        let old = std::mem::replace(&mut self.socket, socket);
        // What the old socket did not take counts as lost: it must not be seen on both networks.
        self.outgoing.clear();
        self.outgoing.set_run(self.socket.largest_run());
        self.incoming.other_socket();
        self.blocked = false;
        self.unread = Some(Duration::ZERO);
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

//! How a server is made, of either kind, and what only a sealed one has: tickets, redirects, floods that it counts.

use std::{collections::VecDeque, sync::Arc};

use super::{PlainServer, SealedServer, Server, core::ServerSession};
use crate::{
    config::ServerConfig,
    endpoint::StartError,
    event::PeerId,
    os::Environment,
    plain,
    sealed::{Credentials, FloodStats, Listener, Port},
    socket::{AddressedUdp, BATCH, RecvBatch, SendBatch},
    stats::Stats,
    ticket::{Admission, Ticket, TicketError, TicketKeys},
};

impl<A: AddressedUdp> SealedServer<A> {
    /// What strangers were refused so far.
    #[must_use]
    pub fn flood_stats(&self) -> FloodStats {
        self.core.flood_stats()
    }

    /// Makes a server; see [`Credentials`] for the profiles, of which it takes those that answer.
    ///
    /// # Errors
    /// - [`StartError::Config`]: a field of `config` is out of range.
    /// - [`StartError::Role`]: the credentials are those of a client.
    /// - [`StartError::Socket`]: the socket could not be made ready.
    /// - [`StartError::Entropy`]: the operating system gave no randomness.
    pub fn new(socket: A, credentials: Credentials, config: ServerConfig) -> Result<Self, StartError> {
        Self::make(socket, credentials, config, None, Environment::os())
    }

    /// Makes a further worker of this server's port, over another socket of [`bind_workers`](crate::bind_workers).
    /// `credentials` hold the same keys, and `config.worker` tells the workers apart; then each may go to a thread of its
    /// own.
    ///
    /// The workers made so, all of one process, take each other's cookies. And they are one server to a player who comes
    /// back with the same key: whichever lets him in, the session that he left ends with
    /// [`CloseReason::Replaced`](crate::CloseReason::Replaced) at the next `recv` of the worker that has it. All else is
    /// each worker's own, the bounds of `config` included.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`StartError::Config`] also when `config.worker` has another `count` than this server's.
    pub fn another_worker(
        &self,
        socket: A,
        credentials: Credentials,
        config: ServerConfig,
    ) -> Result<Self, StartError> {
        Self::make(socket, credentials, config, Some(self.core.port()), Environment::os())
    }

    /// [`new`](Self::new) with a clock and randomness of the caller's, for tests.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    #[cfg(feature = "sim")]
    pub fn with_environment(
        socket: A,
        credentials: Credentials,
        config: ServerConfig,
        environment: Environment,
    ) -> Result<Self, StartError> {
        Self::make(socket, credentials, config, None, environment)
    }

    fn make(
        socket: A,
        credentials: Credentials,
        config: ServerConfig,
        port: Option<&Arc<Port>>,
        mut environment: Environment,
    ) -> Result<Self, StartError> {
        let now = environment.now();
        let sizes = Sizes::of(&config);
        let core = Listener::new(credentials, config, port, now, &mut environment)?;
        Self::assemble(socket, core, environment, sizes, true)
    }

    /// Checks the ticket of a player that asks, as [`Event::Join`](crate::Event::Join) brought it: whether our backend
    /// sealed it, for this server, application, profile and route, for whoever holds the key that this player has proven.
    /// Then [`accept`](Self::accept) or [`kick`](Self::kick). `unix_now` is in seconds since 1970; `is_revoked` is asked
    /// last, about the id of a ticket that is good else.
    ///
    /// # Errors
    /// As [`TicketKeys::check`].
    pub fn admission(
        &self,
        id: PeerId,
        ticket: &[u8],
        keys: &TicketKeys,
        unix_now: u64,
        is_revoked: impl FnOnce(&[u8; 16]) -> bool,
    ) -> Result<Admission, TicketError> {
        self.core.admission(id, ticket, keys, unix_now, is_revoked)
    }

    /// Asks a player to go to another server; it gets [`Event::Redirected`](crate::Event::Redirected) with this ticket,
    /// which should name that server's address. Sent until it has arrived, once in a session. The session goes on: the
    /// player ends it when it has got in there, and who stays is ended by [`drain`](Self::drain) or
    /// [`kick`](Self::kick).
    ///
    /// `false`: there is no such peer, it was redirected before, or its datagrams are too small for the ticket.
    pub fn redirect(&mut self, id: PeerId, ticket: &Ticket) -> bool {
        self.core.peers().is_open(id)
            && self
                .core
                .peers_mut()
                .connection_mut(id)
                .is_some_and(|connection| connection.redirect(ticket.as_bytes()))
    }
}

impl<A: AddressedUdp> PlainServer<A> {
    /// Makes a server whose datagrams are neither encrypted nor authenticated; a checksum seeded by the app id keeps
    /// strays and corruption out, and nothing keeps attackers out. A peer that asks has no key and no ticket. Of
    /// [`Flood`](crate::Flood) the bounds on half-open entries and sessions count.
    ///
    /// # Errors
    /// - [`StartError::Config`]: a field of `config` is out of range, or there is a route or a worker.
    /// - [`StartError::Socket`]: the socket could not be made ready.
    pub fn plain(socket: A, config: ServerConfig) -> Result<Self, StartError> {
        Self::make_plain(socket, config, Environment::os())
    }

    /// [`plain`](Self::plain) with a clock and randomness of the caller's, for tests.
    ///
    /// # Errors
    /// As [`plain`](Self::plain).
    #[cfg(feature = "sim")]
    pub fn plain_with_environment(
        socket: A,
        config: ServerConfig,
        environment: Environment,
    ) -> Result<Self, StartError> {
        Self::make_plain(socket, config, environment)
    }

    fn make_plain(socket: A, config: ServerConfig, environment: Environment) -> Result<Self, StartError> {
        let sizes = Sizes::of(&config);
        let core = plain::Listener::new(config)?;
        Self::assemble(socket, core, environment, sizes, false)
    }
}

/// What the shell needs to know of the configuration.
pub(super) struct Sizes {
    largest: usize,
    reads_per_call: usize,
}

impl Sizes {
    pub(super) fn of(config: &ServerConfig) -> Self {
        let largest = usize::from(config.session.max_datagram_bytes);
        Self { largest, reads_per_call: config.reads_per_call }
    }
}

impl<A: AddressedUdp, L: ServerSession> Server<A, L> {
    pub(super) fn assemble(
        mut socket: A,
        core: L,
        environment: Environment,
        sizes: Sizes,
        sealed: bool,
    ) -> Result<Self, StartError> {
        socket.prepare().map_err(StartError::Socket)?;
        Ok(Self {
            socket,
            core,
            environment,
            incoming: RecvBatch::new(sizes.largest),
            ahead: VecDeque::with_capacity(BATCH),
            outgoing: SendBatch::new(sizes.largest),
            lent: None,
            current: None,
            taken: 0,
            beyond_share: 0,
            unread: false,
            troubled: false,
            everybody: Vec::new(),
            reads_per_call: sizes.reads_per_call,
            drain: None,
            stats: Stats { sealed, ..Stats::default() },
        })
    }
}

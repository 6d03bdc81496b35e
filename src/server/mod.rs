//! The shell around the core of a server: it owns the socket, the clock and the batches of datagrams, and yields the
//! messages of all peers in turn. Must not know keys, frames or timers; the slot that a message is lent from is not
//! written while the loan lasts.

mod core;
mod drain;
mod peer;
mod receiving;

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Instant};

use self::drain::Drain;
pub use self::{core::ServerSession, peer::Peer};
use crate::{
    config::ServerConfig,
    delivery::{SendOptions, recv::Handle},
    endpoint::StartError,
    event::{Event, PeerId},
    os::Environment,
    plain,
    sealed::{Credentials, FloodStats, Listener},
    socket::{AddressedUdp, RecvBatch, SendBatch},
    stats::{Stats, add},
    ticket::{Admission, Ticket, TicketError, TicketKeys},
};

/// Datagrams that one call sends at most, so that no call holds its caller for long; `maintain` is then due at once.
const MAX_SENDS: usize = 65_536;

/// Many peers behind one port: everything a game server calls.
///
/// # Driving it
///
/// There is no thread inside and no call that blocks. Call [`recv`](Self::recv) until it gives `None`, look at
/// [`poll_event`](Self::poll_event) until it gives `None`, send what you have, then call [`maintain`](Self::maintain);
/// again when the socket is readable or when the instant that `maintain` returned has come. Whoever wants to join shows
/// up as [`Event::Join`], and is in when you say so with [`accept`](Self::accept).
///
/// ```
/// use sealgram::{
///     Config, Credentials, Event, Guarantee, SealedEndpoint, SealedServer, SecretKey, ServerConfig, Trust,
/// };
/// use std::net::UdpSocket;
///
/// let key = SecretKey::generate()?; // players know its public key beforehand
/// let credentials = Credentials::server_auth(&key, Trust::Anyone);
/// let mut server = SealedServer::new(UdpSocket::bind("127.0.0.1:0")?, credentials, ServerConfig::default())?;
///
/// let socket = UdpSocket::bind("127.0.0.1:0")?;
/// socket.connect(server.socket().local_addr()?)?;
/// let own = SecretKey::generate()?;
/// let credentials = Credentials::client_auth(&own, key.public_key())?;
/// let mut player = SealedEndpoint::with_credentials(socket, credentials, Config::default())?;
/// player.connect()?;
/// player.send_payload(Guarantee::Delivery, b"hello")?;
///
/// let echo = loop {
///     // The server's loop.
///     while let Some((id, message)) = server.recv() {
///         let words = message.to_vec();
///         if let Some(mut peer) = server.peer(id) {
///             peer.send_payload(Guarantee::Delivery, &words)?;
///         }
///     }
///     while let Some((id, event)) = server.poll_event() {
///         if let Event::Join { key: Some(key), .. } = event {
///             println!("{key} joins");
///             server.accept(id);
///         }
///     }
///     server.maintain();
///     // The player's loop.
///     if let Some(message) = player.recv()? {
///         break message.to_vec();
///     }
///     player.maintain()?;
/// };
/// assert_eq!(echo, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`SealedServer`] is the one to use; a [`PlainServer`] keeps the contract and protects nothing.
pub struct Server<A, L = Listener> {
    socket: A,
    core: L,
    environment: Environment,
    /// Datagrams read. Messages are lent out of the one that was taken last.
    incoming: RecvBatch,
    outgoing: SendBatch,
    /// Storage of the message lent last, to be given back at the next call.
    lent: Option<(PeerId, Handle)>,
    /// The peer of the datagram taken last: all that became ready with it is yielded before the next one is taken.
    current: Option<PeerId>,
    /// Datagrams taken in this round of `recv`, and those among them that were more than their peers' shares.
    taken: usize,
    beyond_share: usize,
    /// Names of peers, while a broadcast lasts.
    everybody: Vec<PeerId>,
    reads_per_call: usize,
    /// The server goes out of service.
    drain: Option<Drain>,
    stats: Stats,
}

/// A server whose sessions are encrypted and authenticated, headers included.
pub type SealedServer<A> = Server<A, Listener>;

/// A server whose sessions are neither encrypted nor authenticated, for plain [`Endpoint`](crate::Endpoint)s.
pub type PlainServer<A> = Server<A, plain::Listener>;

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
        Self::make(socket, credentials, config, Environment::os())
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
        Self::make(socket, credentials, config, environment)
    }

    fn make(
        socket: A,
        credentials: Credentials,
        config: ServerConfig,
        mut environment: Environment,
    ) -> Result<Self, StartError> {
        let now = environment.now();
        let sizes = Sizes::of(&config);
        let core = Listener::new(credentials, config, now, &mut environment)?;
        Self::assemble(socket, core, environment, sizes, true)
    }

    /// Checks the ticket of a player that asks, as [`Event::Join`] brought it: whether our backend sealed it, for this
    /// server, application, profile and route, for whoever holds the key that this player has proven. Then
    /// [`accept`](Self::accept) or [`kick`](Self::kick). `unix_now` is in seconds since 1970; `is_revoked` is asked last,
    /// about the id of a ticket that is good else.
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

    /// Asks a player to go to another server; it gets [`Event::Redirected`] with this ticket, which should name that
    /// server's address. Sent until it has arrived, once in a session. The session goes on: the player ends it when it
    /// has got in there, and who stays is ended by [`drain`](Self::drain) or [`kick`](Self::kick).
    ///
    /// `false`: there is no such peer, it was redirected before, or its datagrams are too small for the ticket.
    pub fn redirect(&mut self, id: PeerId, ticket: &Ticket) -> bool {
        self.core.is_open(id)
            && self.core.connection_mut(id).is_some_and(|connection| connection.redirect(ticket.as_bytes()))
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
struct Sizes {
    largest: usize,
    reads_per_call: usize,
}

impl Sizes {
    fn of(config: &ServerConfig) -> Self {
        let largest = usize::from(config.session.max_datagram_bytes);
        Self { largest, reads_per_call: config.reads_per_call }
    }
}

impl<A: AddressedUdp, L: ServerSession> Server<A, L> {
    fn assemble(
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
            outgoing: SendBatch::new(sizes.largest),
            lent: None,
            current: None,
            taken: 0,
            beyond_share: 0,
            everybody: Vec::new(),
            reads_per_call: sizes.reads_per_call,
            drain: None,
            stats: Stats { sealed, ..Stats::default() },
        })
    }

    /// Peers with a session, and those that ask for one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.core.len()
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All peers, in no order. This one does walk over all of them.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.core.ids().filter(|id| self.core.is_open(*id))
    }

    /// The handle of a peer that was let in; `None` once its session has ended.
    pub fn peer(&mut self, id: PeerId) -> Option<Peer<'_, L>> {
        if !self.core.is_open(id) {
            return None;
        }
        Some(Peer { core: &mut self.core, environment: &mut self.environment, stats: &mut self.stats, id })
    }

    /// The address that datagrams to this peer go to. It says nothing about who the peer is.
    #[must_use]
    pub fn address(&self, id: PeerId) -> Option<SocketAddr> {
        self.core.address(id)
    }

    /// Lets a peer in that asked with [`Event::Join`]; then [`Event::Connected`] follows. `false` if it does not ask any
    /// more.
    pub fn accept(&mut self, id: PeerId) -> bool {
        let now = self.environment.now();
        self.core.accept(now, &mut self.environment, id)
    }

    /// Turns away a peer that asked, or ends its session, and tells it `code` (0 to 0xfeff) and up to 64 bytes of
    /// `reason`. What is queued for it is lost. `false` if there is no such peer.
    pub fn kick(&mut self, id: PeerId, code: u16, reason: &[u8]) -> bool {
        let now = self.environment.now();
        self.core.close(now, id, code, reason)
    }

    /// Whether newcomers are answered; peers that are in stay in. At the start they are.
    pub fn set_accepting(&mut self, accepting: bool) {
        self.drain = self.drain.take().filter(|_| !accepting);
        self.core.set_accepting(accepting);
    }

    /// Queues one message for every peer, and gives the number of peers whose queue took it. All queues share one copy of
    /// the bytes.
    pub fn broadcast(&mut self, options: impl Into<SendOptions>, bytes: &[u8]) -> usize {
        let ids = self.core.ids();
        self.everybody.clear();
        self.everybody.extend(ids);
        let everybody = std::mem::take(&mut self.everybody);
        let taken = self.send_to_each(&everybody, options, bytes);
        self.everybody = everybody;
        taken
    }

    /// Queues one message for each of these peers, and gives the number of those whose queue took it; who is not there any
    /// more is left out. All queues share one copy of the bytes.
    pub fn send_to_each(&mut self, peers: &[PeerId], options: impl Into<SendOptions>, bytes: &[u8]) -> usize {
        let options = options.into();
        let expires_at = options.expires.and_then(|after| self.environment.now().checked_add(after));
        let shared: Arc<[u8]> = bytes.into();
        let mut taken = 0;
        for &id in peers.iter() {
            if !self.core.is_open(id) {
                continue;
            }
            let Some(connection) = self.core.connection_mut(id) else { continue };
            if connection.send_shared(&options, expires_at, &shared).is_ok() {
                taken += 1;
                self.stats.messages_sent.count(options.guarantee);
                add(&mut self.stats.message_bytes_sent, bytes.len());
            }
        }
        taken
    }

    /// The next thing that happened to a peer, oldest first. Makes no I/O: call it after `recv` or `maintain`.
    pub fn poll_event(&mut self) -> Option<(PeerId, Event)> {
        self.core.poll_event()
    }

    /// Runs what is due, sends what is queued for all peers, and returns when it wants to be called next at the latest;
    /// `None` when only the socket or the application can bring news.
    pub fn maintain(&mut self) -> Option<Instant> {
        self.take_back();
        let now = self.environment.now();
        self.run_timers(now);
        let mut blocked = !self.flush_and_transmit(now);
        if self.look_after_drain(now) {
            blocked |= !self.transmit(now);
        }
        if blocked {
            return Some(now + receiving::RETRY);
        }
        // What was read and not taken yet is due at once.
        if self.current.is_some() || !self.incoming.is_empty() {
            return Some(now);
        }
        let drain = self.drain.as_ref().and_then(|drain| drain.deadline(now));
        [self.core.deadline(), drain].into_iter().flatten().min()
    }

    /// Counters of the whole server as of now: datagrams, bytes, messages of all peers, and what was dropped.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats.clone();
        stats.drops.merge(self.core.drops());
        stats
    }

    /// The socket, to register it or to read its address.
    pub fn socket(&self) -> &A {
        &self.socket
    }

    /// The socket, for `mio` to register. Do not send or receive with it.
    pub fn socket_mut(&mut self) -> &mut A {
        &mut self.socket
    }

    fn run_timers(&mut self, now: Instant) {
        if self.core.deadline().is_some_and(|deadline| deadline <= now) {
            self.core.handle_timeout(now, &mut self.environment);
        }
    }

    fn flush_and_transmit(&mut self, now: Instant) -> bool {
        self.core.flush_all();
        self.transmit(now)
    }

    /// Sends whatever the core has until it has nothing more; `false` if the socket takes no more.
    fn transmit(&mut self, now: Instant) -> bool {
        for _ in 0..MAX_SENDS {
            let Some(room) = self.outgoing.room() else {
                if !self.send_batch() {
                    return false;
                }
                continue;
            };
            let Some((len, to)) = self.core.poll_transmit(now, &mut self.environment, room) else {
                return self.send_batch();
            };
            add(&mut self.stats.datagrams_sent, 1);
            add(&mut self.stats.bytes_sent, len);
            self.outgoing.push(len, to);
        }
        self.send_batch()
    }

    fn send_batch(&mut self) -> bool {
        let Self { outgoing, socket, stats, .. } = self;
        // A failure other than a full buffer counts as loss: what matters is sent again, in a datagram of its own.
        outgoing.flush(socket, |error: io::Error| stats.socket_errors.count(&error))
    }
}

impl<A, L: ServerSession> fmt::Debug for Server<A, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("peers", &self.core.len()).finish_non_exhaustive()
    }
}

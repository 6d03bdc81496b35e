//! The shell around the core of a server: it owns the socket, the clock and the batches of datagrams, and yields the
//! messages of all peers in turn. Must not know keys, frames or timers; the slot that a message is lent from is not
//! written while the loan lasts.

mod broadcast;
mod core;
mod drain;
mod peer;
mod receiving;
mod start;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, fmt, io, net::SocketAddr, time::Instant};

use self::drain::Drain;
pub use self::{core::ServerSession, peer::Peer};
use crate::{
    delivery::recv::Handle,
    event::{Event, PeerId},
    os::Environment,
    plain,
    sealed::{Ahead, Listener},
    socket::{AddressedUdp, RecvBatch, SendBatch},
    stats::{Stats, add},
};

/// Datagrams that one call sends at most, so that no call holds its caller for long; `maintain` is then due again soon.
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
    /// What is known already of the first of them.
    ahead: VecDeque<Ahead>,
    outgoing: SendBatch,
    /// Storage of the message lent last, to be given back at the next call.
    lent: Option<(PeerId, Handle)>,
    /// The peer of the datagram taken last: all that became ready with it is yielded before the next one is taken.
    current: Option<PeerId>,
    /// Datagrams taken in this round of `recv`, and those among them that were more than their peers' shares.
    taken: usize,
    beyond_share: usize,
    /// The last round stopped before the socket was empty. A socket that tells of news once will not tell again.
    unread: bool,
    /// The last call of `recv` got nothing from the socket that it could use, again and again.
    troubled: bool,
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

impl<A: AddressedUdp, L: ServerSession> Server<A, L> {
    /// Peers with a session, and those that ask for one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.core.peers().len()
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All peers, in no order. This one does walk over all of them.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.core.peers().ids().filter(|id| self.core.peers().is_open(*id))
    }

    /// The handle of a peer that was let in; `None` once its session has ended.
    pub fn peer(&mut self, id: PeerId) -> Option<Peer<'_, L>> {
        if !self.core.peers().is_open(id) {
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

    /// The next thing that happened to a peer, oldest first. Makes no I/O: call it after `recv` or `maintain`.
    pub fn poll_event(&mut self) -> Option<(PeerId, Event)> {
        self.core.peers_mut().poll_event()
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
        // A socket that gives nothing but errors would have us ask for ever.
        if blocked || self.troubled {
            return Some(now + receiving::RETRY);
        }
        // What waits to be read or taken is due at once.
        if self.unread || self.current.is_some() || !self.incoming.is_empty() {
            return Some(now);
        }
        let drain = self.drain.as_ref().and_then(|drain| drain.deadline(now));
        [self.core.deadline(), drain].into_iter().flatten().min()
    }

    /// Counters of the whole server as of now: datagrams, bytes, messages of all peers, and what was dropped.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats.clone()
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
        self.core.peers_mut().flush_all();
        self.transmit(now)
    }

    /// Sends whatever the core has until it has nothing more; `false` if there is more, or the socket takes no more.
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
        self.send_batch();
        false
    }

    fn send_batch(&mut self) -> bool {
        let Self { outgoing, socket, stats, .. } = self;
        // A failure other than a full buffer counts as loss: what matters is sent again, in a datagram of its own.
        outgoing.flush(socket, |error: io::Error| stats.socket_errors.count(&error))
    }
}

impl<A, L: ServerSession> fmt::Debug for Server<A, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("peers", &self.core.peers().len()).finish_non_exhaustive()
    }
}

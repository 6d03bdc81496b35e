//! The shell around one peer's core: it owns the socket, the clock and the two buffers of datagrams, and carries the whole
//! contract of sending, lending and leaving for plain and sealed sessions alike. It must not know keys, frames or
//! timers; the buffer that a message is lent from is never written while the loan lasts.

mod addressed;
mod client;
mod core;
mod inbox;
mod leaving;
mod outbox;
mod receiving;
#[cfg(test)]
mod sealed_tests;
mod sending;
mod start;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

pub(crate) use self::sending::into_io;
pub use self::{core::Session, receiving::Message, sending::Set, start::StartError};
use self::{inbox::Inbox, outbox::Outbox};
use crate::{
    config::Config,
    crypto::{Invite, PublicKey, SecretKey},
    delivery::recv::{Handle, Ready},
    error::ConnectError,
    event::Event,
    os::Environment,
    plain::Plain,
    sealed::{Credentials, Sealed},
    socket::UdpLike,
    stats::Stats,
};

/// No timer is finer than this.
const LOOK: Duration = Duration::from_millis(1);

/// One peer of a session over a connected socket: everything an application calls.
///
/// `Endpoint<U>` protects nothing but keeps the contract; [`SealedEndpoint<U>`](SealedEndpoint) is the encrypted one.
/// Nothing turns one into the other, and where the two meet, both time out.
///
/// # Driving it
///
/// There is no thread inside and no call that blocks. Call [`recv`](Self::recv) until it gives `Ok(None)`; send what
/// you have; then call [`maintain`](Self::maintain), and do the three again when the socket is readable or when the
/// instant that `maintain` returned has come, whichever is first. A game simply does so once a frame.
///
/// ```
/// use sealgram::{CloseReason, Config, Endpoint, Event, Guarantee, memory_pair};
///
/// let (one, two) = memory_pair();
/// let mut alice = Endpoint::plain(one, Config::default())?;
/// let mut bob = Endpoint::plain(two, Config::default())?;
/// alice.connect()?;
/// alice.send_payload(Guarantee::Delivery, b"hello")?; // waits until the session is there
///
/// let mut heard = Vec::new();
/// while heard.is_empty() {
///     for endpoint in [&mut alice, &mut bob] {
///         while let Some(message) = endpoint.recv()? {
///             heard.push(message.to_vec()); // lent in place until the next call
///         }
///         endpoint.maintain()?;
///     }
/// }
/// assert_eq!(heard, [b"hello"]);
/// assert!(matches!(bob.poll_event(), Some(Event::Connected { .. })));
///
/// bob.close(0, b"bye");
/// assert_eq!(bob.maintain(), Err(CloseReason::ClosedHere));
/// assert_eq!(alice.recv().unwrap_err(), CloseReason::ClosedByPeer { code: 0 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Endpoint<U, S = Plain> {
    socket: U,
    core: S,
    environment: Environment,
    /// What was read last; messages are lent from it.
    incoming: Inbox,
    /// What was built last and has not left.
    outgoing: Outbox,
    /// The socket would not take what is in `outgoing`.
    blocked: bool,
    /// Storage of the message lent last, to be given back at the next call.
    lent: Option<Handle>,
    /// A ready message that was looked at, but not yet yielded.
    next: Option<Ready>,
    /// The last call that read stopped before the socket was empty: when to go on. A socket that tells of news once will not
    /// tell again.
    unread: Option<Duration>,
    /// Datagrams read since anything was sent.
    unanswered: usize,
    /// More is queued than may leave before the peer is heard again, so `send_*` need not ask.
    stuck: bool,
    /// When it was last looked whether a timer is due.
    looked_at: Option<Instant>,
    /// What the shell itself counts; the core adds its part when asked.
    stats: Stats,
}

/// An endpoint whose session is encrypted and authenticated, headers included.
pub type SealedEndpoint<U> = Endpoint<U, Sealed>;

impl<U: UdpLike> Endpoint<U, Plain> {
    /// Makes an endpoint whose datagrams are neither encrypted nor authenticated; a checksum seeded by the app id
    /// keeps strays and corruption out, and nothing keeps attackers out.
    ///
    /// # Errors
    /// - [`StartError::Config`]: a field of `config` is out of range.
    /// - [`StartError::Socket`]: the socket could not be made ready.
    pub fn plain(socket: U, config: Config) -> Result<Self, StartError> {
        Self::make_plain(socket, config, Environment::os())
    }

    /// [`plain`](Self::plain) with a clock and randomness of the caller's, for tests.
    ///
    /// # Errors
    /// As [`plain`](Self::plain).
    #[cfg(feature = "sim")]
    pub fn plain_with_environment(
        socket: U,
        config: Config,
        environment: Environment,
    ) -> Result<Self, StartError> {
        Self::make_plain(socket, config, environment)
    }

    fn make_plain(socket: U, config: Config, environment: Environment) -> Result<Self, StartError> {
        let largest = config.max_datagram_bytes;
        let core = Plain::new(config)?;
        Self::assemble(socket, core, environment, largest)
    }
}

impl<U: UdpLike> SealedEndpoint<U> {
    /// Makes an endpoint for two peers who know each other's public key beforehand (profile `Paired`).
    ///
    /// # Errors
    /// - [`StartError::Key`]: `peer` is a key with which no secret can be agreed.
    /// - [`StartError::Config`]: a field of `config` is out of range.
    /// - [`StartError::Socket`]: the socket could not be made ready.
    pub fn paired(socket: U, own: &SecretKey, peer: PublicKey, config: Config) -> Result<Self, StartError> {
        let credentials = Credentials::paired(own, peer).map_err(StartError::Key)?;
        Self::with_credentials(socket, credentials, config)
    }

    /// Makes an endpoint for two peers who share an invite (profile `Invite`).
    ///
    /// # Errors
    /// [`StartError::Config`] and [`StartError::Socket`] as for [`paired`](Self::paired).
    pub fn invite(socket: U, invite: &Invite, config: Config) -> Result<Self, StartError> {
        Self::with_credentials(socket, Credentials::invite(invite), config)
    }

    /// Makes an endpoint for any profile; see [`Credentials`].
    ///
    /// # Errors
    /// As [`paired`](Self::paired).
    pub fn with_credentials(socket: U, credentials: Credentials, config: Config) -> Result<Self, StartError> {
        Self::make_sealed(socket, credentials, config, Environment::os())
    }

    /// [`with_credentials`](Self::with_credentials) with a clock and randomness of the caller's, for tests.
    ///
    /// # Errors
    /// As [`paired`](Self::paired).
    #[cfg(feature = "sim")]
    pub fn with_environment(
        socket: U,
        credentials: Credentials,
        config: Config,
        environment: Environment,
    ) -> Result<Self, StartError> {
        Self::make_sealed(socket, credentials, config, environment)
    }

    fn make_sealed(
        socket: U,
        credentials: Credentials,
        config: Config,
        mut environment: Environment,
    ) -> Result<Self, StartError> {
        let largest = config.max_datagram_bytes;
        let now = environment.now();
        let core = Sealed::new(credentials, config, now)?;
        Self::assemble(socket, core, environment, largest)
    }
}

impl<U: UdpLike, S: Session> Endpoint<U, S> {
    fn assemble(
        mut socket: U,
        mut core: S,
        environment: Environment,
        largest: u16,
    ) -> Result<Self, StartError> {
        socket.prepare().map_err(StartError::Socket)?;
        if socket.may_fragment() {
            core.connection_mut().set_may_fragment();
        }
        let largest = usize::from(largest);
        let outgoing = Outbox::new(largest, socket.largest_run());
        Ok(Self {
            socket,
            core,
            environment,
            incoming: Inbox::new(largest),
            outgoing,
            blocked: false,
            unread: None,
            lent: None,
            next: None,
            unanswered: 0,
            stuck: false,
            looked_at: None,
            stats: Stats { sealed: S::SEALED, ..Stats::default() },
        })
    }

    /// Starts to dial the peer; [`Event::Connected`] tells when the session is there.
    ///
    /// One side is enough, both at once give one session. Without it an endpoint only answers. Messages can be sent
    /// at once: they wait. On a live session it does nothing; after the session has ended it begins the next one.
    ///
    /// # Errors
    /// [`ConnectError::RoleIsFixed`]: the profile leaves dialling to the other side.
    pub fn connect(&mut self) -> Result<(), ConnectError> {
        let now = self.environment.now();
        self.core.connect(now, &mut self.environment)?;
        self.transmit(now);
        Ok(())
    }

    /// Whether a session is live.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.core.is_connected()
    }

    /// Ends the session and tells the peer `code` and up to 64 bytes of `reason`, best effort; what is queued and not
    /// acknowledged is lost and listed in [`Event::Closed`]. Then nothing is answered until [`connect`](Self::connect).
    ///
    /// Codes from 0 to 0xfeff are the application's; a larger one is sent as 0xfeff.
    pub fn close(&mut self, code: u16, reason: &[u8]) {
        let now = self.environment.now();
        // Over another socket full datagrams would have left already.
        if self.may_leave(1) {
            self.transmit(now);
        }
        self.core.close(now, code, reason);
        self.transmit(now);
    }

    /// The next thing that happened to the session, oldest first. Makes no I/O: call it after `recv` or `maintain`.
    pub fn poll_event(&mut self) -> Option<Event> {
        let notice = self.core.connection_mut().take_notice();
        notice.map(|(message, outcome)| Event::Notice { message, outcome }).or_else(|| self.core.poll_event())
    }

    /// The same 32 bytes at both ends of a sealed session and in no other session: compare them, or bind a login to
    /// them. `None` without a session, and always for a plain endpoint.
    #[must_use]
    pub fn handshake_hash(&self) -> Option<[u8; 32]> {
        self.core.handshake_hash()
    }

    /// The public key that the peer of the live session has proved to hold, if the profile gives it one.
    #[must_use]
    pub fn peer_key(&self) -> Option<PublicKey> {
        self.core.peer_key()
    }

    /// A 32-byte key for the application's own use that only the two ends of this session can compute, another one for
    /// each `context`. `None` without a session, and always for a plain endpoint. PROTOCOL.md, "Keys".
    #[must_use]
    pub fn export_key(&self, context: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        self.core.export_key(context).map(|key| Zeroizing::new(*key.as_bytes()))
    }

    /// Counters and measurements as of now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats.clone();
        self.core.fill_stats(&mut stats);
        self.core.connection().fill_stats(&mut stats);
        stats
    }

    /// The socket, to register it or to read its address.
    pub fn socket(&self) -> &U {
        &self.socket
    }

    /// The socket, for `mio` to register. Do not send or receive with it.
    pub fn socket_mut(&mut self) -> &mut U {
        &mut self.socket
    }

    /// Bytes of received messages held.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn held_bytes(&self) -> usize {
        self.core.connection().held_bytes()
    }

    /// The session by itself.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn core_mut(&mut self) -> &mut S {
        &mut self.core
    }

    /// When the session wants to be called, which `maintain` does not say once it is over.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.core.deadline()
    }

    /// Due timers run before a datagram is read, but for those of less than a millisecond: to find out which is next takes as
    /// long as to open a short packet. PROTOCOL.md, "Simultaneous open".
    fn look_at_timers(&mut self, now: Instant) {
        if self.looked_at.is_none_or(|before| now.saturating_duration_since(before) >= LOOK) {
            self.run_timers(now);
        }
    }

    fn run_timers(&mut self, now: Instant) {
        self.looked_at = Some(now);
        if self.core.deadline().is_some_and(|deadline| deadline <= now) {
            self.core.handle_timeout(now, &mut self.environment);
        }
    }
}

impl<U, S: Session> fmt::Debug for Endpoint<U, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(if S::SEALED { "SealedEndpoint" } else { "Endpoint" })
            .field("connected", &self.core.is_connected())
            .field("closed", &self.core.closed())
            .finish_non_exhaustive()
    }
}

//! One sealed peer without its socket: dials, answers, keeps one live session and replaces it when the same peer comes
//! again. Knows nothing of messages inside packets; of addresses only `paths`, and only over sockets that have them. A
//! live session changes only by what was authenticated. PROTOCOL.md, "Handshake", "Simultaneous open", "Replacement".

mod budget;
mod chance;
mod cids;
mod client;
mod dial;
mod finished;
mod half_open;
mod handshake;
mod life;
mod listener;
mod live;
mod local;
mod messages;
mod paths;
mod profile;
mod receive;
mod roam;
mod seal;
mod ticket;
mod timers;
mod transmit;

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use rand_core::TryCryptoRng;

pub(crate) use self::listener::{Ahead, NoListener, Peer as ServerPeer, Port};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::listener::{CookieSecrets, Cookies};
use self::{
    budget::{Bucket, OwnAttempts, Redirects},
    dial::{Dial, Phase, Why},
    half_open::Table,
    live::Live,
    local::Local,
    paths::Paths,
    profile::Role,
    seal::Prefix,
};
#[cfg(feature = "fuzzing")]
pub(crate) use self::{listener::is_cookie, roam::is_answer};
pub use self::{
    listener::{FloodStats, Listener},
    profile::{Credentials, Trust},
};
use crate::{
    config::Config,
    connection::{Connection, Negotiated},
    crypto::{Channel, OpenKeys, PublicKey, Secret, Side},
    delivery::MessageId,
    error::{CloseReason, ConfigError, ConnectError},
    event::Event,
    stats::Drops,
    wire::{frame::CID_LEN, plain::Checksum},
};

/// Codes of CLOSE from here on are the protocol's own; an application's code is cut down below. PROTOCOL.md, "Close".
const FIRST_OWN_CODE: u16 = 0xff00;
const CODE_REPLACED: u16 = 0xffff;
const CODE_VIOLATION: u16 = 0xfffe;
const CODE_AEAD_LIMIT: u16 = 0xfffd;
const CODE_FULL: u16 = 0xfffc;
/// Events that wait for an application which does not ask; beyond, the oldest is forgotten.
const MAX_EVENTS: usize = 64;

/// Why nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// The source of randomness failed.
    Entropy,
    /// Packet numbers are used up.
    Exhausted,
    /// A key or a buffer does not fit; cannot happen with checked credentials and limits, and sends nothing.
    Room,
}

/// A session whose keys exist: what an attempt or an answer becomes.
#[derive(Debug)]
struct Agreed {
    channel: Channel,
    /// Our side of the handshake.
    side: Side,
    peer: Option<PublicKey>,
    /// BLAKE2s of the Noise message 1.
    init: [u8; 32],
    negotiated: Negotiated,
    /// The id by which a server wants to be addressed.
    cid: Option<[u8; CID_LEN]>,
    /// What stands before the packets that we send: route and id.
    prefix: Prefix,
}

/// A session that ended while our own attempt to renew it goes on: told to the application when that succeeds or fails.
#[derive(Debug)]
struct Carried {
    undelivered: Vec<MessageId>,
    reason: CloseReason,
}

/// Receiving keys of a session that was closed: what still arrives under them is ours and means nothing any more.
#[derive(Debug)]
struct Drained {
    keys: Box<OpenKeys>,
    until: Instant,
}

/// The sealed side of an endpoint with one peer. Used through [`SealedEndpoint`](crate::SealedEndpoint).
pub struct Sealed {
    config: Arc<Config>,
    local: Local,
    /// Recognises the datagrams of a plain endpoint.
    checksum: Checksum,
    connection: Connection,
    live: Option<Box<Live>>,
    dial: Option<Dial>,
    half_open: Table,
    attempts: OwnAttempts,
    /// Diffie-Hellman operations that strangers may cause.
    strangers: Bucket,
    /// Whether the application called `connect` and has not closed since.
    wanted: bool,
    /// When `connect` gives up.
    connect_by: Option<Instant>,
    /// Whether INITs are answered: until the application ends the session or the peer proves unfit.
    listening: bool,
    closed: Option<CloseReason>,
    carried: Option<Carried>,
    /// CLOSE to be sent should the attempt that `close` found unconfirmed come through after all.
    cancelled: Option<(u16, Vec<u8>)>,
    drained: Option<Drained>,
    /// Sealed CLOSE packets. Their keys are gone already.
    closes: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    drops: Drops,
    /// A datagram with the checksum of a plain endpoint came while nothing opened.
    plain_seen: bool,
    /// What the peer may still ask of us.
    redirects: Redirects,
    /// Where the peer is; only over sockets with addresses.
    paths: Option<Box<Paths>>,
    last_call: Instant,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(..)")
    }
}

impl Sealed {
    /// A peer that waits: it answers (unless its profile only dials) and dials when `connect` is called.
    pub(crate) fn new(credentials: Credentials, config: Config, now: Instant) -> Result<Self, ConfigError> {
        config.check()?;
        let config = Arc::new(config);
        let route = credentials.route_of_client()?;
        let route = route.to_vec();
        Ok(Self {
            local: Local::new(credentials, &config, &route)?,
            checksum: Checksum::new(&config.app_id),
            connection: Connection::new(&config),
            live: None,
            dial: None,
            half_open: Table::new(config.half_open),
            attempts: OwnAttempts::new(),
            strangers: Bucket::new(config.handshake_dh_per_second, now),
            wanted: false,
            connect_by: None,
            listening: true,
            closed: None,
            carried: None,
            cancelled: None,
            drained: None,
            closes: VecDeque::new(),
            events: VecDeque::new(),
            drops: Drops::default(),
            plain_seen: false,
            redirects: Redirects::default(),
            paths: None,
            last_call: now,
            config,
        })
    }

    /// Starts to dial. Does nothing more while an attempt is under way or a session is live.
    ///
    /// # Errors
    /// [`ConnectError::RoleIsFixed`] if this end of the profile only answers.
    pub(crate) fn connect<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
    ) -> Result<(), ConnectError> {
        if self.local.credentials.role == Role::Responder {
            return Err(ConnectError::RoleIsFixed);
        }
        self.wanted = true;
        self.listening = true;
        self.cancelled = None;
        if self.live.is_some() {
            return Ok(());
        }
        self.closed = None;
        self.connect_by.get_or_insert(now + self.config.connect_timeout);
        match &mut self.dial {
            // What began for another reason, and outlived its session, now has somebody who waits for its end.
            Some(dial) => dial.why = Why::Called,
            None => {
                self.plain_seen = false;
                self.start_attempt(now, rng, Why::Called);
            }
        }
        Ok(())
    }

    /// Ends the session, or the attempt to have one, with a code of the application's (0 to 0xfeff, larger ones are cut
    /// down) and a reason of which the peer gets up to 64 bytes.
    pub(crate) fn close(&mut self, now: Instant, code: u16, reason: &[u8]) {
        let code = code.min(FIRST_OWN_CODE - 1);
        self.say_close(code, reason);
        // The peer may be live under these keys already and has to be told: the attempt runs to its own end.
        let unconfirmed = self.dial.take_if(|dial| matches!(dial.phase, Phase::Unconfirmed(_)));
        self.cancelled = unconfirmed.is_some().then(|| (code, reason.to_vec()));
        if self.closed.is_none() {
            self.end(now, CloseReason::ClosedHere);
        }
        self.dial = unconfirmed;
        self.wanted = false;
        self.listening = false;
    }

    /// The next event, oldest first.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() {
            // Events are rare, sessions may be many.
            self.events = VecDeque::new();
        }
        event
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Whether a confirmed session is there.
    pub(crate) fn is_connected(&self) -> bool {
        self.live.is_some()
    }

    /// Why the last session ended, unless a new one began or is being dialled.
    pub(crate) fn closed(&self) -> Option<CloseReason> {
        self.closed
    }

    pub(crate) fn handshake_hash(&self) -> Option<[u8; 32]> {
        self.live.as_ref().map(|live| live.channel.hash)
    }

    /// A key that only the two ends of this session can compute. PROTOCOL.md, "Keys".
    pub(crate) fn export_key(&self, context: &[u8]) -> Option<Secret<32>> {
        self.live.as_ref().map(|live| live.export_key(context))
    }

    /// The static key of the peer of the live session.
    pub(crate) fn peer_key(&self) -> Option<PublicKey> {
        self.live.as_ref().and_then(|live| live.peer)
    }

    pub(crate) fn drops(&self) -> &Drops {
        &self.drops
    }

    /// Packets of the live session that broke the protocol.
    pub(crate) fn violations(&self) -> u8 {
        self.live.as_ref().map_or(0, |live| live.violations)
    }

    /// The epochs of the live session's sending and receiving keys.
    pub(crate) fn epochs(&self) -> (u64, u64) {
        let epochs = self.live.as_ref().map(|live| (live.channel.seal.epoch(), live.channel.open.epoch()));
        epochs.map_or((0, 0), |(send, recv)| (send.into(), recv.into()))
    }

    /// Handshakes that were answered and not confirmed.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn half_open(&self) -> usize {
        self.half_open.iter().count()
    }

    /// How long the receiving keys of the epoch before are kept.
    fn keep_previous(&self) -> Duration {
        (self.connection.pto() * 3).clamp(Duration::from_secs(1), Duration::from_secs(3))
    }
}

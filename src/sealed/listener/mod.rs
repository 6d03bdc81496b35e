//! Many sealed peers on one port, without the socket: answers, asks the application whom to let in, and keeps a session
//! for each. Dials nobody. Knows addresses only as the places that datagrams come from and go to; who a peer is, its keys
//! say. No call walks over all peers: who is due, who has something to send and who has news stands in queues.
//! PROTOCOL.md, "Server".

mod accept;
mod cids;
mod gate;
mod half_open;
mod handshake;
mod peer;
mod port;
mod receive;
#[cfg(test)]
mod tests;
mod timers;
mod transmit;

#[cfg(test)]
mod rows;
#[cfg(test)]
mod strangers;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rand_core::TryCryptoRng;

pub use self::gate::FloodStats;
#[cfg(feature = "fuzzing")]
pub(crate) use self::gate::is_cookie;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::gate::{CookieSecrets, Cookies};
use self::{
    cids::Cid,
    gate::{Gate, Replies},
    half_open::HalfOpenTable,
};
pub(crate) use self::{peer::Peer, port::Port, receive::Ahead};
use super::{CODE_VIOLATION, Credentials, FIRST_OWN_CODE, finished::Waits, local::Local, profile::Role};
use crate::{
    config::{Config, ServerConfig},
    connection::Connection,
    crypto::{self, EntropyError, PublicKey, Secret},
    error::ConfigError,
    event::PeerId,
    roster::Roster,
    wire::{frame::CID_LEN, worker::name_worker},
};

/// CLOSE packets that wait to be sent; beyond, who goes is not told.
const MAX_CLOSES: usize = 65_536;

/// The sealed side of a server. Used through [`SealedServer`](crate::SealedServer).
pub struct Listener {
    server: ServerConfig,
    /// What holds for the session of each peer.
    config: Arc<Config>,
    local: Local,
    gate: Gate,
    port: Arc<Port>,
    half_open: HalfOpenTable<Waits>,
    owners: HashMap<Cid, PeerId, cids::OwnBytes>,
    peers: Roster<Peer>,
    by_key: BTreeMap<[u8; 32], PeerId>,
    /// References of the messages 1 of all sessions: one that comes late is no newcomer.
    inits: BTreeSet<[u8; 16]>,
    replies: Replies,
    /// Sealed CLOSE packets. Their keys are gone already.
    closes: VecDeque<(SocketAddr, Box<[u8]>)>,
    accepting: bool,
    /// The last datagram had an id that is nobody's, and was no handshake message.
    stray: bool,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({} peers)", self.peers.len())
    }
}

impl Listener {
    /// A server with the keys of `credentials`, which must be of a profile that answers. A further worker is given the
    /// port of the first one.
    pub(crate) fn new<R: TryCryptoRng + ?Sized>(
        credentials: Credentials,
        server: ServerConfig,
        port: Option<&Arc<Port>>,
        now: Instant,
        rng: &mut R,
    ) -> Result<Self, NoListener> {
        server.check().map_err(NoListener::Config)?;
        if credentials.role == Role::Initiator {
            return Err(NoListener::Role);
        }
        let config = Arc::new(server.session.clone());
        let local = Local::new(credentials, &config, &server.route).map_err(NoListener::Config)?;
        let port = match port {
            Some(shared) => Arc::clone(shared),
            None => Arc::new(Port::new(&server, now, rng).map_err(|_| NoListener::Entropy)?),
        };
        port.check(&server).map_err(NoListener::Config)?;
        let cookies = Arc::clone(port.cookies());
        let gate = Gate::new(&server.flood, cookies, now, rng).map_err(|_| NoListener::Entropy)?;
        Ok(Self {
            gate,
            port,
            half_open: HalfOpenTable::new(server.flood.half_open, now),
            owners: HashMap::default(),
            peers: Roster::default(),
            by_key: BTreeMap::new(),
            inits: BTreeSet::new(),
            replies: Replies::default(),
            closes: VecDeque::new(),
            accepting: true,
            stray: false,
            local,
            config,
            server,
        })
    }

    // ---- what the application asks ----

    /// What the workers of one port share.
    pub(crate) fn port(&self) -> &Arc<Port> {
        &self.port
    }

    pub(crate) fn peers(&self) -> &Roster<Peer> {
        &self.peers
    }

    pub(crate) fn peers_mut(&mut self) -> &mut Roster<Peer> {
        &mut self.peers
    }

    fn peer(&self, id: PeerId) -> Option<&Peer> {
        self.peers.get(id).map(|member| &member.peer)
    }

    pub(crate) fn address(&self, id: PeerId) -> Option<SocketAddr> {
        self.peer(id).map(|peer| peer.roam.address())
    }

    pub(crate) fn peer_key(&self, id: PeerId) -> Option<PublicKey> {
        self.peer(id).and_then(|peer| peer.live.peer)
    }

    pub(crate) fn handshake_hash(&self, id: PeerId) -> Option<[u8; 32]> {
        self.peer(id).map(|peer| peer.live.channel.hash)
    }

    /// A key that only the two ends of this session can compute. PROTOCOL.md, "Keys".
    pub(crate) fn export_key(&self, id: PeerId, context: &[u8]) -> Option<Secret<32>> {
        let member = self.peers.get(id).filter(|member| !member.has_ended())?;
        Some(member.peer.live.export_key(context))
    }

    /// Whether so many answers wait that newcomers get none until some have left.
    pub(crate) fn is_pressed(&self) -> bool {
        self.replies.is_full()
    }

    /// Whether the last datagram, which was not changed, may be another worker's.
    pub(crate) fn take_stray(&mut self) -> bool {
        std::mem::take(&mut self.stray)
    }

    pub(crate) fn flood_stats(&self) -> FloodStats {
        self.gate.stats(&self.half_open)
    }

    /// Whether newcomers are answered.
    pub(crate) fn set_accepting(&mut self, accepting: bool) {
        self.accepting = accepting;
        if !accepting {
            self.half_open.erase(|_| true);
        }
    }

    // ---- what its files share ----

    /// Where in a datagram to us the packet begins.
    fn prefix_len(&self) -> usize {
        self.server.route.len() + CID_LEN
    }

    /// How long the receiving keys of the epoch before, and retired ids, are kept.
    fn keep(connection: &Connection) -> Duration {
        (connection.pto() * 3).clamp(Duration::from_secs(1), Duration::from_secs(3))
    }

    /// A fresh id that is nobody's. Its first byte names the worker, where several share the port. PROTOCOL.md, "Workers".
    fn fresh_cid<R: TryCryptoRng + ?Sized>(&mut self, rng: &mut R) -> Result<Cid, EntropyError> {
        loop {
            let mut cid = crypto::random::<CID_LEN, _>(rng)?;
            if let (Some(worker), [first, ..]) = (self.server.worker, &mut cid) {
                *first = name_worker(*first, worker.index, worker.count);
            }
            if !self.owners.contains_key(&cid) && self.half_open.find_cid(&cid).is_none() {
                return Ok(cid);
            }
        }
    }
}

/// Why there is no listener.
#[derive(Debug)]
pub(crate) enum NoListener {
    Config(ConfigError),
    /// The credentials are those of a side that only dials.
    Role,
    Entropy,
}

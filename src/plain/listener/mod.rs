//! Many plain peers on one port, without the socket: answers, asks the application whom to let in, and keeps a session
//! for each. Dials nobody. A peer is found by the session id that it was given, and stays at the address where it
//! joined. No call walks over all peers. Protects nobody: `SECURITY.md` says so. PROTOCOL.md, "Plain server".

mod half_open;
mod join;
mod peer;
mod receive;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use rand_core::TryCryptoRng;

use self::{
    half_open::{HalfOpen, Stranger},
    peer::{OwnIds, Peer, Standing},
};
use super::{live::Farewell, opening::write_opening};
use crate::{
    config::{Config, ServerConfig},
    connection::Connection,
    error::{CloseReason, ConfigError},
    event::{Event, PeerId},
    roster::{Deadlines, Origin, Roster},
    stats::Drops,
    wire::plain::{Checksum, Step},
};

/// Events that wait for an application which does not ask; beyond, the oldest is forgotten.
const MAX_EVENTS: usize = 65_536;
/// Peers whose timers one call runs at most; the rest is due at once.
const MAX_DUE: usize = 4_096;
/// Answers that wait to be sent; who gets none says hello again.
const MAX_ANSWERS: usize = 4_096;
/// Ends of sessions that wait to be told; who is not told times out.
const MAX_FAREWELLS: usize = 65_536;

/// The plain side of a server: no encryption, no authentication. Used through [`PlainServer`](crate::PlainServer).
pub struct Listener {
    server: ServerConfig,
    /// What holds for the session of each peer.
    config: Arc<Config>,
    checksum: Checksum,
    /// Sorted, in the form of `IpAddr::to_canonical`.
    proxies: Box<[IpAddr]>,
    half_open: HalfOpen,
    /// By our id, which every datagram of a session carries.
    owners: HashMap<u64, PeerId, OwnIds>,
    /// By address and the id that the peer chose, so that a late hello of a peer is known for what it is.
    names: BTreeMap<Stranger, PeerId>,
    peers: Roster<Box<Peer>>,
    /// Sessions of each origin.
    shares: BTreeMap<Origin, usize>,
    asking: usize,
    deadlines: Deadlines,
    /// Peers that may have something to send, each once.
    ready: VecDeque<PeerId>,
    /// Peers whose partly filled datagrams leave at the next flush, each once.
    touched: Vec<PeerId>,
    /// Peers with notices, each once.
    noted: VecDeque<PeerId>,
    /// Hellos that are owed an answer, with the id that we offer.
    answers: VecDeque<(Stranger, u64)>,
    farewells: VecDeque<(SocketAddr, Farewell)>,
    events: VecDeque<(PeerId, Event)>,
    drops: Drops,
    accepting: bool,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plain::Listener({} peers)", self.peers.len())
    }
}

impl Listener {
    pub(crate) fn new(server: ServerConfig) -> Result<Self, ConfigError> {
        server.check()?;
        // A plain datagram has no place for a route, nor for what names a worker.
        let workers = server.worker.map_or(0, |worker| worker.count.into());
        for (field, given) in [("route", server.route.len() as u64), ("worker", workers)] {
            if given > 0 {
                return Err(ConfigError { field, given, min: 0, max: 0 });
            }
        }
        let config = Arc::new(server.session.clone());
        let mut proxies: Box<[IpAddr]> = server.flood.proxies.iter().map(IpAddr::to_canonical).collect();
        proxies.sort_unstable();
        Ok(Self {
            checksum: Checksum::new(&config.app_id),
            proxies,
            half_open: HalfOpen::new(server.flood.half_open),
            owners: HashMap::default(),
            names: BTreeMap::new(),
            peers: Roster::default(),
            shares: BTreeMap::new(),
            asking: 0,
            deadlines: Deadlines::default(),
            ready: VecDeque::new(),
            touched: Vec::new(),
            noted: VecDeque::new(),
            answers: VecDeque::new(),
            farewells: VecDeque::new(),
            events: VecDeque::new(),
            drops: Drops::default(),
            accepting: true,
            config,
            server,
        })
    }

    // ---- what the application asks ----

    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.peers.ids()
    }

    pub(crate) fn is_open(&self, id: PeerId) -> bool {
        self.peers.get(id).is_some_and(|peer| peer.is_open())
    }

    pub(crate) fn address(&self, id: PeerId) -> Option<SocketAddr> {
        self.peers.get(id).map(|peer| peer.address)
    }

    pub(crate) fn connection(&self, id: PeerId) -> Option<&Connection> {
        self.peers.get(id).filter(|peer| !peer.asks()).map(|peer| &peer.connection)
    }

    /// The peer may have something to send afterwards.
    pub(crate) fn connection_mut(&mut self, id: PeerId) -> Option<&mut Connection> {
        self.touch(id);
        self.peers.get_mut(id).filter(|peer| !peer.asks()).map(|peer| &mut peer.connection)
    }

    pub(crate) fn poll_event(&mut self) -> Option<(PeerId, Event)> {
        while let Some(&id) = self.noted.front() {
            let notice = self.peers.get_mut(id).and_then(|peer| {
                let notice = peer.connection.take_notice();
                peer.is_noted = notice.is_some();
                notice
            });
            if let Some((message, outcome)) = notice {
                return Some((id, Event::Notice { message, outcome }));
            }
            self.noted.pop_front();
        }
        self.events.pop_front()
    }

    pub(crate) fn drops(&self) -> &Drops {
        &self.drops
    }

    /// Whether newcomers are answered.
    pub(crate) fn set_accepting(&mut self, accepting: bool) {
        self.accepting = accepting;
        if !accepting {
            self.half_open.clear();
            self.answers.clear();
        }
    }

    // ---- queues ----

    fn push_event(&mut self, id: PeerId, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back((id, event));
    }

    /// The peer may have something to send at once.
    fn make_ready(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(id).filter(|peer| !peer.is_ready) {
            peer.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// The peer may have something to send when the caller lets partly filled datagrams leave.
    fn touch(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(id).filter(|peer| !peer.is_touched) {
            peer.is_touched = true;
            self.touched.push(id);
        }
    }

    /// The peer may have notices.
    fn note(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(id).filter(|peer| !peer.is_noted) {
            peer.is_noted = true;
            self.noted.push_back(id);
        }
    }

    /// Lets partly filled datagrams of everybody who was touched leave.
    pub(crate) fn flush_all(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        for id in touched.drain(..) {
            let Some(peer) = self.peers.get_mut(id) else { continue };
            peer.is_touched = false;
            if peer.connection.wants_flush() {
                peer.connection.flush();
            }
            self.make_ready(id);
        }
        self.touched = touched;
    }

    // ---- one datagram out ----

    /// Writes the next datagram that is due into `out`, which has room for `max_datagram_bytes`, and says where it goes.
    pub(crate) fn poll_transmit<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        _rng: &mut R,
        out: &mut [u8],
    ) -> Option<(usize, SocketAddr)> {
        while let Some((to, farewell)) = self.farewells.front_mut() {
            if let Some(len) = farewell.write(&self.checksum, out) {
                return Some((len, *to));
            }
            self.farewells.pop_front();
        }
        if let Some(((to, peer), own)) = self.answers.pop_front() {
            let len = write_opening(&self.checksum, &self.config, own, Step::Answer(peer), out);
            return Some((len, to)).filter(|_| len > 0);
        }
        while let Some(id) = self.ready.pop_front() {
            let Some(peer) = self.peers.get_mut(id) else { continue };
            peer.is_ready = false;
            let Peer { live, connection, address, .. } = &mut **peer;
            let to = *address;
            // Who asks still, or is gone, has a connection that was not begun and says nothing.
            let len = live.write(now, connection, &self.checksum, out);
            if len > 0 {
                self.make_ready(id);
                return Some((len, to));
            }
            self.reschedule(now, id);
        }
        None
    }

    // ---- time ----

    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.half_open.deadline(), self.deadlines.next().map(|(at, _)| at)].into_iter().flatten().min()
    }

    /// Runs every timer that is due.
    pub(crate) fn handle_timeout<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, _rng: &mut R) {
        self.half_open.handle_timeout(now);
        for _ in 0..MAX_DUE {
            let Some((_, index)) = self.deadlines.next().filter(|(at, _)| *at <= now) else { return };
            let Some(id) = self.peers.at(index) else {
                self.deadlines.set(index, None);
                continue;
            };
            if self.due(id).is_some_and(|due| due <= now) {
                self.time_peer(now, id);
            }
            self.reschedule(now, id);
        }
    }

    fn time_peer(&mut self, now: Instant, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        match peer.standing {
            Standing::Asks { until, .. } | Standing::Ended { until } => {
                if until <= now {
                    self.remove(id);
                }
            }
            Standing::Open if peer.live.idle_until(&peer.connection) <= now => {
                self.end(now, id, CloseReason::TimedOut);
            }
            Standing::Open => {
                peer.connection.handle_timeout(now);
                peer.live.keep_alive(now, &mut peer.connection);
                self.note(id);
                self.make_ready(id);
            }
        }
    }

    /// Writes down when the peer is due next.
    fn reschedule(&mut self, now: Instant, id: PeerId) {
        if let Some(at) = self.due(id) {
            self.deadlines.set_after(id.index, now, at);
        }
    }

    /// When something of this peer is due.
    fn due(&self, id: PeerId) -> Option<Instant> {
        let peer = self.peers.get(id)?;
        Some(match peer.standing {
            Standing::Asks { until, .. } | Standing::Ended { until } => until,
            Standing::Open => {
                let live = peer.live.deadline(&peer.connection, false);
                peer.connection.deadline().map_or(live, |connection| connection.min(live))
            }
        })
    }
}

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

pub(crate) use self::peer::Peer;
use self::{
    half_open::{HalfOpen, Stranger},
    peer::OwnIds,
};
use super::{live::Farewell, opening::write_opening};
use crate::{
    config::{Config, ServerConfig},
    error::{CloseReason, ConfigError},
    event::PeerId,
    roster::{Counts, MAX_DUE, Member, Roster},
    wire::plain::{Checksum, Step},
};

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
    peers: Roster<Peer>,
    /// Sessions of each origin.
    shares: Counts,
    /// Hellos that are owed an answer, with the id that we offer.
    answers: VecDeque<(Stranger, u64)>,
    farewells: VecDeque<(SocketAddr, Farewell)>,
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
            shares: Counts::default(),
            answers: VecDeque::new(),
            farewells: VecDeque::new(),
            accepting: true,
            config,
            server,
        })
    }

    // ---- what the application asks ----

    pub(crate) fn peers(&self) -> &Roster<Peer> {
        &self.peers
    }

    pub(crate) fn peers_mut(&mut self) -> &mut Roster<Peer> {
        &mut self.peers
    }

    pub(crate) fn address(&self, id: PeerId) -> Option<SocketAddr> {
        self.peers.get(id).map(|member| member.peer.address)
    }

    /// Whether newcomers are answered.
    pub(crate) fn set_accepting(&mut self, accepting: bool) {
        self.accepting = accepting;
        if !accepting {
            self.half_open.clear();
            self.answers.clear();
        }
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
        while let Some(id) = self.peers.take_ready() {
            let Some(member) = self.peers.get_mut(id).filter(|member| member.is_open()) else { continue };
            let Member { peer: Peer { live, address, .. }, connection, .. } = member;
            let to = *address;
            let len = live.write(now, connection, &self.checksum, out);
            if len > 0 {
                self.peers.sent_one(id);
                return Some((len, to));
            }
            self.reschedule(now, id);
        }
        None
    }

    // ---- time ----

    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.half_open.deadline(), self.peers.deadline()].into_iter().flatten().min()
    }

    /// Runs every timer that is due.
    pub(crate) fn handle_timeout<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, _rng: &mut R) {
        self.half_open.handle_timeout(now);
        for _ in 0..MAX_DUE {
            let Some(id) = self.peers.next_due(now) else { return };
            if self.peers.is_due(now, id, due) {
                self.time_peer(now, id);
            }
            self.reschedule(now, id);
        }
    }

    fn time_peer(&mut self, now: Instant, id: PeerId) {
        let Some(member) = self.peers.get_mut(id) else { return };
        if let Some(until) = member.stays_until() {
            if until <= now {
                self.remove(id);
            }
            return;
        }
        let Member { peer, connection, .. } = member;
        if peer.live.idle_until(connection) <= now {
            return self.end(now, id, CloseReason::TimedOut);
        }
        connection.handle_timeout(now);
        peer.live.keep_alive(now, connection);
        self.peers.stir(id);
    }

    /// Writes down when the peer is due next.
    fn reschedule(&mut self, now: Instant, id: PeerId) {
        self.peers.reschedule(now, id, due);
    }
}

/// When something of a live session is due.
fn due(Member { peer, connection, .. }: &Member<Peer>) -> Instant {
    let live = peer.live.deadline(connection, false);
    connection.deadline().map_or(live, |connection| connection.min(live))
}

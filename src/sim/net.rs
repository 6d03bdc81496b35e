//! The handle to a network: time, links, adversaries and what can be read off. A thin, locked shell around `State`.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::link::Link;
use super::nat::Nat;
use super::path::Counts;
use super::rng::Rng;
use super::socket::Socket;
use super::state::{Change, State};

/// A datagram as it was handed to the network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagram {
    /// When, in virtual time.
    pub at: Instant,
    /// The sender's own address.
    pub from: SocketAddr,
    /// The address it is sent to.
    pub to: SocketAddr,
    /// What UDP carries.
    pub bytes: Vec<u8>,
}

/// What a tap wants done with a datagram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The link decides. The default.
    #[default]
    Pass,
    /// It never arrives.
    Drop,
    /// The link decides, and if it arrives, then this much later.
    Delay(Duration),
    /// The link carries these bytes instead.
    Replace(Vec<u8>),
}

type Tap = Box<dyn FnMut(&Datagram) -> Verdict + Send>;

/// A seeded network in virtual time. A cheap handle: clones are the same network.
///
/// Time stands still until one of the `advance` calls moves it. All times are in nanoseconds inside.
#[derive(Clone)]
pub struct Net {
    state: Arc<Mutex<State>>,
    tap: Arc<Mutex<Option<Tap>>>,
    origin: Instant,
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").field("elapsed", &self.elapsed()).finish_non_exhaustive()
    }
}

impl Net {
    /// A network without nodes at time zero, all of whose chances follow from `seed`. Links are perfect until set.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant serves as the origin; only differences are used"
    )]
    pub fn seed(seed: u64) -> Self {
        let state = Arc::new(Mutex::new(State::new(seed)));
        Self { state, tap: Arc::default(), origin: Instant::now() }
    }

    /// The present moment of virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.instant(self.state().now())
    }

    /// Virtual time since the network began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.state().now())
    }

    /// Moves time on by this much; what falls due on the way arrives in its order.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        let to = state.now().saturating_add(nanos(by));
        state.advance_to(to);
    }

    /// Moves time on to this instant. Time never goes back: an instant in the past changes nothing.
    pub fn advance_to(&self, at: Instant) {
        let to = nanos(at.saturating_duration_since(self.origin));
        self.state().advance_to(to);
    }

    /// Moves time on to the next arrival of a datagram and returns the new present; `None`, and no move, when
    /// nothing is under way.
    #[must_use = "None means that time did not move"]
    pub fn advance_to_next(&self) -> Option<Instant> {
        let mut state = self.state();
        let next = state.next_arrival()?;
        state.advance_to(next);
        Some(self.instant(state.now()))
    }

    /// Moves time on to the next arrival or to `limit`, whichever is first, and returns the new present. With the
    /// earliest deadline of all endpoints as the limit, this is the one step of a simulation's loop.
    #[expect(
        clippy::must_use_candidate,
        reason = "called for its effect; the present can be asked for again"
    )]
    pub fn advance_to_next_or(&self, limit: Instant) -> Instant {
        let limit = nanos(limit.saturating_duration_since(self.origin));
        let mut state = self.state();
        let to = state.next_arrival().map_or(limit, |next| next.min(limit));
        state.advance_to(to);
        self.instant(state.now())
    }

    /// When the next datagram arrives.
    #[must_use]
    pub fn next_arrival(&self) -> Option<Instant> {
        let next = self.state().next_arrival()?;
        Some(self.instant(next))
    }

    /// A socket at this address, made up or not: nothing real is opened. A second socket at the same address takes
    /// it over with an empty buffer, and the first one's calls then fail with `AddrInUse`.
    #[must_use]
    pub fn socket(&self, address: SocketAddr) -> Socket {
        let generation = self.state().bind(address);
        Socket::new(self.clone(), address, generation)
    }

    /// Sets the direction `from` → `to`. Datagrams under way are not affected.
    pub fn set_link(&self, from: SocketAddr, to: SocketAddr, link: Link) {
        self.state().set_link(from, to, link);
    }

    /// Sets both directions between two addresses.
    pub fn set_links(&self, a: SocketAddr, b: SocketAddr, link: Link) {
        let mut state = self.state();
        state.set_link(a, b, link.clone());
        state.set_link(b, a, link);
    }

    /// Sets the link of all directions that carry their first datagram from now on and were not set by name.
    pub fn set_default(&self, link: Link) {
        self.state().default = link;
    }

    /// Drops everything sent `from` → `to` from now on, until [`unblock`](Self::unblock).
    pub fn block(&self, from: SocketAddr, to: SocketAddr) {
        self.state().path(from, to).blocked = true;
    }

    /// Ends a [`block`](Self::block).
    pub fn unblock(&self, from: SocketAddr, to: SocketAddr) {
        self.state().path(from, to).blocked = false;
    }

    /// [`set_link`](Self::set_link) at a time to come, counted from the network's beginning: a path whose largest
    /// packet shrinks in mid-session, say. In the past it happens now.
    pub fn set_link_at(&self, at: Duration, from: SocketAddr, to: SocketAddr, link: Link) {
        self.state().plan(nanos(at), Change::Link(from, to, Box::new(link)));
    }

    /// Puts a node behind a [`Nat`], or with [`Nat::default`] in the open. Ports and permissions that it had are void:
    /// also the way to move a node to another network.
    ///
    /// Links are set and counted by the nodes' own addresses, as ever; peers write to what [`seen_as`](Self::seen_as)
    /// says.
    pub fn set_nat(&self, node: SocketAddr, nat: Nat) {
        self.state().nats.set(node, nat);
    }

    /// Lets a node's [`Nat`] forget its ports and permissions, as after a restart of the box: what is sent to the old
    /// ports is refused, and what the node sends next leaves by new ones.
    pub fn rebind(&self, node: SocketAddr) {
        self.state().nats.rebind(node);
    }

    /// [`rebind`](Self::rebind) at a time to come, counted from the network's beginning.
    pub fn rebind_at(&self, at: Duration, node: SocketAddr) {
        self.state().plan(nanos(at), Change::Rebind(node));
    }

    /// The address under which `peer` hears the node and reaches it, or would if it were let in. `None` while the
    /// node's [`Nat`] has no port for it: the node must write first.
    #[must_use]
    pub fn seen_as(&self, node: SocketAddr, peer: SocketAddr) -> Option<SocketAddr> {
        let state = self.state();
        state.nats.seen_as(state.now(), node, peer)
    }

    /// Lets the next `count` sends of the node's socket fail with `kind`. The datagrams are not sent.
    pub fn fail_sends(&self, node: SocketAddr, count: u32, kind: io::ErrorKind) {
        self.state().node(node).send_faults = Some((count, kind));
    }

    /// Lets the next `count` receives of the node's socket fail with `kind`. What waits there stays.
    pub fn fail_receives(&self, node: SocketAddr, count: u32, kind: io::ErrorKind) {
        self.state().node(node).receive_faults = Some((count, kind));
    }

    /// Shows every datagram that a socket sends to `tap` first, in the place of an earlier tap. The tap may call the
    /// network, all but its sockets' sends and this method.
    pub fn tap(&self, tap: impl FnMut(&Datagram) -> Verdict + Send + 'static) {
        *self.tap.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tap));
    }

    /// Lets a datagram arrive now, as if `from` had sent it. No link and no tap is in its way, only the [`Nat`].
    pub fn inject(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.state().inject(from, to, bytes);
    }

    /// Starts (anew) or ends the recording of all datagrams that sockets send. Off at first; memory grows with it.
    pub fn record(&self, on: bool) {
        self.state().record = on.then(Vec::new);
    }

    /// Takes what was recorded since the last call, in the order of sending, before tap and link had their say.
    #[must_use]
    pub fn captured(&self) -> Vec<Datagram> {
        let taken = self.state().record.as_mut().map(std::mem::take).unwrap_or_default();
        let datagram = |(at, from, to, bytes)| Datagram { at: self.instant(at), from, to, bytes };
        taken.into_iter().map(datagram).collect()
    }

    /// What became of the datagrams `from` → `to`, both the nodes' own addresses.
    #[must_use]
    pub fn counts(&self, from: SocketAddr, to: SocketAddr) -> Counts {
        self.state().path(from, to).counts
    }

    /// A fingerprint of all sends and arrivals so far, with time (ns), addresses and bytes: equal for equal runs.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.state().trace.0
    }

    /// A generator for a node's endpoint. Each call gives another stream, so that a node that restarts does not repeat
    /// its keys; the n-th stream of a node is the same in every run of this seed.
    #[must_use]
    pub fn rng(&self, node: SocketAddr) -> Rng {
        self.state().rng(node)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the tap says, and its bytes. The state is not locked meanwhile, so that the tap may inject.
    pub(super) fn verdict(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> Verdict {
        let mut tap = self.tap.lock().unwrap_or_else(PoisonError::into_inner);
        tap.as_mut()
            .map_or(Verdict::Pass, |tap| tap(&Datagram { at: self.now(), from, to, bytes: bytes.to_vec() }))
    }

    fn instant(&self, at: u64) -> Instant {
        self.origin.checked_add(Duration::from_nanos(at)).unwrap_or(self.origin)
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

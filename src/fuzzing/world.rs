//! What the targets of whole endpoints share: a clock that the script moves, sockets that are queues, and a judge of what
//! is yielded. A run is the same each time: nothing here asks the machine for time or chance.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chacha20::ChaCha8Rng;
use rand_core::SeedableRng;

use super::start;
use crate::{
    config::Config,
    crypto::{Channel, Secret, SecretKey, Side, Split},
    delivery::Guarantee,
    endpoint::{Endpoint, SealedEndpoint, Session},
    os::Environment,
    socket::UdpLike,
};

/// Datagrams that wait in a queue of the world; what comes beyond is lost, as in any network.
const MAX_WAITING: usize = 256;

/// Virtual time.
#[derive(Clone)]
pub(super) struct Clock {
    start: Instant,
    nanos: Arc<AtomicU64>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { start: start(), nanos: Arc::default() }
    }

    pub(super) fn now(&self) -> Instant {
        self.start + Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    pub(super) fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or_default();
        self.nanos.fetch_add(by, Ordering::Relaxed);
    }

    pub(super) fn advance_to(&self, at: Instant) {
        self.advance(at.saturating_duration_since(self.now()));
    }

    pub(super) fn environment(&self, seed: u64) -> Environment {
        let clock = self.clone();
        Environment::new(move || clock.now(), ChaCha8Rng::seed_from_u64(seed))
    }
}

/// The n-th address of one of the two sides.
pub(super) fn address(side: u8, nth: u8) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, side), 1_000 + u16::from(nth)))
}

/// A socket that the script fills and empties.
pub(super) struct Wire {
    /// Whether it is one with addresses.
    pub(super) addressed: bool,
    /// Datagrams that may leave by one call.
    run: usize,
    /// Whether it takes nothing at the moment.
    pub(super) jammed: bool,
    source: Option<SocketAddr>,
    incoming: VecDeque<(SocketAddr, Vec<u8>)>,
    outgoing: VecDeque<(SocketAddr, Vec<u8>)>,
}

impl Wire {
    pub(super) const fn new(addressed: bool, run: usize) -> Self {
        Self {
            addressed,
            run,
            jammed: false,
            source: None,
            incoming: VecDeque::new(),
            outgoing: VecDeque::new(),
        }
    }

    pub(super) fn arrive(&mut self, from: SocketAddr, bytes: Vec<u8>) {
        if self.incoming.len() < MAX_WAITING {
            self.incoming.push_back((from, bytes));
        }
    }

    /// The next datagram that left, and whereto.
    pub(super) fn take(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.outgoing.pop_front()
    }
}

impl UdpLike for Wire {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        if self.addressed {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.send_toward(datagram, address(0, 0))
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (from, datagram) = self.incoming.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        self.source = Some(from);
        let len = datagram.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(datagram) {
            *to = from;
        }
        Ok(len)
    }

    fn may_fragment(&self) -> bool {
        false
    }

    fn source(&self) -> Option<SocketAddr> {
        self.source.filter(|_| self.addressed)
    }

    fn send_toward(&mut self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        if self.jammed || self.outgoing.len() >= MAX_WAITING {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.outgoing.push_back((to, datagram.to_vec()));
        Ok(datagram.len())
    }

    fn largest_run(&self) -> usize {
        self.run
    }
}

/// The static keys of both sides. Made once: each takes as long as everything else in a short script.
pub(super) fn keys() -> &'static [SecretKey; 2] {
    static KEYS: OnceLock<[SecretKey; 2]> = OnceLock::new();
    KEYS.get_or_init(|| [1, 2].map(|n| SecretKey::from_bytes([n; 32])))
}

/// One end's keys of a session that needed no handshake.
pub(super) fn channel(side: Side) -> Channel {
    let split = Split { i2r: Secret::take(&mut [1; 32]), r2i: Secret::take(&mut [2; 32]), hash: [3; 32] };
    Channel::derive(&split, side)
}

/// A session without a handshake, which would take most of the time.
pub(super) fn establish(endpoint: &mut SealedEndpoint<Wire>, clock: &Clock, side: Side, path: SocketAddr) {
    let path = Some(path).filter(|_| endpoint.socket().addressed);
    let mut rng = ChaCha8Rng::seed_from_u64(if side == Side::Initiator { 7 } else { 8 });
    endpoint.core_mut().establish(clock.now(), &mut rng, (channel(side), side), path);
}

/// Limits and times that a short script can reach.
pub(super) fn config() -> Config {
    Config {
        max_message_bytes: 16 << 10,
        max_unreliable_bytes: 4 << 10,
        send_queue_bytes: 64 << 10,
        send_queue_messages: 64,
        receive_window_bytes: 48 << 10,
        unreliable_memory_bytes: 8 << 10,
        handshake_bytes: super::evil::SIZE,
        idle_timeout: Duration::from_secs(2),
        attempt_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(2),
        max_pto: Duration::from_millis(500),
        ratchet_packets: 32,
        ratchet_interval: Duration::from_secs(2),
        half_open: 4,
        handshake_dh_per_second: 12,
        ..Config::default()
    }
}

/// What a peer may make an endpoint keep of its messages.
pub(super) fn assert_memory<S: Session>(endpoint: &Endpoint<Wire, S>, config: &Config) {
    let most = config.receive_window_bytes + config.unreliable_memory_bytes;
    assert!(endpoint.held_bytes() <= most, "{} of {most} bytes held", endpoint.held_bytes());
}

/// Lets time run with nobody at the other end: what lives ends by itself, timers stop, and none of them spins.
pub(super) fn run_out<S: Session>(endpoint: &mut Endpoint<Wire, S>, clock: &Clock) {
    endpoint.socket_mut().jammed = false;
    for _ in 0..600 {
        while let Ok(Some(_)) = endpoint.recv() {}
        while endpoint.poll_event().is_some() {}
        let next = endpoint.maintain();
        while endpoint.socket_mut().take().is_some() {}
        match next {
            Ok(Some(at)) => clock.advance_to(at),
            Ok(None) => return assert!(!endpoint.is_connected(), "a session that nothing will end"),
            // A farewell, or an attempt that outlives its session, may still have a moment of its own.
            Err(_) => match endpoint.next_deadline() {
                Some(at) => clock.advance_to(at),
                None => return,
            },
        }
    }
    unreachable!("timers that do not run out: {endpoint:?}");
}

/// A message as it was sent.
struct Sent {
    guarantee: Guarantee,
    lane: u8,
    set: u64,
    /// It may have been given up on the way, so nobody need wait for it.
    may_miss: bool,
    yielded: bool,
}

#[derive(Default)]
struct Lane {
    /// The set that was begun last, and whether it is open.
    set: u64,
    open: bool,
    /// The highest set of which something ordered was yielded.
    highest: u64,
}

/// Knows what one end sent, and what of it may be yielded at the other. PROTOCOL.md, "Yield".
pub(super) struct Judge {
    /// Keeps the messages of the two directions apart.
    direction: u32,
    sent: Vec<Sent>,
    lanes: BTreeMap<u8, Lane>,
}

impl Judge {
    pub(super) const fn new(direction: u32) -> Self {
        Self { direction, sent: Vec::new(), lanes: BTreeMap::new() }
    }

    pub(super) fn count(&self) -> usize {
        self.sent.len()
    }

    /// Bytes that name the message which is sent next.
    pub(super) fn payload(&self, len: usize) -> Vec<u8> {
        let id = u32::try_from(self.sent.len()).unwrap_or(u32::MAX);
        payload(id << 1 | self.direction, len)
    }

    /// That message was queued.
    pub(super) fn sent(&mut self, guarantee: Guarantee, lane: u8, may_miss: bool) {
        let at = self.lanes.entry(lane).or_default();
        at.set += u64::from(!at.open);
        self.sent.push(Sent { guarantee, lane, set: at.set, may_miss, yielded: false });
    }

    pub(super) fn set_opened(&mut self, lane: u8) {
        let at = self.lanes.entry(lane).or_default();
        at.set += 1;
        at.open = true;
    }

    pub(super) fn set_closed(&mut self, lane: u8) {
        self.lanes.entry(lane).or_default().open = false;
    }

    /// The other end yields this. With more than one session an earlier message may have ended with the first.
    pub(super) fn yielded(&mut self, guarantee: Guarantee, lane: u8, bytes: &[u8], one_session: bool) {
        let id = bytes.first_chunk().map_or(u32::MAX, |id| u32::from_le_bytes(*id));
        assert_eq!(bytes, payload(id, bytes.len()), "bytes that nobody sent");
        assert_eq!(id & 1, self.direction, "a message came back to its sender");
        let Some(message) = self.sent.get_mut(id as usize >> 1) else { unreachable!("{id} was never sent") };
        assert_eq!((message.guarantee, message.lane), (guarantee, lane), "{id} was sent as something else");
        assert!(!std::mem::replace(&mut message.yielded, true), "{id} was yielded twice");
        let set = message.set;
        if guarantee == Guarantee::None {
            return;
        }
        let owed = |earlier: &&Sent| {
            earlier.guarantee == Guarantee::Delivery && earlier.lane == lane && earlier.set < set
        };
        if one_session {
            let missing = self.sent.iter().filter(owed).position(|sent| !sent.yielded && !sent.may_miss);
            assert_eq!(missing, None, "{id} did not wait for an earlier Delivery");
        }
        let at = self.lanes.entry(lane).or_default();
        assert!(set >= at.highest, "{id} came after something newer");
        at.highest = set;
    }

    /// Nothing that must arrive is missing.
    pub(super) fn assert_all_there(&self) {
        let owed = |sent: &Sent| sent.guarantee == Guarantee::Delivery && !sent.may_miss && !sent.yielded;
        let missing: Vec<_> =
            (0..self.sent.len()).filter(|&id| self.sent.get(id).is_some_and(owed)).collect();
        assert!(missing.is_empty(), "{missing:?} never came, over a network that lost nothing more");
    }
}

fn payload(id: u32, len: usize) -> Vec<u8> {
    let mut state = id ^ 0x5ea1;
    let mut bytes = id.to_le_bytes().to_vec();
    while bytes.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(len.max(4));
    bytes
}

//! What a network knows: the clock, the datagrams under way, the nodes and the directions between them. Everything
//! that happens, happens here and in one order: by time of arrival, then by order of sending.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io;
use std::net::SocketAddr;

use super::link::Link;
use super::nat::Nats;
use super::net::{Verdict, nanos};
use super::path::Path;
use super::rng::{Fingerprint, Purpose, Rng};

/// Bytes that wait unread in a socket, each datagram counted with 64 more; what comes on top is refused, as a kernel
/// does it.
const RECEIVE_BUFFER: usize = 4 << 20;
const RECEIVE_OVERHEAD: usize = 64;
/// Emptied buffers that are kept for the next datagrams.
const SPARE_BUFFERS: usize = 4_096;

/// From where to where.
type Ends = (SocketAddr, SocketAddr);

pub(super) type Recorded = (u64, SocketAddr, SocketAddr, Vec<u8>);

#[derive(Debug)]
pub(super) struct State {
    seed: u64,
    now: u64,
    /// Counts everything put under way: the order among equal times of arrival.
    order: u64,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    nodes: BTreeMap<SocketAddr, Node>,
    /// By the nodes' own addresses, whatever the datagrams say.
    paths: BTreeMap<Ends, Path>,
    pub(super) nats: Nats,
    /// What is to change, by time and order.
    changes: BTreeMap<(u64, u64), Change>,
    spare: Vec<Vec<u8>>,
    pub(super) default: Link,
    pub(super) trace: Fingerprint,
    pub(super) record: Option<Vec<Recorded>>,
}

/// A change that was put down for later.
#[derive(Debug)]
pub(super) enum Change {
    Link(SocketAddr, SocketAddr, Box<Link>),
    Rebind(SocketAddr),
}

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) send_faults: Option<(u32, io::ErrorKind)>,
    pub(super) receive_faults: Option<(u32, io::ErrorKind)>,
    /// Counts the sockets this address has had; the newest one owns it.
    generation: u64,
    bound: bool,
    inbox: VecDeque<(SocketAddr, Vec<u8>)>,
    inbox_bytes: usize,
    generators: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    due: u64,
    order: u64,
    /// The direction that it takes, by the nodes' own addresses.
    path: Ends,
    /// What its header says.
    from: SocketAddr,
    to: SocketAddr,
    /// Its number in its direction; `None` for repetitions and injected ones, which say nothing about order.
    index: Option<u64>,
    bytes: Vec<u8>,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            now: 0,
            order: 0,
            under_way: BinaryHeap::new(),
            nodes: BTreeMap::new(),
            paths: BTreeMap::new(),
            nats: Nats::new(seed),
            changes: BTreeMap::new(),
            spare: Vec::new(),
            default: Link::default(),
            trace: Fingerprint::EMPTY,
            record: None,
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.now
    }

    pub(super) fn node(&mut self, address: SocketAddr) -> &mut Node {
        self.nodes.entry(address).or_default()
    }

    pub(super) fn path(&mut self, from: SocketAddr, to: SocketAddr) -> &mut Path {
        let (seed, now, default) = (self.seed, self.now, &self.default);
        self.paths.entry((from, to)).or_insert_with(|| Path::new(seed, from, to, default.clone(), now))
    }

    pub(super) fn set_link(&mut self, from: SocketAddr, to: SocketAddr, link: Link) {
        let now = self.now;
        self.path(from, to).set_link(link, now);
    }

    pub(super) fn rng(&mut self, address: SocketAddr) -> Rng {
        let node = self.node(address);
        node.generators += 1;
        let count = node.generators;
        Rng::stream(self.seed, Purpose::Node, Fingerprint::of_address(address), count)
    }

    pub(super) fn bind(&mut self, address: SocketAddr) -> u64 {
        let node = self.node(address);
        node.generation += 1;
        node.bound = true;
        let generation = node.generation;
        self.empty(address);
        generation
    }

    pub(super) fn unbind(&mut self, address: SocketAddr, generation: u64) {
        let node = self.node(address);
        if node.generation == generation {
            node.bound = false;
            self.empty(address);
        }
    }

    fn empty(&mut self, address: SocketAddr) {
        // What is due already goes to the old socket, not to the next.
        self.advance_to(self.now);
        let node = self.node(address);
        node.inbox.clear();
        node.inbox_bytes = 0;
    }

    pub(super) fn next_arrival(&self) -> Option<u64> {
        self.under_way.peek().map(|Reverse(first)| first.due.max(self.now))
    }

    pub(super) fn advance_to(&mut self, to: u64) {
        let to = to.max(self.now);
        loop {
            let arrival = self.under_way.peek().map(|Reverse(first)| first.due);
            let change = self.changes.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = arrival.into_iter().chain(change).min().filter(|next| *next <= to) else {
                break;
            };
            self.now = self.now.max(next);
            if change == Some(next) {
                self.change();
            } else if let Some(Reverse(first)) = self.under_way.pop() {
                self.arrive(first);
            }
        }
        self.now = to;
    }

    /// Puts down a change for later; what is due already happens now.
    pub(super) fn plan(&mut self, at: u64, change: Change) {
        self.order += 1;
        self.changes.insert((at, self.order), change);
        self.advance_to(self.now);
    }

    fn change(&mut self) {
        match self.changes.pop_first() {
            Some((_, Change::Link(from, to, link))) => self.set_link(from, to, *link),
            Some((_, Change::Rebind(node))) => self.nats.rebind(node),
            None => {}
        }
    }

    pub(super) fn check_send(&mut self, from: SocketAddr, generation: u64) -> io::Result<()> {
        let node = self.node(from);
        node.owned_by(generation)?;
        fault(&mut node.send_faults)
    }

    /// The way out: the trace, the record, the sender's NAT, the tap's verdict, the link.
    pub(super) fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8], verdict: Verdict) {
        self.note(b"sent", from, to, bytes);
        let now = self.now;
        if let Some(record) = &mut self.record {
            record.push((now, from, to, bytes.to_vec()));
        }
        let path = (from, self.nats.behind(to));
        let seen = self.nats.leave(now, from, to);
        match verdict {
            Verdict::Pass => self.carry(path, (seen, to), bytes, 0),
            Verdict::Drop => self.path(path.0, path.1).tapped(bytes.len()),
            Verdict::Delay(more) => self.carry(path, (seen, to), bytes, nanos(more)),
            Verdict::Replace(other) => self.carry(path, (seen, to), &other, 0),
        }
    }

    fn carry(&mut self, path: Ends, header: Ends, bytes: &[u8], delay: u64) {
        let now = self.now;
        let fate = self.path(path.0, path.1).judge(now, bytes.len());
        let arrivals = [(fate.first, Some(fate.index)), (fate.second, None)];
        for (due, index) in arrivals.into_iter().filter_map(|(due, index)| Some((due?, index))) {
            let mut carried = self.copy(bytes);
            if let Some(seed) = fate.damage {
                damage(&mut carried, seed);
            }
            self.put_under_way(due.saturating_add(delay), path, header, index, carried);
        }
    }

    pub(super) fn inject(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let carried = self.copy(bytes);
        let path = (self.nats.behind(from), self.nats.behind(to));
        self.put_under_way(self.now, path, (from, to), None, carried);
    }

    fn put_under_way(&mut self, due: u64, path: Ends, header: Ends, index: Option<u64>, bytes: Vec<u8>) {
        self.order += 1;
        let ((from, to), order) = (header, self.order);
        self.under_way.push(Reverse(UnderWay { due, order, path, from, to, index, bytes }));
    }

    /// The way in: the order noted, the receiver's NAT, its socket.
    fn arrive(&mut self, datagram: UnderWay) {
        let UnderWay { path, from, to, index, bytes, .. } = datagram;
        self.note(b"came", from, to, &bytes);
        let cost = bytes.len() + RECEIVE_OVERHEAD;
        let node = self.nats.admit(self.now, from, to).map(|node| self.node(node));
        let refused = match node {
            Some(node) if node.bound && node.inbox_bytes.saturating_add(cost) <= RECEIVE_BUFFER => {
                node.inbox_bytes += cost;
                node.inbox.push_back((from, bytes));
                None
            }
            _ => Some(bytes),
        };
        let path = self.path(path.0, path.1);
        if let Some(index) = index {
            path.arrived(index);
        }
        path.counts.delivered += u64::from(refused.is_none());
        path.counts.refused += u64::from(refused.is_some());
        if let Some(bytes) = refused {
            self.recycle(bytes);
        }
    }

    /// Hands out the oldest datagram of the socket (only of `peer`, when it is connected); what does not fit into
    /// `buffer` is cut off.
    pub(super) fn receive(
        &mut self,
        at: SocketAddr,
        generation: u64,
        peer: Option<SocketAddr>,
        buffer: &mut [u8],
    ) -> io::Result<(usize, SocketAddr)> {
        self.advance_to(self.now);
        let node = self.node(at);
        node.owned_by(generation)?;
        fault(&mut node.receive_faults)?;
        loop {
            let node = self.node(at);
            let (from, bytes) = node.inbox.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
            node.inbox_bytes = node.inbox_bytes.saturating_sub(bytes.len() + RECEIVE_OVERHEAD);
            let wanted = peer.is_none_or(|peer| peer == from);
            let len = bytes.len().min(buffer.len());
            if let (true, Some(place), Some(bytes)) = (wanted, buffer.get_mut(..len), bytes.get(..len)) {
                place.copy_from_slice(bytes);
            }
            self.recycle(bytes);
            if wanted {
                return Ok((len, from));
            }
        }
    }

    fn note(&mut self, what: &[u8; 4], from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.trace.add(what);
        self.trace.add(&self.now.to_le_bytes());
        self.trace.add_address(from);
        self.trace.add_address(to);
        self.trace.add(&(bytes.len() as u64).to_le_bytes());
        self.trace.add(bytes);
    }

    fn copy(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.extend_from_slice(bytes);
        copy
    }

    fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS {
            bytes.clear();
            self.spare.push(bytes);
        }
    }
}

impl Node {
    fn owned_by(&self, generation: u64) -> io::Result<()> {
        if self.generation == generation { Ok(()) } else { Err(io::ErrorKind::AddrInUse.into()) }
    }
}

fn fault(faults: &mut Option<(u32, io::ErrorKind)>) -> io::Result<()> {
    match faults {
        Some((left, kind)) if *left > 0 => {
            *left -= 1;
            Err((*kind).into())
        }
        _ => Ok(()),
    }
}

/// Flips one to eight different bits (fewer when the datagram is too short to hold them).
fn damage(bytes: &mut [u8], seed: u32) {
    let bits = bytes.len().saturating_mul(8);
    let mut rng = Rng::seed(u64::from(seed));
    let count = 1 + rng.word() % 8;
    let mut flipped = Vec::new();
    for _ in 0..count {
        let bit = usize::try_from(rng.word()).unwrap_or(usize::MAX) % bits.max(1);
        if flipped.contains(&bit) {
            continue;
        }
        flipped.push(bit);
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
    }
}

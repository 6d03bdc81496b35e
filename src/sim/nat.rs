//! What stands between nodes and the network: who may write to a node, and under which address the others see it. Knows
//! no links and no sockets. A binding never comes back to life: whoever needs it again gets a new port.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::net::nanos;
use super::rng::{Fingerprint, Purpose, Rng};

/// Ports of an outside address that are given out, from here to the last.
const FIRST_PORT: u16 = 1_024;

/// How many outside ports a node gets (RFC 4787, section 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mapping {
    /// One for all peers, so that a peer can tell another one where the node is. The default.
    #[default]
    OnePort,
    /// Another one for each address and port that the node writes to.
    PortPerPeer,
}

/// Whom a node's outside port lets in (RFC 4787, section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Filter {
    /// Everyone. The default.
    #[default]
    Anyone,
    /// Whom the node has written to, from any of their ports.
    SameAddress,
    /// Whom the node has written to, from that port only.
    SameAddressAndPort,
}

/// What a node is behind. The default is nothing: others see its own address, and everyone reaches it.
///
/// The constructors make the kinds that are known by name. Nodes with the same outside address share one box: they reach
/// each other under their own addresses, and also from outside, the long way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat {
    /// The address that others see in place of the node's, best one that no node has. `None`: the node keeps its own
    /// address and port, and only `filter` counts.
    pub outside: Option<IpAddr>,
    /// How many ports the node gets there. Default: one for all.
    pub mapping: Mapping,
    /// Whom they let in. Default: everyone.
    pub filter: Filter,
    /// How long a port and a permission last after the node last wrote through it. Receiving does not prolong them.
    /// Default 60 s.
    pub lifetime: Duration,
}

impl Default for Nat {
    fn default() -> Self {
        Self {
            outside: None,
            mapping: Mapping::default(),
            filter: Filter::default(),
            lifetime: Duration::from_secs(60),
        }
    }
}

impl Nat {
    /// No translation, but only those are let in, with port, whom the node has written to.
    #[must_use]
    pub fn firewall() -> Self {
        Self { filter: Filter::SameAddressAndPort, ..Self::default() }
    }

    /// One outside port, open to everyone.
    #[must_use]
    pub fn full_cone(outside: IpAddr) -> Self {
        Self { outside: Some(outside), ..Self::default() }
    }

    /// One outside port, open to the addresses that the node has written to.
    #[must_use]
    pub fn address_restricted(outside: IpAddr) -> Self {
        Self { filter: Filter::SameAddress, ..Self::full_cone(outside) }
    }

    /// One outside port, open to those, with port, whom the node has written to: most homes.
    #[must_use]
    pub fn port_restricted(outside: IpAddr) -> Self {
        Self { filter: Filter::SameAddressAndPort, ..Self::full_cone(outside) }
    }

    /// An outside port for each peer, open to that peer alone: many phones and offices.
    #[must_use]
    pub fn symmetric(outside: IpAddr) -> Self {
        Self { mapping: Mapping::PortPerPeer, ..Self::port_restricted(outside) }
    }

    fn is_open(&self) -> bool {
        self.outside.is_none() && self.filter == Filter::Anyone
    }
}

/// All nodes that are behind something, and the ports they have.
#[derive(Debug)]
pub(super) struct Nats {
    seed: u64,
    nodes: BTreeMap<SocketAddr, Nat>,
    /// By the address that others see. Dead ones stay until their port is given out again: what is still sent to them
    /// counts for the direction to their node.
    bindings: BTreeMap<SocketAddr, Binding>,
    /// The binding in use, by node and, where each peer has its own, by peer.
    current: BTreeMap<(SocketAddr, Option<SocketAddr>), SocketAddr>,
    next_ports: BTreeMap<IpAddr, u16>,
}

#[derive(Debug)]
struct Binding {
    node: SocketAddr,
    alive: bool,
    last: u64,
    written_to: BTreeMap<SocketAddr, u64>,
}

impl Binding {
    fn lasts(&self, now: u64, nat: &Nat) -> bool {
        self.alive && now.saturating_sub(self.last) <= nanos(nat.lifetime)
    }
}

impl Nats {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            nodes: BTreeMap::new(),
            bindings: BTreeMap::new(),
            current: BTreeMap::new(),
            next_ports: BTreeMap::new(),
        }
    }

    pub(super) fn set(&mut self, node: SocketAddr, nat: Nat) {
        self.rebind(node);
        if nat.is_open() {
            self.nodes.remove(&node);
        } else {
            self.nodes.insert(node, nat);
        }
    }

    /// All ports and permissions of the node are void.
    pub(super) fn rebind(&mut self, node: SocketAddr) {
        let Self { bindings, current, .. } = self;
        current.retain(|(owner, _), address| {
            let keep = *owner != node;
            if let (false, Some(binding)) = (keep, bindings.get_mut(address)) {
                binding.alive = false;
            }
            keep
        });
    }

    /// A datagram of `node` goes out to `to`: the address it seems to come from.
    pub(super) fn leave(&mut self, now: u64, node: SocketAddr, to: SocketAddr) -> SocketAddr {
        let Some(&nat) = self.nodes.get(&node) else { return node };
        if self.share_a_box(node, to) {
            return node;
        }
        let key = key(&nat, node, to);
        let in_use = self.current.get(&key).copied();
        let in_use = in_use.filter(|address| self.bindings.get(address).is_some_and(|b| b.lasts(now, &nat)));
        let address = in_use.unwrap_or_else(|| {
            let address = nat.outside.map_or(node, |ip| SocketAddr::new(ip, self.next_port(ip)));
            let fresh = Binding { node, alive: true, last: now, written_to: BTreeMap::new() };
            self.bindings.insert(address, fresh);
            self.current.insert(key, address);
            address
        });
        if let Some(binding) = self.bindings.get_mut(&address) {
            binding.last = now;
            binding.written_to.insert(to, now);
        }
        address
    }

    /// The node behind an address, also if it is not reached there any more; the address itself if nobody is behind it.
    pub(super) fn behind(&self, address: SocketAddr) -> SocketAddr {
        self.bindings.get(&address).map_or(address, |binding| binding.node)
    }

    /// A datagram that seems to come from `from` has arrived at `to`: the node it is handed to, if any.
    pub(super) fn admit(&self, now: u64, from: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        let Some(binding) = self.bindings.get(&to) else {
            // Nobody is hidden there, or nobody who has written to anyone.
            return (!self.nodes.contains_key(&to) || self.share_a_box(from, to)).then_some(to);
        };
        let nat = self.nodes.get(&binding.node)?;
        let fresh = |at: &u64| now.saturating_sub(*at) <= nanos(nat.lifetime);
        let admitted = match nat.filter {
            Filter::Anyone => true,
            Filter::SameAddress => {
                binding.written_to.iter().any(|(peer, at)| peer.ip() == from.ip() && fresh(at))
            }
            Filter::SameAddressAndPort => binding.written_to.get(&from).is_some_and(fresh),
        };
        (admitted && binding.lasts(now, nat)).then_some(binding.node)
    }

    /// Where `to` sees the node, if there is such a place now.
    pub(super) fn seen_as(&self, now: u64, node: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        let Some(nat) = self.nodes.get(&node).filter(|nat| nat.outside.is_some()) else { return Some(node) };
        if self.share_a_box(node, to) {
            return Some(node);
        }
        let address = *self.current.get(&key(nat, node, to))?;
        self.bindings.get(&address)?.lasts(now, nat).then_some(address)
    }

    fn share_a_box(&self, a: SocketAddr, b: SocketAddr) -> bool {
        let outside = |node| self.nodes.get(&node).and_then(|nat| nat.outside);
        outside(a).is_some() && outside(a) == outside(b)
    }

    /// Ports are given out one after the other from a random one on, as many boxes do it. Who comes round takes them
    /// from the oldest.
    fn next_port(&mut self, ip: IpAddr) -> u16 {
        let seed = self.seed;
        let next = self.next_ports.entry(ip).or_insert_with(|| {
            let place = Fingerprint::of_address(SocketAddr::new(ip, 0));
            let chance = Rng::stream(seed, Purpose::Ports, place, 0).word();
            let room = u32::from(u16::MAX - FIRST_PORT) + 1;
            FIRST_PORT.saturating_add(u16::try_from(chance % room).unwrap_or(0))
        });
        let port = *next;
        *next = port.checked_add(1).unwrap_or(FIRST_PORT);
        port
    }
}

fn key(nat: &Nat, node: SocketAddr, to: SocketAddr) -> (SocketAddr, Option<SocketAddr>) {
    (node, (nat.mapping == Mapping::PortPerPeer).then_some(to))
}

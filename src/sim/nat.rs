//! What stands between a node and the network. Today only filters; translation of addresses has its place here and
//! in the two calls of `State::send` and `State::arrive`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::net::nanos;

/// How a node is reached from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Nat {
    /// By everyone. The default.
    #[default]
    Open,
    /// Only by those addresses (with port) to which it has sent within `lifetime`. The node keeps its address.
    PortRestricted {
        /// How long a permission lasts after the last datagram sent.
        lifetime: Duration,
    },
}

/// The memory of one node's [`Nat`]: whom it wrote to, and when.
#[derive(Debug, Default)]
pub(super) struct Gate {
    nat: Nat,
    contacted: BTreeMap<SocketAddr, u64>,
}

impl Gate {
    pub(super) fn set(&mut self, nat: Nat) {
        self.nat = nat;
    }

    pub(super) fn on_send(&mut self, now: u64, to: SocketAddr) {
        if self.nat != Nat::Open {
            self.contacted.insert(to, now);
        }
    }

    pub(super) fn admits(&self, now: u64, from: SocketAddr) -> bool {
        match self.nat {
            Nat::Open => true,
            Nat::PortRestricted { lifetime } => {
                self.contacted.get(&from).is_some_and(|at| now.saturating_sub(*at) <= nanos(lifetime))
            }
        }
    }
}

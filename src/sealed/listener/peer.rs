//! What a peer of a sealed server has beyond what every peer has: its session, its path and its ids. Idle it costs its
//! keys and a few hundred bytes; queues exist only while something is in flight.

use super::{cids::Cids, gate::Share};
use crate::sealed::{live::Live, roam::Roam};

#[derive(Debug)]
pub(crate) struct Peer {
    pub(super) live: Box<Live>,
    pub(super) roam: Roam,
    pub(super) cids: Cids,
    /// The number of the half-open entry that it came from: a later one is a later join.
    pub(super) joined: u64,
    /// Its place among the sessions of where it joined from.
    pub(super) share: Option<Share>,
}

//! What a peer of a sealed server has beyond what every peer has: its session, its path and its ids. Idle it costs its
//! keys and a few hundred bytes; queues exist only while something is in flight.

use super::{cids::Cids, gate::Place};
use crate::sealed::{live::Live, roam::Roam};

#[derive(Debug)]
pub(crate) struct Peer {
    pub(super) live: Live,
    pub(super) roam: Roam,
    pub(super) cids: Cids,
    /// When the half-open entry ends that it came from, as the port counts time, and that entry's number: a later one is
    /// a later join.
    pub(super) joined: (u64, u64),
    /// Its place among the sessions of where it joined from.
    pub(super) share: Option<Place>,
}

//! One peer of a server: its session, its address, its ids, and where it stands in the server's queues. Idle it costs
//! its keys and a few hundred bytes; queues exist only while something is in flight.

use std::time::Instant;

use super::{cids::Cids, gate::Place};
use crate::{
    connection::Connection,
    roster::Roster,
    sealed::{budget::Bucket, live::Live, roam::Roam},
};

/// How far a join has come.
#[derive(Debug)]
pub(super) enum Standing {
    /// Confirmed; the application has not said yes yet.
    Asks {
        until: Instant,
    },
    Open,
    /// Over; what it has left to yield is kept for a while.
    Ended {
        until: Instant,
    },
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) live: Box<Live>,
    pub(super) connection: Box<Connection>,
    pub(super) roam: Roam,
    pub(super) cids: Cids,
    pub(super) standing: Standing,
    /// The number of the half-open entry that it came from: a later one is a later join.
    pub(super) joined: u64,
    /// Its place among the sessions of where it joined from.
    pub(super) share: Option<Place>,
    /// Datagrams from elsewhere that its ids may cause to be opened.
    pub(super) strangers: Bucket,
    /// The round of reading in which it was heard last, and how many of its datagrams were opened in it.
    pub(super) reads: (u32, u32),
    /// Stands in the queue of those that may have something to send.
    pub(super) is_ready: bool,
    /// Stands in the queue of those whose partly filled datagrams leave at the next flush.
    pub(super) is_touched: bool,
    /// Stands in the queue of those with notices.
    pub(super) is_noted: bool,
}

impl Peer {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.standing, Standing::Open)
    }

    pub(super) fn asks(&self) -> bool {
        matches!(self.standing, Standing::Asks { .. })
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.standing, Standing::Ended { .. })
    }
}

/// All of them.
pub(super) type Peers = Roster<Peer>;

//! One peer of a plain server: its session, its address, and where it stands in the server's queues.

use std::{
    hash::{BuildHasher, Hasher},
    net::SocketAddr,
    time::Instant,
};

use crate::{
    connection::{Connection, Negotiated},
    plain::live::Live,
    roster::Origin,
};

/// How far a join has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Standing {
    /// Confirmed; the application has not said yes yet.
    Asks {
        until: Instant,
        negotiated: Negotiated,
    },
    Open,
    /// Over; what it has left to yield is kept for a while.
    Ended {
        until: Instant,
    },
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) live: Live,
    pub(super) connection: Connection,
    pub(super) address: SocketAddr,
    /// Among whose sessions it counts.
    pub(super) origin: Origin,
    pub(super) standing: Standing,
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

/// Our ids are random numbers: they are their own hash.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnIds;

impl BuildHasher for OwnIds {
    type Hasher = Same;

    fn build_hasher(&self) -> Same {
        Same(0)
    }
}

#[derive(Debug)]
pub(super) struct Same(u64);

impl Hasher for Same {
    /// Only numbers are hashed here.
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

//! One peer of a server: what both kinds have. Idle it costs its connection and a few bytes.

use std::time::Instant;

use crate::connection::Connection;

/// How far a join has come.
#[derive(Clone, Copy, Debug)]
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

/// A peer, and where it stands in the queues of the roster. `P` is what only its kind of session has.
#[derive(Debug)]
pub(crate) struct Member<P> {
    pub(crate) peer: P,
    pub(crate) connection: Connection,
    pub(super) standing: Standing,
    /// The round of reading in which it was heard last, and how many of its datagrams were taken in it.
    pub(super) reads: (u32, u32),
    /// Stands in the queue of those that may have something to send.
    pub(super) is_ready: bool,
    /// Stands in the queue of those whose partly filled datagrams leave at the next flush.
    pub(super) is_touched: bool,
    /// Stands in the queue of those with notices.
    pub(super) is_noted: bool,
}

impl<P> Member<P> {
    pub(super) fn new(peer: P, connection: Connection, standing: Standing) -> Self {
        Self {
            peer,
            connection,
            standing,
            reads: (0, 0),
            is_ready: false,
            is_touched: false,
            is_noted: false,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.standing, Standing::Open)
    }

    pub(crate) fn asks(&self) -> bool {
        matches!(self.standing, Standing::Asks { .. })
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.standing, Standing::Ended { .. })
    }

    /// When it goes by itself, unless its session is live.
    pub(crate) fn stays_until(&self) -> Option<Instant> {
        match self.standing {
            Standing::Asks { until } | Standing::Ended { until } => Some(until),
            Standing::Open => None,
        }
    }

    /// How many of its datagrams were taken in this round of reading.
    pub(crate) fn reads_in(&self, round: u32) -> u32 {
        let (heard, reads) = self.reads;
        if heard == round { reads } else { 0 }
    }

    /// One of its datagrams is taken.
    pub(crate) fn read_in(&mut self, round: u32) {
        self.reads = (round, self.reads_in(round).saturating_add(1));
    }
}

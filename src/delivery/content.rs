//! What a packet carried, and what became of it: the words in which sent packets and the queues above them speak of each
//! other. Holds no message; a part is a reference that may have gone stale.

use std::{ops::Range, time::Instant};

use super::ack::Call;

/// Something that a packet carried and that must be known to have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Bytes `offset..offset + len` of the message in `slot`, if it still is message `id`.
    Part { slot: u32, id: u64, offset: u32, len: u32 },
    /// An ACK frame that named `largest`.
    Ack { largest: u64 },
    /// A SKIP frame for message `id`.
    Skip { id: u64 },
    /// A WINDOW frame of the session.
    Window,
    /// A NEW_CID frame.
    NewCid { sequence: u64 },
    /// The REDIRECT frame of the session.
    Redirect,
    /// Nothing: the packet asked whether the path takes datagrams of this size.
    Probe { size: u16 },
}

/// What became of a packet's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Acked,
    /// A later packet arrived and this one did not, or there was no word for a probe timeout.
    Lost,
    /// There should have been word by now. Nothing says that it is lost.
    Overdue,
}

/// The packet that the news is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carrier {
    pub(crate) sent: Instant,
    /// It had been taken for lost.
    pub(crate) late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Sent, counts as on its way.
    Flying,
    /// Taken for lost (or repeated by a probe) at this time; may still be acknowledged.
    Lost(Instant),
    /// Nothing more to learn: acknowledged, or it never called for an acknowledgement.
    Settled,
}

/// A packet that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) sent: Instant,
    pub(super) bytes: u32,
    /// Position of its first content, counted over the session.
    pub(super) contents_at: u64,
    pub(super) contents: u32,
    pub(super) state: State,
    /// What it called for.
    pub(super) call: Call,
}

impl Packet {
    pub(super) fn eliciting(&self) -> bool {
        self.call != Call::No
    }

    /// Where its contents stand in a deque whose front has position `first`.
    pub(super) fn contents(&self, first: u64) -> Range<usize> {
        let start = usize::try_from(self.contents_at.saturating_sub(first)).unwrap_or(usize::MAX);
        start..start.saturating_add(self.contents as usize)
    }

    pub(super) fn carrier(&self) -> Carrier {
        Carrier { sent: self.sent, late: matches!(self.state, State::Lost(_)) }
    }
}

//! Frames of messages in, messages for the application out, each by the rules of its guarantee. Knows no keys, no
//! packets and no addresses; the datagram is a range that its owner holds. It keeps that a message is yielded at most
//! once and in its turn, and that memory stays within the window and the budget whatever the peer sends.
//! PROTOCOL.md, "Numbering", "Yield", "Limits".

mod budget;
mod fragments;
mod lane;
mod parity;
mod ready;
mod rest;
mod span;
mod store;
mod whole;

#[cfg(test)]
mod ancestors;
#[cfg(test)]
mod model;
#[cfg(test)]
mod parity_tests;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use self::{
    fragments::Partial,
    lane::Lanes,
    parity::Parities,
    ready::ReadyQueue,
    span::Standing,
    store::{Stage, Store},
};
pub(crate) use self::{
    ready::{Place, Ready},
    rest::Kept,
    store::Handle,
};
use crate::{
    config::MESSAGE_OVERHEAD,
    delivery::on_demand::OnDemand,
    error::Violation,
    wire::message::{MessageFrame, Numbers, Part},
};

/// How far an index may lie above the lowest unsettled one of its lane. PROTOCOL.md, "Limits".
pub(crate) const MAX_INDEX_SPAN: u64 = 65_536;
/// Distance of an index from the lowest unsettled one that is always taken. PROTOCOL.md, "Limits".
pub(crate) const FREE_SPAN: u64 = 512;
/// Most notes of indexes over all lanes, in words of 64: what a sender that keeps to the sum of spans can make us
/// keep, with the spans that are always free and two words a lane that are begun.
const MAX_WORDS: usize = (1 << 18) / 64 + 2 * 256;
/// Most gaps of skipped indexes above the lowest unsettled one of a lane. PROTOCOL.md, "Limits".
pub(crate) const MAX_SKIP_GAPS: usize = 64;

/// The limits of a receiving half, after both sides have named theirs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecvLimits {
    /// Bytes of `Delivery` messages that may be here, each counted with `MESSAGE_OVERHEAD` more.
    pub(crate) window_bytes: usize,
    /// Bytes of `None` and `Order` messages in storage, counted likewise.
    pub(crate) unreliable_bytes: usize,
    /// Largest `Delivery`, in bytes.
    pub(crate) max_message: u32,
    /// Largest `None` or `Order`, in bytes.
    pub(crate) max_unreliable: u32,
    /// Most fragments of one message.
    pub(crate) max_fragments: u16,
}

impl RecvLimits {
    /// Bytes of `Delivery` messages of one lane that may wait here for earlier ones or for their rest, counted likewise.
    /// PROTOCOL.md, "Flow control".
    fn lane_bytes(&self) -> usize {
        (self.window_bytes / 2).max(self.max_message as usize + MESSAGE_OVERHEAD)
    }
}

/// What a SKIP is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The message will not be yielded.
    Skipped,
    /// The message was complete before.
    Have,
}

/// What became of messages, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecvCounters {
    /// Handed to the application.
    pub(crate) popped: u64,
    /// Came again, or with an id too old to tell.
    pub(crate) duplicates: u64,
    /// `Order` messages after something newer.
    pub(crate) stale: u64,
    /// Not yielded because their life was over.
    pub(crate) late: u64,
    /// `None` and `Order` messages freed while fragments were missing.
    pub(crate) incomplete: u64,
    /// `None` and `Order` messages longer than we take, or complete and freed because memory was short.
    pub(crate) evicted: u64,
    /// `Delivery` messages skipped by the sender.
    pub(crate) skipped: u64,
    /// Messages copied to secondary storage.
    pub(crate) stored: u64,
}

/// The receiving half of a connection.
#[derive(Debug)]
pub(crate) struct RecvQueue {
    limits: RecvLimits,
    lanes: Lanes,
    store: Store,
    ready: ReadyQueue,
    /// Incomplete `None` and `Order` messages, oldest first.
    partials: OnDemand<VecDeque<Partial>>,
    /// Complete `None` and `Order` messages in storage, oldest first. May name some that are gone.
    kept: OnDemand<VecDeque<Handle>>,
    kept_live: usize,
    /// What parities did; nothing before the first one came.
    parities: Option<Box<Parities>>,
    unreliable_used: usize,
    delivery_used: usize,
    /// Charges of all `Delivery` messages that left for good.
    consumed: u64,
    /// The limit that the peer was told last.
    advertised: u64,
    counters: RecvCounters,
}

impl RecvQueue {
    /// An empty queue. Allocates nothing. The peer knows the first limit, which is the window, from the handshake.
    pub(crate) fn new(limits: RecvLimits) -> Self {
        Self {
            limits,
            lanes: Lanes::default(),
            store: Store::new(),
            ready: ReadyQueue::default(),
            partials: OnDemand::default(),
            kept: OnDemand::default(),
            kept_live: 0,
            parities: None,
            unreliable_used: 0,
            delivery_used: 0,
            consumed: 0,
            advertised: limits.window_bytes as u64,
            counters: RecvCounters::default(),
        }
    }

    /// Takes one message frame. `at` is the offset of its bytes in the buffer of the datagram, which must stay as it
    /// is while `has_in_place`.
    ///
    /// # Errors
    /// `Bound` when the peer passed a limit that it knows, `Malformed` for a fragment that names no message. Nothing of
    /// the frame was taken then.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        frame: &MessageFrame<'_>,
        at: usize,
    ) -> Result<(), Violation> {
        match (frame.part, frame.numbers) {
            (Part::Whole, Numbers::Delivery { set, base, index }) => {
                self.whole_delivery(now, frame, at, (set, base, index))
            }
            (Part::Whole, _) => self.whole_unreliable(now, frame, at),
            (Part::Fragment { offset, total }, Numbers::Delivery { index, .. }) => {
                self.delivery_fragment(now, frame, offset, total, index)
            }
            (Part::Fragment { offset, total }, _) => self.unreliable_fragment(now, frame, offset, total),
        }
    }

    /// The next message for the application. The bytes of a stored one stay until `release`.
    /// Whether `pop` may give something.
    pub(crate) fn may_yield(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(crate) fn pop(&mut self) -> Option<Ready> {
        let mut turn = self.ready.pop(&self.store)?;
        self.counters.popped += 1;
        match turn.place {
            Place::Datagram { len, .. } => {
                if matches!(turn.numbers, Numbers::Delivery { .. }) {
                    self.consume(len);
                }
            }
            Place::Stored(handle) => {
                // Under its new stamp, the message can no longer be evicted.
                if let Some(lent) = self.store.restamp(handle) {
                    turn.place = Place::Stored(lent);
                    if let Some(stored) = self.store.get_mut(lent) {
                        stored.stage = Stage::Lent;
                    }
                    if !matches!(turn.numbers, Numbers::Delivery { .. }) {
                        self.kept_live = self.kept_live.saturating_sub(1);
                    }
                }
            }
        }
        Some(turn.ready())
    }

    /// The bytes of a stored message; empty once it was released.
    pub(crate) fn bytes(&self, handle: Handle) -> &[u8] {
        self.store.bytes(handle)
    }

    /// The application is done with a message that was popped.
    pub(crate) fn release(&mut self, handle: Handle) {
        let Some(stored) = self.store.get(handle).filter(|stored| stored.stage == Stage::Lent) else {
            return;
        };
        let (numbers, len) = (stored.numbers, stored.total as usize);
        self.store.remove(handle);
        match numbers {
            Numbers::Delivery { .. } => self.consume(len),
            _ => self.unreliable_used = self.unreliable_used.saturating_sub(len + MESSAGE_OVERHEAD),
        }
    }

    /// Are there ready messages whose bytes are in the datagram?
    pub(crate) fn has_in_place(&self) -> bool {
        self.ready.has_in_place()
    }

    /// Copies what is ready in place to storage, so that the buffer of the datagram can be used again.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for a socket that many peers share, whose buffer cannot wait")
    )]
    pub(crate) fn detach(&mut self, datagram: &[u8]) {
        for position in self.ready.positions() {
            if !self.has_in_place() {
                break;
            }
            let Some((turn, start, len)) = self.ready.in_place(position) else { continue };
            let bytes = datagram.get(start..start.saturating_add(len)).unwrap_or_default();
            debug_assert_eq!(bytes.len(), len, "another buffer than the one inserted from");
            let unreliable = !matches!(turn.numbers, Numbers::Delivery { .. });
            let fits = !unreliable || self.make_room(len);
            let handle =
                if fits { self.shelve(turn.lane, turn.numbers, None, bytes, Stage::Ready) } else { None };
            self.counters.evicted += u64::from(handle.is_none());
            self.ready.moved(position, handle);
        }
        self.ready.tidy(&self.store);
    }

    /// The sender gives up the `Delivery` message `index`, which would have taken `charge` bytes of the window.
    ///
    /// # Errors
    /// `Bound` when the index is out of reach or leaves too many gaps.
    pub(crate) fn skip(
        &mut self,
        now: Instant,
        lane: u8,
        index: u64,
        charge: u64,
    ) -> Result<Answer, Violation> {
        let at = self.lanes.open(lane);
        match at.span.standing(index) {
            Standing::Beyond => return Err(Violation::Bound),
            Standing::Complete => return Ok(Answer::Have),
            Standing::Settled if at.was_skipped(index) => return Ok(Answer::Skipped),
            Standing::Settled => return Ok(Answer::Have),
            Standing::Open => {}
        }
        self.note_reach(lane, index)?;
        self.lanes.open(lane).note_skip(index)?;
        if let Some(handle) = self.lanes.open(lane).arriving(&self.store, index) {
            self.drop_delivery_partial(lane, index, handle);
        }
        let most = u64::from(self.limits.max_message) + MESSAGE_OVERHEAD as u64;
        self.consumed = self.consumed.saturating_add(charge.min(most));
        self.counters.skipped += 1;
        self.lanes.open(lane).span.settle(index);
        self.follow(now, lane);
        Ok(Answer::Skipped)
    }

    /// The limit to tell the peer, when it has moved by a quarter of the window since the last time.
    pub(crate) fn window_update(&mut self) -> Option<u64> {
        let limit = self.window_limit();
        let step = (self.limits.window_bytes as u64 / 4).max(1);
        if limit.saturating_sub(self.advertised) < step {
            return None;
        }
        self.advertised = limit;
        Some(limit)
    }

    /// The limit as it is now: bytes of `Delivery` messages, overhead included, that the peer may have sent in all.
    pub(crate) fn window_limit(&self) -> u64 {
        self.consumed.saturating_add(self.limits.window_bytes as u64)
    }

    /// Is there nothing in here, neither ready nor waiting nor incomplete nor lent?
    pub(crate) fn is_idle(&self) -> bool {
        self.store.is_empty() && !self.ready.has_in_place()
    }

    /// Gives back all memory that is not in use.
    pub(crate) fn shrink(&mut self) {
        self.rest_parities();
        let store = &self.store;
        self.kept.retain(|&handle| store.get(handle).is_some());
        self.kept.rest();
        self.partials.rest();
        self.ready.shrink(store);
        self.lanes.shrink();
        self.store.shrink();
    }

    pub(crate) fn counters(&self) -> RecvCounters {
        self.counters
    }

    /// Bytes of `Delivery` messages that are here, as the window counts them.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn delivery_used(&self) -> usize {
        self.delivery_used
    }

    /// Bytes of `None` and `Order` messages in storage, as their budget counts them.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn unreliable_used(&self) -> usize {
        self.unreliable_used
    }
}

/// The moment after which a message of this remaining life must not be yielded. PROTOCOL.md, "Expiry".
fn late_after(now: Instant, life: Option<u32>) -> Option<Instant> {
    life.and_then(|ms| now.checked_add(Duration::from_millis(ms.into())))
}

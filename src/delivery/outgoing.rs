//! Messages that wait to be sent or acknowledged: a slab of records whose buffers are recycled. Knows nothing of
//! packets; a stale reference (a slot reused by another message) is recognised by the message's id.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use super::{Guarantee, on_demand::Empty, parity::Cut, payload::Payload, ranges::Ranges, resend::Repeat};
use crate::{config::MESSAGE_OVERHEAD, wire::message::Numbers};

/// Buffers kept for reuse, at most this many and this many bytes in all; larger single ones are given back at once.
const POOL_BUFFERS: usize = 1_024;
const POOL_BYTES: usize = 1 << 20;
const POOL_BUFFER_BYTES: usize = 64 << 10;

/// Lists of ranges kept for reuse, and how many ranges one of them may have room for.
const POOL_RANGES: usize = 64;

/// One message of the application.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) id: u64,
    pub(crate) lane: u8,
    /// Where the lane stands among those in use.
    pub(crate) at: u8,
    pub(crate) guarantee: Guarantee,
    /// Which group of the lane it belongs to; becomes a set number when the first of the group is packed.
    pub(crate) tag: u64,
    /// Given when it is first packed.
    pub(crate) numbers: Option<Numbers>,
    /// Names a fragmented `None` or `Order` on the wire.
    pub(crate) wire_id: Option<u64>,
    pub(crate) bytes: Payload,
    /// How much of it was packed for the first time.
    pub(crate) packed: usize,
    /// Parts to be sent again.
    pub(crate) resend: Ranges,
    /// Parts that arrived.
    pub(crate) acked: Ranges,
    /// It stands in the queue of resends.
    pub(crate) resending: bool,
    /// How it is being repeated, if it is.
    pub(crate) repeat: Option<Repeat>,
    /// It stands in its lane's queue: some of it was never packed.
    pub(crate) queued: bool,
    /// What only a message with options needs.
    pub(crate) extras: Option<Box<Extras>>,
}

/// The state behind the options of a message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extras {
    /// Its sender wants to know what became of it.
    pub(crate) notice: bool,
    /// A newer message took its slot when it had left.
    pub(crate) superseded: bool,
    /// The slot that it holds.
    pub(crate) key: Option<u32>,
    /// When its life ends, and whether the peer is told.
    pub(crate) expires_at: Option<Instant>,
    pub(crate) drop_late: bool,
    /// Copies that may still leave, the time between them, and how much of the next one was packed.
    pub(crate) copies: u8,
    /// The measured loss decides how many when it first leaves.
    pub(crate) adaptive: bool,
    pub(crate) spacing: Duration,
    pub(crate) copied: usize,
    /// It goes with parities if it is cut, how it was, and how many of these were packed.
    pub(crate) parity: bool,
    pub(crate) cut: Option<Cut>,
    pub(crate) parities: u32,
    /// What of it is missing is sent again while that is worth it, if it was cut and some of it arrived; and whether it
    /// was, and when it left.
    pub(crate) mend: bool,
    pub(crate) in_parts: bool,
    pub(crate) left_at: Option<Instant>,
    /// When a part of it was packed last.
    pub(crate) packed_at: Option<Instant>,
    /// Parts on their way whose fate will be told.
    pub(crate) parts_out: u32,
}

impl Outgoing {
    /// Its numbers are given, so that the peer may come to know of it.
    pub(crate) fn is_begun(&self) -> bool {
        self.numbers.is_some()
    }

    /// The measured loss decides in how many datagrams it rides.
    pub(crate) fn is_adaptive(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.adaptive)
    }

    /// Its sender wants to know what became of it.
    pub(crate) fn notice(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.notice)
    }

    /// How it was cut for its parities.
    pub(crate) fn cut(&self) -> Option<Cut> {
        self.extras.as_ref()?.cut
    }

    /// Cuts it into pieces for datagrams that take `most` bytes of one, if it goes with parities.
    pub(crate) fn plan_cut(&mut self, most: usize) {
        let total = self.bytes.len();
        if let Some(extras) = self.extras.as_deref_mut().filter(|extras| extras.parity) {
            extras.cut = extras.cut.or_else(|| Cut::plan(total, most));
        }
    }

    /// All of it was packed; parities may be left.
    pub(crate) fn left_whole(&self) -> bool {
        self.packed > 0 && self.packed >= self.bytes.len()
    }

    /// What was acknowledged is enough for the peer to have all of it.
    pub(crate) fn has_arrived(&self) -> bool {
        let total = self.bytes.len();
        let enough = self.acked.covers(&(0..total as u64));
        self.packed >= total && (enough || self.cut().is_some_and(|cut| cut.suffices(&self.acked)))
    }

    /// Copies that may still leave.
    pub(crate) fn copies(&self) -> u8 {
        self.extras.as_ref().map_or(0, |extras| extras.copies)
    }

    /// Nothing of it is on its way whose fate is still to be told.
    pub(crate) fn is_settled(&self) -> bool {
        self.extras.as_ref().is_none_or(|extras| extras.parts_out == 0)
    }

    /// A part of it was packed.
    #[inline]
    pub(crate) fn on_part(&mut self, now: Instant, whole: bool) {
        let followed = self.is_followed(whole);
        if let Some(extras) = self.extras.as_deref_mut() {
            extras.packed_at = Some(now);
            extras.left_at = extras.left_at.or(Some(now));
            extras.in_parts |= !whole;
            extras.parts_out = extras.parts_out.saturating_add(followed.into());
        }
    }

    /// Whether the fate of its parts must be told, those that are `whole` or those that are not.
    pub(crate) fn is_followed(&self, whole: bool) -> bool {
        self.guarantee == Guarantee::Delivery || self.notice() || (self.mends() && !whole)
    }

    /// What becomes of it, or when, counts: it is no plain message that leaves once. Never changes while it is held.
    pub(crate) fn is_heeded(&self) -> bool {
        self.guarantee == Guarantee::Delivery || self.extras.is_some()
    }

    /// It is not repeated, but what is missing of it may be.
    pub(crate) fn mends(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.mend)
    }

    /// It left, and is kept only in case that a part of it must be sent again.
    pub(crate) fn is_kept(&self) -> bool {
        let in_parts = self.extras.as_ref().is_some_and(|extras| extras.mend && extras.in_parts);
        in_parts && !self.queued && !self.notice()
    }

    /// Milliseconds of life that are left, where the peer is told.
    pub(crate) fn life(&self, now: Instant) -> Option<u32> {
        let end = self.extras.as_ref().filter(|extras| extras.drop_late)?.expires_at?;
        Some(u32::try_from(end.saturating_duration_since(now).as_millis()).unwrap_or(u32::MAX))
    }
}

/// What a message costs a queue.
pub(crate) fn charge(len: usize) -> usize {
    len + MESSAGE_OVERHEAD
}

/// All messages of a session's sending half, by slot.
#[derive(Debug, Default)]
pub(crate) struct Slab {
    slots: Vec<Option<Outgoing>>,
    free: Vec<u32>,
    pool: Vec<Vec<u8>>,
    #[expect(clippy::vec_box, reason = "messages carry the box, so that it is kept and not what is inside")]
    extras: Vec<Box<Extras>>,
    /// Empty lists of ranges that have memory.
    ranges: Vec<Ranges>,
    pool_bytes: usize,
    messages: usize,
    /// Those among them that are to be repeated, or have options.
    heeded: usize,
    bytes: usize,
}

impl Slab {
    /// Bytes held, overhead included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// Whether there is any message whose fate or time counts.
    pub(crate) fn has_heeded(&self) -> bool {
        self.heeded > 0
    }

    /// An empty buffer, recycled if there is one.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        let buffer = self.pool.pop().unwrap_or_default();
        self.pool_bytes = self.pool_bytes.saturating_sub(buffer.capacity());
        buffer
    }

    /// A record for the options of a message, recycled if there is one.
    pub(crate) fn extras(&mut self, extras: Extras) -> Box<Extras> {
        match self.extras.pop() {
            Some(mut recycled) => {
                *recycled = extras;
                recycled
            }
            None => Box::new(extras),
        }
    }

    fn recycle(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        let fits = self.pool.len() < POOL_BUFFERS && self.pool_bytes + capacity <= POOL_BYTES;
        if capacity > 0 && capacity <= POOL_BUFFER_BYTES && fits {
            buffer.clear();
            self.pool_bytes += capacity;
            self.pool.push(buffer);
        }
    }

    /// Takes a message in. `None` only when more than 2^32 messages were held at once, which the limits exclude.
    #[inline]
    pub(crate) fn insert(&mut self, message: Outgoing) -> Option<u32> {
        let cost = charge(message.bytes.len());
        let heeded = message.is_heeded();
        let slot = match self.free.pop() {
            Some(slot) => {
                *self.slots.get_mut(slot as usize)? = Some(message);
                slot
            }
            None => {
                let slot = u32::try_from(self.slots.len()).ok()?;
                self.slots.push(Some(message));
                slot
            }
        };
        self.bytes += cost;
        self.messages += 1;
        self.heeded += usize::from(heeded);
        Some(slot)
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&Outgoing> {
        self.slots.get(slot as usize)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Outgoing> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// Whether message `id` is in `slot` and waits to be packed.
    pub(crate) fn is_queued(&self, slot: u32, id: u64) -> bool {
        self.get(slot).is_some_and(|message| message.id == id && message.queued)
    }

    /// The message in `slot` if it still is message `id`.
    #[inline]
    pub(crate) fn named(&mut self, slot: u32, id: u64) -> Option<&mut Outgoing> {
        self.get_mut(slot).filter(|message| message.id == id)
    }

    /// Notes that a part of a message arrived.
    pub(crate) fn note_acked(&mut self, slot: u32, part: Range<u64>) {
        let Self { slots, ranges, .. } = self;
        let Some(message) = slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        if message.acked.capacity() == 0 {
            message.acked = ranges.pop().unwrap_or_default();
        }
        message.acked.insert(part.clone());
        message.resend.remove(part);
    }

    /// Lets a message go and recycles its buffer.
    pub(crate) fn remove(&mut self, slot: u32) {
        let Some(held) = self.slots.get_mut(slot as usize) else { return };
        let Some(message) = held.as_mut() else { return };
        self.heeded -= usize::from(message.is_heeded());
        let (bytes, extras) = (std::mem::take(&mut message.bytes), message.extras.take());
        let mut acked = std::mem::take(&mut message.acked);
        *held = None;
        self.bytes = self.bytes.saturating_sub(charge(bytes.len()));
        self.messages -= 1;
        self.free.push(slot);
        if let Payload::Own(buffer) = bytes {
            self.recycle(buffer);
        }
        if (1..=POOL_RANGES).contains(&acked.capacity()) && self.ranges.len() < POOL_RANGES {
            acked.clear();
            self.ranges.push(acked);
        }
        if let Some(extras) = extras.filter(|_| self.extras.len() < POOL_BUFFERS) {
            self.extras.push(extras);
        }
    }

    /// The slots of messages that `wanted` picks, in no order.
    pub(crate) fn find(&self, wanted: impl Fn(&Outgoing) -> bool) -> Vec<u32> {
        let held = (0..).zip(&self.slots).filter_map(|(slot, held)| Some((slot, held.as_ref()?)));
        held.filter(|(_, message)| wanted(message)).map(|(slot, _)| slot).collect()
    }

    /// The messages held, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Outgoing> {
        self.slots.iter().flatten()
    }
}

impl Empty for Slab {
    const EMPTY: &'static Self = &Self {
        slots: Vec::new(),
        free: Vec::new(),
        pool: Vec::new(),
        extras: Vec::new(),
        ranges: Vec::new(),
        pool_bytes: 0,
        messages: 0,
        heeded: 0,
        bytes: 0,
    };

    fn rest(&mut self) -> bool {
        if self.messages == 0 {
            self.slots = Vec::new();
            self.free = Vec::new();
        }
        self.pool = Vec::new();
        self.extras = Vec::new();
        self.ranges = Vec::new();
        self.pool_bytes = 0;
        self.messages == 0
    }
}

//! Messages that wait to be sent or acknowledged: a slab of records whose buffers are recycled. Knows nothing of
//! packets; a stale reference (a slot reused by another message) is recognised by the message's id.

use super::{Guarantee, ranges::Ranges, resend::Repeat};
use crate::{config::MESSAGE_OVERHEAD, wire::message::Numbers};

/// Buffers kept for reuse, at most this many and this many bytes in all; larger single ones are given back at once.
const POOL_BUFFERS: usize = 1_024;
const POOL_BYTES: usize = 1 << 20;
const POOL_BUFFER_BYTES: usize = 64 << 10;

/// One message of the application.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) id: u64,
    pub(crate) lane: u8,
    pub(crate) guarantee: Guarantee,
    /// Which group of the lane it belongs to; becomes a set number when the first of the group is packed.
    pub(crate) tag: u64,
    /// Given when it is first packed.
    pub(crate) numbers: Option<Numbers>,
    /// Names a fragmented `None` or `Order` on the wire.
    pub(crate) wire_id: Option<u64>,
    pub(crate) bytes: Vec<u8>,
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
    pool_bytes: usize,
    messages: usize,
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

    /// An empty buffer, recycled if there is one.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        let buffer = self.pool.pop().unwrap_or_default();
        self.pool_bytes = self.pool_bytes.saturating_sub(buffer.capacity());
        buffer
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
    pub(crate) fn insert(&mut self, message: Outgoing) -> Option<u32> {
        let cost = charge(message.bytes.len());
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
        Some(slot)
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Outgoing> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Outgoing> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The message in `slot` if it still is message `id`.
    pub(crate) fn named(&mut self, slot: u32, id: u64) -> Option<&mut Outgoing> {
        self.get_mut(slot).filter(|message| message.id == id)
    }

    /// Lets a message go and recycles its buffer.
    pub(crate) fn remove(&mut self, slot: u32) {
        let Some(message) = self.slots.get_mut(slot as usize).and_then(Option::take) else { return };
        self.bytes = self.bytes.saturating_sub(charge(message.bytes.len()));
        self.messages -= 1;
        self.free.push(slot);
        self.recycle(message.bytes);
    }

    /// The messages held, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Outgoing> {
        self.slots.iter().flatten()
    }

    /// Gives back memory that an idle session does not need.
    pub(crate) fn shrink(&mut self) {
        if self.messages == 0 {
            self.slots = Vec::new();
            self.free = Vec::new();
        }
        self.pool = Vec::new();
        self.pool_bytes = 0;
    }
}

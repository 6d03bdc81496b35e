//! The sending half: takes messages in, packs them into packets in their order, sends lost parts again, lets go what
//! arrived. Knows no clock; the owner decides when a packet may leave and how large it is.

use std::collections::VecDeque;

use super::{
    Guarantee, MessageId,
    outgoing::{Outgoing, Slab, charge},
    ranges::Ranges,
    recovery::Fate,
    resend::Repeats,
    send_lane::SendLane,
};
use crate::{
    config::{Config, NewSetUnsent},
    error::SendError,
    wire::message::Numbers,
};

/// What the queue may hold and how long messages may be.
#[derive(Clone, Copy, Debug)]
struct Limits {
    bytes: usize,
    messages: usize,
    delivery: usize,
    unreliable: usize,
}

/// Messages on their way out.
#[derive(Debug)]
pub(crate) struct SendQueue {
    own_limits: Limits,
    /// The same, cut down to what the session's peer takes.
    limits: Limits,
    new_set_unsent: NewSetUnsent,
    pub(super) slab: Slab,
    pub(super) lanes: Vec<SendLane>,
    /// Slots and ids of messages with parts to be sent again, in the order in which they were found lost.
    pub(super) resends: VecDeque<(u32, u64)>,
    /// Small messages whose latest copy has not been heard of, by turns.
    pub(crate) repeats: Repeats,
    building: Vec<u8>,
    next_id: u64,
    /// Bytes of messages never packed, with a little for each frame's head.
    pub(super) unsent_bytes: usize,
    /// Charge of all `Delivery` messages packed in this session, and how far the peer lets it go.
    pub(super) window_used: u64,
    window_limit: u64,
    /// Parts sent again.
    pub(crate) resent_parts: u64,
    /// Messages taken in, by guarantee.
    pub(crate) sent: [u64; 3],
}

/// Bytes that a frame's head costs about, to guess when a datagram is full.
pub(super) const HEAD_GUESS: usize = 3;

impl SendQueue {
    pub(crate) fn new(config: &Config) -> Self {
        let limits = Limits {
            bytes: config.send_queue_bytes,
            messages: config.send_queue_messages,
            delivery: config.max_message_bytes as usize,
            unreliable: config.max_unreliable_bytes as usize,
        };
        Self {
            own_limits: limits,
            limits,
            new_set_unsent: config.new_set_unsent,
            slab: Slab::default(),
            lanes: Vec::new(),
            resends: VecDeque::new(),
            repeats: Repeats::default(),
            building: Vec::new(),
            next_id: 1,
            unsent_bytes: 0,
            window_used: 0,
            window_limit: 0,
            resent_parts: 0,
            sent: [0; 3],
        }
    }

    /// A session begins: the smaller of both sides' limits hold from now on. Messages that were queued before and are
    /// too long for it are dropped and named.
    pub(crate) fn start(&mut self, max_message: usize, window: u64) -> Vec<MessageId> {
        self.limits.delivery = self.own_limits.delivery.min(max_message);
        self.limits.unreliable = self.own_limits.unreliable.min(max_message);
        self.window_limit = window;
        let Self { slab, lanes, limits, unsent_bytes, .. } = self;
        let mut refused = Vec::new();
        for lane in lanes {
            for queue in [&mut lane.ordered, &mut lane.unordered] {
                queue.retain(|&slot| {
                    let Some(message) = slab.get(slot) else { return false };
                    let reliable = message.guarantee == Guarantee::Delivery;
                    let max = if reliable { limits.delivery } else { limits.unreliable };
                    let (id, len) = (MessageId(message.id), message.bytes.len());
                    if len > max {
                        *unsent_bytes = unsent_bytes.saturating_sub(len + HEAD_GUESS);
                        refused.push(id);
                        slab.remove(slot);
                    }
                    len <= max
                });
            }
        }
        refused.sort_unstable();
        refused
    }

    /// Where the lane stands in `lanes`; it is made on first use.
    fn lane_at(&mut self, lane: u8) -> usize {
        self.lanes.iter().position(|known| known.lane == lane).unwrap_or_else(|| {
            self.lanes.push(SendLane::new(lane));
            self.lanes.len() - 1
        })
    }

    /// Largest message of a guarantee, in bytes.
    pub(crate) fn max_len(&self, guarantee: Guarantee) -> usize {
        match guarantee {
            Guarantee::Delivery => self.limits.delivery,
            Guarantee::None | Guarantee::Order => self.limits.unreliable,
        }
    }

    fn check(&self, guarantee: Guarantee, len: usize) -> Result<(), SendError> {
        let max = self.max_len(guarantee);
        if len > max {
            return Err(SendError::TooLarge { len, max });
        }
        let full = self.slab.bytes() + charge(len) > self.limits.bytes
            || self.slab.messages() >= self.limits.messages;
        if full {
            return Err(SendError::Full {
                queued_bytes: self.slab.bytes(),
                queued_messages: self.slab.messages(),
            });
        }
        Ok(())
    }

    /// Queues a copy of `bytes` as one message.
    pub(crate) fn send(
        &mut self,
        lane: u8,
        guarantee: Guarantee,
        bytes: &[u8],
    ) -> Result<MessageId, SendError> {
        if !self.building.is_empty() {
            return Err(SendError::Unsent { len: self.building.len() });
        }
        self.check(guarantee, bytes.len())?;
        let mut buffer = self.slab.buffer();
        buffer.extend_from_slice(bytes);
        Ok(self.queue(lane, guarantee, buffer))
    }

    /// Appends to the message that is being built; a failed call appends nothing.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        let (len, max) = (self.building.len() + bytes.len(), self.limits.delivery);
        if len > max {
            return Err(SendError::TooLarge { len, max });
        }
        if self.building.capacity() == 0 {
            self.building = self.slab.buffer();
        }
        self.building.extend_from_slice(bytes);
        Ok(())
    }

    /// Bytes of the message that is being built.
    pub(crate) fn written(&self) -> usize {
        self.building.len()
    }

    pub(crate) fn clear_written(&mut self) {
        self.building.clear();
    }

    /// Queues what was written. When it fails, the bytes stay for another try or for `clear_written`.
    pub(crate) fn send_written(&mut self, lane: u8, guarantee: Guarantee) -> Result<MessageId, SendError> {
        self.check(guarantee, self.building.len())?;
        let buffer = std::mem::take(&mut self.building);
        Ok(self.queue(lane, guarantee, buffer))
    }

    fn queue(&mut self, lane: u8, guarantee: Guarantee, bytes: Vec<u8>) -> MessageId {
        let id = self.next_id;
        self.next_id += 1;
        let at = self.lane_at(lane);
        let len = bytes.len();
        let Some(lane_queue) = self.lanes.get_mut(at) else { return MessageId(id) };
        let message = Outgoing {
            id,
            lane,
            guarantee,
            tag: lane_queue.tag_for(guarantee),
            numbers: None,
            wire_id: None,
            bytes,
            packed: 0,
            resend: Ranges::default(),
            acked: Ranges::default(),
            resending: false,
            repeat: None,
        };
        if let Some(slot) = self.slab.insert(message) {
            match guarantee {
                Guarantee::None => lane_queue.unordered.push_back(slot),
                Guarantee::Order | Guarantee::Delivery => lane_queue.ordered.push_back(slot),
            }
            self.unsent_bytes += len + HEAD_GUESS;
            if let Some(count) = self.sent.get_mut(guarantee as usize) {
                *count += 1;
            }
        }
        MessageId(id)
    }

    /// From now on the lane's `Order` and `Delivery` messages form one set, until `close_set`.
    pub(crate) fn open_set(&mut self, lane: u8) -> Result<(), SendError> {
        let at = self.lane_at(lane);
        if self.lanes.get(at).is_some_and(SendLane::is_open) {
            return Err(SendError::SetOpen);
        }
        if !self.building.is_empty() {
            match self.new_set_unsent {
                NewSetUnsent::Error => return Err(SendError::Unsent { len: self.building.len() }),
                NewSetUnsent::Clear => self.building.clear(),
                NewSetUnsent::IntoSet => {}
            }
        }
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.open_set();
        }
        Ok(())
    }

    pub(crate) fn close_set(&mut self, lane: u8) -> Result<(), SendError> {
        let lane = self.lanes.iter_mut().find(|known| known.lane == lane && known.is_open());
        lane.map(SendLane::close_set).ok_or(SendError::NoSetOpen)
    }

    /// The peer lets `Delivery` messages go up to this absolute charge.
    pub(crate) fn raise_window(&mut self, limit: u64) {
        self.window_limit = self.window_limit.max(limit);
    }

    /// Whether a `Delivery` of `len` bytes may be packed for the first time.
    pub(super) fn window_admits(&self, len: usize) -> bool {
        self.window_used.saturating_add(charge(len) as u64) <= self.window_limit
    }

    /// Learns the fate of a part that was sent.
    pub(crate) fn settle(&mut self, slot: u32, id: u64, (offset, len): (u32, u32), fate: Fate) {
        let Some(message) = self.slab.named(slot, id) else { return };
        let part = u64::from(offset)..u64::from(offset) + u64::from(len);
        let total = message.bytes.len() as u64;
        match fate {
            Fate::Acked => {
                // A message that went out whole is done by one acknowledgement, without any bookkeeping of ranges.
                let whole = part == (0..total);
                if !whole {
                    message.acked.insert(part.clone());
                    message.resend.remove(part);
                }
                if whole || (message.acked.covers(&(0..total)) && message.packed as u64 >= total) {
                    self.release(slot);
                }
            }
            Fate::Lost | Fate::Overdue => {
                let empty = part.is_empty();
                let Outgoing { acked, resend, .. } = message;
                acked.gaps(part).for_each(|gap| resend.insert(gap));
                if (empty || !message.resend.is_empty()) && !message.resending {
                    message.resending = true;
                    self.resends.push_back((slot, id));
                }
            }
        }
    }

    /// Every byte of a `Delivery` arrived.
    fn release(&mut self, slot: u32) {
        let Some(message) = self.slab.get(slot) else { return };
        let lane = self.lanes.iter_mut().find(|known| known.lane == message.lane);
        if let (Some(lane), Some(Numbers::Delivery { index, .. })) = (lane, message.numbers) {
            lane.on_acked(index);
        }
        self.slab.remove(slot);
    }

    /// The session is over: everything is dropped. Names each `Delivery` that was not acknowledged, oldest first.
    pub(crate) fn end_session(&mut self) -> Vec<MessageId> {
        let mut undelivered: Vec<MessageId> = self
            .slab
            .iter()
            .filter(|message| message.guarantee == Guarantee::Delivery)
            .map(|message| MessageId(message.id))
            .collect();
        undelivered.sort_unstable();
        self.slab = Slab::default();
        self.resends.clear();
        self.repeats.clear();
        self.lanes.iter_mut().for_each(SendLane::reset);
        self.unsent_bytes = 0;
        self.window_used = 0;
        self.window_limit = 0;
        self.limits = self.own_limits;
        undelivered
    }

    /// Bytes queued or unacknowledged, overhead included.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.slab.bytes()
    }

    pub(crate) fn queued_messages(&self) -> usize {
        self.slab.messages()
    }

    /// Bytes that were never packed, frame heads guessed.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    pub(crate) fn has_resends(&self) -> bool {
        !self.resends.is_empty()
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.ordered.is_empty() || !lane.unordered.is_empty())
    }

    /// Gives back memory that an idle session does not need.
    pub(crate) fn shrink(&mut self) {
        self.slab.shrink();
        self.lanes.iter_mut().for_each(SendLane::shrink);
        self.resends.shrink_to_fit();
        self.repeats.shrink();
        if self.building.is_empty() {
            self.building = Vec::new();
        }
    }
}

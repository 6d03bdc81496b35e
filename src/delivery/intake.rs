//! Messages in: what a lane's queue admits, what gives way to a newer message, and the message that is built in place.
//! Knows nothing of packets. A refused call leaves everything as it was. PROTOCOL.md, "Numbering".

use std::time::Instant;

use super::{
    MessageId, expiry,
    notices::Outcome,
    options::{LaneOptions, LanePolicy, SendOptions},
    outgoing::{Outgoing, charge},
    ranges::Ranges,
    send::{HEAD_GUESS, SendQueue},
    send_lane::{Entry, SendLane},
};
use crate::{
    config::{MESSAGE_OVERHEAD, NewSetUnsent},
    error::SendError,
};

impl SendQueue {
    /// What the queue of a lane may hold, in bytes and messages.
    fn bounds(&self, at: usize) -> (usize, usize) {
        let options = self.lanes.get(at).map_or_else(LaneOptions::default, |lane| lane.options);
        (
            options.queue_bytes.unwrap_or(self.limits.bytes),
            options.queue_messages.unwrap_or(self.limits.messages),
        )
    }

    /// Whether a message of `len` bytes has room, when one of `freed` bytes goes.
    fn has_room(&self, at: usize, len: usize, freed: Option<usize>) -> bool {
        let (bytes, messages) = self.bounds(at);
        let (free_bytes, free_messages) = freed.map_or((0, 0), |freed| (charge(freed), 1));
        self.lanes.get(at).is_some_and(|lane| {
            lane.bytes.saturating_sub(free_bytes) + charge(len) <= bytes
                && lane.messages.saturating_sub(free_messages) < messages
        })
    }

    /// Makes sure that a message may be taken, and drops older ones for it where the lane says so.
    fn admit(&mut self, at: usize, options: &SendOptions, len: usize) -> Result<(), SendError> {
        let room = self.bounds(at).0.saturating_sub(MESSAGE_OVERHEAD);
        let max = self.max_len(options.guarantee).min(room);
        if len > max {
            return Err(SendError::TooLarge { len, max });
        }
        let fits = !options.notice || self.notices_fit(self.limits.messages);
        while !(fits
            && self.has_room(at, len, self.slot_holder(at, options.slot).and_then(|(_, unsent)| unsent)))
        {
            let Some(lane) = self.lanes.get(at) else { break };
            let full = SendError::Full { queued_bytes: lane.bytes, queued_messages: lane.messages };
            if !fits || lane.options.policy == LanePolicy::Block || !self.drop_oldest(at) {
                return Err(full);
            }
        }
        Ok(())
    }

    /// Drops the oldest unsent message of a lane that is no `Delivery`; whether there was one.
    fn drop_oldest(&mut self, at: usize) -> bool {
        let slab = &self.slab;
        let unsent = |entry: &Entry| {
            slab.is_queued(entry.slot, entry.id)
                && slab.get(entry.slot).is_some_and(|message| !message.is_begun())
        };
        let Some(oldest) = self.lanes.get(at).and_then(|lane| lane.oldest_unreliable(unsent)) else {
            return false;
        };
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.counts.dropped += 1;
        }
        self.finish(oldest.slot, Outcome::Lost);
        true
    }

    /// Whether the lane's queue has room for a message of `len` bytes.
    pub(crate) fn can_send(&self, lane: u8, len: usize) -> bool {
        match self.lanes.iter().position(|known| known.lane == lane) {
            Some(at) => len <= self.limits.delivery && self.has_room(at, len, None),
            None => len <= self.limits.delivery && charge(len) <= self.limits.bytes,
        }
    }

    /// Queues a copy of `bytes` as one message, whose life ends at `expires_at`.
    pub(crate) fn send(
        &mut self,
        options: &SendOptions,
        expires_at: Option<Instant>,
        bytes: &[u8],
    ) -> Result<MessageId, SendError> {
        if !self.building.is_empty() {
            return Err(SendError::Unsent { len: self.building.len() });
        }
        let at = self.lane_at(options.lane.0);
        self.admit(at, options, bytes.len())?;
        let mut buffer = self.slab.buffer();
        buffer.extend_from_slice(bytes);
        Ok(self.queue(at, options, expires_at, buffer))
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
    pub(crate) fn send_written(
        &mut self,
        options: &SendOptions,
        expires_at: Option<Instant>,
    ) -> Result<MessageId, SendError> {
        let at = self.lane_at(options.lane.0);
        self.admit(at, options, self.building.len())?;
        let buffer = std::mem::take(&mut self.building);
        Ok(self.queue(at, options, expires_at, buffer))
    }

    fn queue(
        &mut self,
        at: usize,
        options: &SendOptions,
        expires_at: Option<Instant>,
        bytes: Vec<u8>,
    ) -> MessageId {
        let id = self.next_id;
        self.next_id += 1;
        if let Some((older, _)) = self.slot_holder(at, options.slot) {
            self.supersede(older);
        }
        if self.lanes.get(at).is_some_and(SendLane::is_empty) {
            self.join(at);
        }
        let begun = self.front_is_begun(at);
        let Some(lane) = self.lanes.get_mut(at) else { return MessageId(id) };
        let tag = lane.tag_for(options.guarantee);
        let len = bytes.len();
        let message = outgoing((id, at, tag), options, expires_at, bytes);
        let Some(slot) = self.slab.insert(message) else { return MessageId(id) };
        lane.push(Entry::new((slot, id, tag), options), begun);
        lane.bytes += charge(len);
        lane.messages += 1;
        lane.unsent_bytes += len;
        lane.counts.sent += 1;
        if let Some(key) = options.slot {
            lane.slots.hold(key, slot, id);
        }
        self.unsent_bytes += len + HEAD_GUESS;
        self.unsent_messages += 1;
        if let Some(end) = expires_at {
            self.set_alarm(end, expiry::Alarm::Expired, slot, id);
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
}

/// The record of a new message, by its id, its lane's place and its group.
fn outgoing(
    (id, at, tag): (u64, usize, u64),
    options: &SendOptions,
    expires_at: Option<Instant>,
    bytes: Vec<u8>,
) -> Outgoing {
    Outgoing {
        id,
        lane: options.lane.0,
        // There are 256 lanes, so that each has a place below that.
        at: u8::try_from(at).unwrap_or(u8::MAX),
        guarantee: options.guarantee,
        tag,
        numbers: None,
        wire_id: None,
        bytes,
        packed: 0,
        resend: Ranges::default(),
        acked: Ranges::default(),
        resending: false,
        repeat: None,
        queued: true,
        notice: options.notice,
        superseded: false,
        key: options.slot,
        expires_at,
        drop_late: options.drop_late,
        copies: options.copies.saturating_sub(1),
        spacing: options.spacing,
        copied: 0,
        packed_at: None,
        parts_out: 0,
    }
}

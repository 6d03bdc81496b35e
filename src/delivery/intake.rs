//! Messages in: what a lane's queue admits, what gives way to a newer message, and the message that is built in place.
//! Knows nothing of packets. A refused call leaves everything as it was. PROTOCOL.md, "Numbering".

use std::{sync::Arc, time::Instant};

use super::{
    Guarantee, MessageId, expiry,
    mend::{self, LEAST_MENDED},
    notices::Outcome,
    options::{LanePolicy, SendOptions},
    outgoing::{Extras, Outgoing, charge},
    payload::Payload,
    ranges::Ranges,
    send::{HEAD_GUESS, SendQueue},
    send_lane::{Entry, SendLane},
};
use crate::{
    config::{MESSAGE_OVERHEAD, NewSetUnsent},
    error::SendError,
};

impl SendQueue {
    /// Makes sure that a message may be taken, and drops older ones for it where the lane says so.
    fn admit(&mut self, at: usize, options: &SendOptions, len: usize) -> Result<(), SendError> {
        let Some(lane) = self.lanes.get(at) else { return Ok(()) };
        let max = self.max_len(options.guarantee).min(lane.most_bytes.saturating_sub(MESSAGE_OVERHEAD));
        if len > max {
            return Err(SendError::TooLarge { len, max });
        }
        let told = !options.notice || self.notices_fit(self.limits.messages);
        if told && lane.has_room(charge(len), (0, 0)) {
            return Ok(());
        }
        if told { self.make_room(at, options.slot, len) } else { Err(full(lane)) }
    }

    /// Drops older messages until one of `len` bytes has room, if the lane says so.
    #[cold]
    fn make_room(&mut self, at: usize, key: Option<u32>, len: usize) -> Result<(), SendError> {
        while let Some(lane) = self.lanes.get(at) {
            // What the new message replaces leaves room.
            let replaced = self.slot_holder(at, key).and_then(|(_, unsent)| unsent);
            let freed = replaced.map_or((0, 0), |len| (charge(len), 1));
            if lane.has_room(charge(len), freed) {
                break;
            }
            // What left, and waits only for bad news, gives way.
            if self.drop_kept(at) {
                continue;
            }
            let Some(lane) = self.lanes.get(at) else { break };
            let refusal = full(lane);
            if lane.options.policy == LanePolicy::Block || !self.drop_oldest(at) {
                return Err(refusal);
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
        let unused = SendLane::new(lane, self.bounds());
        let lane = self.lanes.iter().find(|known| known.lane == lane).unwrap_or(&unused);
        len <= self.limits.delivery && lane.has_room(charge(len), (0, 0))
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
        Ok(self.queue(at, options, expires_at, Payload::Own(buffer)))
    }

    /// Queues bytes that other queues hold too as one message.
    pub(crate) fn send_shared(
        &mut self,
        options: &SendOptions,
        expires_at: Option<Instant>,
        bytes: &Arc<[u8]>,
    ) -> Result<MessageId, SendError> {
        if !self.building.is_empty() {
            return Err(SendError::Unsent { len: self.building.len() });
        }
        let at = self.lane_at(options.lane.0);
        self.admit(at, options, bytes.len())?;
        Ok(self.queue(at, options, expires_at, Payload::Shared(Arc::clone(bytes))))
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
        Ok(self.queue(at, options, expires_at, Payload::Own(buffer)))
    }

    fn queue(
        &mut self,
        at: usize,
        options: &SendOptions,
        expires_at: Option<Instant>,
        bytes: Payload,
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
        let extras = extras(options, expires_at, len).map(|extras| self.slab.extras(extras));
        let message = outgoing((id, at, tag), options, extras, bytes);
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

fn full(lane: &SendLane) -> SendError {
    SendError::Full { queued_bytes: lane.bytes, queued_messages: lane.messages }
}

/// What the options ask for beyond the guarantee.
fn extras(options: &SendOptions, expires_at: Option<Instant>, len: usize) -> Option<Extras> {
    let SendOptions { notice, drop_late, copies, spacing, adaptive, slot: key, .. } = *options;
    let parity = options.parity && options.guarantee != Guarantee::Delivery;
    let mend = len >= LEAST_MENDED && mend::may_mend(options.guarantee, expires_at);
    let plain =
        !notice && copies <= 1 && !adaptive && !parity && !mend && key.is_none() && expires_at.is_none();
    let copies = copies.saturating_sub(1);
    (!plain).then(|| Extras {
        notice,
        key,
        expires_at,
        drop_late,
        copies,
        adaptive,
        spacing,
        parity,
        mend,
        ..Extras::default()
    })
}

/// The record of a new message, by its id, its lane's place and its group.
fn outgoing(
    (id, at, tag): (u64, usize, u64),
    options: &SendOptions,
    extras: Option<Box<Extras>>,
    bytes: Payload,
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
        extras,
    }
}

//! The sending half: takes messages in, packs them into packets in their order, sends lost parts again, lets go what
//! arrived. This file holds its state and what a session's begin, its fates and its end change; `intake`, `schedule`,
//! `pack` and the others do the rest. It is told the time; the owner decides when a packet may leave.

use std::{
    collections::{BinaryHeap, VecDeque},
    time::Instant,
};

use super::{
    Guarantee, MessageId, expiry,
    notices::{Notices, Outcome},
    on_demand::OnDemand,
    options::LaneOptions,
    outgoing::{Outgoing, Slab, charge},
    recovery::Fate,
    resend::Repeats,
    send_lane::SendLane,
    skips::Skip,
};
use crate::{
    config::{Config, NewSetUnsent},
    error::ConfigError,
    wire::message::Numbers,
};

/// What a lane's queue may hold unless it says otherwise, and how long messages may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    pub(super) messages: usize,
    pub(super) delivery: usize,
    pub(super) unreliable: usize,
}

/// Messages on their way out.
#[derive(Debug)]
pub(crate) struct SendQueue {
    /// The configuration's, cut down to what the session's peer takes.
    pub(super) limits: Limits,
    pub(super) new_set_unsent: NewSetUnsent,
    pub(super) slab: OnDemand<Slab>,
    pub(super) lanes: Vec<SendLane>,
    /// Slots and ids of messages with parts to be sent again, in the order in which they were found lost.
    pub(super) resends: OnDemand<VecDeque<(u32, u64)>>,
    /// Small messages whose latest copy has not been heard of, by turns.
    pub(super) repeats: OnDemand<Repeats>,
    /// Messages and fragments that were sent again although the first copy arrived.
    pub(crate) needless: u64,
    /// Copies that the path's loss calls for, where a message leaves that to us.
    pub(super) redundancy: u8,
    /// Slots and ids of messages of which a copy is due, and of those whose copies ride along.
    pub(super) copies_due: OnDemand<VecDeque<(u32, u64)>>,
    pub(super) riding: OnDemand<VecDeque<(u32, u64)>>,
    pub(super) alarms: OnDemand<BinaryHeap<expiry::Entry>>,
    /// Messages given up whose end the peer has not confirmed, and how many of them wait for room in a packet or for
    /// an answer to others.
    pub(super) skips: OnDemand<VecDeque<Skip>>,
    pub(super) skips_waiting: usize,
    pub(super) skips_held: usize,
    pub(super) notices: Notices,
    /// The time, as far as it was told.
    pub(super) clock: Option<Instant>,
    pub(super) building: Vec<u8>,
    pub(super) next_id: u64,
    /// Messages not wholly packed, and their bytes with a little for each frame's head.
    pub(super) unsent_messages: usize,
    pub(super) unsent_bytes: usize,
    /// Charge of all `Delivery` messages packed in this session, and how far the peer lets it go.
    pub(super) window_used: u64,
    pub(super) window_limit: u64,
    /// Charge of `Delivery` messages that one lane may have given out from its oldest unacknowledged one on.
    pub(super) lane_limit: u64,
    /// Parts sent again.
    pub(crate) resent_parts: u64,
    /// Parities sent.
    pub(crate) parities: u32,
}

/// Bytes that a frame's head costs about, to guess when a datagram is full.
pub(super) const HEAD_GUESS: usize = 3;

impl SendQueue {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            limits: Limits::new(config),
            new_set_unsent: config.new_set_unsent,
            slab: OnDemand::default(),
            lanes: Vec::new(),
            resends: OnDemand::default(),
            repeats: OnDemand::default(),
            needless: 0,
            redundancy: 0,
            copies_due: OnDemand::default(),
            riding: OnDemand::default(),
            alarms: OnDemand::default(),
            skips: OnDemand::default(),
            skips_waiting: 0,
            skips_held: 0,
            notices: Notices::default(),
            clock: None,
            building: Vec::new(),
            next_id: 1,
            unsent_messages: 0,
            unsent_bytes: 0,
            window_used: 0,
            window_limit: 0,
            lane_limit: 0,
            resent_parts: 0,
            parities: 0,
        }
    }

    /// A session begins: the smaller of both sides' limits hold from now on. Messages that were queued before and are
    /// too long for it are dropped and named.
    pub(crate) fn start(&mut self, max_message: usize, window: u64) -> Vec<MessageId> {
        self.limits.delivery = self.limits.delivery.min(max_message);
        self.limits.unreliable = self.limits.unreliable.min(max_message);
        self.window_limit = window;
        self.lane_limit = window;
        let limits = self.limits;
        let too_long = self.slab.find(|message| message.bytes.len() > limits.longest(message.guarantee));
        let mut refused = Vec::with_capacity(too_long.len());
        for slot in too_long {
            refused.extend(self.slab.get(slot).map(|message| MessageId(message.id)));
            self.finish(slot, Outcome::Lost);
        }
        refused.sort_unstable();
        refused
    }

    /// Where the lane stands in `lanes`; it is made on first use.
    pub(super) fn lane_at(&mut self, lane: u8) -> usize {
        self.lanes.iter().position(|known| known.lane == lane).unwrap_or_else(|| {
            self.lanes.push(SendLane::new(lane, self.bounds()));
            self.lanes.len() - 1
        })
    }

    /// What a lane's queue may hold unless it says otherwise, in bytes and messages.
    pub(super) fn bounds(&self) -> (usize, usize) {
        (self.limits.bytes, self.limits.messages)
    }

    /// How a lane shares the line and bounds its queue, from now on.
    pub(crate) fn set_lane(&mut self, lane: u8, options: LaneOptions) -> Result<(), ConfigError> {
        options.check()?;
        let (at, bounds) = (self.lane_at(lane), self.bounds());
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.set_options(options, bounds);
            // Turns of another priority, or by another weight, say nothing here.
            lane.turn = 0;
        }
        self.join(at);
        Ok(())
    }

    /// Largest message of a guarantee, in bytes.
    pub(crate) fn max_len(&self, guarantee: Guarantee) -> usize {
        self.limits.longest(guarantee)
    }

    // ---- flow control and fates ----

    /// The peer lets `Delivery` messages go up to this absolute charge.
    pub(crate) fn raise_window(&mut self, limit: u64) {
        self.window_limit = self.window_limit.max(limit);
        // The peer has consumed no more than was ever used, so its window is at least the difference.
        self.lane_limit = self.lane_limit.max(limit.saturating_sub(self.window_used) / 2);
    }

    /// Whether a `Delivery` of `len` bytes may be packed for the first time on a lane. PROTOCOL.md, "Flow control".
    pub(super) fn window_admits(&self, at: usize, len: usize) -> bool {
        let Some(lane) = self.lanes.get(at) else { return false };
        let charge = charge(len);
        self.window_used.saturating_add(charge as u64) <= self.window_limit
            && lane.window_admits(charge, self.lane_limit)
            && lane.has_index_room(|| self.lanes.iter().map(SendLane::span).sum())
    }

    #[cfg(test)]
    pub(crate) fn ignore_lane_limits(&mut self) {
        self.lane_limit = u64::MAX;
    }

    /// Learns the fate of a part that was sent.
    pub(super) fn settle(&mut self, slot: u32, id: u64, (offset, len): (u32, u32), fate: Fate) {
        let Some(message) = self.slab.named(slot, id) else { return };
        let part = u64::from(offset)..u64::from(offset) + u64::from(len);
        let total = message.bytes.len() as u64;
        let repeated = message.guarantee == Guarantee::Delivery;
        if fate == Fate::Acked {
            // A message that went out whole is done by one acknowledgement, without any bookkeeping of ranges.
            let whole = part == (0..total);
            if !whole {
                self.slab.note_acked(slot, part);
            }
            if whole || self.slab.get(slot).is_some_and(Outgoing::has_arrived) {
                self.release(slot);
            } else if !repeated {
                self.on_unrepeated(slot);
            }
            return;
        }
        if let Some(lane) = self.lanes.get_mut(usize::from(message.at)) {
            lane.counts.lost_parts += 1;
        }
        if !repeated {
            return self.on_unrepeated(slot);
        }
        let empty = part.is_empty();
        let Outgoing { acked, resend, .. } = message;
        acked.gaps(part).for_each(|gap| resend.insert(gap));
        if (empty || !message.resend.is_empty()) && !message.resending {
            message.resending = true;
            self.resends.push_back((slot, id));
        }
    }

    /// Every byte of a message arrived.
    fn release(&mut self, slot: u32) {
        let Some(message) = self.slab.get(slot) else { return };
        let lane = self.lanes.get_mut(usize::from(message.at));
        if let (Some(lane), Some(Numbers::Delivery { index, .. })) = (lane, message.numbers) {
            lane.on_acked(index);
        }
        self.finish(slot, Outcome::Acked);
        self.release_skips();
    }

    /// The session is over: everything is dropped. Names each `Delivery` that was not acknowledged, oldest first.
    pub(crate) fn end_session(&mut self, config: &Config) -> Vec<MessageId> {
        self.tell_of_the_rest();
        let messages = self.slab.iter().filter(|message| message.guarantee == Guarantee::Delivery);
        let skipped = self.skips.iter().map(|skip| skip.id);
        let mut undelivered: Vec<_> =
            messages.map(|message| message.id).chain(skipped).map(MessageId).collect();
        undelivered.sort_unstable();
        self.slab = OnDemand::default();
        self.resends = OnDemand::default();
        self.repeats = OnDemand::default();
        self.copies_due = OnDemand::default();
        self.riding = OnDemand::default();
        self.alarms = OnDemand::default();
        self.skips = OnDemand::default();
        self.skips_waiting = 0;
        self.skips_held = 0;
        self.lanes.iter_mut().for_each(SendLane::reset);
        self.unsent_messages = 0;
        self.unsent_bytes = 0;
        self.window_used = 0;
        self.window_limit = 0;
        self.lane_limit = 0;
        self.limits = Limits::new(config);
        undelivered
    }

    // ---- what the owner asks ----

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

    /// Something is to be sent that waits for no flush: lost parts, copies that are due, what was given up.
    pub(crate) fn has_resends(&self) -> bool {
        !self.resends.is_empty() || !self.copies_due.is_empty() || self.skips_waiting > 0
    }

    /// Whether there is any message, or the end of one, whose fate or time counts.
    pub(crate) fn has_heeded(&self) -> bool {
        self.slab.has_heeded() || !self.skips.is_empty()
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent_messages > 0
    }

    /// Gives back memory that an idle session does not need.
    pub(crate) fn shrink(&mut self) {
        self.slab.rest();
        self.lanes.shrink_to_fit();
        self.lanes.iter_mut().for_each(SendLane::shrink);
        self.resends.rest();
        self.repeats.rest();
        self.copies_due.rest();
        self.riding.rest();
        self.alarms.rest();
        self.skips.rest();
        self.notices.shrink();
        if self.building.is_empty() {
            self.building = Vec::new();
        }
    }
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            bytes: config.send_queue_bytes,
            messages: config.send_queue_messages,
            delivery: config.max_message_bytes as usize,
            unreliable: config.max_unreliable_bytes as usize,
        }
    }

    /// Largest message of a guarantee, in bytes.
    fn longest(&self, guarantee: Guarantee) -> usize {
        if guarantee == Guarantee::Delivery { self.delivery } else { self.unreliable }
    }
}

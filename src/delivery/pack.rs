//! Fills packets with message frames: lost parts first, then what waits, lane by lane. The order inside a lane is the
//! order of sending; `None` messages pass a `Delivery` that must wait or that is large. PROTOCOL.md, "Numbering".

use super::{
    Guarantee,
    outgoing::{Outgoing, charge},
    recovery::{Content, SentPackets},
    send::{HEAD_GUESS, SendQueue},
};
use crate::wire::{
    codec::Writer,
    message::{self, Context, MIN_FRAGMENT, MessageFrame, Numbers, Part},
};

/// What a call to a packer did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Packed {
    pub(crate) frames: u32,
    /// How many contents were pushed.
    pub(crate) contents: u32,
}

/// Whether packing may go on in this packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The message (or this lane) has nothing more that may be sent.
    Done,
    /// There is more, but the packet has no room for it.
    Full,
}

/// A packet under construction.
pub(super) struct Packet<'p, 'b> {
    writer: &'p mut Writer<'b>,
    context: &'p mut Context,
    sent: &'p mut SentPackets,
    pub(super) packed: Packed,
    /// Payload bytes of an empty packet.
    capacity: usize,
}

impl SendQueue {
    /// Packs lost parts and, if `fresh`, messages that were never sent, until the packet is full.
    pub(crate) fn pack(
        &mut self,
        writer: &mut Writer<'_>,
        context: &mut Context,
        sent: &mut SentPackets,
        (capacity, fresh): (usize, bool),
    ) -> Packed {
        let mut packet = Packet { writer, context, sent, packed: Packed::default(), capacity };
        let mut next = self.pack_resends(&mut packet);
        let lanes = if fresh { self.lanes.len() } else { 0 };
        for at in 0..lanes {
            if next == Next::Done {
                next = self.pack_lane(at, &mut packet);
            }
        }
        self.pack_repeats(&mut packet);
        packet.packed
    }

    fn pack_lane(&mut self, at: usize, packet: &mut Packet<'_, '_>) -> Next {
        loop {
            let Some(lane) = self.lanes.get(at) else { return Next::Done };
            let ordered = lane.ordered.front().copied().filter(|&slot| self.may_pack(at, slot));
            let unordered = lane.unordered.front().copied();
            // Oldest first, but a message in the middle of its fragments holds no `None` up.
            let slot = match (ordered, unordered) {
                (None, None) => return Next::Done,
                (Some(slot), None) | (None, Some(slot)) => slot,
                (Some(ordered), Some(unordered)) => {
                    let age = |slot| self.slab.get(slot).map(|message| message.id);
                    let begun = self.slab.get(ordered).is_some_and(|message| message.packed > 0);
                    if begun || age(unordered) < age(ordered) { unordered } else { ordered }
                }
            };
            if self.pack_new(at, slot, packet) == Next::Full {
                return Next::Full;
            }
        }
    }

    /// Whether flow control lets the lane's oldest ordered message go.
    fn may_pack(&self, at: usize, slot: u32) -> bool {
        let Some(message) = self.slab.get(slot) else { return true };
        message.guarantee != Guarantee::Delivery
            || message.numbers.is_some()
            || (self.window_admits(message.bytes.len())
                && self.lanes.get(at).is_some_and(super::send_lane::SendLane::has_index_room))
    }

    /// Packs what fits of a message that was not wholly sent yet. `Full` also when it must wait for an empty packet.
    fn pack_new(&mut self, at: usize, slot: u32, packet: &mut Packet<'_, '_>) -> Next {
        let (Some(lane), Some(message)) = (self.lanes.get_mut(at), self.slab.get_mut(slot)) else {
            return Next::Done;
        };
        let total = message.bytes.len();
        if message.numbers.is_none() {
            message.numbers = Some(lane.number(message.guarantee, message.tag));
            if message.guarantee == Guarantee::Delivery {
                self.window_used += charge(total) as u64;
            }
        }
        loop {
            let (offset, whole) = (message.packed, message.packed == 0 && packet.fits_whole(message));
            if !whole && message.guarantee != Guarantee::Delivery && message.wire_id.is_none() {
                if packet.should_wait(total) {
                    return Next::Full;
                }
                message.wire_id = Some(lane.wire_id());
            }
            let Some((_, to)) = packet.put(slot, message, (offset, total)) else { return Next::Full };
            message.packed = to as usize;
            if message.packed >= total {
                break;
            }
        }
        let ordered = message.guarantee != Guarantee::None;
        let queue = if ordered { &mut lane.ordered } else { &mut lane.unordered };
        queue.pop_front();
        self.unsent_bytes = self.unsent_bytes.saturating_sub(total + HEAD_GUESS);
        if message.guarantee != Guarantee::Delivery {
            self.slab.remove(slot);
        }
        Next::Done
    }
}

/// Longest head of a fragment: type, lane, extras, three numbers, id, offset, total, length.
const FRAGMENT_HEAD: usize = 3 + 3 * 9 + 9 + 3 * 4;

impl Packet<'_, '_> {
    pub(super) fn written(&self) -> usize {
        self.writer.written()
    }

    /// Whether a message that does not fit here would fit whole into an empty packet, or the room is not worth a cut.
    fn should_wait(&self, total: usize) -> bool {
        let fits_elsewhere = total + FRAGMENT_HEAD <= self.capacity;
        let too_narrow = self.writer.room() < 2 * MIN_FRAGMENT + FRAGMENT_HEAD;
        self.writer.written() > 0 && (fits_elsewhere || too_narrow)
    }

    fn fits_whole(&self, message: &Outgoing) -> bool {
        frame(message, 0, message.bytes.len()).is_some_and(|whole| {
            message::fitting(&whole, self.context, self.writer.room()) == whole.bytes.len()
        })
    }

    /// Which part of `start..end` of the message fits into this packet as one frame.
    fn plan(&self, message: &Outgoing, (start, end): (usize, usize)) -> Option<(usize, usize)> {
        let total = message.bytes.len();
        let whole = start == 0 && end == total;
        if whole && self.fits_whole(message) {
            return (self.writer.room() > 0).then_some((0, total));
        }
        if self.should_wait(total) {
            return None;
        }
        // The head of a fragment is longer: what does not fit whole must be cut short of its end.
        let end = if whole { end.checked_sub(1)? } else { end };
        // A short rest in the middle is widened to the left, over bytes that may have arrived already.
        let short = end < total && end - start < MIN_FRAGMENT;
        let start = if short { end.saturating_sub(MIN_FRAGMENT) } else { start };
        let end = if short { (start + MIN_FRAGMENT).min(total) } else { end };
        let len = message::fitting(&frame(message, start, end)?, self.context, self.writer.room());
        let to = start + len;
        (to == total || len >= MIN_FRAGMENT).then_some((start, to))
    }

    /// Writes one frame with as much of `start..end` of the message as fits; gives the range it carries.
    pub(super) fn put(&mut self, slot: u32, message: &Outgoing, range: (usize, usize)) -> Option<(u32, u32)> {
        let (from, to) = self.plan(message, range)?;
        message::encode(&frame(message, from, to)?, self.context, self.writer).ok()?;
        self.packed.frames += 1;
        let (from, to) = (u32::try_from(from).ok()?, u32::try_from(to).ok()?);
        if message.guarantee == Guarantee::Delivery {
            self.sent.push_content(Content::Part { slot, id: message.id, offset: from, len: to - from });
            self.packed.contents += 1;
        }
        Some((from, to))
    }
}

/// The frame that carries bytes `from..to` of a message.
fn frame(message: &Outgoing, from: usize, to: usize) -> Option<MessageFrame<'_>> {
    let total = message.bytes.len();
    let part = if from == 0 && to == total {
        Part::Whole
    } else {
        Part::Fragment { offset: u32::try_from(from).ok()?, total: u32::try_from(total).ok()? }
    };
    let bytes = message.bytes.get(from..to)?;
    let numbers = message.numbers.unwrap_or(Numbers::None);
    Some(MessageFrame { lane: message.lane, numbers, id: message.wire_id, life: None, part, bytes })
}

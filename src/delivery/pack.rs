//! Fills packets with message frames: what was given up, lost parts, copies, then what waits, lane by lane. The order
//! inside a lane is the order of sending; `None` messages pass a `Delivery` that must wait or that is large.
//! PROTOCOL.md, "Numbering".

use std::time::Instant;

use super::{
    Guarantee,
    ack::Call,
    outgoing::{Outgoing, charge},
    parity::Cut,
    recovery::{Content, SentPackets},
    send::SendQueue,
    send_lane::SendLane,
};
use crate::wire::{
    codec::Writer,
    frame::{self, Frame},
    message::{self, Context, MIN_FRAGMENT, MessageFrame, Numbers, Part},
    parity::ParityFrame,
};

/// What a call to a packer did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Packed {
    pub(crate) frames: u32,
    /// How many contents were pushed.
    pub(crate) contents: u32,
    /// What the frames call for, and whether somebody waits for word of one whose acknowledgement may wait.
    pub(crate) call: Call,
    pub(crate) awaited: bool,
    parities: u32,
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
    pub(super) now: Instant,
}

impl SendQueue {
    /// Packs lost parts, copies and, if `fresh`, messages that were never sent, until the packet is full.
    pub(crate) fn pack(
        &mut self,
        now: Instant,
        writer: &mut Writer<'_>,
        context: &mut Context,
        sent: &mut SentPackets,
        (capacity, fresh): (usize, bool),
    ) -> Packed {
        self.tick(now);
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.handle_timeout(now);
        }
        let mut packet = Packet { writer, context, sent, packed: Packed::default(), capacity, now };
        let mut next = self.pack_skips(&mut packet);
        if next == Next::Done {
            next = self.pack_resends(&mut packet);
        }
        if next == Next::Done {
            next = self.pack_copies(&mut packet);
        }
        if fresh {
            while next == Next::Done {
                let Some((at, slot)) = self.pick() else { break };
                next = self.pack_new(at, slot, &mut packet);
            }
        }
        self.pack_repeats(&mut packet);
        self.parities = self.parities.saturating_add(packet.packed.parities);
        packet.packed
    }

    /// Packs what fits of a message that was not wholly sent yet. `Full` also when it must wait for an empty packet.
    fn pack_new(&mut self, at: usize, slot: u32, packet: &mut Packet<'_, '_>) -> Next {
        let (Some(lane), Some(message)) = (self.lanes.get_mut(at), self.slab.get_mut(slot)) else {
            return Next::Full;
        };
        let total = message.bytes.len();
        if !message.is_begun() {
            message.numbers = Some(lane.number(message.guarantee, message.tag, charge(total)));
            if message.guarantee == Guarantee::Delivery {
                self.window_used += charge(total) as u64;
            }
        }
        if message.packed == 0 {
            if let Some(extras) = message.extras.as_deref_mut().filter(|extras| extras.adaptive) {
                extras.copies = self.redundancy;
            }
        }
        let before = packet.writer.written();
        let next = packet.put_rest(slot, lane, message);
        lane.charge_turn(packet.writer.written().saturating_sub(before));
        if next == Next::Full {
            return Next::Full;
        }
        lane.pop(message.guarantee);
        message.queued = false;
        let plain = message.extras.is_none() && message.guarantee == Guarantee::Delivery;
        let at = message.at;
        self.count_packed(at, total);
        if !plain {
            self.after_packed(slot);
        }
        Next::Done
    }
}

/// Longest head of a fragment: type, lane, extras, three numbers, id, offset, total, length.
const FRAGMENT_HEAD: usize = 3 + 3 * 9 + 9 + 3 * 4;

impl Packet<'_, '_> {
    /// Writes what was never packed of a message.
    fn put_rest(&mut self, slot: u32, lane: &mut SendLane, message: &mut Outgoing) -> Next {
        let total = message.bytes.len();
        let unnamed = message.guarantee != Guarantee::Delivery && message.wire_id.is_none();
        if unnamed && (message.copies() > 0 || message.is_adaptive()) {
            message.wire_id = Some(lane.wire_id());
        }
        if message.left_whole() {
            return self.put_parity(slot, message);
        }
        if message.packed == 0 && self.put_range(slot, message, 0, total).is_some() {
            message.packed = total;
            return Next::Done;
        }
        loop {
            if message.guarantee != Guarantee::Delivery && message.wire_id.is_none() {
                if self.should_wait(total) {
                    return Next::Full;
                }
                message.wire_id = Some(lane.wire_id());
            }
            message.plan_cut(self.capacity.saturating_sub(FRAGMENT_HEAD));
            let end = message.cut().map_or(total, |cut| cut.end_of_piece(message.packed));
            if message.cut().is_some() && !self.has_room(end.saturating_sub(message.packed)) {
                return Next::Full;
            }
            let Some((_, to)) = self.put(slot, message, (message.packed, end)) else { return Next::Full };
            message.packed = to as usize;
            if message.cut().is_some() {
                // One piece a datagram: together they would be lost together. The parities follow.
                return Next::Full;
            }
            if message.packed >= total {
                return Next::Done;
            }
        }
    }

    /// Whether a piece of this length fits, or would fit no better into an empty packet.
    fn has_room(&self, len: usize) -> bool {
        self.writer.written() == 0 || len + FRAGMENT_HEAD <= self.writer.room()
    }

    /// Writes the next parity of a message that left whole, one a datagram.
    fn put_parity(&mut self, slot: u32, message: &mut Outgoing) -> Next {
        let next = message.extras.as_ref().and_then(|extras| Some((extras.cut?, extras.parities)));
        let Some((cut, first)) = next.filter(|(cut, first)| *first < cut.step) else { return Next::Done };
        if self.write_parity(slot, message, &cut, first).is_none() {
            // Too long for any packet: the path has become narrower. The message goes without.
            return if self.writer.written() == 0 { Next::Done } else { Next::Full };
        }
        if let Some(extras) = message.extras.as_deref_mut() {
            extras.parities = first + 1;
        }
        if first + 1 < cut.step { Next::Full } else { Next::Done }
    }

    fn write_parity(&mut self, slot: u32, message: &mut Outgoing, cut: &Cut, first: u32) -> Option<()> {
        let mut pieces = cut
            .pieces(first)
            .filter_map(|piece| Some((usize::try_from(piece.start).ok()?, usize::try_from(piece.end).ok()?)));
        let (from, to) = pieces.next()?;
        // The first piece is written, and the others are mixed into it where it stands.
        let parity = ParityFrame { step: cut.step, message: frame(message, from, to, self.now)? };
        frame::encode(&Frame::Parity(parity), self.context, self.writer).ok()?;
        let at = self.writer.written().saturating_sub(cut.size as usize);
        pieces.for_each(|(from, to)| self.writer.mix(at, message.bytes.get(from..to).unwrap_or_default()));
        self.packed.frames += 1;
        self.packed.call = self.packed.call.max(Call::Gathered);
        self.packed.parities += 1;
        if message.is_followed(false) {
            let offset = u32::try_from(cut.place(first).start).ok()?;
            self.sent.push_content(Content::Part { slot, id: message.id, offset, len: cut.size });
            self.packed.contents += 1;
        }
        message.on_part(self.now, false);
        Some(())
    }

    /// Writes a frame that is no message; whether it had room.
    pub(super) fn put_control(&mut self, frame: &Frame<'_>, content: Content) -> bool {
        if frame::encode(frame, self.context, self.writer).is_err() {
            return false;
        }
        self.sent.push_content(content);
        self.packed.frames += 1;
        self.packed.call = Call::Soon;
        self.packed.contents += 1;
        true
    }

    pub(super) fn written(&self) -> usize {
        self.writer.written()
    }

    /// Whether a message that does not fit here would fit whole into an empty packet, or the room is not worth a cut.
    fn should_wait(&self, total: usize) -> bool {
        let fits_elsewhere = total + FRAGMENT_HEAD <= self.capacity;
        let too_narrow = self.writer.room() < 2 * MIN_FRAGMENT + FRAGMENT_HEAD;
        self.writer.written() > 0 && (fits_elsewhere || too_narrow)
    }

    /// Which part of `start..end` of the message fits into this packet as one frame, when the whole message does not.
    fn plan(&self, message: &Outgoing, (start, end): (usize, usize)) -> Option<(usize, usize)> {
        let total = message.bytes.len();
        let whole = start == 0 && end == total;
        if self.should_wait(total) {
            return None;
        }
        // The head of a fragment is longer: what does not fit whole must be cut short of its end.
        let end = if whole { end.checked_sub(1)? } else { end };
        // A short rest in the middle is widened to the left, over bytes that may have arrived already.
        let short = end < total && end - start < MIN_FRAGMENT;
        let start = if short { end.saturating_sub(MIN_FRAGMENT) } else { start };
        let end = if short { (start + MIN_FRAGMENT).min(total) } else { end };
        let len = message::fitting(&frame(message, start, end, self.now)?, self.context, self.writer.room());
        let to = start + len;
        (to == total || len >= MIN_FRAGMENT).then_some((start, to))
    }

    /// Writes one frame with as much of `start..end` of the message as fits; gives the range it carries.
    pub(super) fn put(
        &mut self,
        slot: u32,
        message: &mut Outgoing,
        range: (usize, usize),
    ) -> Option<(u32, u32)> {
        if range == (0, message.bytes.len()) {
            if let Some(whole) = self.put_range(slot, message, range.0, range.1) {
                return Some(whole);
            }
        }
        let (from, to) = self.plan(message, range)?;
        self.put_range(slot, message, from, to)
    }

    /// Writes the frame that carries `from..to` of the message, if it has room.
    #[inline]
    fn put_range(&mut self, slot: u32, message: &mut Outgoing, from: usize, to: usize) -> Option<(u32, u32)> {
        let frame = frame(message, from, to, self.now)?;
        message::encode(&frame, self.context, self.writer).ok()?;
        self.packed.frames += 1;
        let gathered = frame.is_piece() && message.cut().is_some();
        let call = match gathered {
            true => Call::Gathered,
            false if frame.is_unrepeated() => Call::Later,
            false => Call::Soon,
        };
        self.packed.call = self.packed.call.max(call);
        let (from, to) = (u32::try_from(from).ok()?, u32::try_from(to).ok()?);
        let whole = from == 0 && to as usize == message.bytes.len();
        if message.is_followed(whole) {
            self.sent.push_content(Content::Part { slot, id: message.id, offset: from, len: to - from });
            self.packed.contents += 1;
            self.packed.awaited |= call == Call::Later;
        }
        message.on_part(self.now, whole);
        Some((from, to))
    }
}

/// The frame that carries bytes `from..to` of a message.
fn frame(message: &Outgoing, from: usize, to: usize, now: Instant) -> Option<MessageFrame<'_>> {
    let total = message.bytes.len();
    let part = if from == 0 && to == total {
        Part::Whole
    } else {
        Part::Fragment { offset: u32::try_from(from).ok()?, total: u32::try_from(total).ok()? }
    };
    let bytes = message.bytes.get(from..to)?;
    let numbers = message.numbers.unwrap_or(Numbers::None);
    Some(MessageFrame {
        lane: message.lane,
        numbers,
        id: message.wire_id,
        life: message.life(now),
        part,
        bytes,
    })
}

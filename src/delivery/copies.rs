//! Copies: a message leaves several times without being asked for. Some ride in datagrams that leave anyway, some are
//! due at their own time. Knows no loss and no acknowledgement; a message that is gone takes its copies with it.
//! PROTOCOL.md, "Copies".

use std::time::Duration;

use super::{
    Guarantee,
    expiry::Alarm,
    notices::Outcome,
    pack::{Next, Packet},
    send::SendQueue,
};

/// A copy that found no datagram to ride in for so long is not sent.
const RIDE_WITHIN: Duration = Duration::from_secs(1);

impl SendQueue {
    /// All of the message was packed for the first time.
    pub(super) fn after_packed(&mut self, slot: u32) {
        let Some(message) = self.slab.get(slot) else { return };
        let (id, copies, spacing) = (message.id, message.copies, message.spacing);
        if copies == 0 {
            return self.sent_out(slot);
        }
        if spacing.is_zero() {
            if let Some(at) = self.clock.map(|now| now + RIDE_WITHIN) {
                self.set_alarm(at, Alarm::CopiesOver, slot, id);
            }
        }
        self.next_copy(slot, id, spacing);
    }

    fn next_copy(&mut self, slot: u32, id: u64, spacing: Duration) {
        match self.clock.filter(|_| !spacing.is_zero()) {
            Some(now) => self.set_alarm(now + spacing, Alarm::CopyDue, slot, id),
            None => self.riding.push_back((slot, id)),
        }
    }

    /// Nothing more of the message leaves by itself; unless somebody waits for news of it, it is done.
    fn sent_out(&mut self, slot: u32) {
        let Some(message) = self.slab.get(slot) else { return };
        if message.guarantee == Guarantee::Delivery {
            return;
        }
        if message.notice {
            self.await_late_ack(slot);
        } else {
            self.finish(slot, Outcome::Lost);
        }
    }

    /// No copy of the message leaves any more.
    pub(super) fn end_copies(&mut self, slot: u32) {
        let Some(message) = self.slab.get_mut(slot) else { return };
        if std::mem::take(&mut message.copies) > 0 {
            self.sent_out(slot);
        }
    }

    /// Packs copies whose time has come, then those that ride along. Only the former may keep new messages waiting.
    pub(super) fn pack_copies(&mut self, packet: &mut Packet<'_, '_>) -> Next {
        while let Some(&(slot, id)) = self.copies_due.front() {
            if self.pack_copy(slot, id, packet) == Next::Full {
                return Next::Full;
            }
            self.copies_due.pop_front();
        }
        while let Some(&(slot, id)) = self.riding.front() {
            let waits = self.slab.named(slot, id).is_some_and(|message| {
                message.copies > 0 && message.copied == 0 && message.packed_at >= Some(packet.now)
            });
            // Those behind it were packed no earlier: a copy rides in a datagram that leaves later than the last.
            if waits || self.pack_copy(slot, id, packet) == Next::Full {
                break;
            }
            self.riding.pop_front();
        }
        Next::Done
    }

    fn pack_copy(&mut self, slot: u32, id: u64, packet: &mut Packet<'_, '_>) -> Next {
        let Some(message) = self.slab.named(slot, id).filter(|message| message.copies > 0) else {
            return Next::Done;
        };
        let total = message.bytes.len();
        // What was just sent again needs no copy in the same moment.
        let fresh = message.copied == 0 && message.packed_at == Some(packet.now);
        let mut done = fresh;
        while !done {
            let Some((_, to)) = packet.put(slot, message, (message.copied, total)) else { return Next::Full };
            message.copied = to as usize;
            done = message.copied >= total;
        }
        message.copied = 0;
        message.copies -= 1;
        let (left, spacing, at) = (message.copies, message.spacing, message.at);
        if let Some(lane) = self.lanes.get_mut(usize::from(at)).filter(|_| !fresh) {
            lane.counts.copies += 1;
        }
        if left > 0 {
            self.next_copy(slot, id, spacing);
        } else {
            self.sent_out(slot);
        }
        Next::Done
    }
}

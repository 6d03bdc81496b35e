//! Copies: a message leaves several times without being asked for. Some ride in datagrams that leave anyway, some are
//! due at their own time. Knows no loss and no acknowledgement; a message that is gone takes its copies with it.
//! PROTOCOL.md, "Copies".

use std::time::Duration;

use super::{
    Guarantee,
    expiry::Alarm,
    notices::Outcome,
    pack::{Next, Packet},
    resend::SMALL,
    send::SendQueue,
};

/// A copy that found no datagram to ride in for so long is not sent.
const RIDE_WITHIN: Duration = Duration::from_secs(1);

impl SendQueue {
    /// All of the message was packed for the first time.
    pub(super) fn after_packed(&mut self, slot: u32) {
        let Some(message) = self.slab.get(slot) else { return };
        let copying = message.extras.as_ref().filter(|extras| extras.copies > 0);
        let Some((id, spacing)) = copying.map(|extras| (message.id, extras.spacing)) else {
            return self.sent_out(slot);
        };
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
    pub(super) fn sent_out(&mut self, slot: u32) {
        let Some(message) = self.slab.get(slot) else { return };
        if message.guarantee == Guarantee::Delivery {
            return;
        }
        if message.notice() {
            self.await_late_ack(slot);
        } else if message.is_kept() {
            self.mend_or_end(slot);
        } else {
            self.finish(slot, Outcome::Lost);
        }
    }

    /// The parities of a message that waits for nothing else, and its copies, leave no more; whether there were any.
    pub(super) fn end_parities(&mut self, slot: u32) -> bool {
        let Some(message) = self.slab.get_mut(slot) else { return false };
        if !(message.queued && message.left_whole()) {
            return false;
        }
        message.queued = false;
        if let Some(extras) = message.extras.as_deref_mut() {
            extras.copies = 0;
        }
        let (at, guarantee, len) = (message.at, message.guarantee, message.bytes.len());
        self.unqueue(at, guarantee, len);
        true
    }

    /// No copy of the message leaves any more.
    pub(super) fn end_copies(&mut self, slot: u32) {
        let extras = self.slab.get_mut(slot).and_then(|message| message.extras.as_deref_mut());
        if extras.is_some_and(|extras| std::mem::take(&mut extras.copies) > 0) {
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
            let message = self.slab.named(slot, id);
            let waits = message.and_then(|message| message.extras.as_ref()).is_some_and(|extras| {
                extras.copies > 0 && extras.copied == 0 && extras.packed_at >= Some(packet.now)
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
        let Some(message) = self.slab.named(slot, id) else { return Next::Done };
        let (total, at) = (message.bytes.len(), message.at);
        let Some(&extras) = message.extras.as_deref().filter(|extras| extras.copies > 0) else {
            return Next::Done;
        };
        // What was just sent again needs no copy in the same moment.
        let fresh = extras.copied == 0 && extras.packed_at == Some(packet.now);
        let mut copied = extras.copied;
        let done = fresh
            || loop {
                let Some((_, to)) = packet.put(slot, message, (copied, total)) else { break false };
                copied = to as usize;
                if copied >= total {
                    break true;
                }
            };
        let Some(extras) = message.extras.as_deref_mut() else { return Next::Done };
        extras.copied = if done { 0 } else { copied };
        if !done {
            return Next::Full;
        }
        extras.copies -= 1;
        let (left, spacing) = (extras.copies, extras.spacing);
        let repeatable = message.guarantee == Guarantee::Delivery && total <= SMALL as usize;
        if let Some(lane) = self.lanes.get_mut(usize::from(at)).filter(|_| !fresh) {
            lane.counts.copies += 1;
        }
        if left > 0 {
            self.next_copy(slot, id, spacing);
        } else {
            self.sent_out(slot);
            // Who pays for haste need not wait for a datagram that leaves anyway, should all of them be lost.
            if let Some(wait) = self.word_within().filter(|_| !spacing.is_zero() && repeatable) {
                self.set_alarm(packet.now + wait.saturating_sub(spacing), Alarm::Resend, slot, id);
            }
        }
        Next::Done
    }
}

//! Mends large messages that are not repeated: when some parts of a `None` or `Order` arrived and others did not, the
//! missing ones are sent again while that is worth it. An `Order` is worth it while no later set of its lane has left, a
//! `None` until the time that its sender gave it; both for a second at most. PROTOCOL.md, "Loss".

use std::time::{Duration, Instant};

use super::{Guarantee, notices::Outcome, outgoing::Outgoing, send::SendQueue, send_lane::SendLane};

/// A message that is shorter fits a datagram anywhere, and is not cut.
pub(super) const LEAST_MENDED: usize = 400;
/// So long after it left something of a message may be sent again. The receiver keeps what came for two seconds.
const MENDED_FOR: Duration = Duration::from_secs(1);

/// Whether a message like this may be mended at all.
pub(super) fn may_mend(guarantee: Guarantee, expires_at: Option<Instant>) -> bool {
    match guarantee {
        Guarantee::Order => true,
        Guarantee::None => expires_at.is_some(),
        Guarantee::Delivery => false,
    }
}

impl SendQueue {
    /// Something became known of a message that is not repeated, or all of it has left. When nothing of it is on its
    /// way any more, it is mended; or it is kept for a late acknowledgement if somebody waits for that, or it is done.
    pub(super) fn mend_or_end(&mut self, slot: u32) {
        let Some(message) = self.slab.get(slot) else { return };
        if !message.is_settled() || message.queued || message.copies() > 0 || message.resending {
            return;
        }
        if self.is_worth_mending(slot) {
            return self.mend(slot);
        }
        if self.slab.get(slot).is_some_and(|message| message.is_kept()) {
            self.finish(slot, Outcome::Lost);
        } else {
            self.await_late_ack(slot);
        }
    }

    fn is_worth_mending(&self, slot: u32) -> bool {
        let Some((message, now)) = self.slab.get(slot).zip(self.clock) else { return false };
        let Some(extras) = message.extras.as_deref().filter(|extras| extras.mend && extras.in_parts) else {
            return false;
        };
        let young = extras.left_at.is_some_and(|left| now < left + MENDED_FOR);
        let alive = extras.expires_at.is_none_or(|end| now < end);
        let lane = self.lanes.get(usize::from(message.at));
        let newest = message.guarantee == Guarantee::None
            || lane.is_some_and(|lane: &SendLane| lane.is_newest(message.tag));
        // Where nothing arrived there may be nobody to hear, and a newer message serves better.
        young && alive && newest && !extras.superseded && !message.acked.is_empty()
    }

    fn mend(&mut self, slot: u32) {
        let Some(message) = self.slab.get_mut(slot) else { return };
        let (id, total, cut) = (message.id, message.bytes.len() as u64, message.cut());
        let Outgoing { acked, resend, .. } = message;
        if let Some(cut) = cut {
            // What a parity restores need not be sent.
            for first in (0..cut.step).filter(|&first| !cut.suffices_under(acked, first)) {
                cut.pieces(first).flat_map(|piece| acked.gaps(piece)).for_each(|gap| resend.insert(gap));
            }
        } else {
            acked.gaps(0..total).for_each(|gap| resend.insert(gap));
        }
        message.resending = true;
        self.resends.push_back((slot, id));
    }

    /// What is still to be sent again of a message is not any more, and one that was kept for it goes; whether it went.
    pub(super) fn end_mending(&mut self, slot: u32) -> bool {
        let Some(message) = self.slab.get_mut(slot) else { return false };
        if message.guarantee == Guarantee::Delivery || message.queued {
            return false;
        }
        message.resend.clear();
        let mending = std::mem::take(&mut message.resending);
        let kept = message.is_kept();
        if kept {
            self.finish(slot, Outcome::Lost);
        } else if mending {
            self.await_late_ack(slot);
        }
        kept
    }

    /// Lets go the oldest message of a lane that is kept only to be mended; whether there was one.
    pub(super) fn drop_kept(&mut self, at: usize) -> bool {
        let kept = self.slab.find(|message| usize::from(message.at) == at && message.is_kept());
        let oldest = kept.into_iter().min_by_key(|&slot| self.slab.get(slot).map(|message| message.id));
        oldest.is_some_and(|slot| {
            self.finish(slot, Outcome::Lost);
            true
        })
    }
}

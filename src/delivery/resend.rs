//! Sends lost parts again, in the order in which they were found lost. PROTOCOL.md, "Loss".

use super::{
    pack::{Next, Packet},
    send::SendQueue,
};

impl SendQueue {
    /// Packs parts to be sent again until there are none or the packet is full.
    pub(super) fn pack_resends(&mut self, packet: &mut Packet<'_, '_>) -> Next {
        while let Some(&(slot, id)) = self.resends.front() {
            let Some(message) = self.slab.named(slot, id) else {
                self.resends.pop_front();
                continue;
            };
            // An empty message has no bytes to stand in the ranges.
            let first = message.resend.iter().next();
            let Some(part) = first.or_else(|| message.bytes.is_empty().then_some(0..0)) else {
                message.resending = false;
                self.resends.pop_front();
                continue;
            };
            let (start, end) = (usize::try_from(part.start), usize::try_from(part.end));
            let range = (start.unwrap_or(usize::MAX), end.unwrap_or(usize::MAX));
            let Some((from, to)) = packet.put(slot, message, range) else { return Next::Full };
            self.resent_parts = self.resent_parts.saturating_add(1);
            message.resend.remove(u64::from(from)..u64::from(to));
            if message.resend.is_empty() {
                message.resending = false;
                self.resends.pop_front();
            }
        }
        Next::Done
    }
}

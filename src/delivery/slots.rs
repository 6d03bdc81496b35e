//! Latest-value slots: on each lane a key names at most one message, and a newer one takes its place. Knows only which
//! message holds which key. PROTOCOL.md, "Slots".

use super::{Guarantee, notices::Outcome, on_demand::Empty, send::SendQueue};

/// The holder of a key.
#[derive(Clone, Copy, Debug)]
struct Holder {
    key: u32,
    slot: u32,
    id: u64,
}

/// The keys of one lane that are held, in order.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    holders: Vec<Holder>,
}

impl Slots {
    /// The slot and id of the message that holds `key`.
    fn holder(&self, key: u32) -> Option<(u32, u64)> {
        let at = self.holders.binary_search_by_key(&key, |holder| holder.key).ok()?;
        self.holders.get(at).map(|holder| (holder.slot, holder.id))
    }

    /// From now on this message holds `key`.
    pub(super) fn hold(&mut self, key: u32, slot: u32, id: u64) {
        let new = Holder { key, slot, id };
        match self.holders.binary_search_by_key(&key, |holder| holder.key) {
            Ok(at) => {
                if let Some(holder) = self.holders.get_mut(at) {
                    *holder = new;
                }
            }
            Err(at) => self.holders.insert(at, new),
        }
    }

    /// The message is gone; if it still held `key`, nobody does.
    pub(super) fn leave(&mut self, key: u32, id: u64) {
        if let Ok(at) = self.holders.binary_search_by_key(&key, |holder| holder.key) {
            if self.holders.get(at).is_some_and(|holder| holder.id == id) {
                self.holders.remove(at);
            }
        }
    }
}

impl Empty for Slots {
    const EMPTY: &'static Self = &Self { holders: Vec::new() };

    fn rest(&mut self) -> bool {
        self.holders.shrink_to_fit();
        self.holders.is_empty()
    }
}

impl SendQueue {
    /// The message that holds the key, and what its end would free: its length if it was never begun.
    pub(super) fn slot_holder(&self, at: usize, key: Option<u32>) -> Option<(u32, Option<usize>)> {
        let (slot, id) = self.lanes.get(at)?.slots.holder(key?)?;
        let message = self.slab.get(slot).filter(|message| message.id == id)?;
        let unsent = message.queued && !message.is_begun();
        Some((slot, unsent.then_some(message.bytes.len())))
    }

    /// A newer message takes the place of the one in `slot`.
    pub(super) fn supersede(&mut self, slot: u32) {
        self.end_parities(slot);
        if self.end_mending(slot) {
            return;
        }
        let Some(message) = self.slab.get_mut(slot) else { return };
        let at = usize::from(message.at);
        if message.guarantee == Guarantee::Delivery && message.is_begun() {
            return self.give_up(slot, Outcome::Superseded);
        }
        if !message.queued && message.notice() {
            // It left whole: the acknowledgement says whether it arrived.
            if let Some(extras) = message.extras.as_deref_mut() {
                extras.superseded = true;
                extras.copies = 0;
            }
            return self.await_late_ack(slot);
        }
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.counts.superseded += 1;
        }
        self.finish(slot, Outcome::Superseded);
    }
}

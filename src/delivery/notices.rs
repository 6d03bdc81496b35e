//! How a message ends: its record goes, its lane is relieved, and who asked is told, once. Knows no packets; every
//! other file here that lets a message go does so through `finish`. PROTOCOL.md, "Notices".

use std::{collections::VecDeque, time::Duration};

use super::{
    Guarantee, MessageId,
    content::Fate,
    expiry::Alarm,
    on_demand::OnDemand,
    outgoing::{Outgoing, charge},
    send::{HEAD_GUESS, SendQueue},
};

/// A part that counted as lost may still be acknowledged for so long before its message is called lost.
pub(super) const LOST_AFTER: Duration = Duration::from_secs(1);
/// Messages called lost that are remembered, to notice when one arrived after all.
const LOST_REMEMBERED: usize = 256;

/// What became of a message whose sender asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// All of it reached the peer's endpoint. Never told falsely.
    Acked,
    /// It was sent and not acknowledged, or it was dropped before; or its session ended. It may have arrived
    /// nevertheless, if all acknowledgements were lost.
    Lost,
    /// Its time was over before it was sent, or a `Delivery` was given up then and the peer did not have it.
    Expired,
    /// Another message took its slot before it was sent, or before a `Delivery` was known to have arrived, or a sent
    /// one was lost after that.
    Superseded,
}

/// Outcomes that the application has not asked for yet.
#[derive(Debug, Default)]
pub(super) struct Notices {
    pub(super) told: OnDemand<VecDeque<(MessageId, Outcome)>>,
    lost: OnDemand<VecDeque<u64>>,
    /// Messages called lost whose acknowledgement came later.
    pub(super) late_acks: u64,
}

impl Notices {
    /// Nothing is to be told, and no packet is remembered of which word could come late.
    pub(super) fn after_rest(late_acks: u64) -> Self {
        Self { late_acks, ..Self::default() }
    }

    pub(super) fn tell(&mut self, id: u64, outcome: Outcome) {
        if outcome == Outcome::Lost {
            if self.lost.len() >= LOST_REMEMBERED {
                self.lost.pop_front();
            }
            self.lost.push_back(id);
        }
        self.told.push_back((MessageId(id), outcome));
    }

    /// A part of a message that is gone was acknowledged.
    pub(super) fn on_late(&mut self, id: u64) {
        if let Some(at) = self.lost.iter().position(|&lost| lost == id) {
            self.lost.remove(at);
            self.late_acks = self.late_acks.saturating_add(1);
        }
    }

    pub(super) fn shrink(&mut self) {
        self.told.rest();
        self.lost.rest();
    }
}

impl SendQueue {
    /// The next outcome that somebody asked for, oldest first.
    pub(crate) fn take_notice(&mut self) -> Option<(MessageId, Outcome)> {
        // Asked often and seldom there: to look costs nothing.
        self.notices.told.front()?;
        self.notices.told.pop_front()
    }

    /// Messages called lost whose acknowledgement came later.
    pub(crate) fn late_acks(&self) -> u64 {
        self.notices.late_acks
    }

    /// Lets a message go, wherever it stands.
    pub(super) fn finish(&mut self, slot: u32, outcome: Outcome) {
        let Some(message) = self.slab.get(slot) else { return };
        let Outgoing { id, at, guarantee, queued, .. } = *message;
        let (len, notice) = (message.bytes.len(), message.notice());
        let key = message.extras.as_ref().and_then(|extras| extras.key);
        if queued {
            self.unqueue(at, guarantee, len);
        }
        if let Some(lane) = self.lanes.get_mut(usize::from(at)) {
            lane.bytes = lane.bytes.saturating_sub(charge(len));
            lane.messages = lane.messages.saturating_sub(1);
            if let Some(key) = key {
                lane.slots.leave(key, id);
            }
        }
        if notice {
            self.notices.tell(id, outcome);
        }
        self.slab.remove(slot);
        self.tidy_alarms();
    }

    /// A message leaves the middle of its queue; its entry stays until it is looked at, or until such are many.
    pub(super) fn unqueue(&mut self, at: u8, guarantee: Guarantee, len: usize) {
        let Self { slab, lanes, .. } = self;
        if let Some(lane) = lanes.get_mut(usize::from(at)) {
            lane.forget_entry(guarantee, |entry| slab.is_queued(entry.slot, entry.id));
        }
        self.count_packed(at, len);
    }

    /// A message no longer waits to be sent for the first time.
    pub(super) fn count_packed(&mut self, at: u8, len: usize) {
        self.unsent_bytes = self.unsent_bytes.saturating_sub(len + HEAD_GUESS);
        self.unsent_messages = self.unsent_messages.saturating_sub(1);
        if let Some(lane) = self.lanes.get_mut(usize::from(at)) {
            lane.unsent_bytes = lane.unsent_bytes.saturating_sub(len);
        }
    }

    /// A part of a message that is gone met its fate.
    pub(super) fn on_stray_fate(&mut self, id: u64, fate: Fate) {
        if fate == Fate::Acked {
            self.notices.on_late(id);
        }
    }

    /// A part of a message that is never repeated met its fate. When the last one on its way has, and it was not the
    /// end of the message, the message is lost unless an acknowledgement comes late.
    pub(super) fn on_unrepeated(&mut self, slot: u32) {
        if let Some(extras) = self.slab.get_mut(slot).and_then(|message| message.extras.as_deref_mut()) {
            extras.parts_out = extras.parts_out.saturating_sub(1);
        }
        self.mend_or_end(slot);
    }

    /// Sets the alarm after which an unrepeated message counts as lost, if nothing of it is on its way any more.
    pub(super) fn await_late_ack(&mut self, slot: u32) {
        let Some(message) = self.slab.get(slot) else { return };
        if message.is_settled() && message.copies() == 0 && !message.queued {
            let id = message.id;
            if let Some(at) = self.clock.map(|now| now + LOST_AFTER) {
                self.set_alarm(at, Alarm::Lost, slot, id);
            }
        }
    }

    /// Nobody acknowledged the message in time.
    pub(super) fn on_silence(&mut self, slot: u32) {
        let Some(message) = self.slab.get(slot) else { return };
        if message.guarantee != Guarantee::Delivery && message.is_settled() {
            let (superseded, at) =
                (message.extras.as_ref().is_some_and(|extras| extras.superseded), message.at);
            if let Some(lane) = self.lanes.get_mut(usize::from(at)).filter(|_| superseded) {
                lane.counts.superseded += 1;
            }
            let outcome = if superseded { Outcome::Superseded } else { Outcome::Lost };
            self.finish(slot, outcome);
        }
    }

    /// The session is over: who asked is told of every message that has not ended yet.
    pub(super) fn tell_of_the_rest(&mut self) {
        let asked =
            self.slab.iter().filter(|message| message.notice()).map(|message| (message.id, Outcome::Lost));
        let skips = self.skips.iter().filter(|skip| skip.notice).map(|skip| (skip.id, skip.why));
        let mut rest: Vec<_> = asked.chain(skips).collect();
        rest.sort_unstable_by_key(|&(id, _)| id);
        for (id, outcome) in rest {
            self.notices.tell(id, outcome);
        }
    }

    /// Whether another message may ask for a notice: those that nobody fetches are bounded too.
    pub(super) fn notices_fit(&self, most: usize) -> bool {
        self.notices.told.len() < most
    }
}

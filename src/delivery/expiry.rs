//! What must happen to a message at a certain time: its life ends, a copy is due, silence means loss. One heap holds all
//! alarms; one whose message is gone is void. Knows no clock: `run_alarms` is told the time. PROTOCOL.md, "Expiry".

use std::{cmp::Reverse, time::Instant};

use super::{Guarantee, notices::Outcome, outgoing::Outgoing, send::SendQueue};

/// What an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// The life of the message is over.
    Expired,
    /// The next copy is to leave.
    CopyDue,
    /// If it was not acknowledged by now, it leaves once more in a datagram of its own.
    Resend,
    /// No datagram came by to take a copy along.
    CopiesOver,
    /// Everything of it counts as lost, and no acknowledgement came late.
    Lost,
}

/// When, whose, where it stands, and what for.
pub(super) type Entry = Reverse<(Instant, u64, u32, Alarm)>;

/// Void alarms beyond which the heap is swept.
const VOID_ALLOWED: usize = 64;

impl Alarm {
    /// Whether an alarm set earlier still says anything.
    fn concerns(self, message: &Outgoing) -> bool {
        match self {
            Self::Expired => true,
            Self::Resend => !message.resending,
            Self::CopyDue | Self::CopiesOver => message.copies() > 0,
            Self::Lost => message.is_settled(),
        }
    }
}

impl SendQueue {
    pub(super) fn set_alarm(&mut self, at: Instant, alarm: Alarm, slot: u32, id: u64) {
        // A message has few alarms at once: with many more in the heap, most of them are void.
        if self.alarms.len() >= VOID_ALLOWED + 4 * self.slab.messages() {
            let slab = &self.slab;
            self.alarms.retain(|Reverse((_, id, slot, alarm))| {
                slab.get(*slot).is_some_and(|message| message.id == *id && alarm.concerns(message))
            });
        }
        self.alarms.push(Reverse((at, id, slot, alarm)));
    }

    /// Takes void alarms from the top, so that none wakes anybody up.
    pub(super) fn tidy_alarms(&mut self) {
        while let Some(Reverse((_, id, slot, alarm))) = self.alarms.peek() {
            let live =
                self.slab.get(*slot).is_some_and(|message| message.id == *id && alarm.concerns(message));
            if live {
                break;
            }
            self.alarms.pop();
        }
    }

    /// When `handle_timeout` has something to do next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let alarm = self.alarms.peek().map(|Reverse((at, ..))| *at);
        [alarm, self.skip_deadline()].into_iter().flatten().min()
    }

    /// Learns what time it is.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.clock = Some(now);
    }

    /// Runs what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.tick(now);
        while let Some(&Reverse((at, id, slot, alarm))) = self.alarms.peek() {
            if at > now {
                break;
            }
            self.alarms.pop();
            let live = self.slab.named(slot, id).is_some_and(|message| alarm.concerns(message));
            if !live {
                continue;
            }
            match alarm {
                Alarm::Expired => self.expire(slot),
                Alarm::CopyDue => self.copies_due.push_back((slot, id)),
                Alarm::Resend => self.send_again(slot),
                Alarm::CopiesOver => self.end_copies(slot),
                Alarm::Lost => self.on_silence(slot),
            }
        }
        self.repeat_skips(now);
        self.tidy_alarms();
    }

    /// The life of a message is over.
    fn expire(&mut self, slot: u32) {
        if self.end_parities(slot) {
            return self.sent_out(slot);
        }
        let Some(message) = self.slab.get_mut(slot) else { return };
        if message.queued || message.guarantee == Guarantee::Delivery {
            return self.give_up(slot, Outcome::Expired);
        }
        // It left whole: copies and mending end, and who asked learns from the acknowledgement.
        self.end_copies(slot);
        self.end_mending(slot);
    }

    /// Nothing more of the message is sent.
    pub(super) fn give_up(&mut self, slot: u32, why: Outcome) {
        let Some(message) = self.slab.get_mut(slot) else { return };
        let at = usize::from(message.at);
        if message.guarantee == Guarantee::Delivery && message.is_begun() {
            return self.skip(slot, why);
        }
        if let Some(lane) = self.lanes.get_mut(at) {
            *lane.counts.of(why) += 1;
        }
        self.finish(slot, why);
    }
}

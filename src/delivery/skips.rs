//! `Delivery` messages that their sender gives up after they had a number: the peer must hear of it, or everything
//! later would wait. Keeps a note for each until the peer answers, and never so many that the peer must object.
//! PROTOCOL.md, "Skipping".

use std::time::{Duration, Instant};

use super::{
    content::{Content, Fate},
    notices::Outcome,
    outgoing::charge,
    pack::{Next, Packet},
    send::SendQueue,
};
use crate::wire::{frame::Frame, message::Numbers};

/// A SKIP that arrived and was not answered is sent again after this time.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It may not be sent yet: the lane has too many without an answer.
    Held,
    /// It leaves with the next packet.
    Waiting,
    /// It is on its way.
    Sent,
    /// It arrived, and the answer did not, as of this time.
    Heard(Instant),
}

/// A message given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Skip {
    /// The message, by which its notice is told.
    pub(super) id: u64,
    pub(super) notice: bool,
    pub(super) why: Outcome,
    lane: u8,
    at: u8,
    index: u64,
    charge: u64,
    state: State,
}

impl SendQueue {
    /// A `Delivery` that has a number is given up: its record goes, a SKIP takes its place.
    pub(super) fn skip(&mut self, slot: u32, why: Outcome) {
        let Some(message) = self.slab.get_mut(slot) else { return };
        let Some(Numbers::Delivery { index, .. }) = message.numbers else { return };
        let notice = message.extras.as_deref_mut().is_some_and(|extras| std::mem::take(&mut extras.notice));
        let (id, lane, at, charge) =
            (message.id, message.lane, message.at, charge(message.bytes.len()) as u64);
        self.finish(slot, why);
        self.skips.push_back(Skip { id, notice, why, lane, at, index, charge, state: State::Held });
        self.skips_held += 1;
        self.release_skips();
    }

    /// Lets held notes go, oldest first, as far as their lanes allow.
    pub(super) fn release_skips(&mut self) {
        if self.skips_held == 0 {
            return;
        }
        for skip in self.skips.iter_mut().filter(|skip| skip.state == State::Held) {
            let Some(lane) = self.lanes.get_mut(usize::from(skip.at)) else { continue };
            if lane.may_skip(skip.index) {
                lane.unanswered += 1;
                skip.state = State::Waiting;
                self.skips_held = self.skips_held.saturating_sub(1);
                self.skips_waiting += 1;
            }
        }
    }

    /// Packs the notes that wait.
    pub(super) fn pack_skips(&mut self, packet: &mut Packet<'_, '_>) -> Next {
        if self.skips_waiting == 0 {
            return Next::Done;
        }
        for skip in self.skips.iter_mut().filter(|skip| skip.state == State::Waiting) {
            let frame = Frame::Skip { lane: skip.lane, index: skip.index, charge: skip.charge };
            if !packet.put_control(&frame, Content::Skip { id: skip.id }) {
                return Next::Full;
            }
            skip.state = State::Sent;
            self.skips_waiting = self.skips_waiting.saturating_sub(1);
        }
        Next::Done
    }

    /// Learns the fate of a SKIP frame.
    pub(super) fn settle_skip(&mut self, id: u64, fate: Fate) {
        let clock = self.clock;
        let Some(skip) = self.skips.iter_mut().find(|skip| skip.id == id) else { return };
        match (skip.state, fate, clock) {
            (State::Sent, Fate::Acked, Some(now)) => skip.state = State::Heard(now),
            (State::Sent, ..) => {
                skip.state = State::Waiting;
                self.skips_waiting += 1;
            }
            _ => {}
        }
    }

    /// The peer answered: HAVE says that the message was complete there. An answer to nothing is ignored.
    pub(crate) fn on_skip_answer(&mut self, lane: u8, index: u64, have: bool) {
        let found = self.skips.iter().position(|skip| (skip.lane, skip.index) == (lane, index));
        let Some(skip) = found.and_then(|at| self.skips.remove(at)) else { return };
        match skip.state {
            // It answers nothing that was ever asked.
            State::Held => {
                self.skips.push_back(skip);
                return;
            }
            State::Waiting => self.skips_waiting = self.skips_waiting.saturating_sub(1),
            State::Sent | State::Heard(_) => {}
        }
        if let Some(lane) = self.lanes.get_mut(usize::from(skip.at)) {
            lane.unanswered = lane.unanswered.saturating_sub(1);
            lane.on_skipped(skip.index);
            if !have {
                *lane.counts.of(skip.why) += 1;
            }
        }
        if skip.notice {
            self.notices.tell(skip.id, if have { Outcome::Acked } else { skip.why });
        }
        self.release_skips();
    }

    /// When a SKIP is to be sent again.
    pub(super) fn skip_deadline(&self) -> Option<Instant> {
        let heard = self.skips.iter().filter_map(|skip| match skip.state {
            State::Heard(since) => Some(since + AGAIN_AFTER),
            _ => None,
        });
        heard.min()
    }

    pub(super) fn repeat_skips(&mut self, now: Instant) {
        if self.skip_deadline().is_none_or(|due| due > now) {
            return;
        }
        for skip in self.skips.iter_mut() {
            if matches!(skip.state, State::Heard(since) if since + AGAIN_AFTER <= now) {
                skip.state = State::Waiting;
                self.skips_waiting += 1;
            }
        }
    }
}

//! Parities of `None` and `Order` messages that arrive: kept behind the fragments of their message until one piece is all
//! that is missing under them. They are a favour: what cannot be kept is dropped, nothing is evicted for it, and one
//! that the peer got wrong spoils its own message at most. PROTOCOL.md, "Parity".

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{RecvQueue, late_after, store::Handle};
use crate::{
    delivery::parity::Cut,
    error::Violation,
    wire::{
        message::{Numbers, Part},
        parity::ParityFrame,
    },
};

/// Messages with parities that are remembered when they are complete, to tell a late piece from a repeated one.
const REMEMBERED: usize = 16;

/// Messages with parities are expected to go on for so long.
const LATELY: Duration = Duration::from_secs(1);

/// What parities did, over all sessions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parities {
    /// The names (lane and id) of the last messages with parities that became complete.
    names: VecDeque<(u8, u64)>,
    /// In which lane the last parity came, and when.
    last: Option<(u8, Instant)>,
    /// Pieces of messages that were restored.
    pub(crate) restored: u64,
    /// Parities that nothing was missing for, or that could not be kept, and pieces that came when they were restored.
    pub(crate) unneeded: u64,
}

impl Parities {
    pub(super) fn has(&self, name: (u8, u64)) -> bool {
        self.names.contains(&name)
    }

    fn note(&mut self, name: (u8, u64)) {
        if self.names.len() >= REMEMBERED {
            self.names.pop_front();
        }
        self.names.push_back(name);
    }
}

impl RecvQueue {
    /// Whether pieces in this lane are likely to be followed by parities: the last one came there, and lately.
    pub(crate) fn expects_parities(&self, now: Instant, lane: u8) -> bool {
        let last = self.parities.as_ref().and_then(|parities| parities.last);
        last.is_some_and(|(of, at)| of == lane && now.saturating_duration_since(at) < LATELY)
    }

    /// Takes one parity frame.
    ///
    /// # Errors
    /// `Bound` when it speaks of a message longer than agreed, or of another one than the fragments before it;
    /// `Malformed` when it names none. Nothing of it was taken then.
    pub(crate) fn insert_parity(&mut self, now: Instant, frame: &ParityFrame<'_>) -> Result<(), Violation> {
        let message = &frame.message;
        let Some(((cut, first), id)) = Cut::of(frame).zip(message.id) else {
            return Err(Violation::Malformed);
        };
        self.parities.get_or_insert_default().last = Some((message.lane, now));
        if !self.wants_unreliable(cut.total as usize)? {
            return Ok(());
        }
        let lane = self.lanes.open(message.lane);
        let stale = matches!(message.numbers, Numbers::Order { set, .. } if lane.is_stale(set));
        if stale || lane.knows_id(id) {
            self.count_unneeded();
            return Ok(());
        }
        let known = self.partial(message.lane, id);
        self.check_same(message, cut.total, known)?;
        let handle = match known {
            Some(handle) => handle,
            None => match self.open_partial(now, message, cut.total, id) {
                Some(handle) => handle,
                None => return Ok(()),
            },
        };
        if !self.keep_parity(handle, cut, first) {
            self.count_unneeded();
            return Ok(());
        }
        if let Some(stored) = self.store.get_mut(handle) {
            stored.late_no_later(late_after(now, message.life));
        }
        let place = u32::try_from(cut.place(first).start).map_err(|_| Violation::Bound)?;
        self.store.fill(handle, place, message.bytes);
        if self.restore(handle, first) {
            self.arrive(now, message, id, handle);
        }
        Ok(())
    }

    /// Whether a parity is of any use, and its room is paid for. The room of all parities of a message is paid with the
    /// first.
    fn keep_parity(&mut self, handle: Handle, cut: Cut, first: u32) -> bool {
        let room = self.limits.unreliable_bytes.saturating_sub(self.unreliable_used);
        let Some(stored) = self.store.get_mut(handle) else { return false };
        if stored.lacks_nothing(&cut, first) || stored.cut.is_some_and(|known| known != cut) {
            return false;
        }
        if stored.cut.is_none() {
            if cut.parity_bytes() > room {
                return false;
            }
            stored.cut = Some(cut);
            self.unreliable_used += cut.parity_bytes();
        }
        true
    }

    /// Restores what the parities over these bytes of a message can restore. True when it is complete now.
    pub(super) fn restore_around(&mut self, handle: Handle, part: Part, len: usize) -> bool {
        let Some(cut) = self.store.get(handle).and_then(|stored| stored.cut) else { return false };
        let start = if let Part::Fragment { offset, .. } = part { u64::from(offset) } else { 0 };
        let touched = (start..start + len as u64).step_by(cut.size.max(1) as usize);
        let last = (start + len as u64).saturating_sub(1);
        // As many pieces in a row as there are parities touch each of them once.
        touched.chain([last]).take(cut.step as usize + 1).any(|at| self.restore(handle, cut.parity_of(at)))
    }

    /// Restores a piece if parity `first` can. True when the message is complete now.
    fn restore(&mut self, handle: Handle, first: u32) -> bool {
        let Some(stored) = self.store.get_mut(handle) else { return false };
        let restored = stored.restore(first);
        let complete = stored.is_complete();
        if restored {
            self.parities.get_or_insert_default().restored += 1;
        }
        complete
    }

    /// Pieces restored, and parities and pieces that were of no use, over all sessions.
    pub(crate) fn parity_counts(&self) -> (u64, u64) {
        self.parities.as_ref().map_or((0, 0), |parities| (parities.restored, parities.unneeded))
    }

    pub(super) fn count_unneeded(&mut self) {
        self.parities.get_or_insert_default().unneeded += 1;
    }

    /// Goes on counting where another session ended.
    pub(crate) fn inherit_parities(&mut self, before: &mut Self) {
        self.parities = before.parities.take();
        if let Some(parities) = self.parities.as_mut() {
            parities.names.clear();
            parities.last = None;
        }
    }

    /// Gives back memory that is not in use; what was counted stays.
    pub(super) fn rest_parities(&mut self) {
        if let Some(parities) = self.parities.as_mut() {
            parities.names = VecDeque::new();
        }
    }

    /// The message is complete: its parities go, and it is remembered that there were some.
    pub(super) fn drop_parities(&mut self, handle: Handle, name: (u8, u64)) {
        let Some(stored) = self.store.get_mut(handle).filter(|stored| stored.cut.is_some()) else { return };
        self.unreliable_used = self.unreliable_used.saturating_sub(stored.parity_bytes());
        stored.drop_parities();
        self.parities.get_or_insert_default().note(name);
    }
}

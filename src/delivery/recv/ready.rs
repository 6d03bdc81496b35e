//! The queue of messages whose turn has come, first in, first out. Knows no rules: what is in here is yielded, unless
//! the budget of unreliable messages takes a stored `None` or `Order` back before the application asks.

use std::{collections::VecDeque, ops::Range};

use super::store::{Handle, Store};
use crate::{delivery::Guarantee, wire::message::Numbers};

/// Where the bytes of a ready message are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the datagram that is being looked at.
    Datagram {
        /// Offset of the first byte in the buffer of the datagram.
        start: usize,
        /// Length in bytes.
        len: usize,
    },
    /// In secondary storage.
    Stored(Handle),
}

/// A message for the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) guarantee: Guarantee,
    pub(crate) lane: u8,
    /// The set that it belongs to; `None` messages belong to none.
    pub(crate) set: Option<u64>,
    pub(crate) place: Place,
}

/// One entry of the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) lane: u8,
    pub(super) numbers: Numbers,
    pub(super) place: Place,
}

impl Turn {
    pub(super) fn ready(&self) -> Ready {
        let (guarantee, set) = match self.numbers {
            Numbers::None => (Guarantee::None, None),
            Numbers::Order { set, .. } => (Guarantee::Order, Some(set)),
            Numbers::Delivery { set, .. } => (Guarantee::Delivery, Some(set)),
        };
        Ready { guarantee, lane: self.lane, set, place: self.place }
    }
}

/// Messages in the order in which they will be yielded.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    turns: VecDeque<Turn>,
    in_place: usize,
    /// No entry before this position is in place, so that a long queue costs nothing for each datagram.
    in_place_from: usize,
    /// Entries whose stored message was evicted.
    gone: usize,
}

impl ReadyQueue {
    pub(super) fn push(&mut self, turn: Turn) {
        if matches!(turn.place, Place::Datagram { .. }) {
            if self.in_place == 0 {
                self.in_place_from = self.turns.len();
            }
            self.in_place += 1;
        }
        self.turns.push_back(turn);
    }

    /// The next entry whose message still exists.
    pub(super) fn pop(&mut self, store: &Store) -> Option<Turn> {
        while let Some(turn) = self.turns.pop_front() {
            self.in_place_from = self.in_place_from.saturating_sub(1);
            match turn.place {
                Place::Datagram { .. } => {
                    self.in_place = self.in_place.saturating_sub(1);
                    return Some(turn);
                }
                Place::Stored(handle) if store.get(handle).is_some() => return Some(turn),
                Place::Stored(_) => self.gone = self.gone.saturating_sub(1),
            }
        }
        None
    }

    /// Positions that may be in place.
    pub(super) fn positions(&self) -> Range<usize> {
        self.in_place_from..self.turns.len()
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.turns.capacity()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub(super) fn has_in_place(&self) -> bool {
        self.in_place > 0
    }

    /// The entry at `position` if its bytes are in the datagram.
    pub(super) fn in_place(&self, position: usize) -> Option<(Turn, usize, usize)> {
        let turn = self.turns.get(position)?;
        match turn.place {
            Place::Datagram { start, len } => Some((*turn, start, len)),
            Place::Stored(_) => None,
        }
    }

    /// The bytes of an entry that was in place were copied, or, without a handle, there was no memory for them.
    pub(super) fn moved(&mut self, position: usize, handle: Option<Handle>) {
        self.in_place = self.in_place.saturating_sub(1);
        match (handle, self.turns.get_mut(position)) {
            (Some(handle), Some(turn)) => turn.place = Place::Stored(handle),
            (None, Some(turn)) => {
                turn.place = Place::Stored(Handle::NOTHING);
                self.gone += 1;
            }
            (_, None) => {}
        }
    }

    /// A stored message of the queue was evicted.
    pub(super) fn evicted(&mut self) {
        self.gone += 1;
    }

    /// Forgets evicted entries once they are the larger part. Positions change.
    pub(super) fn tidy(&mut self, store: &Store) {
        if self.gone > self.turns.len() / 2 + 16 {
            self.forget_gone(store);
        }
    }

    /// Gives back memory that is not in use.
    pub(super) fn shrink(&mut self, store: &Store) {
        self.forget_gone(store);
        self.turns.shrink_to_fit();
    }

    fn forget_gone(&mut self, store: &Store) {
        self.turns.retain(|turn| match turn.place {
            Place::Datagram { .. } => true,
            Place::Stored(handle) => store.get(handle).is_some(),
        });
        self.gone = 0;
        self.in_place_from = 0;
    }
}

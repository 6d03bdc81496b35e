//! Which `Delivery` indexes of a lane are settled, which are complete and wait, and which are arriving in fragments.
//! Knows no bytes and no sets. Everything below `below` is settled; nothing at or above `below + MAX_INDEX_SPAN` is
//! ever touched, so one lane costs at most 1,024 words.

use std::collections::VecDeque;

use super::MAX_INDEX_SPAN;
use crate::delivery::on_demand::OnDemand;

/// No slot: the end of a chain.
pub(super) const NONE: u32 = u32::MAX;

/// What is known of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its message was yielded, skipped, or let go because its life was over.
    Settled,
    /// Its message is complete and waits for earlier ones.
    Complete,
    /// Nothing, or only fragments, came.
    Open,
    /// Too far ahead to keep a note of.
    Beyond,
}

/// 64 neighbouring indexes.
#[derive(Clone, Copy, Debug)]
struct Word {
    settled: u64,
    complete: u64,
    /// Slot of the newest message of these that is arriving in fragments; each such slot names the next.
    arriving: u32,
}

impl Word {
    const EMPTY: Self = Self { settled: 0, complete: 0, arriving: NONE };
}

/// The indexes of one lane.
#[derive(Clone, Debug, Default)]
pub(super) struct Span {
    below: u64,
    /// The first word holds the index `below`; bits of indexes under it mean nothing. Empty when there is nothing to
    /// note above `below`, which is the state of a lane without loss.
    words: OnDemand<VecDeque<Word>>,
}

impl Span {
    /// Every index under this one is settled, this one is not.
    pub(super) fn below(&self) -> u64 {
        self.below
    }

    pub(super) fn standing(&self, index: u64) -> Standing {
        if index < self.below {
            return Standing::Settled;
        }
        if index - self.below >= MAX_INDEX_SPAN {
            return Standing::Beyond;
        }
        let bit = 1_u64 << (index % 64);
        match self.words.get(self.position(index)) {
            Some(word) if word.settled & bit != 0 => Standing::Settled,
            Some(word) if word.complete & bit != 0 => Standing::Complete,
            _ => Standing::Open,
        }
    }

    /// Notes that the message of `index` is complete and waits. `index` is not `Beyond`.
    pub(super) fn complete(&mut self, index: u64) {
        if let Some(word) = self.word_mut(index) {
            word.complete |= 1 << (index % 64);
        }
    }

    /// Settles `index`, which is not `Beyond`.
    pub(super) fn settle(&mut self, index: u64) {
        if index == self.below && self.words.is_empty() {
            self.below += 1;
            return;
        }
        if let Some(word) = self.word_mut(index) {
            word.settled |= 1 << (index % 64);
        }
        if index == self.below {
            self.advance();
        }
    }

    /// How many words are kept, and how many more a note of `index` would need.
    pub(super) fn words(&self) -> usize {
        self.words.len()
    }

    pub(super) fn growth(&self, index: u64) -> usize {
        self.position(index).saturating_add(1).saturating_sub(self.words.len())
    }

    /// Head of the chain of slots that hold fragments of `index` or its neighbours.
    pub(super) fn arriving(&self, index: u64) -> u32 {
        if index < self.below {
            return NONE;
        }
        self.words.get(self.position(index)).map_or(NONE, |word| word.arriving)
    }

    pub(super) fn set_arriving(&mut self, index: u64, slot: u32) {
        if let Some(word) = self.word_mut(index) {
            word.arriving = slot;
        }
    }

    /// Gives back memory that is not in use.
    pub(super) fn shrink(&mut self) {
        self.words.rest();
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.words.capacity()
    }

    fn advance(&mut self) {
        while let Some(word) = self.words.front() {
            let offset = self.below % 64;
            let run = u64::from((word.settled >> offset).trailing_ones());
            self.below += run;
            if offset + run < 64 {
                let noted = (word.settled | word.complete) >> (offset + run) != 0 || word.arriving != NONE;
                if !noted && self.words.len() == 1 {
                    self.words.clear();
                }
                return;
            }
            self.words.pop_front();
        }
    }

    /// Position of the word of `index`, which is at least `below`.
    fn position(&self, index: u64) -> usize {
        usize::try_from(index / 64 - self.below / 64).unwrap_or(usize::MAX)
    }

    /// The word of `index`, made if need be; `None` outside the span.
    fn word_mut(&mut self, index: u64) -> Option<&mut Word> {
        if index < self.below || index - self.below >= MAX_INDEX_SPAN {
            return None;
        }
        let position = self.position(index);
        if self.words.len() <= position {
            self.words.resize(position + 1, Word::EMPTY);
        }
        self.words.get_mut(position)
    }
}

//! Packet numbers left out on purpose: who acknowledges one of them acknowledges blindly. PROTOCOL.md, "Blind
//! acknowledgements".

use std::{collections::VecDeque, time::Instant};

use super::SentPackets;
use crate::delivery::ack::Call;

/// Numbers left out on purpose that are remembered, to tell an honest acknowledgement from a blind one.
const SKIPS_REMEMBERED: usize = 16;

/// The numbers at rest. A session that mostly rests has left out one.
#[derive(Clone, Debug)]
pub(super) enum Skipped {
    One(u64),
    Many(Box<[u64]>),
}

impl Skipped {
    pub(super) fn new(numbers: &VecDeque<u64>) -> Self {
        match (numbers.front(), numbers.len()) {
            (Some(&only), 1) => Self::One(only),
            _ => Self::Many(numbers.iter().copied().collect()),
        }
    }

    pub(super) fn numbers(&self) -> &[u64] {
        match self {
            Self::One(only) => std::slice::from_ref(only),
            Self::Many(numbers) => numbers,
        }
    }
}

impl SentPackets {
    /// Notes that `number` is left out on purpose (PROTOCOL.md, "Blind acknowledgements").
    pub(crate) fn on_skipped(&mut self, now: Instant, number: u64) {
        debug_assert_eq!(number, self.next_number());
        self.push(now, 0, 0, Call::No);
        self.remember_skips(&[number]);
        self.pop_settled(now);
    }

    pub(super) fn remember_skips(&mut self, numbers: &[u64]) {
        for &number in numbers {
            if self.skipped.len() == SKIPS_REMEMBERED {
                self.skipped.pop_front();
            } else if self.skipped.capacity() < SKIPS_REMEMBERED {
                // All of it at once: later skips come while the session runs.
                self.skipped.reserve_exact(SKIPS_REMEMBERED);
            }
            self.skipped.push_back(number);
        }
    }

    #[cfg(test)]
    pub(crate) fn skipped(&self) -> Vec<u64> {
        self.skipped.iter().copied().collect()
    }
}

//! The rules of the receiving half, one promise a test. The model and the random comparisons are in `model`.

mod bounds;
mod expiry;
mod fragments;
mod lending;
mod yielding;

use super::{fragments::PARTIAL_LIFE, *};
use crate::{delivery::Guarantee, os::Environment};

pub(super) fn limits() -> RecvLimits {
    RecvLimits {
        window_bytes: 4 << 20,
        unreliable_bytes: 256 << 10,
        max_message: 1 << 20,
        max_unreliable: 1 << 16,
        max_fragments: u16::MAX,
    }
}

pub(super) fn order(set: u64, base: u64) -> Numbers {
    Numbers::Order { set, base }
}

pub(super) fn delivery(set: u64, base: u64, index: u64) -> Numbers {
    Numbers::Delivery { set, base, index }
}

/// A queue, its clock, and an application that takes everything at once and writes it down.
pub(super) struct Rig {
    pub(super) queue: RecvQueue,
    pub(super) now: Instant,
    pub(super) log: Vec<Vec<u8>>,
    /// Leave messages in the queue.
    pub(super) lazy: bool,
}

impl Rig {
    pub(super) fn new(limits: RecvLimits) -> Self {
        Self { queue: RecvQueue::new(limits), now: Environment::os().now(), log: Vec::new(), lazy: false }
    }

    pub(super) fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    pub(super) fn insert(&mut self, frame: MessageFrame<'_>) -> Result<(), Violation> {
        let mut datagram = vec![0xee; 5];
        datagram.extend_from_slice(frame.bytes);
        let result = self.queue.insert(self.now, &frame, 5);
        if self.lazy {
            self.queue.detach(&datagram);
        } else {
            self.take(&datagram);
        }
        assert!(!self.queue.has_in_place());
        self.check();
        result
    }

    /// Pops and releases all there is.
    pub(super) fn take(&mut self, datagram: &[u8]) {
        while let Some(ready) = self.queue.pop() {
            match ready.place {
                Place::Datagram { start, len } => self.log.push(datagram[start..start + len].to_vec()),
                Place::Stored(handle) => {
                    self.log.push(self.queue.bytes(handle).to_vec());
                    self.queue.release(handle);
                }
            }
        }
    }

    pub(super) fn whole(&mut self, numbers: Numbers, bytes: &str) -> Result<(), Violation> {
        self.insert(frame(numbers, None, Part::Whole, bytes.as_bytes()))
    }

    pub(super) fn copy(&mut self, numbers: Numbers, id: u64, bytes: &str) -> Result<(), Violation> {
        self.insert(frame(numbers, Some(id), Part::Whole, bytes.as_bytes()))
    }

    pub(super) fn part(
        &mut self,
        numbers: Numbers,
        id: Option<u64>,
        message: &[u8],
        range: std::ops::Range<usize>,
    ) -> Result<(), Violation> {
        let part = Part::Fragment {
            offset: range.start.try_into().unwrap(),
            total: message.len().try_into().unwrap(),
        };
        self.insert(frame(numbers, id, part, &message[range]))
    }

    pub(super) fn skip(&mut self, index: u64) -> Result<Answer, Violation> {
        let answer = self.queue.skip(self.now, 0, index, 100);
        self.take(&[]);
        self.check();
        answer
    }

    pub(super) fn texts(&self) -> Vec<&str> {
        self.log.iter().map(|bytes| std::str::from_utf8(bytes).unwrap_or("?")).collect()
    }

    /// The accounts agree with what is there, and stay within the limits.
    pub(super) fn check(&self) {
        let queue = &self.queue;
        if queue.kept.len() > 50 && queue.store.stamps() % 97 != 0 {
            return;
        }
        queue.store.check();
        let (mut delivery, mut unreliable, mut kept) = (0, 0, 0);
        let mut held = [0; 256];
        for slot in 0..u32::MAX {
            if !queue.store.has_slot(slot) {
                break;
            }
            let Some((handle, stored)) = queue.store.in_slot(slot) else { continue };
            let charge = stored.total as usize + stored.parity_bytes() + MESSAGE_OVERHEAD;
            assert!(stored.cut.is_none() || stored.stage == Stage::Partial, "{stored:?}");
            if matches!(stored.numbers, Numbers::Delivery { .. }) {
                delivery += charge;
                if matches!(stored.stage, Stage::Held | Stage::Partial) {
                    held[usize::from(stored.lane)] += charge;
                }
            } else {
                unreliable += charge;
                let listed = queue.kept.contains(&handle);
                kept += usize::from(listed);
                assert_eq!(listed, matches!(stored.stage, Stage::Held | Stage::Ready), "{stored:?}");
                let partial = queue.partials.iter().any(|partial| partial.handle == handle);
                assert_eq!(partial, stored.stage == Stage::Partial, "{stored:?}");
            }
            assert!(stored.memory() <= 4 * charge, "{} bytes of memory for {charge}", stored.memory());
        }
        assert_eq!(queue.unreliable_used, unreliable);
        assert_eq!(queue.kept_live, kept);
        if !queue.has_in_place() {
            assert_eq!(queue.delivery_used, delivery);
        }
        assert!(queue.delivery_used <= queue.limits.window_bytes);
        assert_eq!(queue.lanes.held(), held);
        assert!(held.iter().all(|&held| held <= queue.limits.lane_bytes()));
        assert!(queue.lanes.words() <= MAX_WORDS + 256 * 9, "what is always free comes on top");
        assert!(queue.unreliable_used <= queue.limits.unreliable_bytes);
    }
}

pub(super) fn frame(numbers: Numbers, id: Option<u64>, part: Part, bytes: &[u8]) -> MessageFrame<'_> {
    MessageFrame { lane: 0, numbers, id, life: None, part, bytes }
}

fn long(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

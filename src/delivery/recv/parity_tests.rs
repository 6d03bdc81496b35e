//! Parities at the receiving half: what they restore, what a peer cannot do with them, and a plain model beside it.

use std::ops::Range;

use proptest::prelude::*;

use super::{
    tests::{Rig, delivery, frame, limits, order},
    *,
};
use crate::{delivery::parity::Cut, wire::parity::ParityFrame};

const SIZE: u32 = 200;

fn message(len: u32) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect()
}

fn cut(total: u32, step: u32) -> Cut {
    Cut { total, size: SIZE, step }
}

/// The parity as a sender computes it, one byte at a time.
fn mixed(bytes: &[u8], cut: &Cut, first: u32) -> Vec<u8> {
    let mut parity = vec![0; cut.size as usize];
    for (at, byte) in bytes.iter().enumerate() {
        if (at / cut.size as usize) % cut.step as usize == first as usize {
            parity[at % cut.size as usize] ^= byte;
        }
    }
    parity
}

impl Rig {
    fn parity(
        &mut self,
        numbers: Numbers,
        id: u64,
        cut: &Cut,
        first: u32,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let part = Part::Fragment { offset: first * cut.size, total: cut.total };
        let message = frame(numbers, Some(id), part, bytes);
        let result = self.queue.insert_parity(self.now, &ParityFrame { step: cut.step, message });
        if !self.lazy {
            self.take(&[]);
        }
        self.check();
        result
    }

    fn piece(&mut self, numbers: Numbers, id: u64, bytes: &[u8], piece: u32) {
        let start = (piece * SIZE) as usize;
        let end = (start + SIZE as usize).min(bytes.len());
        self.part(numbers, Some(id), bytes, start..end).unwrap();
    }
}

#[test]
fn any_one_piece_may_be_missing_and_the_parity_may_come_at_any_place() {
    let (bytes, cut) = (message(901), cut(901, 1));
    let parity = mixed(&bytes, &cut, 0);
    for missing in 0..5 {
        for place in 0..5 {
            let mut rig = Rig::new(limits());
            let here: Vec<u32> = (0..5).filter(|&piece| piece != missing).collect();
            for (at, &piece) in here.iter().enumerate() {
                if at == place {
                    rig.parity(order(3, 0), 7, &cut, 0, &parity).unwrap();
                }
                rig.piece(order(3, 0), 7, &bytes, piece);
            }
            if place == 4 {
                assert_eq!(rig.log.len(), 0);
                rig.parity(order(3, 0), 7, &cut, 0, &parity).unwrap();
            }
            assert!(rig.log == [bytes.clone()], "piece {missing} missing, parity at {place}");
            assert_eq!(rig.queue.parity_counts().0, 1);
            // What was only late finds its message there, and is no repetition.
            rig.piece(order(3, 0), 7, &bytes, missing);
            rig.parity(order(3, 0), 7, &cut, 0, &parity).unwrap();
            assert_eq!((rig.log.len(), rig.queue.parity_counts().1), (1, 2));
            assert_eq!((rig.queue.counters().duplicates, rig.queue.unreliable_used()), (0, 0));
        }
    }
}

#[test]
fn every_parity_restores_a_piece_of_its_own() {
    let (bytes, cut) = (message(2_150), cut(2_150, 3));
    let mut rig = Rig::new(limits());
    for piece in (0..11).filter(|piece| ![4, 5, 9].contains(piece)) {
        rig.piece(Numbers::None, 1, &bytes, piece);
    }
    for first in 0..3 {
        assert_eq!(rig.log.len(), 0);
        rig.parity(Numbers::None, 1, &cut, first, &mixed(&bytes, &cut, first)).unwrap();
    }
    assert!(rig.log == [bytes]);
    assert_eq!(rig.queue.parity_counts().0, 3);
}

#[test]
fn two_pieces_missing_under_one_parity_wait_for_one_of_them() {
    let (bytes, cut) = (message(1_000), cut(1_000, 1));
    let mut rig = Rig::new(limits());
    for piece in [0, 3, 4] {
        rig.piece(order(0, 0), 1, &bytes, piece);
    }
    let parity = mixed(&bytes, &cut, 0);
    rig.parity(order(0, 0), 1, &cut, 0, &parity).unwrap();
    rig.parity(order(0, 0), 1, &cut, 0, &parity).unwrap();
    assert_eq!(rig.log.len(), 0);
    // Half of a piece is not enough; what comes may be cut as it likes.
    rig.part(order(0, 0), Some(1), &bytes, 250..400).unwrap();
    assert_eq!(rig.log.len(), 0);
    rig.part(order(0, 0), Some(1), &bytes, 100..260).unwrap();
    assert!(rig.log == [bytes]);
}

#[test]
fn a_parity_of_another_message_is_a_violation_and_changes_nothing() {
    let (bytes, cut) = (message(901), cut(901, 1));
    let parity = mixed(&bytes, &cut, 0);
    let mut rig = Rig::new(limits());
    rig.piece(order(3, 0), 7, &bytes, 0);
    let other = Cut { total: 902, ..cut };
    assert_eq!(rig.parity(order(3, 0), 7, &other, 0, &parity), Err(Violation::Bound));
    assert_eq!(rig.parity(order(4, 0), 7, &cut, 0, &parity), Err(Violation::Bound));
    assert_eq!(rig.parity(Numbers::None, 7, &cut, 0, &parity), Err(Violation::Bound));
    let long = Cut { total: (1 << 20) + 1, size: 1 << 15, step: 1 };
    assert_eq!(rig.parity(order(3, 0), 8, &long, 0, &parity), Err(Violation::Bound));
    // And a fragment that disagrees with the parity before it.
    rig.parity(order(5, 0), 9, &cut, 0, &parity).unwrap();
    assert_eq!(rig.part(order(5, 0), Some(9), &message(950), 0..200), Err(Violation::Bound));
    assert_eq!(rig.part(order(6, 0), Some(9), &bytes, 0..200), Err(Violation::Bound));
    for piece in 1..4 {
        rig.piece(order(3, 0), 7, &bytes, piece);
    }
    rig.parity(order(3, 0), 7, &cut, 0, &parity).unwrap();
    assert!(rig.log == [bytes]);
}

#[test]
fn a_parity_that_cannot_help_is_dropped_and_counted() {
    let (bytes, cut) = (message(901), cut(901, 1));
    let parity = mixed(&bytes, &cut, 0);
    let mut rig = Rig::new(limits());
    rig.piece(order(3, 0), 7, &bytes, 0);
    rig.parity(order(3, 0), 7, &cut, 0, &parity).unwrap();
    // Another cut of the same message.
    rig.parity(order(3, 0), 7, &Cut { size: 300, ..cut }, 0, &[1; 300]).unwrap();
    assert_eq!(rig.queue.parity_counts().1, 1);
    rig.whole(order(4, 0), "newer").unwrap();
    // The message is stale now, and so is a later one of its set.
    rig.parity(order(3, 0), 7, &cut, 0, &parity).unwrap();
    rig.parity(order(3, 0), 8, &cut, 0, &parity).unwrap();
    assert_eq!((rig.queue.parity_counts().1, rig.queue.unreliable_used()), (3, 0));
    // All that stands under the parity is here.
    let two = Cut { step: 2, ..cut };
    for piece in [0, 2, 4] {
        rig.piece(order(5, 0), 9, &bytes, piece);
    }
    let used = rig.queue.unreliable_used();
    rig.parity(order(5, 0), 9, &two, 0, &mixed(&bytes, &two, 0)).unwrap();
    assert_eq!((rig.queue.parity_counts().1, rig.queue.unreliable_used()), (4, used));
    assert_eq!(rig.log.len(), 1);
}

#[test]
fn what_was_counted_and_consumed_is_known_after_a_rest() {
    let (bytes, cut) = (message(901), cut(901, 1));
    let parity = mixed(&bytes, &cut, 0);
    let mut rig = Rig::new(limits());
    (1..5).for_each(|piece| rig.piece(order(1, 1), 7, &bytes, piece));
    (0..2).for_each(|_| rig.parity(order(1, 1), 7, &cut, 0, &parity).unwrap());
    rig.whole(delivery(0, 0, 0), "first").unwrap();
    assert_eq!((rig.log.len(), rig.queue.may_rest()), (2, true));
    let told = |queue: &RecvQueue| (queue.parity_counts(), queue.window_limit());
    let before = told(&rig.queue);
    assert_eq!(before, ((1, 1), (4 << 20) + 5 + 64));
    rig.queue = rig.queue.rest().wake(|_, _| limits());
    assert_eq!(told(&rig.queue), before);
}

#[test]
fn parities_cost_what_they_hold_and_nothing_is_evicted_for_one() {
    let (bytes, cut) = (message(60_000), Cut { total: 60_000, size: 128, step: 234 });
    let mut rig = Rig::new(limits());
    rig.lazy = true;
    // Three messages fit, with the parities of two: for those of the third there is no room any more.
    let charge = 60_000 + MESSAGE_OVERHEAD;
    for (count, id) in (1..4).zip(0..3) {
        rig.part(order(1, 9), Some(id), &bytes, 0..500).unwrap();
        for first in 0..200 {
            rig.parity(order(1, 9), id, &cut, first, &mixed(&bytes, &cut, first)).unwrap();
        }
        let parities = count.min(2) * cut.parity_bytes();
        assert_eq!(rig.queue.unreliable_used(), count * charge + parities);
    }
    assert_eq!(rig.queue.parity_counts().1, 200);
    assert_eq!(rig.queue.partials.len(), 3);
    rig.wait(2_000);
    rig.queue.expire(rig.now);
    assert_eq!((rig.queue.unreliable_used(), rig.queue.partials.len()), (0, 0));
    rig.check();
}

#[test]
fn parities_make_no_honest_fragment_a_violation() {
    // Every second piece, and the parities of all that are missing, two under each: as many ranges as may be.
    let (bytes, cut) = (message(128 * 40 + 60), Cut { total: 128 * 40 + 60, size: 128, step: 20 });
    let mut rig = Rig::new(RecvLimits { max_fragments: 21, ..limits() });
    for first in (1..20).step_by(2) {
        rig.parity(order(0, 0), 1, &cut, first, &mixed(&bytes, &cut, first)).unwrap();
    }
    for piece in (0..41).step_by(2) {
        let start = piece * 128;
        let end = (start + 128).min(bytes.len());
        rig.part(order(0, 0), Some(1), &bytes, start..end).unwrap();
    }
    assert_eq!(rig.part(order(0, 0), Some(1), &bytes, 300..500), Ok(()));
    // What comes of the first twenty pieces restores the others.
    rig.part(order(0, 0), Some(1), &bytes, 0..20 * 128).unwrap();
    assert!(rig.log == [bytes]);
}

#[test]
fn a_late_message_stays_late_when_it_is_restored() {
    let (bytes, cut) = (message(401), cut(401, 1));
    let mut rig = Rig::new(limits());
    let part = |offset| Part::Fragment { offset, total: 401 };
    let mut first = frame(order(0, 0), Some(1), part(0), &bytes[..200]);
    first.life = Some(50);
    rig.insert(first).unwrap();
    rig.wait(60);
    rig.piece(order(0, 0), 1, &bytes, 1);
    rig.parity(order(0, 0), 1, &cut, 0, &mixed(&bytes, &cut, 0)).unwrap();
    assert_eq!((rig.log.len(), rig.queue.counters().late), (0, 1));
}

#[test]
fn a_restored_order_waits_for_its_deliveries() {
    let (bytes, cut) = (message(401), cut(401, 1));
    let mut rig = Rig::new(limits());
    rig.parity(order(1, 1), 1, &cut, 0, &mixed(&bytes, &cut, 0)).unwrap();
    rig.piece(order(1, 1), 1, &bytes, 2);
    rig.piece(order(1, 1), 1, &bytes, 0);
    assert_eq!(rig.log.len(), 0);
    rig.whole(delivery(0, 0, 0), "first").unwrap();
    assert!(rig.log == [b"first".to_vec(), bytes]);
}

/// What arrives in one step.
#[derive(Clone, Debug)]
enum Step {
    Fragment(Range<usize>),
    Parity(u32),
}

/// A message, its cut, and fragments and parities of it in any order, some twice and some never.
fn session() -> impl Strategy<Value = (Cut, Vec<Step>)> {
    (1..14_u32, 1..=SIZE, 1..4_u32).prop_flat_map(|(pieces, last, step)| {
        let total = pieces * SIZE + last;
        let cut = cut(total, step.min(pieces.div_ceil(2)));
        let own_cut = (0..=pieces).prop_map(move |piece| {
            Step::Fragment((piece * SIZE) as usize..((piece + 1) * SIZE).min(total) as usize)
        });
        let any_cut = (0..total - 128, 128..600_u32)
            .prop_map(move |(start, len)| Step::Fragment(start as usize..(start + len).min(total) as usize))
            .prop_filter(
                "a whole is no fragment",
                move |step| !matches!(step, Step::Fragment(part) if part.len() == total as usize),
            );
        let parity = (0..cut.step).prop_map(Step::Parity);
        let any = prop_oneof![6 => own_cut, 1 => any_cut, 3 => parity];
        (Just(cut), prop::collection::vec(any, 1..30))
    })
}

/// The rule as plainly as it can be written: which bytes are known after a step.
struct Model {
    known: Vec<bool>,
    parities: Vec<bool>,
}

impl Model {
    fn take(&mut self, cut: &Cut, step: &Step) -> bool {
        match step {
            Step::Fragment(part) => self.known[part.clone()].fill(true),
            Step::Parity(first) => self.parities[*first as usize] = true,
        }
        for (first, _) in self.parities.iter().enumerate().filter(|(_, here)| **here) {
            let under = |at: usize| (at / cut.size as usize) % cut.step as usize == first;
            let unknown = (0..self.known.len()).filter(|&at| under(at) && !self.known[at]);
            let mut pieces: Vec<usize> = unknown.map(|at| at / cut.size as usize).collect();
            pieces.dedup();
            if let [only] = pieces[..] {
                let start = only * cut.size as usize;
                let end = (start + cut.size as usize).min(self.known.len());
                self.known[start..end].fill(true);
            }
        }
        self.known.iter().all(|known| *known)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn the_queue_knows_what_the_model_knows((cut, steps) in session()) {
        let bytes = message(cut.total);
        let mut rig = Rig::new(limits());
        let mut model =
            Model { known: vec![false; bytes.len()], parities: vec![false; cut.step as usize] };
        for step in &steps {
            let complete = model.take(&cut, step);
            match step {
                Step::Fragment(part) => rig.part(order(0, 0), Some(1), &bytes, part.clone()),
                Step::Parity(first) => rig.parity(order(0, 0), 1, &cut, *first, &mixed(&bytes, &cut, *first)),
            }.unwrap();
            prop_assert_eq!(rig.log.len(), usize::from(complete));
            if complete {
                prop_assert!(rig.log[0] == bytes, "wrong bytes");
                prop_assert_eq!(rig.queue.unreliable_used(), 0);
            }
        }
    }

    #[test]
    fn a_lying_peer_spoils_its_own_message_only(
        steps in prop::collection::vec((0..3_u64, 0..2_000_u32, 128..400_u32, 1..5_u32, any::<bool>()), 1..60)
    ) {
        let (junk, good) = (message(4_096), message(777));
        let mut rig = Rig::new(limits());
        for (id, offset, len, step, parity) in steps {
            let total = 2_100 + 500 * u32::try_from(id).unwrap();
            let (start, size) = (offset as usize, len as usize);
            if parity {
                let cut = Cut { total, size: len, step };
                let first = offset % step;
                let pieces = total.div_ceil(len).saturating_sub(first).div_ceil(step);
                if (2..=64).contains(&pieces) {
                    rig.parity(order(1, 0), id, &cut, first, &junk[..size]).unwrap();
                }
            } else {
                let part = Part::Fragment { offset, total };
                let bytes = &junk[start..(start + size).min(total as usize)];
                prop_assert!(rig.insert(frame(order(1, 0), Some(id), part, bytes)).is_ok());
            }
        }
        rig.log.clear();
        rig.part(order(2, 0), Some(50), &good, 0..400).unwrap();
        rig.part(order(2, 0), Some(50), &good, 400..777).unwrap();
        prop_assert!(rig.log == [good]);
    }
}

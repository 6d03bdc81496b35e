//! The rules of the receiving half, one promise a test. The model and the random comparisons are in `model.rs`.

use super::{fragments::PARTIAL_LIFE, *};
use crate::delivery::Guarantee;

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
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        let now = Instant::now();
        Self { queue: RecvQueue::new(limits), now, log: Vec::new(), lazy: false }
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

// semantics: the contract

#[test]
fn none_is_yielded_at_once_and_waits_for_nothing() {
    let mut rig = Rig::new(limits());
    rig.whole(delivery(1, 1, 1), "d1").unwrap();
    rig.whole(Numbers::None, "n").unwrap();
    rig.whole(order(2, 2), "o").unwrap();
    assert_eq!(rig.texts(), ["n"]);
    rig.whole(delivery(0, 0, 0), "d0").unwrap();
    assert_eq!(rig.texts(), ["n", "d0", "d1", "o"]);
    assert!(rig.queue.is_idle());
}

#[test]
fn order_waits_for_earlier_deliveries_and_for_nothing_else() {
    let mut rig = Rig::new(limits());
    rig.whole(order(2, 0), "o2").unwrap();
    rig.whole(order(1, 0), "o1").unwrap();
    rig.whole(order(5, 1), "o5").unwrap();
    rig.whole(order(4, 1), "o4").unwrap();
    assert_eq!(rig.texts(), ["o2"]);
    rig.whole(delivery(3, 0, 0), "d3").unwrap();
    assert_eq!(rig.texts(), ["o2", "d3", "o4", "o5"]);
    assert_eq!(rig.queue.counters().stale, 1);
}

#[test]
fn a_delivery_does_not_wait_for_an_earlier_order_and_makes_it_stale() {
    let mut rig = Rig::new(limits());
    rig.whole(delivery(2, 0, 0), "d2").unwrap();
    rig.whole(order(1, 0), "o1").unwrap();
    rig.whole(order(2, 0), "o2").unwrap();
    assert_eq!(rig.texts(), ["d2", "o2"]);
}

#[test]
fn lanes_do_not_wait_for_each_other() {
    let mut rig = Rig::new(limits());
    rig.whole(delivery(1, 1, 1), "held").unwrap();
    for lane in [255, 1, 128] {
        rig.insert(MessageFrame { lane, ..frame(delivery(0, 0, 0), None, Part::Whole, b"other") }).unwrap();
        rig.insert(MessageFrame { lane, ..frame(order(0, 0), None, Part::Whole, b"order") }).unwrap();
    }
    assert_eq!(rig.texts(), ["other", "order", "other", "order", "other", "order"]);
}

#[test]
fn inside_a_set_every_order_is_right() {
    let mut rig = Rig::new(limits());
    for index in (0..200).rev() {
        rig.whole(delivery(7, 0, index), &index.to_string()).unwrap();
    }
    assert_eq!(rig.log.len(), 200);
    assert_eq!(rig.log[0], b"199");
    rig.whole(delivery(8, 200, 200), "next").unwrap();
    assert_eq!(rig.log.last().unwrap(), b"next");
}

#[test]
fn the_next_set_waits_for_exactly_the_missing_member() {
    let mut rig = Rig::new(limits());
    for index in (0..200).filter(|&index| index != 77) {
        rig.whole(delivery(0, 0, index), "m").unwrap();
    }
    rig.whole(delivery(1, 200, 201), "b").unwrap();
    rig.whole(delivery(1, 200, 200), "c").unwrap();
    rig.whole(order(1, 200), "d").unwrap();
    assert_eq!(rig.log.len(), 199);
    rig.whole(delivery(0, 0, 77), "a").unwrap();
    assert_eq!(rig.texts()[199..], ["a", "b", "c", "d"]);
}

#[test]
fn a_set_of_ten_thousand_members_works() {
    let mut rig = Rig::new(limits());
    for index in (1..10_000).rev() {
        rig.whole(delivery(0, 0, index), "").unwrap();
    }
    rig.whole(delivery(1, 10_000, 10_000), "after").unwrap();
    assert_eq!(rig.log.len(), 9_999);
    rig.whole(delivery(0, 0, 0), "last").unwrap();
    assert_eq!(rig.texts()[9_999..], ["last", "after"]);
}

#[test]
fn a_delivery_is_yielded_once_however_often_it_comes() {
    let mut rig = Rig::new(limits());
    for _ in 0..3 {
        rig.whole(delivery(1, 1, 1), "held").unwrap();
    }
    for _ in 0..3 {
        rig.whole(delivery(0, 0, 0), "first").unwrap();
        rig.whole(delivery(1, 1, 1), "held").unwrap();
    }
    assert_eq!(rig.texts(), ["first", "held"]);
}

#[test]
fn copies_are_yielded_once_and_very_old_ones_never() {
    let mut rig = Rig::new(limits());
    for _ in 0..2 {
        rig.copy(Numbers::None, 10, "n10").unwrap();
        rig.copy(order(1, 0), 11, "o11").unwrap();
    }
    rig.copy(Numbers::None, 9, "n9").unwrap();
    rig.copy(Numbers::None, 5_000, "n5000").unwrap();
    rig.copy(Numbers::None, 12, "too old").unwrap();
    rig.copy(Numbers::None, 4_000, "n4000").unwrap();
    assert_eq!(rig.texts(), ["n10", "o11", "n9", "n5000", "n4000"]);
    assert_eq!(rig.queue.counters().duplicates, 3);
}

// fragments

#[test]
fn fragments_may_come_in_any_order_and_be_cut_again() {
    let mut rig = Rig::new(limits());
    let message = long(3_000);
    let d = delivery(0, 0, 0);
    rig.part(d, None, &message, 2_000..3_000).unwrap();
    rig.part(d, None, &message, 500..1_200).unwrap();
    rig.part(d, None, &message, 0..700).unwrap();
    rig.part(d, None, &message, 1_000..1_128).unwrap();
    rig.part(d, None, &message, 0..128).unwrap();
    assert!(rig.log.is_empty());
    rig.part(d, None, &message, 1_100..2_100).unwrap();
    rig.part(d, None, &message, 0..1_000).unwrap();
    assert_eq!(rig.log, [message]);
    assert!(rig.queue.is_idle());
}

#[test]
fn the_first_bytes_win_where_fragments_overlap() {
    let mut rig = Rig::new(limits());
    let (a, b) = (vec![b'a'; 600], vec![b'b'; 600]);
    rig.part(delivery(0, 0, 0), None, &a, 200..400).unwrap();
    rig.part(delivery(0, 0, 0), None, &b, 0..600).unwrap();
    let expected: Vec<u8> = (0..600).map(|at| if (200..400).contains(&at) { b'a' } else { b'b' }).collect();
    assert_eq!(rig.log, [expected]);
}

#[test]
fn a_message_that_was_cut_may_come_whole_when_it_is_resent() {
    let mut rig = Rig::new(limits());
    let message = long(1_000);
    rig.part(delivery(0, 0, 0), None, &message, 0..500).unwrap();
    rig.part(Numbers::None, Some(3), &message, 0..500).unwrap();
    rig.insert(frame(delivery(0, 0, 0), None, Part::Whole, &message)).unwrap();
    rig.insert(frame(Numbers::None, Some(3), Part::Whole, &message)).unwrap();
    rig.part(delivery(0, 0, 0), None, &message, 500..1_000).unwrap();
    rig.part(Numbers::None, Some(3), &message, 500..1_000).unwrap();
    assert_eq!(rig.log.len(), 2);
    assert!(rig.queue.is_idle());
}

#[test]
fn fragments_that_disagree_are_a_violation_and_change_nothing() {
    let mut rig = Rig::new(limits());
    let message = long(1_000);
    rig.part(delivery(1, 0, 3), None, &message, 0..500).unwrap();
    rig.part(order(1, 0), Some(1), &message, 0..500).unwrap();
    let used = (rig.queue.delivery_used(), rig.queue.unreliable_used());
    let bound = Err(Violation::Bound);
    assert_eq!(rig.part(delivery(1, 0, 3), None, &message[..900], 500..900), bound);
    assert_eq!(rig.part(delivery(2, 0, 3), None, &message, 500..1_000), bound);
    assert_eq!(rig.part(order(2, 0), Some(1), &message, 500..1_000), bound);
    assert_eq!(rig.part(Numbers::None, Some(1), &message, 500..1_000), bound);
    assert_eq!(rig.whole(delivery(1, 0, 3), "other length"), bound);
    let beyond = Part::Fragment { offset: 900, total: 1_000 };
    assert_eq!(rig.insert(frame(delivery(1, 0, 3), None, beyond, &message[..101])), bound);
    assert_eq!(rig.part(order(1, 0), None, &message, 500..1_000), Err(Violation::Malformed));
    assert_eq!((rig.queue.delivery_used(), rig.queue.unreliable_used()), used);
    rig.part(delivery(1, 0, 3), None, &message, 500..1_000).unwrap();
    rig.part(order(1, 0), Some(1), &message, 500..1_000).unwrap();
    assert_eq!(rig.log, [message.clone(), message]);
}

#[test]
fn neighbouring_indexes_arrive_in_fragments_side_by_side() {
    let mut rig = Rig::new(limits());
    let message = long(400);
    for index in 0..130 {
        rig.part(delivery(0, 0, index), None, &message, 0..200).unwrap();
    }
    for index in (0..130).map(|n| n * 37 % 130) {
        rig.part(delivery(0, 0, index), None, &message, 200..400).unwrap();
    }
    assert_eq!(rig.log.len(), 130);
    assert!(rig.queue.is_idle());
    rig.whole(delivery(1, 130, 130), "next").unwrap();
    assert_eq!(rig.log.len(), 131);
}

#[test]
fn an_incomplete_unreliable_message_is_freed_after_two_seconds() {
    let mut rig = Rig::new(limits());
    let message = long(1_000);
    rig.part(Numbers::None, Some(1), &message, 0..500).unwrap();
    rig.wait(1_000);
    rig.part(order(1, 0), Some(2), &message, 0..500).unwrap();
    assert_eq!(rig.queue.deadline(), Some(rig.now + PARTIAL_LIFE - Duration::from_secs(1)));
    rig.wait(1_000);
    rig.queue.expire(rig.now);
    assert_eq!(rig.queue.counters().incomplete, 1);
    rig.part(Numbers::None, Some(1), &message, 500..1_000).unwrap();
    rig.part(Numbers::None, Some(1), &message, 0..500).unwrap();
    assert!(rig.log.is_empty());
    rig.part(order(1, 0), Some(2), &message, 500..1_000).unwrap();
    assert_eq!(rig.log.len(), 1);
    assert_eq!(rig.queue.deadline(), None);
    assert!(rig.queue.is_idle());
}

#[test]
fn the_fragments_of_a_stale_order_are_freed() {
    let mut rig = Rig::new(limits());
    let message = long(1_000);
    rig.part(order(1, 0), Some(2), &message, 0..500).unwrap();
    rig.part(order(3, 0), Some(3), &message, 0..500).unwrap();
    rig.whole(order(2, 0), "newer").unwrap();
    assert_eq!(rig.queue.unreliable_used(), 1_064);
    rig.part(order(1, 0), Some(2), &message, 500..1_000).unwrap();
    rig.whole(delivery(4, 0, 0), "newest").unwrap();
    assert_eq!(rig.texts(), ["newer", "newest"]);
    assert!(rig.queue.is_idle());
}

#[test]
fn a_message_cut_into_more_pieces_than_agreed_is_a_violation() {
    let mut rig = Rig::new(RecvLimits { max_fragments: 3, ..limits() });
    let message = long(10_000);
    for start in [0, 2_000, 4_000] {
        rig.part(delivery(0, 0, 0), None, &message, start..start + 128).unwrap();
    }
    assert_eq!(rig.part(delivery(0, 0, 0), None, &message, 6_000..6_128), Err(Violation::Bound));
    rig.part(delivery(0, 0, 0), None, &message, 128..1_000).unwrap();
}

// flow control and bounds

#[test]
fn the_window_moves_when_the_application_is_done_with_a_message() {
    let mut rig = Rig::new(RecvLimits { window_bytes: 4_096, max_message: 1_000, ..limits() });
    rig.lazy = true;
    let message = long(960);
    for index in 0..4 {
        rig.insert(frame(delivery(index, index, index), None, Part::Whole, &message)).unwrap();
    }
    assert_eq!(rig.whole(delivery(4, 4, 4), ""), Err(Violation::Bound));
    assert_eq!((rig.queue.delivery_used(), rig.queue.window_update()), (4_096, None));
    let Some(Ready { place: Place::Stored(handle), .. }) = rig.queue.pop() else { panic!("nothing stored") };
    assert_eq!(rig.queue.bytes(handle), message);
    assert_eq!(rig.queue.window_update(), None);
    rig.queue.release(handle);
    rig.queue.release(handle);
    assert!(rig.queue.bytes(handle).is_empty());
    assert_eq!(rig.queue.window_update(), Some(4_096 + 1_024));
    assert_eq!(rig.queue.window_update(), None);
    rig.whole(delivery(4, 4, 4), "").unwrap();
}

#[test]
fn a_lane_may_hold_half_of_the_window_up_and_the_rest_is_for_the_others() {
    let mut rig = Rig::new(RecvLimits { window_bytes: 8_192, max_message: 1_000, ..limits() });
    let message = long(960);
    let on = |lane, numbers| MessageFrame { lane, ..frame(numbers, None, Part::Whole, &message) };
    // Index 0 is missing on lane 7: half of the window may wait for it there, and not a byte more.
    for index in 1..=4 {
        rig.insert(on(7, delivery(index, index, index))).unwrap();
    }
    assert_eq!(rig.insert(on(7, delivery(5, 5, 5))), Err(Violation::Bound));
    let part = Part::Fragment { offset: 0, total: 200 };
    let cut = MessageFrame { lane: 7, ..frame(delivery(5, 5, 5), None, part, &message[..150]) };
    assert_eq!(rig.insert(cut), Err(Violation::Bound));
    // The others have the other half, and what need not wait is taken whatever waits.
    for index in 1..=4 {
        rig.insert(on(8, delivery(index, index, index))).unwrap();
    }
    assert_eq!(rig.insert(on(9, delivery(1, 1, 1))), Err(Violation::Bound), "the session's window is full");
    rig.queue.skip(rig.now, 8, 0, 0).unwrap();
    rig.take(&[]);
    for index in 0..20 {
        rig.insert(on(9, delivery(index, index, index))).unwrap();
    }
    // What was held up is no longer charged once its turn has come.
    rig.insert(on(7, delivery(0, 0, 0))).unwrap();
    rig.insert(on(7, delivery(6, 6, 6))).unwrap();
    assert_eq!(rig.log.len(), 4 + 20 + 5);
}

#[test]
fn a_lane_may_always_hold_one_message_up() {
    let mut rig = Rig::new(RecvLimits { window_bytes: 1_064, max_message: 1_000, ..limits() });
    rig.insert(frame(delivery(1, 1, 1), None, Part::Whole, &long(1_000))).unwrap();
    assert_eq!(rig.skip(0), Ok(Answer::Skipped));
    assert_eq!(rig.log.len(), 1);
}

#[test]
fn notes_of_far_indexes_are_bounded_over_all_lanes() {
    let mut rig = Rig::new(limits());
    // One set, so that each is yielded at once and only its index is noted.
    let far = |lane, index| MessageFrame { lane, ..frame(delivery(0, 0, index), None, Part::Whole, b"") };
    let mut taken = 0;
    for lane in 0..=255 {
        let result = rig.insert(far(lane, MAX_INDEX_SPAN - 1));
        assert_eq!(result.is_ok(), lane < 4, "lane {lane}");
        taken += usize::from(result.is_ok());
        // What is near is taken on every lane.
        rig.insert(far(lane, FREE_SPAN - 1)).unwrap();
    }
    assert_eq!(rig.log.len(), taken + 256);
}

#[test]
fn messages_taken_in_place_move_the_window_too() {
    let mut rig = Rig::new(RecvLimits { window_bytes: 4_096, max_message: 1_000, ..limits() });
    for index in 0..100 {
        rig.insert(frame(delivery(index, index, index), None, Part::Whole, &long(960))).unwrap();
        assert_eq!(rig.queue.window_update(), Some(4_096 + 1_024 * (index + 1)));
    }
    assert_eq!(rig.queue.counters().stored, 0);
}

#[test]
fn sizes_and_indexes_over_the_limit_are_violations() {
    let mut rig =
        Rig::new(RecvLimits { max_message: 1_000, max_unreliable: 500, window_bytes: 100_000, ..limits() });
    let bytes = long(70_000);
    for (numbers, len) in [(delivery(0, 0, 0), 1_001), (Numbers::None, 1_001), (order(0, 0), 1_001)] {
        assert_eq!(rig.insert(frame(numbers, None, Part::Whole, &bytes[..len])), Err(Violation::Bound));
        assert_eq!(rig.part(numbers, Some(1), &bytes[..len], 0..200), Err(Violation::Bound));
    }
    assert_eq!(rig.whole(delivery(0, 0, MAX_INDEX_SPAN), ""), Err(Violation::Bound));
    assert_eq!(rig.part(delivery(0, 0, MAX_INDEX_SPAN), None, &bytes[..900], 0..200), Err(Violation::Bound));
    assert_eq!(rig.skip(MAX_INDEX_SPAN), Err(Violation::Bound));
    rig.whole(delivery(0, 0, MAX_INDEX_SPAN - 1), "far").unwrap();
    assert_eq!(rig.texts(), ["far"]);
}

#[test]
fn an_unreliable_message_over_our_own_limit_is_dropped_and_blames_nobody() {
    let mut rig = Rig::new(RecvLimits { max_message: 1_000, max_unreliable: 500, ..limits() });
    let bytes = long(501);
    for numbers in [Numbers::None, order(0, 0)] {
        rig.insert(frame(numbers, None, Part::Whole, &bytes)).unwrap();
        rig.part(numbers, Some(1), &bytes, 0..200).unwrap();
    }
    assert_eq!(rig.queue.counters().evicted, 4);
    assert!(rig.log.is_empty() && rig.queue.is_idle());
    rig.whole(order(0, 0), "short").unwrap();
    assert_eq!(rig.texts(), ["short"]);
}

#[test]
fn the_oldest_unreliable_messages_go_first_and_a_delivery_never() {
    let mut rig = Rig::new(RecvLimits { unreliable_bytes: 5 * 1_064, max_unreliable: 1_000, ..limits() });
    let message = long(1_000);
    rig.part(Numbers::None, Some(100), &message, 0..500).unwrap();
    rig.insert(frame(delivery(1, 1, 1), None, Part::Whole, &message)).unwrap();
    for set in 10..20 {
        rig.insert(frame(order(set, 1), None, Part::Whole, &message)).unwrap();
    }
    assert_eq!((rig.queue.counters().incomplete, rig.queue.counters().evicted), (1, 5));
    rig.whole(delivery(0, 0, 0), "go").unwrap();
    assert_eq!(rig.log.len(), 2 + 5);
    assert!(rig.queue.is_idle());
}

#[test]
fn an_application_that_never_asks_costs_bounded_memory() {
    let mut rig = Rig::new(RecvLimits { unreliable_bytes: 100_000, ..limits() });
    rig.lazy = true;
    for set in 0..20_000 {
        rig.whole(Numbers::None, "none").unwrap();
        rig.whole(order(set, 0), &set.to_string()).unwrap();
    }
    assert!(rig.queue.ready.memory() < 8_000);
    rig.take(&[]);
    assert_eq!(rig.texts().last(), Some(&"19999"));
    assert!(rig.queue.is_idle());
    rig.queue.shrink();
    assert!(rig.queue.kept.capacity() == 0);
}

#[test]
fn a_lent_message_is_never_evicted() {
    let mut rig = Rig::new(RecvLimits { unreliable_bytes: 1_064, max_unreliable: 1_000, ..limits() });
    rig.lazy = true;
    rig.whole(Numbers::None, &"x".repeat(1_000)).unwrap();
    let Some(Ready { place: Place::Stored(handle), .. }) = rig.queue.pop() else { panic!("nothing stored") };
    rig.whole(Numbers::None, "no room for this").unwrap();
    rig.whole(order(1, 1), "nor this").unwrap();
    assert_eq!(rig.queue.bytes(handle).len(), 1_000);
    rig.queue.release(handle);
    rig.take(&[]);
    assert!(rig.log.is_empty());
    assert_eq!(rig.queue.counters().evicted, 2);
}

// expiry

#[test]
fn a_skipped_index_makes_nobody_wait() {
    let mut rig = Rig::new(limits());
    rig.whole(delivery(2, 2, 2), "d2").unwrap();
    rig.whole(order(1, 1), "o1").unwrap();
    assert_eq!(rig.skip(1), Ok(Answer::Skipped));
    assert!(rig.log.is_empty());
    assert_eq!(rig.skip(0), Ok(Answer::Skipped));
    assert_eq!(rig.texts(), ["o1", "d2"]);
    rig.whole(delivery(0, 0, 0), "late").unwrap();
    assert_eq!(rig.log.len(), 2);
    assert_eq!(
        [0, 1, 2].map(|index| rig.skip(index).unwrap()),
        [Answer::Skipped, Answer::Skipped, Answer::Have]
    );
    assert_eq!(rig.queue.window_limit(), (4 << 20) + 66 + 100 + 100);
}

#[test]
fn a_complete_message_is_not_skipped() {
    let mut rig = Rig::new(limits());
    rig.whole(delivery(1, 1, 1), "d1").unwrap();
    assert_eq!(rig.skip(1), Ok(Answer::Have));
    rig.whole(delivery(0, 0, 0), "d0").unwrap();
    assert_eq!(rig.skip(0), Ok(Answer::Have));
    assert_eq!(rig.texts(), ["d0", "d1"]);
}

#[test]
fn skipping_frees_the_fragments_that_came() {
    let mut rig = Rig::new(limits());
    let message = long(1_000);
    rig.part(delivery(0, 0, 1), None, &message, 0..500).unwrap();
    assert_eq!(rig.queue.delivery_used(), 1_064);
    assert_eq!(rig.skip(1), Ok(Answer::Skipped));
    assert_eq!(rig.queue.delivery_used(), 0);
    rig.part(delivery(0, 0, 1), None, &message, 500..1_000).unwrap();
    assert!(rig.queue.is_idle());
}

#[test]
fn a_sixty_fifth_gap_is_a_violation() {
    let mut rig = Rig::new(limits());
    for gap in 0..64 {
        assert_eq!(rig.skip(2 + 2 * gap), Ok(Answer::Skipped));
    }
    assert_eq!(rig.skip(200), Err(Violation::Bound));
    assert_eq!(rig.skip(3), Ok(Answer::Skipped));
    assert_eq!(rig.skip(200), Ok(Answer::Skipped));
    assert_eq!(rig.skip(202), Err(Violation::Bound));
    assert_eq!(rig.skip(0), Ok(Answer::Skipped));
}

#[test]
fn a_charge_that_is_too_high_moves_the_window_by_one_message_at_most() {
    let mut rig = Rig::new(RecvLimits { max_message: 1_000, ..limits() });
    rig.queue.skip(rig.now, 0, 0, u64::MAX).unwrap();
    assert_eq!(rig.queue.window_limit(), (4 << 20) + 1_064);
}

#[test]
fn answers_to_repeated_skips_are_remembered_in_bounded_memory() {
    let mut rig = Rig::new(limits());
    for index in 0..10_000 {
        if index % 2 == 0 {
            assert_eq!(rig.skip(index), Ok(Answer::Skipped));
        } else {
            rig.whole(delivery(index, index, index), "").unwrap();
        }
    }
    assert_eq!(rig.skip(9_998), Ok(Answer::Skipped));
    assert_eq!(rig.skip(9_999), Ok(Answer::Have));
    assert_eq!(rig.skip(9_800), Ok(Answer::Skipped));
    assert_eq!(rig.skip(9_801), Ok(Answer::Have));
    assert_eq!(rig.skip(0), Ok(Answer::Skipped));
}

#[test]
fn what_a_peer_can_make_a_session_note_is_bounded_over_all_lanes() {
    let mut queue = RecvQueue::new(limits());
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    let now = Instant::now();
    let info = allocation_counter::measure(|| {
        for lane in 0..=255 {
            let mut insert = |numbers, id| {
                let _ = queue.insert(now, &MessageFrame { lane, ..frame(numbers, id, Part::Whole, b"") }, 0);
                while queue.pop().is_some() {}
                if let Numbers::Delivery { index, .. } = numbers {
                    let _ = queue.skip(now, lane, index + 1, 0);
                }
            };
            insert(Numbers::None, Some(1));
            // More runs of skipped indexes than are remembered, and one index of a set as far as it goes.
            (0..1_000).for_each(|pair| insert(delivery(2 * pair, 2 * pair, 2 * pair), None));
            insert(delivery(5_000, 2_000, 2_000 + MAX_INDEX_SPAN - 1), None);
            insert(delivery(5_000, 2_000, 2_000 + FREE_SPAN - 1), None);
        }
    });
    let (now, most) = (info.bytes_current, info.bytes_max);
    println!("{now} bytes, {most} at most");
    assert!(most < 900_000, "{now} bytes, {most} at most");
}

#[test]
fn a_message_whose_life_is_over_is_settled_but_not_yielded() {
    let mut rig = Rig::new(limits());
    let short = |numbers| MessageFrame { life: Some(100), ..frame(numbers, None, Part::Whole, b"short") };
    rig.insert(short(delivery(1, 1, 1))).unwrap();
    rig.insert(short(order(2, 2))).unwrap();
    rig.whole(order(3, 2), "o3").unwrap();
    rig.insert(MessageFrame { life: Some(101), ..frame(order(4, 2), None, Part::Whole, b"o4") }).unwrap();
    rig.wait(101);
    rig.whole(delivery(0, 0, 0), "d0").unwrap();
    assert_eq!(rig.texts(), ["d0", "o3", "o4"]);
    assert_eq!(rig.queue.counters().late, 2);
    assert_eq!(rig.queue.window_limit(), (4 << 20) + 66 + 69);
    assert!(rig.queue.is_idle());
}

#[test]
fn the_life_of_a_cut_message_counts_from_its_fragments() {
    let mut rig = Rig::new(limits());
    let message = long(1_000);
    for numbers in [Numbers::None, order(1, 0), delivery(2, 0, 0)] {
        for (offset, life) in [(0, 50), (500, 1_000)] {
            let id =
                Some(1).filter(|_| numbers != delivery(2, 0, 0)).map(|_| u64::from(numbers != Numbers::None));
            let part = Part::Fragment { offset, total: 1_000 };
            let bytes = &message[offset as usize..][..500];
            rig.insert(MessageFrame { life: Some(life), ..frame(numbers, id, part, bytes) }).unwrap();
            rig.wait(60);
        }
    }
    assert!(rig.log.is_empty());
    assert_eq!(rig.queue.counters().late, 3);
    rig.whole(delivery(3, 1, 1), "next").unwrap();
    assert_eq!(rig.texts(), ["next"]);
}

// lending and memory

#[test]
fn an_ordered_flow_is_lent_in_place_and_stores_nothing() {
    let mut queue = RecvQueue::new(limits());
    let rig = Rig::new(limits());
    for number in 0..1_000 {
        queue
            .insert(rig.now, &frame(delivery(number, number, number), None, Part::Whole, b"abcd"), 17)
            .unwrap();
        let ready = queue.pop().unwrap();
        let place = Place::Datagram { start: 17, len: 4 };
        assert_eq!(ready, Ready { guarantee: Guarantee::Delivery, lane: 0, set: Some(number), place });
        assert!(!queue.has_in_place() && queue.pop().is_none());
    }
    assert_eq!(queue.counters().stored, 0);
}

#[test]
fn detaching_keeps_every_message_and_their_order() {
    let mut rig = Rig::new(limits());
    let datagram = b"..aaaBBBcccDDD";
    let numbers = [delivery(0, 0, 0), Numbers::None, order(1, 1), delivery(3, 2, 2)];
    for (at, numbers) in (2..).step_by(3).zip(numbers) {
        rig.queue.insert(rig.now, &frame(numbers, None, Part::Whole, &datagram[at..at + 3]), at).unwrap();
    }
    rig.queue.insert(rig.now, &frame(delivery(2, 1, 1), None, Part::Whole, b"in between"), 0).unwrap();
    let Some(Ready { place: Place::Datagram { start: 2, len: 3 }, .. }) = rig.queue.pop() else {
        panic!("order")
    };
    rig.queue.detach(datagram);
    assert!(!rig.queue.has_in_place());
    rig.take(&[]);
    assert_eq!(rig.log.len(), 4);
    assert_eq!(rig.texts()[1], "ccc");
    assert_eq!(rig.texts()[3], "DDD");
    rig.check();
}

#[test]
fn a_queue_is_small_and_an_idle_one_gives_its_memory_back() {
    assert!(size_of::<RecvQueue>() <= 400, "{} bytes", size_of::<RecvQueue>());
    let mut rig = Rig::new(limits());
    for index in (0..500).rev() {
        rig.part(delivery(2 * index, index, index), None, &long(500), 0..200).unwrap();
        rig.whole(order(2 * index + 1, 1 + index), "order").unwrap();
    }
    for index in (0..500).rev() {
        rig.part(delivery(2 * index, index, index), None, &long(500), 200..500).unwrap();
    }
    assert!(rig.queue.is_idle());
    assert_eq!(rig.log.len(), 1_000);
    rig.queue.shrink();
    let queue = &mut rig.queue;
    assert_eq!((queue.kept.capacity(), queue.partials.capacity(), queue.store.memory()), (0, 0, 0));
    let lane = queue.lanes.get(0).unwrap();
    assert_eq!((lane.span.memory(), lane.waiting.capacity()), (0, 0));
    rig.whole(delivery(1_000, 500, 500), "still here").unwrap();
    assert_eq!(rig.log.len(), 1_001);
}

#[test]
fn released_buffers_are_kept_in_bounded_number() {
    let mut rig = Rig::new(RecvLimits { window_bytes: 8 << 20, ..limits() });
    for len in [1_000, 50_000, 100_000] {
        let first = rig.log.len() as u64;
        for index in (first..first + 31).rev() {
            rig.insert(frame(delivery(index, index, index), None, Part::Whole, &long(len))).unwrap();
        }
    }
    assert_eq!(rig.log.len(), 93);
    for index in (93..393).rev() {
        rig.insert(frame(delivery(index, index, index), None, Part::Whole, &long(1_000))).unwrap();
    }
    assert_eq!(rig.log.len(), 393);
}

//! Flow control, and what a peer can make us hold.

use super::*;

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

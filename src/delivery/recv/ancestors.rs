//! What went wrong on the receiving side of earlier transports, each as the test that would have found it.

use super::{
    tests::{Rig, delivery, frame, limits, order},
    *,
};

#[test]
fn a_lost_first_message_is_still_missing_after_its_set_went_on() {
    // {A lost, B, C}, then Z: nothing that came later may stand in for A.
    let mut rig = Rig::new(limits());
    rig.whole(delivery(0, 0, 1), "B").unwrap();
    rig.whole(delivery(0, 0, 2), "C").unwrap();
    rig.whole(delivery(1, 3, 3), "Z").unwrap();
    assert_eq!(rig.texts(), ["B", "C"]);
    rig.whole(delivery(0, 0, 0), "A").unwrap();
    assert_eq!(rig.texts(), ["B", "C", "A", "Z"]);
}

#[test]
fn a_set_of_sixty_five_and_a_gap_of_a_thousand_are_nothing_special() {
    let mut rig = Rig::new(limits());
    for index in (0..65).rev() {
        rig.whole(delivery(0, 0, index), "m").unwrap();
    }
    rig.whole(delivery(1, 65, 65), "after").unwrap();
    // A thousand Order messages in a row are lost.
    rig.whole(order(1_002, 66), "o").unwrap();
    rig.whole(delivery(1_003, 66, 66), "d").unwrap();
    assert_eq!(rig.texts()[65..], ["after", "o", "d"]);
}

#[test]
fn what_waited_comes_out_in_the_order_of_its_sets() {
    for rotation in 0..5 {
        let mut rig = Rig::new(limits());
        let mut sets = [2, 4, 6, 8, 10];
        sets.rotate_left(rotation);
        for set in sets {
            rig.whole(order(set, 1), &set.to_string()).unwrap();
        }
        rig.whole(delivery(1, 0, 0), "late").unwrap();
        assert_eq!(rig.texts(), ["late", "2", "4", "6", "8", "10"]);
    }
}

#[test]
fn a_message_of_a_far_set_does_not_make_earlier_deliveries_old() {
    let mut rig = Rig::new(limits());
    rig.whole(delivery(64, 64, 64), "far").unwrap();
    rig.whole(order(u64::MAX >> 2, 0), "as far as it goes").unwrap();
    for index in 0..64 {
        rig.whole(delivery(index, index, index), &index.to_string()).unwrap();
    }
    assert_eq!(rig.log.len(), 66);
    assert_eq!((rig.texts()[1], rig.texts()[65]), ("0", "far"));
}

#[test]
fn fifty_thousand_messages_of_future_sets_stay_within_the_limits() {
    let mut rig = Rig::new(limits());
    let bytes = [0; 1_000];
    let (mut taken, mut refused) = (0, 0);
    for number in 1..25_000 {
        let future = delivery(number, number, number);
        match rig.insert(frame(future, None, Part::Whole, &bytes)) {
            Ok(()) => taken += 1,
            Err(violation) => {
                assert_eq!(violation, Violation::Bound);
                refused += 1;
            }
        }
        rig.insert(frame(order(number, number), None, Part::Whole, &bytes)).unwrap();
    }
    // Half of the window is what one lane may hold up.
    assert_eq!((taken, refused), ((2 << 20) / 1_064, 24_999 - (2 << 20) / 1_064));
    assert_eq!(rig.queue.unreliable_used(), (256 << 10) / 1_064 * 1_064);
    assert!(rig.log.is_empty());
    rig.whole(delivery(0, 0, 0), "").unwrap();
    assert_eq!(rig.log.len(), 1 + taken, "what was refused is missing, what was taken comes out");
}

#[test]
fn a_queue_of_a_new_session_takes_the_first_messages() {
    let mut rig = Rig::new(limits());
    for index in 0..5_000 {
        rig.copy(order(2 * index + 1, index), index, "old").unwrap();
        rig.whole(delivery(2 * index + 2, index, index), "old").unwrap();
    }
    rig.queue = RecvQueue::new(limits());
    rig.log.clear();
    rig.copy(order(0, 0), 0, "o").unwrap();
    rig.whole(delivery(0, 0, 0), "d").unwrap();
    assert_eq!(rig.texts(), ["o", "d"]);
}

#[test]
fn the_memory_of_what_was_seen_in_a_set_does_not_grow_with_it() {
    let mut rig = Rig::new(limits());
    for index in 0..100_000 {
        // In pairs swapped, so that there is always something to remember.
        rig.whole(delivery(0, 0, index ^ 1), "").unwrap();
        rig.copy(Numbers::None, index, "").unwrap();
    }
    assert_eq!(rig.log.len(), 200_000);
    let lane = rig.queue.lanes.get(0).unwrap();
    assert!(lane.span.memory() <= 16, "{} words", lane.span.memory());
}

//! Messages that come in fragments.

use super::*;

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

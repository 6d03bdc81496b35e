//! Indexes that are skipped and messages whose life is over.

use super::*;

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
    let now = Environment::os().now();
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

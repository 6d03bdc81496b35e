//! What is yielded, and when: the contract.

use super::*;

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

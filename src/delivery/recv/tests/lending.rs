//! Messages lent in place, and the memory behind them.

use super::*;

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

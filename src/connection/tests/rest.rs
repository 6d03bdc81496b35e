//! Sessions in which nothing happens: what they send, and what they know when they wake.

use super::*;

#[test]
fn an_idle_connection_sends_nothing() {
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    pair.ends[0].send(0, Guarantee::Delivery, b"once").unwrap();
    pair.run(Duration::from_secs(2));
    let before = pair.datagrams;
    for _ in 0..1_000_000 {
        pair.ends[0].handle_timeout(pair.now);
        pair.flush(0);
    }
    pair.run(Duration::from_secs(100));
    assert_eq!(pair.datagrams, before);
    assert!(pair.now > pair.started);
}

#[test]
fn after_a_long_rest_the_first_message_costs_one_datagram() {
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    pair.run(Duration::from_secs(1));
    for _ in 0..3 {
        let before = pair.datagrams;
        pair.ends[0].send(0, Guarantee::Delivery, b"now and then").unwrap();
        pair.run(Duration::from_secs(10));
        assert_eq!([pair.datagrams[0] - before[0], pair.datagrams[1] - before[1]], [1, 1]);
    }
}

/// What the connection says of itself.
fn told(end: &Connection) -> crate::stats::Stats {
    let mut stats = crate::stats::Stats::default();
    end.fill_stats(&mut stats);
    stats
}

#[test]
fn a_session_that_rests_again_and_again_forgets_nothing() {
    for seed in 0..20 {
        let link = Link { loss: 200, duplicates: 100, delay_ms: 20, jitter_ms: 40 };
        let mut pair = Pair::new(seed, link, &Config::default());
        let messages = numbered(400);
        for (round, chunk) in messages.chunks(50).enumerate() {
            for message in chunk {
                for end in 0..PEERS {
                    for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
                        pair.ends[end].send(7, guarantee, message).unwrap();
                    }
                    pair.flush(end);
                }
                pair.run(5 * MS);
            }
            pair.run(Duration::from_secs(40));
            assert!(pair.ends.iter().all(Connection::is_resting), "seed {seed}, round {round}");
        }
        for end in 0..PEERS {
            let delivered = pair.payloads(end, Guarantee::Delivery);
            assert!(delivered.iter().eq(messages.iter()), "seed {seed}");
            for guarantee in [Guarantee::None, Guarantee::Order] {
                let got = pair.payloads(end, guarantee);
                let once: HashSet<_> = got.iter().collect();
                assert_eq!(once.len(), got.len(), "seed {seed}: nothing twice");
                assert!(got.len() > messages.len() / 2);
            }
            let in_order = pair.payloads(end, Guarantee::Order);
            let numbers = in_order.iter().map(|bytes| u32::from_le_bytes(bytes[..4].try_into().unwrap()));
            assert!(numbers.is_sorted(), "seed {seed}");
        }
    }
}

#[test]
fn what_was_measured_counted_and_yielded_is_known_after_a_rest() {
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    let mut copies = Vec::new();
    for (guarantee, lane) in [(Guarantee::Order, 1), (Guarantee::Delivery, 2), (Guarantee::Order, 1)] {
        pair.ends[0].send(lane, guarantee, b"once").unwrap();
        pair.flush(0);
        copies.extend(pair.flying.iter().map(|Reverse((_, _, _, _, payload))| payload.clone()));
        pair.run(Duration::from_secs(1));
    }
    assert_eq!((pair.yielded[1].len(), copies.len()), (3, 3));
    let lane = crate::delivery::LaneId(2);
    let all = |pair: &Pair| {
        let ends = pair.ends.each_ref();
        (ends.map(told), ends.map(|end| (end.pto(), end.mtu(), end.last_received(), end.largest_acked())))
    };
    let (before, sent) = (all(&pair), pair.ends[0].lane_stats(lane));
    pair.run(Duration::from_secs(10));
    assert!(pair.ends.iter().all(Connection::is_resting));
    assert_eq!((all(&pair), pair.ends[0].lane_stats(lane)), (before.clone(), sent));
    assert!(pair.ends.iter().all(|end| end.deadline().is_none() && end.is_resting()), "to look wakes nobody");
    for end in &mut pair.ends {
        end.wake();
    }
    assert_eq!(all(&pair), before);
    for (payload, number) in copies.iter().take(2).zip(1_000..) {
        pair.ends[1].receive(pair.now, number, payload, 0).unwrap();
        assert!(pair.ends[1].pop().is_none(), "it was yielded before");
    }
}

#[test]
fn what_the_application_has_consumed_counts_after_a_rest() {
    let config = Config { receive_window_bytes: 2 << 20, ..Config::default() };
    let mut pair = Pair::new(1, CLEAN, &config);
    // Five windows, with a rest after each quarter of one.
    let message = vec![7; 512 << 10];
    for round in 1..=20 {
        pair.ends[0].send(0, Guarantee::Delivery, &message).unwrap();
        pair.run(Duration::from_secs(20));
        assert_eq!(pair.payloads(1, Guarantee::Delivery).len(), round);
        assert!(pair.ends.iter().all(Connection::is_resting), "round {round}");
    }
}

#[test]
fn who_wakes_the_other_end_again_and_again_makes_it_hold_no_more() {
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    pair.run(Duration::from_secs(20));
    let Pair { ends: [mut one, mut two], mut now, numbers: [mut first, mut second], .. } = pair;
    let mut room = [0; 1_500];
    let mut wake = |_| {
        one.ping(now);
        let len = one.transmit(now, first, &mut room);
        two.receive(now, first, &room[..len], 0).unwrap();
        assert!(!two.is_resting());
        now += 30 * MS;
        two.handle_timeout(now);
        let len = two.transmit(now, second, &mut room);
        one.receive(now, second, &room[..len], 0).unwrap();
        (first, second) = (first + 1, second + 1);
        assert_eq!(one.transmit(now, first, &mut room) + two.transmit(now, second, &mut room), 0);
        assert!(one.is_resting() && two.is_resting());
    };
    (0..10).for_each(&mut wake);
    let grown = allocation_counter::measure(|| (0..1_000).for_each(&mut wake)).bytes_current;
    assert_eq!(grown, 0);
}

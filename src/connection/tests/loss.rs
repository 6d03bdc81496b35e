//! What arrives, how often and at what price, whatever the network loses.

use super::*;

#[test]
fn delivery_arrives_once_and_in_order_whatever_the_network_does() {
    for seed in 0..20 {
        let link = Link { loss: 200, duplicates: 100, delay_ms: 20, jitter_ms: 60 };
        let mut pair = Pair::new(seed, link, &Config::default());
        let messages = numbered(1_000);
        for chunk in messages.chunks(10) {
            for message in chunk {
                pair.ends[0].send(0, Guarantee::Delivery, message).unwrap();
            }
            pair.flush(0);
            pair.run(10 * MS);
        }
        pair.run(Duration::from_secs(20));
        let got = pair.payloads(1, Guarantee::Delivery);
        assert_eq!(got.len(), messages.len(), "seed {seed}");
        assert!(got.iter().zip(&messages).all(|(got, sent)| got == sent), "seed {seed}");
        assert_eq!(pair.ends[0].queued_messages(), 0, "seed {seed}: everything acknowledged is let go");
    }
}

#[test]
fn without_loss_nothing_is_sent_twice() {
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    for message in numbered(600) {
        pair.ends[0].send(0, Guarantee::Delivery, &message).unwrap();
        pair.flush(0);
        pair.run(16 * MS);
    }
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.payloads(1, Guarantee::Delivery).len(), 600);
    assert_eq!(pair.ends[0].wake().send.resent_parts, 0);
    assert_eq!(pair.datagrams[0], 600, "one datagram a message, nothing else");
}

#[test]
fn what_was_given_up_for_lost_and_came_before_it_left_again_was_not_sent_in_vain() {
    // Nothing is lost, so whatever leaves again does so in vain; what is late mostly comes while it waits for the pacer.
    let link = Link { loss: 0, duplicates: 0, delay_ms: 5, jitter_ms: 150 };
    // Of one size, so that as many fragments leave again as were given up.
    let mut config = Config { max_datagram_bytes: 1_200, ..Config::default() };
    config.rate = crate::config::Rate::Fixed(60_000);
    let (mut in_vain, mut late) = (0, 0);
    for seed in 0..20 {
        let mut pair = Pair::new(seed, link, &config);
        for _ in 0..3 {
            pair.ends[0].send(0, Guarantee::Delivery, &[7; 20_000]).unwrap();
            pair.flush(0);
            pair.run(Duration::from_secs(1));
        }
        pair.run(Duration::from_secs(5));
        assert_eq!(pair.payloads(1, Guarantee::Delivery).len(), 3, "seed {seed}");
        let awake = pair.ends[0].wake();
        assert!(awake.send.needless <= awake.send.resent_parts, "seed {seed}: {}", awake.send.needless);
        in_vain += awake.send.needless;
        late += awake.sent.counted.late;
    }
    println!("{in_vain} in vain, {late} late");
    assert!(in_vain > 0 && late > in_vain, "some were, some were not: {in_vain} of {late}");
}

#[test]
fn many_small_messages_leave_in_few_datagrams() {
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    for message in 0..1_000_u32 {
        let bytes = [(message % 251) as u8; 20];
        pair.ends[0].send(0, Guarantee::Delivery, &bytes).unwrap();
    }
    pair.flush(0);
    assert!(pair.datagrams[0] <= 20, "{} datagrams", pair.datagrams[0]);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.payloads(1, Guarantee::Delivery).len(), 1_000);
}

#[test]
fn a_lost_last_message_still_arrives_without_new_data() {
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    pair.ends[0].send(0, Guarantee::Delivery, b"first").unwrap();
    pair.run(200 * MS);
    pair.blocked = true;
    pair.ends[0].send(0, Guarantee::Delivery, b"last").unwrap();
    pair.flush(0);
    pair.blocked = false;
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.payloads(1, Guarantee::Delivery), [b"first".as_slice(), b"last"]);
}

#[test]
fn a_lost_first_message_still_arrives() {
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    pair.blocked = true;
    pair.ends[0].send(0, Guarantee::Delivery, b"first").unwrap();
    pair.flush(0);
    pair.blocked = false;
    pair.ends[0].send(0, Guarantee::Delivery, b"second").unwrap();
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.payloads(1, Guarantee::Delivery), [b"first".as_slice(), b"second"]);
}

#[test]
fn a_blackout_of_three_seconds_is_followed_by_full_recovery() {
    for seed in 0..10 {
        let mut pair = Pair::new(seed, Link { loss: 50, ..CLEAN }, &Config::default());
        let messages = numbered(600);
        for (at, message) in messages.iter().enumerate() {
            pair.blocked = (200..380).contains(&at);
            pair.ends[0].send(0, Guarantee::Delivery, message).unwrap();
            pair.flush(0);
            pair.run(16 * MS);
        }
        pair.run(Duration::from_secs(10));
        assert_eq!(pair.payloads(1, Guarantee::Delivery).len(), 600, "seed {seed}");
    }
}

#[test]
fn large_messages_arrive_whole_under_loss() {
    for seed in 0..5 {
        let link = Link { loss: 200, duplicates: 20, delay_ms: 15, jitter_ms: 10 };
        let mut pair = Pair::new(seed, link, &Config::default());
        let sizes = [0_u32, 1, 1_100, 1_165, 1_175, 1_180, 1_181, 2_400, 65_536, 300_000, 1 << 20];
        let messages: Vec<Vec<u8>> = sizes
            .iter()
            .map(|&len| (0..len).map(|at| at.wrapping_mul(31).wrapping_add(len).to_le_bytes()[0]).collect())
            .collect();
        for message in &messages {
            pair.ends[0].send(0, Guarantee::Delivery, message).unwrap();
        }
        pair.run(Duration::from_secs(60));
        let got = pair.payloads(1, Guarantee::Delivery);
        assert_eq!(got.len(), messages.len(), "seed {seed}");
        assert!(got.iter().zip(&messages).all(|(got, sent)| *got == sent.as_slice()), "seed {seed}");
    }
}

#[test]
fn a_set_of_ten_thousand_flows_while_its_first_member_is_missing() {
    let config = Config { send_queue_messages: 20_000, ..Config::default() };
    let mut pair = Pair::new(1, CLEAN, &config);
    pair.ends[0].open_set(0).unwrap();
    pair.blocked = true;
    pair.ends[0].send(0, Guarantee::Delivery, &0_u32.to_le_bytes()).unwrap();
    pair.flush(0);
    pair.blocked = false;
    for message in 1..10_000_u32 {
        pair.ends[0].send(0, Guarantee::Delivery, &message.to_le_bytes()).unwrap();
    }
    pair.ends[0].close_set(0).unwrap();
    pair.ends[0].send(0, Guarantee::Delivery, b"after").unwrap();
    pair.run(Duration::from_secs(5));
    let got = pair.payloads(1, Guarantee::Delivery);
    assert_eq!(got.len(), 10_001);
    assert_eq!(got[10_000], b"after");
    assert_ne!(got[0], 0_u32.to_le_bytes(), "the others did not wait for the lost one");
}

#[test]
fn one_hundred_lost_orders_in_a_row_hold_nothing_up() {
    // All of them leave while the path is blocked.
    let config = Config { rate: crate::config::Rate::Off, ..Config::default() };
    let mut pair = Pair::new(1, CLEAN, &config);
    pair.blocked = true;
    for message in numbered(1_000) {
        pair.ends[0].send(0, Guarantee::Order, &message).unwrap();
        pair.flush(0);
    }
    pair.blocked = false;
    pair.run(Duration::from_secs(10));
    pair.ends[0].send(0, Guarantee::Order, b"next").unwrap();
    pair.ends[0].send(0, Guarantee::Delivery, b"and").unwrap();
    pair.run(Duration::from_secs(3));
    assert_eq!(pair.payloads(1, Guarantee::Order), [b"next"]);
    assert_eq!(pair.payloads(1, Guarantee::Delivery), [b"and"]);
}

#[test]
fn a_small_limit_of_fragments_is_kept_whatever_is_resent() {
    for seed in 0..60 {
        for max_fragments in [1_u16, 2, 3, 5, 20] {
            let config = Config { max_fragments, ..Config::default() };
            let link = Link { loss: 300, duplicates: 20, delay_ms: 25, jitter_ms: 30 };
            let mut pair = Pair::new(seed, link, &config);
            let largest = pair.ends[0].wake().send.max_len(Guarantee::Delivery);
            for round in 0..10_usize {
                let len = largest - (usize::try_from(pair.dice.next() % 200).unwrap()).min(largest - 1);
                pair.ends[0].send(0, Guarantee::Delivery, &vec![1; len]).unwrap();
                for _ in 0..pair.dice.next() % 12 {
                    let small = usize::try_from(pair.dice.next() % 900).unwrap();
                    pair.ends[0]
                        .send(0, [Guarantee::None, Guarantee::Delivery][round % 2], &vec![2; small])
                        .unwrap();
                }
                pair.ends[0].send(0, Guarantee::Order, &vec![3; len.min(60_000)]).unwrap();
                pair.run(MS * 40);
            }
            pair.run(Duration::from_secs(20));
            assert_eq!(pair.ends[0].queued_messages(), 0, "seed {seed}, {max_fragments}");
        }
    }
}

#[test]
fn what_was_forgotten_to_make_room_is_sent_again() {
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    let (start, mut number, mut ours) = (pair.now, 0, 1);
    let end = &mut pair.ends[0];
    let mut room = [0; 1_180];
    let mut sent = Vec::new();
    end.send(0, Guarantee::Delivery, b"do not lose me").unwrap();
    end.flush();
    assert!(end.transmit(start, 0, &mut room) > 0);
    let mut pump = |end: &mut Connection, now: Instant| {
        end.flush();
        while let len @ 1.. = end.transmit(now, ours, &mut room) {
            sent.extend(room[..len].windows(14).filter(|bytes| bytes == b"do not lose me").map(|_| ours));
            ours += 1;
        }
    };
    for step in 0..20_000_u32 {
        let now = start + MS * (step / 100);
        hear(end, now, &mut number, &[Frame::PathChallenge([7; 8])]);
        pump(end, now);
    }
    // The flight is full of answers that nobody acknowledges: the next probe carries it.
    let later = start + Duration::from_secs(3);
    end.handle_timeout(later);
    pump(end, later);
    assert!(!sent.is_empty() && sent[0] >= 8_000, "{sent:?}");
    // And it still counts as one message that waits for its acknowledgement.
    assert_eq!(end.queued_messages(), 1);
}

#[test]
fn pieces_of_large_messages_survive_a_dark_path_among_small_ones() {
    for seed in 0..10 {
        let mut pair = Pair::new(seed, Link { loss: 100, ..CLEAN }, &Config::default());
        for round in 0..400_usize {
            pair.blocked = (50..250).contains(&round);
            // The last fragment is as small as the messages that are repeated by turns.
            let len = if round % 7 == 0 { 1_300 } else { round % 80 };
            pair.ends[0].send(0, Guarantee::Delivery, &vec![round.to_le_bytes()[0]; len]).unwrap();
            pair.flush(0);
            pair.run(16 * MS);
        }
        pair.run(Duration::from_secs(5));
        assert_eq!(pair.payloads(1, Guarantee::Delivery).len(), 400, "seed {seed}");
        assert_eq!(pair.ends[0].queued_messages(), 0, "seed {seed}");
    }
}

#[test]
fn the_last_message_before_a_dark_path_arrives_when_it_is_over() {
    for dark in [1, 3, 20] {
        let mut pair = Pair::new(1, CLEAN, &Config::default());
        pair.ends[0].send(0, Guarantee::Delivery, b"first").unwrap();
        pair.run(200 * MS);
        pair.blocked = true;
        for message in numbered(20) {
            pair.ends[0].send(0, Guarantee::Delivery, &message).unwrap();
            pair.run(16 * MS);
        }
        // Nothing more is sent, so only probes can find out.
        pair.run(Duration::from_secs(dark));
        pair.blocked = false;
        pair.run(Duration::from_secs(3));
        assert_eq!(pair.payloads(1, Guarantee::Delivery).len(), 21, "{dark} s");
    }
}

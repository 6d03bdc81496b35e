//! A peer that is who it says it is, has the keys of the session, and breaks the rules: over real sockets, with packets
//! that open. PROTOCOL.md, "Frames", "Violations", "Blind acknowledgements".

use sealgram::{CloseReason, Config, Event, Guarantee};

use crate::bytes::{
    CONFIRM, PING, ack, challenge, close, delivery, delivery_part, new_cid, none, none_part, redirect, skip,
    varint, window,
};
use crate::victim::Attack;

const LARGEST: u64 = (1 << 62) - 1;

/// Payloads that are malformed, each for one reason.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let unknown =
        [0x0e, 0x2f, 0x30, 0x33, 0x34, 0x7f, 0xe0, 0xff].map(|kind| ("a type of nobody's", vec![kind]));
    let with = |frame: Vec<u8>, more: &[u8]| [&frame, more].concat();
    let part = |offset, total, len| none_part(1, offset, total, &vec![7; len]);
    let mut table = unknown.to_vec();
    table.extend([
        ("nothing but PADDING", vec![0]),
        ("much of nothing but PADDING", vec![0; 500]),
        ("a byte that is not zero in PADDING", vec![1, 0, 0, 9]),
        ("a good frame before a bad one", with(none(b"x"), &[0x30])),
        ("a good frame behind a bad one", with(vec![0x30], &none(b"x"))),
        ("a number that is not the shortest", vec![0x02, 0x80, 0, 0, 0, 0]),
        ("a number above the largest", vec![0x05, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ("a number without an end", vec![0x05, 0, 0xff]),
        ("an ACK below zero", ack(3, 5, &[])),
        ("an ACK whose second range is below zero", ack(3, 1, &[(2, 9)])),
        ("two ACKs", with(ack(0, 1, &[]), &ack(0, 1, &[]))),
        ("an ACK of 65 ranges", ack(1_000, 1, &[(1, 1); 64])),
        ("an ACK with fewer ranges than it says", vec![0x02, 9, 0, 2, 0, 0, 0]),
        ("an ACK held back too long", [&[0x02, 0][..], &varint(1 << 24), &[0, 0]].concat()),
        ("a reason of 65 bytes", close(1, &[7; 65])),
        ("a reason shorter than it says", vec![0x03, 1, 0, 9, 7]),
        ("an id of 7 bytes", vec![0x04, 7, 1, 2, 3, 4, 5, 6, 7, 0]),
        ("a ticket of 1,025 bytes", [&[0x04, 0][..], &varint(1_025), &[7; 1_025]].concat()),
        ("a WINDOW of lane 256", window(257, 9)),
        ("a SKIP without a charge", vec![0x06, 0, 0]),
        ("a challenge of 7 bytes", vec![0x09, 1, 2, 3, 4, 5, 6, 7]),
        ("a NEW_CID that retires itself", new_cid(1, 2, [7; 8])),
        ("a REDIRECT without a ticket", redirect(b"")),
        ("a REDIRECT with too long a ticket", redirect(&[7; 1_025])),
        ("a message longer than its packet", vec![0x80, 200, 1, 2]),
        ("a guarantee of nobody's", vec![0xe0, 0, 0, 0, 0]),
        ("a lane that is said twice", vec![0x82, 0, 0]),
        ("extras of nobody's", vec![0x81, 4, 0]),
        ("no extras at all", vec![0x81, 0, 0]),
        ("a life beyond 32 bits", [&[0x81, 2][..], &varint(1 << 32), &[0]].concat()),
        ("implied numbers after nothing", vec![0xc8, 1, 7]),
        ("explicit numbers that are implied", with(delivery(0, b"a"), &[0xc0, 1, 0, 0, 1, 7])),
        ("a base above its index", [&[0xc0][..], &varint(1), &varint(2), &[0, 0]].concat()),
        ("a set below zero", vec![0xc0, 0, 0, 1, 0]),
        ("a number beyond the last", [&[0xc0][..], &varint(LARGEST), &[0, 2, 0]].concat()),
        ("a `None` part without an id", [&[0x90, 0][..], &varint(600), &varint(128), &[7; 128]].concat()),
        (
            "a `Delivery` part with an id",
            [&[0xd1, 1, 0, 0, 0, 5, 0][..], &varint(600), &varint(128), &[7; 128]].concat(),
        ),
        ("an empty part", part(0, 300, 0)),
        ("a short part that is not the last", part(0, 300, 127)),
        ("a part that is all", part(0, 200, 200)),
        ("a part beyond its message", part(200, 300, 128)),
        ("a part of more than 16 MiB", part(0, (16 << 20) + 1, 128)),
        ("a part whose end overflows", part(LARGEST, 300, 128)),
        ("a PARITY of a `Delivery`", with(vec![0x0d, 1], &delivery_part(0, 0, 600, &[7; 128]))),
        ("a PARITY of step 0", with(vec![0x0d, 0], &part(0, 600, 128))),
        ("a PARITY of one piece", with(vec![0x0d, 5], &part(0, 600, 128))),
        ("a PARITY of 65 pieces", with(vec![0x0d, 1], &part(0, 65 * 128, 128))),
        ("a PARITY beside its pieces", with(vec![0x0d, 2], &part(100, 600, 128))),
        ("a PARITY of no message", with(vec![0x0d, 1], &PING)),
    ]);
    table
}

#[test]
fn a_malformed_payload_is_counted_and_neither_acted_on_nor_acknowledged() {
    for (what, payload) in malformed() {
        let mut attack = Attack::begin(&Config::default());
        attack.assert_one_violation(&payload, what);
        attack.assert_delivers(what);
    }
}

#[test]
fn seven_violations_are_borne_and_the_eighth_ends_the_session() {
    let mut attack = Attack::begin(&Config::default());
    for count in 1..8 {
        attack.assert_one_violation(&[0x30], &format!("violation {count}"));
    }
    attack.assert_delivers("after seven");
    attack.quiet();
    let last = attack.say(&[0x30]);
    assert_eq!(last.len(), 3, "CLOSE is said three times");
    assert!(last.iter().all(|(_, payload)| payload.starts_with(&close(0xfffe, b""))), "{last:?}");
    assert_eq!(attack.victim.closed, Some(CloseReason::ProtocolViolation));
    assert!(!attack.victim.endpoint.is_connected());
    // What the peer still says is neither answered nor yielded.
    attack.victim.said();
    let heard = attack.victim.heard.len();
    assert_eq!(attack.say(&delivery(1, b"too late")), []);
    assert_eq!(attack.victim.heard.len(), heard);
}

#[test]
fn an_acknowledgement_of_a_number_that_was_never_sent_ends_the_session_at_once() {
    for beyond in [0, 1, 1 << 20, LARGEST - 1_000] {
        let mut attack = Attack::begin(&Config::default());
        // One number among the first 16 may be left out: two more than all that were sent is never one of ours.
        let last = attack.victim.endpoint.stats().datagrams_sent;
        attack.say(&ack(last + 2 + beyond, 1, &[]));
        assert_eq!(attack.victim.closed, Some(CloseReason::ProtocolViolation), "{beyond} ahead");
    }
}

#[test]
fn who_acknowledges_blindly_is_found_out_by_a_number_that_was_left_out() {
    let mut attack = Attack::begin(&Config::default());
    let mut seen = Vec::new();
    for round in 0..40_u8 {
        attack.victim.endpoint.send_payload(Guarantee::None, &[round; 40]).unwrap();
        attack.victim.endpoint.flush().unwrap();
        let said = attack.victim.said();
        seen.extend(attack.opened(&said).into_iter().map(|(number, _)| number));
    }
    let (first, last) = (*seen.first().unwrap(), *seen.last().unwrap());
    let missing = (first..last).find(|number| !seen.contains(number));
    // Before `quiet` it may have been left out already; then the numbers say so.
    let missing = missing.or_else(|| (0..first).next_back()).unwrap();
    let honest = ack(last, last - missing, &[]);
    attack.say(&honest);
    assert_eq!(attack.violations(), 0, "what was sent may be acknowledged");
    assert!(attack.victim.endpoint.is_connected());
    attack.say(&ack(last, last - missing + 1, &[]));
    assert_eq!(attack.victim.closed, Some(CloseReason::ProtocolViolation));
}

/// What asks an endpoint to do something, again and again: each is bounded, and what the endpoint did not ask for has no
/// effect.
#[test]
fn frames_that_nobody_asked_for_have_no_effect() {
    let mut attack = Attack::begin(&Config::default());
    let unasked: [(&str, Vec<u8>); 8] = [
        ("SKIPPED", vec![0x07, 3, 9]),
        ("HAVE", vec![0x08, 3, 9]),
        ("a WINDOW of a lane", window(4, LARGEST)),
        ("PATH_RESPONSE", [&[0x0a][..], &[7; 8]].concat()),
        ("NEW_CID", new_cid(1, 0, [7; 8])),
        ("another NEW_CID under the same number", new_cid(1, 0, [8; 8])),
        ("REDIRECT to who was dialled", redirect(b"elsewhere")),
        ("CONFIRM again", CONFIRM.to_vec()),
    ];
    for (what, frame) in unasked {
        let (events, heard) = (attack.victim.events.clone(), attack.victim.heard.len());
        let mut answers = attack.say(&frame);
        answers.extend(attack.wait(60));
        assert!(answers.iter().any(|(_, payload)| payload.contains(&0x02)), "{what}: acknowledged");
        assert_eq!((attack.violations(), attack.victim.heard.len()), (0, heard), "{what}");
        assert_eq!(attack.victim.events, events, "{what}");
    }
    attack.assert_delivers("after all that");
}

#[test]
fn a_thousand_challenges_are_answered_one_for_each_packet_and_cost_no_more_bytes_than_they_brought() {
    let mut attack = Attack::begin(&Config::default());
    let (mut came, mut went) = (0, 0);
    for round in 0..100_u8 {
        let payload = challenge([round; 8]).repeat(10);
        came += payload.len() + 20;
        let said = attack.say(&payload);
        let answers: usize = said
            .iter()
            .map(|(_, text)| {
                text.windows(9).filter(|part| part == &[&[0x0a][..], &[round; 8]].concat()).count()
            })
            .sum();
        assert!(answers <= 1, "{answers} answers to packet {round}");
        went += said.iter().map(|(_, text)| text.len() + 20).sum::<usize>();
    }
    assert!(went <= came, "{went} bytes for {came}");
    attack.assert_delivers("after a thousand challenges");
}

#[test]
fn a_peer_that_passes_a_bound_it_was_told_is_counted_and_the_eighth_time_closed() {
    let config = Config::default();
    let beyond = u64::from(config.max_message_bytes) + 1;
    let passes = |count| {
        [
            ("an index too far ahead", delivery(70_000 + count, b"far")),
            ("a message longer than was agreed", delivery_part(count, 0, beyond, &[7; 200])),
            ("a skip too far ahead", skip(0, 70_000 + 2 * count, 0)),
        ]
    };
    for (which, (what, _)) in passes(0).into_iter().enumerate() {
        let mut attack = Attack::begin(&config);
        for count in 0..8 {
            assert!(attack.victim.endpoint.is_connected(), "{what}, {count}");
            assert_eq!(attack.violations(), count, "{what}");
            attack.say(&passes(count)[which].1);
        }
        assert_eq!(attack.victim.closed, Some(CloseReason::ProtocolViolation), "{what}");
        assert_eq!(attack.victim.heard, [], "{what}");
        let closed = |event: &Event| matches!(event, Event::Closed { .. });
        assert_eq!(attack.victim.events.iter().filter(|event| closed(event)).count(), 1, "{what}");
    }
}

#[test]
fn sixty_four_runs_of_skipped_indexes_are_kept_and_the_next_one_is_a_violation() {
    let mut attack = Attack::begin(&Config::default());
    for run in 1..=64 {
        attack.say(&skip(0, 2 * run, 0));
    }
    assert_eq!(attack.violations(), 0);
    attack.say(&skip(0, 2 * 65, 0));
    assert_eq!(attack.violations(), 1);
    attack.assert_delivers("the lowest, which makes no gap");
}

#[test]
fn an_answer_to_a_skip_that_was_never_sent_settles_nothing() {
    let mut attack = Attack::begin(&Config::default());
    attack.victim.endpoint.send_payload(Guarantee::Delivery, b"still owed").unwrap();
    attack.victim.endpoint.flush().unwrap();
    let said = attack.victim.said();
    assert_eq!(attack.opened(&said).len(), 1);
    for answer in [[0x08, 0, 0], [0x07, 0, 0], [0x08, 0, 1], [0x07, 9, 0]] {
        attack.say(&answer);
        assert_eq!(attack.victim.endpoint.queued_messages(), 1, "{answer:?}");
    }
    let again = attack.wait(2_000);
    let owed = |(_, payload): &&(u64, Vec<u8>)| payload.windows(10).any(|part| part == b"still owed");
    assert!(again.iter().filter(owed).count() > 0, "it is sent again");
    assert_eq!(attack.violations(), 0);
    attack.assert_delivers("after the answers");
}

/// An acknowledgement may claim to have been held back for two minutes, and a grant to be without end.
#[test]
fn the_largest_delays_and_grants_break_no_arithmetic() {
    let mut attack = Attack::begin(&Config::default());
    attack.say(&window(0, LARGEST));
    attack.say(&window(0, 0));
    for round in 0..20_u8 {
        attack.victim.endpoint.send_payload(Guarantee::Delivery, &[round; 4_000]).unwrap();
        attack.victim.endpoint.flush().unwrap();
        let said = attack.wait(20);
        for (number, _) in said {
            let late = [&[0x02][..], &varint(number), &varint((1 << 24) - 1), &[0, 0]].concat();
            attack.say(&late);
        }
    }
    attack.wait(5_000);
    let rtt = attack.victim.endpoint.stats().rtt.unwrap();
    assert!(rtt.smoothed <= std::time::Duration::from_secs(10), "{rtt:?}");
    assert_eq!(attack.violations(), 0);
    attack.assert_delivers("after the delays");
}

//! Parts of one honest thing where another belongs: packets of another session or direction, tags and words of other
//! packets, answers to other attempts. Keys belong to a handshake and a direction, and the tag covers the rest.
//! PROTOCOL.md, "Keys", "Packets", "Simultaneous open".

use sealgram::sim::Link;
use sealgram::{Config, Credentials, Guarantee, Trust};

use crate::bytes::{PING, close, delivery};
use crate::common::{Pair, here, keys, sealed_end, there};
use crate::held::{Held, recorded, small};
use crate::victim::Attack;

/// The same two, with the same keys, over another network: all that is fresh is fresh.
fn same_two(seed: u64) -> Pair<sealgram::Sealed> {
    let keys = keys(1);
    let own = |own: usize| Credentials::paired(&keys[own], keys[1 - own].public_key()).unwrap();
    Pair::with_credentials(seed, Link::default(), &small(), [own(0), own(1)])
}

#[test]
fn nothing_of_another_session_of_the_same_two_counts() {
    let (mut held, _) = recorded(same_two(41));
    let (_, other) = recorded(same_two(42));
    for (number, (to, datagram)) in other.iter().enumerate() {
        let what = format!("datagram {number} of another session");
        // Its INIT is as good as any; it may be answered, and that is all.
        held.assert_only_answered(*to, datagram, &what);
        held.assert_only_answered(1 - to, datagram, &what);
    }
    held.assert_delivers("after all of another session");
}

#[test]
fn parts_of_two_packets_make_no_third() {
    let mut held = Held::new(same_two(43));
    held.pair.a.endpoint.connect().unwrap();
    held.settle();
    let packets: Vec<Vec<u8>> = (0..4_u8)
        .map(|number| {
            held.pair.a.endpoint.send_payload(Guarantee::Delivery, &[number; 30]).unwrap();
            held.pair.a.endpoint.flush().unwrap();
            held.said().remove(0)
        })
        .collect();
    for (one, first) in packets.iter().enumerate() {
        for (two, second) in packets.iter().enumerate().filter(|(two, _)| *two != one) {
            for cut in [1, 3, 4, 5, 20, first.len() - 17, first.len() - 16, first.len() - 15, first.len() - 1]
            {
                let spliced = [&first[..cut], &second[second.len() - (first.len() - cut)..]].concat();
                held.assert_nothing(1, &spliced, &format!("{cut} bytes of {one}, then {two}"));
            }
            let both = [&first[..], second].concat();
            held.assert_nothing(1, &both, &format!("{one} and {two}"));
        }
    }
    for packet in &packets {
        held.hand(1, packet);
    }
    assert_eq!(held.pair.b.heard.len(), 4);
    held.assert_delivers("after the splices");
}

#[test]
fn packets_under_the_victims_own_keys_are_reflections() {
    let mut attack = Attack::begin(&Config::default());
    for number in 0..20 {
        for payload in [&PING[..], &close(7, b"bye"), &delivery(0, b"mirrored")] {
            let packet = attack.session.reflection(&[], 0, number, payload);
            attack.victim.assert_nothing(&packet, "a packet of its own direction");
        }
    }
    attack.assert_delivers("after the mirror");
}

#[test]
fn an_endpoint_does_not_answer_its_own_handshake() {
    for profile in ["paired", "tofu"] {
        let keys = keys(5);
        let own = |own: usize| match profile {
            "paired" => Credentials::paired(&keys[own], keys[1 - own].public_key()).unwrap(),
            _ => Credentials::tofu(&keys[own], Trust::Anyone),
        };
        let pair = Pair::with_credentials(44, Link::default(), &small(), [own(0), own(1)]);
        let mut held = Held::new(pair);
        held.pair.a.endpoint.connect().unwrap();
        let init = held.said().remove(0);
        held.assert_nothing(0, &init, "its own INIT");
        assert_eq!(held.pair.a.endpoint.stats().drops.reflected, 1);
        held.hand(1, &init);
        let answer = held.said().remove(0);
        held.assert_nothing(1, &answer, "its own RESP");
        held.hand(0, &answer);
        for datagram in held.said() {
            held.assert_nothing(0, &datagram, "its own flight");
            held.hand(1, &datagram);
        }
        held.settle();
        held.assert_delivers(profile);
    }
}

/// Answers and third messages belong to one attempt.
#[test]
fn an_answer_to_one_attempt_is_none_to_the_next() {
    let keys = keys(6);
    let tofu = |own: usize| Credentials::tofu(&keys[own], Trust::Anyone);
    let pair = Pair::with_credentials(45, Link::default(), &small(), [tofu(0), tofu(1)]);
    let mut held = Held::new(pair);
    held.pair.a.endpoint.connect().unwrap();
    let init = held.said().remove(0);
    held.hand(1, &init);
    let answer = held.said().remove(0);
    // The first end restarts and dials again; the second has both answers open.
    held.pair.a = sealed_end(&held.pair.net, here(), there(), tofu(0), &small());
    held.pair.a.endpoint.connect().unwrap();
    let again = held.said().remove(0);
    assert_ne!(again, init);
    held.assert_nothing(0, &answer, "RESP to an earlier attempt");
    held.hand(1, &again);
    let right = held.said().remove(0);
    held.hand(0, &right);
    let flight = held.said();
    assert_eq!(flight.len(), 2, "FIN and CONFIRM");
    // CONFIRM before its FIN, and FIN with the end of another datagram.
    held.assert_nothing(1, &flight[1], "CONFIRM without FIN");
    let spliced = [&flight[0][..200], &right[200..256]].concat();
    held.assert_nothing(1, &spliced, "FIN with another end");
    held.hand(1, &flight[0]);
    held.hand(1, &flight[1]);
    assert!(held.pair.b.endpoint.is_connected());
    held.settle();
    held.assert_delivers("after all");
}

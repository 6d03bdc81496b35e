//! Whatever a stranger does to a datagram, an endpoint that gets it does nothing: each kind of packet with every bit
//! flipped, cut at every length and extended, replayed and sent back. Only drop counters move, and the honest datagram
//! is still taken afterwards.

use sealgram::sim::Link;
use sealgram::{CloseReason, Credentials, Event, Guarantee, Invite, Session, Trust};

use crate::common::{Pair, keys};
use crate::held::{Held, recorded, small};

/// The life of a session, with every datagram tortured before it arrives. `handshake` names the datagrams of the
/// second end's first flight and after.
fn whole_life<S: Session>(pair: Pair<S>, names: [&str; 2], flight: &[&str]) {
    let mut held = Held::new(pair);
    held.pair.a.endpoint.connect().unwrap();
    let first = held.said();
    assert_eq!(first.len(), 1);
    held.torture_and_hand(1, &first[0], names[0]);
    let second = held.said();
    assert_eq!(second.len(), 1, "the honest {} is answered", names[0]);
    held.torture_and_hand(0, &second[0], names[1]);
    let third = held.said();
    assert_eq!(third.len(), flight.len(), "the honest {} is taken", names[1]);
    assert!(!held.pair.b.endpoint.is_connected());
    for (bytes, name) in third.iter().zip(flight) {
        held.torture_and_hand(1, bytes, name);
    }
    assert!(held.pair.b.endpoint.is_connected(), "the honest {flight:?} is taken");
    assert!(!held.pair.a.endpoint.is_connected());
    let fourth = held.said();
    held.torture_and_hand(0, &fourth[0], "first packet");
    assert!(held.pair.a.endpoint.is_connected());
    held.settle();

    held.pair.a.endpoint.send_payload(Guarantee::Delivery, b"a small message").unwrap();
    held.pair.a.endpoint.flush().unwrap();
    let data = held.said();
    held.torture_and_hand(1, &data[0], "data");
    assert_eq!(held.pair.b.heard, [(Guarantee::Delivery, b"a small message".to_vec())]);
    let ack = held.said();
    assert_eq!((ack.len(), held.pair.a.endpoint.queued_messages()), (1, 1));
    held.torture_and_hand(0, &ack[0], "acknowledgement");
    assert_eq!(held.pair.a.endpoint.queued_messages(), 0, "the honest acknowledgement is taken");
    held.settle();

    let long: Vec<u8> = (0..3_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    held.pair.a.endpoint.send_payload(Guarantee::Delivery, &long).unwrap();
    held.pair.a.endpoint.flush().unwrap();
    let fragments = held.said();
    assert_eq!(fragments.len(), 3);
    held.torture_and_hand(1, &fragments[1], "fragment");
    held.said();
    for fragment in [&fragments[0], &fragments[2]] {
        held.hand(1, fragment);
    }
    assert_eq!(held.pair.b.heard[1], (Guarantee::Delivery, long));
    held.settle();

    held.pair.a.endpoint.close(7, b"bye");
    let close = held.said();
    assert_eq!(close.len(), 3);
    held.torture_and_hand(1, &close[0], "CLOSE");
    assert_eq!(held.pair.b.closed, Some(CloseReason::ClosedByPeer { code: 7 }));
    assert!(matches!(held.pair.b.events[..], [Event::Connected { .. }, Event::Closed { .. }]));
}

#[test]
fn no_forged_datagram_of_a_paired_session_changes_anything() {
    let pair = Pair::sealed(1, Link::default(), &small());
    whole_life(pair, ["INIT", "RESP"], &["CONFIRM"]);
}

#[test]
fn no_forged_datagram_of_an_invited_session_changes_anything() {
    let invite = || Credentials::invite(&Invite::from_bytes([5; 32]));
    let pair = Pair::with_credentials(2, Link::default(), &small(), [invite(), invite()]);
    whole_life(pair, ["INIT", "RESP"], &["CONFIRM"]);
}

#[test]
fn no_forged_datagram_of_a_session_with_a_third_message_changes_anything() {
    let keys = keys(3);
    let tofu = |own: usize| Credentials::tofu(&keys[own], Trust::Anyone);
    let pair = Pair::with_credentials(3, Link::default(), &small(), [tofu(0), tofu(1)]);
    whole_life(pair, ["INIT", "RESP"], &["FIN", "CONFIRM"]);
}

#[test]
fn no_damaged_datagram_of_a_plain_session_changes_anything() {
    let pair = Pair::plain(4, Link::default(), &small());
    whole_life(pair, ["HELLO", "ANSWER"], &["CONFIRM"]);
}

#[test]
fn every_datagram_of_a_sealed_session_counts_once_and_only_at_its_receiver() {
    let (mut held, log) = recorded(Pair::sealed(5, Link::default(), &small()));
    assert!(log.len() > 50 && held.pair.b.heard.len() == 90, "{} {}", log.len(), held.pair.b.heard.len());
    for (number, (to, datagram)) in log.iter().enumerate() {
        held.assert_nothing(*to, datagram, &format!("datagram {number} replayed"));
        held.assert_nothing(1 - to, datagram, &format!("datagram {number} reflected"));
    }
    held.pair.a.endpoint.send_payload(Guarantee::Delivery, b"still there").unwrap();
    held.pair.a.endpoint.flush().unwrap();
    held.settle();
    assert_eq!(held.pair.b.heard.last().unwrap().1, b"still there");
}

#[test]
fn every_packet_of_a_plain_session_counts_once() {
    let (mut held, log) = recorded(Pair::plain(6, Link::default(), &small()));
    // The first three datagrams open the session; a plain endpoint may answer them again.
    for (number, (to, datagram)) in log.iter().enumerate().skip(3) {
        held.assert_nothing(*to, datagram, &format!("datagram {number} replayed"));
        held.assert_nothing(1 - to, datagram, &format!("datagram {number} reflected"));
    }
}

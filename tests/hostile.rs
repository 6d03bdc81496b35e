//! Whatever a stranger does to a datagram, an endpoint that gets it does nothing: each kind of packet with every bit
//! flipped, cut at every length and extended, replayed and sent back. Only drop counters move, and the honest datagram
//! is still taken afterwards.

mod common;

use common::{End, Pair, here, keys, there};
use sealgram::sim::{Link, Verdict};
use sealgram::{CloseReason, Config, Credentials, Drops, Event, Guarantee, Invite, Session, Stats, Trust};

/// A pair whose network carries nothing by itself, at a time that stands still: the test is the network.
struct Held<S: Session> {
    pair: Pair<S>,
}

/// All that an application, or the other side, could see of an end, drop counters left out.
type Sight = (Stats, usize, usize, Option<CloseReason>, bool, Option<[u8; 32]>);

impl<S: Session> Held<S> {
    fn new(pair: Pair<S>) -> Self {
        pair.net.tap(|_| Verdict::Drop);
        pair.net.record(true);
        Self { pair }
    }

    fn end(&mut self, to: usize) -> &mut End<S> {
        if to == 0 { &mut self.pair.a } else { &mut self.pair.b }
    }

    /// Lets a datagram arrive at an end.
    fn hand(&mut self, to: usize, bytes: &[u8]) {
        let (from, at) = if to == 0 { (there(), here()) } else { (here(), there()) };
        self.pair.net.inject(from, at, bytes);
        self.end(to).step();
    }

    /// What both ends have said since the last call.
    fn said(&mut self) -> Vec<Vec<u8>> {
        self.pair.net.captured().into_iter().map(|datagram| datagram.bytes).collect()
    }

    fn sight(&mut self, of: usize) -> Sight {
        let end = self.end(of);
        let mut stats = end.endpoint.stats();
        stats.drops = Drops::default();
        stats.datagrams_received = 0;
        stats.bytes_received = 0;
        let endpoint = &end.endpoint;
        (
            stats,
            end.heard.len(),
            end.events.len(),
            end.closed,
            endpoint.is_connected(),
            endpoint.handshake_hash(),
        )
    }

    /// Hands over a datagram that must do nothing but count.
    fn assert_nothing(&mut self, to: usize, bytes: &[u8], what: &str) {
        let (before, drops) = (self.sight(to), self.end(to).endpoint.stats().drops.total());
        let deadline = self.end(to).step();
        self.hand(to, bytes);
        assert_eq!(self.sight(to), before, "{what}");
        assert_eq!(self.end(to).endpoint.stats().drops.total(), drops + 1, "{what}: counted once");
        assert_eq!(self.end(to).step(), deadline, "{what}: moved a timer");
        assert_eq!(self.said(), Vec::<Vec<u8>>::new(), "{what}: answered");
    }

    /// Every single-bit change, every cut, and longer ones.
    fn torture(&mut self, to: usize, honest: &[u8], what: &str) {
        for bit in 0..honest.len() * 8 {
            let mut forged = honest.to_vec();
            forged[bit / 8] ^= 1 << (bit % 8);
            self.assert_nothing(to, &forged, &format!("{what}, bit {bit}"));
        }
        for len in 0..honest.len() {
            self.assert_nothing(to, &honest[..len], &format!("{what}, cut to {len}"));
        }
        for more in (1..=40).chain([100, 1_200, 9_000]) {
            for filler in [0, 0xff] {
                let mut longer = honest.to_vec();
                longer.resize(honest.len() + more, filler);
                self.assert_nothing(to, &longer, &format!("{what}, {more} more"));
            }
        }
    }

    /// Tortures an end with a datagram, then hands over the datagram itself.
    fn torture_and_hand(&mut self, to: usize, honest: &[u8], what: &str) {
        self.torture(to, honest, what);
        self.hand(to, honest);
    }

    /// Carries everything to and fro until nobody has anything more to say.
    fn settle(&mut self) {
        loop {
            self.pair.a.step();
            self.pair.b.step();
            let said = self.pair.net.captured();
            if said.is_empty() {
                return;
            }
            for datagram in said {
                self.hand(usize::from(datagram.to == there()), &datagram.bytes);
            }
        }
    }
}

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

/// A size that nothing below is near to by chance.
fn small() -> Config {
    let mut config = Config::default();
    config.max_datagram_bytes = 1_200;
    config
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

/// A session that has carried something both ways, all its datagrams with their receivers.
fn recorded<S: Session>(pair: Pair<S>) -> (Held<S>, Vec<(usize, Vec<u8>)>) {
    let mut held = Held::new(pair);
    let mut log = Vec::new();
    held.pair.a.endpoint.connect().unwrap();
    for round in 0..30_u8 {
        for _ in 0..3 {
            for datagram in held.pair.net.captured() {
                let to = usize::from(datagram.to == there());
                held.hand(to, &datagram.bytes);
                log.push((to, datagram.bytes));
            }
        }
        for end in [&mut held.pair.a, &mut held.pair.b] {
            for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
                end.endpoint.send_payload(guarantee, &[round; 30]).unwrap();
            }
            end.endpoint.flush().unwrap();
        }
    }
    held.settle();
    (held, log)
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

/// Both kinds exist in this file only to meet: neither takes a datagram of the other for one of its own.
fn assert_deaf<S: Session>(mut to: Held<S>, from: &[(usize, Vec<u8>)]) {
    for (number, (at, datagram)) in from.iter().enumerate() {
        to.assert_nothing(*at, datagram, &format!("datagram {number} of the other kind"));
    }
}

#[test]
fn a_sealed_endpoint_accepts_no_plain_datagram_and_a_plain_one_no_sealed() {
    let (sealed, from_sealed) = recorded(Pair::sealed(7, Link::default(), &small()));
    let (plain, from_plain) = recorded(Pair::plain(7, Link::default(), &small()));
    assert_deaf(sealed, &from_plain);
    assert_deaf(plain, &from_sealed);
}

//! The simulator as its users see it: NATs, changes in mid-session, many nodes, and an hour of a game.

mod common;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use common::{environment, here, keys, there};
use sealgram::sim::{Link, Nat, Net, Socket};
use sealgram::{
    Config, Credentials, Endpoint, Event, Guarantee, Sealed, SealedEndpoint, UdpLike, Unconnected,
};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn home() -> SocketAddr {
    ([192, 168, 0, 2], 5_000).into()
}

fn peer(port: u16) -> SocketAddr {
    ([203, 0, 113, 1], port).into()
}

fn stranger() -> SocketAddr {
    ([203, 0, 113, 9], 1).into()
}

fn outside() -> IpAddr {
    [198, 51, 100, 1].into()
}

/// Sends one datagram, and who it seems to come from where it arrives.
fn seen_at(socket: &Socket, from: &Socket, to: SocketAddr) -> Option<SocketAddr> {
    from.send_to(b"x", to).unwrap();
    let mut last = None;
    while let Ok((_, from)) = socket.recv_from(&mut [0; 8]) {
        last = Some(from);
    }
    last
}

#[test]
fn each_kind_of_nat_lets_in_whom_it_should() {
    // After the node has written to peer(1): whether that peer, its other port, and a stranger get in.
    let kinds = [
        (Nat::full_cone(outside()), [true, true, true]),
        (Nat::address_restricted(outside()), [true, true, false]),
        (Nat::port_restricted(outside()), [true, false, false]),
        (Nat::symmetric(outside()), [true, false, false]),
    ];
    for (nat, expected) in kinds {
        let net = Net::seed(1);
        let inside = net.socket(home());
        let others = [peer(1), peer(2), stranger()].map(|address| net.socket(address));
        net.set_nat(home(), nat);
        assert_eq!(net.seen_as(home(), peer(1)), None, "{nat:?}");
        for other in &others {
            assert_eq!(seen_at(&inside, other, home()), None, "nobody reaches the inside address: {nat:?}");
        }
        let place = seen_at(&others[0], &inside, peer(1)).unwrap();
        assert_eq!((place.ip(), net.seen_as(home(), peer(1))), (outside(), Some(place)), "{nat:?}");
        let admitted = others.each_ref().map(|other| seen_at(&inside, other, place).is_some());
        assert_eq!(admitted, expected, "{nat:?}");
        assert_eq!(net.counts(peer(1), home()).delivered, 1, "counted by the node's own address");
    }
}

#[test]
fn a_symmetric_nat_has_a_port_for_each_peer_and_the_others_have_one_for_all() {
    for (nat, same) in [(Nat::full_cone(outside()), true), (Nat::symmetric(outside()), false)] {
        let net = Net::seed(2);
        let inside = net.socket(home());
        net.set_nat(home(), nat);
        let places = [peer(1), peer(2), stranger()].map(|to| {
            inside.send_to(b"x", to).unwrap();
            net.seen_as(home(), to).unwrap()
        });
        assert_eq!(places[0] == places[1] && places[1] == places[2], same, "{nat:?}");
        assert_eq!(places[0] != places[1] && places[1] != places[2], !same, "{nat:?}");
    }
}

#[test]
fn rebinding_kills_the_old_port_and_what_is_under_way_to_it() {
    let net = Net::seed(3);
    let mut link = Link::default();
    link.delay = MS(10);
    net.set_default(link);
    net.set_nat(home(), Nat::full_cone(outside()));
    let (inside, other) = (net.socket(home()), net.socket(peer(1)));
    inside.send_to(b"a", peer(1)).unwrap();
    net.advance(MS(10));
    let old = other.recv_from(&mut [0; 8]).unwrap().1;
    other.send_to(b"b", old).unwrap();
    net.rebind_at(net.elapsed() + MS(5), home());
    net.advance(MS(10));
    assert_eq!(inside.recv_from(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!((net.counts(peer(1), home()).refused, net.seen_as(home(), peer(1))), (1, None));
    inside.send_to(b"c", peer(1)).unwrap();
    net.advance(MS(10));
    let new = other.recv_from(&mut [0; 8]).unwrap().1;
    assert!(new != old && new.ip() == old.ip());
    for (place, arrives) in [(old, false), (new, true)] {
        other.send_to(b"d", place).unwrap();
        net.advance(MS(10));
        assert_eq!(inside.recv_from(&mut [0; 8]).is_ok(), arrives);
    }
    // To another network: its NAT has another address.
    net.set_nat(home(), Nat::full_cone([198, 51, 100, 77].into()));
    assert_eq!(net.seen_as(home(), peer(1)), None);
    inside.send_to(b"e", peer(1)).unwrap();
    assert_eq!(net.seen_as(home(), peer(1)).unwrap().ip(), IpAddr::from([198, 51, 100, 77]));
}

#[test]
fn a_port_lasts_while_the_node_writes_and_hearing_does_not_prolong_it() {
    let net = Net::seed(4);
    net.set_nat(home(), Nat { lifetime: MS(1_000), ..Nat::full_cone(outside()) });
    let (inside, other) = (net.socket(home()), net.socket(peer(1)));
    let place = seen_at(&other, &inside, peer(1)).unwrap();
    for _ in 0..5 {
        net.advance(MS(900));
        assert_eq!(seen_at(&other, &inside, peer(1)), Some(place));
    }
    net.advance(MS(900));
    assert!(seen_at(&inside, &other, place).is_some());
    net.advance(MS(101));
    assert!(seen_at(&inside, &other, place).is_none());
    assert_ne!(seen_at(&other, &inside, peer(1)).unwrap(), place);
}

#[test]
fn nodes_behind_one_box_have_different_ports_outside_and_their_own_addresses_inside() {
    let net = Net::seed(5);
    let other_home: SocketAddr = ([192, 168, 0, 3], 5_000).into();
    for node in [home(), other_home] {
        net.set_nat(node, Nat::port_restricted(outside()));
    }
    let (a, b, far) = (net.socket(home()), net.socket(other_home), net.socket(peer(1)));
    let (first, second) = (seen_at(&far, &a, peer(1)).unwrap(), seen_at(&far, &b, peer(1)).unwrap());
    assert!(first.ip() == second.ip() && first.port() != second.port());
    assert_eq!(seen_at(&b, &a, other_home), Some(home()));
}

/// Both know where a third sees the other, and write there until they hear each other.
fn punch(nats: [Nat; 2]) -> bool {
    let net = Net::seed(6);
    let nodes: [SocketAddr; 2] = [([192, 168, 0, 2], 5_000).into(), ([192, 168, 7, 7], 6_000).into()];
    let rendezvous = net.socket(peer(1));
    let sockets = nodes.map(|node| net.socket(node));
    let places = [0, 1].map(|own: usize| {
        net.set_nat(nodes[own], nats[own]);
        seen_at(&rendezvous, &sockets[own], peer(1)).unwrap()
    });
    let mut heard = [false; 2];
    for _ in 0..5 {
        for own in 0..2 {
            sockets[own].send_to(b"x", places[1 - own]).unwrap();
        }
        net.advance(MS(100));
        for own in 0..2 {
            heard[own] |= sockets[own].recv_from(&mut [0; 8]).is_ok();
        }
    }
    heard == [true; 2]
}

#[test]
fn holes_can_be_punched_into_cones_but_not_between_symmetric_nats() {
    let (a, b) = (IpAddr::from([198, 51, 100, 1]), IpAddr::from([198, 51, 100, 2]));
    assert!(punch([Nat::full_cone(a), Nat::full_cone(b)]));
    assert!(punch([Nat::address_restricted(a), Nat::port_restricted(b)]));
    assert!(punch([Nat::port_restricted(a), Nat::port_restricted(b)]));
    assert!(!punch([Nat::symmetric(a), Nat::port_restricted(b)]));
    assert!(!punch([Nat::symmetric(a), Nat::symmetric(b)]));
}

#[test]
fn a_path_shrinks_and_recovers_when_it_was_told_to_and_in_one_direction_only() {
    let net = Net::seed(7);
    let (a, b) = (net.socket(here()), net.socket(there()));
    let mut narrow = Link::default();
    narrow.mtu = Some(1_280);
    net.set_link_at(MS(100), here(), there(), narrow);
    net.set_link_at(MS(200), here(), there(), Link::default());
    let mut arrived = Vec::new();
    for _ in 0..30 {
        a.send_to(&[0; 1_472], there()).unwrap();
        b.send_to(&[0; 1_472], here()).unwrap();
        arrived.push(b.recv_from(&mut [0; 1_500]).is_ok());
        assert!(a.recv_from(&mut [0; 1_500]).is_ok());
        net.advance(MS(10));
    }
    assert_eq!(arrived, [[true; 10], [false; 10], [true; 10]].concat());
    assert_eq!(net.counts(here(), there()).too_large, 10);
}

#[test]
fn directions_that_share_a_bottleneck_wait_for_each_other_and_others_do_not() {
    let net = Net::seed(11);
    let mut link = Link::default();
    link.delay = MS(10);
    net.set_default(link);
    let (near, far, other) = (net.socket(here()), net.socket(there()), net.socket(peer(1)));
    // 100 bytes with their headers take 1 ms.
    net.share_bottleneck(100_000, 400, &[(here(), there()), (here(), peer(1))]);
    let sent: Vec<_> = [there(), peer(1), there(), peer(1), there()]
        .into_iter()
        .map(|to| near.send_to(&[0; 72], to).unwrap())
        .collect();
    far.send_to(&[0; 72], here()).unwrap();
    let mut arrived = Vec::new();
    while let Some(now) = net.advance_to_next() {
        for (name, socket) in [("there", &far), ("peer", &other), ("here", &near)] {
            while socket.recv_from(&mut [0; 100]).is_ok() {
                arrived.push((name, net.elapsed()));
            }
        }
        assert!(now >= net.now());
    }
    let expected =
        [("here", MS(10)), ("there", MS(11)), ("peer", MS(12)), ("there", MS(13)), ("peer", MS(14))];
    assert_eq!((sent.len(), arrived), (5, expected.to_vec()));
    assert_eq!(net.counts(here(), there()).overflowed, 1);
}

#[test]
fn a_hundred_nodes_all_hear_each_other() {
    let net = Net::seed(8);
    net.set_default(Link::lan());
    let nodes: Vec<SocketAddr> = (0..100).map(|number| ([10, 1, 0, number], 1_000).into()).collect();
    let sockets: Vec<_> = nodes.iter().map(|node| net.socket(*node)).collect();
    for socket in &sockets {
        for node in nodes.iter().filter(|node| **node != socket.local_addr()) {
            socket.send_to(b"x", *node).unwrap();
        }
    }
    net.advance(MS(100));
    for socket in &sockets {
        let mut from: Vec<_> =
            std::iter::from_fn(|| socket.recv_from(&mut [0; 8]).ok().map(|(_, from)| from)).collect();
        from.sort_unstable();
        from.dedup();
        assert_eq!(from.len(), 99);
    }
}

fn sealed<U: UdpLike>(net: &Net, own: usize, socket: U) -> SealedEndpoint<U> {
    let keys = keys(9);
    let credentials = Credentials::paired(&keys[own], keys[1 - own].public_key()).unwrap();
    let node = [here(), there()][own];
    Endpoint::with_environment(socket, credentials, Config::default(), environment(net, node)).unwrap()
}

/// Runs both ends up to a time and counts what each yields, by guarantee.
fn run_until<A: UdpLike, B: UdpLike>(
    net: &Net,
    due: Duration,
    a: &mut Endpoint<A, Sealed>,
    b: &mut Endpoint<B, Sealed>,
    mut heard: impl FnMut(usize, Guarantee, &[u8]),
) {
    while net.elapsed() < due {
        while let Some(message) = a.recv().unwrap() {
            heard(0, message.guarantee(), &message);
        }
        while let Some(message) = b.recv().unwrap() {
            heard(1, message.guarantee(), &message);
        }
        let wake = [a.maintain().unwrap(), b.maintain().unwrap()].into_iter().flatten().min();
        let end = net.now() + (due - net.elapsed());
        let soon = net.now() + Duration::from_micros(100);
        net.advance_to_next_or(wake.map_or(end, |wake| wake.max(soon).min(end)));
    }
}

#[test]
fn a_session_lives_through_a_rebinding_and_its_statistics_agree_with_the_network_s() {
    let play = || {
        let net = Net::seed(9);
        let mut link = Link::default();
        (link.delay, link.loss) = (MS(20), 0.05);
        net.set_default(link);
        net.set_nat(here(), Nat::symmetric(outside()));
        net.rebind_at(Duration::from_secs(10), here());
        let mut a = sealed(&net, 0, net.socket(here()).connect(there()));
        let mut b = sealed(&net, 1, Unconnected::new(net.socket(there())));
        a.connect().unwrap();
        let mut heard = Vec::new();
        for tick in 0..1_200_u32 {
            run_until(&net, MS(17) * tick, &mut a, &mut b, |end, _, bytes| heard.push((end, bytes.to_vec())));
            a.send_payload(Guarantee::Delivery, &tick.to_le_bytes()).unwrap();
            b.send_payload(Guarantee::Delivery, &tick.to_le_bytes()).unwrap();
            a.flush().unwrap();
            b.flush().unwrap();
        }
        run_until(&net, MS(24_000), &mut a, &mut b, |end, _, bytes| heard.push((end, bytes.to_vec())));
        for end in 0..2 {
            let numbers: Vec<_> = heard.iter().filter(|(at, _)| *at == end).map(|(_, bytes)| bytes).collect();
            let all: Vec<_> = (0..1_200_u32).map(|tick| tick.to_le_bytes().to_vec()).collect();
            assert!(numbers.into_iter().eq(&all), "end {end}");
        }
        let events = std::iter::from_fn(|| b.poll_event());
        assert_eq!(events.filter(|event| matches!(event, Event::PathChanged { .. })).count(), 1);
        (net, a.stats(), b.stats())
    };
    let (net, a, b) = play();
    assert_eq!(play().0.trace_hash(), net.trace_hash(), "the same seed, the same bytes");
    let (out, back) = (net.counts(here(), there()), net.counts(there(), here()));
    assert!(back.refused > 0, "what was sent to the old port: {back:?}");
    // A few belong to the handshake, and numbers are left out on purpose.
    assert!(b.packets.missing.abs_diff(out.lost) <= 5, "{:?} {out:?}", b.packets);
    assert!(a.packets.missing.abs_diff(back.lost + back.refused) <= 5, "{:?} {back:?}", a.packets);
    assert!(a.packets.sent >= a.packets.acked && a.packets.acked >= 1_100, "{:?}", a.packets);
    let believed = a.packets.lost - a.packets.late;
    // Packets of nothing but acknowledgements are lost unnoticed.
    assert!(believed <= out.lost + 5 && believed * 3 >= out.lost, "{:?} {out:?}", a.packets);
    let rtt = a.rtt.unwrap();
    assert!((MS(40)..MS(50)).contains(&rtt.min) && rtt.min <= rtt.smoothed, "{rtt:?}");
    assert!(rtt.jitter < MS(30), "{rtt:?}");
    assert_eq!((a.mtu, a.unsent_bytes, a.queue_time), (1_200, 0, Some(Duration::ZERO)));
    assert!(a.rate.unwrap() > 100_000, "{:?}", a.rate);
}

#[test]
fn an_hour_of_a_sealed_game_of_two_in_seconds() {
    const TICKS: u32 = 60 * 60 * 60;
    let net = Net::seed(10);
    net.set_default(Link::wifi());
    let mut a = sealed(&net, 0, net.socket(here()).connect(there()));
    let mut b = sealed(&net, 1, net.socket(there()).connect(here()));
    a.connect().unwrap();
    let mut heard = [[0_u32; 2]; 2];
    let mut count =
        |end: usize, guarantee, _: &[u8]| heard[end][usize::from(guarantee == Guarantee::Delivery)] += 1;
    for tick in 0..TICKS {
        run_until(&net, Duration::from_secs(1) * tick / 60, &mut a, &mut b, &mut count);
        let input = [tick.to_le_bytes()[0]; 40];
        a.send_payload(Guarantee::Order, &input).unwrap();
        b.send_payload(Guarantee::Order, &input).unwrap();
        if tick % 10 == 0 {
            a.send_payload(Guarantee::Delivery, &input).unwrap();
            b.send_payload(Guarantee::Delivery, &input).unwrap();
        }
        a.flush().unwrap();
        b.flush().unwrap();
    }
    run_until(&net, Duration::from_secs(3_605), &mut a, &mut b, &mut count);
    for [order, delivery] in heard {
        assert_eq!(delivery, TICKS / 10);
        assert!(order <= TICKS && order > TICKS - TICKS / 50, "{order} of {TICKS}");
    }
    let stats = a.stats();
    assert!(stats.epoch_send >= 25, "keys step forward every two minutes: {}", stats.epoch_send);
    assert!(stats.overhead().unwrap() < 3.6, "{:?}", stats.overhead());
}

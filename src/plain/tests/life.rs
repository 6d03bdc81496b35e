//! What a plain session bears, and how it ends.

use super::*;

#[test]
fn nothing_is_delivered_twice() {
    let mut net = Net::connected(13);
    net.duplicate = 50;
    for n in 0..50_u8 {
        net.send(0, &[n]);
        net.pause(5 * MS);
    }
    net.pause(Duration::from_secs(2));
    let sent = net.sent.clone();
    for (from, bytes) in sent {
        net.deliver(1 - from, bytes);
    }
    let mut heard = net.heard[1].clone();
    heard.sort();
    assert_eq!(heard, (0..50).map(|n| vec![n]).collect::<Vec<_>>());
    assert!(net.peers[1].drops().duplicate > 0);
}

#[test]
fn a_flipped_bit_a_cut_or_a_stranger_changes_nothing() {
    let mut net = Net::connected(14);
    net.send(0, b"payload");
    net.transmit();
    let (_, peer, bytes) = net.flight.remove(0);
    let state = format!("{:?} {:?}", net.peers[peer].live, net.peers[peer].connection);
    for bit in 0..8 * bytes.len() {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        net.deliver(peer, changed);
    }
    for len in 0..bytes.len() {
        net.deliver(peer, bytes[..len].to_vec());
    }
    let mut stranger = Plain::new(Config { app_id: b"other".to_vec(), ..Config::default() }).unwrap();
    stranger.connect(net.now, &mut net.rng).unwrap();
    let mut out = vec![0; 1_200];
    let len = stranger.poll_transmit(net.now, &mut net.rng, &mut out);
    net.deliver(peer, out[..len].to_vec());
    assert_eq!(state, format!("{:?} {:?}", net.peers[peer].live, net.peers[peer].connection));
    assert_eq!(net.peers[peer].poll_transmit(net.now, &mut net.rng, &mut out), 0, "no answer");
    net.deliver(peer, bytes);
    assert_eq!(net.heard[peer], [b"payload"]);
}

#[test]
fn close_reaches_the_peer_and_names_what_was_lost() {
    let mut net = Net::connected(16);
    net.blocked[1] = true;
    let lost = net.send(0, b"never acknowledged");
    net.peers[0].close(net.now, 77, b"bye");
    net.run(100 * MS, |_| false);
    let closed = |reason, undelivered| Some(Event::Closed { reason, undelivered });
    assert_eq!(net.events[0].last().cloned(), closed(CloseReason::ClosedHere, vec![lost]));
    assert_eq!(net.events[1].last().cloned(), closed(CloseReason::ClosedByPeer { code: 77 }, Vec::new()));
    assert_eq!(net.closed(0), Some(CloseReason::ClosedHere));
    let closes = net.sent.iter().rev().take(3).map(|(from, _)| *from).collect::<Vec<_>>();
    assert_eq!(closes, [0; 3]);
    // Nobody is there for a while; then the application begins anew.
    net.blocked[1] = false;
    net.connect(1);
    net.pause(Duration::from_secs(2));
    assert!(!net.peers[1].is_connected());
    net.connect(0);
    assert!(net.run(Duration::from_secs(5), Net::one_session));
}

#[test]
fn silence_ends_in_a_timeout_and_keep_alive_prevents_it() {
    let mut net = Net::connected(17);
    net.sent.clear();
    net.pause(Duration::from_secs(300));
    assert!(net.one_session());
    // A ping and its acknowledgement every 10 s.
    assert!((56..=60).contains(&net.sent.len()), "{} datagrams", net.sent.len());
    net.blocked = [true; 2];
    let from = net.now;
    assert!(net.run(Duration::from_secs(60), |net| net.closed(0).is_some()));
    assert_eq!(net.closed(0), Some(CloseReason::TimedOut));
    let after = net.now - from;
    assert!(Duration::from_secs(19) < after && after <= Duration::from_secs(30), "{after:?}");
}

#[test]
fn a_blackout_is_survived_in_the_same_session() {
    let mut net = Net::connected(18);
    net.send(0, b"before");
    net.pause(100 * MS);
    net.blocked = [true; 2];
    net.send(0, b"during");
    net.pause(Duration::from_secs(3));
    net.blocked = [false; 2];
    assert!(net.run(Duration::from_secs(10), |net| net.heard[1].len() == 2));
    net.pause(Duration::from_secs(10));
    assert!(net.one_session());
    assert_eq!(net.heard[1], [b"before", b"during"]);
    assert!(net.events.iter().all(|events| connected_once(events)), "{:?}", net.events);
}

#[test]
fn a_peer_that_breaks_the_protocol_is_closed_at_the_eighth_time() {
    let mut net = Net::connected(21);
    let live = net.peers[0].live.as_ref().unwrap();
    let (own, checksum) = (live.own, net.peers[0].checksum.clone());
    for n in 0..8_u8 {
        assert!(net.peers[0].is_connected());
        let mut bad = vec![0xff; HEADROOM + 4];
        checksum.seal(own, 1_000 + u64::from(n), &mut bad).unwrap();
        net.deliver(0, bad);
    }
    assert_eq!(net.closed(0), Some(CloseReason::ProtocolViolation));
    assert_eq!(net.peers[0].violations(), 8);
    assert!(net.run(Duration::from_secs(1), |net| net.closed(1).is_some()), "the peer is told");
}

#[test]
fn a_frame_of_sealed_sessions_is_malformed_in_a_plain_one() {
    let path = |kind: u8| [&[kind][..], &[7; 8]].concat();
    let new_cid = [&[0x0b, 0, 0][..], &[7; 8]].concat();
    for bad in [vec![0x04, 0, 0], path(0x09), path(0x0a), new_cid, vec![0x0c, 1, 7]] {
        let mut net = Net::connected(23);
        let live = net.peers[0].live.as_ref().unwrap();
        let (own, checksum) = (live.own, net.peers[0].checksum.clone());
        // A PING before it does not save the packet.
        let mut datagram = [&[0; HEADROOM][..], &[1], &bad].concat();
        checksum.seal(own, 1_000, &mut datagram).unwrap();
        net.deliver(0, datagram);
        assert_eq!(net.peers[0].violations(), 1, "{bad:x?}");
        assert!(net.peers[0].is_connected());
    }
}

#[test]
fn a_hole_does_not_cost_a_session_that_both_ends_still_have() {
    for step in 0..60 {
        let mut net = Net::connected(30);
        for peer in 0..2 {
            net.connect(peer);
        }
        net.run(MS * 2_000, |_| false);
        net.events.iter_mut().for_each(Vec::clear);
        net.blocked = [true; 2];
        net.send(0, b"owed");
        net.run(MS * (900 + 37 * step), |_| false);
        net.blocked = [false; 2];
        assert!(
            net.run(MS * 12_000, |net| net.heard[1].ends_with(&[b"owed".to_vec()])),
            "{step}: it arrived"
        );
        net.run(MS * 8_000, |_| false);
        assert!(net.events.iter().all(Vec::is_empty), "{step}: nothing was replaced: {:?}", net.events);
    }
}

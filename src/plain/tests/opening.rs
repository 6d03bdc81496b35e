//! How a plain session begins: one dials or both, datagrams are lost, ghosts of earlier sessions come.

use super::*;

#[test]
fn one_side_dials_and_both_talk() {
    let mut net = Net::new(1);
    net.send(0, b"queued before the session");
    net.send(1, b"and at the other side");
    net.connect(0);
    assert!(net.run(Duration::from_secs(1), |net| !net.heard[0].is_empty() && !net.heard[1].is_empty()));
    assert_eq!(net.heard, [[b"and at the other side".to_vec()], [b"queued before the session".to_vec()]]);
    assert!(net.events.iter().all(|events| connected_once(events)), "{:?}", net.events);
    assert!(net.now - net.start <= Duration::from_millis(60), "no timer was needed");
}

#[test]
fn any_first_flight_may_be_lost() {
    for lost in 0..6 {
        let mut net = Net::new(2);
        net.connect(0);
        net.transmit();
        for step in 0..100 {
            if step == lost {
                net.flight.clear();
            }
            net.run(10 * MS, |_| false);
        }
        net.pause(Duration::from_secs(3));
        assert!(net.one_session(), "flight {lost} lost");
        assert!(net.events.iter().all(|events| connected_once(events)));
    }
}

#[test]
fn simultaneous_open_gives_one_session() {
    for seed in 0..300 {
        let mut net = Net::new(seed);
        net.delay = (0, net.rng.next_u32() % 201);
        net.loss = net.rng.next_u32() % 31;
        net.duplicate = 5;
        let gap = net.rng.next_u32() % 400;
        net.connect(0);
        net.pause(MS * gap);
        net.connect(1);
        let live = net.run(Duration::from_secs(12), Net::one_session);
        assert!(live, "seed {}: {:?} {:?}", net.seed, net.peers[0].live, net.peers[1].live);
        let message = net.send(0, b"hello");
        assert!(
            net.run(Duration::from_secs(20), |net| net.heard[1] == [b"hello"]),
            "seed {}: {message:?}",
            net.seed
        );
        assert!(net.one_session() && net.initiators() == 1, "seed {}", net.seed);
        for events in &net.events {
            assert!(connected_once(events), "seed {}: {events:?}", net.seed);
        }
    }
}

#[test]
fn answered_before_connect_then_dialled_gives_one_session() {
    for seed in 0..50 {
        let mut net = Net::new(seed);
        net.connect(0);
        // The answer to 0 is on its way, or the confirmation, when 1 dials too.
        net.run(MS * (10 + u32::try_from(seed).unwrap() % 25), |_| false);
        net.connect(1);
        assert!(net.run(Duration::from_secs(5), Net::one_session), "seed {seed}");
        net.pause(Duration::from_secs(10));
        assert!(net.one_session() && net.events.iter().all(|events| connected_once(events)), "seed {seed}");
    }
}

#[test]
fn a_restart_is_noticed_and_what_was_not_acknowledged_is_named() {
    for (dialler, restarted) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut net = Net::new(7);
        net.connect(dialler);
        assert!(net.run(Duration::from_secs(1), Net::one_session));
        net.pause(Duration::from_millis(500));
        let survivor = 1 - restarted;
        net.restart(restarted);
        if restarted == dialler {
            net.connect(dialler);
        }
        let lost = net.send(survivor, b"for the dead one");
        assert!(net.run(Duration::from_secs(10), Net::one_session), "{dialler} {restarted}");
        net.pause(Duration::from_secs(1));
        let again = Event::PeerReconnected { handshake_hash: None, undelivered: vec![lost] };
        assert_eq!(net.events[survivor].last(), Some(&again), "{dialler} {restarted}");
        assert!(net.heard[restarted].is_empty());
        net.send(survivor, b"for the living");
        assert!(net.run(Duration::from_secs(2), |net| net.heard[restarted] == [b"for the living"]));
    }
}

#[test]
fn datagrams_of_an_earlier_session_do_nothing() {
    let mut net = Net::connected(11);
    net.send(0, b"old one");
    net.send(1, b"old two");
    net.pause(Duration::from_secs(1));
    let old = std::mem::take(&mut net.sent);
    net.restart(0);
    net.connect(0);
    assert!(net.run(Duration::from_secs(5), Net::one_session));
    net.pause(Duration::from_secs(1));
    net.heard.iter_mut().for_each(Vec::clear);
    net.events.iter_mut().for_each(Vec::clear);
    for (from, bytes) in &old {
        net.deliver(1 - from, bytes.clone());
        net.deliver(*from, bytes.clone());
    }
    net.pause(Duration::from_secs(10));
    assert!(net.one_session());
    assert!(net.heard.iter().all(Vec::is_empty) && net.events.iter().all(Vec::is_empty));
    assert!(net.peers.iter().all(|peer| peer.drops().total() > 0));
}

#[test]
fn a_dead_incarnations_confirmation_is_replaced_by_the_living() {
    let mut net = Net::new(12);
    net.connect(0);
    // Hello there, answer back; the confirmation is held back while the peer restarts and dials again.
    net.run(20 * MS, |_| false);
    net.transmit();
    let held = std::mem::take(&mut net.flight);
    assert_eq!(held.len(), 1);
    net.restart(0);
    net.connect(0);
    net.run(15 * MS, |_| false);
    for (_, peer, bytes) in held {
        net.deliver(peer, bytes);
    }
    assert!(net.run(Duration::from_secs(10), Net::one_session));
    net.send(0, b"alive");
    assert!(net.run(Duration::from_secs(2), |net| net.heard[1] == [b"alive"]));
}

#[test]
fn our_own_greeting_is_recognised() {
    let mut net = Net::new(15);
    net.connect(0);
    net.transmit();
    let (_, _, hello) = net.flight.remove(0);
    net.deliver(0, hello);
    assert_eq!(net.peers[0].drops().reflected, 1);
    net.transmit();
    assert!(net.flight.is_empty());
}

#[test]
fn connect_gives_up_with_a_hint_only_where_there_is_one() {
    for (noise, ours, hint) in
        [(false, false, None), (true, false, Some(Hint::PeerSeemsSealed)), (true, true, None)]
    {
        let mut net = Net::new(19);
        net.blocked = [true; 2];
        let lost = net.send(0, b"waiting");
        net.connect(0);
        net.pause(Duration::from_secs(5));
        assert_eq!(net.closed(0), None);
        if noise {
            net.deliver(0, vec![0x5a; 1_200]);
        }
        if ours {
            net.connect(1);
            let mut out = vec![0; 1_200];
            let len = net.peers[1].poll_transmit(net.now, &mut net.rng, &mut out);
            net.deliver(0, out[..len].to_vec());
        }
        assert!(net.run(Duration::from_secs(26), |net| net.closed(0).is_some()));
        let reason = CloseReason::HandshakeTimeout(hint);
        assert_eq!(net.events[0], [Event::Closed { reason, undelivered: vec![lost] }]);
        assert_eq!(net.now - net.start, Duration::from_secs(30));
    }
}

#[test]
fn who_only_answers_can_be_reached_again_after_a_timeout() {
    let mut net = Net::connected(20);
    net.blocked = [true; 2];
    assert!(net.run(Duration::from_secs(60), |net| net.closed(1).is_some()));
    net.blocked = [false; 2];
    net.restart(0);
    net.connect(0);
    assert!(net.run(Duration::from_secs(5), Net::one_session));
    assert_eq!(net.closed(1), None);
}

#[test]
fn a_failing_generator_ends_the_dial_and_no_stranger_can_cause_it() {
    let mut broken = Environment::new(|| unreachable!(), Broken);
    let mut net = Net::connected(22);
    let mut alone = Plain::new(config()).unwrap();
    alone.connect(net.now, &mut broken).unwrap();
    assert_eq!(alone.closed(), Some(CloseReason::Entropy));
    let mut stranger = Plain::new(config()).unwrap();
    stranger.connect(net.now, &mut net.rng).unwrap();
    let mut hello = vec![0; 1_200];
    let len = stranger.poll_transmit(net.now, &mut net.rng, &mut hello);
    net.peers[0].handle_datagram(net.now, &mut broken, &mut hello[..len]);
    assert!(net.peers[0].is_connected());
    assert_eq!(net.peers[0].drops().handshake, 1);
}

struct Broken;

impl TryCryptoRng for Broken {}

impl rand_core::TryRng for Broken {
    type Error = crate::crypto::EntropyError;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Err(crate::crypto::EntropyError)
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Err(crate::crypto::EntropyError)
    }
    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Self::Error> {
        Err(crate::crypto::EntropyError)
    }
}

//! A network that carries nothing for a while: when a session is kept, doubted, renewed and given up.

use super::*;

#[test]
fn silence_ends_the_session_without_a_word() {
    for profile in ["client", "paired"] {
        let mut world = World::pair(profile, 2);
        world.connect(0);
        world.settle();
        world.to = vec![None; 2];
        let undelivered = world.owe(1, 1);
        world.run(Duration::from_secs(45));
        assert_eq!(last_reason(&world, 0), Some(CloseReason::TimedOut));
        assert_eq!(
            world.events[1].last(),
            Some(&Event::Closed { reason: CloseReason::TimedOut, undelivered })
        );
        assert!(world.peers.iter().all(|peer| peer.deadline().is_none()));
    }
}

#[test]
fn an_idle_session_is_kept_alive() {
    for profile in ALL {
        let mut world = World::pair(profile, 2);
        world.connect(0);
        world.settle();
        let begin = world.sent.len();
        world.run(Duration::from_secs(600));
        assert!(world.agreed(), "{profile}");
        let sent = world.sent.len() - begin;
        assert!((100..400).contains(&sent), "{profile}: {sent} datagrams in ten idle minutes");
        assert_eq!((world.sessions(0), world.sessions(1)), (1, 1));
    }
}

#[test]
fn a_blackout_keeps_the_session_and_drops_the_attempt_that_doubted() {
    for profile in ALL {
        let mut world = World::pair(profile, 3);
        world.connect(0);
        if SYMMETRIC.contains(&profile) {
            world.connect(1);
        }
        world.settle();
        world.run(Duration::from_secs(1));
        let hash = world.peers[0].handshake_hash();
        world.to = vec![None; 2];
        let now = world.now;
        for peer in [0, 1] {
            world.peers[peer].connection_mut().ping(now);
            world.flush(peer);
        }
        world.run(ms(3_000));
        assert!(world.peers[0].dial.is_some(), "{profile}: no background attempt");
        // Only the old session's packets get through, then everything.
        world.to = vec![Some(1), Some(0)];
        world.peers[0].connection_mut().ping(now);
        world.flush(0);
        world.run(Duration::from_secs(5));
        assert!(world.agreed(), "{profile}");
        if world.peers[0].handshake_hash() == hash {
            assert_eq!((world.sessions(0), world.sessions(1)), (1, 1), "{profile}");
        }
        assert!(world.peers.iter().all(|peer| peer.dial.is_none()), "{profile}");
        world.run(Duration::from_secs(20));
        assert!(world.agreed(), "{profile}");
    }
}

#[test]
fn the_idle_timeout_does_not_cut_a_renewal_whose_answer_was_read() {
    let config = || Config { idle_timeout: Duration::from_secs(3), ..Config::default() };
    let mut world =
        World::new(6, vec![(credentials("paired", 0), config()), (credentials("paired", 1), config())]);
    world.connect(0);
    world.settle();
    world.run(ms(200));
    // The peer restarts and only listens; its RESP arrives just before the old session times out.
    world.restart(1, credentials("paired", 1), config());
    world.to = vec![None; 2];
    let owed = world.owe(0, 1);
    world.peers[0].connection_mut().ping(world.now);
    world.peers[0].connection_mut().flush();
    world.flush(0);
    assert!(world.run_until(ms(2_900), |world| world.peers[0].dial.is_some()).is_some());
    let init = world.sent.iter().rev().find(|(_, _, datagram)| datagram.len() == 1_200);
    let init = match init {
        Some((_, 0, init)) => init.clone(),
        _ => panic!("no INIT"),
    };
    world.deliver(1, &init);
    let resp = world.sent.last().unwrap().2.clone();
    world.deliver(0, &resp);
    world.run(ms(3_100));
    assert!(!world.peers[0].is_connected());
    assert_eq!(last_reason(&world, 0), None, "it may yet be renewed");
    world.to = vec![Some(1), Some(0)];
    world.settle();
    let Some(Event::PeerReconnected { undelivered, .. }) = world.events[0].last() else { panic!() };
    assert_eq!(*undelivered, owed);

    // And if nothing comes of it, the reason is that of the session.
    world.to = vec![None; 2];
    world.run(Duration::from_secs(40));
    assert_eq!(last_reason(&world, 0), Some(CloseReason::TimedOut));
}

#[test]
fn a_hole_does_not_cost_a_session_that_both_ends_still_have() {
    for profile in ["paired", "tofu", "invite"] {
        for step in 0..60 {
            let mut world = World::pair(profile, 4);
            world.connect(0);
            world.settle();
            world.run(Duration::from_secs(2));
            let to = world.to.clone();
            world.to = vec![None; 2];
            let owed = world.owe(0, 3);
            world.peers[0].connection_mut().flush();
            world.flush(0);
            // Both dial anew while it lasts; their INITs may get through before the old session does.
            world.run(ms(900) + ms(37) * step);
            world.to = to;
            world.run(Duration::from_secs(12));
            assert!(world.agreed(), "{profile}, {step}");
            assert_eq!(
                (world.sessions(0), world.sessions(1)),
                (1, 1),
                "{profile}, {step}: nothing was replaced"
            );
            assert_eq!(
                world.peers[0].connection().queued_messages(),
                0,
                "{profile}, {step}: {owed:?} arrived"
            );
        }
    }
}

#[test]
fn one_lost_question_does_not_cost_a_session_that_both_ends_still_have() {
    for profile in ["paired", "tofu", "client_auth"] {
        for step in 0..40 {
            let mut world = World::pair(profile, 5);
            world.connect(0);
            world.settle();
            world.run(Duration::from_secs(2));
            let to = world.to.clone();
            world.to = vec![None; 2];
            world.owe(0, 1);
            world.peers[0].connection_mut().flush();
            world.flush(0);
            world.run(ms(1_100) + ms(37) * step);
            // An INIT gets through, and so does its answer; what then asks the old session is lost.
            let is_init = |(_, from, datagram): &&(_, usize, Vec<u8>)| *from == 0 && datagram.len() >= 1_200;
            let init = world.sent.iter().rev().find(is_init).unwrap().2.clone();
            world.deliver(1, &init);
            let answer = world.last_said(1);
            world.deliver(0, &answer);
            let held = |peer: &Sealed| match &peer.dial {
                Some(dial) => {
                    matches!(&dial.phase, Phase::Unconfirmed(unconfirmed) if unconfirmed.is_held())
                }
                None => false,
            };
            assert!(held(&world.peers[0]), "{profile}, {step}: nobody asks");
            world.run(ms(50));
            world.to = to;
            world.run(Duration::from_secs(12));
            assert_eq!(
                (world.sessions(0), world.sessions(1)),
                (1, 1),
                "{profile}, {step}: nothing was replaced"
            );
            assert_eq!(world.peers[0].connection().queued_messages(), 0, "{profile}, {step}");
        }
    }
}

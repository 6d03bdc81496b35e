//! Ends that start anew, one of them or both.

use super::*;

#[test]
fn a_peer_that_restarts_is_back_at_once() {
    for profile in ALL {
        for restarted in [0, 1] {
            if restarted == 1 && !SYMMETRIC.contains(&profile) {
                continue;
            }
            let mut world = World::pair(profile, 3);
            world.connect(0);
            world.connect(usize::from(SYMMETRIC.contains(&profile)));
            world.settle();
            world.run(Duration::from_secs(5));
            let (other, old) = (1 - restarted, world.sent.clone());
            let owed = world.owe(other, 2);
            let side = u8::try_from(restarted).unwrap();
            world.restart(restarted, credentials(profile, side), Config::default());
            world.connect(restarted);
            let took = world.run_until(Duration::from_secs(31), World::agreed).unwrap();
            // Where nobody can prove to be the same peer, the old session is asked first.
            let patience = if matches!(profile, "invite" | "client") { 5_000 } else { 300 };
            assert!(took <= ms(patience), "{profile}: {took:?}");
            assert!(reconnected(&world, other), "{profile}: {:?}", world.events[other]);
            let Some(Event::PeerReconnected { undelivered, handshake_hash }) = world.events[other].last()
            else {
                panic!("{profile}")
            };
            assert_eq!(*undelivered, owed);
            assert_eq!(*handshake_hash, world.peers[restarted].handshake_hash());
            // The old session's datagrams do nothing.
            world.run(ms(500));
            for (_, from, datagram) in old {
                let before = world.peers[1 - from].digest();
                world.deliver(1 - from, &datagram);
                if datagram.len() < 1_200 {
                    assert_eq!(world.peers[1 - from].digest(), before, "{profile}");
                }
            }
            world.run(Duration::from_secs(20));
            assert!(world.agreed(), "{profile}");
            assert_eq!(world.sessions(restarted), 1, "{profile}");
        }
    }
}

#[test]
fn a_silent_restart_of_the_answering_side_is_noticed_by_the_dialler() {
    // The restarted side only listens: whoever called connect comes again by itself.
    for profile in ALL {
        let mut world = World::pair(profile, 3);
        world.connect(0);
        world.settle();
        world.run(Duration::from_secs(1));
        world.restart(1, credentials(profile, 1), Config::default());
        world.peers[0].connection_mut().ping(start());
        world.flush(0);
        let took = world.run_until(Duration::from_secs(31), World::agreed);
        assert!(took.is_some_and(|took| took < Duration::from_secs(2)), "{profile}: {took:?}");
        assert!(reconnected(&world, 0), "{profile}");
        assert_eq!(world.sessions(1), 1);
    }
}

#[test]
fn simultaneously_opened_ends_both_come_again_after_a_double_restart() {
    for profile in SYMMETRIC {
        for seed in 0..10 {
            let mut world = World::pair(profile, seed);
            world.connect(0);
            world.connect(1);
            world.settle();
            world.run(ms(777));
            for peer in [0, 1] {
                let side = u8::try_from(peer).unwrap();
                world.restart(peer, credentials(profile, side), Config::default());
                world.run(ms(30 * seed));
                world.connect(peer);
            }
            world.settle();
            world.run(Duration::from_secs(20));
            assert!(world.agreed(), "{profile}, seed {seed}");
        }
    }
}

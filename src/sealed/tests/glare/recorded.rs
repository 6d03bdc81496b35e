//! Datagrams that somebody recorded, held back or sent back while both dial.

use super::*;

#[test]
fn a_recorded_init_sent_for_ever_does_not_silence_a_peer() {
    // A follower that suspended its attempt would be blocked by a recorded INIT with a small key.
    for profile in SYMMETRIC {
        let mut old = World::pair(profile, 4);
        old.to = vec![None; 2];
        let recorded: Vec<Vec<u8>> = (0..6)
            .map(|_| {
                let now = old.now;
                old.restart(1, credentials(profile, 1), Config::default());
                old.now = now;
                old.connect(1);
                old.sent.last().unwrap().2.clone()
            })
            .collect();
        let mut world = World::pair(profile, 5);
        world.link = vec![Link { loss: 100, ..Link::default() }; 2];
        world.connect(0);
        world.connect(1);
        let begin = world.now;
        while !world.agreed() {
            for init in &recorded {
                world.deliver(0, init);
            }
            world.run(ms(100));
            assert!(world.now - begin < Duration::from_secs(31), "{profile}");
        }
        assert!(world.now - begin < Duration::from_secs(12), "{profile}");
    }
}

#[test]
fn a_dead_incarnations_delayed_confirm_after_a_restart() {
    // B restarts after its RESP was read; the CONFIRM of its dead session reaches A's entry late.
    for profile in ["paired", "invite", "paired_psk"] {
        let mut world = World::pair(profile, 3);
        world.to = vec![None; 2];
        world.connect(1);
        let init = world.said(1, 0);
        world.deliver(0, &init);
        let resp = world.said(0, 0);
        world.deliver(1, &resp);
        let confirm = world.last_said(1);
        assert!(confirm.len() < 100);
        world.restart(1, credentials(profile, 1), Config::default());
        world.to = vec![Some(1), Some(0)];
        world.connect(1);
        world.run(ms(5));
        // A goes live with the dead incarnation.
        world.deliver(0, &confirm);
        assert!(world.peers[0].is_connected());
        let took = world.run_until(Duration::from_secs(31), World::agreed);
        assert!(took.is_some(), "{profile}: {:?}", world.events);
        world.run(Duration::from_secs(10));
        assert!(world.agreed(), "{profile}");
        // The living session is never displaced by the old CONFIRM again.
        let before = world.peers[0].digest();
        world.deliver(0, &confirm);
        assert_eq!(world.peers[0].digest(), before, "{profile}");
    }
}

#[test]
fn two_attempts_in_parallel_reflected() {
    // A mirror shows an endpoint its own datagrams. Nothing comes of it, not even a half-open entry, with the attempt
    // pending or ended.
    for profile in SYMMETRIC {
        let mut world = World::pair(profile, 6);
        world.to[0] = Some(0);
        world.connect(0);
        world.run(Duration::from_secs(13));
        let first = world.said(0, 0);
        let before = world.peers[0].digest();
        world.deliver(0, &first);
        assert_eq!(world.peers[0].digest(), before, "{profile}");
        assert!(world.peers[0].half_open.is_empty());
        assert!(world.peers[0].drops().reflected > 3, "{profile}");
        world.run(Duration::from_secs(20));
        assert_eq!(world.sessions(0), 0, "{profile}");
        assert!(closed(&world, 0), "{profile}");
    }
}

#[test]
fn every_attempt_of_the_last_minute_is_recognised_in_a_mirror() {
    let config = Config {
        attempt_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(600),
        ..Config::default()
    };
    let mut world = World::new(1, vec![(credentials("invite", 0), config)]);
    world.to = vec![None];
    world.connect(0);
    let first = world.sent[0].2.clone();
    world.run(Duration::from_secs(58));
    world.deliver(0, &first);
    assert_eq!(world.peers[0].drops().reflected, 1);
    assert_eq!(world.peers[0].half_open.iter().count(), 0);
}

//! What the packets of a living session show: keys that step forward, numbers left out, padding.

use super::*;

#[test]
fn keys_step_forward_in_each_direction_and_both_follow() {
    let config =
        || Config { ratchet_packets: 64, ratchet_interval: Duration::from_secs(5), ..Config::default() };
    for profile in ["paired", "tofu"] {
        let mut world =
            World::new(6, vec![(credentials(profile, 0), config()), (credentials(profile, 1), config())]);
        world.link[0].twice = 200;
        world.link[1].most = ms(60);
        world.connect(0);
        world.settle();
        // With traffic: by count.
        for _ in 0..1_000 {
            for peer in [0, 1] {
                world.peers[peer].connection_mut().ping(world.now);
                world.flush(peer);
            }
            world.run(ms(10));
        }
        let by_count = [world.peers[0].epochs().0, world.peers[1].epochs().0];
        assert!(by_count.iter().all(|epoch| (4..=9).contains(epoch)), "{profile}: {by_count:?}");
        // Without: by time.
        world.run(Duration::from_secs(60));
        let by_time = [world.peers[0].epochs().0, world.peers[1].epochs().0];
        assert!(by_time.iter().zip(by_count).all(|(now, then)| now - then >= 8), "{profile}: {by_time:?}");
        assert!(world.agreed());
        for (peer, other) in [(0, 1), (1, 0)] {
            let follows = world.peers[other].live.as_ref().unwrap().channel.open.epoch();
            assert!(by_time[peer] - u64::from(follows) <= 1);
            assert_eq!((world.peers[peer].drops().epoch, world.peers[peer].violations()), (0, 0));
            assert_eq!(world.peers[peer].drops().unopened, 0);
        }
        assert_eq!((world.sessions(0), world.sessions(1)), (1, 1));
    }
}

#[test]
fn a_number_is_left_out_now_and_then_and_an_ack_of_it_closes() {
    let mut world = World::pair("paired", 9);
    world.connect(0);
    world.settle();
    for _ in 0..6_000 {
        for peer in [0, 1] {
            world.peers[peer].connection_mut().ping(world.now);
            world.flush(peer);
        }
        world.run(ms(1));
    }
    for peer in &world.peers {
        let next = peer.live.as_ref().unwrap().channel.seal.next_number();
        let skipped = peer.connection().skipped();
        assert!((2..=8).contains(&skipped.len()), "{skipped:?} of {next}");
        assert!(skipped[0] < 20);
        assert!(skipped.windows(2).all(|pair| (1_024..=4_096).contains(&(pair[1] - pair[0]))));
    }
    assert!(world.agreed());
    // A peer that acknowledges blindly.
    let skipped = world.peers[0].connection().skipped()[0];
    world.peers[1].connection_mut().invent(world.now, skipped);
    world.peers[1].connection_mut().ping(world.now);
    world.flush(1);
    world.run(ms(200));
    assert_eq!(last_reason(&world, 0), Some(CloseReason::ProtocolViolation));
    assert_eq!(last_reason(&world, 1), Some(CloseReason::ClosedByPeer { code: 0xfffe }));
}

#[test]
fn padding_hides_the_length() {
    for (padding, fits) in [
        (Padding::Bucket(64), &(|len: usize| len % 64 == 0) as &dyn Fn(usize) -> bool),
        (Padding::ToSize(500), &|len| len == 500),
        (Padding::ToSize(1_200), &|len| len == 1_200),
    ] {
        let config = || Config { padding, ..Config::default() };
        let mut world =
            World::new(6, vec![(credentials("paired", 0), config()), (credentials("paired", 1), config())]);
        world.connect(0);
        world.settle();
        world.run(Duration::from_secs(30));
        world.peers[0].close(world.now, 1, b"x");
        world.flush(0);
        for (_, _, datagram) in &world.sent[2..] {
            assert!(fits(datagram.len()), "{padding:?}: {}", datagram.len());
        }
        world.run(ms(100));
        assert!(matches!(last_reason(&world, 1), Some(CloseReason::ClosedByPeer { code: 1 })));
    }
}

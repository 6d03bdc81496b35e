//! Peers that break the rules: what they may do, and where a session ends.

use super::*;

#[test]
fn eight_violations_close_and_seven_do_not() {
    let mut world = World::pair("paired", 9);
    world.connect(0);
    world.settle();
    for count in 1..=8 {
        let key = &mut world.peers[0].live.as_mut().unwrap().channel.seal;
        let packet = seal_any(key, &[0x3f, 1, 2]);
        world.deliver(1, &packet);
        assert_eq!(world.peers[1].is_connected(), count < 8, "{count}");
    }
    assert_eq!(last_reason(&world, 1), Some(CloseReason::ProtocolViolation));
    world.run(ms(100));
    assert_eq!(last_reason(&world, 0), Some(CloseReason::ClosedByPeer { code: 0xfffe }));
}

#[test]
fn a_peer_that_passes_the_limit_of_a_lane_is_closed() {
    let small = || Config {
        max_message_bytes: 1_000,
        max_unreliable_bytes: 1_000,
        receive_window_bytes: 16 << 10,
        ..Config::default()
    };
    let mut world =
        World::new(9, vec![(credentials("paired", 0), small()), (credentials("paired", 1), small())]);
    world.connect(0);
    world.settle();
    world.run(ms(100));
    world.peers[0].connection_mut().ignore_lane_limits();
    // The first of the lane is lost; what follows fits the session's window, but not the lane's half of it.
    let say = |world: &mut World, count| {
        for _ in 0..count {
            world.peers[0].connection_mut().send(3, Guarantee::Delivery, &[7; 900]).unwrap();
        }
        world.peers[0].connection_mut().flush();
        world.flush(0);
    };
    world.to[0] = None;
    say(&mut world, 1);
    world.to[0] = Some(1);
    say(&mut world, 8);
    world.run(ms(21));
    assert_eq!((world.peers[1].violations(), world.peers[1].connection().held_bytes()), (0, 8 * 964));
    say(&mut world, 4);
    world.run(ms(21));
    assert_eq!(world.peers[1].violations(), 4);
    assert_eq!(world.peers[1].connection().held_bytes(), 8 * 964, "nothing of it is kept");
}

#[test]
fn too_many_forgeries_close_and_half_of_them_renew() {
    for (dialler, renews) in [(0, true), (1, false)] {
        let config = || Config { aead_failure_limit: 100, ..Config::default() };
        let mut world =
            World::new(6, vec![(credentials("paired", 0), config()), (credentials("paired", 1), config())]);
        world.connect(dialler);
        world.settle();
        let hash = world.peers[0].handshake_hash();
        for _ in 0..50 {
            world.deliver(0, &[7; 50]);
        }
        // The session's initiator begins a new handshake.
        assert_eq!(world.peers[0].dial.is_some(), renews);
        world.run(Duration::from_secs(2));
        assert_eq!(world.peers[0].handshake_hash() != hash, renews);
        if renews {
            assert!(reconnected(&world, 0) && reconnected(&world, 1));
            continue;
        }
        for _ in 0..60 {
            world.deliver(0, &[7; 50]);
        }
        assert_eq!(last_reason(&world, 0), Some(CloseReason::AeadLimit));
    }
}

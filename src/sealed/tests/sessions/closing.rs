//! Who closes, what the other end is told, and what comes after.

use super::*;

#[test]
fn closing_tells_the_peer_its_code() {
    for profile in ALL {
        for closer in [0, 1] {
            let mut world = World::pair(profile, 1);
            world.connect(0);
            world.settle();
            world.peers[closer].close(world.now, 0x1234, b"good night");
            assert!(!world.peers[closer].is_connected());
            let farewell = world.flush(closer);
            assert_eq!(farewell.len(), 3);
            assert_ne!(farewell[0], farewell[1]);
            world.run(Duration::from_secs(40));
            assert_eq!(last_reason(&world, closer), Some(CloseReason::ClosedHere));
            assert_eq!(last_reason(&world, 1 - closer), Some(CloseReason::ClosedByPeer { code: 0x1234 }));
            assert_eq!((world.peers[0].deadline(), world.peers[1].deadline()), (None, None));
            // The copies of CLOSE were swallowed, not taken for strangers.
            assert_eq!(world.peers[1 - closer].drops().unopened, 0);
            assert!(world.peers[0].drained.is_none() && world.peers[1].drained.is_none());
        }
    }
}

#[test]
fn one_close_of_three_is_enough() {
    for survivor in 0..3 {
        let mut world = World::pair("paired", 1);
        world.connect(0);
        world.settle();
        world.to[0] = None;
        world.peers[0].close(world.now, 7, &[0; 100]);
        let farewell = world.flush(0);
        world.deliver(1, &farewell[survivor]);
        assert_eq!(last_reason(&world, 1), Some(CloseReason::ClosedByPeer { code: 7 }));
    }
}

#[test]
fn codes_of_the_protocol_cannot_be_sent_by_the_application() {
    let mut world = World::pair("paired", 1);
    world.connect(0);
    world.settle();
    world.peers[0].close(world.now, CODE_REPLACED, b"");
    world.flush(0);
    world.run(ms(100));
    assert_eq!(last_reason(&world, 1), Some(CloseReason::ClosedByPeer { code: 0xfeff }));
}

#[test]
fn after_close_nothing_is_answered_until_connect() {
    let mut world = World::pair("paired", 1);
    world.connect(0);
    world.settle();
    world.peers[1].close(world.now, 7, b"");
    world.flush(1);
    world.run(ms(100));
    world.connect(0);
    world.run(Duration::from_secs(5));
    assert_eq!(world.sessions(1), 1);
    world.connect(1);
    world.settle();
    assert_eq!((world.sessions(0), world.sessions(1)), (2, 2));
}

#[test]
fn closing_an_unconfirmed_attempt_closes_the_session_that_comes_of_it() {
    let mut world = World::pair("paired", 1);
    // CONFIRM arrives, its answer is slow.
    world.link[1].least = ms(20);
    world.connect(0);
    let unconfirmed = |world: &World| world.peers[1].is_connected() && !world.peers[0].is_connected();
    assert!(world.run_until(Duration::from_secs(1), unconfirmed).is_some());
    world.peers[0].close(world.now, 9, b"changed my mind");
    world.flush(0);
    assert_eq!(last_reason(&world, 0), Some(CloseReason::ClosedHere));
    world.run(Duration::from_secs(2));
    assert_eq!(last_reason(&world, 1), Some(CloseReason::ClosedByPeer { code: 9 }));
    assert_eq!(world.sessions(0), 0);
    // The other way round: a new connect takes the attempt up again.
    let mut world = World::pair("paired", 1);
    world.connect(0);
    assert!(world.run_until(Duration::from_secs(1), unconfirmed).is_some());
    world.peers[0].close(world.now, 9, b"changed my mind");
    world.connect(0);
    world.settle();
    assert_eq!(world.sessions(1), 1);
}

#[test]
fn a_new_connect_that_takes_up_a_renewal_ends_in_time() {
    // Silence began an attempt beside the session; it was answered, never confirmed, and outlived `close`.
    let mut world = World::pair("paired", 3);
    world.connect(0);
    world.settle();
    world.to = vec![None, None];
    world.peers[0].connection_mut().ping(world.now);
    world.flush(0);
    let renewing = |world: &World| world.peers[0].dial.is_some();
    assert!(world.run_until(Duration::from_secs(5), renewing).is_some());
    world.flush(0);
    world.deliver(1, &world.last_said(0));
    world.deliver(0, &world.last_said(1));
    world.peers[0].close(world.now, 1, b"");
    world.flush(0);
    assert!(matches!(&world.peers[0].dial, Some(dial) if matches!(dial.phase, Phase::Unconfirmed(_))));
    world.connect(0);
    world.run(Duration::from_secs(40));
    assert!(matches!(last_reason(&world, 0), Some(CloseReason::HandshakeTimeout(_))), "{:?}", world.events);
}

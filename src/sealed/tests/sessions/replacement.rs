//! Others who come while a session lives: the same device again, another one with its key, strangers.

use super::*;
use crate::wire::{
    codec::Writer,
    frame::{self, Frame},
    message::Context,
};

#[test]
fn another_device_with_the_same_key_replaces_and_the_old_one_stays_away() {
    for profile in ["paired", "tofu", "client_auth"] {
        let config = Config::default;
        let peers = vec![
            (credentials(profile, 0), config()),
            (credentials(profile, 1), config()),
            (credentials(profile, 0), config()),
        ];
        let mut world = World::new(4, peers);
        world.to = vec![Some(1), Some(0), Some(1)];
        world.connect(0);
        world.settle();
        world.run(ms(500));
        // A copy of its key dials from elsewhere. The answers go to both, as over a hub.
        let before = world.sent.len();
        world.connect(2);
        let hub = |world: &mut World, seen: &mut usize| {
            while *seen < world.sent.len() {
                let (_, from, datagram) = world.sent[*seen].clone();
                *seen += 1;
                if from == 1 {
                    world.deliver(2, &datagram);
                }
            }
        };
        let mut seen = before;
        for _ in 0..200 {
            let now = world.now;
            world.step(now + ms(10));
            hub(&mut world, &mut seen);
        }
        assert_eq!(world.peers[1].handshake_hash(), world.peers[2].handshake_hash(), "{profile}");
        assert!(reconnected(&world, 1), "{profile}");
        assert_eq!(last_reason(&world, 0), Some(CloseReason::Replaced), "{profile}");
        assert!(world.peers[0].dial.is_none());
        assert!(!world.peers[0].is_connected());
    }
}

#[test]
fn a_stranger_cannot_replace_a_live_session() {
    // Both trust everybody; another key comes while the session lives.
    for profile in ["tofu", "client_auth"] {
        let make = |side: u8, own: u8| match (profile, side) {
            ("tofu", _) => Credentials::tofu(&key(own), Trust::Anyone),
            (_, 0) => Credentials::client_auth(&key(own), public(11)).unwrap(),
            _ => Credentials::server_auth(&key(own), Trust::Anyone),
        };
        let config = Config::default;
        let mut world =
            World::new(4, vec![(make(0, 10), config()), (make(1, 11), config()), (make(0, 12), config())]);
        world.to = vec![Some(1), Some(0), Some(1)];
        world.connect(0);
        world.settle();
        let hash = world.peers[1].handshake_hash();
        let mut seen = world.sent.len();
        world.connect(2);
        for _ in 0..2_000 {
            let now = world.now;
            world.step(now + ms(10));
            while seen < world.sent.len() {
                let (_, from, datagram) = world.sent[seen].clone();
                seen += 1;
                if from == 1 {
                    world.deliver(2, &datagram);
                }
            }
        }
        assert_eq!(world.peers[1].handshake_hash(), hash, "{profile}");
        assert_eq!(world.sessions(2), 0);
        assert!(world.agreed());
    }
}

#[test]
fn an_invite_is_not_answered_while_the_old_session_lives() {
    let config = Config::default;
    let peers = (0..3).map(|_| (credentials("invite", 0), config())).collect();
    let mut world = World::new(4, peers);
    world.to = vec![Some(1), Some(0), Some(1)];
    world.connect(0);
    world.settle();
    let sent_by_1 = |world: &World| world.sent.iter().filter(|(_, from, _)| *from == 1).count();
    let before = sent_by_1(&world);
    world.connect(2);
    world.run(Duration::from_secs(10));
    // A PING a second at most, to the old peer, and no RESP.
    assert!(sent_by_1(&world) - before <= 20);
    assert!(
        world
            .sent
            .iter()
            .filter(|(at, from, d)| *from == 1 && d.len() == 1_200 && *at > world.sent[2].0)
            .count()
            == 0
    );
    assert!(world.agreed());
    assert_eq!(world.sessions(1), 1);
}

#[test]
fn a_displaced_side_that_replaced_itself_goes_on() {
    // A's background attempt is confirmed at B; B's CLOSE of the old session reaches A before the first packet.
    let mut world = World::pair("paired", 3);
    world.connect(0);
    world.settle();
    world.run(Duration::from_secs(1));
    world.to[1] = None;
    let now = world.now;
    world.peers[0].connection_mut().ping(now);
    world.flush(0);
    assert!(world.run_until(Duration::from_secs(5), |world| world.peers[0].dial.is_some()).is_some());
    let owed = world.owe(0, 1);
    let hash = world.peers[1].handshake_hash();
    let mut first_packets = Vec::new();
    let mut seen = world.sent.len();
    while world.peers[1].handshake_hash() == hash {
        let until = world.now + ms(50);
        world.step(until);
        while seen < world.sent.len() {
            let (_, from, datagram) = world.sent[seen].clone();
            seen += 1;
            if from == 1 {
                if world.peers[1].handshake_hash() == hash && datagram.len() == 1_200 {
                    world.deliver(0, &datagram);
                } else if world.peers[1].handshake_hash() != hash {
                    first_packets.push(datagram);
                }
            }
        }
    }
    while seen < world.sent.len() {
        first_packets.push(world.sent[seen].2.clone());
        seen += 1;
    }
    // Three CLOSE of the old session come first.
    world.deliver(0, &first_packets[0]);
    assert!(!world.peers[0].is_connected());
    assert_eq!(last_reason(&world, 0), None);
    world.to[1] = Some(0);
    world.settle();
    let Some(Event::PeerReconnected { undelivered, .. }) = world.events[0].last() else { panic!() };
    assert_eq!(*undelivered, owed);
}

#[test]
fn a_close_for_replacement_by_another_device_names_its_handshake() {
    // What the peer's CLOSE would say if somebody else had come: not one of our attempts.
    let mut world = World::pair("paired", 3);
    world.connect(0);
    world.settle();
    let mut plaintext = [0; 64];
    let mut writer = Writer::new(&mut plaintext);
    let close = Frame::Close { code: CODE_REPLACED, reason: &[9; 16] };
    frame::encode(&close, &mut Context::default(), &mut writer).unwrap();
    let len = writer.written();
    let packet = seal_any(&mut world.peers[1].live.as_mut().unwrap().channel.seal, &plaintext[..len]);
    world.deliver(0, &packet);
    assert_eq!(last_reason(&world, 0), Some(CloseReason::Replaced));
    assert!(world.peers[0].dial.is_none());
}

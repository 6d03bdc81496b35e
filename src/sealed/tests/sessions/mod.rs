//! The life of a session: closing, silence, restarts, replacement, ratchets, numbers left out.

use std::time::Duration;

use super::{ALL, SYMMETRIC, World, credentials, key, ms, public};
use crate::{
    config::{Config, Padding},
    crypto::{SealKey, Side},
    error::CloseReason,
    event::Event,
    sealed::{
        CODE_REPLACED, Credentials, Sealed, Trust,
        seal::{Prefix, seal_packet},
    },
    wire::{
        codec::Writer,
        frame::{self, Frame},
        message::Context,
    },
};

fn last_reason(world: &World, peer: usize) -> Option<CloseReason> {
    match world.events[peer].last() {
        Some(Event::Closed { reason, .. }) => Some(*reason),
        _ => None,
    }
}

fn reconnected(world: &World, peer: usize) -> bool {
    matches!(world.events[peer].last(), Some(Event::PeerReconnected { .. }))
}

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
    let last =
        |world: &World, peer| world.sent.iter().rev().find(|(_, from, _)| *from == peer).unwrap().2.clone();
    world.flush(0);
    world.deliver(1, &last(&world, 0));
    world.deliver(0, &last(&world, 1));
    world.peers[0].close(world.now, 1, b"");
    world.flush(0);
    assert!(matches!(&world.peers[0].dial, Some(dial) if matches!(dial.phase, super::Phase::Unconfirmed(_))));
    world.connect(0);
    world.run(Duration::from_secs(40));
    assert!(matches!(last_reason(&world, 0), Some(CloseReason::HandshakeTimeout(_))), "{:?}", world.events);
}

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
        world.peers[0].connection_mut().ping(super::start());
        world.flush(0);
        let took = world.run_until(Duration::from_secs(31), World::agreed);
        assert!(took.is_some_and(|took| took < Duration::from_secs(2)), "{profile}: {took:?}");
        assert!(reconnected(&world, 0), "{profile}");
        assert_eq!(world.sessions(1), 1);
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

/// Seals any plaintext with the peer's own key.
fn seal_any(key: &mut SealKey, plaintext: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; plaintext.len() + 20];
    packet[4..4 + plaintext.len()].copy_from_slice(plaintext);
    let len = seal_packet(key, &Prefix::default(), plaintext.len(), Padding::None, &mut packet).unwrap();
    packet.truncate(len);
    packet
}

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
            world.peers[0].connection_mut().send(3, crate::Guarantee::Delivery, &[7; 900]).unwrap();
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

#[test]
fn a_session_has_a_role_for_each_side() {
    let mut world = World::pair("paired", 1);
    world.connect(0);
    world.settle();
    assert_eq!(world.peers[0].live.as_ref().unwrap().side, Side::Initiator);
    assert_eq!(world.peers[1].live.as_ref().unwrap().side, Side::Responder);
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
            let answer = world.sent.iter().rev().find(|(_, from, _)| *from == 1).unwrap().2.clone();
            world.deliver(0, &answer);
            let held = |peer: &Sealed| match &peer.dial {
                Some(dial) => {
                    matches!(&dial.phase, super::Phase::Unconfirmed(unconfirmed) if unconfirmed.is_held())
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

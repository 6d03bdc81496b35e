//! Datagrams that nobody of ours sent, or not so, or not now: they change nothing, and the right one still works.

use std::time::Duration;

use super::{ALL, World, credentials, ms, start};
use crate::{config::Config, sealed::budget::Bucket};

/// A world in which both sides are in mid-handshake, with one datagram on its way: `(receiver, datagram)`.
fn stages(profile: &str) -> Vec<(&'static str, World, usize, Vec<u8>)> {
    let begin = || {
        let mut world = World::pair(profile, 11);
        world.to = vec![None; 2];
        world.connect(0);
        world
    };
    let has_fin = matches!(profile, "tofu" | "invite_tofu");
    let mut stages = Vec::new();
    let world = begin();
    let init = world.said(0, 0);
    stages.push(("INIT", world, 1, init));

    let mut world = begin();
    world.deliver(1, &stages[0].3.clone());
    let resp = world.said(1, 0);
    stages.push(("RESP", world, 0, resp.clone()));

    let mut world = begin();
    world.deliver(1, &world.said(0, 0));
    world.deliver(0, &world.said(1, 0));
    if has_fin {
        let fin = world.said(0, 1);
        stages.push(("FIN", world, 1, fin));
        world = begin();
        world.deliver(1, &world.said(0, 0));
        world.deliver(0, &world.said(1, 0));
        world.deliver(1, &world.said(0, 1));
    }
    let confirm = world.said(0, 1 + usize::from(has_fin));
    stages.push(("CONFIRM", world, 1, confirm.clone()));

    let mut world = begin();
    world.deliver(1, &world.said(0, 0));
    world.deliver(0, &world.said(1, 0));
    if has_fin {
        world.deliver(1, &world.said(0, 1));
    }
    world.deliver(1, &world.said(0, 1 + usize::from(has_fin)));
    let first = world.said(1, 1);
    stages.push(("first packet", world, 0, first));
    stages
}

/// Hands over a datagram that must change nothing. Budgets that only strangers spend come back before the next.
fn assert_nothing(world: &mut World, to: usize, datagram: &[u8], what: &str) {
    let before = world.peers[to].digest();
    let sent = world.sent.len();
    world.deliver(to, datagram);
    assert_eq!(world.peers[to].digest(), before, "{what}");
    assert_eq!(world.sent.len(), sent, "{what}: answered");
}

#[test]
fn a_flipped_bit_changes_nothing_and_the_right_datagram_still_works() {
    for profile in ALL {
        for (name, mut world, to, datagram) in stages(profile) {
            // Every bit of the short ones; of the long ones every bit of the head and the tail, and some between.
            for bit in 0..datagram.len() * 8 {
                let middle = datagram.len() > 256 && (600..datagram.len() * 8 - 200).contains(&bit);
                if middle && bit % 97 != 0 {
                    continue;
                }
                let mut forged = datagram.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                assert_nothing(&mut world, to, &forged, &format!("{profile} {name}, bit {bit}"));
            }
            let before = world.peers[to].digest();
            world.deliver(to, &datagram);
            assert_ne!(world.peers[to].digest(), before, "{profile} {name}: the right one");
            world.to = vec![Some(1), Some(0)];
            world.settle();
        }
    }
}

#[test]
fn a_cut_or_extended_datagram_changes_nothing() {
    for profile in ALL {
        for (name, mut world, to, datagram) in stages(profile) {
            for len in 0..datagram.len() {
                if len > 200 && len + 50 < datagram.len() && len % 31 != 0 {
                    continue;
                }
                assert_nothing(&mut world, to, &datagram[..len], &format!("{profile} {name}, cut to {len}"));
            }
            for more in [1, 2, 16, 100] {
                let mut longer = datagram.clone();
                longer.resize(datagram.len() + more, 0);
                assert_nothing(&mut world, to, &longer, &format!("{profile} {name}, {more} more"));
            }
            world.deliver(to, &datagram);
            world.to = vec![Some(1), Some(0)];
            world.settle();
        }
    }
}

#[test]
fn a_reflected_datagram_changes_nothing() {
    for profile in ALL {
        for (name, mut world, to, datagram) in stages(profile) {
            assert_nothing(&mut world, 1 - to, &datagram, &format!("{profile} {name}"));
            world.to = vec![Some(1), Some(0)];
            world.deliver(to, &datagram);
            world.settle();
        }
    }
}

#[test]
fn a_forged_response_does_not_end_the_handshake() {
    // RESPs that open as envelopes and fail as messages: those of other attempts, under the right reference.
    use super::super::messages;
    use crate::{
        crypto::Side,
        wire::envelope::{Body, Kind},
    };
    for profile in ALL {
        let (_, mut world, to, resp) = stages(profile).remove(1);
        let keys = &world.peers[0].local.envelope;
        let mut copy = resp.clone();
        let (reference, noise) = {
            let body = messages::open(keys, Side::Responder, &[], &mut copy).unwrap().unwrap();
            (body.reference, body.noise.to_vec())
        };
        let mut forgeries = Vec::new();
        for position in 0..noise.len() {
            let mut noise = noise.clone();
            noise[position] ^= 0x10;
            let body = Body { kind: Kind::Resp, cookie: [0; 16], reference, noise: &noise };
            let mut out = vec![0; 1_200];
            messages::seal(keys, &mut super::Chance(1), Side::Responder, &[], &body, 1_200, &mut out)
                .unwrap();
            forgeries.push(out);
        }
        for (position, forged) in forgeries.iter().enumerate() {
            assert_nothing(&mut world, to, forged, &format!("{profile}, byte {position}"));
        }
        // More than sixteen in a second are not even read; a second later the right one is.
        let before = world.peers[0].digest();
        world.now += ms(1_001);
        world.deliver(to, &resp);
        assert_ne!(world.peers[0].digest(), before);
        world.to = vec![Some(1), Some(0)];
        world.settle();
    }
}

#[test]
fn a_replayed_handshake_changes_nothing_in_a_live_session() {
    for profile in ALL {
        let mut world = World::pair(profile, 12);
        world.connect(0);
        world.settle();
        world.run(ms(500));
        let recorded = world.sent.clone();
        for (_, _, datagram) in &recorded {
            for to in [0, 1] {
                assert_nothing(&mut world, to, datagram, profile);
            }
        }
        // Recorded of an earlier session of the same keys: a half-open entry at most, which ends by itself.
        let mut other = World::pair(profile, 13);
        other.connect(0);
        other.settle();
        let hash = world.peers[1].handshake_hash();
        for (_, _, datagram) in &other.sent {
            for to in [0, 1] {
                world.deliver(to, datagram);
            }
        }
        world.run(Duration::from_secs(20));
        assert!(world.agreed(), "{profile}");
        assert_eq!(world.peers[1].handshake_hash(), hash, "{profile}");
        assert_eq!((world.sessions(0), world.sessions(1)), (1, 1), "{profile}");
        assert!(world.peers[1].half_open.is_empty());
    }
}

#[test]
fn noise_of_any_length_changes_nothing() {
    for profile in ALL {
        for connected in [false, true] {
            let mut world = World::pair(profile, 14);
            world.connect(0);
            if connected {
                world.settle();
            }
            world.to = vec![None; 2];
            let mut chance = super::Chance(5);
            for round in 0..2_000 {
                let mut noise = vec![0; usize::try_from(chance.below(1_300)).unwrap()];
                rand_core::TryRng::try_fill_bytes(&mut chance, &mut noise).unwrap();
                assert_nothing(&mut world, round % 2, &noise, profile);
            }
        }
    }
}

#[test]
fn a_cookie_is_given_back_at_once_and_only_so_often() {
    use super::super::messages;
    use crate::{
        crypto::Side,
        wire::envelope::{Body, Kind},
    };
    let (_, mut world, _, init) = stages("client").remove(0);
    let keys = |world: &World| world.peers[1].local.credentials.envelope_keys(b"");
    let mut copy = init.clone();
    let noise =
        messages::open(&keys(&world), Side::Initiator, &[], &mut copy).unwrap().unwrap().noise.to_vec();
    let reference = messages::reference(&crate::crypto::hash(&[&noise]));
    let cookie = |world: &World, cookie: u8, reference| {
        let body = Body { kind: Kind::Cookie, cookie: [cookie; 16], reference, noise: &[] };
        let mut out = vec![0; 128];
        messages::seal(&keys(world), &mut super::Chance(1), Side::Responder, &[], &body, 128, &mut out)
            .unwrap();
        out
    };
    let wrong = cookie(&world, 1, [9; 16]);
    assert_nothing(&mut world, 0, &wrong, "a cookie of another attempt");
    let deadline = world.peers[0].deadline();
    for number in 1..=6 {
        let datagram = cookie(&world, number, reference);
        let before = world.sent.len();
        world.deliver(0, &datagram);
        let answers = world.sent.len() - before;
        assert_eq!(answers, usize::from(number <= 4), "cookie {number}");
        if answers == 1 {
            let mut answer = world.sent.last().unwrap().2.clone();
            let body = messages::open(&keys(&world), Side::Initiator, &[], &mut answer).unwrap().unwrap();
            assert_eq!(body.cookie, [number; 16]);
            assert_eq!(body.noise, noise);
        }
    }
    assert_eq!(world.peers[0].deadline(), deadline, "cookies leave the timers alone");
}

#[test]
fn strangers_cost_no_more_than_their_budget() {
    let now = start();
    let mut bucket = Bucket::new(4, now);
    assert!(bucket.take(now, 5), "one handshake always fits");
    assert!(!bucket.take(now, 1));
    assert!(!bucket.take(now + ms(249), 1));
    assert!(bucket.take(now + ms(501), 2));
    assert!(!bucket.take(now + ms(501), 1));

    // A flood of different INITs to an endpoint without live session: bounded entries, bounded answers.
    let config = Config { handshake_dh_per_second: 20, half_open: 4, ..Config::default() };
    let mut world = World::new(1, vec![(credentials("client", 1), config)]);
    world.to = vec![None];
    let mut floods = World::pair("client", 9);
    floods.to = vec![None; 2];
    for _ in 0..200 {
        floods.restart(0, credentials("client", 0), Config::default());
        floods.connect(0);
    }
    let inits: Vec<_> = floods.sent.iter().map(|(_, _, init)| init.clone()).collect();
    for init in &inits {
        world.deliver(0, init);
        world.now += ms(1);
    }
    assert!(world.sent.len() <= 4, "{} answers", world.sent.len());
    assert_eq!(world.peers[0].half_open.iter().count(), 4);
    // An entry had its second before a newcomer took its place; a flood does not stop somebody with patience.
    world.now += ms(990);
    world.deliver(0, &inits[150]);
    assert_eq!(world.peers[0].half_open.iter().count(), 4);
    assert!(world.sent.len() == 5);
}

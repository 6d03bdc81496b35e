//! Both sides dial: one session comes of it, whatever the network does. The named traces are those that broke earlier
//! drafts of the rules.

use std::time::Duration;

use super::{Chance, Link, SYMMETRIC, World, credentials, ms};
use crate::{
    config::Config,
    event::Event,
    sealed::{Sealed, budget::Bucket, dial::Phase},
};

/// Dials until the ephemeral keys of both attempts compare as wanted: `first` is the side with the smaller one.
fn pair_with_smaller(profile: &str, first: usize) -> World {
    (0..).map(|seed| smaller(World::pair(profile, seed), first)).find_map(|world| world).unwrap()
}

fn smaller(mut world: World, first: usize) -> Option<World> {
    world.to = vec![None; 2];
    world.connect(0);
    world.connect(1);
    let ephemeral =
        |world: &World, peer: usize| *world.peers[peer].dial.as_ref().unwrap().ephemeral().unwrap();
    let zero_is_smaller = ephemeral(&world, 0) < ephemeral(&world, 1);
    (zero_is_smaller == (first == 0)).then_some(world)
}

fn simultaneous(profile: &str, seeds: std::ops::Range<u64>) {
    let mut slow = Vec::new();
    let total = seeds.end - seeds.start;
    for seed in seeds {
        let mut net = Chance(seed ^ 0xabcd);
        let mut world = World::pair(profile, seed);
        for peer in [0, 1] {
            let least = ms(net.below(100));
            let most = least + ms(net.below(100));
            world.link[peer] = Link { least, most, loss: net.below(301), twice: net.below(100) };
        }
        world.closed_nat = vec![seed % 3 == 0; 2];
        world.connect(0);
        let later = ms(net.below(300));
        world.run(later);
        world.connect(1);
        let took = world.run_until(Duration::from_secs(31), World::agreed);
        let took = took.unwrap_or_else(|| panic!("{profile}, seed {seed}: {:?}", world.events));
        if took > Duration::from_secs(12) {
            slow.push(seed);
        }
        // It stays one session: nobody is told of another.
        let hash = world.peers[0].handshake_hash();
        for link in &mut world.link {
            link.loss = 0;
        }
        world.run(Duration::from_secs(20));
        assert!(world.agreed(), "{profile}, seed {seed}");
        assert_eq!(world.peers[0].handshake_hash(), hash, "{profile}, seed {seed}");
        for peer in [0, 1] {
            assert!(!closed(&world, peer), "{profile}, seed {seed}: {:?}", world.events);
        }
        assert_eq!(
            (world.sessions(0), world.sessions(1)),
            (1, 1),
            "{profile}, seed {seed}: {:?}",
            world.events
        );
    }
    assert!(slow.len() as u64 * 200 <= total, "{profile}: slow seeds {slow:?}");
}

fn closed(world: &World, peer: usize) -> bool {
    world.events[peer].iter().any(|event| matches!(event, Event::Closed { .. }))
}

#[test]
fn simultaneous_open_makes_one_session_paired() {
    simultaneous("paired", 0..500);
}

#[test]
fn simultaneous_open_makes_one_session_invite() {
    simultaneous("invite", 0..500);
}

#[test]
fn simultaneous_open_makes_one_session_in_every_symmetric_profile() {
    for profile in SYMMETRIC {
        simultaneous(profile, 1_000..1_100);
    }
}

#[test]
fn the_smaller_key_initiates_and_the_larger_does_not_answer() {
    for (decider, profile) in [(0, "paired"), (1, "paired"), (0, "tofu"), (1, "invite")] {
        let mut world = pair_with_smaller(profile, decider);
        let (small, large) = (world.said(decider, 0), world.said(1 - decider, 0));
        // The side with the smaller key reads the larger one: it decides, keeps silent, and repeats its INIT.
        world.run(ms(150));
        let before = world.sent.len();
        world.deliver(decider, &large);
        assert!(world.peers[decider].half_open.is_empty(), "{profile}");
        assert_eq!(world.sent.len(), before + 1);
        // At most once in 100 ms.
        world.deliver(decider, &large);
        assert_eq!(world.sent.len(), before + 1);
        // The other follows: answers, and keeps its own attempt.
        world.deliver(1 - decider, &small);
        assert!(!world.peers[1 - decider].half_open.is_empty(), "{profile}");
        assert!(matches!(world.peers[1 - decider].dial.as_ref().unwrap().phase, Phase::Sent(_)));
        world.to = vec![Some(1), Some(0)];
        world.settle();
        assert_eq!(world.peers[decider].live.as_ref().unwrap().side, crate::crypto::Side::Initiator);
    }
}

#[test]
fn a_decider_without_answer_gives_way_after_three_seconds() {
    // The larger side's INITs arrive; those of the smaller side, which decides, never do.
    for profile in SYMMETRIC {
        let mut world = pair_with_smaller(profile, 0);
        let init = world.said(1, 0);
        let answers = |world: &World| world.peers[0].half_open.iter().count();
        world.deliver(0, &init);
        world.run(ms(2_900));
        world.deliver(0, &init);
        assert_eq!(answers(&world), 0, "{profile}: too soon");
        world.run(ms(200));
        world.deliver(0, &init);
        assert_eq!(answers(&world), 1, "{profile}: it gives way and answers");
        assert!(matches!(world.peers[0].dial.as_ref().unwrap().phase, Phase::GaveWay { .. }));
        // Not confirmed within 3 s: it starts over, without that answer.
        world.run(ms(3_100));
        assert_eq!(answers(&world), 0);
        assert!(matches!(world.peers[0].dial.as_ref().unwrap().phase, Phase::Sent(_)));
        world.to = vec![Some(1), Some(0)];
        world.settle();
        assert_eq!((world.sessions(0), world.sessions(1)), (1, 1));

        // Confirmed: that is the session.
        let mut world = pair_with_smaller(profile, 0);
        let init = world.said(1, 0);
        world.deliver(0, &init);
        world.run(ms(3_100));
        world.deliver(0, &init);
        world.to = vec![Some(1), Some(0)];
        let resp = world.sent.iter().rev().find(|(_, from, _)| *from == 0).unwrap().2.clone();
        world.deliver(1, &resp);
        let took = world.run_until(ms(500), World::agreed);
        assert!(took.is_some(), "{profile}");
        assert_eq!((world.sessions(0), world.sessions(1)), (1, 1));
    }
}

#[test]
fn a_decider_that_read_one_init_only_does_not_give_way() {
    let mut world = pair_with_smaller("paired", 0);
    let init = world.said(1, 0);
    world.run(ms(4_000));
    world.deliver(0, &init);
    assert!(matches!(world.peers[0].dial.as_ref().unwrap().phase, Phase::Sent(_)));
}

#[test]
fn an_answer_to_an_earlier_attempt_ends_when_another_is_confirmed() {
    for profile in ["paired", "paired_psk", "client_auth", "client"] {
        let mut world = World::pair(profile, 3);
        world.to = vec![None; 2];
        let last = |world: &World, peer| {
            world.sent.iter().rev().find(|(_, from, _)| *from == peer).unwrap().2.clone()
        };
        let mut confirms = Vec::new();
        for _ in 0..2 {
            world.restart(0, credentials(profile, 0), Config::default());
            world.connect(0);
            let init = last(&world, 0);
            world.deliver(1, &init);
            let resp = last(&world, 1);
            world.deliver(0, &resp);
            confirms.push(last(&world, 0));
        }
        assert_eq!(world.peers[1].half_open.iter().count(), 2);
        world.deliver(1, &confirms[1]);
        let hash = world.peers[1].handshake_hash();
        assert!(hash.is_some(), "{profile}");
        let before = world.peers[1].digest();
        world.deliver(1, &confirms[0]);
        assert_eq!(world.peers[1].digest(), before, "{profile}: a late CONFIRM of the attempt before");
    }
}

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
fn answered_before_connect_then_dialled_with_a_smaller_e() {
    // Without rule 2's erasure both complete: the answer given before, and the attempt.
    for profile in ["paired", "invite"] {
        let mut tried = 0;
        for seed in 0..40 {
            let mut world = World::pair(profile, seed);
            world.to = vec![None; 2];
            world.connect(0);
            let init_a = world.said(0, 0);
            world.deliver(1, &init_a);
            let resp_b = world.said(1, 0);
            world.connect(1);
            let ephemeral = |p: usize| *world.peers[p].dial.as_ref().unwrap().ephemeral().unwrap();
            if ephemeral(0) < ephemeral(1) {
                assert!(!world.peers[1].half_open.is_empty());
                continue;
            }
            tried += 1;
            assert!(world.peers[1].half_open.is_empty(), "{profile}, seed {seed}");
            let init_b = world.said(1, 1);
            // A follows B's attempt and completes its own with the answer that B has erased.
            world.deliver(0, &init_b);
            world.deliver(0, &resp_b);
            world.to = vec![Some(1), Some(0)];
            world.settle();
            world.run(Duration::from_secs(10));
            assert!(world.agreed(), "{profile}, seed {seed}");
            assert_eq!((world.sessions(0), world.sessions(1)), (1, 1), "{profile}, seed {seed}");
        }
        assert!(tried > 5);
    }
}

#[test]
fn twelve_seconds_timeout_with_the_old_entry_kept() {
    // A answers late in the life of B's attempt; A's next attempt must erase that answer if its key is larger.
    for seed in 0..20 {
        let mut world = World::pair("paired", seed);
        world.to = vec![None; 2];
        world.connect(0);
        world.run(ms(9_000));
        world.connect(1);
        let init_b = world.sent.iter().rev().find(|(_, from, _)| *from == 1).unwrap().2.clone();
        world.deliver(0, &init_b);
        world.run(ms(2_900));
        world.deliver(0, &init_b);
        // A's first attempt ends at 12 s.
        world.run(ms(200));
        let own = *world.peers[0].dial.as_ref().unwrap().ephemeral().unwrap();
        assert!(world.peers[0].half_open.iter().all(|entry| entry.ephemeral < own), "seed {seed}");
        world.to = vec![Some(1), Some(0)];
        world.settle();
        world.run(Duration::from_secs(10));
        assert_eq!((world.sessions(0), world.sessions(1)), (1, 1), "seed {seed}: {:?}", world.events);
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
        let confirm = world.sent.iter().rev().find(|(_, from, _)| *from == 1).unwrap().2.clone();
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
fn the_entry_does_not_outlive_the_unconfirmed_attempt() {
    // A's CONFIRM never arrives: A gives its attempt up after 6 s, when B's entry of 5 s is gone, so that a CONFIRM
    // that comes later than both finds nothing.
    let mut world = World::pair("paired", 8);
    world.to = vec![None; 2];
    world.connect(0);
    let init = world.said(0, 0);
    world.deliver(1, &init);
    let resp = world.said(1, 0);
    world.deliver(0, &resp);
    assert!(matches!(world.peers[0].dial.as_ref().unwrap().phase, Phase::Unconfirmed(_)));
    world.run(ms(4_900));
    // Duplicates do not extend the entry.
    world.deliver(1, &init);
    assert!(!world.peers[1].half_open.is_empty());
    world.run(ms(200));
    assert!(world.peers[1].half_open.is_empty());
    let confirm = world.sent.iter().rev().find(|(_, from, _)| *from == 0).unwrap().2.clone();
    world.deliver(1, &confirm);
    assert!(!world.peers[1].is_connected());
    world.run(ms(700));
    assert!(matches!(world.peers[0].dial.as_ref().unwrap().phase, Phase::Unconfirmed(_)));
    world.run(ms(400));
    assert!(matches!(world.peers[0].dial.as_ref().unwrap().phase, Phase::Sent(_)));
    // A later answer to the same INIT has a fresh key.
    world.deliver(1, &init);
    let again = world.sent.iter().rev().find(|(_, from, _)| *from == 1).unwrap().2.clone();
    assert_ne!(again[24..], resp[24..]);
    world.to = vec![Some(1), Some(0)];
    world.settle();
}

#[test]
fn a_machine_that_slept_erases_its_answers() {
    let mut world = World::pair("paired", 8);
    world.to = vec![None; 2];
    world.connect(0);
    let init = world.said(0, 0);
    world.deliver(1, &init);
    let resp = world.said(1, 0);
    world.deliver(0, &resp);
    let confirm = world.sent.iter().rev().find(|(_, from, _)| *from == 0).unwrap().2.clone();
    world.now += ms(1_001);
    world.deliver(1, &confirm);
    assert!(!world.peers[1].is_connected());
}

#[test]
fn the_connect_deadline_does_not_cut_an_attempt_whose_answer_was_read() {
    let mut world = World::pair("paired", 8);
    world.to = vec![None; 2];
    world.connect(0);
    world.run(ms(29_000));
    let init = world.sent.last().unwrap().2.clone();
    world.deliver(1, &init);
    let resp = world.said(1, 0);
    world.deliver(0, &resp);
    world.run(ms(2_000));
    assert_eq!(world.events[0], []);
    world.to = vec![Some(1), Some(0)];
    world.settle();
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

#[test]
fn strangers_cost_no_more_than_their_budget() {
    let now = super::start();
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
    let _: &Sealed = &world.peers[0];
}

/// An unfair network for a while: every datagram may be lost, doubled, held back for seconds, or come back much later;
/// peers restart, close their eyes, dial again. Then a fair one: the same session comes about at both ends and stays.
fn walk(profile: &str, seed: u64) {
    let mut chance = Chance(seed.wrapping_mul(77) ^ 0xfeed);
    let mut world = World::pair(profile, seed);
    world.to = vec![None; 2];
    let mut kept: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut seen = 0;
    for _ in 0..chance.below(120) {
        while seen < world.sent.len() {
            let (_, from, datagram) = world.sent[seen].clone();
            seen += 1;
            kept.push((1 - from, datagram));
        }
        match chance.below(100) {
            // An old or a new datagram arrives, and may come again.
            0..60 if !kept.is_empty() => {
                let newest = chance.below(2) == 0;
                let index = if newest { kept.len() - 1 } else { chance.index(kept.len()) };
                let (to, datagram) = kept[index].clone();
                if chance.below(4) != 0 {
                    kept.remove(index);
                }
                world.deliver(to, &datagram);
            }
            60..80 => world.run(ms(chance.below(400))),
            80..90 => world.run(ms(chance.below(7_000))),
            90..98 => {
                let peer = chance.index(2);
                world.connect(peer);
            }
            98 => {
                let peer = chance.index(2);
                world.restart(peer, credentials(profile, u8::from(peer == 1)), Config::default());
                world.connect(peer);
            }
            _ => {}
        }
    }
    world.to = vec![Some(1), Some(0)];
    for peer in [0, 1] {
        world.connect(peer);
        // Something to be answered, else a session whose other end is gone stays unnoticed until the keep-alive.
        let now = world.now;
        world.peers[peer].connection_mut().ping(now);
        world.flush(peer);
    }
    // An application whose dial gave up, because it began long before, dials again.
    let fair = world.now + Duration::from_secs(30);
    while !world.agreed() && world.step(fair) {
        for peer in [0, 1] {
            if world.peers[peer].closed().is_some() {
                world.connect(peer);
            }
        }
    }
    let took = world.agreed().then_some(());
    assert!(
        took.is_some(),
        "{profile}, seed {seed}: {:?}\n{}\n{}",
        world.events,
        world.peers[0].digest(),
        world.peers[1].digest()
    );
    // A renewal that was answered while one side doubted may still be confirmed.
    world.run(Duration::from_secs(8));
    assert!(world.agreed(), "{profile}, seed {seed}: {:?}", world.events);
    let hash = world.peers[0].handshake_hash();
    // Late copies of everything change nothing any more.
    for (to, datagram) in kept {
        world.deliver(to, &datagram);
        world.run(ms(3));
    }
    world.run(Duration::from_secs(25));
    assert!(world.agreed(), "{profile}, seed {seed}: {:?}", world.events);
    assert_eq!(world.peers[0].handshake_hash(), hash, "{profile}, seed {seed}: {:?}", world.events);
}

/// `SEALGRAM_WALKS=5000 cargo test --lib from_every_state` is the full form.
#[test]
fn from_every_state_the_same_session_is_reached() {
    let walks = std::env::var("SEALGRAM_WALKS").ok().and_then(|walks| walks.parse().ok()).unwrap_or(80);
    for profile in SYMMETRIC {
        for seed in 0..walks {
            walk(profile, seed);
        }
    }
}

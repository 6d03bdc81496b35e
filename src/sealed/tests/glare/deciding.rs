//! Whose attempt becomes the session: the smaller key initiates, gives way in time, and erases what it answered.

use super::*;

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
        let resp = world.last_said(0);
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
        let init_b = world.last_said(1);
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

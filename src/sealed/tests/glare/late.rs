//! Answers and confirmations that come late: what has ended by then, and what has not.

use super::*;

#[test]
fn an_answer_to_an_earlier_attempt_ends_when_another_is_confirmed() {
    for profile in ["paired", "paired_psk", "client_auth", "client"] {
        let mut world = World::pair(profile, 3);
        world.to = vec![None; 2];
        let mut confirms = Vec::new();
        for _ in 0..2 {
            world.restart(0, credentials(profile, 0), Config::default());
            world.connect(0);
            let init = world.last_said(0);
            world.deliver(1, &init);
            let resp = world.last_said(1);
            world.deliver(0, &resp);
            confirms.push(world.last_said(0));
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
    let confirm = world.last_said(0);
    world.deliver(1, &confirm);
    assert!(!world.peers[1].is_connected());
    world.run(ms(700));
    assert!(matches!(world.peers[0].dial.as_ref().unwrap().phase, Phase::Unconfirmed(_)));
    world.run(ms(400));
    assert!(matches!(world.peers[0].dial.as_ref().unwrap().phase, Phase::Sent(_)));
    // A later answer to the same INIT has a fresh key.
    world.deliver(1, &init);
    let again = world.last_said(1);
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
    let confirm = world.last_said(0);
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

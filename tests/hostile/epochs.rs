//! Old, early and impossible epochs. PROTOCOL.md, "Receiving" (rule 5) and "Ratchet".

use std::time::Duration;

use sealgram::sim::Link;
use sealgram::{CloseReason, Config, Guarantee};

use crate::bytes::{PING, none};
use crate::common::Pair;
use crate::held::Held;
use crate::victim::Attack;

#[test]
fn a_second_step_within_a_second_is_a_violation_and_the_eighth_ends_the_session() {
    let mut attack = Attack::begin(&Config::default());
    attack.say_as(1, attack.next, &PING);
    assert_eq!(attack.victim.endpoint.stats().epoch_recv, 1);
    for count in 1..8 {
        attack.say_as(2, attack.next, &none(b"too soon"));
        let stats = attack.victim.endpoint.stats();
        assert_eq!((stats.violations, stats.epoch_recv, attack.victim.heard.len()), (count, 1, 0));
    }
    attack.say_as(1, attack.next, &none(b"as before"));
    assert_eq!(attack.victim.heard.len(), 1, "the epoch in use goes on");
    attack.say_as(2, attack.next, &none(b"too soon"));
    assert_eq!(attack.victim.closed, Some(CloseReason::ProtocolViolation));
}

#[test]
fn numbers_that_contradict_their_epoch_are_violations_and_are_not_yielded() {
    let mut attack = Attack::begin(&Config::default());
    let first = attack.next;
    attack.say_as(0, first + 10, &PING);
    // A step to the next epoch below what the current one has shown.
    attack.say_as(1, first + 5, &none(b"below"));
    assert_eq!((attack.violations(), attack.victim.endpoint.stats().epoch_recv), (1, 0));
    attack.say_as(1, first + 20, &PING);
    // The old epoch above what the new one has shown.
    attack.say_as(0, first + 25, &none(b"above"));
    // The new epoch below what the old one had shown.
    attack.say_as(1, first + 7, &none(b"below"));
    assert_eq!((attack.violations(), attack.victim.heard.len()), (3, 0));
    // Late, but as it should be.
    attack.say_as(0, first + 11, &none(b"late"));
    assert_eq!((attack.violations(), attack.victim.heard.len()), (3, 1));
    attack.next = first + 30;
}

#[test]
fn epochs_that_are_not_alive_do_not_open() {
    let mut attack = Attack::begin(&Config::default());
    // Two and three ahead, and, with the same two bits, four ahead.
    for epoch in [2, 3, 4, 5] {
        let packet = attack.session.packet(&[], epoch, attack.next, &none(b"from the future"));
        attack.victim.assert_nothing(&packet, &format!("epoch {epoch}"));
    }
    // Epoch 0 ends three seconds at most after the step; and 0 has the two bits of 4.
    for epoch in 1..=5 {
        attack.victim.wait(1_500);
        attack.say_as(epoch, attack.next, &PING);
    }
    assert_eq!(attack.victim.endpoint.stats().epoch_recv, 5);
    attack.victim.wait(4_000);
    attack.victim.said();
    for epoch in 0..5 {
        let packet = attack.session.packet(&[], epoch, attack.next, &none(b"from the past"));
        attack.victim.assert_nothing(&packet, &format!("epoch {epoch}"));
    }
    attack.say_as(5, attack.next, &none(b"now"));
    assert_eq!(attack.victim.heard.len(), 1);
    assert_eq!(attack.violations(), 0);
}

/// Honest packets that somebody held back: in the epoch that they were sealed in they would have counted.
#[test]
fn a_packet_that_was_held_back_until_its_keys_are_gone_is_dropped() {
    let mut config = Config::default();
    (config.ratchet_packets, config.ratchet_interval) = (64, Duration::from_secs(2));
    let mut held = Held::new(Pair::sealed(31, Link::default(), &config));
    held.pair.a.endpoint.connect().unwrap();
    held.settle();
    held.pair.a.endpoint.send_payload(Guarantee::None, b"held back").unwrap();
    held.pair.a.endpoint.flush().unwrap();
    let back = held.said();
    assert_eq!(back.len(), 1);
    let mut second = 0;
    while held.pair.b.endpoint.stats().epoch_recv < 3 {
        held.pair.net.advance(Duration::from_millis(500));
        held.settle();
        second += 1;
        assert!(second < 100, "the keys step forward");
    }
    held.pair.net.advance(Duration::from_secs(4));
    held.settle();
    held.assert_nothing(1, &back[0], "held back for three epochs");
    held.assert_delivers("after the packet of an old epoch");
}

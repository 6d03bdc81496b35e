//! Messages that claim much and bring little, fragments that contradict each other, numbers that leap: what an authentic
//! peer can make an endpoint hold, measured in bytes of the heap. PROTOCOL.md, "Delivery", "Flow control", "Limits".

use sealgram::{CloseReason, Config};

use crate::bytes::{PING, delivery, delivery_part, none, none_part, skip};
use crate::victim::{Attack, Victim, invite};

/// What the attack's own bookkeeping, and the victim's beside its bounds, may take.
const SLACK: i64 = 64 << 10;

fn tight() -> Config {
    let mut config = Config::default();
    config.max_message_bytes = 256 << 10;
    config.receive_window_bytes = 512 << 10;
    config.unreliable_memory_bytes = 128 << 10;
    config
}

/// Before a tag has verified nothing is allocated: not for noise of any length, not for what has the length of a
/// handshake message, neither at one who waits nor in a session.
#[test]
fn what_does_not_authenticate_asks_for_no_memory() {
    let mut waiting = Victim::new(invite(), &Config::default());
    let mut live = Attack::begin(&Config::default());
    let mut forged = live.session.packet(&[], 0, live.next, &none(b"x"));
    forged[6] ^= 1;
    // The first datagram may find a buffer to be filled.
    for victim in [&mut waiting, &mut live.victim] {
        victim.allocations(&[7; 1_300]);
        for len in [1, 20, 21, 24, 100, 256, 1_199, 1_200, 1_201, 1_452, 1_453] {
            assert_eq!(victim.allocations(&vec![7; len]), 0, "{len} bytes");
        }
        assert_eq!(victim.allocations(&forged), 0, "a forged packet");
    }
    live.assert_delivers("after the noise");
}

/// The most that the heap grew by meanwhile.
fn grown(attack: &mut Attack, what: impl FnOnce(&mut Attack)) -> i64 {
    let info = allocation_counter::measure(|| what(attack));
    i64::try_from(info.bytes_max).unwrap()
}

#[test]
fn claims_of_what_is_longer_than_we_hold_reserve_nothing() {
    let config = tight();
    let mut attack = Attack::begin(&config);
    let bytes = grown(&mut attack, |attack| {
        for id in 0..400 {
            attack.say(&none_part(id, 0, config.max_message_bytes.into(), &[7; 128]));
        }
    });
    assert!(bytes <= SLACK, "{bytes} bytes for 400 claims of {}", config.max_message_bytes);
    assert_eq!(attack.violations(), 0, "what is too long for us is dropped, not refused");
    attack.assert_delivers("after the claims");
}

#[test]
fn ten_thousand_beginnings_without_an_end_stay_within_the_memory_for_them() {
    let config = tight();
    let mut attack = Attack::begin(&config);
    let bytes = grown(&mut attack, |attack| {
        for id in 0..1_250 {
            let parts = (0..8).flat_map(|part| none_part(id * 8 + part, 0, 16 << 10, &[7; 128]));
            attack.say(&parts.collect::<Vec<_>>());
        }
    });
    let bound = i64::try_from(config.unreliable_memory_bytes).unwrap();
    assert!(bytes <= bound + SLACK, "{bytes} bytes, {bound} may be held");
    assert_eq!(attack.violations(), 0);
    attack.assert_delivers("after ten thousand beginnings");
}

#[test]
fn reliable_beginnings_are_held_to_the_window_and_then_end_the_session() {
    let config = tight();
    let mut attack = Attack::begin(&config);
    let bytes = grown(&mut attack, |attack| {
        for index in 0..1_000 {
            if attack.victim.closed.is_some() {
                break;
            }
            attack.say(&delivery_part(index, 0, 64 << 10, &[7; 1_000]));
        }
    });
    assert_eq!(attack.victim.closed, Some(CloseReason::ProtocolViolation));
    let bound = i64::try_from(config.receive_window_bytes).unwrap();
    assert!(bytes <= bound + SLACK, "{bytes} bytes, {bound} may be held");
    assert_eq!(attack.victim.heard, []);
}

/// Every second piece: the most separate ranges that pieces of the least length can make.
#[test]
fn a_message_with_as_many_holes_as_possible_costs_its_length_and_may_still_be_filled() {
    let config = tight();
    let mut attack = Attack::begin(&config);
    let total = 64 << 10;
    let bytes = grown(&mut attack, |attack| {
        for hole in 0..total / 256 {
            attack.say(&delivery_part(0, hole * 256, total, &[7; 128]));
        }
    });
    assert!(bytes <= i64::try_from(total).unwrap() + SLACK, "{bytes} bytes for {total}");
    for hole in 0..total / 256 {
        attack.say(&delivery_part(0, hole * 256 + 128, total, &[7; 128]));
    }
    assert_eq!(attack.violations(), 0);
    let heard: Vec<_> = attack.victim.heard.iter().map(|(_, bytes)| bytes.len()).collect();
    assert_eq!(heard, [usize::try_from(total).unwrap()]);
}

#[test]
fn more_separate_ranges_than_were_agreed_are_a_violation() {
    let mut config = tight();
    config.max_fragments = 4;
    let mut attack = Attack::begin(&config);
    for hole in 0..4 {
        attack.say(&delivery_part(0, hole * 256, 8_192, &[7; 128]));
    }
    assert_eq!(attack.violations(), 0);
    attack.say(&delivery_part(0, 4 * 256, 8_192, &[7; 128]));
    assert_eq!(attack.violations(), 1);
}

#[test]
fn fragments_that_contradict_the_first_are_violations_and_the_first_stands() {
    let mut attack = Attack::begin(&tight());
    let text: Vec<u8> = (0..600_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    attack.say(&delivery_part(0, 0, 600, &text[..300]));
    // Another total, another set, another base (set and base are index + 1 and index - 1 here), and all at once.
    let other_set = [&[0xd0, 0, 0, 2][..], &delivery_part(0, 300, 600, &text[300..])[4..]].concat();
    attack.quiet();
    for (what, payload) in [
        ("another total", delivery_part(0, 300, 700, &[9; 400])),
        ("a smaller total", delivery_part(0, 128, 300, &[9; 172])),
        ("another set", other_set),
        ("the whole of another length", delivery(0, &text[..599])),
    ] {
        attack.assert_one_violation(&payload, what);
    }
    // Bytes that came stand, whatever comes later in their place.
    attack.say(&delivery_part(0, 0, 600, &[9; 200]));
    attack.say(&delivery_part(0, 300, 600, &text[300..]));
    assert_eq!(attack.victim.heard.last().map(|(_, bytes)| bytes), Some(&text));
}

#[test]
fn leaps_of_the_packet_number_cost_nothing_and_what_is_older_than_the_window_is_gone() {
    let mut attack = Attack::begin(&Config::default());
    let mut number = attack.next;
    let bytes = grown(&mut attack, |attack| {
        for leap in [1, 63, 64, 65, 1_023, 1_024, 1_025, 1 << 20, (1 << 28) - 1, 1 << 28, (1 << 29) - 1] {
            number += leap;
            attack.say_as(0, number, &PING);
        }
        for _ in 0..64 {
            number += (1 << 29) - 1;
            attack.say_as(0, number, &PING);
        }
    });
    assert!(bytes <= SLACK, "{bytes} bytes for leaps over 2^35 numbers");
    assert_eq!(attack.violations(), 0);
    let drops = attack.victim.endpoint.stats().drops;
    let heard = attack.victim.heard.len();
    attack.say_as(0, number - 1_024, &none(b"too old"));
    attack.say_as(0, number, &none(b"twice"));
    let after = attack.victim.endpoint.stats().drops;
    assert_eq!((after.too_old, after.duplicate), (drops.too_old + 1, drops.duplicate + 1));
    assert_eq!(attack.victim.heard.len(), heard);
    attack.say_as(0, number - 1_023, &none(b"the oldest that counts"));
    assert_eq!(attack.victim.heard.len(), heard + 1);
    attack.next = number + 1;
    attack.assert_delivers("after the leaps");
}

#[test]
fn parities_whose_pieces_never_come_stay_within_the_memory_for_them() {
    let config = tight();
    let mut attack = Attack::begin(&config);
    let bytes = grown(&mut attack, |attack| {
        for id in 0..1_000 {
            // Two pieces of 900 bytes under each of 30 parities of each message; and one piece of 128 under most of 64.
            let large = [&[0x0d, 30][..], &none_part(id, 0, 54_000, &[7; 900])].concat();
            attack.say(&large);
            let small = [&[0x0d, 2][..], &none_part(1 << 20 | id, 128, 16_384, &[7; 128])].concat();
            attack.say(&small);
        }
    });
    // Buffers of what was given up wait for their next use, at most as many bytes again (and never more than 1 MiB).
    let bound = i64::try_from(config.unreliable_memory_bytes).unwrap();
    assert!(bytes <= 2 * bound + SLACK, "{bytes} bytes, {bound} are charged");
    assert_eq!(attack.violations(), 0);
    attack.assert_delivers("after the parities");
}

/// A buffer goes to the next message that it is not much too large for: who has large ones made and given up, and fills
/// them with small ones, makes each message hold up to four times what it is charged with, and no more.
#[test]
fn buffers_that_are_used_again_hold_at_most_four_times_what_is_charged() {
    let config = tight();
    let mut attack = Attack::begin(&config);
    let bytes = grown(&mut attack, |attack| {
        for round in 0..200 {
            let ids = round * 16..;
            for (id, total) in ids.zip([[60_000; 2].as_slice(), &[15_000; 8]].concat()) {
                attack.say(&none_part(id, total - 128, total, &[7; 128]));
            }
        }
    });
    let bound = i64::try_from(config.unreliable_memory_bytes).unwrap();
    assert!(bytes <= 4 * bound + (1 << 20) + SLACK, "{bytes} bytes, {bound} are charged");
    assert_eq!(attack.violations(), 0);
    attack.assert_delivers("after the buffers");
}

/// What is noted of each lane beside its messages: as many runs of skipped indexes as may be, and indexes as far ahead as
/// may be, on all lanes at once.
#[test]
fn notes_of_all_256_lanes_cost_less_than_half_a_mebibyte() {
    let mut attack = Attack::begin(&tight());
    let bytes = grown(&mut attack, |attack| {
        for lane in 0..=255 {
            let runs: Vec<u8> = (1..=64).flat_map(|run| skip(lane, 2 * run, 0)).collect();
            attack.say(&runs);
        }
    });
    assert_eq!(attack.violations(), 0, "64 runs on each lane may be");
    assert!(bytes < 512 << 10, "{bytes} bytes");
    let bytes = grown(&mut attack, |attack| {
        for lane in 0..=255 {
            for ahead in [511, 1_000, 65_000] {
                if attack.victim.closed.is_none() {
                    attack.say(&skip(lane, ahead, 0));
                }
            }
        }
    });
    assert!(bytes < 512 << 10, "{bytes} bytes");
    assert_eq!(
        attack.victim.closed,
        Some(CloseReason::ProtocolViolation),
        "far ahead on every lane may not be"
    );
}

/// A leap of 2^29 or more decodes to another number, so it does not open at all.
#[test]
fn a_leap_beyond_what_thirty_bits_can_say_does_not_open() {
    let mut attack = Attack::begin(&Config::default());
    for leap in [1 << 30, 1 << 31, 1 << 40, (1 << 62) - 1 - 1_000] {
        let packet = attack.session.packet(&[], 0, attack.next + leap, &PING);
        attack.victim.assert_nothing(&packet, &format!("{leap} ahead"));
    }
    attack.assert_delivers("after the leaps");
}

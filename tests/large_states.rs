//! States larger than a datagram, sent as `Order` or `None` and never wholly resent: what a parity among their pieces
//! is worth, what it costs, and that it never makes a wrong message. Both directions take 25±5 ms.

mod common;
#[path = "common/states.rs"]
mod states;

use std::time::Duration;

use common::{End, Pair, here, there};
use proptest::prelude::*;
use sealgram::sim::{Jitter, Link, Verdict};
use sealgram::{Config, Event, Guarantee, Outcome, Plain, Sealed, SendOptions, Session};
use states::{MS, flow, flow_over, link, order, print, state};

/// 4,000 bytes as `Order` at 20 Hz, the row that parity is for.
#[test]
fn a_state_in_several_datagrams_survives_the_loss_of_one() {
    for overtake in [false, true] {
        let over = |loss| {
            let mut link = link(loss);
            link.overtake = overtake;
            link
        };
        let (pace, len) = ((5_000, 20), 4_000);
        let bare = flow_over(&over(0.0), 2, order(), pace, len).wire_bytes;
        let without = flow_over(&over(0.02), 2, order(), pace, len);
        let with = flow_over(&over(0.02), 2, order().parity(), pace, len);
        print("2 % lost", &without, bare);
        print("parity, 2 % lost", &with, bare);
        let ratio = with.wire_bytes as f64 / bare as f64;
        assert!(with.in_time >= 0.99, "{with:?}");
        assert!(ratio <= 1.25, "{ratio}");
        assert!(without.in_time < 0.95, "{without:?}");
    }
}

/// Slow enough that the loss is known before the next state leaves: what is missing comes in time, and costs little.
#[test]
fn what_is_missing_of_the_newest_order_is_sent_again() {
    let bare = flow(1, 0.0, order(), (1_000, 5), 16_000);
    // Parts that overtake each other by 10 ms look lost now and then: in one of two hundred at most.
    assert!(bare.sender.resends <= 70, "{bare:?}");
    let mended = flow(3, 0.02, order(), (1_000, 5), 16_000);
    print("16,000 bytes at 5 Hz, 2 %", &mended, bare.wire_bytes);
    assert!(mended.in_time >= 0.98, "{mended:?}");
    assert!(mended.wire_bytes as f64 <= bare.wire_bytes as f64 * 1.05, "{mended:?}");
    // At 20 Hz the next state leaves before anything is known, and makes this one stale.
    let stale = flow(4, 0.02, order(), (1_000, 20), 16_000);
    assert!(stale.sender.resends < 20, "{stale:?}");
    let lived = flow(5, 0.02, SendOptions::new(Guarantee::None).expires(MS(90)), (1_000, 20), 16_000);
    print("None with a life, 20 Hz", &lived, bare.wire_bytes);
    assert!(lived.in_time >= 0.93, "{lived:?}");
    let plain = flow(5, 0.02, SendOptions::new(Guarantee::None), (1_000, 20), 16_000);
    assert_eq!(plain.sender.resends, 0, "{plain:?}");
    assert!(plain.share < 0.85 && stale.share < 0.85, "{plain:?}, {stale:?}");
}

/// Blind to everything but the first pieces: nothing is sent again for a newer message's time, after the end of its
/// life, or for ever.
#[test]
fn mending_ends_with_the_worth_of_the_message() {
    for (life, newer) in [(None, false), (Some(500), false), (None, true)] {
        let mut pair: Pair<Plain> = Pair::plain(8, link(0.0), &Config::default());
        pair.connect();
        pair.run(MS(300));
        let options = life.map_or(order(), |ms| order().expires(MS(ms)));
        let mut seen = 0;
        pair.net.tap(move |datagram| {
            let large = datagram.from == here() && datagram.bytes.len() > 500;
            seen += u32::from(large);
            if large && seen > 1 { Verdict::Drop } else { Verdict::Pass }
        });
        pair.a.endpoint.send_payload(options.notice(), &state(1, 4_000)).unwrap();
        pair.a.endpoint.flush().unwrap();
        if newer {
            pair.run(MS(30));
            pair.a.endpoint.send_payload(order(), &state(2, 100)).unwrap();
            pair.a.endpoint.flush().unwrap();
        }
        pair.run(MS(1_000));
        let resends = pair.a.endpoint.stats().resends;
        pair.run(MS(9_000));
        let later = pair.a.endpoint.stats().resends;
        assert_eq!((later - resends, pair.a.endpoint.queued_bytes()), (0, 0), "{life:?} {newer}");
        assert_eq!(resends > 0, !newer, "{life:?} {newer}: {resends}");
        assert_eq!(notices(&pair.a).len(), 1);
    }
}

/// A queue that holds one state takes the next one although parts of the first are on their way.
#[test]
fn what_waits_only_to_be_mended_gives_way() {
    // More than a young session's rate allows.
    let mut config = Config::default();
    config.rate = sealgram::Rate::Off;
    let mut pair: Pair<Plain> = Pair::plain(9, link(0.0), &config);
    pair.connect();
    pair.run(MS(300));
    let mut lane = sealgram::LaneOptions::default();
    lane.queue_bytes = Some(5_000);
    pair.a.endpoint.set_lane(sealgram::LaneId(0), lane).unwrap();
    for number in 0..50 {
        pair.a.endpoint.send_payload(order(), &state(number, 4_000)).unwrap();
        pair.a.endpoint.flush().unwrap();
        pair.run(MS(5));
    }
    pair.run(MS(500));
    assert_eq!((pair.b.heard.len() > 20, pair.a.endpoint.queued_bytes()), (true, 0));
}

fn notices<S: Session>(end: &End<S>) -> Vec<(sealgram::MessageId, Outcome)> {
    let notice = |event: &Event| match event {
        Event::Notice { message, outcome } => Some((*message, *outcome)),
        _ => None,
    };
    end.events.iter().filter_map(notice).collect()
}

/// A restored message is told as acknowledged, and none is that did not come.
#[test]
fn notices_of_messages_with_parity_agree_with_what_arrived() {
    let mut pair: Pair<Sealed> = Pair::sealed(5, link(0.0), &Config::default());
    pair.connect();
    pair.run(MS(500));
    pair.net.set_links(here(), there(), link(0.05));
    let options = SendOptions::new(Guarantee::None).parity().notice();
    let mut ids = Vec::new();
    for number in 0..2_000 {
        ids.push(
            pair.a.endpoint.send_payload(options, &state(number, 4_000 + number as usize % 9_000)).unwrap(),
        );
        pair.a.endpoint.flush().unwrap();
        pair.run(MS(50));
    }
    pair.net.set_links(here(), there(), link(0.0));
    pair.run(MS(5_000));
    let came: std::collections::BTreeSet<u32> =
        pair.b.heard.iter().map(|(_, bytes)| u32::from_le_bytes(bytes[..4].try_into().unwrap())).collect();
    let told = notices(&pair.a);
    assert_eq!(told.len(), ids.len(), "one for each");
    let (mut falsely_lost, mut lost) = (0, 0);
    for (id, outcome) in told {
        let number = u32::try_from(ids.iter().position(|sent| *sent == id).unwrap()).unwrap();
        match outcome {
            Outcome::Acked => assert!(came.contains(&number), "{number} did not come"),
            Outcome::Lost if came.contains(&number) => falsely_lost += 1,
            Outcome::Lost => lost += 1,
            other => panic!("{number}: {other:?}"),
        }
    }
    let restored = pair.b.endpoint.stats().restored_pieces;
    assert!(lost > 20 && restored > 400, "{lost} lost, {restored} restored");
    assert!(falsely_lost <= 2, "{falsely_lost}");
}

/// Only the parity was still to leave when its time was over: the message itself had left.
#[test]
fn a_message_that_expires_before_its_parity_leaves_is_not_called_unsent() {
    let mut config = Config::default();
    config.rate = sealgram::Rate::Fixed(40_000);
    let mut pair: Pair<Plain> = Pair::plain(6, link(0.0), &config);
    pair.connect();
    pair.run(MS(200));
    let mut outcomes = Vec::new();
    for ms in (20..700).step_by(15) {
        let options = SendOptions::new(Guarantee::Order).parity().notice().expires(MS(ms));
        pair.b.heard.clear();
        pair.a.events.clear();
        let before = pair.a.endpoint.stats();
        pair.a.endpoint.send_payload(options, &state(1, 20_000)).unwrap();
        pair.a.endpoint.flush().unwrap();
        pair.run(MS(3_000));
        let told = notices(&pair.a);
        let [(_, outcome)] = told[..] else { panic!("{told:?}") };
        let came = !pair.b.heard.is_empty();
        assert_eq!(outcome, if came { Outcome::Acked } else { Outcome::Expired }, "after {ms} ms");
        outcomes.push((outcome, pair.a.endpoint.stats().since(&before).parities_sent));
    }
    assert_eq!(pair.a.endpoint.queued_bytes(), 0);
    // All ends were met: given up in the middle, whole without any of its parities, whole with some.
    let met = |outcome, some: bool| outcomes.iter().any(|end| end.0 == outcome && (end.1 > 0) == some);
    assert!(
        met(Outcome::Expired, false) && met(Outcome::Acked, false) && met(Outcome::Acked, true),
        "{outcomes:?}"
    );
}

/// A path that becomes narrower between a message and its parities, and messages of one datagram.
#[test]
fn a_parity_that_fits_no_datagram_any_more_holds_nothing_up() {
    let mut pair: Pair<Plain> = Pair::plain(7, link(0.0), &Config::default());
    pair.connect();
    for number in 0..400 {
        pair.a.endpoint.send_payload(order().parity(), &state(number, 60_000)).unwrap();
        pair.a.endpoint.send_payload(order().parity(), &state(number, 700)).unwrap();
        pair.a.endpoint.flush().unwrap();
        let mtu = if number % 80 < 40 { 1_500 } else { 1_260 };
        let mut narrow = link(0.0);
        narrow.mtu = Some(mtu);
        pair.net.set_links(here(), there(), narrow);
        pair.run(MS(100));
    }
    pair.run(MS(5_000));
    assert_eq!((pair.a.endpoint.queued_bytes(), pair.b.endpoint.stats().violations), (0, 0));
    let small = pair.b.heard.iter().filter(|(_, bytes)| bytes.len() == 700).count();
    assert!(small > 300, "{small}");
}

fn any_link() -> impl Strategy<Value = Link> {
    (0.0..0.4, 0.0..0.1, 0.0..0.2, 0..20_u64).prop_map(|(loss, duplicate, reorder, jitter)| {
        let mut link = link(loss);
        (link.duplicate, link.reorder, link.reorder_delay) = (duplicate, reorder, MS(30));
        link.jitter = Jitter::Uniform(MS(jitter));
        link
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Of every size, over any network, whatever else is asked for: what comes is what was sent, once, in order.
    #[test]
    fn what_comes_is_what_was_sent(
        seed in any::<u64>(),
        link in any_link(),
        sends in prop::collection::vec((4..20_000_usize, any::<bool>(), 1..3_u8, any::<bool>(), 0..60_u64), 1..60),
    ) {
        let mut pair: Pair<Plain> = Pair::plain(seed, Link::default(), &Config::default());
        pair.connect();
        pair.net.set_links(here(), there(), link);
        for (number, &(len, order, copies, notice, wait)) in (0..).zip(&sends) {
            let guarantee = if order { Guarantee::Order } else { Guarantee::None };
            let mut options = SendOptions::new(guarantee).parity().copies(copies, Duration::ZERO);
            options = if notice { options.notice() } else { options };
            pair.a.endpoint.send_payload(options, &state(number, len)).unwrap();
            pair.a.endpoint.flush().unwrap();
            pair.run(MS(wait));
        }
        // At 40 % of loss a large message takes its time; but none is forgotten.
        pair.run_until(MS(60_000), |a, _| a.endpoint.queued_bytes() == 0);
        pair.run(MS(6_000));
        let mut seen = std::collections::BTreeSet::new();
        let mut newest = None;
        for (guarantee, bytes) in &pair.b.heard {
            let number = u32::from_le_bytes(bytes[..4].try_into().unwrap());
            prop_assert!(*bytes == state(number, sends[number as usize].0), "wrong bytes in {}", number);
            prop_assert!(seen.insert(number), "{} came twice", number);
            if *guarantee == Guarantee::Order {
                prop_assert!(Some(number) > newest, "{} after {:?}", number, newest);
                newest = Some(number);
            }
        }
        prop_assert_eq!(notices(&pair.a).len(), sends.iter().filter(|send| send.3).count());
        prop_assert_eq!((pair.a.endpoint.stats().violations, pair.b.endpoint.stats().violations), (0, 0));
        prop_assert_eq!(pair.a.endpoint.queued_bytes(), 0);
    }
}

//! What lanes promise, over whole endpoints: independent orders, priority, weight, bounds of their own.
//!
//! | row | feature | held by |
//! |---|---|---|
//! | 48 | independent orders | `a_stalled_lane_leaves_the_others_as_they_are`, `two_hundred_and_fifty_six_lanes_keep_their_orders` |
//! | 48 | memory of their own | `a_stalled_lane_cannot_take_the_window_from_the_others` |
//! | 50 | drop oldest | `drop_oldest_keeps_the_newest_and_counts_the_rest` |
//! | 51 | bounds | `a_full_lane_blocks_no_other`, `can_send_says_what_send_will_do` |
//! | 52 | large messages share the line | `lanes_of_one_priority_share_the_line_by_weight` |

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::{End, Pair, here};
use proptest::prelude::*;
use sealgram::sim::{Link, Verdict};
use sealgram::{
    Config, Guarantee, LaneId, LaneOptions, LanePolicy, Outcome, Plain, SendError, SendOptions, Session,
};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;
const GUARANTEES: [Guarantee; 3] = [Guarantee::None, Guarantee::Order, Guarantee::Delivery];

fn pair_with(link: Link, config: &Config) -> Pair<Plain> {
    let mut pair = Pair::plain(5, link, config);
    pair.connect();
    pair.run(MS(200));
    pair
}

fn pair() -> Pair<Plain> {
    let mut link = Link::default();
    link.delay = MS(20);
    pair_with(link, &Config::default())
}

/// A line of 1 Mbit/s whose queue holds what may be on its way.
fn narrow() -> Pair<Plain> {
    let mut link = Link::default();
    (link.delay, link.rate, link.queue_bytes) = (MS(10), Some(125_000), 256 << 10);
    let mut config = Config::default();
    config.flight_bytes = 16 << 10;
    pair_with(link, &config)
}

fn on(lane: u8, guarantee: Guarantee) -> SendOptions {
    SendOptions::new(guarantee).lane(LaneId(lane))
}

fn lane(change: impl FnOnce(&mut LaneOptions)) -> LaneOptions {
    let mut options = LaneOptions::default();
    change(&mut options);
    options
}

fn set<S: Session>(end: &mut End<S>, number: u8, change: impl FnOnce(&mut LaneOptions)) {
    end.endpoint.set_lane(LaneId(number), lane(change)).unwrap();
}

/// Bytes that say when they were sent and on which lane.
fn stamped(pair: &Pair<Plain>, lane: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![lane; len];
    bytes[..8].copy_from_slice(&u64::try_from(pair.net.elapsed().as_micros()).unwrap().to_le_bytes());
    bytes
}

/// Goes on for a millisecond and notes how long each small message of a lane took.
fn listen(pair: &mut Pair<Plain>, lane: u8, delays: &mut Vec<Duration>) {
    let already = pair.b.heard.len();
    pair.run(MS(1));
    let now = pair.net.elapsed();
    for (_, bytes) in pair.b.heard[already..].iter().filter(|(_, bytes)| bytes[8] == lane) {
        let sent = u64::from_le_bytes(*bytes.first_chunk().unwrap());
        delays.push(now.saturating_sub(Duration::from_micros(sent)));
    }
}

fn bytes_by_lane(pair: &Pair<Plain>) -> BTreeMap<u8, usize> {
    let mut bytes = BTreeMap::new();
    for (_, message) in &pair.b.heard {
        *bytes.entry(message[8]).or_insert(0) += message.len();
    }
    bytes
}

// ---- order ----

#[test]
fn a_stalled_lane_leaves_the_others_as_they_are() {
    let run = |stalled: bool| {
        let mut pair = pair();
        let mut delays = Vec::new();
        for tick in 0..300 {
            let bytes = stamped(&pair, 1, 100);
            if stalled && tick % 10 < 5 {
                pair.net.tap(|datagram| if datagram.from == here() { Verdict::Drop } else { Verdict::Pass });
            }
            pair.a.endpoint.send_payload(on(1, Guarantee::Delivery), &bytes).unwrap();
            pair.a.endpoint.flush().unwrap();
            pair.net.tap(|_| Verdict::Pass);
            let bytes = stamped(&pair, 2, 100);
            pair.a.endpoint.send_payload(on(2, Guarantee::Delivery), &bytes).unwrap();
            pair.a.endpoint.flush().unwrap();
            for _ in 0..16 {
                listen(&mut pair, 2, &mut delays);
            }
        }
        for _ in 0..2_000 {
            listen(&mut pair, 2, &mut delays);
        }
        assert_eq!(pair.b.heard.len(), 600);
        assert_eq!(delays.len(), 300);
        delays
    };
    assert_eq!(run(false).iter().max(), run(true).iter().max());
}

/// Sends 100 bytes at 60 Hz on lane 2 for ten seconds, while lane 1 sends what it can behind a message that never
/// arrives, if it is `stalled`. How long each message of lane 2 took.
fn beside_a_stalled_lane(stalled: bool) -> Vec<Duration> {
    const LOST: [u8; 16] = *b"this one is lost";
    let mut config = Config::default();
    (config.max_message_bytes, config.receive_window_bytes) = (16 << 10, 256 << 10);
    config.max_unreliable_bytes = 16 << 10;
    let mut link = Link::default();
    link.delay = MS(20);
    let mut pair = pair_with(link, &config);
    pair.net.tap(|datagram| {
        let lost = datagram.bytes.windows(LOST.len()).any(|bytes| bytes == LOST);
        if lost { Verdict::Drop } else { Verdict::Pass }
    });
    // So long that no other message rides in its datagrams and is lost with it.
    let mut bytes = vec![1; 1_150];
    bytes[8..8 + LOST.len()].copy_from_slice(&LOST);
    pair.a.endpoint.send_payload(on(1, Guarantee::Delivery), &bytes).unwrap();
    pair.a.endpoint.flush().unwrap();
    let mut delays = Vec::new();
    for tick in 0..600 {
        let bytes = stamped(&pair, 2, 100);
        pair.a.endpoint.send_payload(on(2, Guarantee::Delivery), &bytes).unwrap();
        pair.a.endpoint.flush().unwrap();
        if stalled && tick % 6 == 0 {
            // Ten times a second 16 KiB: in two seconds more than the session's window.
            let _ = pair.a.endpoint.send_payload(on(1, Guarantee::Delivery), &[1; 16 << 10]);
            pair.a.endpoint.flush().unwrap();
        }
        for _ in 0..16 {
            listen(&mut pair, 2, &mut delays);
        }
    }
    for _ in 0..500 {
        listen(&mut pair, 2, &mut delays);
    }
    assert_eq!(pair.b.endpoint.stats().violations, 0);
    if stalled {
        assert!(pair.b.heard.iter().all(|(_, bytes)| bytes[8] == 2), "lane 1 stands still");
        let held = pair.a.endpoint.lane_stats(LaneId(1));
        assert!(held.unsent_bytes > 256 << 10, "lane 1 would have filled the window: {held:?}");
    }
    // The path heals: nothing was lost for good.
    pair.net.tap(|_| Verdict::Pass);
    let all = if stalled { 600 + 101 } else { 600 + 1 };
    assert!(pair.run_until(SECS(30), |_, b| b.heard.len() == all), "{} of {all}", pair.b.heard.len());
    delays
}

#[test]
fn a_stalled_lane_cannot_take_the_window_from_the_others() {
    let (alone, beside) = (beside_a_stalled_lane(false), beside_a_stalled_lane(true));
    assert_eq!((alone.len(), beside.len()), (600, 600));
    assert_eq!(beside.iter().max(), alone.iter().max());
}

#[test]
fn what_was_lost_leaves_before_new_messages_of_any_priority() {
    let mut pair = narrow();
    set(&mut pair.a, 1, |lane| lane.priority = 0);
    set(&mut pair.a, 2, |lane| lane.priority = 255);
    // Too long to ride along: it leaves again only as what was lost.
    pair.net.tap(|datagram| if datagram.from == here() { Verdict::Drop } else { Verdict::Pass });
    let bytes = stamped(&pair, 1, 1_000);
    pair.a.endpoint.send_payload(on(1, Guarantee::Delivery), &bytes).unwrap();
    pair.a.endpoint.flush().unwrap();
    pair.net.tap(|_| Verdict::Pass);
    let mut delays = Vec::new();
    for _ in 0..1_000 {
        while pair.a.endpoint.lane_stats(LaneId(2)).unsent_bytes < 64 << 10 {
            let bytes = stamped(&pair, 2, 1_000);
            pair.a.endpoint.send_payload(on(2, Guarantee::Delivery), &bytes).unwrap();
        }
        listen(&mut pair, 1, &mut delays);
    }
    // The flight of 16 KiB takes 131 ms; then the loss is known, and the message stands behind one more flight.
    assert!(delays.len() == 1 && delays[0] < MS(450), "{delays:?}");
}

#[test]
fn two_hundred_and_fifty_six_lanes_keep_their_orders() {
    let mut link = Link::default();
    (link.delay, link.loss, link.reorder, link.reorder_delay) = (MS(20), 0.1, 0.1, MS(10));
    let mut pair = pair_with(link, &Config::default());
    for round in 0..20_u8 {
        for number in 0..=255 {
            let options = on(number, Guarantee::Delivery);
            pair.a.endpoint.send_payload(options, &[number, round]).unwrap();
        }
        pair.a.endpoint.flush().unwrap();
        pair.run(MS(16));
    }
    assert!(pair.run_until(SECS(30), |_, b| b.heard.len() == 20 * 256));
    for number in 0..=255_u8 {
        let own = pair.b.heard.iter().filter(|(_, bytes)| bytes[0] == number).map(|(_, bytes)| bytes[1]);
        assert!(own.eq(0..20), "lane {number}");
    }
}

#[test]
fn inside_a_set_the_higher_priority_leaves_first_and_outside_nothing_changes() {
    for in_set in [true, false] {
        let mut pair = pair();
        if in_set {
            pair.a.endpoint.open_set(LaneId(0)).unwrap();
        }
        for (n, priority) in [(0, 128), (1, 10), (2, 200), (3, 128), (4, 200), (5, 0)] {
            let options = SendOptions::new(Guarantee::Delivery).priority(priority);
            pair.a.endpoint.send_payload(options, &[n]).unwrap();
        }
        pair.run(MS(100));
        let heard: Vec<_> = pair.b.heard.iter().map(|(_, bytes)| bytes[0]).collect();
        assert_eq!(heard, if in_set { [2, 4, 0, 3, 1, 5] } else { [0, 1, 2, 3, 4, 5] });
        if in_set {
            pair.a.endpoint.close_set(LaneId(0)).unwrap();
        }
    }
}

#[test]
fn a_message_begun_is_finished_before_one_of_higher_priority() {
    let mut config = Config::default();
    // The window takes one of them at a time, so a message begun and then passed would wait for ever.
    (config.max_message_bytes, config.receive_window_bytes) = (200_000, 200_064);
    let mut link = Link::default();
    link.delay = MS(20);
    let mut pair = pair_with(link, &config);
    pair.a.endpoint.as_set(|set| set.send_payload(Guarantee::Delivery, &vec![1; 150_000])).unwrap();
    pair.run(SECS(2));
    pair.a.endpoint.open_set(LaneId(0)).unwrap();
    for priority in [1_u8, 50, 100, 200] {
        let options = SendOptions::new(Guarantee::Delivery).priority(priority);
        pair.a.endpoint.send_payload(options, &vec![priority; 150_000]).unwrap();
        pair.a.endpoint.flush().unwrap();
        pair.run(MS(1));
    }
    pair.a.endpoint.close_set(LaneId(0)).unwrap();
    assert!(pair.run_until(SECS(60), |_, b| b.heard.len() == 5));
    let heard: Vec<_> = pair.b.heard.iter().map(|(_, bytes)| bytes[0]).collect();
    assert_eq!(heard[..2], [1, 1]);
}

// ---- sharing the line ----

/// Keeps every lane's queue filled for `time`.
fn saturate(pair: &mut Pair<Plain>, lanes: &[(u8, usize)], time: Duration) {
    let end: Instant = pair.net.now() + time;
    while pair.net.now() < end {
        for &(number, len) in lanes {
            let bytes = stamped(pair, number, len);
            while pair.a.endpoint.lane_stats(LaneId(number)).unsent_bytes < 64 << 10 {
                pair.a.endpoint.send_payload(on(number, Guarantee::Delivery), &bytes).unwrap();
            }
        }
        pair.run(MS(20));
    }
}

#[test]
fn lanes_of_one_priority_share_the_line_by_weight() {
    let mut pair = narrow();
    set(&mut pair.a, 1, |lane| lane.weight = 10);
    set(&mut pair.a, 2, |lane| lane.weight = 20);
    set(&mut pair.a, 3, |lane| lane.weight = 30);
    // Whatever the sizes: small ones, datagrams full, many datagrams.
    saturate(&mut pair, &[(1, 50), (2, 1_000), (3, 20_000)], SECS(20));
    let bytes = bytes_by_lane(&pair);
    let share = |number: u8| bytes[&number] as f64 / bytes.values().sum::<usize>() as f64;
    for (number, fair) in [(1, 1.0 / 6.0), (2, 1.0 / 3.0), (3, 0.5)] {
        // Heads count too, so that the lane of small messages carries less of its own.
        assert!(
            (share(number) / fair - 1.0).abs() < 0.12,
            "lane {number} has {:.3}, not {fair:.3}",
            share(number)
        );
    }
}

#[test]
fn no_lane_starves_another_of_its_priority_and_idleness_is_no_claim() {
    let mut pair = narrow();
    // Lane 1 has the line to itself for a while; then lane 2 comes, and the other way round.
    saturate(&mut pair, &[(1, 500)], SECS(5));
    pair.b.heard.clear();
    saturate(&mut pair, &[(1, 500), (2, 500)], SECS(5));
    let bytes = bytes_by_lane(&pair);
    let ratio = bytes[&2] as f64 / bytes[&1] as f64;
    assert!((0.7..1.4).contains(&ratio), "{bytes:?}");
    // Small messages at 60 Hz wait for what is on the line already, not for the queue of the other lane.
    let mut delays = Vec::new();
    for tick in 0..1_000 {
        if tick % 16 == 0 {
            let bytes = stamped(&pair, 9, 100);
            pair.a.endpoint.send_payload(on(3, Guarantee::Order), &bytes).unwrap();
        }
        if tick % 100 == 0 {
            let bytes = stamped(&pair, 1, 20_000);
            pair.a.endpoint.send_payload(on(1, Guarantee::Delivery), &bytes).unwrap();
        }
        listen(&mut pair, 9, &mut delays);
    }
    delays.sort_unstable();
    let worst = delays[delays.len() * 99 / 100];
    assert!(delays.len() > 50 && worst < MS(300), "{worst:?}");
}

#[test]
fn a_higher_priority_goes_first_whatever_waits() {
    let mut pair = narrow();
    set(&mut pair.a, 1, |lane| lane.priority = 10);
    let mut delays = Vec::new();
    for tick in 0..3_000 {
        while pair.a.endpoint.lane_stats(LaneId(1)).unsent_bytes < 256 << 10 {
            let bytes = stamped(&pair, 1, 30_000);
            pair.a.endpoint.send_payload(on(1, Guarantee::Delivery), &bytes).unwrap();
        }
        if tick % 16 == 0 {
            let bytes = stamped(&pair, 2, 100);
            pair.a.endpoint.send_payload(on(2, Guarantee::Delivery), &bytes).unwrap();
        }
        listen(&mut pair, 2, &mut delays);
    }
    delays.sort_unstable();
    // 16 KiB may be on their way before it: 131 ms, and 10 ms more.
    let (count, worst) = (delays.len(), delays.last().copied());
    assert!(count > 150 && worst < Some(MS(170)), "{count} came, {worst:?}");
}

#[test]
fn the_queue_time_is_about_what_a_message_waits() {
    let mut pair = narrow();
    assert_eq!(pair.a.endpoint.lane_stats(LaneId(1)).queue_time, Some(Duration::ZERO));
    saturate(&mut pair, &[(1, 1_000)], SECS(3));
    let estimate = pair.a.endpoint.lane_stats(LaneId(1)).queue_time.unwrap();
    let unsent = pair.a.endpoint.lane_stats(LaneId(1)).unsent_bytes;
    let truth = Duration::from_secs_f64(unsent as f64 / 125_000.0);
    let ratio = estimate.as_secs_f64() / truth.as_secs_f64();
    assert!((0.8..1.3).contains(&ratio), "{estimate:?} for {unsent} bytes");
    set(&mut pair.a, 2, |lane| lane.priority = 200);
    assert_eq!(
        pair.a.endpoint.lane_stats(LaneId(2)).queue_time,
        Some(Duration::ZERO),
        "nothing is ahead of it"
    );
}

// ---- bounds ----

#[test]
fn drop_oldest_keeps_the_newest_and_counts_the_rest() {
    for guarantee in [Guarantee::None, Guarantee::Order] {
        let mut pair = pair();
        set(&mut pair.a, 1, |lane| (lane.queue_messages, lane.policy) = (Some(10), LanePolicy::DropOldest));
        let mut ids = Vec::new();
        for n in 0..100_u8 {
            ids.push(pair.a.endpoint.send_payload(on(1, guarantee).notice(), &[n]).unwrap());
        }
        pair.run(SECS(3));
        let heard: Vec<_> = pair.b.heard.iter().map(|(_, bytes)| bytes[0]).collect();
        assert_eq!(heard, (90..100).collect::<Vec<_>>());
        assert_eq!(pair.a.endpoint.lane_stats(LaneId(1)).dropped, 100 - 10);
        let lost = pair.a.events.iter().filter(
            |event| matches!(event, sealgram::Event::Notice { outcome: Outcome::Lost, message } if ids[..90].contains(message)),
        );
        assert_eq!(lost.count(), 90);
    }
}

#[test]
fn drop_oldest_never_drops_a_delivery() {
    let mut pair = pair();
    set(&mut pair.a, 1, |lane| (lane.queue_messages, lane.policy) = (Some(3), LanePolicy::DropOldest));
    let mut send = |guarantee, n: u8| pair.a.endpoint.send_payload(on(1, guarantee), &[n]);
    send(Guarantee::Delivery, 0).unwrap();
    send(Guarantee::Order, 1).unwrap();
    send(Guarantee::Delivery, 2).unwrap();
    send(Guarantee::Delivery, 3).unwrap();
    for guarantee in GUARANTEES {
        assert!(matches!(send(guarantee, 4), Err(SendError::Full { queued_messages: 3, .. })));
    }
    pair.run(MS(200));
    let heard: Vec<_> = pair.b.heard.iter().map(|(_, bytes)| bytes[0]).collect();
    assert_eq!(heard, [0, 2, 3]);
}

#[test]
fn a_full_lane_blocks_no_other() {
    let mut pair = pair();
    pair.net.block(here(), common::there());
    let mut taken = 0;
    while pair.a.endpoint.send_payload(on(1, Guarantee::Delivery), &[0; 1_000]).is_ok() {
        taken += 1;
    }
    assert_eq!(taken, (4 << 20) / 1_064, "the lane holds what the configuration says");
    assert!(!pair.a.endpoint.can_send(LaneId(1), 1_000) && pair.a.endpoint.can_send(LaneId(2), 1_000));
    pair.a.endpoint.send_payload(on(2, Guarantee::Delivery), b"free").unwrap();
    let stats = pair.a.endpoint.lane_stats(LaneId(1));
    assert_eq!((stats.queued_messages, stats.queued_bytes, stats.sent), (taken, taken * 1_064, taken as u64));
    assert_eq!(pair.a.endpoint.lane_stats(LaneId(2)).queued_messages, 1);
    assert_eq!(pair.a.endpoint.queued_messages(), taken + 1);
}

#[test]
fn options_of_a_lane_are_checked_and_outlive_a_session() {
    let mut pair = pair();
    let wrong = [
        (lane(|lane| lane.weight = 0), "weight"),
        (lane(|lane| lane.queue_bytes = Some(127)), "queue_bytes"),
        (lane(|lane| lane.queue_bytes = Some((1 << 40) + 1)), "queue_bytes"),
        (lane(|lane| lane.queue_messages = Some(0)), "queue_messages"),
        (lane(|lane| lane.queue_messages = Some(1_000_001)), "queue_messages"),
    ];
    for (options, field) in wrong {
        let error = pair.a.endpoint.set_lane(LaneId(1), options).unwrap_err();
        assert_eq!(error.field, field);
    }
    set(&mut pair.a, 1, |lane| lane.queue_bytes = Some(1_000));
    let too_large = SendError::TooLarge { len: 937, max: 936 };
    assert_eq!(pair.a.endpoint.send_payload(on(1, Guarantee::Delivery), &[0; 937]), Err(too_large));
    pair.a.endpoint.close(0, b"");
    pair.run(SECS(1));
    pair.connect();
    assert_eq!(pair.a.endpoint.send_payload(on(1, Guarantee::Delivery), &[0; 937]), Err(too_large));
    assert!(pair.a.endpoint.send_payload(on(1, Guarantee::Delivery), &[0; 936]).is_ok());
    assert!(!pair.a.endpoint.can_send(LaneId(1), 1));
}

#[test]
fn a_set_on_another_lane_is_a_set_of_that_lane() {
    let mut pair = pair();
    let sent: Result<(), SendError> = pair.a.endpoint.as_set_on(LaneId(7), |set| {
        set.send_payload(Guarantee::Delivery, b"a")?;
        set.send_payload(SendOptions::new(Guarantee::Delivery).lane(LaneId(1)), b"b")?;
        Ok(())
    });
    sent.unwrap();
    pair.run(MS(200));
    assert_eq!(pair.a.endpoint.lane_stats(LaneId(7)).sent, 2);
    assert_eq!(pair.a.endpoint.lane_stats(LaneId(1)).sent, 0);
    assert_eq!(pair.b.heard.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is sent, dropped, expired, replaced and acknowledged: the counts of each lane add up, and end at zero.
    #[test]
    fn can_send_says_what_send_will_do(
        seed: u64,
        bounds in (200..3_000_usize, 1..12_usize),
        steps in prop::collection::vec((0..3_u8, 0..3_usize, 0..900_usize, 0..4_u32, 1..40_u64, 0..6_u64), 1..150),
    ) {
        let mut link = Link::default();
        (link.delay, link.loss) = (MS(15), 0.1);
        let mut pair = Pair::plain(seed, link, &Config::default());
        pair.connect();
        for number in 0..3 {
            set(&mut pair.a, number, |lane| {
                (lane.queue_bytes, lane.queue_messages) = (Some(bounds.0), Some(bounds.1));
                lane.policy = if number == 1 { LanePolicy::DropOldest } else { LanePolicy::Block };
            });
        }
        for (number, guarantee, len, key, life, wait) in steps {
            let mut options = on(number, GUARANTEES[guarantee]).expires(MS(life));
            if key > 0 {
                options = options.slot(key);
            }
            let can = pair.a.endpoint.can_send(LaneId(number), len);
            let result = pair.a.endpoint.send_payload(options, &vec![0; len]);
            if can {
                prop_assert!(result.is_ok(), "{:?}", result);
            } else if number != 1 && key == 0 {
                let refused = matches!(result, Err(SendError::Full { .. } | SendError::TooLarge { .. }));
                prop_assert!(refused);
            }
            let lanes = (0..3).map(|lane| pair.a.endpoint.lane_stats(LaneId(lane)));
            let (mut bytes, mut messages) = (0, 0);
            for stats in lanes {
                prop_assert!(stats.queued_bytes <= bounds.0 && stats.queued_messages <= bounds.1);
                prop_assert!(stats.unsent_bytes <= stats.queued_bytes);
                bytes += stats.queued_bytes;
                messages += stats.queued_messages;
            }
            prop_assert_eq!((bytes, messages), (pair.a.endpoint.queued_bytes(), pair.a.endpoint.queued_messages()));
            if wait > 0 {
                pair.run(MS(wait * wait));
            }
        }
        pair.run(SECS(10));
        for number in 0..3 {
            let stats = pair.a.endpoint.lane_stats(LaneId(number));
            prop_assert_eq!((stats.queued_bytes, stats.queued_messages, stats.unsent_bytes), (0, 0, 0));
        }
        prop_assert_eq!(pair.a.endpoint.stats().violations, 0);
        prop_assert_eq!(pair.b.endpoint.stats().violations, 0);
    }
}

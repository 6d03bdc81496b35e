//! What the options of a message promise, over whole endpoints: expiry and SKIP, copies, notices, slots, strategies.
//!
//! | row | feature | held by |
//! |---|---|---|
//! | 60 | `RealTime` redundancy | `two_copies_leave_four_in_a_thousand_and_four_one_in_ten_thousand` |
//! | 61 | `TimeSensitive` | `a_time_sensitive_flow_resumes_at_its_deadline` |
//! | 62 | `Reliable`, expiry told | `a_black_hole_makes_exactly_one_expired_at_the_deadline` |
//! | 63 | `Critical` | `a_critical_message_is_acknowledged_or_listed` |
//! | 64 | notices | `notices_agree_with_what_the_network_did` |
//! | 65 | most recent state | `a_thousand_updates_leave_as_the_last_one` |

mod common;
#[path = "common/contract.rs"]
mod contract;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;

use common::{End, Pair, here, there};
use contract::{Promise, Sent, Yielded, assert_kept, identify, payload};
use proptest::prelude::*;
use proptest::strategy::Strategy as _;
use sealgram::sim::{Jitter, Link, Verdict};
use sealgram::{
    Config, Event, Guarantee, LaneId, LaneOptions, LanePolicy, MessageId, Outcome, Plain, SendError,
    SendOptions, Session, Strategy,
};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

fn link(change: impl FnOnce(&mut Link)) -> Link {
    let mut link = Link::default();
    link.delay = MS(20);
    change(&mut link);
    link
}

fn pair(link: Link) -> Pair<Plain> {
    let mut pair = Pair::plain(3, link, &Config::default());
    pair.connect();
    pair.run(MS(200));
    pair
}

fn delivery() -> SendOptions {
    SendOptions::new(Guarantee::Delivery)
}

fn say<S: Session>(end: &mut End<S>, options: impl Into<SendOptions>, bytes: &[u8]) -> MessageId {
    let id = end.endpoint.send_payload(options, bytes).unwrap();
    end.endpoint.flush().unwrap();
    id
}

fn heard<S: Session>(end: &End<S>) -> Vec<&[u8]> {
    end.heard.iter().map(|(_, bytes)| bytes.as_slice()).collect()
}

/// What was told of messages, oldest first.
fn notices<S: Session>(end: &End<S>) -> Vec<(MessageId, Outcome)> {
    let notice = |event: &Event| match event {
        Event::Notice { message, outcome } => Some((*message, *outcome)),
        _ => None,
    };
    end.events.iter().filter_map(notice).collect()
}

fn sound<S: Session>(pair: &Pair<S>) {
    for end in [&pair.a, &pair.b] {
        assert_eq!((end.closed, end.endpoint.stats().violations), (None, 0), "seed {}", pair.seed);
    }
}

// ---- expiry ----

#[test]
fn an_expired_delivery_is_skipped_and_the_order_goes_on() {
    let mut pair = pair(link(|_| ()));
    pair.net.block(here(), there());
    let begun = pair.net.now();
    let lost = say(&mut pair.a, delivery().expires(MS(100)).notice(), b"lost");
    pair.run(MS(80));
    pair.net.unblock(here(), there());
    say(&mut pair.a, Guarantee::Delivery, b"after");
    assert!(pair.run_until(SECS(2), |_, b| !b.heard.is_empty()));
    assert!(pair.net.now() - begun < MS(100 + 25), "it waited for {:?}", pair.net.now() - begun);
    pair.run(MS(200));
    assert_eq!(heard(&pair.b), [b"after"]);
    assert_eq!(notices(&pair.a), [(lost, Outcome::Expired)]);
    let lane = pair.a.endpoint.lane_stats(LaneId(0));
    assert_eq!((lane.expired, lane.queued_messages, lane.queued_bytes), (1, 0, 0));
    sound(&pair);
}

#[test]
fn a_lost_skip_or_answer_is_made_up_for() {
    for direction in [(here(), there()), (there(), here())] {
        let mut pair = pair(link(|_| ()));
        pair.net.block(here(), there());
        let lost = say(&mut pair.a, delivery().expires(MS(50)).notice(), b"lost");
        pair.run(MS(40));
        pair.net.unblock(here(), there());
        pair.net.block(direction.0, direction.1);
        pair.run(MS(400));
        pair.net.unblock(direction.0, direction.1);
        let after = say(&mut pair.a, delivery().notice(), b"after");
        pair.run(SECS(3));
        let told = notices(&pair.a).into_iter().collect::<BTreeMap<_, _>>();
        // The first copy may have come through after all, before its SKIP.
        let came = heard(&pair.b).contains(&&b"lost"[..]);
        let expected = if came { Outcome::Acked } else { Outcome::Expired };
        assert_eq!(told, BTreeMap::from([(lost, expected), (after, Outcome::Acked)]));
        assert_eq!(heard(&pair.b).last(), Some(&&b"after"[..]));
        sound(&pair);
    }
}

/// A packet that carried SKIP is acknowledged, the answer is lost: who asks again is answered the same way.
#[test]
fn an_answer_that_is_lost_alone_is_asked_for_again() {
    let mut pair = pair(link(|_| ()));
    pair.net.block(here(), there());
    let lost = say(&mut pair.a, delivery().expires(MS(50)).notice(), b"lost");
    pair.run(MS(60));
    pair.net.unblock(here(), there());
    // Everything from the other side is lost while the SKIP arrives; a later acknowledgement names its packet.
    pair.net.block(there(), here());
    pair.run(MS(120));
    pair.net.unblock(there(), here());
    for round in 0..20 {
        say(&mut pair.b, Guarantee::None, &[round]);
        pair.run(MS(50));
    }
    assert_eq!(notices(&pair.a), [(lost, Outcome::Expired)]);
    sound(&pair);
}

#[test]
fn what_expires_unsent_leaves_no_hole() {
    let mut pair = Pair::plain(3, link(|_| ()), &Config::default());
    let early = pair.a.endpoint.send_payload(delivery().expires(MS(1)).notice(), b"early").unwrap();
    pair.a.endpoint.send_payload(Guarantee::Delivery, b"kept").unwrap();
    pair.net.advance(MS(10));
    pair.connect();
    pair.run(SECS(1));
    assert_eq!(heard(&pair.b), [b"kept"]);
    assert_eq!(notices(&pair.a), [(early, Outcome::Expired)]);
    sound(&pair);
}

#[test]
fn a_message_that_had_arrived_is_not_called_expired() {
    let mut pair = pair(link(|_| ()));
    pair.net.block(there(), here());
    let id = say(&mut pair.a, delivery().expires(MS(60)).notice(), b"there");
    pair.run(MS(200));
    assert!(notices(&pair.a).is_empty(), "nothing is known yet");
    pair.net.unblock(there(), here());
    pair.run(SECS(2));
    assert_eq!(heard(&pair.b), [b"there"]);
    assert_eq!(notices(&pair.a), [(id, Outcome::Acked)]);
    sound(&pair);
}

#[test]
fn hundreds_of_gaps_are_taken_back_in_portions_that_the_peer_allows() {
    let mut pair = pair(link(|_| ()));
    pair.net.block(here(), there());
    let mut kept = Vec::new();
    for n in 0_u16..600 {
        let bytes = n.to_le_bytes();
        if n % 2 == 0 {
            kept.push(bytes.to_vec());
            say(&mut pair.a, Guarantee::Delivery, &bytes);
        } else {
            say(&mut pair.a, delivery().expires(MS(30)).notice(), &bytes);
        }
    }
    pair.run(MS(100));
    pair.net.unblock(here(), there());
    assert!(pair.run_until(SECS(20), |a, _| a.endpoint.queued_messages() == 0 && notices(a).len() == 300));
    assert_eq!(heard(&pair.b), kept);
    assert!(notices(&pair.a).iter().all(|(_, outcome)| *outcome == Outcome::Expired));
    sound(&pair);
}

#[test]
fn a_late_message_is_not_yielded_where_its_sender_said_so() {
    for (late, expected) in [(true, &[&b"first"[..]][..]), (false, &[b"first", b"second"])] {
        let mut pair = pair(link(|_| ()));
        pair.net.block(here(), there());
        say(&mut pair.a, Guarantee::Delivery, b"first");
        pair.net.unblock(here(), there());
        let mut options = delivery().expires(MS(40)).notice();
        if late {
            options = options.drop_late();
        }
        // It arrives at once and has to wait for the first one, which the sender repeats much later.
        let id = say(&mut pair.a, options, b"second");
        pair.net.block(here(), there());
        pair.run(MS(150));
        pair.net.unblock(here(), there());
        pair.run(SECS(2));
        assert_eq!(heard(&pair.b), expected);
        assert_eq!(notices(&pair.a), [(id, Outcome::Acked)], "it reached the endpoint");
        sound(&pair);
    }
}

#[test]
fn a_time_sensitive_flow_resumes_at_its_deadline() {
    let mut pair = pair(link(|_| ()));
    pair.net.block(here(), there());
    say(&mut pair.a, Strategy::TimeSensitive, b"gone");
    let begun = pair.net.now();
    pair.run(MS(240));
    pair.net.unblock(here(), there());
    say(&mut pair.a, Strategy::TimeSensitive, b"next");
    assert!(pair.run_until(SECS(1), |_, b| heard(b).contains(&&b"next"[..])));
    assert!(pair.net.now() - begun <= MS(250 + 40), "took {:?}", pair.net.now() - begun);
    sound(&pair);
}

#[test]
fn a_black_hole_makes_exactly_one_expired_at_the_deadline() {
    let mut pair = pair(link(|_| ()));
    pair.net.block(here(), there());
    let id = say(&mut pair.a, Strategy::Reliable.options().notice(), b"gone");
    pair.run(MS(4_990));
    let sent = pair.a.endpoint.stats().resends;
    assert!(sent > 0 && notices(&pair.a).is_empty());
    pair.run(MS(20));
    let resends = pair.a.endpoint.stats().resends;
    pair.run(SECS(2));
    assert_eq!(pair.a.endpoint.stats().resends, resends, "after its deadline it is not sent again");
    pair.net.unblock(here(), there());
    pair.run(SECS(5));
    assert_eq!(notices(&pair.a), [(id, Outcome::Expired)]);
    assert!(pair.b.heard.is_empty());
    sound(&pair);
}

#[test]
fn a_critical_message_is_acknowledged_or_listed() {
    let mut pair = pair(link(|link| link.loss = 0.3));
    let mut asked = BTreeSet::new();
    for n in 0..100_u8 {
        asked.insert(say(&mut pair.a, Strategy::Critical.options().notice(), &[n]));
        pair.run(MS(16));
    }
    pair.net.block(here(), there());
    for n in 100..120 {
        asked.insert(say(&mut pair.a, Strategy::Critical.options().notice(), &[n]));
        pair.run(MS(16));
    }
    pair.run(SECS(60));
    let listed: BTreeSet<_> = pair
        .a
        .events
        .iter()
        .find_map(|event| match event {
            Event::Closed { undelivered, .. } => Some(undelivered.iter().copied().collect()),
            _ => None,
        })
        .unwrap();
    let told = notices(&pair.a);
    let by = |wanted| told.iter().filter(move |(_, outcome)| *outcome == wanted).map(|(id, _)| *id);
    assert_eq!(by(Outcome::Lost).collect::<BTreeSet<_>>(), listed);
    assert_eq!(by(Outcome::Acked).chain(by(Outcome::Lost)).collect::<BTreeSet<_>>(), asked);
    assert_eq!(told.len(), asked.len());
    assert_eq!(pair.b.heard.len() + 20, asked.len());
}

// ---- copies ----

#[test]
fn a_copy_rides_in_the_next_datagram_and_is_yielded_once() {
    for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
        let mut pair = pair(link(|_| ()));
        let options = SendOptions::new(guarantee).copies(2, Duration::ZERO);
        let before = pair.a.endpoint.stats().datagrams_sent;
        say(&mut pair.a, options, b"one");
        pair.run(MS(2));
        assert_eq!(pair.a.endpoint.stats().datagrams_sent - before, 1, "a copy makes no datagram of its own");
        pair.net.block(here(), there());
        say(&mut pair.a, options, b"two");
        pair.net.unblock(here(), there());
        pair.run(MS(10));
        let sent = pair.net.now();
        say(&mut pair.a, options, b"three");
        assert!(pair.run_until(SECS(1), |_, b| b.heard.len() == 3), "{guarantee:?}: {:?}", heard(&pair.b));
        assert!(pair.net.now() - sent < MS(21), "the copy came in time");
        pair.run(SECS(2));
        assert_eq!(heard(&pair.b), [&b"one"[..], b"two", b"three"]);
        assert_eq!(pair.a.endpoint.queued_messages(), 0, "nothing is kept for copies that found no datagram");
        sound(&pair);
    }
}

#[test]
fn spaced_copies_leave_by_themselves_until_they_are_needless() {
    let mut pair = pair(link(|_| ()));
    let times = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&times);
    pair.net.tap(move |datagram| {
        if datagram.from == here() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Verdict::Pass
    });
    say(&mut pair.a, SendOptions::new(Guarantee::None).copies(4, MS(5)), b"shot");
    let mut seen = Vec::new();
    for _ in 0..8 {
        seen.push(times.load(Ordering::Relaxed));
        pair.run(MS(3));
    }
    assert_eq!(seen, [1, 1, 2, 2, 3, 4, 4, 4], "every 5 ms, four in all");
    pair.run(MS(500));
    assert_eq!(heard(&pair.b), [b"shot"]);
    // With an acknowledgement after 40 ms, copies 30 ms apart end after the second.
    let before = times.load(Ordering::Relaxed);
    say(&mut pair.a, delivery().copies(8, MS(30)), b"order");
    pair.run(MS(500));
    let sent = times.load(Ordering::Relaxed) - before;
    assert!((2..=4).contains(&sent), "{sent} datagrams");
    assert_eq!(heard(&pair.b), [&b"shot"[..], b"order"]);
    sound(&pair);
}

#[test]
fn copies_of_long_messages_are_yielded_once() {
    for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
        let mut pair = pair(link(|link| link.loss = 0.1));
        let options = SendOptions::new(guarantee).copies(3, MS(7)).notice();
        for n in 0..50 {
            say(&mut pair.a, options, &payload(n, 4_000));
            pair.run(MS(50));
        }
        pair.run(SECS(5));
        let ids: Vec<_> = heard(&pair.b).into_iter().map(|bytes| identify(bytes).unwrap()).collect();
        let unique: BTreeSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "{guarantee:?}");
        assert!(
            ids.len() >= 48,
            "{guarantee:?}: {} of 50 came through 0.1 % residual loss a fragment",
            ids.len()
        );
        assert_eq!(notices(&pair.a).len(), 50);
        sound(&pair);
    }
}

#[test]
fn two_copies_leave_four_in_a_thousand_and_four_one_in_ten_thousand() {
    for (copies, spacing, allowed) in [(2, Duration::ZERO, 0.004), (4, MS(5), 0.000_1)] {
        let mut pair = pair(link(|link| link.loss = 0.05));
        let options = SendOptions::new(Guarantee::None).copies(copies, spacing);
        let total = 20_000;
        for n in 0..total {
            say(&mut pair.a, options, &payload(n, 32));
            pair.run(MS(16));
        }
        pair.run(SECS(1));
        let ids: BTreeSet<_> = heard(&pair.b).into_iter().map(|bytes| identify(bytes).unwrap()).collect();
        assert_eq!(ids.len(), pair.b.heard.len(), "each once");
        let missing = total as f64 - ids.len() as f64;
        assert!(missing / total as f64 <= allowed, "{copies} copies: {missing} of {total} missing");
    }
}

// ---- slots ----

#[test]
fn a_thousand_updates_leave_as_the_last_one() {
    for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
        let mut pair = pair(link(|_| ()));
        let before = pair.a.endpoint.stats().datagrams_sent;
        let options = SendOptions::new(guarantee).slot(7).notice();
        let mut ids = Vec::new();
        for n in 0..1_000_u32 {
            ids.push(pair.a.endpoint.send_payload(options, &n.to_le_bytes()).unwrap());
        }
        assert_eq!(pair.a.endpoint.queued_messages(), 1);
        pair.a.endpoint.send_payload(options.slot(8), b"else").unwrap();
        pair.run(MS(300));
        assert_eq!(heard(&pair.b), [&999_u32.to_le_bytes()[..], b"else"]);
        assert!(pair.a.endpoint.stats().datagrams_sent - before <= 3);
        let told: BTreeMap<_, _> = notices(&pair.a).into_iter().collect();
        assert_eq!(told.len(), 1_001);
        for id in &ids[..999] {
            assert_eq!(told[id], Outcome::Superseded);
        }
        assert_eq!(told[&ids[999]], Outcome::Acked);
        assert_eq!(pair.a.endpoint.lane_stats(LaneId(0)).superseded, 999);
        sound(&pair);
    }
}

#[test]
fn a_sent_predecessor_is_skipped_instead_of_sent_again() {
    let mut pair = pair(link(|_| ()));
    pair.net.block(here(), there());
    let old = say(&mut pair.a, delivery().slot(1).notice(), b"old");
    pair.net.unblock(here(), there());
    let new = say(&mut pair.a, delivery().slot(1).notice(), b"new");
    let begun = pair.net.now();
    assert!(pair.run_until(SECS(1), |_, b| !b.heard.is_empty()));
    assert!(pair.net.now() - begun < MS(21));
    pair.run(SECS(1));
    assert_eq!(heard(&pair.b), [b"new"]);
    let told: BTreeMap<_, _> = notices(&pair.a).into_iter().collect();
    assert_eq!(told, BTreeMap::from([(old, Outcome::Superseded), (new, Outcome::Acked)]));
    sound(&pair);
}

// ---- notices ----

#[test]
fn notices_agree_with_what_the_network_did() {
    let rough = link(|link| {
        (link.loss, link.duplicate, link.reorder, link.reorder_delay) = (0.05, 0.05, 0.05, MS(15));
        link.jitter = Jitter::Uniform(MS(10));
        link.overtake = true;
    });
    let mut pair = pair(rough);
    let mut asked = BTreeMap::new();
    for n in 0..6_000_u32 {
        // Every one on a lane of its own guarantee, so that an `Order` is the only one that can be stale.
        let (lane, guarantee) =
            [(0, Guarantee::None), (1, Guarantee::Order), (2, Guarantee::Delivery)][n as usize % 3];
        let options = SendOptions::new(guarantee).lane(LaneId(lane)).notice();
        asked.insert(say(&mut pair.a, options, &payload(n.into(), 40)), (u64::from(n), guarantee));
        pair.run(MS(5));
    }
    assert!(pair.run_until(SECS(30), |a, _| notices(a).len() == 6_000));
    pair.run(SECS(5));
    let told = notices(&pair.a);
    assert_eq!(told.len(), asked.len(), "exactly one each");
    assert_eq!(told.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>(), asked.keys().copied().collect());
    let came: BTreeSet<_> = heard(&pair.b).into_iter().map(|bytes| identify(bytes).unwrap()).collect();
    let mut false_lost = 0;
    for (id, outcome) in told {
        let (n, guarantee) = asked[&id];
        match outcome {
            Outcome::Acked => assert!(came.contains(&n) || guarantee == Guarantee::Order, "{n} never came"),
            Outcome::Lost => {
                assert_ne!(guarantee, Guarantee::Delivery);
                false_lost += u32::from(came.contains(&n));
            }
            other => panic!("{n}: {other:?}"),
        }
    }
    assert!(false_lost <= 6, "{false_lost} of 6,000 falsely lost");
    sound(&pair);
}

#[test]
fn a_false_lost_is_counted_when_its_acknowledgement_comes() {
    let mut pair = pair(link(|_| ()));
    // One datagram takes 1.5 s; what follows makes it count as lost meanwhile, and a second later that is told.
    pair.net.tap(|_| Verdict::Delay(MS(1_500)));
    let id = say(&mut pair.a, SendOptions::new(Guarantee::None).notice(), b"slow");
    pair.net.tap(|_| Verdict::Pass);
    for _ in 0..100 {
        say(&mut pair.a, Guarantee::Delivery, b"x");
        pair.run(MS(40));
    }
    assert_eq!(notices(&pair.a), [(id, Outcome::Lost)]);
    assert!(heard(&pair.b).contains(&&b"slow"[..]));
    assert_eq!(pair.a.endpoint.stats().late_acks, 1);
    sound(&pair);
}

#[test]
fn notices_that_nobody_fetches_are_bounded() {
    let mut config = Config::default();
    config.send_queue_messages = 10;
    let mut pair = Pair::plain(3, link(|_| ()), &config);
    pair.connect();
    let asking = SendOptions::new(Guarantee::None).slot(1).notice();
    let mut taken = 0;
    while pair.a.endpoint.send_payload(asking, b"x").is_ok() {
        taken += 1;
        assert!(taken <= 20);
    }
    assert!(pair.a.endpoint.send_payload(Guarantee::None, b"x").is_ok(), "who asks nothing is not held up");
    pair.run(SECS(1));
    assert!(pair.a.endpoint.send_payload(asking, b"x").is_ok());
}

#[test]
fn the_end_of_a_session_tells_of_every_message_before_it_tells_of_itself() {
    let mut pair = pair(link(|_| ()));
    pair.net.block(here(), there());
    let mut asked = Vec::new();
    for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
        asked.push(say(&mut pair.a, SendOptions::new(guarantee).notice(), b"x"));
    }
    asked.push(say(&mut pair.a, delivery().expires(MS(10)).notice(), b"x"));
    pair.run(MS(100));
    pair.a.endpoint.close(0, b"");
    pair.a.step();
    let lost = asked[..3].iter().map(|&id| (id, Outcome::Lost));
    let told: Vec<_> = lost.chain([(asked[3], Outcome::Expired)]).collect();
    assert_eq!(notices(&pair.a), told);
    let Some(Event::Closed { undelivered, .. }) = pair.a.events.last() else { panic!("no end") };
    assert_eq!(*undelivered, asked[2..]);
}

// ---- everything together ----

#[test]
fn the_strategies_have_their_numbers() {
    let same = |strategy: Strategy, options: SendOptions| assert_eq!(strategy.options(), options);
    same(Strategy::RealTime, SendOptions::new(Guarantee::None).expires(MS(50)).copies(2, Duration::ZERO));
    same(Strategy::TimeSensitive, delivery().expires(MS(250)));
    same(Strategy::Reliable, delivery().expires(SECS(5)).copies(2, Duration::ZERO));
    same(Strategy::Critical, delivery().copies(4, MS(5)));
    assert_eq!(delivery().copies(0, MS(1)), delivery().copies(1, MS(1)));
    assert_eq!(delivery().copies(99, MS(1)), delivery().copies(8, MS(1)));
}

const GUARANTEES: [Guarantee; 3] = [Guarantee::None, Guarantee::Order, Guarantee::Delivery];
const PROMISES: [Promise; 3] = [Promise::None, Promise::Order, Promise::Delivery];
/// The lanes of the random sessions.
const LANES: [u8; 5] = [0, 1, 2, 7, 255];

/// How a lane of a random session is set: priority, weight, messages that may wait, whether the oldest is dropped.
type Lane = (u8, u16, usize, bool);

fn lanes() -> impl proptest::strategy::Strategy<Value = Vec<Lane>> {
    let priority = prop_oneof![2 => Just(128), 1 => any::<u8>()];
    prop::collection::vec(
        (priority, 1..100_u16, prop_oneof![1..10_usize, Just(1_000)], any::<bool>()),
        LANES.len(),
    )
}

#[derive(Clone, Debug)]
struct Step {
    guarantee: usize,
    lane: u8,
    len: usize,
    expires: Option<u64>,
    drop_late: bool,
    copies: u8,
    spacing: u64,
    slot: Option<u32>,
    priority: u8,
    wait: u64,
    flush: bool,
    set: bool,
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    let what = (
        0..3_usize,
        prop::sample::select(&LANES[..]),
        prop_oneof![4 => 8..200_usize, 1 => 1_000..5_000_usize],
    );
    let life =
        (prop::option::weighted(0.4, 5..300_u64), any::<bool>(), 1..5_u8, prop_oneof![Just(0), 1..20_u64]);
    let rest = (prop::option::weighted(0.2, 0..3_u32), any::<u8>(), 0..30_u64, any::<bool>(), any::<bool>());
    let step = (what, life, rest).prop_map(|((guarantee, lane, len), life, rest)| Step {
        guarantee,
        lane,
        len,
        expires: life.0,
        drop_late: life.1,
        copies: life.2,
        spacing: life.3,
        slot: rest.0,
        priority: rest.1,
        wait: rest.2,
        flush: rest.3,
        set: rest.4,
    });
    prop::collection::vec(step, 1..120)
}

impl Step {
    fn options(&self) -> SendOptions {
        let mut options = SendOptions::new(GUARANTEES[self.guarantee])
            .lane(LaneId(self.lane))
            .copies(self.copies, MS(self.spacing))
            .priority(self.priority)
            .notice();
        if let Some(after) = self.expires {
            options = options.expires(MS(after));
        }
        if self.drop_late {
            options = options.drop_late();
        }
        if let Some(key) = self.slot {
            options = options.slot(key);
        }
        options
    }

    /// The peer may drop it although it arrived.
    fn may_be_late(&self) -> bool {
        self.drop_late && self.expires.is_some()
    }
}

/// Sends the steps; gives the log and the number of each message by the id that it was given. A step whose lane is full
/// sends nothing.
fn drive(pair: &mut Pair<Plain>, steps: &[Step]) -> (Vec<Sent>, BTreeMap<MessageId, u64>) {
    let (mut sent, mut asked) = (Vec::new(), BTreeMap::new());
    let (mut sets, mut open) = (BTreeMap::new(), BTreeSet::new());
    for (id, step) in (0..).zip(steps) {
        let set = sets.entry(step.lane).or_insert(0);
        if step.set {
            let (end, lane) = (&mut pair.a.endpoint, LaneId(step.lane));
            if open.remove(&step.lane) {
                end.close_set(lane).unwrap();
            } else {
                end.open_set(lane).unwrap();
                open.insert(step.lane);
            }
            *set += 1;
        }
        match pair.a.endpoint.send_payload(step.options(), &payload(id, step.len)) {
            Ok(message) => {
                asked.insert(message, id);
                let promise = PROMISES[step.guarantee];
                sent.push(Sent { promise, lane: step.lane, set: *set, id });
                *set += u64::from(promise != Promise::None && !open.contains(&step.lane));
            }
            Err(SendError::Full { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        if step.flush {
            pair.a.endpoint.flush().unwrap();
        }
        pair.run(MS(step.wait));
    }
    (sent, asked)
}

/// What each lane counted agrees with what its messages' senders were told.
fn counts_agree(pair: &Pair<Plain>, outcomes: &BTreeMap<u64, Outcome>, steps: &[Step]) {
    for lane in LANES {
        let of = |wanted: Outcome| {
            let own = |&(&id, &outcome): &(&u64, &Outcome)| {
                let step = usize::try_from(id).unwrap();
                outcome == wanted && steps[step].lane == lane
            };
            outcomes.iter().filter(own).count() as u64
        };
        let stats = pair.a.endpoint.lane_stats(LaneId(lane));
        assert_eq!(
            stats.sent,
            outcomes.keys().filter(|&&id| steps[usize::try_from(id).unwrap()].lane == lane).count() as u64
        );
        assert_eq!(
            (stats.expired, stats.superseded),
            (of(Outcome::Expired), of(Outcome::Superseded)),
            "lane {lane}"
        );
        assert!(stats.dropped <= of(Outcome::Lost), "lane {lane}");
        assert_eq!((stats.queued_bytes, stats.queued_messages, stats.unsent_bytes), (0, 0, 0), "lane {lane}");
    }
}

/// Sends the steps and lets the session run dry; the judge must find every promise kept, each message that asked must
/// have one notice, and a `Delivery` that was not heard must have been given up by its sender.
fn keeps_the_contract(seed: u64, lanes: &[Lane], steps: &[Step]) {
    let rough = link(|link| {
        (link.loss, link.duplicate, link.reorder, link.reorder_delay) = (0.15, 0.1, 0.1, MS(30));
    });
    let mut pair = Pair::plain(seed, rough, &Config::default());
    pair.connect();
    for (lane, &(priority, weight, most, drops)) in LANES.into_iter().zip(lanes) {
        let mut options = LaneOptions::default();
        (options.priority, options.weight, options.queue_messages) = (priority, weight, Some(most));
        options.policy = if drops { LanePolicy::DropOldest } else { LanePolicy::Block };
        pair.a.endpoint.set_lane(LaneId(lane), options).unwrap();
    }
    let (sent, asked) = drive(&mut pair, steps);
    let total = asked.len();
    let dry =
        |a: &mut End<Plain>, _: &mut End<Plain>| a.events.len() > total && a.endpoint.queued_messages() == 0;
    assert!(pair.run_until(SECS(60), dry), "seed {seed}: {} of {total} notices", notices(&pair.a).len());
    pair.run(SECS(3));
    let told = notices(&pair.a);
    assert_eq!(told.len(), total, "seed {seed}: exactly one each");
    let outcomes: BTreeMap<_, _> =
        told.into_iter().map(|(message, outcome)| (asked[&message], outcome)).collect();
    assert_eq!(outcomes.len(), total, "seed {seed}");
    let by_id: BTreeMap<u64, &Step> = (0..).zip(steps).collect();
    let line = |(guarantee, bytes): &(Guarantee, Vec<u8>)| {
        let id = identify(bytes).unwrap();
        let promise = GUARANTEES.iter().position(|known| known == guarantee).map(|at| PROMISES[at]).unwrap();
        Yielded { promise, lane: by_id[&id].lane, id }
    };
    let yielded: Vec<_> = pair.b.heard.iter().map(line).collect();
    let came: BTreeSet<_> = yielded.iter().map(|line| line.id).collect();
    let given_up = |id: u64, outcome: Outcome| {
        let gone = matches!(outcome, Outcome::Expired | Outcome::Superseded);
        by_id[&id].guarantee == 2 && (gone || (by_id[&id].may_be_late() && !came.contains(&id)))
    };
    let skipped =
        outcomes.iter().filter(|&(&id, &outcome)| given_up(id, outcome)).map(|(&id, _)| id).collect();
    assert_kept(&sent, &yielded, &contract::End::Dry { skipped }, &format!("seed {seed}"));
    let falsely = |&(&id, &outcome): &(&u64, &Outcome)| {
        let loose = by_id[&id].guarantee == 0 && !by_id[&id].may_be_late();
        outcome == Outcome::Acked && loose && !came.contains(&id)
    };
    assert_eq!(outcomes.iter().find(falsely), None, "seed {seed}: called acknowledged");
    counts_agree(&pair, &outcomes, steps);
    sound(&pair);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn any_mix_of_options_and_lanes_keeps_the_contract(seed: u64, lanes in lanes(), steps in steps()) {
        keeps_the_contract(seed, &lanes, &steps);
    }
}

//! Two connections, one clock, a seeded link between them; no keys. Stories about delivery under loss.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{Connection, Negotiated};
use crate::{
    config::Config,
    contract::{self, End, Promise, Sent, Yielded},
    delivery::{Guarantee, MessageId, recv::Place},
    error::SendError,
    wire::{
        MAX_NUMBER, ack,
        codec::Writer,
        frame::{self, Frame},
        message::{Context, MessageFrame, Numbers, Part},
    },
};

const MS: Duration = Duration::from_millis(1);
const PEERS: usize = 2;

/// A small linear congruential generator: enough chance for a test, replayed from its seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn chance(&mut self, per_mille: u64) -> bool {
        self.next() % 1_000 < per_mille
    }
}

#[derive(Clone, Copy)]
struct Link {
    loss: u64,
    duplicates: u64,
    delay_ms: u64,
    jitter_ms: u64,
}

const CLEAN: Link = Link { loss: 0, duplicates: 0, delay_ms: 25, jitter_ms: 0 };

/// Arrival, order of sending, receiver, packet number, payload.
type Flying = (Instant, u64, usize, u64, Vec<u8>);

/// Any moment does: only differences count.
#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn origin() -> Instant {
    Instant::now()
}

struct Pair {
    now: Instant,
    started: Instant,
    ends: [Connection; PEERS],
    numbers: [u64; PEERS],
    seen: [HashSet<u64>; PEERS],
    flying: BinaryHeap<Reverse<Flying>>,
    order: u64,
    dice: Dice,
    link: Link,
    blocked: bool,
    /// What each end yielded: guarantee and bytes.
    yielded: [Vec<(Guarantee, Vec<u8>)>; PEERS],
    datagrams: [u64; PEERS],
    sizes: Vec<usize>,
}

impl Pair {
    fn new(seed: u64, link: Link, config: &Config) -> Self {
        let now = origin();
        let negotiated = Negotiated {
            idle_timeout: config.idle_timeout,
            max_datagram: config.max_datagram_bytes,
            max_fragments: config.max_fragments,
            max_message: config.max_message_bytes,
            overhead: 20,
        };
        let ends = std::array::from_fn(|_| {
            let mut end = Connection::new(&std::sync::Arc::new(config.clone()));
            end.start(now, &negotiated, 0);
            end
        });
        Self {
            now,
            started: now,
            ends,
            numbers: [0; PEERS],
            seen: Default::default(),
            flying: BinaryHeap::new(),
            order: 0,
            dice: Dice(seed),
            link,
            blocked: false,
            yielded: Default::default(),
            datagrams: [0; PEERS],
            sizes: Vec::new(),
        }
    }

    fn pump(&mut self, from: usize) {
        loop {
            let mut room = [0; 2_048];
            let number = self.numbers[from];
            let len = self.ends[from].transmit(self.now, number, &mut room);
            if len == 0 {
                break;
            }
            self.numbers[from] += 1;
            self.datagrams[from] += 1;
            self.sizes.push(len);
            let copies = if self.dice.chance(self.link.duplicates) { 2 } else { 1 };
            for _ in 0..copies {
                let jitter =
                    if self.link.jitter_ms == 0 { 0 } else { self.dice.next() % self.link.jitter_ms };
                let at = self.now + MS * u32::try_from(self.link.delay_ms + jitter).unwrap();
                if !self.blocked && !self.dice.chance(self.link.loss) {
                    self.order += 1;
                    self.flying.push(Reverse((at, self.order, 1 - from, number, room[..len].to_vec())));
                }
            }
        }
    }

    fn flush(&mut self, end: usize) {
        self.ends[end].flush();
        self.pump(end);
    }

    fn collect(&mut self, end: usize, datagram: &[u8]) {
        while let Some(ready) = self.ends[end].pop() {
            let bytes = match ready.place {
                Place::Datagram { start, len } => datagram[start..start + len].to_vec(),
                Place::Stored(handle) => {
                    let bytes = self.ends[end].stored(handle).to_vec();
                    self.ends[end].release(handle);
                    bytes
                }
            };
            self.yielded[end].push((ready.guarantee, bytes));
        }
    }

    /// Lets `span` pass: everything due arrives, all timers run.
    fn run(&mut self, span: Duration) {
        let until = self.now + span;
        loop {
            for end in 0..PEERS {
                self.ends[end].handle_timeout(self.now);
                self.collect(end, &[]);
                self.flush(end);
            }
            let deadline = self.ends.iter().filter_map(Connection::deadline).min();
            let arrival = self.flying.peek().map(|Reverse(first)| first.0);
            let next = [deadline, arrival].into_iter().flatten().min().unwrap_or(until).min(until);
            // A deadline that stays in the past would be a busy loop for the user.
            self.now = if next > self.now {
                next
            } else if arrival.is_some_and(|at| at <= self.now) {
                self.now
            } else {
                self.now + MS
            };
            if self.now >= until {
                self.now = until;
                break;
            }
            while self.flying.peek().is_some_and(|Reverse(first)| first.0 <= self.now) {
                let Some(Reverse((_, _, to, number, payload))) = self.flying.pop() else { break };
                if self.seen[to].insert(number) {
                    self.ends[to].receive(self.now, number, &payload, 0).unwrap();
                    self.collect(to, &payload);
                }
            }
        }
    }

    fn payloads(&self, end: usize, guarantee: Guarantee) -> Vec<&[u8]> {
        self.yielded[end].iter().filter(|(g, _)| *g == guarantee).map(|(_, bytes)| bytes.as_slice()).collect()
    }
}

fn numbered(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|n| n.to_le_bytes().to_vec()).collect()
}

#[test]
fn delivery_arrives_once_and_in_order_whatever_the_network_does() {
    for seed in 0..20 {
        let link = Link { loss: 200, duplicates: 100, delay_ms: 20, jitter_ms: 60 };
        let mut pair = Pair::new(seed, link, &Config::default());
        let messages = numbered(1_000);
        for chunk in messages.chunks(10) {
            for message in chunk {
                pair.ends[0].send(0, Guarantee::Delivery, message).unwrap();
            }
            pair.flush(0);
            pair.run(10 * MS);
        }
        pair.run(Duration::from_secs(20));
        let got = pair.payloads(1, Guarantee::Delivery);
        assert_eq!(got.len(), messages.len(), "seed {seed}");
        assert!(got.iter().zip(&messages).all(|(got, sent)| got == sent), "seed {seed}");
        assert_eq!(pair.ends[0].queued_messages(), 0, "seed {seed}: everything acknowledged is let go");
    }
}

#[test]
fn without_loss_nothing_is_sent_twice() {
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    for message in numbered(600) {
        pair.ends[0].send(0, Guarantee::Delivery, &message).unwrap();
        pair.flush(0);
        pair.run(16 * MS);
    }
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.payloads(1, Guarantee::Delivery).len(), 600);
    assert_eq!(pair.ends[0].wake().send.resent_parts, 0);
    assert_eq!(pair.datagrams[0], 600, "one datagram a message, nothing else");
}

#[test]
fn many_small_messages_leave_in_few_datagrams() {
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    for message in 0..1_000_u32 {
        let bytes = [(message % 251) as u8; 20];
        pair.ends[0].send(0, Guarantee::Delivery, &bytes).unwrap();
    }
    pair.flush(0);
    assert!(pair.datagrams[0] <= 20, "{} datagrams", pair.datagrams[0]);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.payloads(1, Guarantee::Delivery).len(), 1_000);
}

#[test]
fn a_lost_last_message_still_arrives_without_new_data() {
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    pair.ends[0].send(0, Guarantee::Delivery, b"first").unwrap();
    pair.run(200 * MS);
    pair.blocked = true;
    pair.ends[0].send(0, Guarantee::Delivery, b"last").unwrap();
    pair.flush(0);
    pair.blocked = false;
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.payloads(1, Guarantee::Delivery), [b"first".as_slice(), b"last"]);
}

#[test]
fn a_lost_first_message_still_arrives() {
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    pair.blocked = true;
    pair.ends[0].send(0, Guarantee::Delivery, b"first").unwrap();
    pair.flush(0);
    pair.blocked = false;
    pair.ends[0].send(0, Guarantee::Delivery, b"second").unwrap();
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.payloads(1, Guarantee::Delivery), [b"first".as_slice(), b"second"]);
}

#[test]
fn a_blackout_of_three_seconds_is_followed_by_full_recovery() {
    for seed in 0..10 {
        let mut pair = Pair::new(seed, Link { loss: 50, ..CLEAN }, &Config::default());
        let messages = numbered(600);
        for (at, message) in messages.iter().enumerate() {
            pair.blocked = (200..380).contains(&at);
            pair.ends[0].send(0, Guarantee::Delivery, message).unwrap();
            pair.flush(0);
            pair.run(16 * MS);
        }
        pair.run(Duration::from_secs(10));
        assert_eq!(pair.payloads(1, Guarantee::Delivery).len(), 600, "seed {seed}");
    }
}

#[test]
fn large_messages_arrive_whole_under_loss() {
    for seed in 0..5 {
        let link = Link { loss: 200, duplicates: 20, delay_ms: 15, jitter_ms: 10 };
        let mut pair = Pair::new(seed, link, &Config::default());
        let sizes = [0_u32, 1, 1_100, 1_165, 1_175, 1_180, 1_181, 2_400, 65_536, 300_000, 1 << 20];
        let messages: Vec<Vec<u8>> = sizes
            .iter()
            .map(|&len| (0..len).map(|at| at.wrapping_mul(31).wrapping_add(len).to_le_bytes()[0]).collect())
            .collect();
        for message in &messages {
            pair.ends[0].send(0, Guarantee::Delivery, message).unwrap();
        }
        pair.run(Duration::from_secs(60));
        let got = pair.payloads(1, Guarantee::Delivery);
        assert_eq!(got.len(), messages.len(), "seed {seed}");
        assert!(got.iter().zip(&messages).all(|(got, sent)| *got == sent.as_slice()), "seed {seed}");
    }
}

#[test]
fn a_set_of_ten_thousand_flows_while_its_first_member_is_missing() {
    let config = Config { send_queue_messages: 20_000, ..Config::default() };
    let mut pair = Pair::new(1, CLEAN, &config);
    pair.ends[0].open_set(0).unwrap();
    pair.blocked = true;
    pair.ends[0].send(0, Guarantee::Delivery, &0_u32.to_le_bytes()).unwrap();
    pair.flush(0);
    pair.blocked = false;
    for message in 1..10_000_u32 {
        pair.ends[0].send(0, Guarantee::Delivery, &message.to_le_bytes()).unwrap();
    }
    pair.ends[0].close_set(0).unwrap();
    pair.ends[0].send(0, Guarantee::Delivery, b"after").unwrap();
    pair.run(Duration::from_secs(5));
    let got = pair.payloads(1, Guarantee::Delivery);
    assert_eq!(got.len(), 10_001);
    assert_eq!(got[10_000], b"after");
    assert_ne!(got[0], 0_u32.to_le_bytes(), "the others did not wait for the lost one");
}

#[test]
fn one_hundred_lost_orders_in_a_row_hold_nothing_up() {
    // All of them leave while the path is blocked.
    let config = Config { rate: crate::config::Rate::Off, ..Config::default() };
    let mut pair = Pair::new(1, CLEAN, &config);
    pair.blocked = true;
    for message in numbered(1_000) {
        pair.ends[0].send(0, Guarantee::Order, &message).unwrap();
        pair.flush(0);
    }
    pair.blocked = false;
    pair.run(Duration::from_secs(10));
    pair.ends[0].send(0, Guarantee::Order, b"next").unwrap();
    pair.ends[0].send(0, Guarantee::Delivery, b"and").unwrap();
    pair.run(Duration::from_secs(3));
    assert_eq!(pair.payloads(1, Guarantee::Order), [b"next"]);
    assert_eq!(pair.payloads(1, Guarantee::Delivery), [b"and"]);
}

#[test]
fn a_dead_peer_costs_bounded_memory_and_the_sender_is_told() {
    let config = Config { send_queue_bytes: 2 << 20, ..Config::default() };
    let mut pair = Pair::new(1, CLEAN, &config);
    pair.blocked = true;
    let mut taken: Vec<MessageId> = Vec::new();
    let full = loop {
        match pair.ends[0].send(0, Guarantee::Delivery, &[7; 1_000]) {
            Ok(id) => taken.push(id),
            Err(error) => break error,
        }
        pair.flush(0);
    };
    assert!(matches!(full, SendError::Full { queued_bytes, .. } if queued_bytes <= 2 << 20));
    pair.run(Duration::from_secs(5));
    assert!(pair.ends[0].queued_bytes() <= 2 << 20);
    assert_eq!(pair.ends[0].end_session(), taken);
}

#[test]
fn an_idle_connection_sends_nothing() {
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    pair.ends[0].send(0, Guarantee::Delivery, b"once").unwrap();
    pair.run(Duration::from_secs(2));
    let before = pair.datagrams;
    for _ in 0..1_000_000 {
        pair.ends[0].handle_timeout(pair.now);
        pair.flush(0);
    }
    pair.run(Duration::from_secs(100));
    assert_eq!(pair.datagrams, before);
    assert!(pair.now > pair.started);
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_a_violation() {
    use crate::{
        error::Violation,
        wire::{ack, codec::Writer},
    };
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    pair.ends[0].send(0, Guarantee::Delivery, b"x").unwrap();
    pair.flush(0);
    let mut payload = [0; 64];
    let mut writer = Writer::new(&mut payload);
    ack::encode(&mut writer, 0, std::iter::once(0..=9), 1).unwrap();
    let len = writer.written();
    let verdict = pair.ends[0].receive(pair.now, 0, &payload[..len], 0);
    assert_eq!(verdict, Err(Violation::ImpossibleAck));
    assert_eq!(pair.ends[0].queued_messages(), 1, "nothing was let go");
    // The same for a number that was left out on purpose.
    pair.ends[0].skip(pair.now, 1);
    let mut writer = Writer::new(&mut payload);
    ack::encode(&mut writer, 0, std::iter::once(0..=1), 1).unwrap();
    let len = writer.written();
    assert_eq!(pair.ends[0].receive(pair.now, 1, &payload[..len], 0), Err(Violation::ImpossibleAck));
}

#[test]
fn many_challenges_in_one_packet_get_one_answer() {
    use crate::wire::frame::{Frame, Frames};
    let mut pair = Pair::new(13, CLEAN, &Config::default());
    pair.run(MS * 50);
    let challenges = [&[0x09][..], &[7; 8]].concat().repeat(100);
    let received = pair.ends[0].receive(pair.now, 1_000, &challenges, 0).unwrap();
    assert_eq!((received.challenge, received.probing), (Some([7; 8]), true));
    pair.ends[0].answer_challenge([7; 8]);
    let mut room = [0; 1_180];
    let len = pair.ends[0].transmit(pair.now, 1_000, &mut room);
    let answers = Frames::new(&room[..len]).filter(|frame| matches!(frame, Ok(Frame::PathResponse(_))));
    assert_eq!(answers.count(), 1);
    let says_where = Frames::new(&room[..len]).flatten().any(|frame| !frame.is_probing());
    assert!(says_where, "an answer on the path in use must tell that the peer is there");
}

#[test]
fn what_was_queued_for_a_larger_peer_is_refused_by_name() {
    let mut end = Connection::new(&std::sync::Arc::default());
    let fits = end.send(0, Guarantee::Delivery, &[1; 500]).unwrap();
    let long = end.send(0, Guarantee::Delivery, &[2; 1_001]).unwrap();
    let loose = end.send(0, Guarantee::None, &[3; 1_001]).unwrap();
    let negotiated = Negotiated {
        idle_timeout: Duration::from_secs(30),
        max_datagram: 1_200,
        max_fragments: u16::MAX,
        max_message: 1_000,
        overhead: 20,
    };
    end.start(origin(), &negotiated, 0);
    assert_eq!(end.take_refused(), Some((vec![long, loose], 1_000)));
    assert_eq!(end.take_refused(), None);
    assert_eq!(end.end_session(), [fits]);
    assert!(end.send(0, Guarantee::Delivery, &[2; 1_001]).is_ok(), "the next peer may take more");
}

/// A whole game between two ends, drawn from a seed: mixes of guarantees, sets of any size, fragments, loss,
/// duplicates, reordering and perhaps a blackout. Judged by the contract alone.
#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    loss: u64,
    duplicates: u64,
    jitter_ms: u64,
    blackout: bool,
    largest_set: u64,
    largest_message: u64,
    messages: usize,
}

fn plans() -> impl Strategy<Value = Plan> {
    let sizes = prop_oneof![Just(1_u64), Just(5), Just(100), Just(2_000)];
    let lens = prop_oneof![Just(40_u64), Just(1_500), Just(30_000)];
    (any::<u64>(), 0..300_u64, 0..100_u64, 0..60_u64, any::<bool>(), sizes, lens).prop_map(
        |(seed, loss, duplicates, jitter_ms, blackout, largest_set, largest_message)| Plan {
            seed,
            loss,
            duplicates,
            jitter_ms,
            blackout,
            largest_set,
            largest_message,
            messages: if largest_message > 2_000 { 150 } else { 600 },
        },
    )
}

/// The bytes of message `id`: its name, then a pattern that belongs to it.
fn letter(id: u64, len: u64) -> Vec<u8> {
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend((0..len).map(|at| (at ^ id.wrapping_mul(37)).to_le_bytes()[0]));
    bytes
}

fn play(plan: &Plan) {
    let link = Link { loss: plan.loss, duplicates: plan.duplicates, delay_ms: 20, jitter_ms: plan.jitter_ms };
    let config = Config { unreliable_memory_bytes: 8 << 20, ..Config::default() };
    let mut pair = Pair::new(plan.seed, link, &config);
    let mut dice = Dice(plan.seed ^ 0x5eed);
    let mut logs: [Vec<Sent>; PEERS] = Default::default();
    let mut sets = [0_u64; PEERS];
    let mut left_in_set = [0_u64; PEERS];
    for round in 0..plan.messages {
        pair.blocked = plan.blackout && (100..290).contains(&round);
        for end in 0..PEERS {
            if left_in_set[end] == 0 && plan.largest_set > 1 && dice.chance(100) {
                left_in_set[end] = 1 + dice.next() % plan.largest_set;
                pair.ends[end].open_set(0).unwrap();
            }
            let promise = match dice.next() % 3 {
                0 => Promise::None,
                1 => Promise::Order,
                _ => Promise::Delivery,
            };
            let guarantee = [Guarantee::None, Guarantee::Order, Guarantee::Delivery][promise as usize];
            let id = logs[end].len() as u64;
            let len = if dice.chance(100) { dice.next() % plan.largest_message } else { dice.next() % 40 };
            match pair.ends[end].send(0, guarantee, &letter(id, len)) {
                Ok(_) => logs[end].push(Sent { promise, lane: 0, set: sets[end], id }),
                Err(SendError::Full { .. }) => {}
                Err(other) => panic!("{other}"),
            }
            let alone = left_in_set[end] == 0;
            left_in_set[end] = left_in_set[end].saturating_sub(1);
            if alone {
                sets[end] += u64::from(promise != Promise::None);
            } else if left_in_set[end] == 0 {
                pair.ends[end].close_set(0).unwrap();
                sets[end] += 1;
            }
            if dice.chance(700) {
                pair.flush(end);
            }
        }
        pair.run(16 * MS);
    }
    pair.blocked = false;
    pair.run(Duration::from_secs(40));
    for (end, log) in logs.iter().enumerate() {
        let yields: Vec<Yielded> = pair.yielded[1 - end]
            .iter()
            .map(|(guarantee, bytes)| {
                let id = u64::from_le_bytes(bytes[..8].try_into().unwrap());
                assert_eq!(*bytes, letter(id, bytes.len() as u64 - 8), "the bytes are those that were sent");
                let promise = [Promise::None, Promise::Order, Promise::Delivery][*guarantee as usize];
                Yielded { promise, lane: 0, id }
            })
            .collect();
        let verdict = contract::check(log, &yields, &End::Dry { skipped: Vec::new() });
        assert!(verdict.is_ok(), "{plan:?}, from end {end}: {verdict:?}");
        assert_eq!(
            pair.ends[end].queued_messages(),
            0,
            "{plan:?}: everything that was acknowledged is let go"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn two_ends_keep_the_contract_whatever_the_network_does(plan in plans()) {
        play(&plan);
    }
}

#[test]
fn a_small_limit_of_fragments_is_kept_whatever_is_resent() {
    for seed in 0..60 {
        for max_fragments in [1_u16, 2, 3, 5, 20] {
            let config = Config { max_fragments, ..Config::default() };
            let link = Link { loss: 300, duplicates: 20, delay_ms: 25, jitter_ms: 30 };
            let mut pair = Pair::new(seed, link, &config);
            let largest = pair.ends[0].wake().send.max_len(Guarantee::Delivery);
            for round in 0..10_usize {
                let len = largest - (usize::try_from(pair.dice.next() % 200).unwrap()).min(largest - 1);
                pair.ends[0].send(0, Guarantee::Delivery, &vec![1; len]).unwrap();
                for _ in 0..pair.dice.next() % 12 {
                    let small = usize::try_from(pair.dice.next() % 900).unwrap();
                    pair.ends[0]
                        .send(0, [Guarantee::None, Guarantee::Delivery][round % 2], &vec![2; small])
                        .unwrap();
                }
                pair.ends[0].send(0, Guarantee::Order, &vec![3; len.min(60_000)]).unwrap();
                pair.run(MS * 40);
            }
            pair.run(Duration::from_secs(20));
            assert_eq!(pair.ends[0].queued_messages(), 0, "seed {seed}, {max_fragments}");
        }
    }
}

/// A peer that speaks the frames but keeps to no promise: it numbers as it likes and acknowledges nothing.
fn hear(end: &mut Connection, now: Instant, number: &mut u64, frames: &[Frame<'_>]) {
    let mut payload = [0; 1_200];
    let mut writer = Writer::new(&mut payload);
    let mut context = Context::default();
    for frame in frames {
        frame::encode(frame, &mut context, &mut writer).unwrap();
    }
    let written = writer.written();
    let received = end.receive(now, *number, &payload[..written], 0).unwrap();
    if let Some(data) = received.challenge {
        end.answer_challenge(data);
    }
    // Every second number is missing, so that there is always much to acknowledge.
    *number += 2;
}

#[test]
fn a_peer_that_never_acknowledges_does_not_fill_our_memory() {
    let config = Config::default();
    let mut pair = Pair::new(1, CLEAN, &config);
    let (now, mut number, mut ours, mut most) = (pair.now, 0, 0, (0, 0));
    let end = &mut pair.ends[0];
    for step in 0..200_000_u32 {
        let now = now + MS * (step / 10);
        end.handle_timeout(now);
        hear(end, now, &mut number, &[Frame::PathChallenge([7; 8])]);
        end.flush();
        while end.transmit(now, ours, &mut [0; 1_180]) > 0 {
            ours += 1;
        }
        most = most.max(end.remembered());
    }
    assert!(ours > 100_000, "every challenge was answered: {ours}");
    assert!(most.0 <= 4_096 + config.flight_bytes / 16, "{most:?} of {ours} packets");
    assert!(most.1 <= most.0 * 2, "{most:?}");
}

#[test]
fn what_was_forgotten_to_make_room_is_sent_again() {
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    let (start, mut number, mut ours) = (pair.now, 0, 1);
    let end = &mut pair.ends[0];
    let mut room = [0; 1_180];
    let mut sent = Vec::new();
    end.send(0, Guarantee::Delivery, b"do not lose me").unwrap();
    end.flush();
    assert!(end.transmit(start, 0, &mut room) > 0);
    let mut pump = |end: &mut Connection, now: Instant| {
        end.flush();
        while let len @ 1.. = end.transmit(now, ours, &mut room) {
            sent.extend(room[..len].windows(14).filter(|bytes| bytes == b"do not lose me").map(|_| ours));
            ours += 1;
        }
    };
    for step in 0..20_000_u32 {
        let now = start + MS * (step / 100);
        hear(end, now, &mut number, &[Frame::PathChallenge([7; 8])]);
        pump(end, now);
    }
    // The flight is full of answers that nobody acknowledges: the next probe carries it.
    let later = start + Duration::from_secs(3);
    end.handle_timeout(later);
    pump(end, later);
    assert!(!sent.is_empty() && sent[0] >= 8_000, "{sent:?}");
    // And it still counts as one message that waits for its acknowledgement.
    assert_eq!(end.queued_messages(), 1);
}

/// Numbers at which arithmetic breaks, and some near what is in use.
fn edge(dice: &mut Dice, near: u64) -> u64 {
    let edges = [0, 1, 63, 64, 127, 128, 1_023, 65_535, 65_536, 1 << 32, 1 << 61, MAX_NUMBER - 1, MAX_NUMBER];
    let pick = usize::try_from(dice.next() % 40).unwrap();
    edges.get(pick).copied().unwrap_or(near.saturating_add(dice.next() % 8).saturating_sub(4)).min(MAX_NUMBER)
}

fn any_message<'a>(dice: &mut Dice, near: &mut u64, bytes: &'a [u8]) -> Frame<'a> {
    let index = edge(dice, *near);
    *near = if dice.chance(300) { near.saturating_add(1) } else { *near };
    let base = if dice.chance(500) { index } else { edge(dice, *near).min(index) };
    let set = edge(dice, *near);
    let numbers = match dice.next() % 3 {
        0 => Numbers::None,
        1 => Numbers::Order { set, base },
        _ => Numbers::Delivery { set, base, index },
    };
    let reliable = matches!(numbers, Numbers::Delivery { .. });
    let total = [2, 129, 300, 5_000, 65_536, 1 << 20, 16 << 20][usize::try_from(dice.next() % 7).unwrap()];
    let cut = dice.chance(400);
    let part = if cut {
        let last = total - 1;
        let offset = [0, 128, 256, last, last / 2][usize::try_from(dice.next() % 5).unwrap()];
        Part::Fragment { offset: offset.min(last), total }
    } else {
        Part::Whole
    };
    let left = match part {
        Part::Fragment { offset, total } => (total - offset) as usize,
        Part::Whole => usize::try_from(dice.next() % 200).unwrap(),
    };
    let lane = u8::try_from(if dice.chance(800) { dice.next() % 2 } else { dice.next() % 256 }).unwrap();
    Frame::Message(MessageFrame {
        lane,
        numbers,
        id: (!reliable && (cut || dice.chance(300))).then(|| edge(dice, index)),
        life: dice.chance(100).then(|| u32::try_from(dice.next()).unwrap_or(u32::MAX)),
        part,
        bytes: &bytes[..left.min(if dice.chance(500) { 128 } else { 200 })],
    })
}

/// Everything that is well formed, whether it makes sense or not, from a peer with the keys.
#[test]
fn a_peer_may_say_anything_and_neither_memory_nor_arithmetic_gives_way() {
    let bytes = [5; 256];
    let mut taken = 0;
    for seed in 0..20 {
        let config = Config { receive_window_bytes: 1 << 21, ..Config::default() };
        let mut pair = Pair::new(seed, CLEAN, &config);
        let (mut now, mut ours, mut number, mut near) = (pair.now, 0, 0, 0);
        let dice = &mut Dice(seed);
        let end = &mut pair.ends[0];
        for _ in 0..10_000 {
            now += MS * u32::try_from(dice.next() % 20).unwrap();
            let mut payload = [0; 1_180];
            let mut writer = Writer::new(&mut payload);
            let mut context = Context::default();
            let mut acked = false;
            for _ in 0..1 + dice.next() % 12 {
                let (lane, index) = (u8::try_from(dice.next() % 3).unwrap(), edge(dice, near));
                let frame = match dice.next() % 12 {
                    0 if !acked => {
                        acked = true;
                        let largest =
                            if dice.chance(950) { dice.next() % (ours + 1) } else { edge(dice, ours) };
                        let low = largest.saturating_sub(dice.next() % 50);
                        let rest =
                            low.checked_sub(2 + dice.next() % 9).map(|high| high.saturating_sub(3)..=high);
                        let ranges = [Some(low..=largest), rest].into_iter().flatten();
                        let _ = ack::encode(&mut writer, edge(dice, 9), ranges, 64);
                        continue;
                    }
                    1 => Frame::Window { lane: None, limit: edge(dice, 1 << 20) },
                    2 => Frame::Skip { lane, index, charge: edge(dice, 1 << 20) },
                    3 => Frame::Have { lane, index },
                    4 => Frame::Skipped { lane, index },
                    5 => Frame::PathChallenge([1; 8]),
                    6 => Frame::Confirm { cid: None, ticket: &[] },
                    _ => any_message(dice, &mut near, &bytes),
                };
                let _ = frame::encode(&frame, &mut context, &mut writer);
            }
            let written = writer.written();
            taken += u32::from(end.receive(now, number, &payload[..written], 0).is_ok());
            number = if dice.chance(990) {
                number + 1 + dice.next() % 3
            } else {
                edge(dice, number).max(number + 1)
            };
            while let Some(ready) = end.pop() {
                if let Place::Stored(handle) = ready.place {
                    end.release(handle);
                }
            }
            let guarantee = if dice.chance(500) { Guarantee::Delivery } else { Guarantee::Order };
            let _ = end.send(lane_of(dice), guarantee, &bytes[..usize::try_from(dice.next() % 256).unwrap()]);
            end.handle_timeout(now);
            end.flush();
            while end.transmit(now, ours, &mut [0; 1_180]) > 0 {
                ours += 1;
            }
            assert!(
                end.held_bytes() <= config.receive_window_bytes + config.unreliable_memory_bytes,
                "{seed}"
            );
            assert!(end.remembered().0 <= 8_192, "{seed}");
            if number > MAX_NUMBER - 10 {
                break;
            }
        }
    }
    assert!(taken > 5_000, "most of it is no violation: {taken}");
}

fn lane_of(dice: &mut Dice) -> u8 {
    u8::try_from(dice.next() % 3).unwrap()
}

#[test]
fn after_a_long_rest_the_first_message_costs_one_datagram() {
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    pair.run(Duration::from_secs(1));
    for _ in 0..3 {
        let before = pair.datagrams;
        pair.ends[0].send(0, Guarantee::Delivery, b"now and then").unwrap();
        pair.run(Duration::from_secs(10));
        assert_eq!([pair.datagrams[0] - before[0], pair.datagrams[1] - before[1]], [1, 1]);
    }
}

#[test]
fn pieces_of_large_messages_survive_a_dark_path_among_small_ones() {
    for seed in 0..10 {
        let mut pair = Pair::new(seed, Link { loss: 100, ..CLEAN }, &Config::default());
        for round in 0..400_usize {
            pair.blocked = (50..250).contains(&round);
            // The last fragment is as small as the messages that are repeated by turns.
            let len = if round % 7 == 0 { 1_300 } else { round % 80 };
            pair.ends[0].send(0, Guarantee::Delivery, &vec![round.to_le_bytes()[0]; len]).unwrap();
            pair.flush(0);
            pair.run(16 * MS);
        }
        pair.run(Duration::from_secs(5));
        assert_eq!(pair.payloads(1, Guarantee::Delivery).len(), 400, "seed {seed}");
        assert_eq!(pair.ends[0].queued_messages(), 0, "seed {seed}");
    }
}

#[test]
fn the_last_message_before_a_dark_path_arrives_when_it_is_over() {
    for dark in [1, 3, 20] {
        let mut pair = Pair::new(1, CLEAN, &Config::default());
        pair.ends[0].send(0, Guarantee::Delivery, b"first").unwrap();
        pair.run(200 * MS);
        pair.blocked = true;
        for message in numbered(20) {
            pair.ends[0].send(0, Guarantee::Delivery, &message).unwrap();
            pair.run(16 * MS);
        }
        // Nothing more is sent, so only probes can find out.
        pair.run(Duration::from_secs(dark));
        pair.blocked = false;
        pair.run(Duration::from_secs(3));
        assert_eq!(pair.payloads(1, Guarantee::Delivery).len(), 21, "{dark} s");
    }
}

// ---- rest ----

/// What the connection says of itself.
fn told(end: &Connection) -> crate::stats::Stats {
    let mut stats = crate::stats::Stats::default();
    end.fill_stats(&mut stats);
    stats
}

#[test]
fn a_session_that_rests_again_and_again_forgets_nothing() {
    for seed in 0..20 {
        let link = Link { loss: 200, duplicates: 100, delay_ms: 20, jitter_ms: 40 };
        let mut pair = Pair::new(seed, link, &Config::default());
        let messages = numbered(400);
        for (round, chunk) in messages.chunks(50).enumerate() {
            for message in chunk {
                for end in 0..PEERS {
                    for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
                        pair.ends[end].send(7, guarantee, message).unwrap();
                    }
                    pair.flush(end);
                }
                pair.run(5 * MS);
            }
            pair.run(Duration::from_secs(40));
            assert!(pair.ends.iter().all(Connection::is_resting), "seed {seed}, round {round}");
        }
        for end in 0..PEERS {
            let delivered = pair.payloads(end, Guarantee::Delivery);
            assert!(delivered.iter().eq(messages.iter()), "seed {seed}");
            for guarantee in [Guarantee::None, Guarantee::Order] {
                let got = pair.payloads(end, guarantee);
                let once: HashSet<_> = got.iter().collect();
                assert_eq!(once.len(), got.len(), "seed {seed}: nothing twice");
                assert!(got.len() > messages.len() / 2);
            }
            let in_order = pair.payloads(end, Guarantee::Order);
            let numbers = in_order.iter().map(|bytes| u32::from_le_bytes(bytes[..4].try_into().unwrap()));
            assert!(numbers.is_sorted(), "seed {seed}");
        }
    }
}

#[test]
fn what_was_measured_counted_and_yielded_is_known_after_a_rest() {
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    let mut copies = Vec::new();
    for (guarantee, lane) in [(Guarantee::Order, 1), (Guarantee::Delivery, 2), (Guarantee::Order, 1)] {
        pair.ends[0].send(lane, guarantee, b"once").unwrap();
        pair.flush(0);
        copies.extend(pair.flying.iter().map(|Reverse((_, _, _, _, payload))| payload.clone()));
        pair.run(Duration::from_secs(1));
    }
    assert_eq!((pair.yielded[1].len(), copies.len()), (3, 3));
    let lane = crate::delivery::LaneId(2);
    let all = |pair: &Pair| {
        let ends = pair.ends.each_ref();
        (ends.map(told), ends.map(|end| (end.pto(), end.mtu(), end.last_received(), end.largest_acked())))
    };
    let (before, sent) = (all(&pair), pair.ends[0].lane_stats(lane));
    pair.run(Duration::from_secs(10));
    assert!(pair.ends.iter().all(Connection::is_resting));
    assert_eq!((all(&pair), pair.ends[0].lane_stats(lane)), (before.clone(), sent));
    assert!(pair.ends.iter().all(|end| end.deadline().is_none() && end.is_resting()), "to look wakes nobody");
    for end in &mut pair.ends {
        end.wake();
    }
    assert_eq!(all(&pair), before);
    for (payload, number) in copies.iter().take(2).zip(1_000..) {
        pair.ends[1].receive(pair.now, number, payload, 0).unwrap();
        assert!(pair.ends[1].pop().is_none(), "it was yielded before");
    }
}

#[test]
fn who_wakes_the_other_end_again_and_again_makes_it_hold_no_more() {
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    pair.run(Duration::from_secs(20));
    let Pair { ends: [mut one, mut two], mut now, numbers: [mut first, mut second], .. } = pair;
    let mut room = [0; 1_500];
    let mut wake = |_| {
        one.ping(now);
        let len = one.transmit(now, first, &mut room);
        two.receive(now, first, &room[..len], 0).unwrap();
        assert!(!two.is_resting());
        now += 30 * MS;
        two.handle_timeout(now);
        let len = two.transmit(now, second, &mut room);
        one.receive(now, second, &room[..len], 0).unwrap();
        (first, second) = (first + 1, second + 1);
        assert_eq!(one.transmit(now, first, &mut room) + two.transmit(now, second, &mut room), 0);
        assert!(one.is_resting() && two.is_resting());
    };
    (0..10).for_each(&mut wake);
    let grown = allocation_counter::measure(|| (0..1_000).for_each(&mut wake)).bytes_current;
    assert_eq!(grown, 0);
}

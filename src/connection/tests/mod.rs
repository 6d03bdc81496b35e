//! Two connections, one clock, a seeded link between them; no keys. Each room tells stories of one kind.

mod games;
mod loss;
mod rest;
mod strange;

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

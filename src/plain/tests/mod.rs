//! Two plain peers over a small seeded network with virtual time.

mod life;
mod opening;

use std::time::Duration;

use chacha20::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::*;
use crate::{delivery::recv::Place, os::Environment, wire::Guarantee};

const MS: Duration = Duration::from_millis(1);

struct Net {
    seed: u64,
    rng: ChaCha8Rng,
    now: Instant,
    start: Instant,
    peers: [Plain; 2],
    /// Arrival, receiver, bytes.
    flight: Vec<(Instant, usize, Vec<u8>)>,
    sent: Vec<(usize, Vec<u8>)>,
    delay: (u32, u32),
    loss: u32,
    duplicate: u32,
    blocked: [bool; 2],
    events: [Vec<Event>; 2],
    heard: [Vec<Vec<u8>>; 2],
}

fn config() -> Config {
    Config { app_id: b"test".to_vec(), ..Config::default() }
}

impl Net {
    fn new(seed: u64) -> Self {
        let start = Environment::os().now();
        Self {
            seed,
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: start,
            start,
            peers: [(); 2].map(|()| Plain::new(config()).unwrap()),
            flight: Vec::new(),
            sent: Vec::new(),
            delay: (10, 10),
            loss: 0,
            duplicate: 0,
            blocked: [false; 2],
            events: [const { Vec::new() }; 2],
            heard: [const { Vec::new() }; 2],
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.next_u32() % 100 < percent
    }

    fn connect(&mut self, peer: usize) {
        self.peers[peer].connect(self.now, &mut self.rng).unwrap();
    }

    fn send(&mut self, peer: usize, bytes: &[u8]) -> MessageId {
        self.peers[peer].connection_mut().send(0, Guarantee::Delivery, bytes).unwrap()
    }

    fn transmit(&mut self) {
        for peer in 0..2 {
            if self.peers[peer].connection().wants_flush() {
                self.peers[peer].connection_mut().flush();
            }
            for _ in 0..10_000 {
                let mut out = vec![0; 1_200];
                let len = self.peers[peer].poll_transmit(self.now, &mut self.rng, &mut out);
                if len == 0 {
                    break;
                }
                out.truncate(len);
                self.sent.push((peer, out.clone()));
                for _ in 0..1 + u32::from(self.chance(self.duplicate)) {
                    if !self.blocked[peer] && !self.chance(self.loss) {
                        let (least, most) = self.delay;
                        let delay = least + self.rng.next_u32() % (most - least + 1);
                        self.flight.push((self.now + MS * delay, 1 - peer, out.clone()));
                    }
                }
            }
        }
    }

    fn deliver(&mut self, peer: usize, mut bytes: Vec<u8>) {
        self.peers[peer].handle_datagram(self.now, &mut self.rng, &mut bytes);
        while let Some(ready) = self.peers[peer].connection_mut().pop() {
            let message = match ready.place {
                Place::Datagram { start, len } => bytes[start..start + len].to_vec(),
                Place::Stored(handle) => {
                    let message = self.peers[peer].connection().stored(handle).to_vec();
                    self.peers[peer].connection_mut().release(handle);
                    message
                }
            };
            self.heard[peer].push(message);
        }
    }

    /// Runs until `done` or for `limit`; whether it was done.
    fn run(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            self.transmit();
            for peer in 0..2 {
                while let Some(event) = self.peers[peer].poll_event() {
                    self.events[peer].push(event);
                }
            }
            if done(self) {
                return true;
            }
            let arrival = self.flight.iter().map(|flight| flight.0).min();
            let due = self.peers.iter().filter_map(Plain::deadline).min();
            let next = [arrival, due].into_iter().flatten().min().unwrap_or(end).max(self.now);
            if next >= end {
                self.now = end;
                return false;
            }
            // A deadline that does not move would be a timer that nobody serves.
            self.now = if next == self.now { self.now + MS / 10 } else { next };
            for peer in 0..2 {
                if self.peers[peer].deadline().is_some_and(|due| due <= self.now) {
                    self.peers[peer].handle_timeout(self.now, &mut self.rng);
                }
            }
            while let Some(at) = self.flight.iter().position(|flight| flight.0 <= self.now) {
                let (_, peer, bytes) = self.flight.remove(at);
                self.deliver(peer, bytes);
            }
        }
    }

    fn pause(&mut self, time: Duration) {
        self.run(time, |_| false);
    }

    fn one_session(&self) -> bool {
        let ids = |peer: &Plain| peer.live.as_ref().map(|live| (live.own, live.peer));
        matches!((ids(&self.peers[0]), ids(&self.peers[1])), (Some((a, b)), Some((c, d))) if (a, b) == (d, c))
    }

    fn initiators(&self) -> usize {
        self.peers.iter().filter_map(|peer| peer.live.as_ref()).filter(|live| live.initiated).count()
    }

    fn connected(seed: u64) -> Self {
        let mut net = Self::new(seed);
        net.connect(0);
        assert!(net.run(Duration::from_secs(1), Self::one_session));
        net.pause(Duration::from_millis(300));
        net
    }

    fn restart(&mut self, peer: usize) {
        self.peers[peer] = Plain::new(config()).unwrap();
    }

    fn closed(&self, peer: usize) -> Option<CloseReason> {
        self.peers[peer].closed()
    }
}

fn connected_once(events: &[Event]) -> bool {
    events == [Event::Connected { peer: None, handshake_hash: None }]
}

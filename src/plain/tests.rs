//! Two plain peers over a small seeded network with virtual time.

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

#[test]
fn one_side_dials_and_both_talk() {
    let mut net = Net::new(1);
    net.send(0, b"queued before the session");
    net.send(1, b"and at the other side");
    net.connect(0);
    assert!(net.run(Duration::from_secs(1), |net| !net.heard[0].is_empty() && !net.heard[1].is_empty()));
    assert_eq!(net.heard, [[b"and at the other side".to_vec()], [b"queued before the session".to_vec()]]);
    assert!(net.events.iter().all(|events| connected_once(events)), "{:?}", net.events);
    assert!(net.now - net.start <= Duration::from_millis(60), "no timer was needed");
}

#[test]
fn any_first_flight_may_be_lost() {
    for lost in 0..6 {
        let mut net = Net::new(2);
        net.connect(0);
        net.transmit();
        for step in 0..100 {
            if step == lost {
                net.flight.clear();
            }
            net.run(10 * MS, |_| false);
        }
        net.pause(Duration::from_secs(3));
        assert!(net.one_session(), "flight {lost} lost");
        assert!(net.events.iter().all(|events| connected_once(events)));
    }
}

#[test]
fn simultaneous_open_gives_one_session() {
    for seed in 0..300 {
        let mut net = Net::new(seed);
        net.delay = (0, net.rng.next_u32() % 201);
        net.loss = net.rng.next_u32() % 31;
        net.duplicate = 5;
        let gap = net.rng.next_u32() % 400;
        net.connect(0);
        net.pause(MS * gap);
        net.connect(1);
        let live = net.run(Duration::from_secs(12), Net::one_session);
        assert!(live, "seed {}: {:?} {:?}", net.seed, net.peers[0].live, net.peers[1].live);
        let message = net.send(0, b"hello");
        assert!(
            net.run(Duration::from_secs(20), |net| net.heard[1] == [b"hello"]),
            "seed {}: {message:?}",
            net.seed
        );
        assert!(net.one_session() && net.initiators() == 1, "seed {}", net.seed);
        for events in &net.events {
            assert!(connected_once(events), "seed {}: {events:?}", net.seed);
        }
    }
}

#[test]
fn answered_before_connect_then_dialled_gives_one_session() {
    for seed in 0..50 {
        let mut net = Net::new(seed);
        net.connect(0);
        // The answer to 0 is on its way, or the confirmation, when 1 dials too.
        net.run(MS * (10 + u32::try_from(seed).unwrap() % 25), |_| false);
        net.connect(1);
        assert!(net.run(Duration::from_secs(5), Net::one_session), "seed {seed}");
        net.pause(Duration::from_secs(10));
        assert!(net.one_session() && net.events.iter().all(|events| connected_once(events)), "seed {seed}");
    }
}

#[test]
fn a_restart_is_noticed_and_what_was_not_acknowledged_is_named() {
    for (dialler, restarted) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut net = Net::new(7);
        net.connect(dialler);
        assert!(net.run(Duration::from_secs(1), Net::one_session));
        net.pause(Duration::from_millis(500));
        let survivor = 1 - restarted;
        net.restart(restarted);
        if restarted == dialler {
            net.connect(dialler);
        }
        let lost = net.send(survivor, b"for the dead one");
        assert!(net.run(Duration::from_secs(10), Net::one_session), "{dialler} {restarted}");
        net.pause(Duration::from_secs(1));
        let again = Event::PeerReconnected { handshake_hash: None, undelivered: vec![lost] };
        assert_eq!(net.events[survivor].last(), Some(&again), "{dialler} {restarted}");
        assert!(net.heard[restarted].is_empty());
        net.send(survivor, b"for the living");
        assert!(net.run(Duration::from_secs(2), |net| net.heard[restarted] == [b"for the living"]));
    }
}

#[test]
fn datagrams_of_an_earlier_session_do_nothing() {
    let mut net = Net::connected(11);
    net.send(0, b"old one");
    net.send(1, b"old two");
    net.pause(Duration::from_secs(1));
    let old = std::mem::take(&mut net.sent);
    net.restart(0);
    net.connect(0);
    assert!(net.run(Duration::from_secs(5), Net::one_session));
    net.pause(Duration::from_secs(1));
    net.heard.iter_mut().for_each(Vec::clear);
    net.events.iter_mut().for_each(Vec::clear);
    for (from, bytes) in &old {
        net.deliver(1 - from, bytes.clone());
        net.deliver(*from, bytes.clone());
    }
    net.pause(Duration::from_secs(10));
    assert!(net.one_session());
    assert!(net.heard.iter().all(Vec::is_empty) && net.events.iter().all(Vec::is_empty));
    assert!(net.peers.iter().all(|peer| peer.drops().total() > 0));
}

#[test]
fn a_dead_incarnations_confirmation_is_replaced_by_the_living() {
    let mut net = Net::new(12);
    net.connect(0);
    // Hello there, answer back; the confirmation is held back while the peer restarts and dials again.
    net.run(20 * MS, |_| false);
    net.transmit();
    let held = std::mem::take(&mut net.flight);
    assert_eq!(held.len(), 1);
    net.restart(0);
    net.connect(0);
    net.run(15 * MS, |_| false);
    for (_, peer, bytes) in held {
        net.deliver(peer, bytes);
    }
    assert!(net.run(Duration::from_secs(10), Net::one_session));
    net.send(0, b"alive");
    assert!(net.run(Duration::from_secs(2), |net| net.heard[1] == [b"alive"]));
}

#[test]
fn nothing_is_delivered_twice() {
    let mut net = Net::connected(13);
    net.duplicate = 50;
    for n in 0..50_u8 {
        net.send(0, &[n]);
        net.pause(5 * MS);
    }
    net.pause(Duration::from_secs(2));
    let sent = net.sent.clone();
    for (from, bytes) in sent {
        net.deliver(1 - from, bytes);
    }
    let mut heard = net.heard[1].clone();
    heard.sort();
    assert_eq!(heard, (0..50).map(|n| vec![n]).collect::<Vec<_>>());
    assert!(net.peers[1].drops().duplicate > 0);
}

#[test]
fn a_flipped_bit_a_cut_or_a_stranger_changes_nothing() {
    let mut net = Net::connected(14);
    net.send(0, b"payload");
    net.transmit();
    let (_, peer, bytes) = net.flight.remove(0);
    let state = format!("{:?} {:?}", net.peers[peer].live, net.peers[peer].connection);
    for bit in 0..8 * bytes.len() {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        net.deliver(peer, changed);
    }
    for len in 0..bytes.len() {
        net.deliver(peer, bytes[..len].to_vec());
    }
    let mut stranger = Plain::new(Config { app_id: b"other".to_vec(), ..Config::default() }).unwrap();
    stranger.connect(net.now, &mut net.rng).unwrap();
    let mut out = vec![0; 1_200];
    let len = stranger.poll_transmit(net.now, &mut net.rng, &mut out);
    net.deliver(peer, out[..len].to_vec());
    assert_eq!(state, format!("{:?} {:?}", net.peers[peer].live, net.peers[peer].connection));
    assert_eq!(net.peers[peer].poll_transmit(net.now, &mut net.rng, &mut out), 0, "no answer");
    net.deliver(peer, bytes);
    assert_eq!(net.heard[peer], [b"payload"]);
}

#[test]
fn our_own_greeting_is_recognised() {
    let mut net = Net::new(15);
    net.connect(0);
    net.transmit();
    let (_, _, hello) = net.flight.remove(0);
    net.deliver(0, hello);
    assert_eq!(net.peers[0].drops().reflected, 1);
    net.transmit();
    assert!(net.flight.is_empty());
}

#[test]
fn close_reaches_the_peer_and_names_what_was_lost() {
    let mut net = Net::connected(16);
    net.blocked[1] = true;
    let lost = net.send(0, b"never acknowledged");
    net.peers[0].close(net.now, 77, b"bye");
    net.run(100 * MS, |_| false);
    let closed = |reason, undelivered| Some(Event::Closed { reason, undelivered });
    assert_eq!(net.events[0].last().cloned(), closed(CloseReason::ClosedHere, vec![lost]));
    assert_eq!(net.events[1].last().cloned(), closed(CloseReason::ClosedByPeer { code: 77 }, Vec::new()));
    assert_eq!(net.closed(0), Some(CloseReason::ClosedHere));
    let closes = net.sent.iter().rev().take(3).map(|(from, _)| *from).collect::<Vec<_>>();
    assert_eq!(closes, [0; 3]);
    // Nobody is there for a while; then the application begins anew.
    net.blocked[1] = false;
    net.connect(1);
    net.pause(Duration::from_secs(2));
    assert!(!net.peers[1].is_connected());
    net.connect(0);
    assert!(net.run(Duration::from_secs(5), Net::one_session));
}

#[test]
fn silence_ends_in_a_timeout_and_keep_alive_prevents_it() {
    let mut net = Net::connected(17);
    net.sent.clear();
    net.pause(Duration::from_secs(300));
    assert!(net.one_session());
    // A ping and its acknowledgement every 10 s.
    assert!((56..=60).contains(&net.sent.len()), "{} datagrams", net.sent.len());
    net.blocked = [true; 2];
    let from = net.now;
    assert!(net.run(Duration::from_secs(60), |net| net.closed(0).is_some()));
    assert_eq!(net.closed(0), Some(CloseReason::TimedOut));
    let after = net.now - from;
    assert!(Duration::from_secs(19) < after && after <= Duration::from_secs(30), "{after:?}");
}

#[test]
fn a_blackout_is_survived_in_the_same_session() {
    let mut net = Net::connected(18);
    net.send(0, b"before");
    net.pause(100 * MS);
    net.blocked = [true; 2];
    net.send(0, b"during");
    net.pause(Duration::from_secs(3));
    net.blocked = [false; 2];
    assert!(net.run(Duration::from_secs(10), |net| net.heard[1].len() == 2));
    net.pause(Duration::from_secs(10));
    assert!(net.one_session());
    assert_eq!(net.heard[1], [b"before", b"during"]);
    assert!(net.events.iter().all(|events| connected_once(events)), "{:?}", net.events);
}

#[test]
fn connect_gives_up_with_a_hint_only_where_there_is_one() {
    for (noise, ours, hint) in
        [(false, false, None), (true, false, Some(Hint::PeerSeemsSealed)), (true, true, None)]
    {
        let mut net = Net::new(19);
        net.blocked = [true; 2];
        let lost = net.send(0, b"waiting");
        net.connect(0);
        net.pause(Duration::from_secs(5));
        assert_eq!(net.closed(0), None);
        if noise {
            net.deliver(0, vec![0x5a; 1_200]);
        }
        if ours {
            net.connect(1);
            let mut out = vec![0; 1_200];
            let len = net.peers[1].poll_transmit(net.now, &mut net.rng, &mut out);
            net.deliver(0, out[..len].to_vec());
        }
        assert!(net.run(Duration::from_secs(26), |net| net.closed(0).is_some()));
        let reason = CloseReason::HandshakeTimeout(hint);
        assert_eq!(net.events[0], [Event::Closed { reason, undelivered: vec![lost] }]);
        assert_eq!(net.now - net.start, Duration::from_secs(30));
    }
}

#[test]
fn who_only_answers_can_be_reached_again_after_a_timeout() {
    let mut net = Net::connected(20);
    net.blocked = [true; 2];
    assert!(net.run(Duration::from_secs(60), |net| net.closed(1).is_some()));
    net.blocked = [false; 2];
    net.restart(0);
    net.connect(0);
    assert!(net.run(Duration::from_secs(5), Net::one_session));
    assert_eq!(net.closed(1), None);
}

#[test]
fn a_peer_that_breaks_the_protocol_is_closed_at_the_eighth_time() {
    let mut net = Net::connected(21);
    let live = net.peers[0].live.as_ref().unwrap();
    let (own, checksum) = (live.own, net.peers[0].checksum.clone());
    for n in 0..8_u8 {
        assert!(net.peers[0].is_connected());
        let mut bad = vec![0xff; HEADROOM + 4];
        checksum.seal(own, 1_000 + u64::from(n), &mut bad).unwrap();
        net.deliver(0, bad);
    }
    assert_eq!(net.closed(0), Some(CloseReason::ProtocolViolation));
    assert_eq!(net.peers[0].violations(), 8);
    assert!(net.run(Duration::from_secs(1), |net| net.closed(1).is_some()), "the peer is told");
}

#[test]
fn a_frame_of_sealed_sessions_is_malformed_in_a_plain_one() {
    let path = |kind: u8| [&[kind][..], &[7; 8]].concat();
    let new_cid = [&[0x0b, 0, 0][..], &[7; 8]].concat();
    for bad in [vec![0x04, 0, 0], path(0x09), path(0x0a), new_cid, vec![0x0c, 1, 7]] {
        let mut net = Net::connected(23);
        let live = net.peers[0].live.as_ref().unwrap();
        let (own, checksum) = (live.own, net.peers[0].checksum.clone());
        // A PING before it does not save the packet.
        let mut datagram = [&[0; HEADROOM][..], &[1], &bad].concat();
        checksum.seal(own, 1_000, &mut datagram).unwrap();
        net.deliver(0, datagram);
        assert_eq!(net.peers[0].violations(), 1, "{bad:x?}");
        assert!(net.peers[0].is_connected());
    }
}

#[test]
fn a_failing_generator_ends_the_dial_and_no_stranger_can_cause_it() {
    let mut broken = Environment::new(|| unreachable!(), Broken);
    let mut net = Net::connected(22);
    let mut alone = Plain::new(config()).unwrap();
    alone.connect(net.now, &mut broken).unwrap();
    assert_eq!(alone.closed(), Some(CloseReason::Entropy));
    let mut stranger = Plain::new(config()).unwrap();
    stranger.connect(net.now, &mut net.rng).unwrap();
    let mut hello = vec![0; 1_200];
    let len = stranger.poll_transmit(net.now, &mut net.rng, &mut hello);
    net.peers[0].handle_datagram(net.now, &mut broken, &mut hello[..len]);
    assert!(net.peers[0].is_connected());
    assert_eq!(net.peers[0].drops().handshake, 1);
}

struct Broken;

impl rand_core::TryRng for Broken {
    type Error = crate::crypto::EntropyError;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Err(crate::crypto::EntropyError)
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Err(crate::crypto::EntropyError)
    }
    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Self::Error> {
        Err(crate::crypto::EntropyError)
    }
}

impl TryCryptoRng for Broken {}

#[test]
fn a_hole_does_not_cost_a_session_that_both_ends_still_have() {
    for step in 0..60 {
        let mut net = Net::connected(30);
        for peer in 0..2 {
            net.connect(peer);
        }
        net.run(MS * 2_000, |_| false);
        net.events.iter_mut().for_each(Vec::clear);
        net.blocked = [true; 2];
        net.send(0, b"owed");
        net.run(MS * (900 + 37 * step), |_| false);
        net.blocked = [false; 2];
        assert!(
            net.run(MS * 12_000, |net| net.heard[1].ends_with(&[b"owed".to_vec()])),
            "{step}: it arrived"
        );
        net.run(MS * 8_000, |_| false);
        assert!(net.events.iter().all(Vec::is_empty), "{step}: nothing was replaced: {:?}", net.events);
    }
}

//! Several flows through one narrow queue, as whole endpoints: how they share it, and how long it gets.

mod common;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::{End, plain_end};
use sealgram::sim::{Jitter, Link, Net, Socket};
use sealgram::{Config, Guarantee, Plain};

/// Bytes per second.
const MEGABIT: u64 = 125_000;
const QUEUE: u64 = 64 << 10;
const TICK: Duration = Duration::from_micros(16_667);
/// What a datagram of the other kind of sender weighs.
const SEGMENT: usize = 1_200;

fn address(host: u8) -> SocketAddr {
    ([10, 0, 0, host], 4_000).into()
}

/// One session that sends all it can, and 100 bytes at 60 Hz.
struct Bulk {
    ends: [End<Plain>; 2],
    begins: Duration,
    tick: Option<Instant>,
    /// When each `Delivery` of so many bytes came, and the delays of the positions, since the network began.
    heard: Vec<(Duration, usize)>,
    delays: Vec<(Duration, Duration)>,
}

impl Bulk {
    fn new(net: &Net, host: u8, begins: Duration) -> Self {
        let (from, to) = (address(host), address(host + 1));
        let config = Config::default();
        let mut ends = [plain_end(net, from, to, &config), plain_end(net, to, from, &config)];
        ends[0].endpoint.connect().unwrap();
        Self { ends, begins, tick: None, heard: Vec::new(), delays: Vec::new() }
    }

    fn step(&mut self, net: &Net) -> Option<Instant> {
        let (now, elapsed) = (net.now(), net.elapsed());
        if elapsed >= self.begins && self.tick.is_none_or(|tick| tick <= now) {
            let mut position = [1; 100];
            position[..8].copy_from_slice(&u64::try_from(elapsed.as_nanos()).unwrap().to_le_bytes());
            let sender = &mut self.ends[0].endpoint;
            sender.send_payload(Guarantee::None, &position).unwrap();
            while sender.queued_bytes() < 256 << 10 {
                sender.send_payload(Guarantee::Delivery, &[7; 20_000]).unwrap();
            }
            sender.flush().unwrap();
            self.tick = Some(self.tick.unwrap_or(now) + TICK);
        }
        let deadlines = self.ends.each_mut().map(End::step);
        for (guarantee, bytes) in self.ends[1].heard.drain(..) {
            if guarantee == Guarantee::None {
                let sent = Duration::from_nanos(u64::from_le_bytes(bytes[..8].try_into().unwrap()));
                self.delays.push((sent, elapsed - sent));
            } else {
                self.heard.push((elapsed, bytes.len()));
            }
        }
        let start = (elapsed < self.begins).then(|| now + (self.begins - elapsed));
        deadlines.into_iter().chain([self.tick, start]).flatten().min()
    }

    /// Bytes per second of messages between two times, in seconds.
    fn rate(&self, from: u64, to: u64) -> f64 {
        let span = Duration::from_secs(from)..Duration::from_secs(to);
        let bytes: usize = self.heard.iter().filter(|(at, _)| span.contains(at)).map(|(_, len)| len).sum();
        bytes as f64 / (to - from) as f64
    }

    /// The positions' delay beyond the path's that so many of a thousand stay within, in milliseconds.
    fn delay(&self, (from, to): (u64, u64), permille: usize) -> f64 {
        let span = Duration::from_secs(from)..Duration::from_secs(to);
        let within = self.delays.iter().filter(|(at, _)| span.contains(at));
        let mut delays: Vec<f64> = within.map(|(_, delay)| delay.as_secs_f64() * 1e3 - 25.0).collect();
        delays.sort_by(f64::total_cmp);
        delays[(delays.len() - 1) * permille / 1_000]
    }
}

/// NewReno (RFC 5681, 6582) as far as the window goes: yields to loss alone, and so fills any queue.
struct Reno {
    sockets: [Socket; 2],
    span: (Duration, Duration),
    window: f64,
    threshold: f64,
    recover: u64,
    next: u64,
    /// Numbers on their way, and when the oldest may be given up.
    out: VecDeque<u64>,
    last_heard: Instant,
    delivered: Vec<Duration>,
}

impl Reno {
    fn new(net: &Net, host: u8, span: (u64, u64)) -> Self {
        let sockets = [net.socket(address(host)), net.socket(address(host + 1))];
        let span = (Duration::from_secs(span.0), Duration::from_secs(span.1));
        let (out, delivered) = (VecDeque::new(), Vec::new());
        let last_heard = net.now();
        let (window, threshold) = (10.0, f64::MAX);
        Self { sockets, span, window, threshold, recover: 0, next: 0, out, last_heard, delivered }
    }

    fn step(&mut self, net: &Net, to: SocketAddr) -> Option<Instant> {
        let (now, elapsed) = (net.now(), net.elapsed());
        let mut buffer = [0; 2_048];
        while let Ok((_, from)) = self.sockets[1].recv_from(&mut buffer) {
            self.delivered.push(elapsed);
            self.sockets[1].send_to(&buffer[..8], from).unwrap();
        }
        while self.sockets[0].recv_from(&mut buffer).is_ok() {
            self.last_heard = now;
            let number = u64::from_le_bytes(buffer[..8].try_into().unwrap());
            self.out.retain(|&out| out != number);
            let before = self.out.len();
            self.out.retain(|&out| out + 3 > number);
            if self.out.len() < before && number >= self.recover {
                self.threshold = (self.window / 2.0).max(2.0);
                self.window = self.threshold;
                self.recover = self.next;
            } else if self.window < self.threshold {
                self.window += 1.0;
            } else {
                self.window += 1.0 / self.window;
            }
        }
        if elapsed < self.span.0 {
            return Some(now + (self.span.0 - elapsed));
        }
        if elapsed >= self.span.1 {
            return None;
        }
        if !self.out.is_empty() && now >= self.last_heard + Duration::from_secs(1) {
            // A timeout: everything is lost.
            (self.window, self.recover) = (1.0, self.next);
            self.out.clear();
            self.last_heard = now;
        }
        while (self.out.len() as f64) < self.window.floor() {
            let mut segment = [0; SEGMENT];
            segment[..8].copy_from_slice(&self.next.to_le_bytes());
            self.sockets[0].send_to(&segment, to).unwrap();
            self.out.push_back(self.next);
            self.next += 1;
        }
        Some(self.last_heard + Duration::from_secs(1))
    }

    fn rate(&self, from: u64, to: u64) -> f64 {
        let span = Duration::from_secs(from)..Duration::from_secs(to);
        (self.delivered.iter().filter(|at| span.contains(at)).count() * SEGMENT) as f64 / (to - from) as f64
    }
}

/// Flows through one bottleneck of 1 Mbit/s with room for 64 KiB.
struct World {
    net: Net,
    bulks: Vec<Bulk>,
    reno: Option<Reno>,
}

impl World {
    /// Sessions that begin at these times in milliseconds, and perhaps the other kind, from and to a time in seconds.
    fn new(seed: u64, round_trip_ms: u64, begin: &[u64], reno: Option<(u64, u64)>) -> Self {
        let net = Net::seed(seed);
        let mut link = Link::default();
        link.delay = Duration::from_micros(round_trip_ms * 500);
        link.jitter = Jitter::Uniform(Duration::from_millis(2) * u32::try_from(seed - 1).unwrap());
        net.set_default(link);
        let host = |at: usize| u8::try_from(at * 2 + 1).unwrap();
        let flows = begin.len() + usize::from(reno.is_some());
        let pairs: Vec<_> = (0..flows).map(|at| (address(host(at)), address(host(at) + 1))).collect();
        net.share_bottleneck(MEGABIT, QUEUE, &pairs);
        let bulk = |(at, &ms)| Bulk::new(&net, host(at), Duration::from_millis(ms));
        let bulks = begin.iter().enumerate().map(bulk).collect();
        let reno = reno.map(|span| Reno::new(&net, host(begin.len()), span));
        Self { net, bulks, reno }
    }

    fn run(&mut self, seconds: u64) {
        let end = Duration::from_secs(seconds);
        let to = address(u8::try_from(self.bulks.len() * 2 + 2).unwrap());
        while self.net.elapsed() < end {
            let mut next = self.net.now() + (end - self.net.elapsed());
            for bulk in &mut self.bulks {
                next = bulk.step(&self.net).map_or(next, |at| next.min(at));
            }
            if let Some(reno) = &mut self.reno {
                next = reno.step(&self.net, to).map_or(next, |at| next.min(at));
            }
            self.net.advance_to_next_or(next.max(self.net.now() + Duration::from_micros(100)));
        }
    }
}

/// Seeds, which bring jitter from 2 on, and round trips in milliseconds.
const PATHS: [(u64, u64); 5] = [(1, 50), (2, 50), (3, 50), (2, 20), (3, 150)];

#[test]
fn two_sessions_share_a_queue_and_keep_it_short() {
    for (seed, rtt) in PATHS {
        for later in [0, 3_000, 20_000] {
            let mut world = World::new(seed, rtt, &[200, 200 + later], None);
            world.run(50);
            let from = later / 1_000 + 11;
            let [a, b] = [0, 1].map(|at: usize| world.bulks[at].rate(from, 50));
            let [p50, p99, most] =
                [500, 990, 1_000].map(|permille| world.bulks[0].delay((from, 50), permille));
            let name = format!("seed {seed}, {rtt} ms, {later} ms later");
            println!("{name}: {a:.0} and {b:.0} B/s, queue p50 {p50:.0}, p99 {p99:.0}, max {most:.0} ms");
            assert!(a < 2.0 * b && b < 2.0 * a, "{name}: {a} {b}");
            assert!(a + b > 0.8 * MEGABIT as f64, "{name}: {a} {b}");
            // Where somebody seemed to fill the queue it would be 520 ms long.
            assert!(p50 < 130.0 && most < 300.0, "{name}: {p50} {most}");
        }
    }
}

#[test]
fn a_session_and_a_flow_that_fills_the_queue_each_keep_a_quarter() {
    for (seed, rtt) in PATHS {
        for (ours, other) in [(200, 5), (5_000, 0), (200, 0)] {
            let mut world = World::new(seed, rtt, &[ours], Some((other, 70)));
            world.run(125);
            let (a, b) = (world.bulks[0].rate(10, 70), world.reno.as_ref().unwrap().rate(10, 70));
            let (after, queue) = (world.bulks[0].rate(105, 125), world.bulks[0].delay((105, 125), 990));
            let name = format!("seed {seed}, {rtt} ms, from {ours} ms and {other} s on");
            println!("{name}: {a:.0} and {b:.0} B/s, {after:.0} and {queue:.0} ms when it has gone");
            let quarter = MEGABIT as f64 / 4.0;
            assert!(a > if rtt > 100 { quarter * 0.8 } else { quarter }, "{name}: {a}");
            assert!(b > quarter, "{name}: {b}");
            assert!(after > 0.75 * MEGABIT as f64, "{name}: {after}");
            // Whoever still thinks that somebody else fills the queue makes it 520 ms long.
            assert!(queue < 200.0, "{name}: {queue} ms");
            let soon = world.bulks[0].delay((88, 105), 990);
            assert!(soon < 200.0, "{name}: {soon} ms from 18 s on after it went");
        }
    }
}

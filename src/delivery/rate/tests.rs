//! The controller against an abstract bottleneck, in virtual time.
#![expect(
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::type_complexity,
    reason = "any instant serves as the origin; virtual times and sizes are small"
)]

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

use super::{Progress, RateControl};
use crate::config::{Config, Rate};

const MS: u64 = 1_000_000;
const SIZE: u64 = 1_228;

/// Who sends.
enum Sender {
    Ours(RateControl),
    /// NewReno as everybody's TCP: window in packets, threshold, end of recovery.
    Reno {
        window: f64,
        threshold: f64,
        recover: u64,
    },
    /// 60 datagrams of 170 bytes a second; does not yield.
    Ticks,
}

struct Flow {
    sender: Sender,
    starts: u64,
    ends: u64,
    next: u64,
    flight: u64,
    /// Highest number acknowledged, and those below it still out.
    out: VecDeque<(u64, u64)>,
    smoothed: u64,
    delivered: Vec<(u64, u64)>,
    delays: Vec<u64>,
}

/// A queue in front of a link of some rate, then a delay; acknowledgements come back unharmed.
struct Bottleneck {
    rate: u64,
    queue: u64,
    one_way: u64,
    loss: f64,
    free_at: u64,
    random: u64,
}

impl Bottleneck {
    fn chance(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// When the packet arrives.
    fn pass(&mut self, now: u64, bytes: u64) -> Option<u64> {
        let start = self.free_at.max(now);
        if start > now && (start - now) * self.rate / 1_000_000_000 + bytes > self.queue {
            return None;
        }
        self.free_at = start + bytes * 1_000_000_000 / self.rate;
        (self.chance() >= self.loss).then_some(self.free_at + self.one_way)
    }
}

impl Flow {
    fn ours(starts: u64) -> Self {
        Self::new(
            Sender::Ours(RateControl::new(&Config { rate: Rate::Adaptive, ..Config::default() })),
            starts,
        )
    }

    fn reno(starts: u64) -> Self {
        Self::new(Sender::Reno { window: 10.0, threshold: f64::MAX, recover: 0 }, starts)
    }

    fn new(sender: Sender, starts: u64) -> Self {
        let smoothed = 100 * MS;
        let (out, delivered, delays) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { sender, starts, ends: u64::MAX, next: 0, flight: 0, out, smoothed, delivered, delays }
    }

    /// Bytes per second that arrived between two moments.
    fn rate(&self, from: u64, to: u64) -> f64 {
        let bytes: u64 =
            self.delivered.iter().filter(|&&(at, _)| (from..to).contains(&at)).map(|&(_, b)| b).sum();
        bytes as f64 * 1e9 / (to - from) as f64
    }

    fn delay(&mut self, permille: usize) -> u64 {
        self.delays.sort_unstable();
        self.delays[(self.delays.len() - 1) * permille / 1_000]
    }
}

struct World {
    origin: Instant,
    now: u64,
    link: Bottleneck,
    flows: Vec<Flow>,
    /// (when, which flow, number or none for a wake-up, bytes).
    events: BinaryHeap<Reverse<(u64, usize, Option<u64>, u64)>>,
}

impl World {
    fn new(rate: u64, queue: u64, rtt_ms: u64, loss: f64, flows: Vec<Flow>) -> Self {
        let link =
            Bottleneck { rate, queue, one_way: rtt_ms * MS / 2, loss, free_at: 0, random: 0x9e37_79b9 };
        let events = flows.iter().enumerate().map(|(at, flow)| Reverse((flow.starts, at, None, 0))).collect();
        Self { origin: Instant::now(), now: 0, link, flows, events }
    }

    fn at(&self, nanos: u64) -> Instant {
        self.origin + Duration::from_nanos(nanos)
    }

    fn put(&mut self, which: usize, bytes: u64, one_way: u64) {
        let flow = &mut self.flows[which];
        let number = flow.next;
        flow.next += 1;
        flow.flight += bytes;
        flow.out.push_back((number, self.now));
        if let Some(arrives) = self.link.pass(self.now, bytes) {
            self.events.push(Reverse((arrives + one_way, which, Some(number), bytes)));
        }
    }

    fn send(&mut self, which: usize) {
        let one_way = self.link.one_way;
        let now = self.at(self.now);
        loop {
            let flow = &mut self.flows[which];
            if self.now >= flow.ends {
                return;
            }
            let smoothed = Duration::from_nanos(flow.smoothed);
            match &mut flow.sender {
                Sender::Ours(rate) => {
                    if !rate.may_send(now, flow.flight as usize, true, (Duration::ZERO, smoothed)) {
                        if let Some(wake) = rate.wake() {
                            let wake = (wake - self.origin).as_nanos() as u64;
                            self.events.push(Reverse((wake.max(self.now + 1_000), which, None, 0)));
                        }
                        return;
                    }
                    rate.on_sent(now, SIZE as usize, smoothed);
                    self.put(which, SIZE, one_way);
                }
                Sender::Reno { window, .. } => {
                    if flow.flight as f64 + SIZE as f64 > *window * SIZE as f64 {
                        return;
                    }
                    self.put(which, SIZE, one_way);
                }
                Sender::Ticks => {
                    self.put(which, 170, one_way);
                    self.events.push(Reverse((self.now + 1_000 * MS / 60, which, None, 0)));
                    return;
                }
            }
        }
    }

    fn acked(&mut self, which: usize, number: u64, bytes: u64) {
        let now = self.at(self.now);
        let one_way = self.link.one_way;
        let flow = &mut self.flows[which];
        let Some(found) = flow.out.iter().position(|&(out, _)| out == number) else { return };
        let sent = flow.out[found].1;
        let sample = self.now - sent;
        flow.delivered.push((self.now - one_way, bytes));
        flow.delays.push(sample - one_way);
        flow.smoothed = if flow.delivered.len() == 1 { sample } else { (flow.smoothed * 7 + sample) / 8 };
        flow.flight -= bytes;
        flow.out.remove(found);
        // Three later ones make a loss; tails do not matter in bulk.
        let mut lost = 0;
        while flow.out.front().is_some_and(|&(out, _)| out + 3 <= number) {
            flow.out.pop_front();
            flow.flight = flow.flight.saturating_sub(bytes);
            lost += 1;
        }
        let (smoothed, flight) = (Duration::from_nanos(flow.smoothed), flow.flight as usize);
        match &mut flow.sender {
            Sender::Ours(rate) => {
                let sample = Duration::from_nanos(sample);
                let news = Progress {
                    acked_bytes: bytes as usize,
                    acked_packets: 1,
                    lost_packets: lost,
                    sample: Some((sample, sample)),
                    ..Progress::default()
                };
                rate.on_progress(now, &news, smoothed, flight);
            }
            Sender::Reno { window, threshold, recover } => {
                if lost > 0 && number >= *recover {
                    *threshold = (*window / 2.0).max(2.0);
                    *window = *threshold;
                    *recover = flow.next;
                } else if *window < *threshold {
                    *window += 1.0;
                } else {
                    *window += 1.0 / *window;
                }
            }
            Sender::Ticks => {}
        }
    }

    fn run(&mut self, seconds: u64) {
        while let Some(&Reverse((at, which, number, bytes))) = self.events.peek() {
            if at > seconds * 1_000 * MS {
                break;
            }
            self.events.pop();
            self.now = at;
            if let Some(number) = number {
                self.acked(which, number, bytes);
                if matches!(self.flows[which].sender, Sender::Ticks) {
                    continue;
                }
            }
            self.send(which);
        }
    }

    fn rate(&self, which: usize, from: u64, to: u64) -> f64 {
        self.flows[which].rate(from * 1_000 * MS, to * 1_000 * MS)
    }
}

const MEGABIT: u64 = 125_000;

/// Milliseconds beyond the path's delay.
fn queued(world: &mut World, which: usize, permille: usize) -> u64 {
    (world.flows[which].delay(permille) - world.link.one_way) / MS
}

#[test]
fn a_bottleneck_is_used_and_its_queue_stays_short() {
    let paths = [
        (MEGABIT, 50, 80, 60),
        (MEGABIT, 200, 40, 300),
        (20 * MEGABIT, 20, 20, 40),
        (4 * MEGABIT, 100, 30, 60),
    ];
    for (rate, rtt, seconds, most) in paths {
        let flows = vec![Flow::ours(0), Flow::new(Sender::Ticks, 0)];
        let mut world = World::new(rate, 65_536.max(rate / 4), rtt, 0.0, flows);
        world.run(seconds);
        let used = world.rate(0, 2, seconds) + world.rate(1, 2, seconds);
        let p99 = queued(&mut world, 1, 990);
        assert!(used > 0.9 * rate as f64, "{rate} B/s, {rtt} ms: {used}");
        assert!(p99 < most, "{rate} B/s, {rtt} ms: p99 {p99}");
    }
}

#[test]
fn the_start_does_not_fill_a_long_queue() {
    let mut world = World::new(MEGABIT, 65_536, 50, 0.0, vec![Flow::ours(0)]);
    world.run(3);
    let worst = queued(&mut world, 0, 1_000);
    assert!(worst < 250, "{worst} ms of 524");
}

#[test]
fn two_sessions_share_within_two_to_one() {
    for second in [0, 3_000 * MS, 20_000 * MS] {
        for rtt in [20, 50, 150] {
            let flows = vec![Flow::ours(0), Flow::ours(second), Flow::new(Sender::Ticks, 0)];
            let mut world = World::new(MEGABIT, 65_536, rtt, 0.0, flows);
            world.run(60);
            let from = second / 1_000 / MS + 10;
            let (a, b) = (world.rate(0, from, 60), world.rate(1, from, 60));
            assert!(a < 2.0 * b && b < 2.0 * a, "{second} {rtt}: {a} {b}");
            assert!(a + b > 0.8 * MEGABIT as f64, "{second} {rtt}: {a} {b}");
        }
    }
}

#[test]
fn a_session_and_a_reno_flow_each_keep_a_quarter() {
    for (first, second) in [(0, 5_000 * MS), (5_000 * MS, 0), (0, 0)] {
        for rtt in [20, 50, 150] {
            let mut reno = Flow::reno(second);
            reno.ends = 80_000 * MS;
            let flows = vec![Flow::ours(first), reno, Flow::new(Sender::Ticks, 0)];
            let mut world = World::new(MEGABIT, 65_536, rtt, 0.0, flows);
            world.run(140);
            let (ours, reno) = (world.rate(0, 10, 80), world.rate(1, 10, 80));
            let quarter = 0.25 * MEGABIT as f64;
            assert!(ours > quarter && reno > quarter, "{first} {second} {rtt}: {ours} {reno}");
            // When it has gone, the link is ours again.
            assert!(world.rate(0, 120, 140) > 0.8 * MEGABIT as f64, "{first} {second} {rtt}");
        }
    }
}

#[test]
fn loss_on_the_air_does_not_collapse_the_rate() {
    for (loss, least) in [(0.01, 0.8), (0.05, 0.8), (0.1, 0.6)] {
        let flows = vec![Flow::ours(0), Flow::new(Sender::Ticks, 0)];
        let mut world = World::new(MEGABIT, 65_536, 50, loss, flows);
        world.run(60);
        let rate = world.rate(0, 5, 60);
        assert!(rate > least * MEGABIT as f64, "{loss}: {rate}");
    }
}

/// What a rest leaves of it.
fn rested(rate: &mut RateControl, config: &Config) -> RateControl {
    rate.rest().wake(config)
}

#[test]
fn a_fixed_rate_is_kept_however_often_the_session_rests() {
    for asked in [1_000, 2_000, 10_000_u64] {
        let config = Config { rate: Rate::Fixed(asked), ..Config::default() };
        let (mut rate, start) = (RateControl::new(&config), Instant::now());
        let (mut sent, seconds) = (0, 600);
        for second in (0..=seconds).step_by(6) {
            let now = start + Duration::from_secs(second);
            while rate.may_send(now, 0, true, (Duration::ZERO, Duration::from_millis(50))) {
                rate.on_sent(now, 500, Duration::from_millis(50));
                sent += 500;
            }
            rate = rested(&mut rate, &config);
        }
        // The burst at the start, and the datagram with which it ends.
        let most = asked * seconds + 12_000 + 500;
        assert!(sent <= most, "{asked} B/s: {sent} bytes of {most}");
        assert!(sent >= (asked * 6).min(12_000) * seconds / 6, "{asked} B/s: {sent} bytes");
    }
}

#[test]
fn the_least_round_trip_ages_while_a_session_rests() {
    let (config, start) = (Config::default(), Instant::now());
    let mut rate = RateControl::new(&config);
    let ms = Duration::from_millis;
    // A path that became longer, seen by a keep-alive now and then.
    for (second, round_trip, least) in [(0, 20, 20), (15, 200, 20), (30, 200, 20), (45, 200, 200)] {
        let sample = Some((ms(round_trip), ms(round_trip)));
        let news = Progress { acked_packets: 1, acked_bytes: 60, sample, ..Progress::default() };
        rate.on_progress(start + Duration::from_secs(second), &news, ms(round_trip), 0);
        let super::Kept::Fresh(fresh) = rate.rest() else { panic!("a queue was met") };
        assert_eq!(fresh.base().unwrap().0, ms(least), "after {second} s");
        rate = super::Kept::Fresh(fresh).wake(&config);
    }
}

//! The measuring rig: one flow of reliable messages at a steady pace, one way, between two whole endpoints in virtual
//! time. The caller loops like a game with a poll: at its ticks, at arrivals and at the endpoints' deadlines. Uses the
//! public interface alone.
#![allow(dead_code, reason = "each user takes its part")]

use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use rand_core::TryRng;
use sealgram::sim::{Burst, Connected, Jitter, Link, Net, Rng};
use sealgram::{
    Config, Credentials, Endpoint, Environment, Guarantee, Sealed, SecretKey, SendOptions, Stats,
};

/// IPv4 and UDP headers, bytes.
const HEADERS: u64 = 28;
/// Time before the first measured message, so that estimates have settled.
const WARM_UP: u32 = 120;

/// What is sent over what.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) seed: u64,
    /// Both directions.
    pub(crate) link: Link,
    /// The way back, if it is another.
    pub(crate) back: Option<Link>,
    pub(crate) messages: u32,
    pub(crate) bytes: usize,
    pub(crate) per_second: u32,
    pub(crate) config: Config,
    /// How each message is sent.
    pub(crate) options: SendOptions,
    /// When both directions are dark, in time since the first message.
    pub(crate) holes: Vec<Range<Duration>>,
}

impl Flow {
    /// 100 bytes at 60 Hz over 25 ms with 5 ms of even jitter and this much independent loss.
    pub(crate) fn new(seed: u64, loss: f64) -> Self {
        let delay = Duration::from_millis(25);
        let jitter = Jitter::Uniform(Duration::from_millis(5));
        let mut link = Link::default();
        (link.loss, link.delay, link.jitter, link.overtake) = (loss, delay, jitter, true);
        Self {
            seed,
            link,
            back: None,
            messages: 36_000,
            bytes: 100,
            per_second: 60,
            config: Config::default(),
            options: SendOptions::new(Guarantee::Delivery),
            holes: Vec::new(),
        }
    }

    /// The same with loss in bursts of so many ticks on average, in time, which is `loss` in the long run.
    /// `in_bursts` is the share that a burst takes.
    pub(crate) fn bursts(seed: u64, loss: f64, ticks: f64, in_bursts: f64) -> Self {
        let mut flow = Self::new(seed, 0.0);
        let (bad, share) = (Duration::from_secs_f64(ticks / 60.0), loss / in_bursts);
        flow.link.burst = Some(Burst { good: bad.mul_f64((1.0 - share) / share), bad, loss: in_bursts });
        flow
    }
}

impl Flow {
    /// The same with bursts that last for whole ticks, as a chain that takes one step a tick makes them: both directions
    /// are dark together, and everything is lost then.
    pub(crate) fn slots(seed: u64, loss: f64, ticks: f64, messages: u32) -> Self {
        let mut flow = Self::new(seed, 0.0);
        flow.messages = messages;
        let mut rng = Rng::seed(seed);
        let mut chance = || {
            let mut bytes = [0; 4];
            rng.try_fill_bytes(&mut bytes).unwrap();
            f64::from(u32::from_le_bytes(bytes)) / 2_f64.powi(32)
        };
        let (tick, mut bad) = (Duration::from_secs(1) / 60, chance() < loss);
        for at in 0..messages + WARM_UP + 1_800 {
            if bad {
                flow.link.blackouts.push(tick * at..tick * (at + 1));
            }
            let changes = if bad { 1.0 / ticks } else { loss / (1.0 - loss) / ticks };
            bad ^= chance() < changes;
        }
        flow
    }
}

/// What came of a flow.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// From sending to yielding, by message; `None` if it never came.
    pub(crate) delays: Vec<Option<Duration>>,
    /// The same, of those that came, in order of size.
    sorted: Vec<Duration>,
    /// When each was sent, since the first.
    pub(crate) sent_at: Vec<Duration>,
    /// Bytes of all datagrams of both directions with headers, by byte of message.
    pub(crate) wire_per_payload: f64,
    pub(crate) datagrams: [u64; 2],
    pub(crate) sender: Stats,
    pub(crate) receiver: Stats,
}

impl Outcome {
    /// The delay that this share of the messages stayed within, in milliseconds.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        percentile(&self.sorted, share)
    }

    pub(crate) fn share(&self, count: u64) -> f64 {
        count as f64 / self.delays.len() as f64
    }

    pub(crate) fn print(&self, name: &str) {
        let ms = |share| self.percentile(share);
        println!(
            "{name:<24} p50 {:6.1}  p99 {:6.1}  p99.9 {:6.1}  max {:7.1} ms  wire {:5.2}  datagrams {:?}  \
             resends {:5.1} %  spurious {:5.2} %  duplicates {:5.1} %  delivered {}/{}",
            ms(0.5),
            ms(0.99),
            ms(0.999),
            ms(1.0),
            self.wire_per_payload,
            self.datagrams,
            self.share(self.sender.resends) * 100.0,
            self.share(self.sender.spurious_resends) * 100.0,
            self.share(self.receiver.duplicate_messages) * 100.0,
            self.sorted.len(),
            self.delays.len(),
        );
    }
}

type End = Endpoint<Connected, Sealed>;

fn ends(net: &Net, config: &Config, seed: u64, at: [SocketAddr; 2]) -> [End; 2] {
    let mut rng = Rng::seed(seed);
    let keys = [(); 2].map(|()| {
        let mut bytes = [0; 32];
        rng.try_fill_bytes(&mut bytes).unwrap();
        SecretKey::from_bytes(bytes)
    });
    let end = |own: usize| {
        let credentials = Credentials::paired(&keys[own], keys[1 - own].public_key()).unwrap();
        let clock = net.clone();
        let environment = Environment::new(move || clock.now(), net.rng(at[own]));
        let socket = net.socket(at[own]).connect(at[1 - own]);
        Endpoint::with_environment(socket, credentials, config.clone(), environment).unwrap()
    };
    [end(0), end(1)]
}

/// Reads everything and runs what is due.
fn step(end: &mut End, mut heard: impl FnMut(&[u8])) -> Option<Instant> {
    while let Some(message) = end.recv().unwrap() {
        heard(&message);
    }
    end.maintain().unwrap()
}

/// A flow under way.
struct Run<'f> {
    flow: &'f Flow,
    net: Net,
    at: [SocketAddr; 2],
    ends: [End; 2],
    began: Instant,
    sent: Vec<Instant>,
    arrived: Vec<Option<Instant>>,
    /// What was counted when the first measured message left.
    base: Option<Counted>,
}

struct Counted {
    sender: Stats,
    receiver: Stats,
    datagrams: [u64; 2],
    bytes: u64,
}

impl<'f> Run<'f> {
    /// Two ends with a session. The handshake is somebody else's measurement: it meets no loss.
    fn begin(flow: &'f Flow) -> Self {
        let net = Net::seed(flow.seed);
        let at: [SocketAddr; 2] = [([10, 0, 0, 1], 4_000).into(), ([10, 0, 0, 2], 4_000).into()];
        let mut ends = ends(&net, &flow.config, flow.seed, at);
        let mut calm = flow.link.clone();
        (calm.loss, calm.burst, calm.blackouts) = (0.0, None, Vec::new());
        net.set_links(at[0], at[1], calm);
        ends[0].connect().unwrap();
        while !ends.iter().all(Endpoint::is_connected) {
            let deadlines = ends.each_mut().map(|end| step(end, |_| ()));
            let soon = net.now() + Duration::from_micros(100);
            let next = deadlines.into_iter().flatten().min().map_or(soon, |next| next.max(soon));
            net.advance_to_next_or(next);
        }
        net.set_links(at[0], at[1], flow.link.clone());
        if let Some(back) = &flow.back {
            net.set_link(at[1], at[0], back.clone());
        }
        let began = net.now();
        Self { flow, net, at, ends, began, sent: Vec::new(), arrived: Vec::new(), base: None }
    }

    fn total(&self) -> u32 {
        self.flow.messages + WARM_UP
    }

    fn tick_at(&self, tick: u32) -> Instant {
        self.began + Duration::from_secs(1) / self.flow.per_second * tick
    }

    fn count(&self) -> Counted {
        let counts = [self.net.counts(self.at[0], self.at[1]), self.net.counts(self.at[1], self.at[0])];
        Counted {
            sender: self.ends[0].stats(),
            receiver: self.ends[1].stats(),
            datagrams: counts.map(|count| count.sent),
            bytes: counts.iter().map(|count| count.bytes + count.sent * HEADERS).sum(),
        }
    }

    /// Sends what is due; when the next one is.
    fn send(&mut self) -> Option<Instant> {
        let now = self.net.now();
        loop {
            let number = u32::try_from(self.sent.len()).unwrap();
            if number >= self.total() {
                return None;
            }
            if self.tick_at(number) > now {
                return Some(self.tick_at(number));
            }
            if number == WARM_UP {
                self.base = Some(self.count());
            }
            let mut bytes = vec![0; self.flow.bytes];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            self.ends[0].send_payload(self.flow.options, &bytes).unwrap();
            self.sent.push(now);
        }
    }

    /// Lets holes begin and end; when the next one does.
    fn darken(&self) -> Option<Instant> {
        let (now, first) = (self.net.now(), self.tick_at(WARM_UP));
        let holes = self.flow.holes.iter().map(|hole| first + hole.start..first + hole.end);
        let dark = holes.clone().any(|hole| hole.contains(&now));
        for (from, to) in [(self.at[0], self.at[1]), (self.at[1], self.at[0])] {
            if dark { self.net.block(from, to) } else { self.net.unblock(from, to) }
        }
        holes.flat_map(|hole| [hole.start, hole.end]).filter(|&edge| edge > now).min()
    }

    fn round(&mut self, end: Instant) {
        let (edge, tick) = (self.darken(), self.send());
        let now = self.net.now();
        let Self { ends: [a, b], arrived, flow, .. } = self;
        let heard = |bytes: &[u8]| {
            let number = u32::from_le_bytes(bytes[..4].try_into().unwrap());
            assert_eq!(number as usize, arrived.len(), "in order and once, seed {}", flow.seed);
            arrived.push(Some(now));
        };
        let deadlines = [step(a, |_| ()), step(b, heard)];
        let next = deadlines.into_iter().chain([tick, edge]).flatten().min().unwrap_or(end);
        self.net.advance_to_next_or(next.max(now + Duration::from_micros(20)));
    }
}

/// Plays the flow to its end, and up to 20 s more until the last message has come.
pub(crate) fn play(flow: &Flow) -> Outcome {
    let mut run = Run::begin(flow);
    let (total, end) = (run.total() as usize, run.tick_at(run.total()) + Duration::from_secs(20));
    while run.net.now() < end && run.arrived.len() < total {
        run.round(end);
    }
    run.arrived.resize(total, None);
    let (base, done) = (run.base.take().unwrap(), run.count());
    let since = |mut now: Stats, then: &Stats| {
        now.resends -= then.resends;
        now.spurious_resends -= then.spurious_resends;
        now.duplicate_messages -= then.duplicate_messages;
        now
    };
    let (warm, first) = (WARM_UP as usize, run.tick_at(WARM_UP));
    let pairs = run.arrived[warm..].iter().zip(&run.sent[warm..]);
    let delays: Vec<Option<Duration>> = pairs.map(|(got, sent)| got.map(|got| got - *sent)).collect();
    let mut sorted: Vec<Duration> = delays.iter().flatten().copied().collect();
    sorted.sort_unstable();
    Outcome {
        sent_at: run.sent[warm..].iter().map(|at| *at - first).collect(),
        wire_per_payload: (done.bytes - base.bytes) as f64 / f64::from(flow.messages) / flow.bytes as f64,
        datagrams: [0, 1].map(|end| done.datagrams[end] - base.datagrams[end]),
        sender: since(done.sender, &base.sender),
        receiver: since(done.receiver, &base.receiver),
        delays,
        sorted,
    }
}

/// The value that this share of them do not exceed, in milliseconds.
fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let mut rest = sorted.len() as f64 * share;
    let at = sorted.iter().take_while(|_| {
        rest -= 1.0;
        rest > 0.0
    });
    let at = at.count().min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(f64::NAN, |delay| delay.as_secs_f64() * 1e3)
}

/// When the last of the messages sent before the end of a hole was yielded, after that end.
pub(crate) fn backlog(outcome: &Outcome, hole: &Range<Duration>) -> Option<Duration> {
    let waiting = outcome.sent_at.iter().zip(&outcome.delays).filter(|(sent, _)| **sent < hole.end);
    let done = waiting.map(|(sent, delay)| delay.map(|delay| *sent + delay));
    done.collect::<Option<Vec<_>>>()?.into_iter().max().map(|last| last.saturating_sub(hole.end))
}

/// What nobody can beat who may send one datagram a tick and learns of a loss after a round trip: the 99th percentile
/// of the delay over the same network, in milliseconds. Its sender is told what arrived, and repeats all of the rest.
pub(crate) fn floor(flow: &Flow) -> f64 {
    repeated_after(flow, flow.link.delay * 2 + Duration::from_millis(10))
}

/// What the path itself allows: each message is sent at every tick until it arrives, and its sender knows when it did.
pub(crate) fn physics(flow: &Flow) -> f64 {
    repeated_after(flow, Duration::ZERO)
}

fn repeated_after(flow: &Flow, round_trip: Duration) -> f64 {
    let net = Net::seed(flow.seed);
    let at: [SocketAddr; 2] = [([10, 0, 0, 1], 4_000).into(), ([10, 0, 0, 2], 4_000).into()];
    let (a, b) = (net.socket(at[0]), net.socket(at[1]));
    net.set_links(at[0], at[1], flow.link.clone());
    let began = net.now();
    let tick_at = |tick: u32| began + Duration::from_secs(1) / flow.per_second * tick;
    let mut arrived: Vec<Option<Instant>> = vec![None; flow.messages as usize];
    let (mut settled, mut tick) = (0, 0);
    let mut buffer = vec![0; 65_536];
    while settled < flow.messages {
        while let Ok((len, _)) = b.recv_from(&mut buffer) {
            for id in buffer[..len].chunks_exact(4) {
                let id = u32::from_le_bytes(id.try_into().unwrap());
                arrived[id as usize].get_or_insert(net.now());
            }
        }
        while arrived.get(settled as usize).is_some_and(Option::is_some) {
            settled += 1;
        }
        let now = net.now();
        if tick_at(tick) <= now {
            let overdue = |id: &u32| arrived[*id as usize].is_none() && tick_at(*id) + round_trip <= now;
            let fresh = (tick < flow.messages).then_some(tick);
            let ids = (settled..tick.min(flow.messages)).filter(overdue).chain(fresh);
            let bytes: Vec<u8> = ids.flat_map(u32::to_le_bytes).collect();
            a.send_to(&bytes, at[1]).unwrap();
            tick += 1;
        }
        net.advance_to_next_or(tick_at(tick));
    }
    let mut last = began;
    let mut delays: Vec<Duration> = (0..)
        .zip(arrived.iter().flatten())
        .map(|(id, at)| {
            last = last.max(*at);
            last - tick_at(id)
        })
        .collect();
    delays.sort_unstable();
    percentile(&delays, 0.99)
}

//! The measuring rig: one flow of reliable messages at a steady pace, one way, between two whole endpoints in virtual
//! time. The caller loops like a game with a poll: at its ticks, at arrivals and at the endpoints' deadlines. Uses the
//! public interface alone.
#![allow(dead_code, reason = "each user takes its part")]

use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use rand_core::TryRng;
use sealgram::sim::{Burst, Connected, Jitter, Link, Net, Rng};
use sealgram::{Config, Credentials, Endpoint, Environment, Guarantee, Sealed, SecretKey, Stats};

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
    pub(crate) messages: u32,
    pub(crate) bytes: usize,
    pub(crate) per_second: u32,
    pub(crate) config: Config,
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
            messages: 36_000,
            bytes: 100,
            per_second: 60,
            config: Config::default(),
            holes: Vec::new(),
        }
    }

    /// The same with loss in bursts of so many ticks on average, in time, which is `loss` in the long run.
    pub(crate) fn bursts(seed: u64, loss: f64, ticks: f64) -> Self {
        let mut flow = Self::new(seed, 0.0);
        let bad = Duration::from_secs_f64(ticks / 60.0);
        flow.link.burst = Some(Burst { good: bad.mul_f64((1.0 - loss) / loss), bad, loss: 1.0 });
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
        let last = self.sorted.len().saturating_sub(1);
        let at = (self.sorted.len() as f64 * share).ceil() as usize;
        self.sorted.get(at.saturating_sub(1).min(last)).map_or(f64::NAN, |delay| delay.as_secs_f64() * 1e3)
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

/// Plays the flow to its end, and up to 20 s more until the last message has come.
pub(crate) fn play(flow: &Flow) -> Outcome {
    let net = Net::seed(flow.seed);
    let at: [SocketAddr; 2] = [([10, 0, 0, 1], 4_000).into(), ([10, 0, 0, 2], 4_000).into()];
    let [mut a, mut b] = ends(&net, &flow.config, flow.seed, at);
    // The handshake is somebody else's measurement.
    let mut calm = flow.link.clone();
    (calm.loss, calm.burst) = (0.0, None);
    net.set_links(at[0], at[1], calm);
    a.connect().unwrap();
    while !(a.is_connected() && b.is_connected()) {
        let deadlines = [step(&mut a, |_| ()), step(&mut b, |_| ())];
        let soon = net.now() + Duration::from_micros(100);
        let next = deadlines.into_iter().flatten().min().map_or(soon, |next| next.max(soon));
        net.advance_to_next_or(next);
    }
    net.set_links(at[0], at[1], flow.link.clone());
    let total = flow.messages + WARM_UP;
    let tick = Duration::from_secs(1) / flow.per_second;
    let began = net.now();
    let first = began + tick * WARM_UP;
    let (mut sent, mut arrived) = (Vec::new(), vec![None; total as usize]);
    let mut bytes = vec![0; flow.bytes];
    let mut expected = 0;
    let mut dark = false;
    let end = began + tick * total + Duration::from_secs(20);
    let mut base: Option<(Stats, Stats, [u64; 2], u64)> = None;
    let wire = |net: &Net| {
        let counts = [net.counts(at[0], at[1]), net.counts(at[1], at[0])];
        (counts.map(|c| c.sent), counts.iter().map(|c| c.bytes + c.sent * HEADERS).sum::<u64>())
    };
    while net.now() < end && (expected < total || sent.len() < total as usize) {
        let now = net.now();
        let hole = flow.holes.iter().any(|hole| (first + hole.start..first + hole.end).contains(&now));
        if hole != dark {
            dark = hole;
            for (from, to) in [(at[0], at[1]), (at[1], at[0])] {
                if dark { net.block(from, to) } else { net.unblock(from, to) }
            }
        }
        while sent.len() < total as usize && began + tick * sent.len() as u32 <= now {
            if sent.len() == WARM_UP as usize {
                let (datagrams, bytes) = wire(&net);
                base = Some((a.stats(), b.stats(), datagrams, bytes));
            }
            bytes[..4].copy_from_slice(&(sent.len() as u32).to_le_bytes());
            a.send_payload(Guarantee::Delivery, &bytes).unwrap();
            sent.push(now);
        }
        let mut heard = |bytes: &[u8]| {
            let number = u32::from_le_bytes(bytes[..4].try_into().unwrap());
            assert_eq!(number, expected, "in order and once, seed {}", flow.seed);
            expected += 1;
            arrived[number as usize] = Some(now);
        };
        let deadlines = [step(&mut a, |_| ()), step(&mut b, &mut heard)];
        let ticks = (sent.len() < total as usize).then(|| began + tick * sent.len() as u32);
        let edges = flow.holes.iter().flat_map(|hole| [first + hole.start, first + hole.end]);
        let edge = edges.filter(|&edge| edge > now).min();
        let next = deadlines.into_iter().chain([ticks, edge]).flatten().min().unwrap_or(end);
        net.advance_to_next_or(next.max(now + Duration::from_micros(20)));
    }
    let (a_base, b_base, datagrams_base, bytes_base) = base.unwrap();
    let (datagrams, wire_bytes) = wire(&net);
    let since = |now: &Stats, then: &Stats| {
        let mut now = now.clone();
        now.resends -= then.resends;
        now.spurious_resends -= then.spurious_resends;
        now.duplicate_messages -= then.duplicate_messages;
        now
    };
    let warm = WARM_UP as usize;
    let delays: Vec<Option<Duration>> =
        arrived[warm..].iter().zip(&sent[warm..]).map(|(got, sent)| got.map(|got| got - *sent)).collect();
    let mut sorted: Vec<Duration> = delays.iter().flatten().copied().collect();
    sorted.sort_unstable();
    Outcome {
        sent_at: sent[warm..].iter().map(|at| *at - first).collect(),
        wire_per_payload: (wire_bytes - bytes_base) as f64 / f64::from(flow.messages) / flow.bytes as f64,
        datagrams: [datagrams[0] - datagrams_base[0], datagrams[1] - datagrams_base[1]],
        sender: since(&a.stats(), &a_base),
        receiver: since(&b.stats(), &b_base),
        delays,
        sorted,
    }
}

/// When the last of the messages sent before the end of a hole was yielded, after that end.
pub(crate) fn backlog(outcome: &Outcome, hole: &Range<Duration>) -> Option<Duration> {
    let waiting = outcome.sent_at.iter().zip(&outcome.delays).filter(|(sent, _)| **sent < hole.end);
    let done = waiting.map(|(sent, delay)| delay.map(|delay| *sent + delay));
    done.collect::<Option<Vec<_>>>()?.into_iter().max().map(|last| last.saturating_sub(hole.end))
}

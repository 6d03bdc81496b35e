//! One row of the table: a session, a message per tick from one end to the other, and when each was yielded. The same
//! loop drives it in the simulator and over real sockets; only the world differs.

use std::cell::RefCell;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use sealgram::sim::{Connected, Net};
use sealgram::{Config, Credentials, Environment, Guarantee, SealedEndpoint, SecretKey, UdpLike};

use super::Outcome;
use super::network::Network;
use super::relay::Relay;
use super::strategy::Strategy;

/// IPv4 and UDP headers.
const HEADERS: u64 = 28;
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for what is missing after the last message.
const DRAIN: Duration = Duration::from_secs(10);

/// What a row is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    pub(crate) network: Network,
    pub(crate) strategy: Strategy,
    pub(crate) guarantee: Guarantee,
    pub(crate) messages: u32,
    /// Messages per second.
    pub(crate) rate: u32,
    /// Bytes of each.
    pub(crate) bytes: usize,
    pub(crate) seed: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) task: Task,
    /// From `send` to `recv`, sorted.
    delays: Vec<Duration>,
    /// Of both directions, headers counted, once the session was there.
    wire_bytes: u64,
    /// Messages and fragments sent again, and how many of them without need.
    pub(crate) resends: u64,
    pub(crate) needless: u64,
}

impl Row {
    /// In milliseconds, the nearest rank; `None` when nothing arrived.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank within the list")]
    pub(crate) fn percentile(&self, share: f64) -> Option<f64> {
        let rank = (share * self.delays.len() as f64).ceil() as usize;
        self.delays.get(rank.saturating_sub(1)).map(|delay| delay.as_secs_f64() * 1_000.0)
    }

    pub(crate) fn delivered(&self) -> usize {
        self.delays.len()
    }

    pub(crate) fn wire_per_payload(&self) -> f64 {
        self.wire_bytes as f64 / (f64::from(self.task.messages) * self.task.bytes as f64)
    }
}

/// Where a session lives: its clock, its waiting, and what it has put on the wire.
trait World {
    fn now(&self) -> Instant;
    /// Until then at most; shorter when something may have arrived.
    fn rest(&self, until: Instant);
    fn wire_bytes(&self) -> u64;
}

/// In the simulator: the same seed gives the same row.
pub(crate) fn simulated(task: &Task) -> Outcome<Row> {
    let net = Net::seed(task.seed);
    net.set_default(task.network.link());
    let nodes: [SocketAddr; 2] = [([10, 0, 0, 1], 4_000).into(), ([10, 0, 0, 2], 4_000).into()];
    let keys = [1, 2].map(|number| SecretKey::from_bytes([number; 32]));
    let end = |own: usize| -> Outcome<SealedEndpoint<Connected>> {
        let credentials = Credentials::paired(&keys[own], keys[1 - own].public_key())?;
        let clock = net.clone();
        let environment = Environment::new(move || clock.now(), net.rng(nodes[own]));
        let socket = net.socket(nodes[own]).connect(nodes[1 - own]);
        Ok(SealedEndpoint::with_environment(socket, credentials, Config::default(), environment)?)
    };
    run(task, &Simulated { net: net.clone(), nodes }, [end(0)?, end(1)?])
}

struct Simulated {
    net: Net,
    nodes: [SocketAddr; 2],
}

impl World for Simulated {
    fn now(&self) -> Instant {
        self.net.now()
    }

    fn rest(&self, until: Instant) {
        // A deadline in the past would stop time.
        self.net.advance_to_next_or(until.max(self.net.now() + Duration::from_micros(100)));
    }

    fn wire_bytes(&self) -> u64 {
        let [a, b] = self.nodes;
        [self.net.counts(a, b), self.net.counts(b, a)]
            .iter()
            .map(|counts| counts.bytes + HEADERS * counts.sent)
            .sum()
    }
}

/// Over real sockets, through the relay, in real time.
pub(crate) fn real(task: &Task) -> Outcome<Row> {
    let sockets = [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?];
    let relay = Relay::between(
        [sockets[0].local_addr()?, sockets[1].local_addr()?],
        task.network.conditions(task.seed),
    )?;
    for (socket, address) in sockets.iter().zip(relay.addresses()) {
        socket.connect(address)?;
    }
    let poll = Poll::new()?;
    let [a, b] = sockets.map(|socket| -> Outcome<mio::net::UdpSocket> {
        socket.set_nonblocking(true)?;
        let mut socket = mio::net::UdpSocket::from_std(socket);
        poll.registry().register(&mut socket, Token(0), Interest::READABLE)?;
        Ok(socket)
    });
    let [mine, yours] = [SecretKey::generate()?, SecretKey::generate()?];
    let ends = [
        SealedEndpoint::paired(a?, &mine, yours.public_key(), Config::default())?,
        SealedEndpoint::paired(b?, &yours, mine.public_key(), Config::default())?,
    ];
    let events = Events::with_capacity(2);
    run(task, &Real { relay, wait: RefCell::new((poll, events)) }, ends)
}

struct Real {
    relay: Relay,
    wait: RefCell<(Poll, Events)>,
}

impl World for Real {
    #[expect(clippy::disallowed_methods, reason = "real sockets live in real time")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn rest(&self, until: Instant) {
        let (poll, events) = &mut *self.wait.borrow_mut();
        // Interrupted or not: the caller looks at everything next.
        let _ = poll.poll(events, Some(until.saturating_duration_since(self.now())));
    }

    fn wire_bytes(&self) -> u64 {
        let counts = self.relay.counts();
        counts.bytes + HEADERS * counts.received
    }
}

fn run<U: UdpLike>(task: &Task, world: &impl World, mut ends: [SealedEndpoint<U>; 2]) -> Outcome<Row> {
    ends[0].connect()?;
    let mut heard = Heard::default();
    let limit = world.now() + CONNECT;
    while !ends.iter().all(SealedEndpoint::is_connected) {
        if world.now() >= limit {
            return Err("no session came about".into());
        }
        let wake = step(world, &mut ends, &mut heard)?;
        world.rest(wake.unwrap_or(limit).min(limit));
    }
    // What is left of the handshake is not counted.
    settle(world, &mut ends, &mut heard, Duration::from_millis(500), |_| false)?;
    let (start, wire_before) = (world.now(), world.wire_bytes());
    let mut bytes = vec![7; task.bytes];
    heard.sent_at.reserve(task.messages as usize);
    for number in 0..task.messages {
        let due = start + Duration::from_secs(1) * number / task.rate;
        while world.now() < due {
            let wake = step(world, &mut ends, &mut heard)?;
            world.rest(wake.map_or(due, |wake| wake.min(due)));
        }
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        heard.sent_at.push(world.now());
        ends[0].send_payload(task.strategy.options(task.guarantee), &bytes)?;
        ends[0].flush()?;
    }
    let all = task.messages as usize;
    settle(world, &mut ends, &mut heard, DRAIN, |heard| heard.delays.len() == all)?;
    let mut delays = heard.delays;
    delays.sort_unstable();
    let stats = ends[0].stats();
    Ok(Row {
        task: *task,
        delays,
        wire_bytes: world.wire_bytes() - wire_before,
        resends: stats.resends,
        needless: stats.spurious_resends,
    })
}

#[derive(Default)]
struct Heard {
    sent_at: Vec<Instant>,
    delays: Vec<Duration>,
}

/// One look at both ends; when they want the next one.
fn step<U: UdpLike>(
    world: &impl World,
    ends: &mut [SealedEndpoint<U>; 2],
    heard: &mut Heard,
) -> Outcome<Option<Instant>> {
    let [sender, receiver] = ends;
    while sender.recv()?.is_some() {}
    while let Some(message) = receiver.recv()? {
        let number = message.first_chunk().map(|bytes| u32::from_le_bytes(*bytes) as usize);
        let sent = number.and_then(|number| heard.sent_at.get(number)).ok_or("a message nobody sent")?;
        heard.delays.push(world.now().saturating_duration_since(*sent));
    }
    let deadlines = [sender.maintain()?, receiver.maintain()?];
    Ok(deadlines.into_iter().flatten().min())
}

fn settle<U: UdpLike>(
    world: &impl World,
    ends: &mut [SealedEndpoint<U>; 2],
    heard: &mut Heard,
    limit: Duration,
    done: impl Fn(&Heard) -> bool,
) -> Outcome<()> {
    let end = world.now() + limit;
    while world.now() < end && !done(heard) {
        let wake = step(world, ends, heard)?;
        world.rest(wake.map_or(end, |wake| wake.min(end)));
    }
    Ok(())
}

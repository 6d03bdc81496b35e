//! A small seeded relay between two real UDP sockets that delays, loses, duplicates and reorders, and on demand
//! replays old datagrams and damages new ones. Stands alone, so that examples and tests can include it by path.
//!
//! What it does to the n-th datagram of a direction follows from the seed, the direction and n alone; only the moment
//! is the machine's. Bursts of loss are times, so that which datagrams they hit is the machine's too.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How bad the way through the relay is, in each direction. Chances are in 0..=1.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conditions {
    /// All chances follow from it.
    pub(crate) seed: u64,
    /// Chance that a datagram is lost.
    pub(crate) loss: f64,
    /// Time through the relay.
    pub(crate) delay: Duration,
    /// How much more or less than `delay` it takes, evenly spread; on its own it changes no order.
    pub(crate) jitter: Duration,
    /// Chance that a datagram is sent on twice.
    pub(crate) duplicate: f64,
    /// Chance that a datagram is held back for 10 to 40 ms while those behind it pass.
    pub(crate) reorder: f64,
    /// Chance, per datagram, that an old one of the same direction is sent once more.
    pub(crate) replay: f64,
    /// Chance that one to three bits of a datagram are flipped.
    pub(crate) corrupt: f64,
    /// Times in which everything is lost.
    pub(crate) bursts: Option<Bursts>,
}

/// A direction has two states that last for random times, exponentially distributed, each direction for itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bursts {
    /// Mean time in which nothing is lost.
    pub(crate) good: Duration,
    /// Mean time in which everything is.
    pub(crate) bad: Duration,
}

/// What a relay did, both directions summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Datagrams that came in.
    pub(crate) received: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Datagrams lost.
    pub(crate) lost: u64,
    /// Datagrams sent on twice.
    pub(crate) duplicated: u64,
    /// Datagrams that left after a later one.
    pub(crate) reordered: u64,
    /// Old datagrams sent once more.
    pub(crate) replayed: u64,
    /// Datagrams damaged.
    pub(crate) corrupted: u64,
    /// Datagrams sent on, repetitions counted.
    pub(crate) forwarded: u64,
}

/// A running relay. Stops when dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    addresses: [SocketAddr; 2],
    counts: Arc<Mutex<Counts>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Datagrams of a direction that may be replayed.
const REMEMBERED: usize = 1_000;
/// How often the threads look whether they shall stop.
const LOOK_UP: Duration = Duration::from_millis(20);

impl Relay {
    /// Starts a relay between two sockets that are bound, but not yet connected: connect each to its address of
    /// [`addresses`](Self::addresses).
    ///
    /// # Errors
    /// Whatever the operating system has against two more sockets.
    pub(crate) fn between(peers: [SocketAddr; 2], conditions: Conditions) -> io::Result<Self> {
        let ends = [end(peers[0])?, end(peers[1])?];
        let addresses = [ends[0].local_addr()?, ends[1].local_addr()?];
        let (counts, stop) = (Arc::new(Mutex::new(Counts::default())), Arc::new(AtomicBool::new(false)));
        let (queue, queued) = channel();
        let mut threads = Vec::new();
        for (way, socket) in ends.iter().enumerate() {
            let socket = socket.try_clone()?;
            let mut side = Side::new(way, conditions, queue.clone(), Arc::clone(&counts));
            let stop = Arc::clone(&stop);
            threads.push(std::thread::spawn(move || {
                let mut buffer = vec![0; 65_536];
                while !stop.load(Ordering::Relaxed) {
                    // A peer that is not there (yet, or any more) shows as an error of the socket: look again.
                    if let Ok(len) = socket.recv(&mut buffer) {
                        side.take(&buffer[..len]);
                    }
                }
            }));
        }
        let forward = Arc::clone(&counts);
        threads.push(std::thread::spawn(move || send_on(&queued, &ends, &forward)));
        Ok(Self { addresses, counts, stop, threads })
    }

    /// Where the first and where the second peer shall send to.
    pub(crate) fn addresses(&self) -> [SocketAddr; 2] {
        self.addresses
    }

    /// What it did so far.
    pub(crate) fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

/// A socket of the relay that talks to one peer.
fn end(peer: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((peer.ip(), 0))?;
    socket.connect(peer)?;
    socket.set_read_timeout(Some(LOOK_UP))?;
    Ok(socket)
}

/// A datagram on its way through: when it leaves, its place in the line, from which side it came, its bytes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    due: Instant,
    /// Its number in its direction; `None` for repetitions.
    number: Option<u64>,
    way: usize,
    bytes: Vec<u8>,
}

/// What the relay knows of one direction while reading.
struct Side {
    way: usize,
    conditions: Conditions,
    chances: Chances,
    number: u64,
    last_due: Instant,
    /// The state of the bursts, how long it lasts, and their own chances: they follow time, not the datagrams.
    dark: bool,
    dark_until: Instant,
    dark_chances: Chances,
    remembered: Vec<Vec<u8>>,
    queue: Sender<Waiting>,
    counts: Arc<Mutex<Counts>>,
}

impl Side {
    fn new(way: usize, conditions: Conditions, queue: Sender<Waiting>, counts: Arc<Mutex<Counts>>) -> Self {
        let chances = Chances(conditions.seed.wrapping_mul(2).wrapping_add(way as u64));
        let now = now();
        Self {
            way,
            conditions,
            number: 0,
            last_due: now,
            dark: true,
            dark_until: now,
            dark_chances: Chances(!chances.0),
            chances,
            remembered: Vec::new(),
            queue,
            counts,
        }
    }

    /// Whether this is a time in which everything is lost.
    fn is_dark(&mut self) -> bool {
        let Some(Bursts { good, bad }) = self.conditions.bursts else { return false };
        let now = now();
        while self.dark_until <= now {
            self.dark = !self.dark;
            let mean = (if self.dark { bad } else { good }).max(Duration::from_micros(100));
            self.dark_until += mean.mul_f64(-(1.0 - self.dark_chances.unit()).ln());
        }
        self.dark
    }

    /// Decides about one datagram. All chances are drawn each time, so that none moves another.
    fn take(&mut self, datagram: &[u8]) {
        let Conditions { loss, delay, jitter, duplicate, reorder, replay, corrupt, .. } = self.conditions;
        let [lost, stray, twice, held, hold, again, which, harmed] = [(); 8].map(|()| self.chances.unit());
        let harm = self.chances.next();
        let number = self.number;
        self.number += 1;
        let dark = self.is_dark();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.received += 1;
        counts.bytes += datagram.len() as u64;
        let on_time = now() + delay.saturating_sub(jitter) + (delay.min(jitter) + jitter).mul_f64(stray);
        if again < replay && !self.remembered.is_empty() {
            let old = &self.remembered[pick(which, self.remembered.len())];
            counts.replayed += 1;
            let _ =
                self.queue.send(Waiting { due: on_time, number: None, way: self.way, bytes: old.clone() });
        }
        if dark || lost < loss {
            counts.lost += 1;
            return;
        }
        let mut bytes = datagram.to_vec();
        if harmed < corrupt && !bytes.is_empty() {
            counts.corrupted += 1;
            flip_bits(&mut bytes, harm);
        }
        if replay > 0.0 && bytes == datagram {
            // Only what goes on unharmed can be replayed: what was lost would arrive for the first time.
            match self.remembered.get_mut(pick(which, REMEMBERED)) {
                Some(old) => old.clone_from(&bytes),
                None => self.remembered.push(bytes.clone()),
            }
        }
        let due = if held < reorder {
            on_time + Duration::from_millis(10) + Duration::from_millis(30).mul_f64(hold)
        } else {
            self.last_due = self.last_due.max(on_time);
            self.last_due
        };
        if twice < duplicate {
            counts.duplicated += 1;
            let due = due + Duration::from_millis(20).mul_f64(hold);
            let _ = self.queue.send(Waiting { due, number: None, way: self.way, bytes: bytes.clone() });
        }
        let _ = self.queue.send(Waiting { due, number: Some(number), way: self.way, bytes });
    }
}

/// Sends on what is due, until all readers are gone.
fn send_on(queued: &Receiver<Waiting>, ends: &[UdpSocket; 2], counts: &Mutex<Counts>) {
    let mut waiting = BinaryHeap::new();
    let mut highest = [None; 2];
    loop {
        let pause = match waiting.peek() {
            Some(Reverse(Waiting { due, .. })) => due.saturating_duration_since(now()),
            None => LOOK_UP,
        };
        match queued.recv_timeout(pause) {
            Ok(datagram) => waiting.push(Reverse(datagram)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while waiting.peek().is_some_and(|Reverse(first)| first.due <= now()) {
            let Some(Reverse(Waiting { number, way, bytes, .. })) = waiting.pop() else { break };
            // Counted first, so that who has received it finds it counted.
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.forwarded += 1;
            if number.is_some() {
                counts.reordered += u64::from(number < highest[way]);
                highest[way] = highest[way].max(number);
            }
            drop(counts);
            // A peer that is gone loses its datagrams, as it would without a relay.
            let _ = ends[1 - way].send(&bytes);
        }
    }
}

/// Flips one to three different bits: always found by any checksum worth the name.
fn flip_bits(bytes: &mut [u8], seed: u64) {
    let mut chances = Chances(seed);
    let first = pick(chances.unit(), bytes.len() * 8);
    for bit in first..first + 1 + pick(chances.unit(), 3) {
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
    }
}

/// SplitMix64: enough for weather.
struct Chances(u64);

impl Chances {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in [0, 1), in steps of 2^-32.
    fn unit(&mut self) -> f64 {
        (self.next() >> 32) as f64 / 4_294_967_296.0
    }
}

/// A place in 0..len.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of len, never below zero"
)]
fn pick(unit: f64, len: usize) -> usize {
    ((unit * len as f64) as usize).min(len.saturating_sub(1))
}

#[expect(clippy::disallowed_methods, reason = "the relay lives in real time")]
fn now() -> Instant {
    Instant::now()
}

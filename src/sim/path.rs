//! One direction between two addresses: its link, its chances, its counters. Decides when each datagram arrives, if
//! at all, and never sees its bytes. Chances are drawn in a fixed number and order for each datagram, so that changing
//! one property of a link leaves the others' outcomes as they were.

use std::net::SocketAddr;
use std::time::Duration;

use super::link::{Jitter, Link};
use super::net::nanos;
use super::rng::{Fingerprint, Purpose, Rng, exponential};

/// What became of the datagrams of one direction. Ground truth, for judging what an endpoint believes.
///
/// `sent` = `lost` + `overflowed` + `too_large` + `blocked` + `tapped` + those that arrive (once).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Datagrams handed to the network by the sending socket.
    pub sent: u64,
    /// Their bytes, without IP and UDP headers.
    pub bytes: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Dropped at a full bandwidth queue.
    pub overflowed: u64,
    /// Dropped for their size.
    pub too_large: u64,
    /// Dropped while the direction was blocked or dark.
    pub blocked: u64,
    /// Dropped by the tap.
    pub tapped: u64,
    /// Repeated by the network.
    pub duplicated: u64,
    /// Damaged.
    pub corrupted: u64,
    /// Arrived after a datagram that was sent later.
    pub reordered: u64,
    /// Handed to the receiving node's socket, repeated and injected ones included.
    pub delivered: u64,
    /// Arrived where no socket was, where the socket's buffer was full, or where the node's [`Nat`](super::Nat)
    /// refused them.
    pub refused: u64,
}

/// When a datagram arrives, and its second copy, and whether it is damaged (by this seed).
#[derive(Debug, Default)]
pub(super) struct Fate {
    pub(super) first: Option<u64>,
    pub(super) second: Option<u64>,
    pub(super) damage: Option<u32>,
    pub(super) index: u64,
}

#[derive(Debug)]
pub(super) struct Path {
    link: Link,
    pub(super) blocked: bool,
    pub(super) counts: Counts,
    overhead: usize,
    chances: Rng,
    channel: Channel,
    queue: Queue,
    /// The place of the queue that it shares with other directions, among the network's.
    pub(super) shared: Option<usize>,
    /// The latest arrival among those that keep their order.
    last_arrival: u64,
    highest_arrived: Option<u64>,
}

/// A bandwidth, in bytes per second, and what waits for it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// When the last bit of what was queued has left.
    free_at: u64,
}

impl Queue {
    /// Takes `size` bytes in and says when the last of them leaves; `None` when that would be more than `room`.
    pub(super) fn take(&mut self, now: u64, size: u64, rate: u64, room: u64) -> Option<u64> {
        let start = self.free_at.max(now);
        let waiting = u128::from(start - now) * u128::from(rate) / 1_000_000_000;
        if start > now && waiting + u128::from(size) > u128::from(room) {
            return None;
        }
        let takes = (u128::from(size) * 1_000_000_000).div_ceil(u128::from(rate.max(1)));
        self.free_at = start.saturating_add(u64::try_from(takes).unwrap_or(u64::MAX));
        Some(self.free_at)
    }
}

/// A [`Queue`] that several directions share.
#[derive(Debug, Default)]
pub(super) struct Bottleneck {
    pub(super) rate: u64,
    pub(super) queue_bytes: u64,
    pub(super) queue: Queue,
}

/// The Gilbert-Elliott state as a function of time alone.
#[derive(Debug)]
struct Channel {
    chances: Rng,
    bad: bool,
    until: u64,
}

impl Path {
    pub(super) fn new(seed: u64, from: SocketAddr, to: SocketAddr, link: Link, now: u64) -> Self {
        let (a, b) = (Fingerprint::of_address(from), Fingerprint::of_address(to));
        let chances = |purpose| Rng::stream(seed, purpose, a, b);
        let channel = Channel { chances: chances(Purpose::Bursts), bad: true, until: now };
        Self {
            link,
            blocked: false,
            counts: Counts::default(),
            overhead: if to.is_ipv4() { 28 } else { 48 },
            chances: chances(Purpose::Datagrams),
            channel,
            queue: Queue::default(),
            shared: None,
            last_arrival: 0,
            highest_arrived: None,
        }
    }

    pub(super) fn set_link(&mut self, link: Link, now: u64) {
        if link.burst != self.link.burst {
            (self.channel.bad, self.channel.until) = (true, now);
        }
        self.link = link;
    }

    /// Judges the next datagram, of `len` bytes.
    pub(super) fn judge(&mut self, now: u64, len: usize, shared: Option<&mut Bottleneck>) -> Fate {
        let rng = &mut self.chances;
        let [loss, burst_loss, stray, reorder, twice, stray_twice, damage] = [(); 7].map(|()| rng.unit());
        let damage_seed = rng.word();
        let burst_loss = self.link.burst.is_some_and(|burst| {
            self.channel.is_bad(now, nanos(burst.good), nanos(burst.bad)) && burst_loss < burst.loss
        });
        let mut fate = Fate { index: self.counts.sent, ..Fate::default() };
        self.counts.sent += 1;
        self.counts.bytes += len as u64;
        let size = len.saturating_add(self.overhead);
        if self.blocked || self.is_dark(now) {
            self.counts.blocked += 1;
        } else if self.link.mtu.is_some_and(|mtu| size > mtu) {
            self.counts.too_large += 1;
        } else if let Some(left) = self.queued(now, size as u64, shared) {
            // What is lost has used the bandwidth: it is lost in the air, behind the queue.
            if loss < self.link.loss || burst_loss {
                self.counts.lost += 1;
                return fate;
            }
            let arrival = self.arrival(left, stray, reorder < self.link.reorder);
            fate.first = Some(arrival);
            if twice < self.link.duplicate {
                self.counts.duplicated += 1;
                fate.second = Some(arrival.saturating_add(nanos(self.stray(stray_twice))));
            }
            if damage < self.link.corrupt && len > 0 {
                self.counts.corrupted += 1;
                fate.damage = Some(damage_seed);
            }
        } else {
            self.counts.overflowed += 1;
        }
        fate
    }

    pub(super) fn tapped(&mut self, len: usize) {
        self.counts.sent += 1;
        self.counts.bytes += len as u64;
        self.counts.tapped += 1;
    }

    /// Notes the first arrival of the datagram of this index.
    pub(super) fn arrived(&mut self, index: u64) {
        if self.highest_arrived.is_some_and(|highest| index < highest) {
            self.counts.reordered += 1;
        } else {
            self.highest_arrived = Some(index);
        }
    }

    fn is_dark(&self, now: u64) -> bool {
        self.link.blackouts.iter().any(|dark| (nanos(dark.start)..nanos(dark.end)).contains(&now))
    }

    /// When `size` bytes have left the shared queue, if there is one, and then the link's own.
    fn queued(&mut self, now: u64, size: u64, shared: Option<&mut Bottleneck>) -> Option<u64> {
        let now = match shared {
            Some(Bottleneck { rate, queue_bytes, queue }) => queue.take(now, size, *rate, *queue_bytes)?,
            None => now,
        };
        match self.link.rate {
            Some(rate) => self.queue.take(now, size, rate, self.link.queue_bytes),
            None => Some(now),
        }
    }

    fn arrival(&mut self, left: u64, stray: f64, reordered: bool) -> u64 {
        let base = match self.link.jitter {
            Jitter::Uniform(spread) => self.link.delay.saturating_sub(spread),
            Jitter::None | Jitter::Skewed { .. } => self.link.delay,
        };
        let arrival = left.saturating_add(nanos(base)).saturating_add(nanos(self.stray(stray)));
        if reordered {
            return arrival.saturating_add(nanos(self.link.reorder_delay));
        }
        if self.link.overtake {
            return arrival;
        }
        self.last_arrival = self.last_arrival.max(arrival);
        self.last_arrival
    }

    /// What jitter adds to the shortest delay.
    fn stray(&self, unit: f64) -> Duration {
        match self.link.jitter {
            Jitter::None => Duration::ZERO,
            Jitter::Uniform(spread) => {
                let low = self.link.delay.saturating_sub(spread);
                scaled(self.link.delay.saturating_add(spread) - low, unit)
            }
            Jitter::Skewed { mean, max } => scaled(mean, exponential(unit)).min(max),
        }
    }
}

impl Channel {
    fn is_bad(&mut self, now: u64, good: u64, bad: u64) -> bool {
        // A state of no length on average would never let time pass.
        let (good, bad) = (good.max(100_000), bad.max(100_000));
        while self.until <= now {
            self.bad = !self.bad;
            let mean = Duration::from_nanos(if self.bad { bad } else { good });
            let lasts = nanos(scaled(mean, exponential(self.chances.unit())));
            self.until = self.until.saturating_add(lasts.max(1));
        }
        self.bad
    }
}

fn scaled(time: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(time.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

//! What a link does to datagrams, as plain data with named profiles. Knows no datagram and no clock.

use std::ops::Range;
use std::time::Duration;

/// How the delay of single datagrams strays from the link's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// Not at all. The default.
    #[default]
    None,
    /// Evenly between this much less and this much more (never below zero in sum).
    Uniform(Duration),
    /// Mostly a little more, seldom much more: an exponential tail, as queues and radios have it.
    Skewed {
        /// The mean of what is added.
        mean: Duration,
        /// The most that is added.
        max: Duration,
    },
}

/// Loss that comes in bursts: a Gilbert-Elliott channel whose two states last for random *times* (exponentially
/// distributed), whatever is sent meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// Mean time in the good state, in which this channel loses nothing.
    pub good: Duration,
    /// Mean time in the bad state.
    pub bad: Duration,
    /// Probability in 0..=1 that a datagram sent in the bad state is lost.
    pub loss: f64,
}

/// One direction of a link. [`Link::default`] is perfect: everything arrives at once, in order and unharmed.
///
/// Probabilities are in 0..=1, each datagram's chances are drawn on their own. Times are virtual.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Link {
    /// Probability that a datagram is lost. Default 0.
    pub loss: f64,
    /// Loss in bursts, on top of `loss`. Default none.
    pub burst: Option<Burst>,
    /// Time from leaving the queue to arrival. Default zero.
    pub delay: Duration,
    /// How the delay varies. Default not at all.
    pub jitter: Jitter,
    /// Whether jitter alone may turn the order around. By default it may not: a late datagram holds up those behind
    /// it, as in a queue.
    pub overtake: bool,
    /// Probability that a datagram takes `reorder_delay` longer and is overtaken by those behind it. Default 0.
    pub reorder: f64,
    /// What a reordered datagram takes longer. Default zero.
    pub reorder_delay: Duration,
    /// Probability that a datagram arrives twice. Default 0.
    pub duplicate: f64,
    /// Probability that one to eight random bits of a datagram are flipped. Default 0.
    pub corrupt: f64,
    /// Bandwidth in bytes per second, IP and UDP headers counted. Default `None`: unlimited.
    pub rate: Option<u64>,
    /// How many bytes may wait for the bandwidth, headers counted; what finds the queue full is dropped. Default 0:
    /// only an idle link takes a datagram, so set it together with `rate`.
    pub queue_bytes: u64,
    /// The largest IP packet that passes, in bytes, headers counted (28 with IPv4, 48 with IPv6). Larger ones vanish
    /// without notice. Default `None`: any.
    pub mtu: Option<usize>,
    /// When the link is dark, in time since the network began: what is sent then is dropped. Default never.
    pub blackouts: Vec<Range<Duration>>,
}

const MS: fn(u64) -> Duration = Duration::from_millis;

impl Link {
    /// A cable at home or a LAN party: a quarter of a millisecond, 1 Gbit/s, no loss.
    #[must_use]
    pub fn lan() -> Self {
        Self {
            delay: Duration::from_micros(250),
            jitter: Jitter::Skewed { mean: Duration::from_micros(50), max: MS(2) },
            ..Self::limited(125_000_000, 512 << 10)
        }
    }

    /// Good Wi-Fi at home: 3 ms with a tail to 60 ms, 50 Mbit/s, 0.2 % loss and short bursts of it.
    #[must_use]
    pub fn wifi() -> Self {
        Self {
            loss: 0.002,
            burst: Some(Burst { good: MS(5_000), bad: MS(40), loss: 0.5 }),
            delay: MS(3),
            jitter: Jitter::Skewed { mean: MS(2), max: MS(60) },
            duplicate: 0.000_1,
            ..Self::limited(6_250_000, 256 << 10)
        }
    }

    /// A phone with good reception: 25 ms with a tail to 80 ms more, 20 Mbit/s, 0.1 % loss, a bad moment every 10 s.
    #[must_use]
    pub fn lte_good() -> Self {
        Self {
            loss: 0.001,
            burst: Some(Burst { good: MS(10_000), bad: MS(60), loss: 0.5 }),
            delay: MS(25),
            jitter: Jitter::Skewed { mean: MS(5), max: MS(80) },
            ..Self::limited(2_500_000, 256 << 10)
        }
    }

    /// A phone at the edge of its cell: 45 ms with a tail to 300 ms more, 1 Mbit/s, 2 % loss and long bursts of it,
    /// some reordering.
    #[must_use]
    pub fn lte_bad() -> Self {
        Self {
            loss: 0.02,
            burst: Some(Burst { good: MS(3_000), bad: MS(120), loss: 0.8 }),
            delay: MS(45),
            jitter: Jitter::Skewed { mean: MS(20), max: MS(300) },
            reorder: 0.005,
            reorder_delay: MS(20),
            ..Self::limited(125_000, 96 << 10)
        }
    }

    /// A geostationary satellite: 280 ms, 10 Mbit/s with a long queue, 0.5 % loss, rare fades.
    #[must_use]
    pub fn satellite() -> Self {
        Self {
            loss: 0.005,
            burst: Some(Burst { good: MS(20_000), bad: MS(200), loss: 0.5 }),
            delay: MS(280),
            jitter: Jitter::Skewed { mean: MS(5), max: MS(60) },
            ..Self::limited(1_250_000, 1 << 20)
        }
    }

    /// The Wi-Fi of a crowded hall: 10 ms with a tail to 250 ms more, 2 Mbit/s, 3 % loss, half a second between
    /// bursts, duplicates and reordering.
    #[must_use]
    pub fn conference() -> Self {
        Self {
            loss: 0.03,
            burst: Some(Burst { good: MS(500), bad: MS(50), loss: 0.6 }),
            delay: MS(10),
            jitter: Jitter::Skewed { mean: MS(15), max: MS(250) },
            reorder: 0.01,
            reorder_delay: MS(10),
            duplicate: 0.002,
            ..Self::limited(250_000, 128 << 10)
        }
    }

    /// A bandwidth with its queue, and the usual largest packet of 1,500 bytes.
    fn limited(rate: u64, queue_bytes: u64) -> Self {
        Self { rate: Some(rate), queue_bytes, mtu: Some(1_500), ..Self::default() }
    }
}

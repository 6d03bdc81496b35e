//! The limits of a server, with unit, range and default: what holds for each session, what strangers may cost, how much
//! one call works off.

use std::time::Duration;

use super::{Config, Flood};
use crate::error::ConfigError;

/// Most workers on one port.
pub(crate) const MAX_WORKERS: u8 = 64;
/// Longest route, in bytes.
const MAX_ROUTE: usize = 20;
/// Most peers that may wait for the application at once.
const MAX_ASKING: usize = 256;

/// One of several servers that share a port; see [`bind_workers`](crate::bind_workers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    /// From 0; below `count`.
    pub index: u8,
    /// 1 to 64.
    pub count: u8,
}

/// All limits and timers of a server. Start from [`ServerConfig::default`] and change what you need.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// What holds for the session of each peer; `half_open` and `handshake_dh_per_second` have no meaning here,
    /// [`flood`](Self::flood) has its own.
    pub session: Config,
    /// What strangers may cost.
    pub flood: Flood,
    /// The constant token in front of every datagram to this server, by which a load balancer finds it; clients have it
    /// from their ticket. Public. 0 to 20 bytes. Default: empty.
    pub route: Vec<u8>,
    /// Which of several workers on one port this server is; its connection ids name it. `None`: it is alone. Default
    /// `None`.
    pub worker: Option<Worker>,
    /// Peers that have confirmed and wait for the application's yes; of one prefix an eighth, once more than half of the
    /// places are taken. 1 to 256. Default 256.
    pub max_asking: usize,
    /// How long they wait. 100 ms to 5 s. Default 3 s.
    pub accept_timeout: Duration,
    /// Datagrams that one round of `recv` reads. 64 to 1,000,000. Default 16,384.
    pub reads_per_call: usize,
    /// Datagrams of one peer that one round of `recv` opens; more are dropped, as a full network would, and counted in
    /// [`Drops::share`](crate::Drops::share). 16 to 1,000,000. Default 512.
    pub reads_per_peer: u32,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            session: Config::default(),
            flood: Flood::default(),
            route: Vec::new(),
            worker: None,
            max_asking: MAX_ASKING,
            accept_timeout: Duration::from_secs(3),
            reads_per_call: 16_384,
            reads_per_peer: 512,
        }
    }
}

impl ServerConfig {
    /// Checks every field, those of `session` and `flood` included.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let range = |field: &'static str, given: u64, min: u64, max: u64| {
            if (min..=max).contains(&given) { Ok(()) } else { Err(ConfigError { field, given, min, max }) }
        };
        self.session.check()?;
        self.flood.check()?;
        range("route", self.route.len() as u64, 0, MAX_ROUTE as u64)?;
        if let Some(Worker { index, count }) = self.worker {
            range("worker.count", count.into(), 1, MAX_WORKERS.into())?;
            range("worker.index", index.into(), 0, u64::from(count) - 1)?;
        }
        range("max_asking", self.max_asking as u64, 1, MAX_ASKING as u64)?;
        let wait = u64::try_from(self.accept_timeout.as_millis()).unwrap_or(u64::MAX);
        range("accept_timeout", wait, 100, 5_000)?;
        range("reads_per_call", self.reads_per_call as u64, 64, 1_000_000)?;
        range("reads_per_peer", self.reads_per_peer.into(), 16, 1_000_000)
    }
}

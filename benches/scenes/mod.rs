//! What benchmarks and instruction counts run: two endpoints in memory, a server among its players, a server among
//! strangers. Time is virtual and chance comes from a seed, so that each run does the same.
#![allow(dead_code, reason = "each user takes its part")]

#[path = "../../tests/common/clock.rs"]
pub(crate) mod clock;
pub(crate) mod crowd;
pub(crate) mod handshakes;
pub(crate) mod pair;
pub(crate) mod strangers;

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use clock::Clock;
use sealgram::{AddressedUdp, HubSocket, SecretKey, UdpLike};

/// How far the clock goes in one step.
const STEP: Duration = Duration::from_millis(1);

pub(crate) fn clock() -> Clock {
    Clock::new(STEP)
}

/// The machine's clock, for what is measured.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn machine_now() -> Instant {
    Instant::now()
}

/// How long the work takes, beside what it gives.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = machine_now();
    let given = std::hint::black_box(work());
    (given, start.elapsed())
}

pub(crate) fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or_default()
}

/// The median of so many rounds in ns a unit; each says what it took, and how many units it did. A round is short, so that
/// few of them meet somebody else's turn on a shared machine.
pub(crate) fn typical(rounds: usize, mut round: impl FnMut() -> (Duration, usize)) -> f64 {
    let a_unit = |(took, units): (Duration, usize)| took.as_secs_f64() * 1e9 / units as f64;
    median((0..rounds).map(|_| a_unit(round())).collect())
}

/// Whether this run measures. `cargo test` runs everything once, to see that it runs.
pub(crate) fn measures() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// A key by its number.
pub(crate) fn key(number: u32) -> SecretKey {
    let mut bytes = [0x5a; 32];
    // Not at the ends, where some bits of a private key do not count.
    bytes[8..12].copy_from_slice(&number.to_le_bytes());
    SecretKey::from_bytes(bytes)
}

/// A socket of the hub as a player sees it.
pub(crate) struct Leg {
    pub(crate) socket: HubSocket,
    pub(crate) server: SocketAddr,
    /// What was sent last.
    pub(crate) last: Vec<u8>,
}

impl UdpLike for Leg {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.last.clear();
        self.last.extend_from_slice(datagram);
        self.socket.send_to(datagram, self.server)
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.recv_from(buffer).map(|(len, _)| len)
    }
}

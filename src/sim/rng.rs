//! Seeded chance for the network and for the endpoints in it. The one generator is ChaCha8 with a key made of the
//! seed and a purpose, so that every use has its own stream and none disturbs another.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use chacha20::ChaCha8Rng;
use rand_core::{SeedableRng, TryCryptoRng, TryRng};

/// A seeded generator to hand to endpoints in tests, where the operating system's would make a run unrepeatable.
///
/// Whoever knows the seed knows every key made with it: never use it outside of tests.
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The generator of this seed. The same seed gives the same bytes on every machine.
    #[must_use]
    pub fn seed(seed: u64) -> Self {
        Self::stream(seed, Purpose::Own, 0, 0)
    }

    /// The stream of one purpose; `a` and `b` say for what exactly.
    pub(super) fn stream(seed: u64, purpose: Purpose, a: u64, b: u64) -> Self {
        let mut key = [0; 32];
        let words = [seed, purpose as u64, a, b];
        for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    pub(super) fn word(&mut self) -> u32 {
        match self.0.try_next_u32() {
            Ok(word) => word,
        }
    }

    /// Uniform in [0, 1), in steps of 2^-32.
    pub(super) fn unit(&mut self) -> f64 {
        f64::from(self.word()) / TWO_32
    }
}

const TWO_32: f64 = 4_294_967_296.0;

/// What a stream is for.
#[derive(Clone, Copy)]
#[repr(u64)]
pub(super) enum Purpose {
    Own,
    Datagrams,
    Bursts,
    Node,
    Ports,
}

impl std::fmt::Debug for Rng {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rng")
    }
}

impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(bytes)
    }
}

impl TryCryptoRng for Rng {}

/// An exponentially distributed number with mean 1, at most 22.2, from a `unit` in [0, 1).
///
/// The logarithm is made here of additions, products and quotients alone, whose results IEEE 754 fixes to the bit:
/// those of `f64::ln` differ between systems, and the trace with them.
pub(super) fn exponential(unit: f64) -> f64 {
    const LN_2: f64 = std::f64::consts::LN_2;
    let (mut rest, mut halvings) = (1.0 - unit.clamp(0.0, 1.0 - 1.0 / TWO_32), 0.0);
    while rest < 0.5 {
        rest *= 2.0;
        halvings += 1.0;
    }
    // ln x = 2 artanh((x - 1) / (x + 1)); the quotient is at most 1/3 here, so 14 terms are exact enough.
    let quotient = (rest - 1.0) / (rest + 1.0);
    let (mut power, mut sum) = (quotient, 0.0);
    for odd in (1..28_u32).step_by(2) {
        sum += power / f64::from(odd);
        power *= quotient * quotient;
    }
    halvings * LN_2 - 2.0 * sum
}

/// FNV-1a in 64 bits: the trace's fingerprint and the names of streams. Not against forgery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(pub(super) u64);

impl Fingerprint {
    pub(super) const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);

    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(super) fn add_address(&mut self, address: SocketAddr) {
        match address.ip() {
            IpAddr::V4(ip) => self.add(&ip.octets()),
            IpAddr::V6(ip) => self.add(&ip.octets()),
        }
        self.add(&address.port().to_le_bytes());
    }

    pub(super) fn of_address(address: SocketAddr) -> u64 {
        let mut print = Self::EMPTY;
        print.add_address(address);
        print.0
    }
}

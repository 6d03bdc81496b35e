//! The only place that reads the clock and asks the operating system for randomness. Everything below is handed
//! `now` and a generator, so a whole session can be replayed from a seed.

use std::{fmt, time::Instant};

use getrandom::SysRng;
use rand_core::{TryCryptoRng, TryRng};

use crate::{
    crypto::{EntropyError, Invite, Psk, SecretKey},
    ticket::{Ticket, TicketBuilder, TicketError, TicketGrant, TicketKey},
};

/// Where an endpoint takes the time and its randomness from.
#[cfg_attr(
    not(feature = "sim"),
    expect(unreachable_pub, reason = "public only under the feature `sim`; every endpoint holds one")
)]
pub struct Environment {
    source: Source,
}

enum Source {
    Os,
    #[cfg(any(test, feature = "sim"))]
    Given {
        clock: Box<dyn FnMut() -> Instant + Send>,
        fill: Fill,
    },
}

#[cfg(any(test, feature = "sim"))]
type Fill = Box<dyn FnMut(&mut [u8]) -> Result<(), EntropyError> + Send>;

impl Environment {
    /// The machine's monotonic clock and the operating system's randomness.
    pub(crate) fn os() -> Self {
        Self { source: Source::Os }
    }

    /// A clock and a generator of the caller's, for tests. A predictable generator gives predictable keys: never use
    /// one outside of tests. The clock must not run backwards.
    #[cfg(any(test, feature = "sim"))]
    pub fn new(
        clock: impl FnMut() -> Instant + Send + 'static,
        mut rng: impl TryCryptoRng + Send + 'static,
    ) -> Self {
        let fill = move |bytes: &mut [u8]| rng.try_fill_bytes(bytes).map_err(|_| EntropyError);
        Self { source: Source::Given { clock: Box::new(clock), fill: Box::new(fill) } }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub(crate) fn now(&mut self) -> Instant {
        match &mut self.source {
            Source::Os => Instant::now(),
            #[cfg(any(test, feature = "sim"))]
            Source::Given { clock, .. } => clock(),
        }
    }
}

impl TryRng for Environment {
    type Error = EntropyError;

    fn try_next_u32(&mut self) -> Result<u32, EntropyError> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, EntropyError> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        match &mut self.source {
            Source::Os => SysRng.try_fill_bytes(bytes).map_err(|_| EntropyError),
            #[cfg(any(test, feature = "sim"))]
            Source::Given { fill, .. } => fill(bytes),
        }
    }
}

impl TryCryptoRng for Environment {}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::Os => "Environment(os)",
            #[cfg(any(test, feature = "sim"))]
            Source::Given { .. } => "Environment(given)",
        })
    }
}

impl SecretKey {
    /// Makes a new key from the operating system's randomness.
    ///
    /// # Errors
    /// [`EntropyError`] when the operating system gives none; there is no fallback.
    pub fn generate() -> Result<Self, EntropyError> {
        Self::from_rng(&mut SysRng)
    }
}

impl Psk {
    /// Makes a new pre-shared key from the operating system's randomness.
    ///
    /// # Errors
    /// [`EntropyError`] when the operating system gives none; there is no fallback.
    pub fn generate() -> Result<Self, EntropyError> {
        Self::from_rng(&mut SysRng)
    }
}

impl Invite {
    /// Makes a new invite from the operating system's randomness.
    ///
    /// # Errors
    /// [`EntropyError`] when the operating system gives none; there is no fallback.
    pub fn generate() -> Result<Self, EntropyError> {
        Self::from_rng(&mut SysRng)
    }
}

impl TicketKey {
    /// Makes a new key for the seals of tickets from the operating system's randomness.
    ///
    /// # Errors
    /// [`EntropyError`] when the operating system gives none; there is no fallback.
    pub fn generate() -> Result<Self, EntropyError> {
        Self::from_rng(&mut SysRng)
    }
}

impl TicketBuilder {
    /// The ticket with a sealed part, by which a server that holds `key` lets the player in. For the game's backend; no
    /// player needs the key.
    ///
    /// # Errors
    /// [`TicketError::Malformed`] names the part that is out of its range or holds something twice; `"expiry"` also if
    /// there is none, or if it is before the issue; `"player"` also if the profile proves no key of a player.
    /// [`TicketError::SharedBearer`] for a grant without a player and several servers; [`TicketError::TooLong`] if all
    /// together passes 1,024 bytes; [`TicketError::Entropy`] when the operating system gives no randomness.
    pub fn seal(&self, key: &TicketKey, grant: &TicketGrant<'_>) -> Result<Ticket, TicketError> {
        self.seal_with(&mut SysRng, key, grant)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chacha20::ChaCha8Rng;
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn the_operating_system_gives_different_keys_and_a_clock_that_moves() {
        let mut os = Environment::os();
        let mut pair = [[0; 32]; 2];
        pair.iter_mut().for_each(|bytes| os.try_fill_bytes(bytes).unwrap());
        assert_ne!(pair[0], pair[1]);
        assert!(os.now() <= os.now());
        assert_ne!(
            *SecretKey::generate().unwrap().expose_bytes(),
            *SecretKey::generate().unwrap().expose_bytes()
        );
    }

    #[test]
    fn a_given_environment_is_obeyed() {
        let start = Environment::os().now();
        let mut given =
            Environment::new(move || start + Duration::from_secs(7), ChaCha8Rng::seed_from_u64(1));
        assert_eq!(given.now(), start + Duration::from_secs(7));
        assert_eq!(
            given.try_next_u64(),
            Environment::new(move || start, ChaCha8Rng::seed_from_u64(1)).try_next_u64()
        );
    }
}

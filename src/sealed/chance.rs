//! Small random numbers for timers and packet numbers. The source is an argument; its failure ends the session.

use std::time::Duration;

use rand_core::TryCryptoRng;

use super::Failure;
use crate::crypto;

/// `duration` changed at random by up to so many thousandths either way.
pub(super) fn jittered<R: TryCryptoRng + ?Sized>(
    rng: &mut R,
    duration: Duration,
    thousandths: u32,
) -> Result<Duration, Failure> {
    let factor = 1_000 - thousandths + random_below(rng, 2 * thousandths + 1)?;
    Ok(duration * factor / 1_000)
}

/// A number below `bound`, which is small: the bias is at most `bound` in 2^32.
pub(super) fn random_below<R: TryCryptoRng + ?Sized>(rng: &mut R, bound: u32) -> Result<u32, Failure> {
    let bytes = crypto::random::<4, _>(rng).map_err(|_| Failure::Entropy)?;
    let scaled = u64::from(u32::from_le_bytes(bytes)) * u64::from(bound);
    Ok(u32::try_from(scaled >> 32).unwrap_or(0))
}

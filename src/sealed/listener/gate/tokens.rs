//! A token bucket in eight bytes: instead of a level it keeps the moment at which it is full again. Knows no clock: time
//! is nanoseconds since the gate was built. PROTOCOL.md, "Flood defence".

/// Nanoseconds since the gate was built.
pub(in crate::sealed::listener) type Nanos = u64;

pub(in crate::sealed::listener) const SECOND: Nanos = 1_000_000_000;

/// What so many tokens are worth at this rate.
pub(in crate::sealed::listener) fn worth(tokens: u32, per_second: u32) -> Nanos {
    u64::from(tokens).saturating_mul(SECOND) / u64::from(per_second.max(1))
}

/// Tokens that come back at a fixed rate, which the caller knows.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::sealed::listener) struct Tokens {
    full_at: Nanos,
}

impl Tokens {
    /// How much is taken out at present.
    pub(in crate::sealed::listener) fn used(self, now: Nanos) -> Nanos {
        self.full_at.saturating_sub(now)
    }

    /// Whether `worth` more may be taken without having more than `most` out.
    pub(in crate::sealed::listener) fn allows(self, now: Nanos, worth: Nanos, most: Nanos) -> bool {
        self.used(now).saturating_add(worth) <= most
    }

    /// Takes `worth` out; what would pass `most` is forgiven.
    pub(in crate::sealed::listener) fn take(&mut self, now: Nanos, worth: Nanos, most: Nanos) {
        let used = self.used(now).saturating_add(worth).min(most);
        self.full_at = now.saturating_add(used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_at_their_rate_and_no_more_than_the_most() {
        let mut tokens = Tokens::default();
        let worth = worth(1, 100_000);
        let take = |tokens: &mut Tokens, now| {
            let allowed = tokens.allows(now, worth, SECOND);
            if allowed {
                tokens.take(now, worth, SECOND);
            }
            allowed
        };
        let burst = (0..200_000).filter(|_| take(&mut tokens, 0)).count();
        assert_eq!(burst, 100_000);
        // A million calls a second, each too early for a token: what is between them is not lost.
        let later = (0..1_000_000).filter(|call| take(&mut tokens, call * 1_000)).count();
        assert!((99_999..=100_001).contains(&later), "{later}");
        let rested = (0..200_000).filter(|_| take(&mut tokens, 100 * SECOND)).count();
        assert_eq!(rested, 100_000);
    }

    #[test]
    fn what_passes_the_most_is_forgiven() {
        let mut tokens = Tokens::default();
        for _ in 0..1_000 {
            tokens.take(5, SECOND / 2, SECOND);
        }
        assert_eq!(tokens.used(5), SECOND);
        assert_eq!(tokens.used(5 + SECOND), 0);
    }
}

//! Counters at rest. Knows not what they count.

/// Counters in four bytes each, as long as none needs more.
#[derive(Clone, Debug)]
pub(crate) enum Tally<const N: usize> {
    Small([u32; N]),
    Large(Box<[u64; N]>),
}

impl<const N: usize> From<[u64; N]> for Tally<N> {
    fn from(counters: [u64; N]) -> Self {
        let mut small = [0; N];
        for (small, &counter) in small.iter_mut().zip(&counters) {
            let Ok(counter) = u32::try_from(counter) else { return Self::Large(Box::new(counters)) };
            *small = counter;
        }
        Self::Small(small)
    }
}

impl<const N: usize> From<Tally<N>> for [u64; N] {
    fn from(tally: Tally<N>) -> Self {
        match tally {
            Tally::Small(counters) => counters.map(u64::from),
            Tally::Large(counters) => *counters,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_counter_is_cut() {
        for largest in [0, 1, u64::from(u32::MAX), u64::from(u32::MAX) + 1, u64::MAX] {
            let counters = [7, largest, 0];
            let tally = Tally::from(counters);
            assert_eq!(matches!(tally, Tally::Small(_)), largest <= u64::from(u32::MAX));
            assert_eq!(<[u64; 3]>::from(tally), counters);
        }
    }
}

//! Stand-in for the sliding bitmap of another room, with its interface: which of the last 1,024 numbers were seen.
//! Knows nothing of packets or messages. A number is accepted at most once.

/// Why a number is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was seen before.
    Duplicate,
    /// It is too old to tell.
    TooOld,
}

/// The last 1,024 numbers.
#[derive(Debug, Default)]
pub(crate) struct Window1024 {
    next: u64,
    bits: [u64; 16],
}

impl Window1024 {
    /// Would `check_and_set` accept this number? Changes nothing.
    pub(crate) fn check(&self, number: u64) -> Result<(), Seen> {
        if number >= self.next {
            return Ok(());
        }
        if self.next - number > 1_024 {
            return Err(Seen::TooOld);
        }
        let word = self.bits.get((number / 64 % 16) as usize).copied().unwrap_or(0);
        if word >> (number % 64) & 1 == 1 { Err(Seen::Duplicate) } else { Ok(()) }
    }

    pub(crate) fn highest(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    pub(crate) fn check_and_set(&mut self, number: u64) -> Result<(), Seen> {
        self.check(number)?;
        if number >= self.next {
            let first = self.next.max((number + 1).saturating_sub(1_024));
            for passed in first..=number {
                if let Some(word) = self.bits.get_mut((passed / 64 % 16) as usize) {
                    *word &= !(1 << (passed % 64));
                }
            }
            self.next = number + 1;
        }
        if let Some(word) = self.bits.get_mut((number / 64 % 16) as usize) {
            *word |= 1 << (number % 64);
        }
        Ok(())
    }
}

//! Which numbers were seen, for numbers that mostly grow: a bitmap that slides (RFC 6479). Must not know what the
//! numbers count. No number is ever accepted twice, and no input costs more than one pass over the bitmap.

use crate::wire::MAX_NUMBER;

/// Why a number is not new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was accepted before.
    Duplicate,
    /// It is so far behind the highest that nobody knows any more; or it is no valid number at all.
    TooOld,
}

/// A window over the last `(WORDS - 1) * 64` numbers. One word is always being refilled, so moving clears whole words.
#[derive(Clone, Debug)]
pub(crate) struct Window<const WORDS: usize> {
    words: [u64; WORDS],
    /// One more than the highest number accepted; 0 before the first.
    next: u64,
}

/// The window that is used for packet numbers.
pub(crate) type Window1024 = Window<17>;

impl<const WORDS: usize> Default for Window<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const WORDS: usize> Window<WORDS> {
    /// How many numbers, the highest included, are remembered.
    pub(crate) const SPAN: u64 = (WORDS as u64 - 1) * 64;

    pub(crate) const fn new() -> Self {
        Self { words: [0; WORDS], next: 0 }
    }

    /// As if every number had been accepted.
    pub(crate) const fn full() -> Self {
        Self { words: [u64::MAX; WORDS], next: MAX_NUMBER + 1 }
    }

    /// The highest number accepted.
    pub(crate) const fn highest(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    /// Whether `number` would be accepted.
    pub(crate) fn check(&self, number: u64) -> Result<(), Seen> {
        if number > MAX_NUMBER {
            return Err(Seen::TooOld);
        }
        // Subtraction only: an addition to the number could wrap.
        match self.next.checked_sub(number) {
            None | Some(0) => Ok(()),
            Some(behind) if behind > Self::SPAN => Err(Seen::TooOld),
            Some(_) => {
                let word = self.words.get(Self::word(number / 64)).copied().unwrap_or(u64::MAX);
                if word & bit(number) == 0 { Ok(()) } else { Err(Seen::Duplicate) }
            }
        }
    }

    /// Accepts `number`, once.
    pub(crate) fn check_and_set(&mut self, number: u64) -> Result<(), Seen> {
        self.check(number)?;
        if let Some(highest) = self.highest() {
            let first = highest / 64;
            // A jump of the whole window or more clears every word, and no word twice.
            let steps = (number / 64).saturating_sub(first).min(WORDS as u64);
            for step in 1..=steps {
                if let Some(word) = self.words.get_mut(Self::word(first.saturating_add(step))) {
                    *word = 0;
                }
            }
        }
        if let Some(word) = self.words.get_mut(Self::word(number / 64)) {
            *word |= bit(number);
        }
        self.next = self.next.max(number.saturating_add(1));
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below WORDS, a usize")]
    const fn word(index: u64) -> usize {
        (index % WORDS as u64) as usize
    }
}

const fn bit(number: u64) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const DUPLICATE: Result<(), Seen> = Err(Seen::Duplicate);
    const OLD: Result<(), Seen> = Err(Seen::TooOld);
    const SPAN: u64 = Window1024::SPAN;

    fn run(table: &[(u64, Result<(), Seen>)]) {
        let mut window = Window1024::new();
        for (step, (number, expected)) in table.iter().enumerate() {
            assert_eq!(window.check(*number), *expected, "step {step}: {number}");
            assert_eq!(window.check_and_set(*number), *expected, "step {step}: {number}");
        }
    }

    #[test]
    fn small_numbers_are_accepted_once_in_any_order() {
        run(&[
            (0, Ok(())),
            (1, Ok(())),
            (1, DUPLICATE),
            (9, Ok(())),
            (8, Ok(())),
            (7, Ok(())),
            (7, DUPLICATE),
        ]);
        run(&[(1, Ok(())), (0, Ok(())), (0, DUPLICATE), (1, DUPLICATE)]);
    }

    #[test]
    fn the_edges_of_the_window_are_exact() {
        let table = [
            (SPAN, Ok(())),
            (0, OLD),
            (1, Ok(())),
            (1, DUPLICATE),
            (SPAN - 1, Ok(())),
            (SPAN + 1, Ok(())),
            (1, OLD),
            (2, Ok(())),
            (2 * SPAN, Ok(())),
            (SPAN + 1, DUPLICATE),
            (SPAN, OLD),
            (SPAN + 2, Ok(())),
            (SPAN + 64, Ok(())),
            (SPAN + 64, DUPLICATE),
        ];
        run(&table);
    }

    #[test]
    fn going_up_then_down_leaves_nothing_out() {
        let up: Vec<_> = (0..SPAN).map(|number| (number, Ok(()))).collect();
        let down: Vec<_> = (0..SPAN).rev().map(|number| (number, DUPLICATE)).collect();
        run(&[up.clone(), down].concat());
        run(&up.into_iter().rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_huge_jump_forgets_everything_and_remembers_itself() {
        for jump in [SPAN, SPAN + 63, SPAN + 64, 17 * 64, 17 * 64 * 5, 1 << 40, MAX_NUMBER - 5] {
            let mut window = Window1024::new();
            (0..5).for_each(|number| window.check_and_set(number).unwrap());
            window.check_and_set(5 + jump).unwrap();
            assert_eq!(window.check_and_set(5 + jump), DUPLICATE);
            assert_eq!(window.highest(), Some(5 + jump));
            for number in (5 + jump + 1 - SPAN)..(5 + jump) {
                assert_eq!(window.check_and_set(number), Ok(()), "jump {jump}, number {number}");
            }
            (0..5).for_each(|number| assert_eq!(window.check_and_set(number), OLD));
        }
    }

    #[test]
    fn zero_is_never_accepted_again_after_the_largest_number() {
        run(&[
            (0, Ok(())),
            (MAX_NUMBER, Ok(())),
            (0, OLD),
            (MAX_NUMBER, DUPLICATE),
            (MAX_NUMBER - 1, Ok(())),
        ]);
    }

    #[test]
    fn a_full_window_accepts_nothing() {
        let mut window = Window1024::full();
        for number in (0..3_000).chain(MAX_NUMBER - 3_000..=MAX_NUMBER + 3) {
            assert!(window.check_and_set(number).is_err(), "{number}");
        }
    }

    #[test]
    fn numbers_above_the_cap_change_nothing() {
        let mut window = Window1024::new();
        for number in [MAX_NUMBER + 1, u64::MAX - 1, u64::MAX] {
            assert_eq!(window.check_and_set(number), OLD);
        }
        assert_eq!(window.highest(), None);
        assert_eq!(window.check_and_set(0), Ok(()));
    }

    fn agrees_with_a_set<const WORDS: usize>(numbers: &[u64]) -> Result<(), TestCaseError> {
        let mut window = Window::<WORDS>::new();
        let mut seen = HashSet::new();
        for number in numbers {
            let oldest = seen
                .iter()
                .max()
                .map_or(0, |highest: &u64| (highest + 1).saturating_sub(Window::<WORDS>::SPAN));
            let expected = match (*number < oldest, seen.contains(number)) {
                (true, _) => OLD,
                (false, true) => DUPLICATE,
                (false, false) => Ok(()),
            };
            prop_assert_eq!(window.check_and_set(*number), expected);
            if expected.is_ok() {
                seen.insert(*number);
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set_of_everything_seen(
            numbers in prop::collection::vec(prop_oneof![0..200_u64, 0..3000_u64, 100_000..102_000_u64], 0..300),
        ) {
            agrees_with_a_set::<17>(&numbers)?;
            agrees_with_a_set::<3>(&numbers)?;
        }
    }
}

//! Parity of messages that travel in pieces: which pieces stand under which parity, what is restored by one, and where
//! a parity that came is kept. Both ends think of a message as followed by its parities, one string of bytes, so that
//! ranges of it say all that arrived. PROTOCOL.md, "Parity".

use std::ops::Range;

use super::ranges::Ranges;
use crate::wire::{
    message::{MIN_FRAGMENT_LEN, Part},
    parity::ParityFrame,
};

/// Pieces for each parity that a sender aims at: a fifth more bytes.
const PIECES: u32 = 5;

/// How a message is cut: pieces of `size` bytes, the last one may be shorter; the pieces `first`, `first + step` and so
/// on stand under parity `first`, and there are `step` of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) total: u32,
    pub(crate) size: u32,
    pub(crate) step: u32,
}

impl Cut {
    /// The cut of a message that is to travel in pieces of at most `most` bytes. `None` when it cannot be cut in two.
    pub(crate) fn plan(total: usize, most: usize) -> Option<Self> {
        let total = u32::try_from(total).ok()?;
        let most = u32::try_from(most).ok()?.max(MIN_FRAGMENT_LEN);
        // To the nearest number of parities, then as many pieces as they are worth.
        let fewest = total.div_ceil(most);
        let step = ((fewest + PIECES / 2) / PIECES).max(1);
        // Not more than twice as many as it takes: every second one missing, the receiver keeps no more ranges than for
        // the fewest ("Fragments").
        let pieces = fewest.max((PIECES * step).min(2 * fewest));
        let size = total.div_ceil(pieces).max(MIN_FRAGMENT_LEN);
        let pieces = total.div_ceil(size);
        (pieces >= 2).then(|| Self { total, size, step: step.min(pieces / 2) })
    }

    /// Where the piece ends that holds byte `at`.
    pub(crate) fn end_of_piece(&self, at: usize) -> usize {
        let (size, total) = (self.size.max(1) as usize, self.total as usize);
        ((at / size + 1) * size).min(total)
    }

    /// The cut that a parity speaks of, and which parity it is.
    pub(crate) fn of(frame: &ParityFrame<'_>) -> Option<(Self, u32)> {
        let Part::Fragment { offset, total } = frame.message.part else { return None };
        let size = u32::try_from(frame.message.bytes.len()).ok().filter(|&size| size > 0)?;
        Some((Self { total, size, step: frame.step }, offset / size))
    }

    /// Bytes of all parities together.
    pub(crate) fn parity_bytes(&self) -> usize {
        self.size as usize * self.step as usize
    }

    /// Where parity `first` stands behind the message.
    pub(crate) fn place(&self, first: u32) -> Range<u64> {
        let size = u64::from(self.size);
        let start = u64::from(self.total) + u64::from(first) * size;
        start..start + size
    }

    /// Under which parity the piece stands that holds this byte.
    pub(crate) fn parity_of(&self, at: u64) -> u32 {
        let piece = at / u64::from(self.size.max(1));
        u32::try_from(piece % u64::from(self.step.max(1))).unwrap_or(0)
    }

    /// The pieces under parity `first`.
    pub(crate) fn pieces(&self, first: u32) -> impl Iterator<Item = Range<u64>> + use<> {
        let (size, total) = (u64::from(self.size.max(1)), u64::from(self.total));
        let starts = (u64::from(first) * size..total).step_by(self.stride());
        starts.map(move |start| start..(start + size).min(total))
    }

    fn stride(&self) -> usize {
        (self.size as usize).saturating_mul(self.step as usize).max(1)
    }

    /// The one piece that parity `first` can restore: it is here, and of its pieces only this one is not.
    pub(crate) fn restorable(&self, got: &Ranges, first: u32) -> Option<Range<u64>> {
        if !got.covers(&self.place(first)) {
            return None;
        }
        let mut missing = self.pieces(first).filter(|piece| !got.covers(piece));
        let one = missing.next()?;
        missing.next().is_none().then_some(one)
    }

    /// Whether with these the whole message is there, or can be restored.
    pub(crate) fn suffices(&self, got: &Ranges) -> bool {
        (0..self.step).all(|first| self.suffices_under(got, first))
    }

    /// Whether what stands under parity `first` is there, or can be restored.
    pub(crate) fn suffices_under(&self, got: &Ranges, first: u32) -> bool {
        let allowed = usize::from(got.covers(&self.place(first)));
        self.pieces(first).filter(|piece| !got.covers(piece)).take(2).count() <= allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::MIN_FRAGMENT;

    #[test]
    fn a_cut_is_fair_and_costs_about_a_fifth() {
        for most in [460_usize, 1_000, 1_129, 1_381] {
            for total in (most + 1..70_000).step_by(37) {
                let cut = Cut::plan(total, most).unwrap();
                let (size, step) = (cut.size as usize, cut.step as usize);
                let (fewest, pieces) = (total.div_ceil(most), total.div_ceil(size));
                assert!((MIN_FRAGMENT..=most).contains(&size), "{total} {most} {cut:?}");
                assert!(
                    pieces <= 2 * fewest && pieces.div_ceil(2) <= fewest.max(2),
                    "{total} {most} {cut:?}"
                );
                for first in 0..cut.step {
                    let under = cut.pieces(first).count();
                    assert!((2..=8).contains(&under), "{total} {most} {cut:?}");
                    assert!(under >= 4, "{total} {most} {cut:?}");
                }
                let small = total < 5 * MIN_FRAGMENT;
                assert!(small || size * step * 4 <= total + 4 * step, "{total} {most} {cut:?}");
                let mut all: Vec<_> = (0..cut.step).flat_map(|first| cut.pieces(first)).collect();
                all.sort_unstable_by_key(|piece| piece.start);
                assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
                assert_eq!((all[0].start, all[all.len() - 1].end), (0, total as u64));
            }
        }
        assert_eq!(Cut::plan(100, 1_000), None);
        let small = Cut::plan(300, 100).unwrap();
        assert_eq!((small.size, small.step), (128, 1));
    }

    #[test]
    fn what_is_enough_is_judged_parity_by_parity() {
        let cut = Cut { total: 1_000, size: 200, step: 2 };
        let mut got = Ranges::new();
        for part in [0..200, 400..600, 600..800] {
            got.insert(part);
        }
        assert!(!cut.suffices(&got));
        got.insert(cut.place(0));
        assert!(!cut.suffices(&got), "200..400 stands under the other");
        assert_eq!(cut.restorable(&got, 0), Some(800..1_000));
        got.insert(cut.place(1));
        assert!(cut.suffices(&got));
    }
}

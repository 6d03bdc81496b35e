//! A set of numbers kept as sorted, disjoint, non-adjacent ranges: bytes of a message, packets received, messages
//! skipped. Knows nothing of what the numbers mean; whoever fills it bounds it, by `len` before each insertion that
//! `extends`. Its memory is one vector, which `clear` keeps and `shrink` gives back.

use std::ops::{Range, RangeInclusive};

use super::on_demand::Empty;

/// Numbers as ranges, lowest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    list: Vec<Range<u64>>,
}

impl Ranges {
    /// The empty set. Allocates nothing.
    pub(crate) const fn new() -> Self {
        Self { list: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many ranges there are (not how many numbers).
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// How many numbers there are. Takes a pass over the ranges.
    #[cfg(test)]
    pub(crate) fn total(&self) -> u64 {
        self.list.iter().map(|range| range.end - range.start).sum()
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.at_or_after(number).is_some_and(|range| range.start <= number)
    }

    /// Is every number of `wanted` in the set? True for an empty range.
    pub(crate) fn covers(&self, wanted: &Range<u64>) -> bool {
        wanted.is_empty()
            || self
                .at_or_after(wanted.start)
                .is_some_and(|range| range.start <= wanted.start && wanted.end <= range.end)
    }

    /// Is any number of `wanted` in the set?
    pub(crate) fn touches(&self, wanted: &Range<u64>) -> bool {
        self.at_or_after(wanted.start).is_some_and(|range| range.start < wanted.end)
    }

    /// Would inserting `new` add a range, rather than lengthen or join those that are there?
    pub(crate) fn extends(&self, new: &Range<u64>) -> bool {
        let touched = self.touched(new);
        !new.is_empty() && touched.is_empty()
    }

    /// Adds all numbers of `new`.
    pub(crate) fn insert(&mut self, new: Range<u64>) {
        if new.is_empty() {
            return;
        }
        let touched = self.touched(&new);
        let Some(first) = self.list.get_mut(touched.start).filter(|_| !touched.is_empty()) else {
            self.list.insert(touched.start, new);
            return;
        };
        first.start = first.start.min(new.start);
        first.end = first.end.max(new.end);
        if touched.len() > 1 {
            let end = self.list.get(touched.end - 1).map_or(new.end, |last| last.end.max(new.end));
            if let Some(first) = self.list.get_mut(touched.start) {
                first.end = end;
            }
            self.list.drain(touched.start + 1..touched.end);
        }
    }

    /// Takes all numbers of `gone` out. May add one range.
    pub(crate) fn remove(&mut self, gone: Range<u64>) {
        if gone.is_empty() {
            return;
        }
        let start = self.list.partition_point(|range| range.end <= gone.start);
        let end = self.list.partition_point(|range| range.start < gone.end);
        let left = self.list.get(start).map(|range| range.start..gone.start);
        let right = end.checked_sub(1).and_then(|last| self.list.get(last)).map(|range| gone.end..range.end);
        let (Some(left), Some(right)) = (left, right) else { return };
        if start >= end {
            return;
        }
        let (mut start, mut end) = (start, end);
        if let Some(slot) = self.list.get_mut(start).filter(|_| !left.is_empty()) {
            *slot = left;
            start += 1;
        }
        if start == end && !right.is_empty() {
            self.list.insert(start, right);
        } else if let Some(slot) = self.list.get_mut(end - 1).filter(|_| !right.is_empty()) {
            *slot = right;
            end -= 1;
        }
        self.list.drain(start..end);
    }

    /// Takes all numbers below `floor` out.
    #[cfg(test)]
    pub(crate) fn remove_below(&mut self, floor: u64) {
        self.remove(0..floor);
    }

    /// Takes the lowest range out.
    pub(crate) fn pop_first(&mut self) -> Option<Range<u64>> {
        if self.list.is_empty() { None } else { Some(self.list.remove(0)) }
    }

    /// The parts of `within` that are not in the set, lowest first.
    pub(crate) fn gaps(&self, within: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let first = self.list.partition_point(|range| range.end <= within.start);
        let mut ranges = self.list.get(first..).unwrap_or_default().iter();
        let mut at = within.start;
        std::iter::from_fn(move || {
            while at < within.end {
                let (hole_end, next) = match ranges.next() {
                    Some(range) if range.start < within.end => (range.start, range.end),
                    _ => (within.end, within.end),
                };
                let gap = at..hole_end;
                at = next;
                if !gap.is_empty() {
                    return Some(gap);
                }
            }
            None
        })
    }

    /// How many ranges hold a number that is at least `floor`.
    pub(crate) fn len_from(&self, floor: u64) -> usize {
        self.list.len() - self.list.partition_point(|range| range.end <= floor)
    }

    /// How many ranges hold a number below `end`.
    pub(crate) fn len_up_to(&self, end: u64) -> usize {
        self.list.partition_point(|range| range.start < end)
    }

    /// The ranges, lowest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + ExactSizeIterator + '_ {
        self.list.iter().cloned()
    }

    /// The ranges, highest first and with both ends inside, as ACK frames want them.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = RangeInclusive<u64>> + '_ {
        self.list.iter().rev().map(|range| range.start..=range.end - 1)
    }

    /// The highest number.
    pub(crate) fn highest(&self) -> Option<u64> {
        self.list.last().map(|range| range.end - 1)
    }

    /// Empties the set and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    /// Gives back memory that is not in use.
    pub(crate) fn shrink(&mut self) {
        self.list.shrink_to_fit();
    }

    /// How many ranges fit before memory must grow.
    pub(crate) fn capacity(&self) -> usize {
        self.list.capacity()
    }

    /// The first range that ends above `number`.
    fn at_or_after(&self, number: u64) -> Option<&Range<u64>> {
        // The last range is the one asked for most: the newest packet, the next fragment.
        match self.list.last() {
            Some(last) if last.start <= number => Some(last).filter(|last| last.end > number),
            _ => self.list.get(self.list.partition_point(|range| range.end <= number)),
        }
    }

    /// Positions of the ranges that overlap `new` or lie right beside it.
    fn touched(&self, new: &Range<u64>) -> Range<usize> {
        if self.list.last().is_none_or(|last| last.end < new.start) {
            return self.list.len()..self.list.len();
        }
        let start = self.list.partition_point(|range| range.end < new.start);
        let end = self.list.partition_point(|range| range.start <= new.end);
        start..end.max(start)
    }
}

impl Empty for Ranges {
    const EMPTY: &'static Self = &Self::new();

    fn rest(&mut self) -> bool {
        self.shrink();
        self.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_and_overlaps_become_one_range() {
        let mut set = Ranges::new();
        for range in [10..20, 30..40, 20..25, 25..30, 0..1, 1..5] {
            set.insert(range);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [0..5, 10..40]);
        assert_eq!(set.gaps(3..50).collect::<Vec<_>>(), [5..10, 40..50]);
        assert_eq!(set.newest_first().collect::<Vec<_>>(), [10..=39, 0..=4]);
        assert!(set.covers(&(12..40)) && !set.covers(&(4..12)) && set.covers(&(7..7)));
        assert!(set.extends(&(6..9)) && !set.extends(&(5..9)) && !set.extends(&(6..10)));
        assert_eq!((set.len_from(4), set.len_from(5), set.len_from(40)), (2, 1, 0));
    }

    #[test]
    fn removing_can_split_a_range() {
        let mut set = Ranges::new();
        set.insert(0..100);
        set.remove(40..60);
        set.remove_below(10);
        assert_eq!(set.iter().collect::<Vec<_>>(), [10..40, 60..100]);
        assert_eq!(set.pop_first(), Some(10..40));
        set.remove(0..1_000);
        assert!(set.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn agrees_with_a_set_of_numbers(steps in prop::collection::vec((any::<bool>(), 0_u64..200, 0_u64..40), 0..80)) {
            let mut set = Ranges::new();
            let mut oracle = BTreeSet::new();
            for (add, start, len) in steps {
                let range = start..start + len;
                let before = set.len();
                let extends = set.extends(&range);
                if add {
                    prop_assert_eq!(set.covers(&range), range.clone().all(|n| oracle.contains(&n)));
                    let missing: Vec<u64> = range.clone().filter(|n| !oracle.contains(n)).collect();
                    prop_assert_eq!(set.gaps(range.clone()).flatten().collect::<Vec<_>>(), missing);
                    set.insert(range.clone());
                    oracle.extend(range);
                    prop_assert_eq!(set.len() > before, extends);
                } else {
                    set.remove(range.clone());
                    range.for_each(|n| { oracle.remove(&n); });
                }
                prop_assert_eq!(set.iter().flatten().collect::<Vec<_>>(), oracle.iter().copied().collect::<Vec<_>>());
                prop_assert!(set.iter().zip(set.iter().skip(1)).all(|(a, b)| a.end < b.start));
                prop_assert_eq!(set.total(), oracle.len() as u64);
                prop_assert_eq!(set.highest(), oracle.last().copied());
                for number in 0..250 {
                    prop_assert_eq!(set.contains(number), oracle.contains(&number));
                }
            }
        }
    }
}

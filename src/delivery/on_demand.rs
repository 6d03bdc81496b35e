//! Memory that a session has only while it needs it: a collection behind a pointer that is empty while nothing is in it.
//! A queue of its own costs 24 to 32 bytes even when it is empty, and an idle session has a dozen of them.

use std::{
    collections::{BinaryHeap, VecDeque},
    ops::{Deref, DerefMut},
};

/// What can be made, and read, without memory.
pub(crate) trait Empty: Default + 'static {
    /// One that holds nothing.
    const EMPTY: &'static Self;

    /// Gives memory back that is not in use; whether nothing at all is held.
    fn rest(&mut self) -> bool;
}

/// A `T` that takes the room of a pointer until it is first changed, and again after `rest`.
#[derive(Clone, Debug)]
pub(crate) struct OnDemand<T>(Option<Box<T>>);

impl<T> Default for OnDemand<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Empty> Deref for OnDemand<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::EMPTY)
    }
}

impl<T: Empty> DerefMut for OnDemand<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

impl<T: Empty> OnDemand<T> {
    /// Gives back memory that is not in use.
    pub(crate) fn rest(&mut self) {
        if self.0.as_deref_mut().is_some_and(T::rest) {
            self.0 = None;
        }
    }
}

impl<T: 'static> Empty for VecDeque<T> {
    const EMPTY: &'static Self = &Self::new();

    fn rest(&mut self) -> bool {
        self.shrink_to_fit();
        self.is_empty()
    }
}

impl<T: Ord + 'static> Empty for BinaryHeap<T> {
    const EMPTY: &'static Self = &Self::new();

    fn rest(&mut self) -> bool {
        self.shrink_to_fit();
        self.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_empty_until_it_is_changed_and_after_it_has_rested() {
        let mut queue = OnDemand::<VecDeque<u8>>::default();
        assert!(queue.is_empty() && queue.front().is_none() && queue.0.is_none());
        queue.push_back(7);
        queue.rest();
        assert_eq!((queue.len(), queue.0.is_some()), (1, true));
        assert_eq!(queue.pop_front(), Some(7));
        queue.rest();
        assert!(queue.0.is_none() && queue.is_empty());
        assert_eq!(size_of::<OnDemand<VecDeque<u8>>>(), size_of::<usize>());
    }
}

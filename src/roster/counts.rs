//! How many of something each origin has, exactly. One node of a tree for each origin that has any: whoever counts with
//! this sets a bound on all. The tree compares and does not hash, so nobody can choose what falls together.

use std::collections::{BTreeMap, btree_map::Entry};

use super::Origin;

#[derive(Debug, Default)]
pub(crate) struct Counts {
    by_origin: BTreeMap<Origin, usize>,
    all: usize,
}

impl Counts {
    pub(crate) fn all(&self) -> usize {
        self.all
    }

    pub(crate) fn of(&self, origin: &Origin) -> usize {
        self.by_origin.get(origin).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, origin: Origin) {
        let own = self.by_origin.entry(origin).or_default();
        *own = own.saturating_add(1);
        self.all = self.all.saturating_add(1);
    }

    pub(crate) fn remove(&mut self, origin: &Origin) {
        let Entry::Occupied(mut own) = self.by_origin.entry(*origin) else { return };
        self.all = self.all.saturating_sub(1);
        match own.get().checked_sub(1) {
            None | Some(0) => drop(own.remove()),
            Some(left) => *own.get_mut() = left,
        }
    }

    /// Origins that have any.
    #[cfg(test)]
    pub(crate) fn origins(&self) -> usize {
        self.by_origin.len()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn origin(net: u8) -> Origin {
        Origin::of(SocketAddr::from(([10, 0, net, 1], 1)), &[])
    }

    #[test]
    fn each_origin_has_what_it_took_and_nothing_stays_behind() {
        let mut counts = Counts::default();
        for number in 0..100 {
            counts.add(origin(number % 7));
        }
        assert_eq!((counts.all(), counts.of(&origin(0)), counts.of(&origin(6))), (100, 15, 14));
        assert_eq!((counts.of(&origin(7)), counts.origins()), (0, 7));
        for number in 0..100 {
            counts.remove(&origin(number % 7));
        }
        counts.remove(&origin(0));
        assert_eq!((counts.all(), counts.of(&origin(0)), counts.origins()), (0, 0, 0));
    }
}

//! Hellos that were answered and not confirmed yet: as many as a constant says, for as long as a constant says. The
//! newest come first: who gets an answer and confirms it does so within a round trip, and a stranger who only asks has
//! nothing from staying. PROTOCOL.md, "Plain server".

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{connection::Negotiated, roster::Origin};

/// How long an answer may be confirmed.
const LIFE: Duration = Duration::from_secs(5);
/// An origin's share of the table, as a divisor of its size.
const SHARE: usize = 8;

/// Who said hello: an address, and the id that it chose.
pub(super) type Stranger = (SocketAddr, u64);

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Our id in the session to come.
    pub(super) own: u64,
    pub(super) negotiated: Negotiated,
    pub(super) origin: Origin,
    created: Instant,
    /// Entries are numbered as they come.
    number: u64,
}

/// All entries. The trees compare and do not hash, so nobody can choose what falls together.
#[derive(Debug)]
pub(super) struct HalfOpen {
    entries: BTreeMap<Stranger, Entry>,
    by_age: BTreeMap<u64, Stranger>,
    /// Numbers of the entries of each origin.
    held: BTreeMap<Origin, BTreeSet<u64>>,
    most: usize,
    next: u64,
}

impl HalfOpen {
    pub(super) fn new(most: usize) -> Self {
        Self { entries: BTreeMap::new(), by_age: BTreeMap::new(), held: BTreeMap::new(), most, next: 0 }
    }

    pub(super) fn get(&self, stranger: &Stranger) -> Option<&Entry> {
        self.entries.get(stranger)
    }

    /// Keeps an answer, in the place of an older one if need be: once more than half of the table is taken, of one of the
    /// same origin if that has its share.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        stranger: Stranger,
        (own, negotiated, origin): (u64, Negotiated, Origin),
    ) {
        let held = self.held.get(&origin);
        let crowded = self.entries.len() * 2 > self.most;
        let oldest = if crowded && held.is_some_and(|held| held.len() >= (self.most / SHARE).max(1)) {
            held.and_then(|held| held.first())
        } else if self.entries.len() >= self.most {
            self.by_age.keys().next()
        } else {
            None
        };
        if let Some(oldest) = oldest.and_then(|number| self.by_age.get(number)).copied() {
            self.take(&oldest);
        }
        let number = self.next;
        self.next += 1;
        self.entries.insert(stranger, Entry { own, negotiated, origin, created: now, number });
        self.by_age.insert(number, stranger);
        self.held.entry(origin).or_default().insert(number);
    }

    /// Takes an entry out: it was confirmed, or is too old.
    pub(super) fn take(&mut self, stranger: &Stranger) -> Option<Entry> {
        let entry = self.entries.remove(stranger)?;
        self.by_age.remove(&entry.number);
        if let Some(held) = self.held.get_mut(&entry.origin) {
            held.remove(&entry.number);
            if held.is_empty() {
                self.held.remove(&entry.origin);
            }
        }
        Some(entry)
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.by_age.clear();
        self.held.clear();
    }

    fn oldest(&self) -> Option<(Stranger, Instant)> {
        let (_, stranger) = self.by_age.first_key_value()?;
        self.entries.get(stranger).map(|entry| (*stranger, entry.created))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.oldest().map(|(_, created)| created + LIFE)
    }

    /// Forgets what is too old.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some((stranger, _)) = self.oldest().filter(|(_, created)| *created + LIFE <= now) {
            self.take(&stranger);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::Environment;

    fn negotiated() -> Negotiated {
        Negotiated {
            idle_timeout: Duration::from_secs(30),
            max_datagram: 1_200,
            max_fragments: 1,
            max_message: 1,
            overhead: 16,
        }
    }

    fn hello(table: &mut HalfOpen, now: Instant, address: [u8; 4], id: u64) {
        let from = SocketAddr::from((address, 9));
        table.insert(now, (from, id), (id, negotiated(), Origin::of(from, &[])));
        assert_eq!(table.entries.len(), table.by_age.len());
        assert_eq!(table.held.values().map(BTreeSet::len).sum::<usize>(), table.entries.len());
    }

    #[test]
    fn the_table_never_grows_beyond_its_bound_and_the_newest_stay() {
        let now = Environment::os().now();
        let mut table = HalfOpen::new(64);
        for id in 0..1_000_u64 {
            let [.., high, low] = id.to_be_bytes();
            hello(&mut table, now, [10, high, low, 1], id);
            assert!(table.entries.len() <= 64);
        }
        let from = |id: u64| {
            let [.., high, low] = id.to_be_bytes();
            (SocketAddr::from(([10, high, low, 1], 9)), id)
        };
        assert!(table.get(&from(999)).is_some() && table.get(&from(936)).is_some());
        assert!(table.get(&from(935)).is_none());
    }

    #[test]
    fn a_prefix_that_asks_and_asks_pushes_out_its_own_and_nobody_else() {
        let now = Environment::os().now();
        let mut table = HalfOpen::new(64);
        for id in 0..10 {
            hello(&mut table, now, [10, 0, id, 1], u64::from(id));
        }
        for id in 0..1_000_u64 {
            hello(&mut table, now, [192, 0, 2, (id % 250) as u8], 100 + id);
        }
        for id in 0..10_u8 {
            assert!(table.get(&(SocketAddr::from(([10, 0, id, 1], 9)), id.into())).is_some(), "{id}");
        }
        assert!(table.entries.len() <= 34, "{}", table.entries.len());
    }

    #[test]
    fn an_answer_may_be_confirmed_for_five_seconds() {
        let now = Environment::os().now();
        let mut table = HalfOpen::new(64);
        hello(&mut table, now, [10, 0, 0, 1], 1);
        assert_eq!(table.deadline(), Some(now + LIFE));
        table.handle_timeout(now + LIFE - Duration::from_millis(1));
        assert_eq!(table.entries.len(), 1);
        table.handle_timeout(now + LIFE);
        assert_eq!((table.entries.len(), table.deadline()), (0, None));
    }
}

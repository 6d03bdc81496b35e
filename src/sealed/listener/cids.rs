//! Connection ids that a server gives to one peer: which are good, which is next, when an old one is forgotten. The ids
//! are random numbers of ours, so nobody can guess one and their bytes serve as their own hash.
//! PROTOCOL.md, "Connection ids".

use std::{
    hash::{BuildHasher, Hasher},
    time::{Duration, Instant},
};

use super::gate::{Nanos, SECOND, Tokens, worth};
use crate::wire::frame::CID_LEN;

/// Ids of one session that are good at once, the one that is being retired included.
const MOST: usize = 4;
/// Spares that a client should hold.
const SPARES: usize = 2;
/// Least time between two new ids.
const BETWEEN: Duration = Duration::from_secs(1);
/// Datagrams a second from other addresses than the session's own that one id may cause to be opened.
const STRANGERS_PER_SECOND: u32 = 1_000;

pub(crate) type Cid = [u8; CID_LEN];

#[derive(Clone, Copy, Debug)]
struct Issued {
    cid: Cid,
    /// A later one was used: this one is forgotten then.
    forget_at: Option<Instant>,
    /// What strangers who have seen it may still cause to be opened.
    strangers: Tokens,
}

impl Issued {
    fn new(cid: Cid) -> Self {
        Self { cid, forget_at: None, strangers: Tokens::default() }
    }
}

/// The ids of one session, oldest first. The oldest is forgotten first, so that their numbers have no gap.
#[derive(Debug)]
pub(super) struct Cids {
    issued: Vec<Issued>,
    next_sequence: u64,
    /// The oldest that is not retired, which most packets come under.
    current: u64,
    in_use: Cid,
    last_given: Option<Instant>,
}

impl Cids {
    /// The first id, the one in the handshake, has the sequence number 0.
    pub(super) fn new(first: Cid) -> Self {
        Self {
            issued: vec![Issued::new(first)],
            next_sequence: 1,
            current: 0,
            in_use: first,
            last_given: None,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Cid> {
        self.issued.iter().map(|issued| issued.cid)
    }

    /// Whether the client is short of spares and may be given one now. At the start it gets all of them at once.
    pub(super) fn wants_one(&self, now: Instant) -> bool {
        let rested = self.next_sequence <= SPARES as u64
            || self.last_given.is_none_or(|last| now.saturating_duration_since(last) >= BETWEEN);
        rested && self.issued.len() < MOST && self.spares() < SPARES
    }

    fn spares(&self) -> usize {
        usize::try_from(self.next_sequence.saturating_sub(self.current + 1)).unwrap_or(usize::MAX)
    }

    /// The number of the oldest.
    fn first(&self) -> u64 {
        self.next_sequence.saturating_sub(self.issued.len() as u64)
    }

    /// When `wants_one` changes its mind.
    pub(super) fn deadline(&self) -> Option<Instant> {
        // They are forgotten in their order, so only the oldest one's time counts.
        let forget = self.issued.first().and_then(|oldest| oldest.forget_at);
        let give = self.last_given.filter(|_| self.spares() < SPARES).map(|last| last + BETWEEN);
        [forget, give.filter(|_| self.issued.len() < MOST)].into_iter().flatten().min()
    }

    /// Takes a fresh id. Gives its sequence number and the one below which ids are retired.
    pub(super) fn give(&mut self, now: Instant, cid: Cid) -> (u64, u64) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        // Most have three all their life.
        self.issued.reserve_exact(if self.issued.len() == 1 { SPARES } else { 1 });
        self.issued.push(Issued::new(cid));
        self.last_given = Some(now);
        (sequence, self.current)
    }

    /// An authentic packet came under this id: all older ones are retired, and forgotten after `keep`.
    pub(super) fn used(&mut self, now: Instant, cid: &Cid, keep: impl FnOnce() -> Duration) {
        if *cid == self.in_use {
            return;
        }
        let Some(at) = self.issued.iter().position(|issued| issued.cid == *cid) else { return };
        let sequence = self.first() + at as u64;
        if sequence <= self.current {
            return;
        }
        (self.current, self.in_use) = (sequence, *cid);
        let keep = keep();
        for older in self.issued.iter_mut().take(at) {
            older.forget_at.get_or_insert(now + keep);
        }
    }

    /// Whether one more datagram under this id from an address that is not the session's own may be opened.
    pub(super) fn take_stranger(&mut self, now: Nanos, cid: &Cid) -> bool {
        let Some(issued) = self.issued.iter_mut().find(|issued| issued.cid == *cid) else { return false };
        let one = worth(1, STRANGERS_PER_SECOND);
        let allowed = issued.strangers.allows(now, one, SECOND);
        if allowed {
            issued.strangers.take(now, one, SECOND);
        }
        allowed
    }

    /// Takes out what is to be forgotten now.
    pub(super) fn take_forgotten(&mut self, now: Instant) -> Option<Cid> {
        self.issued.first().filter(|oldest| oldest.forget_at.is_some_and(|at| at <= now))?;
        Some(self.issued.remove(0).cid)
    }
}

/// Ids are random already: their bytes are their hash.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnBytes;

impl BuildHasher for OwnBytes {
    type Hasher = Last8;

    fn build_hasher(&self) -> Last8 {
        Last8(0)
    }
}

#[derive(Debug)]
pub(super) struct Last8(u64);

impl Hasher for Last8 {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            // The byte that names the worker is the same in all: spread the others.
            self.0 = u64::from_le_bytes(*last).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::Environment;

    #[test]
    fn nothing_is_due_before_it_can_be_done_however_short_later_ids_are_kept() {
        let now = Environment::os().now();
        let at = |ms| now + Duration::from_millis(ms);
        let mut cids = Cids::new([0; 8]);
        cids.give(now, [1; 8]);
        cids.give(now, [2; 8]);
        cids.used(now, &[1; 8], || Duration::from_secs(3));
        cids.used(at(100), &[2; 8], || Duration::from_secs(1));
        for ms in (0..4_000).step_by(50) {
            while cids.take_forgotten(at(ms)).is_some() {}
            while cids.wants_one(at(ms)) {
                cids.give(at(ms), [9; 8]);
            }
            assert!(cids.deadline().is_none_or(|due| due > at(ms)), "{ms}");
        }
    }

    #[test]
    fn a_client_holds_two_spares_and_never_more_than_four_ids_are_good() {
        let now = Environment::os().now();
        let keep = Duration::from_secs(5);
        let mut cids = Cids::new([0; 8]);
        let mut next = 1;
        let mut given = Vec::new();
        let mut tick = |cids: &mut Cids, now: Instant| {
            while cids.take_forgotten(now).is_some() {}
            while cids.wants_one(now) {
                given.push(cids.give(now, [next; 8]));
                next += 1;
            }
            assert!(cids.iter().count() <= MOST);
            given.len()
        };
        assert_eq!(tick(&mut cids, now), 2, "both spares at the start");
        cids.used(now, &[1; 8], || keep);
        assert_eq!(tick(&mut cids, now), 2, "not yet another one");
        let later = now + BETWEEN;
        assert_eq!(tick(&mut cids, later), 3);
        cids.used(later, &[2; 8], || keep);
        cids.used(later, &[0; 8], || keep);
        assert_eq!(tick(&mut cids, later + BETWEEN), 3, "four are good until old ones are forgotten");
        assert_eq!(tick(&mut cids, now + keep), 4);
        assert_eq!(given, [(1, 0), (2, 0), (3, 1), (4, 2)]);
    }

    #[test]
    fn strangers_have_a_thousand_datagrams_a_second_of_each_id() {
        let mut cids = Cids::new([0; 8]);
        cids.give(Environment::os().now(), [1; 8]);
        for id in 0..2 {
            let burst = (0..5_000).filter(|_| cids.take_stranger(0, &[id; 8])).count();
            assert_eq!(burst, 1_000);
            let later = (0..5_000).filter(|_| cids.take_stranger(SECOND / 2, &[id; 8])).count();
            assert_eq!(later, 500);
        }
        assert!(!cids.take_stranger(0, &[2; 8]), "an id of nobody's");
    }
}

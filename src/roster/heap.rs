//! Which peer is due next: a binary heap in which each peer stands at most once and knows its place, so that a deadline
//! can be moved or taken out in O(log n). Knows nothing of peers but their index.

use std::time::{Duration, Instant};

/// How soon a peer is looked at again whose timer is still due after it ran.
const AGAIN: Duration = Duration::from_millis(1);
/// Not in the heap.
const NOWHERE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Due {
    at: Instant,
    peer: u32,
}

/// Deadlines by peer index, the earliest on top.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: Vec<Due>,
    /// Place of each peer in `heap`, or `NOWHERE`.
    places: Vec<u32>,
}

impl Deadlines {
    /// The earliest entry and whose it is.
    pub(crate) fn next(&self) -> Option<(Instant, u32)> {
        self.heap.first().map(|due| (due.at, due.peer))
    }

    /// Sees to it that a peer that was looked at `now` is named when it is due, or before. What is due still waits for its
    /// turn to send, not for the clock, and no call must come back to the same peer.
    ///
    /// Who says something makes its deadlines later: an entry that is too early stays, and is set right when its time
    /// comes, so that most packets move nothing.
    pub(crate) fn set_after(&mut self, peer: u32, now: Instant, at: Instant) {
        let at = if at > now { at } else { now + AGAIN };
        let entry = self.place(peer).and_then(|place| self.at(place));
        if entry.is_none_or(|entry| entry <= now || entry > at) {
            self.set(peer, Some(at));
        }
    }

    /// Sets, moves or takes out (`None`) the deadline of a peer.
    pub(crate) fn set(&mut self, peer: u32, at: Option<Instant>) {
        let place = self.place(peer);
        match (place, at) {
            (None, None) => {}
            (None, Some(at)) => {
                let last = self.heap.len();
                self.heap.push(Due { at, peer });
                self.note(last);
                self.rise(last);
            }
            (Some(place), Some(at)) => {
                let Some(due) = self.heap.get_mut(place) else { return };
                let later = at > due.at;
                due.at = at;
                if later { self.sink(place) } else { self.rise(place) }
            }
            (Some(place), None) => self.remove(peer, place),
        }
    }

    fn remove(&mut self, peer: u32, place: usize) {
        let last = self.heap.len().saturating_sub(1);
        self.swap(place, last);
        self.heap.pop();
        if let Some(entry) = self.places.get_mut(peer as usize) {
            *entry = NOWHERE;
        }
        if place < self.heap.len() {
            self.rise(place);
            self.sink(place);
        }
    }

    fn place(&self, peer: u32) -> Option<usize> {
        self.places.get(peer as usize).filter(|&&place| place != NOWHERE).map(|&place| place as usize)
    }

    /// Writes down where the entry at `place` stands.
    fn note(&mut self, place: usize) {
        let Some(peer) = self.heap.get(place).map(|due| due.peer as usize) else { return };
        if self.places.len() <= peer {
            self.places.resize(peer + 1, NOWHERE);
        }
        if let (Some(entry), Ok(place)) = (self.places.get_mut(peer), u32::try_from(place)) {
            *entry = place;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        if a != b && a < self.heap.len() && b < self.heap.len() {
            self.heap.swap(a, b);
            self.note(a);
            self.note(b);
        }
    }

    fn at(&self, place: usize) -> Option<Instant> {
        self.heap.get(place).map(|due| due.at)
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.at(parent) <= self.at(place) {
                return;
            }
            self.swap(place, parent);
            place = parent;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let mut least = place;
            for child in [left, right] {
                if self.at(child).is_some_and(|at| self.at(least).is_some_and(|least| at < least)) {
                    least = child;
                }
            }
            if least == place {
                return;
            }
            self.swap(place, least);
            place = least;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use super::*;
    use crate::os::Environment;

    #[test]
    fn an_entry_that_is_too_early_stays_until_its_time_comes() {
        let (now, ms) = (Environment::os().now(), Duration::from_millis(1));
        let mut heap = Deadlines::default();
        let at = |heap: &Deadlines| heap.next().map(|(at, _)| at);
        heap.set_after(7, now, now + 10 * ms);
        heap.set_after(7, now + ms, now + 20 * ms);
        assert_eq!(at(&heap), Some(now + 10 * ms), "later: nothing moves");
        heap.set_after(7, now + ms, now + 5 * ms);
        assert_eq!(at(&heap), Some(now + 5 * ms), "earlier: at once");
        heap.set_after(7, now + 5 * ms, now + 20 * ms);
        assert_eq!(at(&heap), Some(now + 20 * ms), "its time has come");
        heap.set_after(7, now + 20 * ms, now + 20 * ms);
        assert_eq!(at(&heap), Some(now + 21 * ms), "what is due after it ran is due again soon");
    }

    #[test]
    fn whatever_is_set_moved_and_taken_out_the_earliest_is_on_top() {
        let start = Environment::os().now();
        let mut heap = Deadlines::default();
        let mut model: HashMap<u32, Instant> = HashMap::new();
        let mut random = 1_u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let peer = (random >> 33) as u32 % 200;
            let at = (random >> 60 != 0).then(|| start + Duration::from_micros((random >> 20) & 0xffff));
            heap.set(peer, at);
            match at {
                Some(at) => drop(model.insert(peer, at)),
                None => drop(model.remove(&peer)),
            }
            assert_eq!(heap.next().map(|(at, _)| at), model.values().min().copied());
            if let Some((at, peer)) = heap.next() {
                assert_eq!(model.get(&peer), Some(&at));
            }
        }
    }
}

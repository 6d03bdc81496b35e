//! Answers of a server that nobody has confirmed: as many as a constant says, for as long as a constant says. Knows what
//! an entry holds by its size only. An entry owns the id by which its peer will be found. PROTOCOL.md, "Flood defence".

use std::{
    collections::BTreeMap,
    mem,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::gate::Admitted;
use crate::{
    roster::Origin,
    sealed::{
        budget::{FAILING_READS, PerSecond},
        half_open::{ENTRY_LIFE, SAFE_AGE},
        messages::NoiseBytes,
        timers::{SLEPT, TICK},
    },
    wire::frame::CID_LEN,
};

type Cid = [u8; CID_LEN];

/// A prefix's share of the table, as a divisor of its size.
const SHARE: usize = 8;

/// An answer, with what its peer's next message is read with.
#[derive(Debug)]
pub(super) struct Entry<S> {
    /// BLAKE2s of the Noise message that we answered.
    pub(super) id: [u8; 32],
    pub(super) cid: Cid,
    pub(super) response: NoiseBytes,
    pub(super) stage: S,
    pub(super) reads: PerSecond,
    /// Whether the first reading of FIN was paid for with the INIT.
    prepaid: bool,
    /// Whether a RESP went to another address than the first one.
    spread: bool,
    admitted: Admitted,
    created: Instant,
    /// Entries are numbered as they come.
    number: u64,
}

impl<S> Entry<S> {
    /// Whether reading a FIN is paid for already. Says so once.
    pub(super) fn take_prepaid(&mut self) -> bool {
        mem::replace(&mut self.prepaid, false)
    }

    /// Whether the address brought a cookie.
    pub(super) fn is_validated(&self) -> bool {
        self.admitted.validated
    }

    /// Where the first INIT came from.
    pub(super) fn from(&self) -> SocketAddr {
        self.admitted.from
    }

    /// Notes that RESP is about to go there, in answer to an INIT from there.
    pub(super) fn answer_to(&mut self, to: SocketAddr) {
        self.spread |= to != self.admitted.from;
    }

    /// Whether every RESP of this entry went to this address, so that who confirms from there has received there.
    pub(super) fn proves(&self, from: SocketAddr) -> bool {
        !self.spread && self.admitted.from == from
    }
}

/// What an answer is made of.
#[derive(Debug)]
pub(super) struct Answer<S> {
    pub(super) id: [u8; 32],
    /// Of our own making, and nobody else's.
    pub(super) cid: Cid,
    pub(super) response: NoiseBytes,
    pub(super) stage: S,
}

/// Entries of one origin.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    all: usize,
    validated: usize,
}

/// Where a newcomer may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Free,
    /// In the place of this one.
    Of(usize),
    None,
}

/// All entries. Found by their first message's hash and by their id; the trees compare and do not hash, so nobody can
/// choose what falls together.
#[derive(Debug)]
pub(super) struct HalfOpenTable<S> {
    slots: Vec<Option<Entry<S>>>,
    free: Vec<usize>,
    by_id: BTreeMap<[u8; 32], usize>,
    by_cid: BTreeMap<Cid, usize>,
    /// By number: oldest first.
    by_age: BTreeMap<u64, usize>,
    held: BTreeMap<Origin, Held>,
    next: u64,
    last_call: Instant,
    evictions: u64,
}

impl<S> HalfOpenTable<S> {
    /// Takes the memory of `most` entries.
    pub(super) fn new(most: usize, now: Instant) -> Self {
        let mut slots = Vec::new();
        slots.resize_with(most, || None);
        Self {
            slots,
            free: (0..most).collect(),
            by_id: BTreeMap::new(),
            by_cid: BTreeMap::new(),
            by_age: BTreeMap::new(),
            held: BTreeMap::new(),
            next: 0,
            last_call: now,
            evictions: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_age.len()
    }

    pub(super) fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Whether cookies are due because of the table.
    pub(super) fn is_half_full(&self) -> bool {
        self.len() * 2 > self.slots.len()
    }

    fn held(&self, origin: &Origin) -> Held {
        self.held.get(origin).copied().unwrap_or_default()
    }

    fn share(&self) -> usize {
        (self.slots.len() / SHARE).max(1)
    }

    /// Whether cookies are due because of this origin.
    pub(super) fn is_share_half_used(&self, origin: &Origin) -> bool {
        self.held(origin).validated * 2 > self.share()
    }

    fn at(&mut self, slot: Option<usize>) -> Option<&mut Entry<S>> {
        self.slots.get_mut(slot?).and_then(Option::as_mut)
    }

    /// The entry that answers the message with this hash.
    pub(super) fn find(&mut self, id: &[u8; 32]) -> Option<&mut Entry<S>> {
        let slot = self.by_id.get(id).copied();
        self.at(slot)
    }

    /// The entry that a packet or a FIN with this id means.
    pub(super) fn find_cid(&mut self, cid: &Cid) -> Option<&mut Entry<S>> {
        let slot = self.by_cid.get(cid).copied();
        self.at(slot)
    }

    /// Takes the entry with this id out: it was confirmed, or failed.
    pub(super) fn take(&mut self, cid: &Cid) -> Option<Entry<S>> {
        let slot = self.by_cid.get(cid).copied()?;
        self.remove(slot)
    }

    /// Erases every entry of which `is_theirs` says that it is of the peer whose session just went live.
    pub(super) fn erase(&mut self, is_theirs: impl Fn(&S) -> bool) {
        for slot in 0..self.slots.len() {
            if self.slots.get(slot).and_then(Option::as_ref).is_some_and(|entry| is_theirs(&entry.stage)) {
                self.remove(slot);
            }
        }
    }

    fn remove(&mut self, slot: usize) -> Option<Entry<S>> {
        let entry = self.slots.get_mut(slot)?.take()?;
        self.by_id.remove(&entry.id);
        self.by_cid.remove(&entry.cid);
        self.by_age.remove(&entry.number);
        let origin = &entry.admitted.origin;
        if let Some(held) = self.held.get_mut(origin) {
            held.all = held.all.saturating_sub(1);
            held.validated = held.validated.saturating_sub(usize::from(entry.admitted.validated));
            if held.all == 0 {
                self.held.remove(origin);
            }
        }
        self.free.push(slot);
        Some(entry)
    }

    /// Where this newcomer may go. Shares count once the table is more than half full.
    fn place(&self, now: Instant, newcomer: &Admitted) -> Place {
        let held = self.held(&newcomer.origin);
        let share_full = self.is_half_full() && held.validated >= self.share();
        if !share_full && !self.free.is_empty() {
            return Place::Free;
        }
        if !newcomer.validated {
            return Place::None;
        }
        let most = self.held.values().map(|held| held.all).max().unwrap_or(0);
        // Who holds as much as anybody makes room among his own, and never among others.
        let own = share_full || held.all >= most;
        let gives = |origin: &Origin| {
            if own { *origin == newcomer.origin } else { self.held(origin).all == most }
        };
        let aged = |entry: &&Entry<S>| now.saturating_duration_since(entry.created) >= SAFE_AGE;
        let mut aged = self
            .by_age
            .values()
            .filter_map(|&slot| Some((slot, self.slots.get(slot)?.as_ref()?)))
            .take_while(|(_, entry)| aged(entry));
        aged.find(|(_, entry)| gives(&entry.admitted.origin)).map_or(Place::None, |(slot, _)| Place::Of(slot))
    }

    /// Whether `insert` would find a place.
    pub(super) fn has_room(&self, now: Instant, newcomer: &Admitted) -> bool {
        self.place(now, newcomer) != Place::None
    }

    /// Keeps an answer; says whether there was a place.
    pub(super) fn insert(&mut self, now: Instant, admitted: Admitted, answer: Answer<S>) -> bool {
        if self.by_id.contains_key(&answer.id) || self.by_cid.contains_key(&answer.cid) {
            return false;
        }
        match self.place(now, &admitted) {
            Place::Free => {}
            Place::Of(slot) => {
                self.remove(slot);
                self.evictions = self.evictions.saturating_add(1);
            }
            Place::None => return false,
        }
        let Answer { id, cid, response, stage } = answer;
        let number = self.next;
        let Some(slot) = self.free.pop() else { return false };
        let Some(place) = self.slots.get_mut(slot) else { return false };
        *place = Some(Entry {
            id,
            cid,
            response,
            stage,
            reads: PerSecond::new(FAILING_READS, now),
            prepaid: true,
            spread: false,
            admitted,
            created: now,
            number,
        });
        self.next = number.saturating_add(1);
        self.by_id.insert(id, slot);
        self.by_cid.insert(cid, slot);
        self.by_age.insert(number, slot);
        let held = self.held.entry(admitted.origin).or_default();
        held.all = held.all.saturating_add(1);
        held.validated = held.validated.saturating_add(usize::from(admitted.validated));
        true
    }

    fn oldest(&self) -> Option<(usize, Instant)> {
        let (_, &slot) = self.by_age.first_key_value()?;
        self.slots.get(slot)?.as_ref().map(|entry| (slot, entry.created))
    }

    /// Forgets what is too old, and everything if the machine may have slept: to be called before a datagram is read.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let slept = now.saturating_duration_since(self.last_call) > SLEPT;
        self.last_call = now;
        while let Some((slot, created)) = self.oldest() {
            if !slept && now.saturating_duration_since(created) < ENTRY_LIFE {
                break;
            }
            self.remove(slot);
        }
    }

    /// When `handle_timeout` wants to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.oldest().map(|(_, created)| (created + ENTRY_LIFE).min(self.last_call + TICK))
    }
}

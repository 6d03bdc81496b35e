//! Answers of a server that nobody has confirmed: as many as a constant says, for as long as a constant says, in memory
//! that is taken at construction, but for what the stages hold, and these hold no keys of packets. An entry owns the id
//! by which its peer will be found. PROTOCOL.md, "Flood defence".

use std::{
    mem,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::gate::Admitted;
use crate::{
    roster::Origin,
    sealed::{
        budget::FAILING_READS,
        half_open::{ENTRY_LIFE, SAFE_AGE},
        messages::NoiseBytes,
        timers::{SLEPT, TICK},
    },
    wire::frame::CID_LEN,
};

type Cid = [u8; CID_LEN];

/// A prefix's share of the table, as a divisor of its size.
const SHARE: usize = 8;
/// Tries to confirm an entry in a second from all other addresses than the first INIT's: what a client sends in that time
/// whose address has changed meanwhile. Each try makes keys, which costs more than to open an envelope.
const TRIES_ELSEWHERE: u8 = 8;

/// Tries to confirm an entry in this second: from where its first INIT came from, and from everywhere else.
#[derive(Debug)]
struct Tries {
    since: Instant,
    here: u8,
    elsewhere: u8,
}

/// An answer, with what its peer's next message is read with.
#[derive(Debug)]
pub(super) struct Entry<S> {
    /// BLAKE2s of the Noise message that we answered.
    pub(super) id: [u8; 32],
    pub(super) cid: Cid,
    pub(super) response: NoiseBytes,
    pub(super) stage: S,
    tries: Tries,
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

    /// Whether what comes from there may be tried once more now. The place that was answered has tries of its own: who has
    /// only seen the id must not use up those of whose it is.
    pub(super) fn may_try(&mut self, now: Instant, from: SocketAddr) -> bool {
        if now.saturating_duration_since(self.tries.since) >= Duration::from_secs(1) {
            self.tries = Tries { since: now, here: 0, elsewhere: 0 };
        }
        let most = if from == self.admitted.from { FAILING_READS } else { TRIES_ELSEWHERE };
        *self.tries_from(from) < most
    }

    pub(super) fn note_try(&mut self, from: SocketAddr) {
        let tries = self.tries_from(from);
        *tries = tries.saturating_add(1);
    }

    fn tries_from(&mut self, from: SocketAddr) -> &mut u8 {
        let Self { tries: Tries { here, elsewhere, .. }, admitted, .. } = self;
        if from == admitted.from { here } else { elsewhere }
    }

    /// Whether the address brought a cookie.
    pub(super) fn is_validated(&self) -> bool {
        self.admitted.validated
    }

    /// Until when it may be confirmed, and what came of that be accepted: an attempt of the client does not live longer.
    pub(super) fn ends(&self) -> Instant {
        self.created + ENTRY_LIFE
    }

    /// Entries are numbered as they come.
    pub(super) fn number(&self) -> u64 {
        self.number
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
    all: u16,
    validated: u16,
}

type Slot = u16;
type Slots<S> = [Option<Entry<S>>];

fn entry<S>(slots: &Slots<S>, slot: Slot) -> Option<&Entry<S>> {
    slots.get(usize::from(slot)).and_then(Option::as_ref)
}

/// Slots in the order of what `key` says of their entries; no two say the same.
#[derive(Debug)]
struct Order<S, K> {
    sorted: Vec<Slot>,
    key: fn(&Entry<S>) -> K,
}

impl<S, K: Ord> Order<S, K> {
    fn new(most: usize, key: fn(&Entry<S>) -> K) -> Self {
        Self { sorted: Vec::with_capacity(most), key }
    }

    fn search(&self, slots: &Slots<S>, key: &K) -> Result<usize, usize> {
        self.sorted.binary_search_by(|&slot| entry(slots, slot).map(self.key).as_ref().cmp(&Some(key)))
    }

    fn find(&self, slots: &Slots<S>, key: &K) -> Option<Slot> {
        self.search(slots, key).ok().and_then(|at| self.sorted.get(at).copied())
    }

    /// The entry is in its slot.
    fn insert(&mut self, slots: &Slots<S>, slot: Slot) {
        if let Some(entry) = entry(slots, slot) {
            if let Err(at) = self.search(slots, &(self.key)(entry)) {
                self.sorted.insert(at, slot);
            }
        }
    }

    /// The entry is still in its slot.
    fn remove(&mut self, slots: &Slots<S>, slot: Slot) {
        if let Some(entry) = entry(slots, slot) {
            if let Ok(at) = self.search(slots, &(self.key)(entry)) {
                self.sorted.remove(at);
            }
        }
    }
}

/// Where a newcomer may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Free,
    /// In the place of this one.
    Of(Slot),
    None,
}

/// All entries. Found by their first message's hash and by their id; the orders compare and do not hash, so nobody can
/// choose what falls together.
#[derive(Debug)]
pub(super) struct HalfOpenTable<S> {
    slots: Box<Slots<S>>,
    free: Vec<Slot>,
    by_id: Order<S, [u8; 32]>,
    by_cid: Order<S, Cid>,
    /// Oldest first.
    by_age: Order<S, u64>,
    /// Sorted; no longer than there are entries.
    held: Vec<(Origin, Held)>,
    next: u64,
    last_call: Instant,
    evictions: u64,
}

impl<S> HalfOpenTable<S> {
    /// Takes the memory of `most` entries.
    pub(super) fn new(most: usize, now: Instant) -> Self {
        let most = u16::try_from(most).unwrap_or(u16::MAX);
        let free: Vec<_> = (0..most).collect();
        let most = free.len();
        Self {
            slots: free.iter().map(|_| None).collect(),
            free,
            by_id: Order::new(most, |entry| entry.id),
            by_cid: Order::new(most, |entry| entry.cid),
            by_age: Order::new(most, |entry| entry.number),
            held: Vec::with_capacity(most),
            next: 0,
            last_call: now,
            evictions: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_age.sorted.len()
    }

    pub(super) fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Whether cookies are due because of the table.
    pub(super) fn is_half_full(&self) -> bool {
        self.len() * 2 > self.slots.len()
    }

    fn held(&self, origin: &Origin) -> Held {
        let at = self.held.binary_search_by_key(origin, |(origin, _)| *origin);
        at.ok().and_then(|at| self.held.get(at)).map_or(Held::default(), |(_, held)| *held)
    }

    fn hold(&mut self, admitted: &Admitted) {
        let at = self.held.binary_search_by_key(&admitted.origin, |(origin, _)| *origin);
        let at = at.unwrap_or_else(|at| {
            self.held.insert(at, (admitted.origin, Held::default()));
            at
        });
        if let Some((_, held)) = self.held.get_mut(at) {
            held.all = held.all.saturating_add(1);
            held.validated = held.validated.saturating_add(admitted.validated.into());
        }
    }

    fn let_go(&mut self, admitted: &Admitted) {
        let Ok(at) = self.held.binary_search_by_key(&admitted.origin, |(origin, _)| *origin) else { return };
        let Some((_, held)) = self.held.get_mut(at) else { return };
        held.all = held.all.saturating_sub(1);
        held.validated = held.validated.saturating_sub(admitted.validated.into());
        if held.all == 0 {
            self.held.remove(at);
        }
    }

    fn share(&self) -> usize {
        (self.slots.len() / SHARE).max(1)
    }

    /// Whether cookies are due because of this origin.
    pub(super) fn is_share_half_used(&self, origin: &Origin) -> bool {
        usize::from(self.held(origin).validated) * 2 > self.share()
    }

    /// The entry that answers the message with this hash.
    pub(super) fn find(&mut self, id: &[u8; 32]) -> Option<&mut Entry<S>> {
        let slot = self.by_id.find(&self.slots, id)?;
        self.slots.get_mut(usize::from(slot))?.as_mut()
    }

    /// The entry that a packet or a FIN with this id means.
    pub(super) fn find_cid(&mut self, cid: &Cid) -> Option<&mut Entry<S>> {
        let slot = self.by_cid.find(&self.slots, cid)?;
        self.slots.get_mut(usize::from(slot))?.as_mut()
    }

    /// Takes the entry with this id out: it was confirmed, or failed.
    pub(super) fn take(&mut self, cid: &Cid) -> Option<Entry<S>> {
        let slot = self.by_cid.find(&self.slots, cid)?;
        self.remove(slot)
    }

    /// Erases every entry of which `is_theirs` says that it is of the peer whose session just went live.
    pub(super) fn erase(&mut self, is_theirs: impl Fn(&S) -> bool) {
        let mut left = self.len();
        while let Some(at) = left.checked_sub(1) {
            left = at;
            let Some(&slot) = self.by_age.sorted.get(at) else { continue };
            if entry(&self.slots, slot).is_some_and(|entry| is_theirs(&entry.stage)) {
                self.remove(slot);
            }
        }
    }

    fn remove(&mut self, slot: Slot) -> Option<Entry<S>> {
        self.by_id.remove(&self.slots, slot);
        self.by_cid.remove(&self.slots, slot);
        self.by_age.remove(&self.slots, slot);
        let entry = self.slots.get_mut(usize::from(slot))?.take()?;
        self.let_go(&entry.admitted);
        self.free.push(slot);
        Some(entry)
    }

    /// Where this newcomer may go. Shares count once the table is more than half full.
    fn place(&self, now: Instant, newcomer: &Admitted) -> Place {
        let held = self.held(&newcomer.origin);
        let share_full = self.is_half_full() && usize::from(held.validated) >= self.share();
        if !share_full && !self.free.is_empty() {
            return Place::Free;
        }
        if !newcomer.validated {
            return Place::None;
        }
        let most = self.held.iter().map(|(_, held)| held.all).max().unwrap_or(0);
        // Who holds as much as anybody makes room among his own, and never among others.
        let own = share_full || held.all >= most;
        let gives = |origin: &Origin| {
            if own { *origin == newcomer.origin } else { self.held(origin).all == most }
        };
        let aged = |entry: &&Entry<S>| now.saturating_duration_since(entry.created) >= SAFE_AGE;
        let by_age = self.by_age.sorted.iter().filter_map(|&slot| Some((slot, entry(&self.slots, slot)?)));
        let mut aged = by_age.take_while(|(_, entry)| aged(entry));
        aged.find(|(_, entry)| gives(&entry.admitted.origin)).map_or(Place::None, |(slot, _)| Place::Of(slot))
    }

    /// Whether `insert` would find a place.
    pub(super) fn has_room(&self, now: Instant, newcomer: &Admitted) -> bool {
        self.place(now, newcomer) != Place::None
    }

    /// Keeps an answer; says whether there was a place.
    pub(super) fn insert(&mut self, now: Instant, admitted: Admitted, answer: Answer<S>) -> bool {
        if self.find(&answer.id).is_some() || self.find_cid(&answer.cid).is_some() {
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
        let Some(place) = self.slots.get_mut(usize::from(slot)) else { return false };
        *place = Some(Entry {
            id,
            cid,
            response,
            stage,
            tries: Tries { since: now, here: 0, elsewhere: 0 },
            prepaid: true,
            spread: false,
            admitted,
            created: now,
            number,
        });
        self.next = number.saturating_add(1);
        self.by_id.insert(&self.slots, slot);
        self.by_cid.insert(&self.slots, slot);
        self.by_age.insert(&self.slots, slot);
        self.hold(&admitted);
        true
    }

    fn oldest(&self) -> Option<(Slot, Instant)> {
        let &slot = self.by_age.sorted.first()?;
        entry(&self.slots, slot).map(|entry| (slot, entry.created))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::Flood,
        crypto::{self, Handshake},
        os::Environment,
        sealed::{
            listener::gate::{CookieSecrets, Gate},
            tests::Chance,
        },
    };

    const MOST: usize = 16;

    struct World {
        table: HalfOpenTable<u32>,
        now: Instant,
    }

    fn world() -> World {
        let now = Environment::os().now();
        World { table: HalfOpenTable::new(MOST, now), now }
    }

    fn from_net(net: u16) -> SocketAddr {
        let [high, low] = net.to_be_bytes();
        SocketAddr::from(([100, high, low, 1], 1_000))
    }

    fn admitted(net: u16, validated: bool) -> Admitted {
        Admitted { from: from_net(net), origin: Origin::of(from_net(net), &[]), validated }
    }

    fn answer<S>(number: u32, stage: S) -> Answer<S> {
        let id = crypto::hash(&[&number.to_le_bytes()]);
        let cid = crypto::keyed_hash(&[1; 32], &[&id]);
        let response = NoiseBytes::written(|_| Ok(97)).unwrap();
        Answer { id, cid: *cid.first_chunk().unwrap(), response, stage }
    }

    fn cid(number: u32) -> Cid {
        answer(number, ()).cid
    }

    impl World {
        fn add(&mut self, number: u32, net: u16, validated: bool) -> bool {
            let admitted = admitted(net, validated);
            let room = self.table.has_room(self.now, &admitted);
            assert_eq!(self.table.insert(self.now, admitted, answer(number, number)), room);
            self.check();
            room
        }

        fn pass(&mut self, millis: u64) {
            self.now += Duration::from_millis(millis);
            self.table.handle_timeout(self.now);
            self.check();
        }

        fn has(&mut self, number: u32) -> bool {
            self.table.find_cid(&cid(number)).is_some()
        }

        /// Every index names the same entries.
        fn check(&self) {
            let table = &self.table;
            let entries: Vec<_> = table.slots.iter().flatten().collect();
            let len = entries.len();
            assert!(len <= MOST && len + table.free.len() == MOST);
            for sorted in [&table.by_id.sorted, &table.by_cid.sorted, &table.by_age.sorted] {
                assert_eq!(sorted.len(), len);
            }
            for entry in &entries {
                let slots = [
                    table.by_id.find(&table.slots, &entry.id),
                    table.by_cid.find(&table.slots, &entry.cid),
                    table.by_age.find(&table.slots, &entry.number),
                ];
                for slot in slots {
                    assert_eq!(super::entry(&table.slots, slot.unwrap()).unwrap().id, entry.id);
                }
                let held = table.held(&entry.admitted.origin);
                let same = || entries.iter().filter(|other| other.admitted.origin == entry.admitted.origin);
                assert_eq!(usize::from(held.all), same().count());
                assert_eq!(
                    usize::from(held.validated),
                    same().filter(|other| other.admitted.validated).count()
                );
            }
            assert!(table.held.iter().all(|(_, held)| held.all > 0));
        }
    }

    #[test]
    fn an_entry_is_found_by_its_first_message_and_by_its_id_until_it_is_taken() {
        let mut world = world();
        assert!(world.add(1, 1, false) && world.add(2, 2, true));
        let id = answer(1, ()).id;
        assert_eq!(world.table.find(&id).unwrap().stage, 1);
        assert_eq!(world.table.find_cid(&cid(2)).unwrap().stage, 2);
        let mut entry = world.table.take(&cid(1)).unwrap();
        assert_eq!(entry.response.as_bytes().len(), 97);
        assert!(entry.may_try(world.now, entry.from()));
        assert_eq!((entry.stage, entry.id, entry.is_validated()), (1, id, false));
        assert!(world.table.find(&id).is_none() && world.table.take(&cid(1)).is_none());
        assert!(world.has(2));
        world.check();
        let twice = Answer { cid: cid(9), ..answer(2, 9) };
        assert!(!world.table.insert(world.now, admitted(3, true), twice), "the same message");
        let taken = Answer { cid: cid(2), ..answer(9, 9) };
        assert!(!world.table.insert(world.now, admitted(3, true), taken), "the same id");
        world.check();
    }

    #[test]
    fn an_entry_lives_five_seconds_from_its_creation() {
        let mut world = world();
        world.add(1, 1, false);
        world.pass(900);
        world.add(2, 1, false);
        for _ in 0..5 {
            assert_eq!(world.table.deadline(), Some(world.now + TICK));
            world.pass(800);
        }
        // 4.9 s of the first.
        assert!(world.has(1) && world.has(2));
        assert_eq!(world.table.deadline(), Some(world.now + Duration::from_millis(100)));
        world.pass(100);
        assert!(!world.has(1) && world.has(2));
        world.pass(900);
        assert!(!world.has(2));
        assert_eq!(world.table.deadline(), None);
    }

    #[test]
    fn after_a_gap_in_which_the_machine_may_have_slept_every_entry_is_gone() {
        let mut world = world();
        world.add(1, 1, false);
        world.pass(1_000);
        assert!(world.has(1));
        world.pass(1_001);
        assert!(!world.has(1));
    }

    #[test]
    fn nobody_younger_than_a_second_is_evicted() {
        let mut world = world();
        for number in 0..16 {
            assert!(world.add(number, 1, false));
        }
        world.pass(999);
        assert!(!world.add(100, 2, true));
        world.pass(1);
        assert!(!world.add(101, 2, false), "only who brings a cookie evicts");
        assert!(world.add(102, 2, true));
        assert!(!world.has(0) && world.has(1) && world.has(102));
        assert_eq!(world.table.evictions(), 1);
    }

    #[test]
    fn a_newcomer_takes_the_place_of_the_oldest_of_those_who_hold_most() {
        let mut world = world();
        // The oldest of all is alone in its prefix.
        world.add(0, 9, true);
        for number in 1..=6 {
            world.add(number, 1, false);
        }
        for number in 7..=15 {
            world.add(number, 2, false);
        }
        world.pass(1_000);
        for (number, victim) in [(20, 7), (21, 8), (22, 9)] {
            assert!(world.add(number, u16::try_from(number).unwrap(), true));
            assert!(!world.has(victim), "{victim}");
        }
        // Now both hold six, and the first prefix's are older.
        assert!(world.add(23, 23, true) && !world.has(1));
        assert!(world.has(0));
    }

    #[test]
    fn who_holds_as_much_as_anybody_makes_room_among_his_own() {
        let mut world = world();
        for number in 0..8 {
            assert!(world.add(number, 1, false) && world.add(10 + number, 2, false));
        }
        world.pass(1_000);
        assert!(world.add(30, 2, true));
        assert!(!world.has(10) && world.has(0), "its own oldest");
        assert!(world.add(31, 3, true));
        assert!(!world.has(0), "the oldest of those who hold most");
        // One of each prefix: who has one already cannot push others out.
        let mut world = self::world();
        for number in 0..16 {
            assert!(world.add(number, u16::try_from(number).unwrap(), true));
        }
        world.pass(1_000);
        assert!(world.add(30, 5, true) && !world.has(5) && world.has(0));
        assert!(world.add(31, 99, true) && !world.has(0));
    }

    #[test]
    fn a_prefix_holds_no_more_than_its_share_once_the_table_is_half_full() {
        let mut world = world();
        for number in 0..9 {
            assert!(world.add(number, 1, true), "nobody else wants the place");
        }
        assert!(!world.add(20, 1, true));
        assert!(world.add(21, 2, true));
        world.pass(1_000);
        assert!(world.add(22, 1, true));
        assert!(!world.has(0) && world.has(1) && world.has(22) && world.has(21));
        assert_eq!(world.table.len(), 10);
    }

    #[test]
    fn the_path_is_proven_only_if_every_response_went_there() {
        let mut world = world();
        world.add(1, 1, false);
        let entry = world.table.find_cid(&cid(1)).unwrap();
        entry.answer_to(from_net(1));
        assert!(entry.proves(from_net(1)) && !entry.proves(from_net(2)));
        entry.answer_to(from_net(2));
        assert!(!entry.proves(from_net(1)) && !entry.proves(from_net(2)));
    }

    #[test]
    fn one_reading_of_fin_is_prepaid() {
        let mut world = world();
        world.add(1, 1, false);
        let entry = world.table.find_cid(&cid(1)).unwrap();
        assert!(entry.take_prepaid() && !entry.take_prepaid());
    }

    #[test]
    fn the_other_entries_of_a_peer_are_erased_with_one_call() {
        let mut world = world();
        for number in 0..10 {
            world.add(number, 1, false);
        }
        world.table.erase(|number| number % 2 == 0);
        world.check();
        assert!((0..10).all(|number| world.has(number) == (number % 2 == 1)));
    }

    #[test]
    fn the_indexes_agree_after_any_walk() {
        for seed in 1..20 {
            let mut chance = Chance(seed);
            let mut world = world();
            for number in 0..500_u32 {
                match chance.below(8) {
                    0 => world.pass(chance.below(1_500)),
                    1 => {
                        let back = u32::try_from(chance.below(20)).unwrap();
                        world.table.take(&cid(number.saturating_sub(back)));
                    }
                    _ => {
                        let net = u16::try_from(chance.below(4)).unwrap();
                        world.add(number, net, chance.below(2) == 0);
                    }
                }
                world.check();
            }
        }
    }

    /// What `fill` leaves in the heap.
    fn heap<T>(fill: impl FnOnce() -> T) -> i64 {
        let mut kept = None;
        allocation_counter::measure(|| kept = Some(fill())).bytes_current
    }

    #[test]
    fn gate_and_full_table_fit_into_512_kib() {
        const HANDSHAKE: usize = size_of::<Handshake>();
        const SESSION: usize = size_of::<crate::sealed::finished::Finished>();
        let flood = Flood::default();
        let now = Environment::os().now();
        let gate = heap(|| {
            let secrets = CookieSecrets::new(now, &mut Chance(1)).unwrap();
            Gate::new(&flood, secrets.into(), now, &mut Chance(2)).unwrap()
        });
        let empty = heap(|| HalfOpenTable::<Box<[u8; HANDSHAKE]>>::new(flood.half_open, now));
        fn full<const N: usize>(most: usize, now: Instant) -> i64 {
            heap(|| {
                let mut table = HalfOpenTable::new(most, now);
                for number in 0..most {
                    let net = u16::try_from(number).unwrap();
                    let answer = answer(u32::from(net), Box::new([0_u8; N]));
                    assert!(table.insert(now, admitted(net, true), answer));
                }
                table
            })
        }
        let handshakes = full::<HANDSHAKE>(flood.half_open, now);
        let sessions = full::<SESSION>(flood.half_open, now);
        let entry = size_of::<Entry<()>>();
        println!(
            "an entry {entry}, Noise {HANDSHAKE}, finished {SESSION}; gate {gate}, empty table {empty}, full of Noise {handshakes}, full of finished {sessions}"
        );
        assert!(entry <= 320, "{entry}");
        assert!(gate + handshakes.max(sessions) <= 512 << 10);
    }
}

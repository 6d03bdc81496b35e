//! The peers of a server, sealed or plain: a place for each, how far each has come, who is due next, who has something to
//! send and who has news. Knows neither keys nor datagrams. No call but `ids` walks over all peers: they stand in
//! queues, in each once. PROTOCOL.md, "Server".

mod counts;
mod heap;
mod member;
mod origin;
mod places;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

pub(crate) use self::{
    counts::Counts,
    member::Member,
    origin::{Origin, ip16},
};
use self::{heap::Deadlines, member::Standing, places::Places};
use crate::{
    connection::Connection,
    error::CloseReason,
    event::{Event, PeerId},
};

/// Events that wait for an application which does not ask; beyond, the oldest is forgotten.
const MAX_EVENTS: usize = 65_536;
/// Peers whose timers one call runs at most; the rest is due at once.
pub(crate) const MAX_DUE: usize = 4_096;
/// A prefix's share of the places to wait for the application, as a divisor of them.
const ASKING_SHARE: usize = 8;
/// Datagrams that one peer sends in a row, before the others have their turn: so many to one address leave together.
/// PROTOCOL.md, "Server".
const TURN: u32 = 16;
/// How long what an ended session has left to yield is kept for an application that does not ask.
const LINGER: Duration = Duration::from_secs(10);

/// All peers of a server and their queues.
#[derive(Debug)]
pub(crate) struct Roster<P> {
    /// Each in a block of its own, so that the table of places, which doubles when it is full, is small.
    members: Places<Box<Member<P>>>,
    /// Who waits for the application, by index, and as whom it counts.
    asking: BTreeMap<u32, Origin>,
    /// Counts rounds of reading: in each of them every peer has a share.
    round: u32,
    deadlines: Deadlines,
    /// Peers that may have something to send.
    ready: VecDeque<PeerId>,
    /// Whose turn it is to send, and how much of it is over.
    turn: Option<(PeerId, u32)>,
    /// Peers whose partly filled datagrams leave at the next flush.
    touched: Vec<PeerId>,
    /// Peers with notices.
    noted: VecDeque<PeerId>,
    events: VecDeque<(PeerId, Event)>,
}

impl<P> Default for Roster<P> {
    fn default() -> Self {
        Self {
            members: Places::default(),
            asking: BTreeMap::new(),
            round: 0,
            deadlines: Deadlines::default(),
            ready: VecDeque::new(),
            turn: None,
            touched: Vec::new(),
            noted: VecDeque::new(),
            events: VecDeque::new(),
        }
    }
}

impl<P> Roster<P> {
    // ---- who is there ----

    /// Peers with a session, those that still ask included.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// How many wait for the application's yes.
    pub(crate) fn asking(&self) -> usize {
        self.asking.len()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.members.ids()
    }

    pub(crate) fn get(&self, id: PeerId) -> Option<&Member<P>> {
        self.members.get(id).map(|member| &**member)
    }

    pub(crate) fn get_mut(&mut self, id: PeerId) -> Option<&mut Member<P>> {
        self.members.get_mut(id).map(|member| &mut **member)
    }

    /// Whether messages can be queued for it.
    pub(crate) fn is_open(&self, id: PeerId) -> bool {
        self.get(id).is_some_and(Member::is_open)
    }

    /// Of a peer that was let in, also after its session ended and until all was yielded.
    pub(crate) fn connection(&self, id: PeerId) -> Option<&Connection> {
        self.get(id).filter(|member| !member.asks()).map(|member| &member.connection)
    }

    /// The peer may have something to send afterwards.
    pub(crate) fn connection_mut(&mut self, id: PeerId) -> Option<&mut Connection> {
        self.touch(id);
        self.get_mut(id).filter(|member| !member.asks()).map(|member| &mut member.connection)
    }

    // ---- coming and going ----

    /// Whether one of `most` places to wait for the application is left for somebody of this origin: once more than half
    /// are taken, an origin may have its share. PROTOCOL.md, "Server".
    pub(crate) fn may_ask(&self, origin: &Origin, most: usize) -> bool {
        let own = self.asking.values().filter(|other| *other == origin).count();
        let share_full = self.asking() * 2 > most && own >= (most / ASKING_SHARE).max(1);
        self.asking() < most && !share_full
    }

    /// A newcomer waits for the application's yes. Given back, it finds no place.
    pub(crate) fn ask(
        &mut self,
        now: Instant,
        until: Instant,
        origin: Origin,
        peer: P,
        connection: Connection,
    ) -> Result<PeerId, P> {
        let member = Box::new(Member::new(peer, connection, Standing::Asks { until }));
        let id = self.members.insert(member).map_err(|member| member.peer)?;
        self.asking.insert(id.index, origin);
        self.deadlines.set_after(id.index, now, until);
        Ok(id)
    }

    /// The application has said yes.
    pub(crate) fn let_in(&mut self, id: PeerId) -> Option<&mut Member<P>> {
        let member = self.members.get_mut(id).filter(|member| member.asks())?;
        self.asking.remove(&id.index);
        member.standing = Standing::Open;
        Some(&mut **member)
    }

    /// A live session is over. What it has left to yield stays until the application has taken it. Whether nothing keeps
    /// the peer here: it has no more to yield, or was not let in.
    pub(crate) fn end(&mut self, now: Instant, id: PeerId, reason: CloseReason) -> bool {
        let Some(member) = self.members.get_mut(id).filter(|member| !member.has_ended()) else {
            return false;
        };
        if member.asks() {
            return true;
        }
        let undelivered = member.connection.end_session();
        let until = now + LINGER;
        member.standing = Standing::Ended { until };
        let is_done = !member.connection.may_yield();
        self.deadlines.set_after(id.index, now, until);
        self.push_event(id, Event::Closed { reason, undelivered });
        is_done
    }

    pub(crate) fn remove(&mut self, id: PeerId) -> Option<Member<P>> {
        let member = self.members.remove(id)?;
        self.asking.remove(&id.index);
        self.deadlines.set(id.index, None);
        Some(*member)
    }

    // ---- time ----

    /// When somebody is due next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadlines.next().map(|(at, _)| at)
    }

    /// Somebody who is due now, or who stands too early in the queue: `is_due` tells. `reschedule` follows.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<PeerId> {
        while let Some((_, index)) = self.deadlines.next().filter(|(at, _)| *at <= now) {
            let id = self.members.at(index);
            if id.is_some() {
                return id;
            }
            self.deadlines.set(index, None);
        }
        None
    }

    /// Whether something of the peer is due; `live` says when, of a live session.
    pub(crate) fn is_due(&self, now: Instant, id: PeerId, live: impl FnOnce(&Member<P>) -> Instant) -> bool {
        let Some(member) = self.members.get(id) else { return false };
        member.stays_until().unwrap_or_else(|| live(member)) <= now
    }

    /// Writes down when the peer is due next; `live` says it of a live session.
    pub(crate) fn reschedule(&mut self, now: Instant, id: PeerId, live: impl FnOnce(&Member<P>) -> Instant) {
        let Some(member) = self.members.get(id) else { return };
        let at = member.stays_until().unwrap_or_else(|| live(member));
        self.deadlines.set_after(id.index, now, at);
    }

    /// The present round of reading.
    pub(crate) fn round(&self) -> u32 {
        self.round
    }

    /// Everybody may be read as much as the configuration says once more.
    pub(crate) fn begin_round(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    // ---- queues ----

    pub(crate) fn push_event(&mut self, id: PeerId, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back((id, event));
    }

    pub(crate) fn poll_event(&mut self) -> Option<(PeerId, Event)> {
        while let Some(&id) = self.noted.front() {
            let notice = self.members.get_mut(id).and_then(|member| {
                let notice = member.connection.take_notice();
                member.is_noted = notice.is_some();
                notice
            });
            if let Some((message, outcome)) = notice {
                return Some((id, Event::Notice { message, outcome }));
            }
            self.noted.pop_front();
        }
        self.events.pop_front()
    }

    /// The peer may have something to send at once.
    pub(crate) fn make_ready(&mut self, id: PeerId) {
        if let Some(member) = self.members.get_mut(id).filter(|member| !member.is_ready) {
            member.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// The peer has sent a datagram, and may have another: it is its turn still, or again after all others.
    pub(crate) fn sent_one(&mut self, id: PeerId) {
        let sent = self.turn.filter(|(who, _)| *who == id).map_or(0, |(_, sent)| sent) + 1;
        if sent >= TURN {
            self.turn = None;
            return self.make_ready(id);
        }
        self.turn = Some((id, sent));
        if let Some(member) = self.members.get_mut(id).filter(|member| !member.is_ready) {
            member.is_ready = true;
            self.ready.push_front(id);
        }
    }

    /// The next peer that may have something to send.
    pub(crate) fn take_ready(&mut self) -> Option<PeerId> {
        while let Some(id) = self.ready.pop_front() {
            let Some(member) = self.members.get_mut(id) else { continue };
            member.is_ready = false;
            self.turn = self.turn.filter(|(who, _)| *who == id);
            return Some(id);
        }
        None
    }

    /// The peer may have something to send when the caller lets partly filled datagrams leave.
    pub(crate) fn touch(&mut self, id: PeerId) {
        if let Some(member) = self.members.get_mut(id).filter(|member| !member.is_touched) {
            member.is_touched = true;
            self.touched.push(id);
        }
    }

    /// A packet or the clock may have changed everything about the peer: notices, what it has to send, what to flush.
    pub(crate) fn stir(&mut self, id: PeerId) {
        let Some(member) = self.members.get_mut(id) else { return };
        if !member.is_noted {
            member.is_noted = true;
            self.noted.push_back(id);
        }
        self.make_ready(id);
    }

    /// Lets partly filled datagrams of everybody who was touched leave.
    pub(crate) fn flush_all(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        for id in touched.drain(..) {
            let Some(member) = self.members.get_mut(id) else { continue };
            member.is_touched = false;
            if member.connection.wants_flush() {
                member.connection.flush();
            }
            self.make_ready(id);
        }
        self.touched = touched;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{config::Config, os::Environment};

    fn newcomer(roster: &mut Roster<()>, now: Instant) -> PeerId {
        let connection = Connection::new(&Arc::new(Config::default()));
        let origin = Origin::of(([10, 0, 0, 1], 1).into(), &[]);
        roster.ask(now, now + Duration::from_secs(3), origin, (), connection).unwrap()
    }

    #[test]
    fn events_that_nobody_asks_for_have_a_bound() {
        let now = Environment::os().now();
        let mut roster = Roster::default();
        let id = newcomer(&mut roster, now);
        for number in 0..MAX_EVENTS + 10 {
            let peer = PeerId { index: u32::try_from(number).unwrap(), ..id };
            roster.push_event(peer, Event::Connected { peer: None, handshake_hash: None });
            assert!(roster.events.len() <= MAX_EVENTS);
        }
        assert_eq!(roster.poll_event().unwrap().0.index, 10, "the oldest go");
        assert_eq!(roster.events.len(), MAX_EVENTS - 1);
    }

    #[test]
    fn a_peer_stands_in_each_queue_once_and_in_none_after_it_went() {
        let now = Environment::os().now();
        let mut roster = Roster::default();
        let [here, gone] = [(); 2].map(|()| newcomer(&mut roster, now));
        for _ in 0..1_000 {
            for id in [here, gone] {
                roster.touch(id);
                roster.stir(id);
            }
        }
        assert_eq!((roster.ready.len(), roster.touched.len(), roster.noted.len()), (2, 2, 2));
        roster.remove(gone);
        assert_eq!((roster.poll_event(), roster.noted.len()), (None, 0));
        assert_eq!((roster.take_ready(), roster.take_ready()), (Some(here), None));
        roster.flush_all();
        assert_eq!((roster.take_ready(), roster.take_ready()), (Some(here), None));
        assert_eq!((roster.len(), roster.asking()), (1, 1));
    }

    #[test]
    fn who_has_more_to_send_keeps_his_turn_for_16_datagrams_and_then_waits_for_all_others() {
        let now = Environment::os().now();
        let mut roster = Roster::default();
        let ids = [(); 3].map(|()| newcomer(&mut roster, now));
        ids.iter().for_each(|id| roster.stir(*id));
        let mut order = Vec::new();
        for _ in 0..120 {
            let id = roster.take_ready().unwrap();
            order.push(ids.iter().position(|each| *each == id).unwrap());
            // The second has one datagram at a time.
            if id == ids[1] {
                roster.make_ready(id)
            } else {
                roster.sent_one(id)
            }
            assert!(roster.ready.len() <= 3);
        }
        let turns: Vec<_> =
            order.chunk_by(|one, other| one == other).map(|turn| (turn[0], turn.len())).collect();
        assert_eq!(turns[..6], [(0, 16), (1, 1), (2, 16), (0, 16), (1, 1), (2, 16)]);
        // A turn that ended early counts for nothing in the next.
        let mut roster = Roster::default();
        let [one, other] = [(); 2].map(|()| newcomer(&mut roster, now));
        roster.stir(one);
        for _ in 0..10 {
            assert_eq!(roster.take_ready(), Some(one));
            roster.sent_one(one);
        }
        assert_eq!(roster.take_ready(), Some(one), "and has nothing more");
        roster.stir(other);
        assert_eq!(roster.take_ready(), Some(other));
        [one, other].iter().for_each(|id| roster.stir(*id));
        let in_a_row = std::iter::from_fn(|| {
            let next = roster.take_ready().filter(|id| *id == one);
            next.inspect(|id| roster.sent_one(*id))
        });
        assert_eq!(in_a_row.count(), 16);
    }

    #[test]
    fn who_asks_or_has_ended_goes_by_itself_and_is_due_then() {
        let now = Environment::os().now();
        let mut roster = Roster::default();
        let id = newcomer(&mut roster, now);
        assert_eq!(roster.deadline(), Some(now + Duration::from_secs(3)));
        assert!(roster.connection(id).is_none(), "nothing of it is read before the yes");
        assert!(roster.let_in(id).is_some() && roster.let_in(id).is_none(), "once");
        assert_eq!((roster.asking(), roster.next_due(now)), (0, None));
        assert!(roster.end(now, id, CloseReason::ClosedHere), "it has nothing left to yield");
        assert_eq!(roster.get(id).unwrap().stays_until(), Some(now + LINGER));
        assert!(!roster.end(now, id, CloseReason::TimedOut), "once");
        assert_eq!(roster.next_due(now + LINGER), Some(id));
        roster.remove(id);
        assert_eq!((roster.deadline(), roster.len()), (None, 0));
    }

    #[test]
    fn one_prefix_cannot_take_all_places_to_wait_for_the_application() {
        let now = Environment::os().now();
        let proxies = [[10, 0, 0, 1].into()];
        let connection = || Connection::new(&Arc::new(Config::default()));
        let mut roster = Roster::default();
        let mut waiting = Vec::new();
        let mut ask = |roster: &mut Roster<()>, address: [u8; 4], port: u16| {
            let origin = Origin::of((address, port).into(), &proxies);
            let may = roster.may_ask(&origin, 256);
            if may {
                waiting.push(roster.ask(now, now, origin, (), connection()).unwrap());
            }
            may
        };
        let of_net = |net| [192, 0, net, 1];
        assert_eq!(
            (0..300).filter(|_| ask(&mut roster, of_net(1), 1)).count(),
            129,
            "nobody else wants them"
        );
        let others = [2, 3, 4, 5, 6].map(|net| (0..300).filter(|_| ask(&mut roster, of_net(net), 1)).count());
        assert_eq!((others, roster.asking()), ([32, 32, 32, 31, 0], 256), "at the bound");
        for id in waiting.drain(..129) {
            assert!(roster.let_in(id).is_some());
        }
        // Players behind a known proxy are no prefix.
        let mut ask = |port| {
            let origin = Origin::of(([10, 0, 0, 1], port).into(), &proxies);
            let may = roster.may_ask(&origin, 256);
            if may {
                waiting.push(roster.ask(now, now, origin, (), connection()).unwrap());
            }
            may
        };
        assert_eq!((0..300).filter(|&port| ask(port)).count(), 129);
        for id in waiting {
            roster.remove(id);
        }
        assert_eq!((roster.asking(), roster.len()), (0, 129));
    }

    #[test]
    fn reads_count_for_one_round() {
        let now = Environment::os().now();
        let mut roster = Roster::default();
        let id = newcomer(&mut roster, now);
        for _ in 0..3 {
            let round = roster.round();
            let member = roster.get_mut(id).unwrap();
            (0..5).for_each(|_| member.read_in(round));
            assert_eq!(member.reads_in(round), 5);
            roster.begin_round();
            let round = roster.round();
            assert_eq!(roster.get(id).unwrap().reads_in(round), 0);
        }
    }
}

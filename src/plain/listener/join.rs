//! How a stranger becomes a peer, and how a peer goes: hello, answer, confirmation, the application's yes.
//! PROTOCOL.md, "Plain endpoint" and "Plain server".

use std::{net::SocketAddr, time::Instant};

use rand_core::TryCryptoRng;

use super::{
    Listener, MAX_ANSWERS, MAX_FAREWELLS, Peer,
    half_open::{Entry, Stranger},
};
use crate::{
    connection::Connection,
    error::{CloseReason, Dropped},
    event::{Event, PeerId, ShownTicket},
    plain::{CODE_FULL, FIRST_OWN_CODE, live::Live, opening::negotiate},
    roster::{Member, Origin},
    wire::{
        frame::MAX_CLOSE_REASON,
        hello::Hello,
        plain::{Opening, Step},
    },
};

impl Listener {
    /// A hello or a confirmation; answers are for those who dial.
    pub(super) fn greeted<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        from: SocketAddr,
        opening: &Opening,
    ) -> Result<(), Dropped> {
        let stranger = (from, opening.own);
        if let Some(&id) = self.names.get(&stranger) {
            return self.greeted_by_peer(now, id, opening.step);
        }
        if !self.accepting {
            return Err(Dropped::Handshake);
        }
        match (opening.step, self.half_open.get(&stranger)) {
            (Step::Confirm(echo), Some(entry)) if entry.own == echo => self.confirmed(now, stranger),
            (Step::Hello | Step::Confirm(_), Some(entry)) => {
                let own = entry.own;
                self.answer(stranger, own)
            }
            (Step::Hello | Step::Confirm(_), None) => self.open_half(now, rng, stranger, &opening.hello),
            (Step::Answer(_), _) => Err(Dropped::Handshake),
        }
    }

    /// Somebody who is in, or asks: a late copy, or it has not heard us yet.
    fn greeted_by_peer(&mut self, now: Instant, id: PeerId, step: Step) -> Result<(), Dropped> {
        let member = self.peers.get_mut(id).ok_or(Dropped::Handshake)?;
        match step {
            Step::Confirm(echo) if echo == member.peer.live.own && member.asks() => Ok(()),
            Step::Confirm(echo) if echo == member.peer.live.own => {
                member.connection.ping(now);
                self.peers.make_ready(id);
                Ok(())
            }
            _ => Err(Dropped::Handshake),
        }
    }

    fn open_half<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        stranger: Stranger,
        hello: &Hello,
    ) -> Result<(), Dropped> {
        // Zero marks an opening; anything else will do. Two alike come about once in many lifetimes, and are redone.
        let own = rng.try_next_u64().map_err(|_| Dropped::Handshake)?.max(1);
        if self.owners.contains_key(&own) {
            return Err(Dropped::Handshake);
        }
        let origin = Origin::of(stranger.0, &self.proxies);
        self.half_open.insert(now, stranger, (own, negotiate(&self.config, hello), origin));
        self.answer(stranger, own)
    }

    fn answer(&mut self, stranger: Stranger, own: u64) -> Result<(), Dropped> {
        if self.answers.len() >= MAX_ANSWERS {
            return Err(Dropped::Handshake);
        }
        self.answers.push_back((stranger, own));
        Ok(())
    }

    /// The stranger has heard our id: the application is asked.
    fn confirmed(&mut self, now: Instant, stranger: Stranger) -> Result<(), Dropped> {
        // Whoever finds no place to wait for the application confirms again, and the entry is there for it.
        let may_ask = |entry: &Entry| self.peers.may_ask(&entry.origin, self.server.max_asking);
        if !self.half_open.get(&stranger).is_some_and(may_ask) {
            return Err(Dropped::Handshake);
        }
        let Entry { own, negotiated, origin, .. } = self
            .half_open
            .take(&stranger)
            .filter(|entry| !self.owners.contains_key(&entry.own))
            .ok_or(Dropped::Handshake)?;
        let (from, name) = stranger;
        let live = Live::new(now, own, name, &negotiated, &self.config, false);
        let flood = &self.server.flood;
        let held = self.shares.of(&origin);
        if self.peers.len() >= flood.max_sessions || held >= flood.prefix_sessions() {
            self.part_from(from, &live, CODE_FULL, &[]);
            return Err(Dropped::Handshake);
        }
        let mut connection = Connection::new(&self.config);
        connection.start(now, &negotiated, 0);
        let until = now + self.server.accept_timeout;
        let asks = self.peers.ask(now, until, origin, Peer { live, address: from, origin }, connection);
        let id = asks.map_err(|_| Dropped::Handshake)?;
        self.shares.add(origin);
        self.owners.insert(own, id);
        self.names.insert(stranger, id);
        self.peers.push_event(id, Event::Join { key: None, ticket: ShownTicket::default(), address: from });
        Ok(())
    }

    /// Lets a peer in that asks. `false` if it does not ask (any more).
    pub(crate) fn accept<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        _rng: &mut R,
        id: PeerId,
    ) -> bool {
        let Some(Member { connection, .. }) = self.peers.let_in(id) else { return false };
        connection.hear(now);
        // The client takes the session as live only when a packet of ours arrives.
        connection.ping(now);
        self.peers.push_event(id, Event::Connected { peer: None, handshake_hash: None });
        self.peers.touch(id);
        self.peers.make_ready(id);
        self.reschedule(now, id);
        true
    }

    /// Ends the session of a peer, or turns away one that asks, with a code of the application's (0 to 0xfeff, larger
    /// ones are cut down) and a reason of which the peer gets up to 64 bytes. `false` if there is no such peer.
    pub(crate) fn close(&mut self, now: Instant, id: PeerId, code: u16, reason: &[u8]) -> bool {
        let is_here = self.peers.get(id).is_some_and(|member| !member.has_ended());
        if is_here {
            self.say_close(id, code.min(FIRST_OWN_CODE - 1), reason);
            self.end(now, id, CloseReason::ClosedHere);
        }
        is_here
    }

    pub(super) fn say_close(&mut self, id: PeerId, code: u16, reason: &[u8]) {
        let Some(member) = self.peers.get(id).filter(|member| !member.has_ended()) else { return };
        let peer = &member.peer;
        let farewell = peer.live.farewell(code, reason.get(..MAX_CLOSE_REASON).unwrap_or(reason));
        let to = peer.address;
        self.push_farewell(to, farewell);
    }

    fn part_from(&mut self, to: SocketAddr, live: &Live, code: u16, reason: &[u8]) {
        self.push_farewell(to, live.farewell(code, reason));
    }

    fn push_farewell(&mut self, to: SocketAddr, farewell: crate::plain::live::Farewell) {
        if self.farewells.len() < MAX_FAREWELLS {
            self.farewells.push_back((to, farewell));
        }
    }

    /// The session is over, or the join. What it has left to yield stays until the application has taken it.
    pub(super) fn end(&mut self, now: Instant, id: PeerId, reason: CloseReason) {
        self.forget_names(id);
        if self.peers.end(now, id, reason) {
            self.remove(id);
        }
    }

    /// Everything of an ended session was yielded.
    pub(crate) fn finish(&mut self, id: PeerId) {
        if self.peers.get(id).is_some_and(Member::has_ended) {
            self.remove(id);
        }
    }

    /// From now on nothing finds this session.
    fn forget_names(&mut self, id: PeerId) {
        let Some(Member { peer, .. }) = self.peers.get(id) else { return };
        let (own, stranger) = (peer.live.own, (peer.address, peer.live.peer));
        // Both may be somebody else's by now.
        if self.owners.get(&own) == Some(&id) {
            self.owners.remove(&own);
        }
        if self.names.get(&stranger) == Some(&id) {
            self.names.remove(&stranger);
        }
    }

    pub(super) fn remove(&mut self, id: PeerId) {
        self.forget_names(id);
        let Some(Member { peer, .. }) = self.peers.remove(id) else { return };
        self.shares.remove(&peer.origin);
    }
}

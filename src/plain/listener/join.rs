//! How a stranger becomes a peer, and how a peer goes: hello, answer, confirmation, the application's yes.
//! PROTOCOL.md, "Plain endpoint" and "Plain server".

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand_core::TryCryptoRng;

use super::{
    Listener, MAX_ANSWERS, MAX_FAREWELLS,
    half_open::{Entry, Stranger},
    peer::{Peer, Standing},
};
use crate::{
    connection::Connection,
    error::{CloseReason, Dropped},
    event::{Event, PeerId, ShownTicket},
    plain::{CODE_FULL, FIRST_OWN_CODE, live::Live, opening::negotiate},
    roster::Origin,
    wire::{
        frame::MAX_CLOSE_REASON,
        hello::Hello,
        plain::{Opening, Step},
    },
};

/// How long what an ended session has left to yield is kept for an application that does not ask.
const LINGER: Duration = Duration::from_secs(10);

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
        let peer = self.peers.get_mut(id).ok_or(Dropped::Handshake)?;
        match step {
            Step::Confirm(echo) if echo == peer.live.own && peer.asks() => Ok(()),
            Step::Confirm(echo) if echo == peer.live.own => {
                peer.connection.ping(now);
                self.make_ready(id);
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
        if self.asking >= self.server.max_asking {
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
        let held = self.shares.get(&origin).copied().unwrap_or(0);
        if self.peers.len() >= flood.max_sessions || held >= flood.prefix_sessions() {
            self.part_from(from, &live, CODE_FULL, &[]);
            return Err(Dropped::Handshake);
        }
        let peer = Peer {
            live,
            connection: Connection::new(&self.config),
            address: from,
            origin,
            standing: Standing::Asks { until: now + self.server.accept_timeout, negotiated },
            is_ready: false,
            is_touched: false,
            is_noted: false,
        };
        let id = self.peers.insert(Box::new(peer)).ok_or(Dropped::Handshake)?;
        *self.shares.entry(origin).or_default() += 1;
        self.owners.insert(own, id);
        self.names.insert(stranger, id);
        self.asking += 1;
        self.reschedule(now, id);
        self.push_event(id, Event::Join { key: None, ticket: ShownTicket::default(), address: from });
        Ok(())
    }

    /// Lets a peer in that asks. `false` if it does not ask (any more).
    pub(crate) fn accept<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        _rng: &mut R,
        id: PeerId,
    ) -> bool {
        let Some(peer) = self.peers.get_mut(id) else { return false };
        let Standing::Asks { negotiated, .. } = peer.standing else { return false };
        peer.standing = Standing::Open;
        peer.connection.start(now, &negotiated, 0);
        // The client takes the session as live only when a packet of ours arrives.
        peer.connection.ping(now);
        self.asking -= 1;
        self.push_event(id, Event::Connected { peer: None, handshake_hash: None });
        self.touch(id);
        self.make_ready(id);
        self.reschedule(now, id);
        true
    }

    /// Ends the session of a peer, or turns away one that asks, with a code of the application's (0 to 0xfeff, larger
    /// ones are cut down) and a reason of which the peer gets up to 64 bytes. `false` if there is no such peer.
    pub(crate) fn close(&mut self, now: Instant, id: PeerId, code: u16, reason: &[u8]) -> bool {
        let Some(peer) = self.peers.get(id).filter(|peer| !peer.has_ended()) else { return false };
        let asks = peer.asks();
        self.say_close(id, code.min(FIRST_OWN_CODE - 1), reason);
        if asks {
            self.remove(id);
        } else {
            self.end(now, id, CloseReason::ClosedHere);
        }
        true
    }

    pub(super) fn say_close(&mut self, id: PeerId, code: u16, reason: &[u8]) {
        let Some(peer) = self.peers.get(id).filter(|peer| !peer.has_ended()) else { return };
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

    /// The session is over. What it has left to yield stays until the application has taken it.
    pub(super) fn end(&mut self, now: Instant, id: PeerId, reason: CloseReason) {
        let Some(peer) = self.peers.get_mut(id).filter(|peer| peer.is_open()) else { return };
        let undelivered = peer.connection.end_session();
        peer.standing = Standing::Ended { until: now + LINGER };
        let done = !peer.connection.may_yield();
        self.forget_names(id);
        self.push_event(id, Event::Closed { reason, undelivered });
        if done { self.remove(id) } else { self.reschedule(now, id) }
    }

    /// Everything of an ended session was yielded.
    pub(crate) fn finish(&mut self, id: PeerId) {
        if self.peers.get(id).is_some_and(|peer| peer.has_ended()) {
            self.remove(id);
        }
    }

    /// From now on nothing finds this session.
    fn forget_names(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(id) else { return };
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
        let Some(peer) = self.peers.remove(id) else { return };
        if peer.asks() {
            self.asking -= 1;
        }
        if let Some(held) = self.shares.get_mut(&peer.origin) {
            *held -= 1;
            if *held == 0 {
                self.shares.remove(&peer.origin);
            }
        }
        self.deadlines.set(id.index, None);
    }
}

//! How somebody who has confirmed becomes a peer, and how a peer goes: the application is asked before anything is read
//! or sent, and who goes is told so under keys that are then wiped. PROTOCOL.md, "Server" and "Replacement".

use std::{net::SocketAddr, time::Instant};

use rand_core::TryCryptoRng;

use super::{
    CODE_VIOLATION, FIRST_OWN_CODE, Listener, MAX_CLOSES, Peer,
    cids::{Cid, Cids},
    gate::Place,
    port::Joined,
    receive::frames,
};
use crate::{
    connection::Connection,
    crypto::OpenKeys,
    error::{CloseReason, Dropped},
    event::{Event, PeerId},
    roster::Member,
    sealed::{CODE_AEAD_LIMIT, CODE_FULL, CODE_REPLACED, finished::Waits, live::Live, messages, roam::Roam},
    ticket::{Admission, TicketError, TicketKeys, TicketProfile, TicketScope},
    wire::{
        frame::{Frame, Frames},
        header::WORD_LEN,
    },
};

impl Listener {
    /// A half-open handshake is confirmed by its first packet: the application is asked.
    pub(super) fn confirmed<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        (from, proven): (SocketAddr, bool),
        (number, cid, open): (u64, Cid, Box<OpenKeys>),
        packet: &[u8],
    ) -> Result<(), Dropped> {
        // Whoever finds no place to wait for the application repeats CONFIRM, and the entry is there for it.
        let origin = self.gate.origin(from);
        if !self.peers.may_ask(&origin, self.server.max_asking) {
            self.gate.note_no_wait();
            return Err(Dropped::Handshake);
        }
        let payload = frames(packet);
        let ticket = confirmation(payload).ok_or(Dropped::Handshake)?.into();
        let key = match self.half_open.find_cid(&cid).map(|entry| &entry.stage) {
            Some(Waits::Packet(finished)) => finished.peer,
            _ => return Err(Dropped::Unopened),
        };
        // Who comes back to his own session takes its place, and needs no other.
        let returns = key.is_some_and(|key| self.by_key.contains_key(key.as_bytes()));
        let share = self.gate.session_opened(from);
        if share.is_none() && !returns && !proven {
            // A copy from elsewhere must not cost the entry of whom it was copied from.
            return Err(Dropped::Handshake);
        }
        let entry = self.half_open.take(&cid).ok_or(Dropped::Unopened)?;
        let (ends, init) = (entry.ends(), messages::reference(&entry.id));
        let joined = (self.port.nanos(ends), entry.number());
        let Waits::Packet(finished) = entry.stage else { return Err(Dropped::Unopened) };
        let agreed = finished.confirmed(open, entry.id);
        let negotiated = agreed.negotiated;
        let Ok(mut live) = Live::begin(agreed, &self.config, now, rng) else {
            return self.give_back(share);
        };
        if share.is_none() && !returns {
            let padding = self.config.padding;
            live.say_close(padding, CODE_FULL, &[], |close| self.push_close(from, close));
            return Err(Dropped::Handshake);
        }
        let bytes = self.server.route.len() + cid.len() + packet.len();
        let Some(roam) = Roam::new(now, rng, (from, proven), bytes) else {
            return self.give_back(share);
        };
        let mut connection = Connection::new(&self.config);
        connection.start(now, &negotiated, live.channel.seal.next_number());
        let at = self.prefix_len() + WORD_LEN;
        if connection.receive(now, number, payload, at).is_err() {
            return self.give_back(share);
        }
        let until = (now + self.server.accept_timeout).min(ends);
        let peer = Peer { live, roam, joined, share, cids: Cids::new(cid) };
        let id = match self.peers.ask(now, until, origin, peer, connection) {
            Ok(id) => id,
            Err(peer) => return self.give_back(peer.share),
        };
        self.owners.insert(cid, id);
        self.inits.insert(init);
        self.peers.push_event(id, Event::Join { key, ticket, address: from });
        Ok(())
    }

    /// A join that fails gives its place among the sessions back.
    fn give_back(&mut self, share: Option<Place>) -> Result<(), Dropped> {
        if let Some(share) = share {
            self.gate.session_closed(share);
        }
        Err(Dropped::Handshake)
    }

    pub(super) fn push_close(&mut self, to: SocketAddr, close: Vec<u8>) {
        if self.closes.len() < MAX_CLOSES {
            self.closes.push_back((to, close.into_boxed_slice()));
        }
    }

    /// Lets a peer in that asks. `false` if it does not ask (any more).
    pub(crate) fn accept<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R, id: PeerId) -> bool {
        let Some(member) = self.peers.get(id).filter(|member| member.asks()) else { return false };
        let Peer { live, joined, .. } = &member.peer;
        let (key, handshake_hash, joined) = (live.peer, Some(live.channel.hash), *joined);
        let reference = live.init;
        let old = key.and_then(|key| self.by_key.get(key.as_bytes()).copied());
        // The same key again is the same peer in a new session; but a later join is not undone by an earlier one.
        if old.and_then(|old| self.peer(old)).is_some_and(|old| old.joined > joined) {
            self.remove(id);
            return false;
        }
        if !self.take_place(id, old) {
            self.say_close(id, CODE_FULL, &[]);
            self.remove(id);
            return false;
        }
        let Some(member) = self.peers.let_in(id) else { return false };
        member.connection.hear(now);
        if let Some(old) = old {
            self.say_close(old, CODE_REPLACED, &reference);
            self.end(now, old, CloseReason::Replaced);
        }
        if let Some(key) = key {
            self.by_key.insert(*key.as_bytes(), id);
            let (at, _) = joined;
            self.port.tell_others(Joined { key: *key.as_bytes(), at, worker: self.worker(), reference });
            // Other answers to the same peer end with it. PROTOCOL.md, "Key confirmation".
            self.half_open.erase(|stage| match stage {
                Waits::Packet(finished) => finished.peer == Some(key),
                Waits::Fin(_) => false,
            });
        }
        self.peers.push_event(id, Event::Connected { peer: key, handshake_hash });
        self.give_cids(now, rng, id);
        self.peers.touch(id);
        self.peers.make_ready(id);
        self.reschedule(now, id);
        true
    }

    /// Ends the sessions here whose players were let in again by other workers of the port. PROTOCOL.md, "Workers".
    pub(crate) fn heed_others(&mut self, now: Instant) {
        let own = self.worker();
        for joined in self.port.take(own) {
            let Some(&id) = self.by_key.get(&joined.key) else { continue };
            let Some(Peer { live, joined: (at, _), .. }) = self.peer(id) else { continue };
            if joined.displaces(*at, own) {
                self.say_close(id, CODE_REPLACED, &joined.reference);
                self.end(now, id, CloseReason::Replaced);
            } else {
                // A yes that came late to an earlier join: the session of that is the one to end.
                let reference = live.init;
                self.port.tell(joined.worker, Joined { at: *at, worker: own, reference, ..joined });
            }
        }
    }

    /// Which worker of the port this is.
    fn worker(&self) -> u8 {
        self.server.worker.map_or(0, |worker| worker.index)
    }

    /// Sees to it that a peer that is let in counts among the sessions: with the place that it has, with that of the
    /// session that it replaces, or, where that session has ended meanwhile, with a free one. `false`: there is none.
    fn take_place(&mut self, id: PeerId, old: Option<PeerId>) -> bool {
        let Self { peers, gate, .. } = self;
        let freed = old.and_then(|old| peers.get_mut(old)).and_then(|old| old.peer.share.take());
        let Some(peer) = peers.get_mut(id).map(|member| &mut member.peer) else { return false };
        match (&peer.share, freed) {
            (Some(_), Some(freed)) => gate.session_closed(freed),
            (Some(_), None) => {}
            (None, freed) => peer.share = freed.or_else(|| gate.session_opened(peer.roam.address())),
        }
        peer.share.is_some()
    }

    /// Checks the ticket that a peer shows against what we are and what the handshake has proven of it.
    pub(crate) fn admission(
        &self,
        id: PeerId,
        ticket: &[u8],
        keys: &TicketKeys,
        unix_now: u64,
        is_revoked: impl FnOnce(&[u8; 16]) -> bool,
    ) -> Result<Admission, TicketError> {
        let credentials = &self.local.credentials;
        let profile =
            TicketProfile::from_byte(credentials.profile.byte()).ok_or(TicketError::WrongProfile)?;
        let server = credentials.own().ok_or(TicketError::WrongServer)?;
        let here = TicketScope { app_id: &self.config.app_id, profile, server, route: &self.server.route };
        keys.check(ticket, &here, self.peer_key(id).as_ref(), unix_now, is_revoked)
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

    /// Closes because the peer, or somebody, did what must not be.
    pub(super) fn close_for(&mut self, now: Instant, id: PeerId, reason: CloseReason) {
        let code = if reason == CloseReason::AeadLimit { CODE_AEAD_LIMIT } else { CODE_VIOLATION };
        self.say_close(id, code, &[]);
        self.end(now, id, reason);
    }

    fn say_close(&mut self, id: PeerId, code: u16, reason: &[u8]) {
        let Some(member) = self.peers.get_mut(id).filter(|member| !member.has_ended()) else { return };
        let Peer { live, roam, .. } = &mut member.peer;
        let to = roam.address();
        live.say_close(self.config.padding, code, reason, |close| {
            if self.closes.len() < MAX_CLOSES && roam.pay(to, close.len()) {
                self.closes.push_back((to, close.into_boxed_slice()));
            }
        });
    }

    /// The session is over, or the join. What it has left to yield stays until the application has taken it.
    pub(super) fn end(&mut self, now: Instant, id: PeerId, reason: CloseReason) {
        self.forget_names(id);
        if self.peers.end(now, id, reason) {
            self.remove(id);
        } else if let Some(member) = self.peers.get_mut(id).filter(|member| member.has_ended()) {
            // What it has left to yield needs no key.
            member.peer.live.channel.erase();
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
        for cid in peer.cids.iter() {
            self.owners.remove(&cid);
        }
        self.inits.remove(&peer.live.init);
        if let Some(key) = peer.live.peer {
            if self.by_key.get(key.as_bytes()) == Some(&id) {
                self.by_key.remove(key.as_bytes());
            }
        }
    }

    pub(super) fn remove(&mut self, id: PeerId) {
        self.forget_names(id);
        if let Some(share) = self.peers.remove(id).and_then(|member| member.peer.share) {
            self.gate.session_closed(share);
        }
    }

    /// Gives the client the spare ids that it is short of. PROTOCOL.md, "Connection ids".
    pub(super) fn give_cids<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R, id: PeerId) {
        while self.peers.get(id).is_some_and(|member| member.is_open() && member.peer.cids.wants_one(now)) {
            // Without randomness there is no spare; the session works without.
            let Ok(cid) = self.fresh_cid(rng) else { return };
            self.owners.insert(cid, id);
            let Some(Member { peer, connection, .. }) = self.peers.get_mut(id) else { return };
            let (sequence, retire_below) = peer.cids.give(now, cid);
            connection.give_cid(sequence, retire_below, cid);
        }
    }
}

/// The ticket of a packet that confirms and does nothing else: whoever was not let in has nothing else to say.
fn confirmation(payload: &[u8]) -> Option<&[u8]> {
    let mut ticket = None;
    for frame in Frames::new(payload) {
        match frame {
            Ok(Frame::Confirm { ticket: shown, .. }) if ticket.is_none() => ticket = Some(shown),
            Ok(Frame::Padding { .. }) => {}
            _ => return None,
        }
    }
    ticket
}

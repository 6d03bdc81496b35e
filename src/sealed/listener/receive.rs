//! The incoming path, top to bottom. Before line 6 nothing changes but drop counters, the budgets of strangers and, once the
//! tag has verified, the replay window and the peer's share. PROTOCOL.md, "Receiving" and "Server".

use std::{net::SocketAddr, time::Instant};

use rand_core::TryCryptoRng;

use super::{Listener, cids::Cid};
use crate::{
    crypto::OpenKeys,
    error::{CloseReason, Dropped, Violation},
    event::{Event, PeerId},
    roster::Member,
    sealed::{CODE_REPLACED, messages::PACKET_OVERHEAD, roam::Arrival},
    wire::{frame::CID_LEN, header::WORD_LEN},
};

/// What is known of a datagram before its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// It came under an id of this peer. If its keys opened it: the packet's number, and whether none that opened before was
    /// higher.
    Tried { id: PeerId, cid: Cid, opened: Result<(u64, bool), Dropped> },
    /// Nobody's keys need to be tried, or may be: it is dropped.
    Refused(Dropped),
    /// No session has its id.
    Strange,
}

impl Listener {
    /// What can be found out about a datagram before its turn: opens it in place if it is a session's. Nothing else comes
    /// of it yet, so that many can be opened in a row and the cipher's code is fetched once for all of them.
    pub(crate) fn look_ahead(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) -> Ahead {
        // 1. Lengths first, before anything is split off.
        let prefix_len = self.prefix_len();
        let largest = usize::from(self.config.max_datagram_bytes);
        if datagram.len() <= prefix_len + PACKET_OVERHEAD || datagram.len() > largest {
            return Ahead::Refused(Dropped::Length);
        }
        // 2. The route must be ours. The id names the one session or half-open entry whose keys are tried; without one
        // this can only be a handshake message.
        let Some((prefix, packet)) = datagram.split_at_mut_checked(prefix_len) else {
            return Ahead::Refused(Dropped::Length);
        };
        let Some((route, cid)) = prefix.split_last_chunk::<CID_LEN>() else {
            return Ahead::Refused(Dropped::Length);
        };
        if route != self.server.route {
            return Ahead::Refused(Dropped::Unopened);
        }
        let Some(&id) = self.owners.get(cid) else { return Ahead::Strange };
        let cid = *cid;
        self.open(now, id, (from, cid), prefix, packet)
    }

    /// Takes one datagram from outside, of which `ahead` is known, and changes it in place. Gives the peer for which
    /// something may be ready now. The caller runs the timers that are due before. PROTOCOL.md, "Simultaneous open",
    /// rule 5.
    pub(crate) fn take_datagram<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        from: SocketAddr,
        ahead: Ahead,
        datagram: &mut [u8],
    ) -> Result<Option<PeerId>, Dropped> {
        // A datagram before it may have made the session that it belongs to.
        let ahead = if ahead == Ahead::Strange { self.look_ahead(now, from, datagram) } else { ahead };
        match ahead {
            Ahead::Tried { id, cid, opened } => {
                let (number, newest) = self.heed_opened(now, id, opened)?;
                // 6. Only now may anything change.
                let arrival = Arrival { from, bytes: datagram.len(), newest, probing: true };
                let packet = datagram.get(self.prefix_len()..).ok_or(Dropped::Length)?;
                self.packet(now, rng, id, arrival, (number, &cid), packet);
                Ok(Some(id))
            }
            Ahead::Refused(why) => Err(why),
            Ahead::Strange => self.handle_strange(now, rng, from, datagram).map(|()| None),
        }
    }

    /// A datagram of no session: of a half-open one, or 7., a handshake message, or nothing of ours.
    fn handle_strange<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        from: SocketAddr,
        datagram: &mut [u8],
    ) -> Result<(), Dropped> {
        self.half_open.handle_timeout(now);
        let (prefix, packet) = datagram.split_at_mut_checked(self.prefix_len()).ok_or(Dropped::Length)?;
        let &cid = prefix.last_chunk::<CID_LEN>().ok_or(Dropped::Length)?;
        if self.half_open.find_cid(&cid).is_some() {
            return self.half_open_packet(now, rng, from, cid, (prefix, packet));
        }
        self.handle_init(now, rng, from, datagram)
    }

    fn open(
        &mut self,
        now: Instant,
        id: PeerId,
        (from, cid): (SocketAddr, Cid),
        prefix: &[u8],
        packet: &mut [u8],
    ) -> Ahead {
        let round = self.peers.round();
        let Some(member) = self.peers.get_mut(id) else { return Ahead::Refused(Dropped::Unopened) };
        // Whoever sends more than its share must not keep the others waiting. PROTOCOL.md, "Server".
        if member.reads_in(round) >= self.server.reads_per_peer {
            return Ahead::Refused(Dropped::Share);
        }
        // Strangers who saw an id must not use up the session's failures, nor what the peer's datagrams under its other
        // ids may use when it has moved. PROTOCOL.md, "Finding the session".
        let peer = &mut member.peer;
        if from != peer.roam.address() && !peer.cids.take_stranger(self.gate.nanos(now), &cid) {
            return Ahead::Refused(Dropped::Unopened);
        }
        // 3. to 5. Unmask into a local, open in place, then the replay window and the epoch rule: `OpenKeys::open`.
        let keep = Self::keep(&member.connection);
        let opened = open_packet(&mut peer.live.channel.open, now, keep, prefix, packet);
        // Only what is authentic counts: strangers cannot use up somebody's share.
        if opened.is_ok() {
            member.read_in(round);
        }
        Ahead::Tried { id, cid, opened }
    }

    /// What is due before the frames of a packet that opened count, and what follows from one that did not.
    fn heed_opened(
        &mut self,
        now: Instant,
        id: PeerId,
        opened: Result<(u64, bool), Dropped>,
    ) -> Result<(u64, bool), Dropped> {
        // Its session may have ended by a datagram before it.
        let member = self.peers.get_mut(id).filter(|member| !member.has_ended()).ok_or(Dropped::Unopened)?;
        match opened {
            Err(Dropped::Unopened) => {
                let live = &mut member.peer.live;
                live.failures = live.failures.saturating_add(1);
                if live.failures >= self.config.aead_failure_limit {
                    self.close_for(now, id, CloseReason::AeadLimit);
                }
            }
            Err(Dropped::Epoch) => self.violated(now, id, Violation::Malformed),
            _ => {}
        }
        opened
    }

    /// An authentic packet of a session. `packet` is its datagram without the prefix, opened.
    fn packet<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        id: PeerId,
        arrival: Arrival,
        (number, cid): (u64, &Cid),
        packet: &[u8],
    ) {
        let at = self.prefix_len() + WORD_LEN;
        let payload = frames(packet);
        let Some(member) = self.peers.get_mut(id) else { return };
        let is_open = member.is_open();
        let Member { peer, connection, .. } = member;
        peer.cids.used(now, cid, || Self::keep(connection));
        if !is_open {
            // Only CONFIRM again: whoever has not been let in has nothing else to say.
            return;
        }
        match connection.receive(now, number, payload, at) {
            Ok(received) => {
                let arrival = Arrival { probing: received.probing, ..arrival };
                if let Some(from) = peer.roam.heed(now, rng, &arrival, &received, connection) {
                    self.peers.push_event(id, Event::PathChanged { from, to: arrival.from });
                }
                self.peers.touch(id);
                self.peers.stir(id);
                if let Some(closing) = received.close {
                    let reason = if closing.code == CODE_REPLACED {
                        CloseReason::Replaced
                    } else {
                        CloseReason::ClosedByPeer { code: closing.code }
                    };
                    self.end(now, id, reason);
                }
            }
            Err(violation) => self.violated(now, id, violation),
        }
    }

    fn violated(&mut self, now: Instant, id: PeerId, violation: Violation) {
        let over = self.peers.get_mut(id).is_some_and(|member| member.peer.live.violated());
        if over || violation == Violation::ImpossibleAck {
            self.close_for(now, id, CloseReason::ProtocolViolation);
        }
    }
}

/// The frames of an opened packet.
pub(super) fn frames(packet: &[u8]) -> &[u8] {
    let end = packet.len().saturating_sub(PACKET_OVERHEAD - WORD_LEN);
    packet.get(WORD_LEN..end).unwrap_or_default()
}

/// The packet's number if `keys` open it, and whether none that opened was higher.
pub(super) fn open_packet(
    keys: &mut OpenKeys,
    now: Instant,
    keep: std::time::Duration,
    prefix: &[u8],
    packet: &mut [u8],
) -> Result<(u64, bool), Dropped> {
    keys.open(now, keep, prefix, packet).map(|opened| (opened.number, opened.newest))
}

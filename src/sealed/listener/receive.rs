//! The incoming path, top to bottom. Before line 6 nothing changes but drop counters and the budgets of strangers.
//! PROTOCOL.md, "Receiving" and "Server".

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

impl Listener {
    /// Takes one datagram from outside and changes it in place. Gives the peer for which something may be ready now.
    /// The caller runs the timers that are due before. PROTOCOL.md, "Simultaneous open", rule 5.
    pub(crate) fn handle_datagram<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        from: SocketAddr,
        datagram: &mut [u8],
    ) -> Result<Option<PeerId>, Dropped> {
        self.half_open.handle_timeout(now);
        // 1. Lengths first, before anything is split off.
        let prefix_len = self.prefix_len();
        let largest = usize::from(self.config.max_datagram_bytes);
        if datagram.len() <= prefix_len + PACKET_OVERHEAD || datagram.len() > largest {
            return Err(Dropped::Length);
        }
        // 2. The route must be ours. The id names the one session or half-open entry whose keys are tried; without one
        // this can only be a handshake message.
        let (prefix, packet) = datagram.split_at_mut_checked(prefix_len).ok_or(Dropped::Length)?;
        let (route, cid) = prefix.split_last_chunk::<CID_LEN>().ok_or(Dropped::Length)?;
        if route != self.server.route {
            return Err(Dropped::Unopened);
        }
        // 3. to 5. Unmask into a local, open in place, then the replay window and the epoch rule: `OpenKeys::open`.
        let cid: Cid = *cid;
        match self.owners.get(&cid) {
            Some(&id) => {
                let (number, newest) = self.open(now, id, (from, &cid), prefix, packet)?;
                // 6. Only now may anything change.
                let bytes = prefix_len + packet.len();
                let arrival = Arrival { from, bytes, newest, probing: true };
                self.packet(now, rng, id, arrival, (number, &cid), packet);
                Ok(Some(id))
            }
            None if self.half_open.find_cid(&cid).is_some() => {
                self.half_open_packet(now, rng, from, cid, (prefix, packet)).map(|()| None)
            }
            // 7. A handshake message, or nothing of ours.
            None => self.handle_init(now, rng, from, datagram).map(|()| None),
        }
    }

    fn open(
        &mut self,
        now: Instant,
        id: PeerId,
        (from, cid): (SocketAddr, &Cid),
        prefix: &[u8],
        packet: &mut [u8],
    ) -> Result<(u64, bool), Dropped> {
        let round = self.peers.round();
        let member = self.peers.get_mut(id).ok_or(Dropped::Unopened)?;
        // Whoever sends more than its share must not keep the others waiting. PROTOCOL.md, "Server".
        if member.reads_in(round) >= self.server.reads_per_peer {
            return Err(Dropped::Share);
        }
        // Strangers who saw an id must not use up the session's failures, nor what the peer's datagrams under its other
        // ids may use when it has moved. PROTOCOL.md, "Finding the session".
        let peer = &mut member.peer;
        if from != peer.roam.address() && !peer.cids.take_stranger(self.gate.nanos(now), cid) {
            return Err(Dropped::Unopened);
        }
        let keep = Self::keep(&member.connection);
        let opened = open_packet(&mut peer.live.channel.open, now, keep, prefix, packet);
        match opened {
            // Only what is authentic counts: strangers cannot use up somebody's share.
            Ok(_) => member.read_in(round),
            Err(Dropped::Unopened) => {
                peer.live.failures = peer.live.failures.saturating_add(1);
                if peer.live.failures >= self.config.aead_failure_limit {
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
        peer.cids.used(now, cid, Self::keep(connection));
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

//! The incoming path, top to bottom: the checksum, then an opening or a packet of a session that is known by our id.
//! PROTOCOL.md, "Plain server".

use std::{net::SocketAddr, time::Instant};

use rand_core::TryCryptoRng;

use super::{Listener, Peer};
use crate::{
    error::{CloseReason, Dropped, Violation},
    event::PeerId,
    plain::{MAX_VIOLATIONS, is_foreign},
    roster::Member,
    wire::plain::{Datagram, HEADROOM},
};

impl Listener {
    /// Takes one datagram from outside. Gives the peer for which something may be ready now. The caller runs the timers
    /// that are due before.
    pub(crate) fn handle_datagram<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        from: SocketAddr,
        datagram: &mut [u8],
    ) -> Result<Option<PeerId>, Dropped> {
        if datagram.len() > usize::from(self.config.max_datagram_bytes) {
            return Err(Dropped::Length);
        }
        let opened = self.checksum.open(datagram, self.config.handshake_bytes);
        match opened.map_err(|_| Dropped::Unopened)? {
            Datagram::Opening(opening) => self.greeted(now, rng, from, &opening).map(|()| None),
            Datagram::Packet { session, truncated, payload } => {
                let id = self.owners.get(&session).copied().ok_or(Dropped::Unopened)?;
                self.packet(now, id, from, truncated, payload).map(|()| Some(id))
            }
        }
    }

    fn packet(
        &mut self,
        now: Instant,
        id: PeerId,
        from: SocketAddr,
        truncated: u32,
        payload: &[u8],
    ) -> Result<(), Dropped> {
        // Nothing proves that a packet from elsewhere is the peer's own, so nobody is followed.
        let round = self.peers.round();
        let known = |member: &&mut Member<Peer>| member.is_open() && member.peer.address == from;
        let member = self.peers.get_mut(id).filter(known).ok_or(Dropped::Unopened)?;
        // Whoever sends more than its share must not keep the others waiting. PROTOCOL.md, "Server".
        if member.reads_in(round) >= self.server.reads_per_peer {
            return Err(Dropped::Share);
        }
        let number = member.peer.live.accept(truncated)?;
        member.read_in(round);
        let taken = if is_foreign(payload) {
            Err(Violation::Malformed)
        } else {
            member.connection.receive(now, number, payload, HEADROOM)
        };
        match taken {
            Ok(received) => {
                self.peers.touch(id);
                self.peers.stir(id);
                if let Some(closing) = received.close {
                    self.end(now, id, CloseReason::ClosedByPeer { code: closing.code });
                }
            }
            Err(violation) => self.violated(now, id, violation),
        }
        Ok(())
    }

    fn violated(&mut self, now: Instant, id: PeerId, violation: Violation) {
        let Some(Member { peer, .. }) = self.peers.get_mut(id) else { return };
        peer.live.violations += 1;
        if violation == Violation::ImpossibleAck || peer.live.violations >= MAX_VIOLATIONS {
            self.say_close(id, crate::plain::CODE_VIOLATION, &[]);
            self.end(now, id, CloseReason::ProtocolViolation);
        }
    }
}

//! What happens by the clock alone, and when next, over all peers: only those that are due are looked at.
//! PROTOCOL.md, "Timers".

use std::time::Instant;

use rand_core::TryCryptoRng;

use super::{Listener, Peer};
use crate::{
    error::CloseReason,
    event::PeerId,
    roster::{MAX_DUE, Member},
    sealed::Failure,
};

impl Listener {
    /// When `handle_timeout` next has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.half_open.deadline(), self.peers.deadline()].into_iter().flatten().min()
    }

    /// Runs every timer that is due.
    pub(crate) fn handle_timeout<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R) {
        self.half_open.handle_timeout(now);
        for _ in 0..MAX_DUE {
            let Some(id) = self.peers.next_due(now) else { return };
            self.time_peer(now, rng, id);
            self.reschedule(now, id);
        }
    }

    fn time_peer<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R, id: PeerId) {
        let Some(member) = self.peers.get_mut(id) else { return };
        if let Some(until) = member.stays_until() {
            if until <= now {
                self.remove(id);
            }
            return;
        }
        let Member { peer, connection, .. } = member;
        if peer.live.is_idle(now, connection) {
            return self.end(now, id, CloseReason::TimedOut);
        }
        let timed = peer.live.handle_timeout(now, &self.config, connection, rng);
        while let Some(cid) = peer.cids.take_forgotten(now) {
            self.owners.remove(&cid);
        }
        match timed {
            Err(Failure::Entropy) => return self.end(now, id, CloseReason::Entropy),
            Err(Failure::Exhausted) => return self.end(now, id, CloseReason::KeysExhausted),
            Err(Failure::Room) | Ok(()) => {}
        }
        self.give_cids(now, rng, id);
        self.peers.stir(id);
    }

    /// Writes down when the peer is due next.
    pub(super) fn reschedule(&mut self, now: Instant, id: PeerId) {
        self.peers.reschedule(
            now,
            id,
            |Member { peer: Peer { live, roam, cids, .. }, connection, .. }| {
                let live = live.deadline_on(roam, &self.config, connection);
                cids.deadline().map_or(live, |cids| cids.min(live))
            },
        );
    }
}

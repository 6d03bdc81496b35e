//! What happens by the clock alone, and when next, over all peers: only those that are due are looked at.
//! PROTOCOL.md, "Timers".

use std::time::Instant;

use rand_core::TryCryptoRng;

use super::{Listener, peer::Standing};
use crate::{error::CloseReason, event::PeerId, sealed::Failure};

/// Peers whose timers one call runs at most; the rest is due at once.
const MAX_DUE: usize = 4_096;

impl Listener {
    /// When `handle_timeout` next has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.half_open.deadline(), self.deadlines.next().map(|(at, _)| at)].into_iter().flatten().min()
    }

    /// Runs every timer that is due.
    pub(crate) fn handle_timeout<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R) {
        self.half_open.handle_timeout(now);
        for _ in 0..MAX_DUE {
            let Some((_, index)) = self.deadlines.next().filter(|(at, _)| *at <= now) else { return };
            let Some(id) = self.peers.at(index) else {
                self.deadlines.set(index, None);
                continue;
            };
            if self.due(id).is_some_and(|due| due <= now) {
                self.time_peer(now, rng, id);
            }
            self.reschedule(now, id);
        }
    }

    fn time_peer<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        if let Standing::Asks { until } | Standing::Ended { until } = peer.standing {
            if until <= now {
                self.remove(id);
            }
            return;
        }
        if peer.live.is_idle(now, &peer.connection) {
            return self.end(now, id, CloseReason::TimedOut);
        }
        let timed = peer.live.handle_timeout(now, &self.config, &mut peer.connection, rng);
        while let Some(cid) = peer.cids.take_forgotten(now) {
            self.owners.remove(&cid);
        }
        match timed {
            Err(Failure::Entropy) => return self.end(now, id, CloseReason::Entropy),
            Err(Failure::Exhausted) => return self.end(now, id, CloseReason::KeysExhausted),
            Err(Failure::Room) | Ok(()) => {}
        }
        self.give_cids(now, rng, id);
        self.note(id);
        self.make_ready(id);
    }

    /// Writes down when the peer is due next.
    pub(super) fn reschedule(&mut self, now: Instant, id: PeerId) {
        if let Some(at) = self.due(id) {
            self.deadlines.set_after(id.index, now, at);
        }
    }

    /// When something of this peer is due.
    fn due(&self, id: PeerId) -> Option<Instant> {
        let peer = self.peers.get(id)?;
        Some(match peer.standing {
            Standing::Asks { until } | Standing::Ended { until } => until,
            Standing::Open => {
                let live = peer.live.deadline_on(&peer.roam, &self.config, &peer.connection);
                peer.cids.deadline().map_or(live, |cids| cids.min(live))
            }
        })
    }
}

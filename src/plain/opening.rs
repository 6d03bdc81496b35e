//! The opening of a plain session: hellos, answers, confirmations, and the id that a session will have. Who echoes our
//! id has heard it, so it is no ghost of an earlier session; nothing else begins one. PROTOCOL.md, "Plain endpoint".

use std::time::{Duration, Instant};

use rand_core::TryCryptoRng;

use super::{Plain, dial::Phase};
use crate::{
    config::Config,
    connection::Negotiated,
    error::{CloseReason, Dropped},
    wire::{
        hello::Hello,
        plain::{Checksum, HEADROOM, Opening, Step},
    },
};

/// How long the old session has to answer before a new one takes its place.
const ASK_AT_LEAST: Duration = Duration::from_millis(300);
const ASK_AT_MOST: Duration = Duration::from_secs(2);

impl Plain {
    /// A hello, an answer or a confirmation. Who echoes our id has heard it, so it is no ghost of an earlier session.
    pub(super) fn greeted<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        opening: &Opening,
    ) -> Result<(), Dropped> {
        let Opening { own: peer, step, hello } = *opening;
        let live = self.live.as_ref().map(|live| (live.own, live.peer));
        if self.fresh == Some(peer) || live.is_some_and(|(own, _)| own == peer) {
            return Err(Dropped::Reflected);
        }
        let knows_us = |echo: u64| self.fresh == Some(echo);
        match step {
            Step::Answer(echo) if knows_us(echo) && self.dial.is_some() => {
                self.answered(now, rng, peer, self.negotiate(&hello));
            }
            Step::Answer(_) => return Err(Dropped::Handshake),
            // The peer waits for our first packet.
            Step::Confirm(echo) if live == Some((echo, peer)) => self.connection.ping(now),
            Step::Confirm(echo) if knows_us(echo) => self.confirmed(now, rng, peer, self.negotiate(&hello)),
            // A late copy of what began the live session.
            _ if live.is_some_and(|(_, known)| known == peer) => return Err(Dropped::Handshake),
            // After its `close` the application decides when to talk again, and also to a peer that proved unfit.
            _ if matches!(self.closed, Some(CloseReason::ClosedHere | CloseReason::ProtocolViolation)) => {
                return Err(Dropped::Handshake);
            }
            Step::Hello | Step::Confirm(_) => {
                self.own_id(rng).ok_or(Dropped::Handshake)?;
                self.answer = Some(peer);
            }
        }
        Ok(())
    }

    /// The peer has answered our hello.
    fn answered<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        peer: u64,
        negotiated: Negotiated,
    ) {
        let Some(dial) = &mut self.dial else { return };
        match dial.phase {
            // An answer says that the peer is there, not that it lost the session. PROTOCOL.md, "Replacement".
            Phase::Sent if dial.background && self.live.is_some() => {
                let wait = (self.connection.pto() * 3).clamp(ASK_AT_LEAST, ASK_AT_MOST);
                dial.read_answer(now, wait, peer, negotiated);
                self.connection.ping(now);
            }
            Phase::Sent => dial.read_answer(now, Duration::ZERO, peer, negotiated),
            Phase::Unconfirmed { peer: first, .. } if first == peer => {}
            // Two incarnations have answered. Ids are not shared, so begin again with another one.
            Phase::Unconfirmed { .. } => self.redial(now, rng),
        }
    }

    /// The peer has heard our id and waits for a first packet from us, or is about to send one itself.
    fn confirmed<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        peer: u64,
        negotiated: Negotiated,
    ) {
        let Some(own) = self.fresh else { return };
        let Some(dial) = &mut self.dial else { return self.go_live(now, own, peer, &negotiated, false) };
        match dial.phase {
            Phase::Unconfirmed { peer: first, .. } if first != peer => self.redial(now, rng),
            // Both dial: the one with the smaller id is the initiator and waits for the other's packet.
            _ if own > peer => self.go_live(now, own, peer, &negotiated, false),
            Phase::Sent => dial.read_answer(now, Duration::ZERO, peer, negotiated),
            Phase::Unconfirmed { .. } => dial.hurry(now),
        }
    }

    /// Our id for the session to come, made now if there is none. `None` if the generator fails.
    pub(super) fn own_id<R: TryCryptoRng + ?Sized>(&mut self, rng: &mut R) -> Option<u64> {
        if self.fresh.is_none() {
            // Zero marks an opening; anything else will do.
            self.fresh = rng.try_next_u64().ok().map(|id| id.max(1));
        }
        self.fresh
    }

    /// Starts our attempt over, under an id that nobody has seen.
    pub(super) fn redial<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R) {
        self.fresh = None;
        match (self.own_id(rng), &mut self.dial) {
            (Some(_), Some(dial)) => dial.begin(now),
            _ => self.end(CloseReason::Entropy),
        }
    }

    fn negotiate(&self, peer: &Hello) -> Negotiated {
        negotiate(&self.config, peer)
    }

    pub(super) fn open_with(&self, own: u64, step: Step, out: &mut [u8]) -> usize {
        write_opening(&self.checksum, &self.config, own, step, out)
    }
}

/// The smaller of each pair of limits. PROTOCOL.md, "Hello".
pub(super) fn negotiate(config: &Config, peer: &Hello) -> Negotiated {
    let agreed = Hello::new(config).agreed(peer);
    Negotiated {
        idle_timeout: Duration::from_millis(agreed.idle_timeout_ms.into()),
        max_datagram: agreed.max_datagram,
        max_fragments: agreed.max_fragments,
        max_message: agreed.max_message,
        overhead: HEADROOM,
    }
}

/// Writes a datagram of the opening and returns its length; 0 = no room.
pub(super) fn write_opening(
    checksum: &Checksum,
    config: &Config,
    own: u64,
    step: Step,
    out: &mut [u8],
) -> usize {
    let opening = Opening { own, step, hello: Hello::new(config) };
    let Ok(datagram) = checksum.seal_opening(&opening) else { return 0 };
    let Some(room) = out.get_mut(..datagram.len()) else { return 0 };
    room.copy_from_slice(&datagram);
    datagram.len()
}

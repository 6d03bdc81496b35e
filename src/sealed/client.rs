//! What only a client of a server of many peers meets: ids to choose from, a network that changes under it, a refused
//! join, a request to go elsewhere. Everything here follows a packet that opened or the application's word.
//! PROTOCOL.md, "Connection ids", "Moving", "Joining", "Redirect".

use std::time::Instant;

use rand_core::TryCryptoRng;

use super::{
    Agreed, CODE_REPLACED, Drained, Sealed,
    cids::Offer,
    dial::{Phase, Why},
    live::Live,
    local::check_ticket,
};
use crate::{
    crypto::Side,
    error::{CloseReason, ConfigError, Violation},
    event::Event,
    wire::frame::{self, Frame, Frames},
};

impl Live {
    /// The NEW_CID frames of a packet that opened and decodes.
    pub(super) fn take_offers(&mut self, payload: &[u8]) -> Result<(), Violation> {
        let Some(cids) = &mut self.cids else { return Ok(()) };
        for frame in Frames::new(payload) {
            if let Ok(Frame::NewCid { sequence, retire_below, cid }) = frame {
                cids.offer(Offer { sequence, retire_below, cid })?;
            }
        }
        Ok(())
    }
}

impl Sealed {
    /// The ticket that is shown from the next CONFIRM on.
    pub(crate) fn set_ticket(&mut self, ticket: &[u8]) -> Result<(), ConfigError> {
        let old = self.local.credentials.ticket().to_vec();
        let route = self.local.front.len();
        self.local.credentials.set_ticket(ticket)?;
        check_ticket(&self.local.credentials, &self.config, route).inspect_err(|_| {
            // What was taken once is taken again.
            let (Ok(()) | Err(_)) = self.local.credentials.set_ticket(&old);
        })
    }

    /// From now on our datagrams leave from another address. What was learnt of the way between the two does not hold
    /// any more, and the peer hears of it at once, under an id that the old address has not shown to anybody.
    pub(crate) fn moved<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R, may_fragment: bool) {
        // These stand behind the old id, and nobody waits for them.
        self.closes.clear();
        if let Some(live) = &mut self.live {
            match live.cids.as_mut().map(|cids| cids.change(now, rng)).transpose() {
                Ok(cid) => cid.flatten().into_iter().for_each(|cid| live.take_cid(cid)),
                Err(failure) => return self.fail(now, failure),
            }
            self.connection.ping(now);
        }
        self.connection.on_new_path(may_fragment);
        match self.dial.as_mut().map(|dial| &mut dial.phase) {
            Some(Phase::Sent(attempt)) => attempt.moved(now),
            Some(Phase::Unconfirmed(unconfirmed)) => unconfirmed.moved(now),
            Some(Phase::GaveWay { .. }) | None => {}
        }
    }

    /// Frames of the live session that only a client heeds.
    pub(super) fn heed_server(&mut self, now: Instant, payload: &[u8], redirect: Option<&[u8]>) {
        let Some(live) = &mut self.live else { return };
        let dialled = live.side == Side::Initiator;
        if let Err(violation) = live.take_offers(payload) {
            return self.violated(now, violation);
        }
        if let Some(ticket) = redirect.filter(|_| dialled && self.redirects.take(now)) {
            self.push_event(Event::Redirected { ticket: ticket.into() });
        }
    }

    /// The first packet of a session that we dialled says that it is over: the peer does not want us. `why` is why we
    /// dialled. Nothing began, so nothing is told but the end.
    pub(super) fn refused(&mut self, now: Instant, agreed: Agreed, why: Option<Why>, code: u16) {
        let until = now + self.connection.pto() * 3;
        let drained = Drained { keys: agreed.channel.open, until };
        if self.cancelled.take().is_some() {
            self.drained = Some(drained);
        } else if self.live.is_some() && why == Some(Why::Limit) {
            // The session that was to be renewed is alive and goes on as it is.
            self.wanted = false;
        } else {
            self.end(now, CloseReason::ClosedByPeer { code });
            self.drained = Some(drained);
        }
    }
}

/// The code of a CLOSE in the first packet of a session. One that names a replacement speaks of a session that had begun.
pub(super) fn refusal(payload: &[u8]) -> Option<u16> {
    frame::check(payload).ok()?;
    Frames::new(payload).flatten().find_map(|frame| match frame {
        Frame::Close { code, .. } if code != CODE_REPLACED => Some(code),
        _ => None,
    })
}

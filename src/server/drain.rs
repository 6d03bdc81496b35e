//! How a server goes out of service: nobody new, what is queued still arrives, then everybody is told. Looks at a bounded
//! number of peers in one call.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{Server, core::ServerSession};
use crate::{connection::Connection, event::PeerId, socket::AddressedUdp};

/// Peers that one call looks at; the rest is due soon after.
const LOOKS: usize = 1_024;
const LOOK_AGAIN: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Drain {
    code: u16,
    reason: Vec<u8>,
    /// `None`: however long it takes.
    pub(super) until: Option<Instant>,
    /// Peers that were not done when they were last looked at.
    pub(super) waiting: VecDeque<PeerId>,
}

impl Drain {
    /// When `look` has something to do that neither the socket nor a session brings.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        match self.waiting.len() {
            0 => None,
            1..=LOOKS => self.until,
            _ => self.until.into_iter().chain([now + LOOK_AGAIN]).min(),
        }
    }
}

impl<A: AddressedUdp, L: ServerSession> Server<A, L> {
    /// Goes out of service: answers no newcomer, turns away who asks, lets what is queued for each peer arrive, and then
    /// ends its session with `code` (0 to 0xfeff) and up to 64 bytes of `reason`; with everybody who is left after
    /// `within`, whatever is still queued. Each end is an [`Event::Closed`](crate::Event::Closed).
    ///
    /// Go on calling `recv` and `maintain` until [`is_empty`](Self::is_empty). Called again, it takes the new values.
    /// [`set_accepting(true)`](Self::set_accepting) calls it off for those who are still in.
    pub fn drain(&mut self, code: u16, reason: &[u8], within: Duration) {
        let now = self.environment.now();
        self.core.set_accepting(false);
        let ids: Vec<_> = self.core.peers().ids().collect();
        let (waiting, others): (Vec<_>, Vec<_>) =
            ids.into_iter().partition(|id| self.core.peers().is_open(*id));
        for id in others {
            self.core.close(now, id, code, reason);
        }
        // Longer than the clock goes is without end.
        let until = now.checked_add(within);
        self.drain = Some(Drain { code, reason: reason.to_vec(), until, waiting: waiting.into() });
    }

    /// Ends the sessions that have nothing left to say; all of them when the time is up. Whether there was one.
    pub(super) fn look_after_drain(&mut self, now: Instant) -> bool {
        let Self { drain: Some(drain), core, .. } = self else { return false };
        let over = drain.until.is_some_and(|until| until <= now);
        let looks = if over { drain.waiting.len() } else { drain.waiting.len().min(LOOKS) };
        let mut any = false;
        for _ in 0..looks {
            let Some(id) = drain.waiting.pop_front() else { break };
            if !core.peers().is_open(id) {
                continue;
            }
            if over || core.peers().connection(id).is_none_or(Connection::is_done) {
                any |= core.close(now, id, drain.code, &drain.reason);
            } else {
                drain.waiting.push_back(id);
            }
        }
        any
    }
}

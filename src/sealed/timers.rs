//! What happens by the clock alone, and when next. Sends nothing itself: what is due leaves with the next transmit.
//! Every timer of the peer is in this file. PROTOCOL.md, "Timers".

use std::time::{Duration, Instant};

use rand_core::TryCryptoRng;

use super::{
    Sealed,
    dial::{Phase, Why},
};
use crate::{crypto::Side, error::CloseReason};

/// With half-open entries about, we want to be called at least this often, and take a longer gap for a machine that
/// slept: its clock may have stopped, so the entries' age is not known.
pub(super) const TICK: Duration = Duration::from_millis(500);
pub(super) const SLEPT: Duration = Duration::from_secs(1);

impl Sealed {
    /// Runs every timer that is due.
    pub(crate) fn handle_timeout<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R) {
        // Rule 5: entries of unknown age are erased rather than confirmed.
        if now.saturating_duration_since(self.last_call) > SLEPT {
            self.half_open.clear();
        }
        self.last_call = now;
        self.half_open.expire(now);
        if self.drained.as_ref().is_some_and(|drained| drained.until <= now) {
            self.drained = None;
        }
        self.time_live(now, rng);
        self.time_dial(now, rng);
    }

    /// When `handle_timeout` next has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let dial = self.dial.as_ref().map(|dial| match &dial.phase {
            Phase::Sent(attempt) => self.attempt_end(dial.why, attempt.ends()).min(attempt.deadline()),
            Phase::Unconfirmed(unconfirmed) => unconfirmed.deadline(),
            Phase::GaveWay { until } => self.attempt_end(dial.why, *until),
        });
        let dial = dial.or(self.carried.as_ref().map(|_| self.last_call));
        let half_open = self.half_open.deadline().map(|at| at.min(self.last_call + TICK));
        let drained = self.drained.as_ref().map(|drained| drained.until);
        let sooner = |a: Option<Instant>, b: Option<Instant>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        [half_open, drained, self.live_deadline()].into_iter().fold(dial, sooner)
    }

    /// An attempt of `connect` does not outlive the patience of its caller.
    fn attempt_end(&self, why: Why, end: Instant) -> Instant {
        match self.connect_by {
            Some(connect_by) if why == Why::Called => end.min(connect_by),
            _ => end,
        }
    }

    fn live_deadline(&self) -> Option<Instant> {
        let live = self.live.as_ref()?;
        let own = match self.paths.as_ref().and_then(|paths| paths.roam.as_ref()) {
            Some(roam) => live.deadline_on(roam, &self.config, &self.connection),
            None => live.deadline(&self.config, &self.connection),
        };
        Some(self.redial_at().map_or(own, |redial| redial.min(own)))
    }

    /// When the silence of the live session's peer makes us dial anew. Whoever called `connect` does so, whatever its
    /// role became; the session's initiator is the first, so that the two do not collide without need.
    fn redial_at(&self) -> Option<Instant> {
        let live = self.live.as_ref().filter(|_| self.wanted && self.dial.is_none())?;
        let since = self.connection.unanswered_since()?;
        let patience = (self.connection.pto() * 3).max(Duration::from_secs(1));
        Some(since + if live.side == Side::Initiator { patience } else { patience * 2 })
    }

    fn time_live<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R) {
        let Some(live) = &mut self.live else { return };
        if live.is_idle(now, &self.connection) {
            // An attempt whose RESP was read is never cut: the peer may be live under its keys already.
            let renewing = self.dial.as_ref().is_some_and(|dial| matches!(dial.phase, Phase::Unconfirmed(_)));
            if renewing {
                self.connect_by = Some(now);
                self.end_but_dial(now, CloseReason::TimedOut);
            } else {
                self.end(now, CloseReason::TimedOut);
            }
            return;
        }
        if let Err(failure) = live.handle_timeout(now, &self.config, &mut self.connection, rng) {
            return self.fail(now, failure);
        }
        if self.redial_at().is_some_and(|at| at <= now) {
            self.start_attempt(now, rng, Why::Silence);
        }
    }

    fn time_dial<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R) {
        let Some(dial) = &mut self.dial else {
            // A session that ended to be renewed waits for an attempt.
            if self.carried.is_some() {
                self.start_attempt(now, rng, Why::Called);
            }
            return;
        };
        let why = dial.why;
        let over = match &mut dial.phase {
            Phase::Sent(attempt) => attempt.ends() <= now,
            Phase::Unconfirmed(unconfirmed) => {
                if unconfirmed.tick(now) {
                    self.connection.ping(now);
                }
                if unconfirmed.ends() > now {
                    return;
                }
                true
            }
            Phase::GaveWay { until } => {
                // Rule 4: the answer was not confirmed; start over without it.
                let over = *until <= now;
                if over {
                    self.half_open.clear();
                }
                over
            }
        };
        let late = why == Why::Called && self.connect_by.is_some_and(|connect_by| connect_by <= now);
        if !over && !late {
            return;
        }
        self.drop_dial(now);
        if self.cancelled.take().is_some() {
            return;
        }
        if late {
            let reason = self.timeout_reason();
            self.end(now, reason);
        } else if why == Why::Called || self.live.is_some() {
            self.start_attempt(now, rng, why);
        }
    }
}

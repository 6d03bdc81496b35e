//! The connection's deadlines: acknowledgements that are due, losses and probes, incomplete messages.

use std::time::{Duration, Instant};

use super::Connection;
use crate::delivery::{
    recovery::{Content, Fate},
    send::SendQueue,
};

/// A session without messages for so long gives its buffers back.
const IDLE_BEFORE_REST: Duration = Duration::from_secs(5);

impl Connection {
    /// When `handle_timeout` or `transmit` has something to do next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if !self.started {
            return None;
        }
        [self.acks.deadline(), self.sent.deadline(), self.recv.deadline(), self.rate.wake()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Runs what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if !self.started {
            return;
        }
        let Self { sent, send, window_due, .. } = self;
        let probes = sent.handle_timeout(now, |content, fate| give_back(send, window_due, content, fate));
        self.probes = self.probes.max(probes);
        self.heed_progress(now);
        self.rate.on_timeout(now);
        self.recv.expire(now);
        if self.busy_at.is_some_and(|busy| now.saturating_duration_since(busy) >= IDLE_BEFORE_REST) {
            self.rest();
        }
    }

    /// Lets the rate follow what became known of packets.
    pub(super) fn heed_progress(&mut self, now: Instant) {
        let progress = self.sent.take_progress();
        self.rate.on_progress(now, &progress, self.sent.rtt.smoothed(), self.sent.flight_bytes());
    }

    /// Before a packet is built: the memory of those that nobody acknowledges is bounded.
    pub(super) fn forget_oldest(&mut self, now: Instant) {
        let Self { sent, send, window_due, .. } = self;
        sent.make_room(now, |content, fate| give_back(send, window_due, content, fate));
    }

    /// Gives back memory that an idle session does not need.
    fn rest(&mut self) {
        let idle = self.send.queued_messages() == 0 && self.recv.is_idle() && self.sent.is_idle();
        if idle {
            self.send.shrink();
            self.recv.shrink();
            self.acks.shrink();
            self.sent.shrink();
            self.replies.shrink_to_fit();
            self.busy_at = None;
        }
    }
}

/// What a lost packet carried goes back to where it came from.
fn give_back(send: &mut SendQueue, window_due: &mut bool, content: Content, fate: Fate) {
    match (content, fate) {
        (Content::Part { .. }, _) => send.settle_content(content, fate),
        (Content::Window, Fate::Lost) => *window_due = true,
        _ => {}
    }
}

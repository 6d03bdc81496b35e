//! The connection's deadlines: acknowledgements that are due, losses and probes, incomplete messages.

use std::time::{Duration, Instant};

use super::Connection;
use crate::delivery::recovery::{Content, Fate};

/// A session without messages for so long gives its buffers back.
const IDLE_BEFORE_REST: Duration = Duration::from_secs(5);

impl Connection {
    /// When `handle_timeout` or `transmit` has something to do next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if !self.started {
            return None;
        }
        [self.acks.deadline(), self.sent.deadline(), self.recv.deadline()].into_iter().flatten().min()
    }

    /// Runs what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if !self.started {
            return;
        }
        let Self { sent, send, window_due, .. } = self;
        let probes = sent.handle_timeout(now, |content, fate| match (content, fate) {
            (Content::Part { .. }, _) => send.settle_content(content, fate),
            (Content::Window, Fate::Lost) => *window_due = true,
            _ => {}
        });
        self.probes = self.probes.max(probes);
        self.recv.expire(now);
        if self.busy_at.is_some_and(|busy| now.saturating_duration_since(busy) >= IDLE_BEFORE_REST) {
            self.rest();
        }
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

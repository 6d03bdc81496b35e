//! The connection's deadlines: acknowledgements that are due, losses and probes, incomplete messages.

use std::time::Instant;

use super::Connection;
use crate::delivery::recovery::{Content, Fate};

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
    }
}

//! How datagrams leave: sealed one behind the other, and sent together where the socket can.

use std::{io, time::Instant};

use super::{Endpoint, Session, addressed};
use crate::{
    socket::UdpLike,
    stats::{add, is_too_large},
};

/// Datagrams that one call sends at most, so that no call holds its caller for long; `maintain` is then due at once.
pub(super) const MAX_SENDS: usize = 1_024;

impl<U: UdpLike, S: Session> Endpoint<U, S> {
    /// Sends whatever the core has, oldest first, until it has nothing more or the socket takes no more.
    pub(super) fn transmit(&mut self, now: Instant) {
        self.unanswered = 0;
        self.stuck = false;
        if self.blocked && !self.send_waiting() {
            return;
        }
        for _ in 0..MAX_SENDS {
            let Some(room) = self.outgoing.room() else { break };
            let len = self.core.poll_transmit(now, &mut self.environment, room);
            if len == 0 {
                self.stuck = self.core.connection().has_full_datagrams(1);
                break;
            }
            self.outgoing.push(len, self.core.destination());
            // A single one does not wait for the core to say that there is no other.
            let waits = !self.outgoing.is_full() && self.core.connection().wants_flush();
            if !waits && !self.send_waiting() {
                return;
            }
        }
        self.send_waiting();
    }

    /// Whether so many full datagrams wait; none while the socket is blocked or the flight is full. They are not sealed
    /// before they leave: else those that nobody lets leave for long would count as late, or as lost.
    pub(super) fn may_leave(&self, full: usize) -> bool {
        !self.blocked && !self.stuck && self.core.connection().has_full_datagrams(full)
    }

    /// Sends what is sealed, and returns whether all is gone; else the socket is blocked.
    pub(super) fn send_waiting(&mut self) -> bool {
        if self.outgoing.is_empty() {
            self.blocked = false;
            return true;
        }
        self.blocked = true;
        while let Some(run) = self.outgoing.next_run() {
            if run.count == 1 {
                if self.send_one(false).is_none() {
                    return false;
                }
                continue;
            }
            match addressed::send_run(&mut self.socket, run) {
                Ok(0) => return false,
                Ok(sent) => self.gone(sent.min(run.count)),
                Err(error) if error.kind() == io::ErrorKind::Unsupported => match self.send_one(false) {
                    // Together they do not leave, one by one they do: the system cannot, and need not be asked again.
                    Some(true) => self.outgoing.set_run(1),
                    Some(false) => {}
                    None => return false,
                },
                Err(error) => {
                    self.stats.socket_errors.count(&error);
                    if is_blocked(&error) {
                        return false;
                    }
                    // What it says is about the first, or about an earlier one.
                    if !is_too_large(&error) {
                        self.outgoing.take(1);
                    } else if self.send_one(true).is_none() {
                        return false;
                    }
                }
            }
        }
        self.blocked = false;
        true
    }

    /// Sends one datagram, and says whether it has left or is lost; `None` when the socket is blocked. `told`: the
    /// system has just said that something is too large.
    fn send_one(&mut self, told: bool) -> Option<bool> {
        let (datagram, to) = self.outgoing.next_one()?;
        let mut sent = addressed::send(&mut self.socket, datagram, to);
        if let Some(error) = sent.as_ref().err().filter(|error| !told && is_too_large(error)) {
            // What a router says of an earlier, larger datagram comes with the next call, which then sends nothing.
            self.stats.socket_errors.count(error);
            sent = addressed::send(&mut self.socket, datagram, to);
        }
        match sent {
            Ok(_) => {
                self.gone(1);
                return Some(true);
            }
            // Counted already.
            Err(error) if is_too_large(&error) => {}
            Err(error) => {
                self.stats.socket_errors.count(&error);
                if is_blocked(&error) {
                    return None;
                }
                // Everything else counts as loss: what matters is sent again, in a datagram of its own.
            }
        }
        self.outgoing.take(1);
        Some(false)
    }

    fn gone(&mut self, count: usize) {
        let bytes = self.outgoing.take(count);
        self.incoming.sent();
        add(&mut self.stats.datagrams_sent, count);
        add(&mut self.stats.bytes_sent, bytes);
    }

    /// Lets partly filled datagrams leave too.
    pub(super) fn flush_and_transmit(&mut self, now: Instant) {
        if self.core.connection().wants_flush() {
            self.core.connection_mut().flush();
        }
        self.transmit(now);
    }
}

fn is_blocked(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

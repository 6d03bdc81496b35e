//! Receiving: the messages of all peers, lent in place, in the order in which their datagrams came. One call works off
//! a bounded number of datagrams and goes on where it stopped.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{Server, core::ServerSession};
use crate::{
    delivery::recv::{Place, Ready},
    endpoint::Message,
    error::Dropped,
    event::PeerId,
    sealed::Ahead,
    socket::AddressedUdp,
    stats::add,
};

/// Calls of the socket that failed, or brought nothing for us, after which one round stops reading.
const MAX_FRUITLESS: usize = 16;
/// A round reads at most so many times `reads_per_call` when most of it is beyond somebody's share.
const FORBEARANCE: usize = 4;
/// How soon `maintain` wants to be called again when the socket would not take a datagram.
pub(super) const RETRY: Duration = Duration::from_millis(1);

impl<A: AddressedUdp, L: ServerSession> Server<A, L> {
    /// The next message of any peer, lent in place; `None` when there is none now, or when this round has read
    /// [`reads_per_call`](crate::ServerConfig::reads_per_call) datagrams: then `maintain` is due at once.
    ///
    /// Reads the socket in batches until a message is ready or nothing more waits, then sends acknowledgements and what
    /// is queued. Never blocks. Failures of the socket are counted in [`stats`](Self::stats) and survived.
    pub fn recv(&mut self) -> Option<(PeerId, Message<'_>)> {
        self.take_back();
        let (id, ready) = self.next_ready()?;
        Some((id, self.lend(id, &ready)))
    }

    fn next_ready(&mut self) -> Option<(PeerId, Ready)> {
        let mut clock = None;
        let mut fruitless = 0;
        self.troubled = false;
        self.unread = loop {
            if let Some(id) = self.current {
                if let Some(ready) =
                    self.core.peers_mut().connection_mut(id).and_then(|connection| connection.pop())
                {
                    return Some((id, ready));
                }
                self.core.finish(id);
                self.current = None;
            }
            let now = *clock.get_or_insert_with(|| self.begin_call());
            self.troubled = fruitless >= MAX_FRUITLESS;
            if self.troubled || self.round_is_over() {
                break true;
            }
            self.look_ahead(now);
            if self.take_datagram(now) {
                continue;
            }
            match self.socket.recv_batch(&mut self.incoming) {
                Ok(0) => fruitless += 1,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break false,
                Err(error) => {
                    self.stats.socket_errors.count(&error);
                    fruitless += 1;
                }
            }
        };
        (self.taken, self.beyond_share) = (0, 0);
        self.core.peers_mut().begin_round();
        let now = clock.unwrap_or_else(|| self.environment.now());
        self.core.heed_others(now);
        self.flush_and_transmit(now);
        None
    }

    /// What is due runs before a datagram is read.
    fn begin_call(&mut self) -> Instant {
        let now = self.environment.now();
        self.run_timers(now);
        now
    }

    /// What is dropped unread because its sender has had its share costs little, and hardly counts: so the others are
    /// read in the same call.
    fn round_is_over(&self) -> bool {
        self.taken - self.beyond_share >= self.reads_per_call
            || self.taken / FORBEARANCE >= self.reads_per_call
    }

    /// Opens datagrams of the batch, as many as this round will take, one directly after the other: so the cipher's code
    /// is fetched once for all of them, and then that of everything else.
    fn look_ahead(&mut self, now: Instant) {
        if !self.ahead.is_empty() {
            return;
        }
        let left = self.reads_per_call.saturating_sub(self.taken - self.beyond_share);
        let Self { core, incoming, ahead, .. } = self;
        incoming.look_ahead(left, |arrival| {
            ahead.push_back(if arrival.too_long || arrival.datagram.is_empty() {
                Ahead::Refused(Dropped::Length)
            } else {
                core.look_ahead(now, arrival.from, arrival.datagram)
            });
        });
    }

    /// Hands the next datagram of the batch to the core; `false` if there is none.
    fn take_datagram(&mut self, now: Instant) -> bool {
        let Some(ahead) = self.ahead.pop_front() else { return false };
        let Some(arrival) = self.incoming.take_next() else { return false };
        self.taken += 1;
        add(&mut self.stats.datagrams_received, 1);
        add(&mut self.stats.bytes_received, arrival.datagram.len());
        let Self { core, environment, .. } = self;
        let taken = match ahead {
            Ahead::Refused(why) => Err(why),
            ahead => core.take_datagram(now, environment, arrival.from, ahead, arrival.datagram),
        };
        match taken {
            Ok(peer) => self.current = peer,
            Err(why) => {
                self.stats.drops.count(why);
                self.beyond_share += usize::from(why == Dropped::Share);
            }
        }
        if self.core.take_stray() {
            self.socket.misdirected(arrival.datagram, arrival.from);
        }
        if self.core.is_pressed() {
            self.transmit(now);
        }
        true
    }

    fn lend(&mut self, id: PeerId, ready: &Ready) -> Message<'_> {
        let bytes = match ready.place {
            Place::Datagram { start, len } => {
                self.incoming.last_taken().get(start..).and_then(|from| from.get(..len)).unwrap_or_default()
            }
            Place::Stored(handle) => {
                self.lent = Some((id, handle));
                let connection = self.core.peers().connection(id);
                connection.map(|connection| connection.stored(handle)).unwrap_or_default()
            }
        };
        self.stats.messages_yielded.count(ready.guarantee);
        add(&mut self.stats.message_bytes_yielded, bytes.len());
        Message::new(bytes, ready)
    }

    /// The loan of the last message is over.
    pub(super) fn take_back(&mut self) {
        if let Some((id, handle)) = self.lent.take() {
            if let Some(connection) = self.core.peers_mut().connection_mut(id) {
                connection.release(handle);
            }
        }
    }
}

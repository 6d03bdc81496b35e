//! One message for many peers: their queues share its bytes. What is queued leaves as everything does.

use std::sync::Arc;

use super::{Server, ServerSession};
use crate::{delivery::SendOptions, event::PeerId, socket::AddressedUdp, stats::add};

impl<A: AddressedUdp, L: ServerSession> Server<A, L> {
    /// Queues one message for every peer, and gives the number of peers whose queue took it. All queues share one copy of
    /// the bytes.
    pub fn broadcast(&mut self, options: impl Into<SendOptions>, bytes: &[u8]) -> usize {
        let ids = self.core.peers().ids();
        self.everybody.clear();
        self.everybody.extend(ids);
        let everybody = std::mem::take(&mut self.everybody);
        let taken = self.send_to_each(&everybody, options, bytes);
        self.everybody = everybody;
        taken
    }

    /// Queues one message for each of these peers, and gives the number of those whose queue took it; who is not there any
    /// more is left out. All queues share one copy of the bytes.
    pub fn send_to_each(&mut self, peers: &[PeerId], options: impl Into<SendOptions>, bytes: &[u8]) -> usize {
        let options = options.into();
        let expires_at = options.expires.and_then(|after| self.environment.now().checked_add(after));
        let shared: Arc<[u8]> = bytes.into();
        let mut taken = 0;
        for &id in peers.iter() {
            if !self.core.peers().is_open(id) {
                continue;
            }
            let Some(connection) = self.core.peers_mut().connection_mut(id) else { continue };
            if connection.send_shared(&options, expires_at, &shared).is_ok() {
                taken += 1;
                self.stats.messages_sent.count(options.guarantee);
                add(&mut self.stats.message_bytes_sent, bytes.len());
            }
        }
        taken
    }
}

//! One peer of a server, as the application sends to it: the contract of an endpoint's sending half. Only queues;
//! everything leaves with the server's next `recv` that gives `None`, `maintain`, or `flush`.

use std::{fmt, io, net::SocketAddr, time::Instant};

use zeroize::Zeroizing;

use super::core::ServerSession;
use crate::{
    crypto::PublicKey,
    delivery::{LaneId, LaneOptions, LaneStats, MessageId, SendOptions},
    endpoint::into_io,
    error::{CloseReason, ConfigError, SendError},
    event::PeerId,
    os::Environment,
    sealed::Listener,
    stats::{Stats, add},
    wire::Guarantee,
};

/// A peer with a session. [`Server::peer`](crate::Server::peer) lends it.
pub struct Peer<'a, L = Listener> {
    pub(super) core: &'a mut L,
    pub(super) environment: &'a mut Environment,
    pub(super) stats: &'a mut Stats,
    pub(super) id: PeerId,
}

impl<L: ServerSession> Peer<'_, L> {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// The address that datagrams to it go to.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.core.address(self.id)
    }

    /// The public key that it has proved to hold, if the profile gives it one.
    #[must_use]
    pub fn key(&self) -> Option<PublicKey> {
        self.core.peer_key(self.id)
    }

    /// As [`Endpoint::handshake_hash`](crate::Endpoint::handshake_hash).
    #[must_use]
    pub fn handshake_hash(&self) -> Option<[u8; 32]> {
        self.core.handshake_hash(self.id)
    }

    /// As [`Endpoint::export_key`](crate::Endpoint::export_key).
    #[must_use]
    pub fn export_key(&self, context: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        self.core.export_key(self.id, context).map(|key| Zeroizing::new(*key.as_bytes()))
    }

    /// As [`Endpoint::send_payload`](crate::Endpoint::send_payload).
    ///
    /// # Errors
    /// As there.
    pub fn send_payload(
        &mut self,
        options: impl Into<SendOptions>,
        bytes: &[u8],
    ) -> Result<MessageId, SendError> {
        let options = options.into();
        let expires_at = self.end_of_life(&options);
        let id = self.connection()?.send_with(&options, expires_at, bytes)?;
        self.sent(options.guarantee, bytes.len());
        Ok(id)
    }

    /// As [`Endpoint::send_written`](crate::Endpoint::send_written).
    ///
    /// # Errors
    /// As there.
    pub fn send_written(&mut self, options: impl Into<SendOptions>) -> Result<MessageId, SendError> {
        let options = options.into();
        let expires_at = self.end_of_life(&options);
        let connection = self.connection()?;
        let len = connection.written();
        let id = connection.send_written(&options, expires_at)?;
        self.sent(options.guarantee, len);
        Ok(id)
    }

    /// Throws away the bytes written since the last message.
    pub fn clear_written(&mut self) {
        if let Ok(connection) = self.connection() {
            connection.clear_written();
        }
    }

    /// As [`Endpoint::open_set`](crate::Endpoint::open_set).
    ///
    /// # Errors
    /// As there.
    pub fn open_set(&mut self, lane: LaneId) -> Result<(), SendError> {
        self.connection()?.open_set(lane.0)
    }

    /// As [`Endpoint::close_set`](crate::Endpoint::close_set); what is queued leaves with the server's next `maintain`.
    ///
    /// # Errors
    /// As there.
    pub fn close_set(&mut self, lane: LaneId) -> Result<(), SendError> {
        self.connection()?.close_set(lane.0)
    }

    /// As [`Endpoint::set_lane`](crate::Endpoint::set_lane), for this session.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that is out of range; then nothing has changed.
    pub fn set_lane(&mut self, lane: LaneId, options: LaneOptions) -> Result<(), ConfigError> {
        match self.connection() {
            Ok(connection) => connection.set_lane(lane, options),
            Err(_) => Ok(()),
        }
    }

    /// As [`Endpoint::lane_stats`](crate::Endpoint::lane_stats).
    #[must_use]
    pub fn lane_stats(&self, lane: LaneId) -> LaneStats {
        self.core
            .peers()
            .connection(self.id)
            .map(|connection| connection.lane_stats(lane))
            .unwrap_or_default()
    }

    /// As [`Endpoint::can_send`](crate::Endpoint::can_send).
    #[must_use]
    pub fn can_send(&self, lane: LaneId, len: usize) -> bool {
        self.core.peers().connection(self.id).is_some_and(|connection| connection.can_send(lane, len))
    }

    /// Bytes in the send queue, unsent or unacknowledged, each message counted with 64 more than its length.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.core.peers().connection(self.id).map_or(0, |connection| connection.queued_bytes())
    }

    /// Messages in the send queue, unsent or unacknowledged.
    #[must_use]
    pub fn queued_messages(&self) -> usize {
        self.core.peers().connection(self.id).map_or(0, |connection| connection.queued_messages())
    }

    /// Measurements of this session as of now. Datagrams and bytes are counted for the whole server only.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats { sealed: self.stats.sealed, ..Stats::default() };
        if let Some(connection) = self.core.peers().connection(self.id) {
            connection.fill_stats(&mut stats);
        }
        stats
    }

    fn connection(&mut self) -> Result<&mut crate::connection::Connection, SendError> {
        self.core.peers_mut().connection_mut(self.id).ok_or(SendError::Closed(CloseReason::ClosedHere))
    }

    /// The clock is asked only where the options need it.
    fn end_of_life(&mut self, options: &SendOptions) -> Option<Instant> {
        let after = options.expires?;
        self.environment.now().checked_add(after)
    }

    fn sent(&mut self, guarantee: Guarantee, len: usize) {
        self.stats.messages_sent.count(guarantee);
        add(&mut self.stats.message_bytes_sent, len);
    }
}

/// `write` appends to the message that [`send_written`](Peer::send_written) will queue: all of the bytes, or none and an
/// error that holds the [`SendError`]. `flush` does nothing: everything leaves with the server's `maintain`.
impl<L: ServerSession> io::Write for Peer<'_, L> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.connection().and_then(|connection| connection.write(bytes)).map_err(into_io)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<L: ServerSession> fmt::Debug for Peer<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("id", &self.id).finish_non_exhaustive()
    }
}

//! Sending: building in place, one-shot messages, sets. Everything here only queues; a full datagram leaves at once,
//! or with others by one call where the socket can, and the rest when `flush`, `recv`, `maintain` or the end of a set
//! lets it.

use std::{fmt, io, time::Instant};

use super::{Endpoint, Session};
use crate::{
    delivery::{LaneId, LaneOptions, LaneStats, MessageId, SendOptions},
    error::{CloseReason, ConfigError, SendError},
    socket::UdpLike,
    stats::add,
    wire::Guarantee,
};

/// The lane of everything that names none.
const DEFAULT_LANE: LaneId = LaneId(0);

impl<U: UdpLike, S: Session> Endpoint<U, S> {
    /// Queues the bytes that were written with [`io::Write`] since the last message, as one message; none at all is
    /// a message of 0 bytes. Takes a [`Guarantee`], a [`Strategy`](crate::Strategy) or
    /// [`SendOptions`].
    ///
    /// Before a session is live, messages wait for it.
    ///
    /// # Errors
    /// Nothing is queued, and the written bytes stay:
    /// - [`SendError::TooLarge`]: they are more than this guarantee or the lane's queue allows.
    /// - [`SendError::Full`]: the lane's queue is full, or nobody fetches the notices asked for; drive the endpoint and try again.
    /// - [`SendError::Closed`]: the session has ended.
    pub fn send_written(&mut self, options: impl Into<SendOptions>) -> Result<MessageId, SendError> {
        let options = options.into();
        self.check_open()?;
        let len = self.core.connection().written();
        self.make_room(&options, len);
        let expires_at = self.end_of_life(&options);
        let id = self.core.connection_mut().send_written(&options, expires_at)?;
        self.sent(options.guarantee, len);
        Ok(id)
    }

    /// Throws away the bytes written since the last message.
    pub fn clear_written(&mut self) {
        self.core.connection_mut().clear_written();
    }

    /// Queues one message. Takes a [`Guarantee`], a [`Strategy`](crate::Strategy) or [`SendOptions`].
    ///
    /// # Errors
    /// Nothing is queued:
    /// - [`SendError::TooLarge`]: it is longer than this guarantee or the lane's queue allows.
    /// - [`SendError::Full`]: the lane's queue is full, or nobody fetches the notices asked for; drive the endpoint and try again.
    /// - [`SendError::Unsent`]: half-written bytes wait for [`send_written`](Self::send_written) or
    ///   [`clear_written`](Self::clear_written).
    /// - [`SendError::Closed`]: the session has ended.
    pub fn send_payload(
        &mut self,
        options: impl Into<SendOptions>,
        bytes: &[u8],
    ) -> Result<MessageId, SendError> {
        let options = options.into();
        self.check_open()?;
        self.make_room(&options, bytes.len());
        let expires_at = self.end_of_life(&options);
        let id = self.core.connection_mut().send_with(&options, expires_at, bytes)?;
        self.sent(options.guarantee, bytes.len());
        Ok(id)
    }

    /// Sends messages that have no order among themselves, as one set on lane 0. The set ends with the closure,
    /// however it ends, and what was queued in it leaves.
    ///
    /// # Errors
    /// What the closure returns, or
    /// - [`SendError::SetOpen`]: a set is open on lane 0.
    /// - [`SendError::Unsent`]: half-written bytes stand in the way ([`NewSetUnsent`](crate::NewSetUnsent)).
    /// - [`SendError::Closed`]: the session has ended.
    pub fn as_set<T, E: From<SendError>>(
        &mut self,
        fill: impl FnOnce(&mut Set<'_, U, S>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.as_set_on(DEFAULT_LANE, fill)
    }

    /// As [`as_set`](Self::as_set), on any lane.
    ///
    /// # Errors
    /// As [`as_set`](Self::as_set), with the lane's own set.
    pub fn as_set_on<T, E: From<SendError>>(
        &mut self,
        lane: LaneId,
        fill: impl FnOnce(&mut Set<'_, U, S>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.open_set(lane)?;
        fill(&mut Set { endpoint: self, lane })
    }

    /// Opens a set: until [`close_set`](Self::close_set) the messages on this lane have no order among themselves.
    /// It lives across `recv` and `maintain`, and its messages flow while it is open.
    ///
    /// # Errors
    /// - [`SendError::SetOpen`]: one is open on this lane already.
    /// - [`SendError::Unsent`]: half-written bytes stand in the way ([`NewSetUnsent`](crate::NewSetUnsent)).
    /// - [`SendError::Closed`]: the session has ended.
    pub fn open_set(&mut self, lane: LaneId) -> Result<(), SendError> {
        self.check_open()?;
        self.core.connection_mut().open_set(lane.0)
    }

    /// Ends the open set of a lane; what is queued leaves.
    ///
    /// # Errors
    /// [`SendError::NoSetOpen`]: none is open on this lane, for example because its session has ended.
    pub fn close_set(&mut self, lane: LaneId) -> Result<(), SendError> {
        self.core.connection_mut().close_set(lane.0)?;
        let now = self.environment.now();
        self.flush_and_transmit(now);
        Ok(())
    }

    /// Lets everything queued leave now, partly filled datagrams too.
    ///
    /// # Errors
    /// The [`CloseReason`] when the session has ended.
    pub fn flush(&mut self) -> Result<(), CloseReason> {
        let now = self.environment.now();
        self.flush_and_transmit(now);
        self.core.closed().map_or(Ok(()), Err)
    }

    /// Bytes in the send queue, unsent or unacknowledged, each message counted with 64 more than its length.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.core.connection().queued_bytes()
    }

    /// Messages in the send queue, unsent or unacknowledged.
    #[must_use]
    pub fn queued_messages(&self) -> usize {
        self.core.connection().queued_messages()
    }

    /// Says how a lane shares the line and bounds its queue, from now on and over all sessions of this endpoint. A
    /// smaller bound drops nothing that is queued.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that is out of range; then nothing has changed.
    pub fn set_lane(&mut self, lane: LaneId, options: LaneOptions) -> Result<(), ConfigError> {
        self.core.connection_mut().set_lane(lane, options)
    }

    /// What waits on a lane, how long it may take, and what became of what was sent on it.
    #[must_use]
    pub fn lane_stats(&self, lane: LaneId) -> LaneStats {
        self.core.connection().lane_stats(lane)
    }

    /// Whether the lane's queue has room for a message of `len` bytes now, without anything being dropped for it.
    #[must_use]
    pub fn can_send(&self, lane: LaneId, len: usize) -> bool {
        self.core.closed().is_none() && self.core.connection().can_send(lane, len)
    }

    /// The clock is asked only where the options need it.
    fn end_of_life(&mut self, options: &SendOptions) -> Option<Instant> {
        let after = options.expires?;
        self.environment.now().checked_add(after)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<usize, SendError> {
        self.check_open()?;
        self.core.connection_mut().write(bytes)?;
        Ok(bytes.len())
    }

    /// Nothing is refused or dropped for want of room because full datagrams wait for each other.
    fn make_room(&mut self, options: &SendOptions, len: usize) {
        if self.outgoing.run() > 1 && self.may_leave(1) && !self.can_send(options.lane, len) {
            let now = self.environment.now();
            self.transmit(now);
        }
    }

    fn sent(&mut self, guarantee: Guarantee, len: usize) {
        self.stats.messages_sent.count(guarantee);
        add(&mut self.stats.message_bytes_sent, len);
        // Not even the time is asked for when nothing can leave.
        if self.may_leave(self.outgoing.run()) {
            let now = self.environment.now();
            self.transmit(now);
        }
    }

    fn check_open(&self) -> Result<(), SendError> {
        self.core.closed().map_or(Ok(()), |reason| Err(SendError::Closed(reason)))
    }
}

/// `write` appends to the message that [`send_written`](Endpoint::send_written) will queue: all of the bytes, or none
/// and an error that holds the [`SendError`]. `flush` is [`Endpoint::flush`].
impl<U: UdpLike, S: Session> io::Write for Endpoint<U, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes).map_err(into_io)
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::flush(self).map_err(|reason| into_io(SendError::Closed(reason)))
    }
}

pub(crate) fn into_io(error: SendError) -> io::Error {
    let kind = match error {
        SendError::TooLarge { .. } => io::ErrorKind::InvalidInput,
        SendError::Closed(_) => io::ErrorKind::NotConnected,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// The set that [`as_set`](Endpoint::as_set) has opened. Its messages have no order among themselves; `None` messages
/// belong to no set, not even here.
pub struct Set<'a, U: UdpLike, S: Session> {
    endpoint: &'a mut Endpoint<U, S>,
    lane: LaneId,
}

impl<U: UdpLike, S: Session> Set<'_, U, S> {
    /// As [`Endpoint::send_written`], in this set and so on its lane, whatever lane the options name.
    ///
    /// # Errors
    /// As [`Endpoint::send_written`].
    pub fn send_written(&mut self, options: impl Into<SendOptions>) -> Result<MessageId, SendError> {
        let options = options.into().lane(self.lane);
        self.endpoint.send_written(options)
    }

    /// As [`Endpoint::clear_written`].
    pub fn clear_written(&mut self) {
        self.endpoint.clear_written();
    }

    /// As [`Endpoint::send_payload`], in this set and so on its lane, whatever lane the options name.
    ///
    /// # Errors
    /// As [`Endpoint::send_payload`].
    pub fn send_payload(
        &mut self,
        options: impl Into<SendOptions>,
        bytes: &[u8],
    ) -> Result<MessageId, SendError> {
        let options = options.into().lane(self.lane);
        self.endpoint.send_payload(options, bytes)
    }
}

impl<U: UdpLike, S: Session> io::Write for Set<'_, U, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.endpoint.append(bytes).map_err(into_io)
    }

    /// Does nothing: the set leaves when it ends, and full datagrams before.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Ends the set also when the closure panics or returns early, so that none stays open unseen.
impl<U: UdpLike, S: Session> Drop for Set<'_, U, S> {
    fn drop(&mut self) {
        // The only failure is that the set is gone already, with its session.
        let _ = self.endpoint.close_set(self.lane);
    }
}

impl<U: UdpLike, S: Session> fmt::Debug for Set<'_, U, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Set")
    }
}

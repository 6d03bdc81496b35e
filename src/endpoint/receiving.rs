//! Receiving and keeping time: `recv` and `maintain`. A message is lent straight out of the datagram or out of the
//! connection's storage; the borrow of the endpoint is what keeps the bytes still.

use std::{
    fmt, io,
    ops::Deref,
    time::{Duration, Instant},
};

use super::{Endpoint, Session};
use crate::{
    delivery::{
        LaneId,
        recv::{Place, Ready},
    },
    error::{CloseReason, Dropped},
    socket::UdpLike,
    stats::add,
    wire::Guarantee,
};

/// Datagrams that one `recv` reads at most, so that a flood cannot hold the caller.
pub(super) const MAX_READS: usize = 1_024;
/// Failures of the socket after which one `recv` stops reading.
pub(super) const MAX_FAILURES: usize = 16;
/// Datagrams read in a row before acknowledgements and replies leave, however many more are waiting.
const READS_PER_TURN: usize = 16;
/// How soon `maintain` wants to be called again when the socket would not take a datagram.
pub(super) const RETRY: Duration = Duration::from_millis(1);

/// A received message, lent until the next call on the endpoint. Derefs to its bytes.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    guarantee: Guarantee,
    lane: LaneId,
}

impl<'a> Message<'a> {
    pub(crate) fn new(bytes: &'a [u8], ready: &Ready) -> Self {
        Self { bytes, guarantee: ready.guarantee, lane: LaneId(ready.lane) }
    }

    /// The bytes, lent as long as the message itself is.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The guarantee that the sender chose.
    #[must_use]
    pub fn guarantee(&self) -> Guarantee {
        self.guarantee
    }

    /// The lane that the sender chose.
    #[must_use]
    pub fn lane(&self) -> LaneId {
        self.lane
    }
}

impl Deref for Message<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl AsRef<[u8]> for Message<'_> {
    fn as_ref(&self) -> &[u8] {
        self.bytes
    }
}

/// Shows the length, not the bytes.
impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, guarantee, lane } = self;
        f.debug_struct("Message")
            .field("len", &bytes.len())
            .field("guarantee", guarantee)
            .field("lane", lane)
            .finish()
    }
}

impl<U: UdpLike, S: Session> Endpoint<U, S> {
    /// The next message, lent in place; `Ok(None)` when there is none now.
    ///
    /// Gives what is ready, else reads the socket until a message is ready or nothing more waits, then sends
    /// acknowledgements and what is queued. Never blocks; one call reads at most 1,024 datagrams.
    ///
    /// # Errors
    /// The [`CloseReason`] once the session has ended, or could not begin, and every message was yielded; again at
    /// each call until [`connect`](Self::connect). Failures of the socket are counted in [`stats`](Self::stats) and
    /// survived.
    pub fn recv(&mut self) -> Result<Option<Message<'_>>, CloseReason> {
        self.take_back();
        let ready = match self.next_ready() {
            Some(ready) => Some(ready),
            None => self.read()?,
        };
        self.next = None;
        Ok(ready.map(|ready| self.lend(&ready)))
    }

    /// Runs what is due, sends what is queued, and returns when it wants to be called next at the latest; `None` when
    /// only the socket or the application can bring news.
    ///
    /// Timers run only here, in `recv` and in nothing else; calling it too often costs nothing on the wire.
    ///
    /// # Errors
    /// The [`CloseReason`] once the session has ended, or could not begin, and every message was yielded.
    pub fn maintain(&mut self) -> Result<Option<Instant>, CloseReason> {
        self.take_back();
        let now = self.environment.now();
        self.run_timers(now);
        self.flush_and_transmit(now);
        self.check_closed()?;
        // A blocked socket holds up everything else that is due, so only the retry counts.
        Ok(if self.incoming.has_more() {
            Some(now)
        } else if self.blocked {
            Some(now + RETRY)
        } else {
            let unread = self.unread.map(|wait| now + wait);
            [unread, self.core.deadline()].into_iter().flatten().min()
        })
    }

    /// The message that is to be yielded next. It stays in `next` until it was.
    fn next_ready(&mut self) -> Option<Ready> {
        if self.next.is_none() {
            self.next = self.core.connection_mut().pop();
        }
        self.next
    }

    /// A session has ended for the application when nothing of it is left to yield.
    fn check_closed(&mut self) -> Result<(), CloseReason> {
        match self.core.closed() {
            Some(reason) if self.next_ready().is_none() => Err(reason),
            _ => Ok(()),
        }
    }

    /// Reads datagrams until a message is ready or the socket has no more. Nothing in `incoming` is lent or ready when
    /// this is called, so what was taken may be overwritten.
    fn read(&mut self) -> Result<Option<Ready>, CloseReason> {
        let now = self.environment.now();
        self.look_at_timers(now);
        // What waits for others to leave with does not wait for what may come.
        if self.may_leave(1) {
            self.transmit(now);
        }
        let mut failures = 0;
        let mut reads = 0;
        self.unread = None;
        let mut unread = Some(Duration::ZERO);
        // What was read already is not left over: nobody is woken for it.
        while reads < MAX_READS || self.incoming.has_more() {
            reads += 1;
            match self.next_datagram() {
                Ok(len) => {
                    self.handle(now, len);
                    let ready = self.next_ready();
                    let due = self.core.deadline().is_some_and(|deadline| deadline <= now);
                    if self.unanswered >= READS_PER_TURN || (ready.is_some() && due) {
                        self.transmit(now);
                    }
                    if ready.is_some() {
                        return Ok(ready);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    unread = None;
                    break;
                }
                Err(error) => {
                    self.stats.socket_errors.count(&error);
                    failures += 1;
                    if failures >= MAX_FAILURES {
                        // A socket that gives nothing but errors would have us ask for ever.
                        unread = Some(RETRY);
                        break;
                    }
                }
            }
        }
        self.unread = unread;
        self.flush_and_transmit(now);
        self.check_closed()?;
        Ok(None)
    }

    /// The length of the next datagram, of those that were read or from the socket.
    fn next_datagram(&mut self) -> io::Result<usize> {
        match self.incoming.take_next() {
            Some(len) => Ok(len),
            None => self.incoming.read(&mut self.socket),
        }
    }

    /// Hands the datagram taken last to the core.
    fn handle(&mut self, now: Instant, len: usize) {
        add(&mut self.stats.datagrams_received, 1);
        add(&mut self.stats.bytes_received, len);
        self.unanswered += 1;
        self.stuck = false;
        let Some(datagram) = self.incoming.datagram(len) else {
            self.stats.drops.count(Dropped::Length);
            return;
        };
        if let Some(from) = self.socket.source() {
            self.core.arrived_from(from);
        }
        self.core.handle_datagram(now, &mut self.environment, datagram);
        if self.incoming.should_join() && self.core.connection().last_received() == Some(now) {
            self.incoming.join(&mut self.socket);
        }
    }

    fn lend(&mut self, ready: &Ready) -> Message<'_> {
        let bytes = match ready.place {
            Place::Datagram { start, len } => self.incoming.part(start, len),
            Place::Stored(handle) => {
                self.lent = Some(handle);
                self.core.connection().stored(handle)
            }
        };
        self.stats.messages_yielded.count(ready.guarantee);
        add(&mut self.stats.message_bytes_yielded, bytes.len());
        Message::new(bytes, ready)
    }

    /// The loan of the last message is over.
    fn take_back(&mut self) {
        if let Some(handle) = self.lent.take() {
            self.core.connection_mut().release(handle);
        }
    }
}

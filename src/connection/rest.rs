//! The connection as the room above sees it: awake while something happens, at rest otherwise. At rest there is only what
//! a session must not forget (`kept`); whatever needs more than that wakes it, and it rests again as soon as nothing is
//! on its way, or, where messages came or left, some time after the last of them: steady traffic finds its memory where
//! it was. PROTOCOL.md, "Timers".

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Awake, Negotiated, Received, kept::Kept};
use crate::{
    config::Config,
    delivery::{
        MessageId,
        recv::{Handle, Ready},
    },
    error::Violation,
    stats::Stats,
    wire::frame::CID_LEN,
};

/// The session of one peer, without its protection.
#[derive(Debug)]
pub(crate) struct Connection {
    config: Arc<Config>,
    pub(super) awake: Option<Box<Awake>>,
    /// There only while it is not awake.
    kept: Option<Box<Kept>>,
}

/// What wakes the connection and is done by what is awake.
macro_rules! doors {
    ($($(#[$meta:meta])* fn $name:ident(&mut self $(, $argument:ident: $kind:ty)*) $(-> $result:ty)?;)*) => {
        impl Connection {
            $(
                $(#[$meta])*
                pub(crate) fn $name(&mut self $(, $argument: $kind)*) $(-> $result)? {
                    self.wake().$name($($argument),*)
                }
            )*
        }
    };
}

doors! {
    /// A session is live. `first_number` is the number of its next packet; smaller ones were used to confirm it.
    fn start(&mut self, now: Instant, negotiated: &Negotiated, first_number: u64);
    /// The session is over. Everything queued or unacknowledged is dropped; names each `Delivery` among it.
    fn end_session(&mut self) -> Vec<MessageId>;
    /// Answers a PATH_CHALLENGE that came by the path in use, with the next packet.
    fn answer_challenge(&mut self, data: [u8; 8]);
    /// `number` is left out on purpose.
    fn skip(&mut self, now: Instant, number: u64);
    /// `number` was used for a packet that is not ours to repeat.
    fn pass_over(&mut self, now: Instant, number: u64);
    /// Sends the peer a connection id with NEW_CID, until it is known to have arrived.
    fn give_cid(&mut self, sequence: u64, retire_below: u64, cid: [u8; CID_LEN]);
    /// Asks the peer to go elsewhere, with REDIRECT, until that is known to have arrived. `false`: there was one in
    /// this session already, or the ticket is empty or too long.
    fn redirect(&mut self, ticket: &[u8]) -> bool;
    /// Packets take another way from now on, of which nothing is known. What is queued and on its way stays.
    fn on_new_path(&mut self, may_fragment: bool);
    /// The peer has moved: what is on its way went to where it no longer is. Asks at once whether packets arrive.
    fn on_peer_moved(&mut self, now: Instant);
}

impl Connection {
    pub(crate) fn new(config: &Arc<Config>) -> Self {
        Self { config: Arc::clone(config), awake: Some(Box::new(Awake::new(config))), kept: None }
    }

    pub(super) fn wake(&mut self) -> &mut Awake {
        let Self { config, awake, kept } = self;
        awake.get_or_insert_with(|| Box::new(awakened(kept.take(), config)))
    }

    /// Asks what only one that is awake can tell.
    pub(super) fn looked_at<T>(&self, look: impl FnOnce(&Awake) -> T) -> T {
        match &self.awake {
            Some(awake) => look(awake),
            None => look(&awakened(self.kept.clone(), &self.config)),
        }
    }

    /// What one that is awake says; at rest, when there is nothing of it, the default.
    fn says<T: Default>(&self, ask: impl FnOnce(&Awake) -> T) -> T {
        self.awake.as_deref().map_or_else(T::default, ask)
    }

    /// Gives back all that a session does not need while nothing happens, if nothing does.
    fn rest(&mut self, now: Instant) {
        if let Some(kept) = self.awake.as_mut().and_then(|awake| awake.rest(now)) {
            (self.awake, self.kept) = (None, Some(Box::new(kept)));
        }
    }

    /// Nothing is to be sent now: without messages, nothing else is to be expected.
    fn rest_unless_in_use(&mut self, now: Instant) {
        if self.awake.as_ref().is_some_and(|awake| !awake.in_use) {
            self.rest(now);
        }
    }

    // ---- what happens ----

    /// Takes the payload of an authenticated packet, which stands at `at` in the datagram buffer.
    ///
    /// # Errors
    /// [`Violation`]: the peer broke the protocol. `Malformed` and `ImpossibleAck` are found before anything but the
    /// liveness timers has changed; the packet is then not acknowledged.
    pub(crate) fn receive<'p>(
        &mut self,
        now: Instant,
        number: u64,
        payload: &'p [u8],
        at: usize,
    ) -> Result<Received<'p>, Violation> {
        self.wake().receive(now, number, payload, at)
    }

    /// Writes the frames of packet `number` into `room`. 0: there is nothing to send now.
    pub(crate) fn transmit(&mut self, now: Instant, number: u64, room: &mut [u8]) -> usize {
        let written = self.awake.as_mut().map_or(0, |awake| awake.transmit(now, number, room));
        if written == 0 {
            self.rest_unless_in_use(now);
        }
        written
    }

    /// Whether the next call of `transmit` would have nothing to write; then that call is not needed.
    pub(crate) fn is_silent(&mut self, now: Instant) -> bool {
        let silent = self.awake.as_mut().is_none_or(|awake| awake.is_silent());
        if silent {
            self.rest_unless_in_use(now);
        }
        silent
    }

    /// When `handle_timeout` or `transmit` has something to do next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.says(Awake::deadline)
    }

    /// Runs what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let Some(awake) = &mut self.awake else { return };
        awake.handle_timeout(now);
        if awake.is_left_alone(now) {
            self.rest(now);
        }
        if let Some(awake) = self.awake.as_mut().filter(|awake| awake.is_left_alone(now)) {
            awake.shrink(now);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Ready> {
        self.awake.as_mut()?.pop()
    }

    pub(crate) fn release(&mut self, handle: Handle) {
        if let Some(awake) = &mut self.awake {
            awake.recv.release(handle);
        }
    }

    /// Lets everything queued leave with the next calls of `transmit`, also in datagrams that are not full.
    pub(crate) fn flush(&mut self) {
        if let Some(awake) = &mut self.awake {
            awake.flush = true;
        }
    }

    /// Queues a PING.
    pub(crate) fn ping(&mut self, _now: Instant) {
        self.wake().ping = true;
    }

    /// The peer lives, as the room above knows.
    pub(crate) fn hear(&mut self, now: Instant) {
        self.wake().last_received = Some(now);
    }

    /// Datagrams may be cut on their way: sessions that start from now on stay at the size that every path takes.
    pub(crate) fn set_may_fragment(&mut self) {
        self.wake().may_fragment = true;
    }

    /// Messages that were queued before the session began and that its peer does not take, and the longest `Delivery`
    /// that it does. `None` when there are none or they were asked for already.
    pub(crate) fn take_refused(&mut self) -> Option<(Vec<MessageId>, usize)> {
        self.awake.as_mut()?.take_refused()
    }

    // ---- what the room above asks ----

    /// Enough is queued for so many full datagrams: they need not wait for a flush.
    pub(crate) fn has_full_datagrams(&self, count: usize) -> bool {
        self.says(|awake| awake.has_full_datagrams(count))
    }

    pub(crate) fn wants_flush(&self) -> bool {
        self.says(Awake::wants_flush)
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.says(|awake| awake.send.queued_bytes())
    }

    pub(crate) fn queued_messages(&self) -> usize {
        self.says(|awake| awake.send.queued_messages())
    }

    /// Whether there may be something to yield.
    pub(crate) fn may_yield(&self) -> bool {
        self.says(|awake| awake.recv.may_yield())
    }

    pub(crate) fn stored(&self, handle: Handle) -> &[u8] {
        self.awake.as_deref().map_or(&[], |awake| awake.recv.bytes(handle))
    }

    /// Whether nothing is left to be sent or to be acknowledged, at either end, of what is known here.
    pub(crate) fn is_done(&self) -> bool {
        self.awake.as_deref().is_none_or(Awake::is_done)
    }

    /// When the first packet was sent that called for an answer, since the peer was last heard.
    pub(crate) fn unanswered_since(&self) -> Option<Instant> {
        self.says(|awake| awake.unanswered)
    }

    /// Probe timeout as it stands, without back-off.
    pub(crate) fn pto(&self) -> Duration {
        match (&self.awake, &self.kept) {
            (None, Some(kept)) => kept.pto(&self.config),
            _ => self.looked_at(|awake| awake.sent.pto_base()),
        }
    }

    /// Largest datagram that carries messages now, in bytes.
    pub(crate) fn mtu(&self) -> u16 {
        match (&self.awake, &self.kept) {
            (None, Some(kept)) => kept.mtu(),
            _ => self.looked_at(|awake| awake.mtu.size()),
        }
    }

    /// When the last authenticated packet arrived (or the session began).
    pub(crate) fn last_received(&self) -> Option<Instant> {
        self.kept.as_ref().map_or_else(|| self.says(|awake| awake.last_received), |kept| kept.last_received())
    }

    pub(crate) fn largest_acked(&self) -> Option<u64> {
        self.kept
            .as_ref()
            .map_or_else(|| self.says(|awake| awake.sent.largest_acked()), |kept| kept.largest_acked())
    }

    /// Adds what only the connection knows.
    pub(crate) fn fill_stats(&self, stats: &mut Stats) {
        self.looked_at(|awake| awake.fill_stats(stats));
    }

    // ---- for tests ----

    /// Bytes of received messages held, overhead included.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn held_bytes(&self) -> usize {
        self.says(|awake| awake.recv.delivery_used() + awake.recv.unreliable_used())
    }

    /// The numbers left out on purpose, as far as they are remembered.
    #[cfg(test)]
    pub(crate) fn skipped(&self) -> Vec<u64> {
        self.looked_at(|awake| awake.sent.skipped())
    }

    /// Packets sent, and things they carried, that are remembered.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> (usize, usize) {
        self.says(|awake| awake.sent.remembered())
    }

    /// Whether only what a session must not forget is there.
    pub(crate) const fn is_resting(&self) -> bool {
        self.awake.is_none()
    }

    /// Lets this end hold up more on a lane than the peer allows.
    #[cfg(test)]
    pub(crate) fn ignore_lane_limits(&mut self) {
        self.wake().send.ignore_lane_limits();
    }

    /// Makes this end acknowledge a number that never came.
    #[cfg(test)]
    pub(crate) fn invent(&mut self, now: Instant, number: u64) {
        use crate::delivery::ack::{Arrived, Call};
        let arrived = Arrived { number, call: Call::Soon, new: true, bytes: 0 };
        self.wake().acks.on_packet(now, &arrived, Duration::ZERO);
    }
}

fn awakened(kept: Option<Box<Kept>>, config: &Arc<Config>) -> Awake {
    kept.map_or_else(|| Awake::new(config), |kept| kept.wake(config))
}

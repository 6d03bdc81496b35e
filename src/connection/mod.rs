//! One peer's session below its protection: the queues, the packets on their way, the acknowledgements. Knows no keys,
//! no addresses and no handshake; the sealed or the plain room above swaps the keys under it and gives it packet
//! numbers and opened payloads. Outlives a session: what is queued before the first one waits here. While nothing
//! happens it rests, and little of it is left (`rest`).

mod given;
mod kept;
mod mtu;
mod receive;
mod rest;
mod sending;
#[cfg(test)]
mod tests;
mod timers;
mod transmit;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    config::{Config, MESSAGE_OVERHEAD},
    delivery::{
        Guarantee, MessageId,
        ack::Acks,
        rate::RateControl,
        recovery::SentPackets,
        recv::{Ready, RecvLimits, RecvQueue},
        send::SendQueue,
    },
    stats::{self, Packets, Stats},
    wire::message::MIN_FRAGMENT,
};

pub(crate) use mtu::BASE as BASE_DATAGRAM;
use mtu::Mtu;
pub(crate) use receive::{Closing, Received};
pub(crate) use rest::Connection;

/// Most answers (SKIPPED, HAVE, PATH_RESPONSE) that wait to be sent; a SKIP that finds no place is repeated anyway.
const MAX_REPLIES: usize = 64;

/// What both sides agreed on, and what the protection costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Negotiated {
    pub(crate) idle_timeout: Duration,
    pub(crate) max_datagram: u16,
    pub(crate) max_fragments: u16,
    pub(crate) max_message: u32,
    /// Bytes of a datagram that are no frames.
    pub(crate) overhead: usize,
}

/// An answer that leaves with the next packet.
#[derive(Clone, Copy, Debug)]
enum Reply {
    Skipped { lane: u8, index: u64 },
    Have { lane: u8, index: u64 },
    PathResponse([u8; 8]),
}

/// Control frames that are sent until they are known to have arrived.
#[derive(Debug, Default)]
struct Control {
    window_due: bool,
    /// What the peer was given and may not have yet.
    gifts: given::Gifts,
}

/// The session of one peer, without its protection, while something happens.
#[derive(Debug)]
struct Awake {
    config: Arc<Config>,
    started: bool,
    send: SendQueue,
    recv: RecvQueue,
    acks: Acks,
    sent: SentPackets,
    rate: RateControl,
    mtu: Mtu,
    /// Datagrams may be cut on their way, so that looking for larger ones would find what no path takes whole.
    may_fragment: bool,
    /// The last packet was full.
    full: bool,
    /// Payload bytes of a full packet, and what the protection adds to it.
    capacity: usize,
    overhead: usize,
    /// The caller lets everything leave, also in datagrams that are not full.
    flush: bool,
    ping: bool,
    control: Control,
    /// Probe packets that may leave although the flight is full.
    probes: u32,
    replies: Vec<Reply>,
    last_received: Option<Instant>,
    unanswered: Option<Instant>,
    last_ack_ping: Option<Instant>,
    /// Messages that were queued before the session and are too long for it.
    refused: Vec<MessageId>,
    /// When anything that takes memory last happened.
    busy_at: Option<Instant>,
    /// Messages came or left since it began or woke, so that more of them may follow soon.
    in_use: bool,
    /// What came in, as packet numbers tell it.
    seen: stats::Seen,
    /// What earlier sessions counted, and this one before it rested.
    stale_before: u64,
    duplicates_before: u64,
}

impl Awake {
    fn new(config: &Arc<Config>) -> Self {
        Self::with_rate(config, RateControl::new(config))
    }

    fn with_rate(config: &Arc<Config>, rate: RateControl) -> Self {
        Self {
            config: Arc::clone(config),
            started: false,
            send: SendQueue::new(config),
            recv: RecvQueue::new(Self::recv_limits(config, config.max_message_bytes, config.max_fragments)),
            acks: Acks::default(),
            sent: SentPackets::new(config, 0),
            rate,
            mtu: Mtu::new(config.max_datagram_bytes),
            may_fragment: false,
            full: false,
            capacity: usize::from(config.max_datagram_bytes),
            overhead: 0,
            flush: false,
            ping: false,
            control: Control::default(),
            probes: 0,
            replies: Vec::new(),
            last_received: None,
            unanswered: None,
            last_ack_ping: None,
            refused: Vec::new(),
            busy_at: None,
            in_use: false,
            seen: stats::Seen::default(),
            stale_before: 0,
            duplicates_before: 0,
        }
    }

    fn recv_limits(config: &Config, max_message: u32, max_fragments: u16) -> RecvLimits {
        RecvLimits {
            window_bytes: config.receive_window_bytes,
            unreliable_bytes: config.unreliable_memory_bytes,
            max_message,
            max_unreliable: config.max_unreliable_bytes,
            max_fragments,
        }
    }

    /// A session is live. `first_number` is the number of its next packet; smaller ones were used to confirm it.
    pub(crate) fn start(&mut self, now: Instant, negotiated: &Negotiated, first_number: u64) {
        self.take_counters();
        let max_message = negotiated.max_message.min(self.config.max_message_bytes);
        let limits = Self::recv_limits(&self.config, max_message, negotiated.max_fragments);
        let mut before = std::mem::replace(&mut self.recv, RecvQueue::new(limits));
        self.recv.inherit_parities(&mut before);
        self.acks = Acks::default();
        self.sent = self.sent.anew(&self.config, first_number);
        self.rate = RateControl::new(&self.config);
        self.overhead = negotiated.overhead;
        let most = if self.may_fragment { BASE_DATAGRAM } else { u16::MAX };
        self.mtu = Mtu::new(negotiated.max_datagram.min(most));
        self.full = false;
        self.capacity = usize::from(self.mtu.size()).saturating_sub(negotiated.overhead);
        // Every fragment but the last can hold at least this much, so that the count stays within its limit.
        let piece = self.capacity.saturating_sub(2 * MIN_FRAGMENT).max(MIN_FRAGMENT);
        let by_fragments = piece.saturating_mul(usize::from(negotiated.max_fragments));
        // PROTOCOL.md, "Flow control": what each side may send before it hears a WINDOW.
        let initial = u64::from(max_message) + MESSAGE_OVERHEAD as u64;
        self.refused = self.send.start((max_message as usize).min(by_fragments), initial);
        self.control.window_due = self.recv.window_limit() > initial;
        self.started = true;
        self.flush = true;
        self.last_received = Some(now);
    }

    /// The receiving half will count from zero again.
    fn take_counters(&mut self) {
        let before = self.recv.counters();
        self.stale_before = self.stale_before.saturating_add(before.stale);
        self.duplicates_before = self.duplicates_before.saturating_add(before.duplicates);
    }

    /// The session is over. Everything queued or unacknowledged is dropped; names each `Delivery` among it.
    pub(crate) fn end_session(&mut self) -> Vec<MessageId> {
        let undelivered = self.send.end_session(&self.config);
        self.seen.begin_anew();
        self.acks = Acks::default();
        self.sent = self.sent.anew(&self.config, 0);
        self.started = false;
        self.flush = false;
        self.ping = false;
        self.control.window_due = false;
        self.probes = 0;
        self.replies.clear();
        self.control.gifts.clear();
        self.unanswered = None;
        self.last_ack_ping = None;
        undelivered
    }

    // ---- messages out ----

    /// Enough is queued for so many full datagrams: they need not wait for a flush.
    pub(crate) fn has_full_datagrams(&self, count: usize) -> bool {
        self.started && self.send.unsent_bytes() >= self.capacity.saturating_mul(count)
    }

    pub(crate) fn wants_flush(&self) -> bool {
        self.started && (self.send.has_unsent() || self.acks.is_pending())
    }

    // ---- messages in ----

    pub(crate) fn pop(&mut self) -> Option<Ready> {
        let ready = self.recv.pop();
        if self.started && self.recv.window_update().is_some() {
            self.control.window_due = true;
        }
        ready
    }

    // ---- what the room above asks ----

    /// Messages that were queued before the session began and that its peer does not take, and the longest `Delivery`
    /// that it does. `None` when there are none or they were asked for already.
    pub(crate) fn take_refused(&mut self) -> Option<(Vec<MessageId>, usize)> {
        let messages = std::mem::take(&mut self.refused);
        (!messages.is_empty()).then(|| (messages, self.send.max_len(Guarantee::Delivery)))
    }

    /// `number` is left out on purpose.
    pub(crate) fn skip(&mut self, now: Instant, number: u64) {
        self.sent.align(now, number);
        self.sent.on_skipped(now, number);
    }

    /// `number` was used for a packet that is not ours to repeat.
    pub(crate) fn pass_over(&mut self, now: Instant, number: u64) {
        self.sent.align(now, number.saturating_add(1));
    }

    /// What became of packets, over all sessions.
    fn packets(&self) -> Packets {
        let mut packets = self.sent.counted;
        packets.merge(&self.seen.counted);
        packets
    }

    /// Bytes per second that the session may send at present; `None` before it is known.
    pub(super) fn long_run_rate(&self) -> Option<u64> {
        let rtt = &self.sent.rtt;
        self.rate.rate(rtt.latest().map(|_| rtt.smoothed()))
    }

    /// Adds what only the connection knows.
    pub(crate) fn fill_stats(&self, stats: &mut Stats) {
        let received = self.recv.counters();
        stats.resends = self.send.resent_parts;
        // Where packets have grown, what left in three parts may leave again in two.
        stats.spurious_resends = self.send.needless.min(self.send.resent_parts);
        stats.late_acks = self.send.late_acks();
        stats.stale_messages = self.stale_before.saturating_add(received.stale);
        stats.duplicate_messages = self.duplicates_before.saturating_add(received.duplicates);
        stats.parities_sent = self.send.parities.into();
        (stats.restored_pieces, stats.unneeded_parities) = self.recv.parity_counts();
        stats.flight_bytes = self.sent.flight_bytes() as u64;
        stats.queued_bytes = self.send.queued_bytes() as u64;
        stats.queued_messages = self.send.queued_messages() as u64;
        stats.packets = self.packets();
        stats.unsent_bytes = self.send.unsent_bytes() as u64;
        if self.started {
            (stats.mtu, stats.min_mtu) = (self.mtu.size().into(), self.mtu.base().into());
        }
        let rtt = &self.sent.rtt;
        stats.window_bytes = self.rate.window() as u64;
        stats.rtt = rtt.latest().zip(rtt.min()).map(|(latest, min)| stats::Rtt {
            latest,
            min,
            smoothed: rtt.smoothed(),
            variance: rtt.variance(),
            jitter: rtt.jitter(),
        });
        stats.rate = self.long_run_rate();
        stats.queue_time = stats.rate.and_then(|rate| stats::takes(stats.unsent_bytes, rate));
    }
}

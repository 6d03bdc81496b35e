//! The connection's deadlines: acknowledgements that are due, losses and probes, incomplete messages.

use std::time::{Duration, Instant};

use super::{Awake, Control, mtu::Mtu};
use crate::delivery::{
    recovery::{Carrier, Content, Fate},
    resend::SMALL,
    send::SendQueue,
};

/// A session without messages for so long gives its buffers back.
const IDLE_BEFORE_REST: Duration = Duration::from_secs(5);

impl Awake {
    /// When `handle_timeout` or `transmit` has something to do next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if !self.started {
            return None;
        }
        let sending = [self.sent.deadline(), self.send.deadline()];
        let receiving = [self.acks.deadline(), self.recv.deadline(), self.rate.wake()];
        let rest = self.busy_at.map(|busy| busy + IDLE_BEFORE_REST);
        sending.into_iter().chain(receiving).chain([rest]).flatten().min()
    }

    /// Runs what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if !self.started {
            return;
        }
        self.send.tick(now);
        let Self { sent, send, control, mtu, .. } = self;
        let probes = sent.handle_timeout(now, |content, fate, carrier| {
            give_back(send, control, mtu, content, fate, carrier);
        });
        if let Some(bound) = sent.known_until(now) {
            send.hurry_repeats(bound);
        }
        if probes > 0 {
            send.hurry_two();
            mtu.on_timeout(now);
        }
        self.ping |= sent.take_echo(now);
        self.probes = self.probes.max(probes);
        self.send.handle_timeout(now);
        self.sent.owed = self.send.owes();
        self.heed_progress(now);
        self.rate.on_timeout(now);
        self.recv.expire(now);
    }

    /// Whether it was not in use for so long that it should rest.
    pub(super) fn is_left_alone(&self, now: Instant) -> bool {
        self.busy_at.is_some_and(|busy| now.saturating_duration_since(busy) >= IDLE_BEFORE_REST)
    }

    /// Lets the rate and the size of packets follow what became known of packets.
    pub(super) fn heed_progress(&mut self, now: Instant) {
        let mut news = self.sent.take_news();
        let probes = self.mtu.take_lost_probes();
        news.lost_packets = news.lost_packets.saturating_sub(probes);
        self.mtu.on_large(now, news.large_lost.saturating_sub(probes), news.large_acked);
        self.capacity = usize::from(self.mtu.size()).saturating_sub(self.overhead);
        self.rate.on_progress(now, &news, self.sent.rtt.smoothed(), self.sent.flight_bytes());
    }

    /// Before a packet is built: the memory of those that nobody acknowledges is bounded.
    pub(super) fn forget_oldest(&mut self, now: Instant) {
        let Self { sent, send, control, mtu, .. } = self;
        sent.make_room(now, |content, fate, carrier| give_back(send, control, mtu, content, fate, carrier));
    }

    /// Before messages leave: what is overdue may ride along, what is long overdue no longer fills the flight.
    pub(super) fn find_overdue(&mut self, now: Instant) {
        let Self { sent, send, control, mtu, .. } = self;
        // Only messages that are repeated, or have options, ask for more.
        let heeded = send.has_heeded();
        if heeded {
            sent.mark_overdue(now, |content, fate, carrier| send.on_fate(content, fate, carrier));
        }
        sent.expire(now, SMALL, |content, fate, carrier| {
            // What is repeated by turns anyway stays there.
            if !send.is_repeated(content) {
                give_back(send, control, mtu, content, fate, carrier);
            }
        });
        if heeded {
            send.set_pace(now, sent);
        }
        sent.owed = send.owes();
    }

    /// What may not rest yet at least gives back memory that is not in use, and is looked at again later.
    pub(super) fn shrink(&mut self, now: Instant) {
        if self.send.queued_messages() == 0 && self.recv.is_idle() && self.sent.is_idle() {
            self.send.shrink();
            self.recv.shrink();
            self.acks.shrink();
            self.sent.shrink(now);
            self.replies.shrink_to_fit();
        }
        self.busy_at = Some(now);
    }
}

/// What a lost packet carried goes back to where it came from.
fn give_back(
    send: &mut SendQueue,
    control: &mut Control,
    mtu: &mut Mtu,
    content: Content,
    fate: Fate,
    carrier: Carrier,
) {
    match (content, fate) {
        (Content::Part { .. } | Content::Skip { .. }, _) => send.on_fate(content, fate, carrier),
        (Content::Window, Fate::Lost) => control.window_due = true,
        (Content::NewCid { sequence }, fate) => control.gifts.on_cid_fate(sequence, fate),
        (Content::Redirect, fate) => control.gifts.on_redirect_fate(fate),
        (Content::Probe { size }, Fate::Lost) => mtu.on_probe_lost(size),
        _ => {}
    }
}

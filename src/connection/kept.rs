//! What a session that rests must not forget, and how the rest of it is made again. Every part says for itself when it
//! may rest and what it keeps; each takes itself apart field by field, so that none is forgotten.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Awake, Control, given::Gifts, mtu};
use crate::{
    config::Config,
    delivery::{ack, rate, recovery, recv, rest},
    stats::{Packets, Seen, Tally},
};

/// All that is left of a session at rest.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    send: rest::Kept,
    recv: recv::Kept,
    acks: ack::Kept,
    sent: recovery::Kept,
    rate: rate::Kept,
    mtu: mtu::Kept,
    may_fragment: bool,
    /// The client was asked to go elsewhere.
    redirected: bool,
    overhead: u16,
    last_received: Option<Instant>,
    /// All counters of the statistics.
    tally: Tally<13>,
}

impl Awake {
    /// Whether nothing is under way, in either direction, nor to be told.
    fn may_rest(&mut self, now: Instant) -> bool {
        let control = self.ping || self.probes > 0 || self.control.window_due || self.unanswered.is_some();
        let waits = !(self.replies.is_empty() && self.refused.is_empty() && self.control.gifts.may_rest());
        self.started
            && !(control || waits)
            && self.send.may_rest()
            && self.recv.may_rest()
            && self.acks.may_rest(now)
            && self.mtu.may_rest()
            && self.rate.wake().is_none()
            && self.sent.may_rest(now)
    }

    /// What is to be kept, if it may rest now. The rest is of no use any more.
    pub(super) fn rest(&mut self, now: Instant) -> Option<Kept> {
        if !self.may_rest(now) {
            return None;
        }
        self.take_counters();
        let Self {
            send,
            recv,
            acks,
            sent,
            rate,
            mtu,
            may_fragment,
            control: Control { window_due: _, gifts },
            overhead,
            last_received,
            seen,
            stale_before,
            duplicates_before,
            // What the configuration and the rest tell.
            config: _,
            started: _,
            capacity: _,
            // What stands only while something is under way.
            full: _,
            flush: _,
            ping: _,
            probes: _,
            replies: _,
            unanswered: _,
            last_ack_ping: _,
            refused: _,
            busy_at: _,
            in_use: _,
        } = self;
        // The highest number received is the highest that was acknowledged.
        let Packets { received, missing, reordered, .. } = seen.counted;
        let Packets { sent: all, acked, lost, late, .. } = sent.counted;
        let [needless, resent, late_acks, parities] = send.counters();
        let (stale, again) = (*stale_before, *duplicates_before);
        let tally = Tally::from([
            all, acked, lost, late, received, missing, reordered, stale, again, needless, resent, late_acks,
            parities,
        ]);
        Some(Kept {
            send: send.rest(),
            recv: recv.rest(),
            acks: acks.rest(),
            sent: sent.rest(),
            rate: rate.rest(),
            mtu: mtu.rest(),
            may_fragment: *may_fragment,
            redirected: gifts.has_redirected(),
            overhead: u16::try_from(*overhead).unwrap_or(u16::MAX),
            last_received: *last_received,
            tally,
        })
    }
}

impl Kept {
    pub(super) fn wake(self, config: &Arc<Config>) -> Awake {
        let [all, acked, lost, late, received, missing, reordered, stale, again, counters @ ..] =
            <[u64; 13]>::from(self.tally);
        let mut sent = self.sent.wake(config, self.last_received);
        sent.counted = Packets { sent: all, acked, lost, late, ..Packets::default() };
        let counted = Packets { received, missing, reordered, ..Packets::default() };
        let seen = Seen::after(self.acks.highest(), counted);
        Awake {
            started: true,
            send: self.send.wake(config, counters),
            recv: self.recv.wake(|message, fragments| Awake::recv_limits(config, message, fragments)),
            acks: self.acks.wake(),
            sent,
            capacity: usize::from(self.mtu.size()).saturating_sub(self.overhead.into()),
            mtu: self.mtu.wake(),
            may_fragment: self.may_fragment,
            control: Control { window_due: false, gifts: Gifts::after_rest(self.redirected) },
            overhead: self.overhead.into(),
            last_received: self.last_received,
            seen,
            stale_before: stale,
            duplicates_before: again,
            ..Awake::with_rate(config, self.rate.wake(config))
        }
    }

    pub(super) fn pto(&self, config: &Config) -> Duration {
        self.sent.pto_base(config)
    }

    pub(super) fn mtu(&self) -> u16 {
        self.mtu.size()
    }

    pub(super) fn last_received(&self) -> Option<Instant> {
        self.last_received
    }

    pub(super) fn largest_acked(&self) -> Option<u64> {
        self.sent.largest_acked()
    }
}

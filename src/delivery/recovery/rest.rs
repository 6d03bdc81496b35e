//! What is kept of the packets when none is on its way: the next number, and what the path was measured to be.

use std::time::{Duration, Instant};

use super::{SentPackets, skipped::Skipped};
use crate::{
    config::Config,
    delivery::{path, rtt},
};

/// What is kept at rest.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    next: u64,
    largest_acked: Option<u64>,
    skipped: Skipped,
    path: path::Kept,
    rtt: rtt::Kept,
}

impl SentPackets {
    /// Nothing is on its way, waits for news, or may still turn out to have been late.
    pub(crate) fn may_rest(&mut self, now: Instant) -> bool {
        let flying = self.eliciting_in_flight > 0 || self.owed || self.probes > 0 || self.echo_at.is_some();
        if flying {
            return false;
        }
        self.pop_settled(now);
        self.packets.is_empty() && self.contents.is_empty()
    }

    /// What it `counted` is the owner's to keep.
    pub(crate) fn rest(&mut self) -> Kept {
        let next = self.next_number();
        let Self {
            first: _,
            packets: _,
            contents: _,
            contents_first: _,
            skipped,
            largest_acked,
            flight_bytes: _,
            owed: _,
            eliciting_in_flight: _,
            soon_in_flight: _,
            later_in_flight: _,
            last_eliciting: _,
            loss_at: _,
            probes: _,
            flying_from: _,
            overdue_from: _,
            newest: _,
            waiting: _,
            echo_at: _,
            last_loss: _,
            path,
            rtt,
            ack_delay: _,
            max_pto: _,
            news: _,
            most: _,
            counted: _,
        } = self;
        let skipped = Skipped::new(skipped);
        Kept { next, largest_acked: *largest_acked, skipped, path: path.rest(), rtt: rtt.rest() }
    }
}

impl Kept {
    /// `heard` is when the peer was heard last.
    pub(crate) fn wake(self, config: &Config, heard: Option<Instant>) -> SentPackets {
        let Self { next, largest_acked, skipped, path, rtt } = self;
        let (path, rtt) = (path.wake(heard), rtt.wake());
        let mut sent = SentPackets { largest_acked, path, rtt, ..SentPackets::new(config, next) };
        sent.remember_skips(skipped.numbers());
        sent
    }

    /// Probe timeout without back-off.
    pub(crate) fn pto_base(&self, config: &Config) -> Duration {
        self.rtt.wake().pto(super::ACK_DELAY).min(config.max_pto)
    }

    pub(crate) fn largest_acked(&self) -> Option<u64> {
        self.largest_acked
    }
}

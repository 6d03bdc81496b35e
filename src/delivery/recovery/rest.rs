//! What is kept of the packets when none is on its way: the next number, and what the path was measured to be.

use std::time::{Duration, Instant};

use super::{Path, Rtt, SentPackets};
use crate::{config::Config, stats::Packets};

/// What is kept at rest.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    next: u64,
    largest_acked: Option<u64>,
    skipped: Box<[u64]>,
    path: Path,
    rtt: Rtt,
    counted: Packets,
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
            counted,
        } = self;
        let (largest_acked, path, rtt, counted) = (*largest_acked, *path, *rtt, *counted);
        Kept { next, largest_acked, skipped: skipped.iter().copied().collect(), path, rtt, counted }
    }
}

impl Kept {
    pub(crate) fn wake(self, config: &Config) -> SentPackets {
        let Self { next, largest_acked, skipped, path, rtt, counted } = self;
        let mut sent = SentPackets { largest_acked, path, rtt, counted, ..SentPackets::new(config, next) };
        sent.remember_skips(&skipped);
        sent
    }

    /// Probe timeout without back-off.
    pub(crate) fn pto_base(&self, config: &Config) -> Duration {
        self.rtt.pto(super::ACK_DELAY).min(config.max_pto)
    }

    pub(crate) fn largest_acked(&self) -> Option<u64> {
        self.largest_acked
    }
}

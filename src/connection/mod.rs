//! Stub of the connection for the sealed room's tests: PING, ACK, CLOSE, CONFIRM, nothing else.

use std::time::{Duration, Instant};

use crate::{
    config::Config,
    delivery::MessageId,
    error::Violation,
    wire::{
        ack,
        codec::Writer,
        frame::{self, Frame, Frames},
        message::Context,
    },
};

#[derive(Clone, Debug)]
pub(crate) struct Negotiated {
    pub(crate) idle_timeout: Duration,
    pub(crate) max_datagram: u16,
    pub(crate) max_fragments: u16,
    pub(crate) max_message: u32,
    pub(crate) overhead: usize,
}

#[derive(Debug)]
pub(crate) struct Closing {
    pub(crate) code: u16,
    pub(crate) reference: Option<[u8; 16]>,
}

#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) confirm: bool,
    pub(crate) close: Option<Closing>,
}

#[derive(Debug)]
pub(crate) struct Connection {
    started: bool,
    heard: Option<Instant>,
    received: Vec<u64>,
    ack_due: bool,
    ping_due: bool,
    unanswered: Option<Instant>,
    probe_at: Option<Instant>,
    acked: Option<u64>,
    next: u64,
    pub(crate) skipped: Vec<u64>,
    pub(crate) undelivered: Vec<MessageId>,
}

const PTO: Duration = Duration::from_millis(300);

impl Connection {
    pub(crate) fn new(_: &Config) -> Self {
        Self {
            started: false,
            heard: None,
            received: Vec::new(),
            ack_due: false,
            ping_due: false,
            unanswered: None,
            probe_at: None,
            acked: None,
            next: 0,
            skipped: Vec::new(),
            undelivered: Vec::new(),
        }
    }

    pub(crate) fn start(&mut self, now: Instant, _: &Negotiated, first_number: u64) {
        self.started = true;
        self.heard = Some(now);
        self.next = first_number;
    }

    pub(crate) fn end_session(&mut self) -> Vec<MessageId> {
        let undelivered = std::mem::take(&mut self.undelivered);
        let fresh = Self {
            started: false,
            heard: None,
            received: Vec::new(),
            ack_due: false,
            ping_due: false,
            unanswered: None,
            probe_at: None,
            acked: None,
            next: 0,
            skipped: Vec::new(),
            undelivered: Vec::new(),
        };
        *self = fresh;
        undelivered
    }

    #[cfg(test)]
    pub(crate) fn invent(&mut self, number: u64) {
        self.received.push(number);
        self.received.sort_unstable();
    }

    #[cfg(test)]
    pub(crate) fn force_ack(&mut self) {
        self.ack_due = true;
    }

    pub(crate) fn is_started(&self) -> bool {
        self.started
    }

    pub(crate) fn receive(
        &mut self,
        now: Instant,
        number: u64,
        payload: &[u8],
        _at: usize,
    ) -> Result<Received, Violation> {
        frame::check(payload).map_err(|_| Violation::Malformed)?;
        self.heard = Some(now);
        self.unanswered = None;
        self.probe_at = None;
        self.received.push(number);
        self.received.sort_unstable();
        let mut result = Received { confirm: false, close: None };
        for frame in Frames::new(payload).flatten() {
            self.ack_due |= frame.is_ack_eliciting();
            match frame {
                Frame::Confirm { .. } => result.confirm = true,
                Frame::Close { code, reason } => {
                    let reference = reason.first_chunk::<16>().copied();
                    result.close = Some(Closing { code, reference });
                }
                Frame::Ack(ack) => {
                    if ack.largest >= self.next
                        || ack.ranges().any(|range| self.skipped.iter().any(|n| range.contains(n)))
                    {
                        return Err(Violation::ImpossibleAck);
                    }
                    self.acked = self.acked.max(Some(ack.largest));
                }
                _ => {}
            }
        }
        Ok(result)
    }

    pub(crate) fn transmit(&mut self, now: Instant, number: u64, room: &mut [u8]) -> usize {
        if !self.ack_due && !self.ping_due {
            return 0;
        }
        let mut writer = Writer::new(room);
        let mut context = Context::default();
        if self.ack_due {
            self.ack_due = false;
            let mut ranges: Vec<std::ops::RangeInclusive<u64>> = Vec::new();
            for &number in self.received.iter().rev() {
                match ranges.last_mut() {
                    Some(range) if *range.start() == number + 1 => *range = number..=*range.end(),
                    _ => ranges.push(number..=number),
                }
            }
            let _ = ack::encode(&mut writer, 0, ranges.into_iter(), 64);
        }
        if self.ping_due {
            self.ping_due = false;
            let _ = frame::encode(&Frame::Ping, &mut context, &mut writer);
            self.unanswered.get_or_insert(now);
            self.probe_at = Some(now + PTO);
        }
        self.next = number + 1;
        writer.written()
    }

    pub(crate) fn skip(&mut self, number: u64) {
        self.skipped.push(number);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.probe_at.is_some_and(|at| at <= now) {
            self.probe_at = None;
            self.ping_due = true;
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.probe_at
    }

    pub(crate) fn ping(&mut self, _now: Instant) {
        self.ping_due = true;
    }

    pub(crate) fn pto(&self) -> Duration {
        PTO
    }

    pub(crate) fn last_received(&self) -> Instant {
        #[expect(clippy::expect_used, reason = "stub")]
        self.heard.expect("started")
    }

    pub(crate) fn unanswered_since(&self) -> Option<Instant> {
        self.unanswered
    }

    pub(crate) fn largest_acked(&self) -> Option<u64> {
        self.acked
    }
}

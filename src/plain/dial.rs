//! Our own attempt at a plain session: when to say hello, when to say it again, when to give up. Knows no sockets and
//! no other session. PROTOCOL.md, "Plain endpoint".

use std::time::{Duration, Instant};

use rand_core::TryCryptoRng;

use crate::{connection::Negotiated, wire::plain::Step};

/// Intervals between hellos in milliseconds; the last one repeats.
const INTERVALS: [u32; 5] = [250, 500, 1_000, 2_000, 4_000];
/// Interval of confirmations.
const CONFIRM_INTERVAL: u32 = 250;
/// How long an answered attempt waits for the first packet before it starts over.
const UNCONFIRMED_FOR: Duration = Duration::from_secs(6);
/// Least time between two hellos, however many greetings ask for one.
const HURRY: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// Nobody has answered.
    Sent,
    /// This peer has; the session is live with its first packet.
    Unconfirmed { peer: u64, negotiated: Negotiated, until: Instant },
}

#[derive(Debug)]
pub(super) struct Dial {
    /// Started for silence; the live session stays until this one is confirmed.
    pub(super) background: bool,
    pub(super) phase: Phase,
    /// When `connect` gives up. A background attempt lives as long as the session that it would replace.
    ends: Option<Instant>,
    /// Answered, and nothing was said that could make the peer live: the old session is asked once more.
    held: bool,
    due: bool,
    next: Instant,
    last: Option<Instant>,
    sent: usize,
}

impl Dial {
    pub(super) fn new(now: Instant, ends: Instant) -> Self {
        Self {
            background: false,
            phase: Phase::Sent,
            ends: Some(ends),
            held: false,
            due: true,
            next: now,
            last: None,
            sent: 0,
        }
    }

    pub(super) fn background(now: Instant) -> Self {
        Self { background: true, ends: None, ..Self::new(now, now) }
    }

    /// Starts over, under an id that nobody has seen.
    pub(super) fn begin(&mut self, now: Instant) {
        self.phase = Phase::Sent;
        self.sent = 0;
        self.held = false;
        self.due = true;
        self.next = now;
    }

    /// `wait` is the time for which a session that still lives here is asked once more before it is replaced.
    pub(super) fn read_answer(&mut self, now: Instant, wait: Duration, peer: u64, negotiated: Negotiated) {
        self.phase = Phase::Unconfirmed { peer, negotiated, until: now + UNCONFIRMED_FOR };
        self.held = !wait.is_zero();
        self.due = !self.held;
        self.next = now + wait;
    }

    /// Whether the attempt doubts a session and may be dropped without a trace when that one answers.
    pub(super) fn only_doubts(&self) -> bool {
        self.background && (self.held || matches!(self.phase, Phase::Sent))
    }

    /// The peer waits: send again now, but not at the rate at which greetings come in.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.due |= !self.held && self.last.is_none_or(|last| now >= last + HURRY);
    }

    /// What is due to be said now. Sets the time of the next.
    pub(super) fn take_due<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R) -> Option<Step> {
        if !std::mem::take(&mut self.due) {
            return None;
        }
        self.held = false;
        let (step, millis) = match self.phase {
            Phase::Sent => (
                Step::Hello,
                INTERVALS.get(self.sent).or(INTERVALS.last()).copied().unwrap_or(CONFIRM_INTERVAL),
            ),
            Phase::Unconfirmed { peer, .. } => (Step::Confirm(peer), CONFIRM_INTERVAL),
        };
        // A quarter more or less, so that two sides that started together drift apart. Without randomness the plain
        // interval serves as well.
        let spread = rng.try_next_u32().map_or(millis / 4, |chance| chance % (millis / 2 + 1));
        self.next = now + Duration::from_millis((millis - millis / 4 + spread).into());
        self.last = Some(now);
        self.sent += 1;
        Some(step)
    }

    pub(super) fn tick(&mut self, now: Instant) {
        self.due |= self.next <= now;
    }

    /// An answered attempt is not cut short by the deadline of `connect`.
    pub(super) fn gave_up(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Sent) && self.ends.is_some_and(|ends| ends <= now)
    }

    pub(super) fn unconfirmed_for_too_long(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Unconfirmed { until, .. } if until <= now)
    }

    pub(super) fn deadline(&self) -> Instant {
        match self.phase {
            Phase::Sent => self.ends.map_or(self.next, |ends| ends.min(self.next)),
            Phase::Unconfirmed { until, .. } => until.min(self.next),
        }
    }
}

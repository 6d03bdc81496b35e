//! What strangers may cost: a bucket of Diffie-Hellman operations, a cap on failing reads, and the memory of our own
//! attempts that recognises their reflections. Fixed size; knows no keys. PROTOCOL.md, "Bounds".

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::profile::MAX_INIT_COST;

/// Tokens that come back at a fixed rate and keep for a second. Counted in millionths.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: u64,
    level: u64,
    filled: Instant,
}

const MILLION: u64 = 1_000_000;

impl Bucket {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let mut this = Self { per_second: per_second.into(), level: 0, filled: now };
        this.level = this.capacity();
        this
    }

    /// A second's worth, and always enough for one handshake: a smaller bucket would never let anybody in.
    fn capacity(&self) -> u64 {
        self.per_second.max(MAX_INIT_COST.into()) * MILLION
    }

    /// Takes `tokens` if so many are there.
    pub(super) fn take(&mut self, now: Instant, tokens: u32) -> bool {
        let micros =
            u64::try_from(now.saturating_duration_since(self.filled).as_micros()).unwrap_or(u64::MAX);
        self.level = self.level.saturating_add(micros.saturating_mul(self.per_second)).min(self.capacity());
        self.filled = now;
        match self.level.checked_sub(u64::from(tokens) * MILLION) {
            Some(rest) => {
                self.level = rest;
                true
            }
            None => false,
        }
    }
}

/// At most so many of something in a second.
#[derive(Debug)]
pub(super) struct PerSecond {
    most: u8,
    count: u8,
    since: Instant,
}

impl PerSecond {
    pub(super) fn new(most: u8, now: Instant) -> Self {
        Self { most, count: 0, since: now }
    }

    /// Whether one more is allowed now.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            self.since = now;
            self.count = 0;
        }
        self.count < self.most
    }

    pub(super) fn note(&mut self) {
        self.count = self.count.saturating_add(1);
    }
}

/// Least time in which three redirects may be heard.
const THREE_REDIRECTS: Duration = Duration::from_secs(60);

/// Redirects that are heeded: one in a session, three in a minute.
#[derive(Debug, Default)]
pub(super) struct Redirects {
    /// The last three, newest first.
    last: [Option<Instant>; 3],
    heard: bool,
}

impl Redirects {
    pub(super) fn begin_session(&mut self) {
        self.heard = false;
    }

    pub(super) fn take(&mut self, now: Instant) -> bool {
        let [_, _, third] = self.last;
        let many = third.is_some_and(|third| now.saturating_duration_since(third) < THREE_REDIRECTS);
        if self.heard || many {
            return false;
        }
        self.heard = true;
        self.last.rotate_right(1);
        if let Some(newest) = self.last.first_mut() {
            *newest = Some(now);
        }
        true
    }
}

/// Failing reads of RESP or FIN that one attempt allows in a second. PROTOCOL.md, "Bounds".
pub(super) const FAILING_READS: u8 = 16;

/// How long an attempt that ended is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Attempts remembered. No two begin within a second of each other, so these are all of a minute.
const ATTEMPTS: usize = 64;

/// Our own attempts that ended in the last minute. Whoever sends us one of their ephemeral keys holds a mirror.
#[derive(Debug)]
pub(super) struct OwnAttempts {
    /// Oldest first; without memory while there are none.
    ended: VecDeque<Ended>,
}

#[derive(Clone, Copy, Debug)]
struct Ended {
    ephemeral: [u8; 32],
    reference: [u8; 16],
    at: Instant,
}

impl OwnAttempts {
    pub(super) fn new() -> Self {
        Self { ended: VecDeque::new() }
    }

    pub(super) fn note(&mut self, now: Instant, ephemeral: [u8; 32], reference: [u8; 16]) {
        let over = |ended: &Ended| now.saturating_duration_since(ended.at) >= REMEMBERED;
        while self.ended.len() >= ATTEMPTS || self.ended.front().is_some_and(over) {
            self.ended.pop_front();
        }
        self.ended.push_back(Ended { ephemeral, reference, at: now });
    }

    fn recent(&self, now: Instant) -> impl Iterator<Item = &Ended> {
        self.ended.iter().filter(move |ended| now.saturating_duration_since(ended.at) < REMEMBERED)
    }

    pub(super) fn has_ephemeral(&self, now: Instant, ephemeral: &[u8; 32]) -> bool {
        self.recent(now).any(|ended| ended.ephemeral == *ephemeral)
    }

    pub(super) fn has_reference(&self, now: Instant, reference: &[u8; 16]) -> bool {
        self.recent(now).any(|ended| ended.reference == *reference)
    }
}

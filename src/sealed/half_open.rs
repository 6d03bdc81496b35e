//! Answers that we gave and that nobody has confirmed. Bounded in number and life; they change nothing but themselves,
//! so a replayed first message can do no more than occupy a place. PROTOCOL.md, "Half-open".

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand_core::TryCryptoRng;

use super::{Agreed, Failure, budget::PerSecond, chance::random_below, messages::NoiseBytes};
use crate::crypto::Handshake;

/// Life of an entry from its creation; duplicates never extend it (rule 5).
pub(super) const ENTRY_LIFE: Duration = Duration::from_secs(5);
/// An entry younger than this is never evicted: who holds a RESP has this long to confirm.
pub(super) const SAFE_AGE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct HalfOpen {
    /// BLAKE2s of the Noise message that we answered.
    pub(super) id: [u8; 32],
    /// The peer's ephemeral key.
    pub(super) ephemeral: [u8; 32],
    pub(super) created: Instant,
    pub(super) response: NoiseBytes,
    /// BLAKE2s of the Noise message that we answered with.
    pub(super) response_id: [u8; 32],
    pub(super) reads: PerSecond,
    pub(super) reply_due: bool,
    pub(super) source: Source,
    pub(super) stage: Stage,
}

/// Where the answers of an entry went. Nothing is known of it over a connected socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    first: Option<SocketAddr>,
    /// Where the next answer goes.
    pub(super) to: Option<SocketAddr>,
    /// Answers went to more than one address.
    spread: bool,
}

impl Source {
    pub(super) fn new(from: Option<SocketAddr>) -> Self {
        Self { first: from, to: from, spread: false }
    }

    /// The message came again, from there.
    pub(super) fn again(&mut self, from: Option<SocketAddr>) {
        self.spread |= from != self.first;
        self.to = from;
    }

    /// Whether all answers went to this address, so that who confirms from there has received there.
    pub(super) fn proves(&self, from: SocketAddr) -> bool {
        !self.spread && self.first == Some(from)
    }
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Waits for FIN.
    AwaitsFin(Box<Handshake>),
    /// Waits for the first packet.
    AwaitsPacket(Box<Agreed>),
}

/// All entries, oldest first.
#[derive(Debug)]
pub(super) struct Table {
    entries: Vec<HalfOpen>,
    most: usize,
}

impl Table {
    pub(super) fn new(most: usize) -> Self {
        Self { entries: Vec::new(), most }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.entries = Vec::new();
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut HalfOpen> {
        self.entries.iter_mut()
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = &HalfOpen> {
        self.entries.iter()
    }

    pub(super) fn find(&mut self, id: &[u8; 32]) -> Option<&mut HalfOpen> {
        self.entries.iter_mut().find(|entry| entry.id == *id)
    }

    /// Rule 2: an attempt of ours that begins erases the answers that it would not have given.
    pub(super) fn erase_larger(&mut self, ephemeral: &[u8; 32]) {
        self.entries.retain(|entry| entry.ephemeral <= *ephemeral);
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.entries.retain(|entry| now.saturating_duration_since(entry.created) < ENTRY_LIFE);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.entries.first().map(|oldest| oldest.created + ENTRY_LIFE)
    }

    /// Whether there is room for a newcomer: a free place, or an oldest entry that had its second.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.entries.len() < self.most
            || self
                .entries
                .first()
                .is_some_and(|oldest| now.saturating_duration_since(oldest.created) >= SAFE_AGE)
    }

    pub(super) fn insert(&mut self, entry: HalfOpen) {
        if self.entries.len() >= self.most {
            self.entries.remove(0);
        }
        self.entries.push(entry);
    }

    /// The entries whose keys one datagram may be tried with: the newest, and then so many of the others as may be, from
    /// one that is drawn. A confirmation that repeats finds its entry however many strangers' entries came after it, and
    /// no stranger can time his datagrams so that it never does.
    pub(super) fn candidates<R: TryCryptoRng + ?Sized>(
        &self,
        most: usize,
        rng: &mut R,
    ) -> Result<impl Iterator<Item = usize> + use<R>, Failure> {
        let newest = self.entries.len().checked_sub(1);
        let older = newest.unwrap_or(0);
        let more = most.saturating_sub(1).min(older);
        // Where all are tried the order does not matter, and nothing is drawn.
        let from =
            if more < older { random_below(rng, u32::try_from(older).unwrap_or(u32::MAX))? } else { 0 };
        let from = from as usize;
        // Backwards from the second newest, so that without strangers the order is simply newest first.
        let others = (0..more).map(move |step| older - 1 - (from + step) % older);
        Ok(newest.into_iter().take(most).chain(others))
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut HalfOpen> {
        self.entries.get_mut(index)
    }

    /// Takes an entry out, if it holds the keys of a session.
    pub(super) fn take_agreed(&mut self, index: usize) -> Option<(Agreed, Source)> {
        if index >= self.entries.len() {
            return None;
        }
        let entry = self.entries.remove(index);
        match entry.stage {
            Stage::AwaitsPacket(agreed) => Some((*agreed, entry.source)),
            Stage::AwaitsFin(_) => None,
        }
    }
}

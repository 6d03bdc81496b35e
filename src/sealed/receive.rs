//! The incoming path, top to bottom. Before line 6 nothing changes but drop counters and the budget of strangers.
//! PROTOCOL.md, "Receiving".

use std::time::{Duration, Instant};

use rand_core::TryCryptoRng;

use super::{
    Agreed, CODE_REPLACED, Sealed,
    client::refusal,
    dial::{Dial, Phase, Why},
    half_open::Stage,
    messages::PACKET_OVERHEAD,
};
use crate::{
    connection::Closing,
    crypto::{OpenKeys, Side},
    error::{CloseReason, Dropped, Violation},
    wire::header::WORD_LEN,
};

/// The shortest datagram of a session: word, one byte of frames, tag.
const MIN_DATAGRAM: usize = PACKET_OVERHEAD + 1;
/// Keys that one datagram is tried with.
const MAX_OPENS: usize = 4;

impl Sealed {
    /// Takes one datagram from outside. Changes it in place; nothing is returned, because nobody is told.
    pub(crate) fn handle_datagram<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        datagram: &mut [u8],
    ) {
        // Rule 5: due timers run before a datagram is read.
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.handle_timeout(now, rng);
        }
        self.last_call = now;
        if let Some(paths) = &mut self.paths {
            paths.bytes = datagram.len();
        }
        if let Err(dropped) = self.receive(now, rng, datagram) {
            self.drops.count(dropped);
        }
    }

    fn receive<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        datagram: &mut [u8],
    ) -> Result<(), Dropped> {
        // 1. Lengths first, before anything is split off.
        if datagram.len() < MIN_DATAGRAM || datagram.len() > usize::from(self.config.max_datagram_bytes) {
            return Err(Dropped::Length);
        }
        // 2. The keys to try, at most four: the live session, our own unconfirmed one, the answers we gave.
        // 3. to 5. Unmask into a local, open in place, then the replay window and the epoch rule: `OpenKeys::open`.
        let keep = self.keep_previous();
        let frames = WORD_LEN..datagram.len() - (PACKET_OVERHEAD - WORD_LEN);
        if let Some(live) = &mut self.live {
            match try_open(&mut live.channel.open, now, keep, datagram) {
                Err(Dropped::Unopened) => {}
                Err(dropped) => {
                    if dropped == Dropped::Epoch {
                        self.violated(now, Violation::Malformed);
                    }
                    return Err(dropped);
                }
                // 6. Only now may anything change.
                Ok(opened) => {
                    self.live_packet(now, rng, opened, datagram.get(frames).unwrap_or_default());
                    return Ok(());
                }
            }
        }
        let why = self.dial.as_ref().map(|dial| dial.why);
        if let Some((number, agreed)) = self.open_unconfirmed(now, rng, keep, datagram)? {
            let payload = datagram.get(frames).unwrap_or_default();
            match refusal(payload).filter(|_| agreed.side == Side::Initiator) {
                Some(code) => self.refused(now, agreed, why, code),
                None => self.go_live(now, rng, agreed, number, payload),
            }
            return Ok(());
        }
        if self.is_drained(now, keep, datagram) {
            return Ok(());
        }
        // 7. A handshake message, or nothing of ours. One failure, however many keys were tried.
        self.count_failure(now, rng);
        let pending = self.dial.is_some() || !self.half_open.is_empty();
        if !pending && datagram.len() < usize::from(self.config.handshake_bytes) {
            return Err(Dropped::Unopened);
        }
        let result = self.handle_envelope(now, rng, datagram);
        if result == Err(Dropped::Unopened) && self.live.is_none() {
            self.plain_seen |= self.checksum.open(datagram, self.config.handshake_bytes).is_ok();
        }
        result
    }

    /// Our own unconfirmed session, then the half-open ones. A live session's key was tried before, and that of a closed
    /// one will be.
    fn open_unconfirmed<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        keep: Duration,
        datagram: &mut [u8],
    ) -> Result<Option<(u64, Agreed)>, Dropped> {
        let mut left = MAX_OPENS - usize::from(self.live.is_some()) - usize::from(self.drained.is_some());
        if let Some(Dial { phase: Phase::Unconfirmed(unconfirmed), .. }) = &mut self.dial {
            left -= 1;
            match try_open(&mut unconfirmed.agreed.channel.open, now, keep, datagram) {
                Ok((number, _)) => {
                    return Ok(self.take_unconfirmed(now).map(|agreed| (number, agreed)));
                }
                Err(Dropped::Unopened) => {}
                Err(dropped) => return Err(dropped),
            }
        }
        let candidates = self.half_open.candidates(left, rng).map_err(|_| Dropped::Unopened)?;
        for index in candidates {
            let Some(entry) = self.half_open.get_mut(index) else { continue };
            let Stage::AwaitsPacket(agreed) = &mut entry.stage else { continue };
            match try_open(&mut agreed.channel.open, now, keep, datagram) {
                Ok((number, _)) => {
                    let Some((agreed, source)) = self.half_open.take_agreed(index) else { return Ok(None) };
                    if let Some(paths) = &mut self.paths {
                        paths.begin_as_responder(&source);
                    }
                    return Ok(Some((number, agreed)));
                }
                Err(Dropped::Unopened) => {}
                Err(dropped) => return Err(dropped),
            }
        }
        Ok(None)
    }

    /// Takes the keys out of our own attempt; its ephemeral key is remembered like that of any attempt that ends.
    fn take_unconfirmed(&mut self, now: Instant) -> Option<Agreed> {
        let Some(Dial { phase: Phase::Unconfirmed(unconfirmed), .. }) = self.dial.take() else { return None };
        if let Some(paths) = &mut self.paths {
            paths.begin_as_initiator();
        }
        self.attempts.note(now, unconfirmed.ephemeral, super::messages::reference(&unconfirmed.agreed.init));
        Some(unconfirmed.agreed)
    }

    /// Whether the datagram belongs to a session that was closed.
    fn is_drained(&mut self, now: Instant, keep: Duration, datagram: &mut [u8]) -> bool {
        self.drained
            .as_mut()
            .is_some_and(|drained| try_open(&mut drained.keys, now, keep, datagram) != Err(Dropped::Unopened))
    }

    fn count_failure<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R) {
        let limit = self.config.aead_failure_limit;
        let Some(live) = &mut self.live else { return };
        live.failures = live.failures.saturating_add(1);
        let failures = live.failures;
        let initiator = live.side == Side::Initiator;
        if failures >= limit {
            self.close_for(now, CloseReason::AeadLimit);
        } else if failures >= limit / 2 && initiator && self.wanted && self.dial.is_none() {
            self.start_attempt(now, rng, Why::Limit);
        }
    }

    /// A packet of the live session.
    fn live_packet<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        opened: (u64, bool),
        payload: &[u8],
    ) {
        // The peer lives: an attempt that doubted it and has no answer ends, and so do the answers given in doubt.
        let doubted = match &self.dial {
            Some(Dial { why: Why::Silence, phase: Phase::Unconfirmed(unconfirmed) }) => unconfirmed.is_held(),
            Some(Dial { why, .. }) => *why == Why::Silence,
            None => false,
        };
        if doubted {
            self.drop_dial(now);
        }
        if let Some(live) = &mut self.live {
            if live.probe.take().is_some() {
                self.half_open.clear();
            }
        }
        self.take_payload(now, rng, opened, payload);
    }

    /// The frames of an authenticated packet of the live session.
    pub(super) fn take_payload<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        (number, newest): (u64, bool),
        payload: &[u8],
    ) {
        match self.connection.receive(now, number, payload, WORD_LEN) {
            Ok(received) => {
                if received.new_cids || received.redirect.is_some() {
                    self.heed_server(now, payload, received.redirect);
                }
                self.heed_path(now, rng, newest, &received);
                if let Some(closing) = received.close {
                    self.closed_by_peer(now, &closing);
                }
            }
            Err(violation) => self.violated(now, violation),
        }
    }

    pub(super) fn violated(&mut self, now: Instant, violation: Violation) {
        let Some(live) = &mut self.live else { return };
        if live.violated() || violation == Violation::ImpossibleAck {
            self.close_for(now, CloseReason::ProtocolViolation);
        }
    }

    fn closed_by_peer(&mut self, now: Instant, closing: &Closing) {
        if closing.code != CODE_REPLACED {
            return self.end(now, CloseReason::ClosedByPeer { code: closing.code });
        }
        let ours = closing.reference.is_some_and(|reference| {
            let pending = self.dial.as_ref().and_then(Dial::id).map(super::messages::reference);
            pending == Some(reference) || self.attempts.has_reference(now, &reference)
        });
        if !ours {
            // Another device took our place. To dial again would only take it back.
            return self.end(now, CloseReason::Replaced);
        }
        // Replaced by ourselves: the old session just ends, the attempt that replaced it goes on.
        self.end_but_dial(now, CloseReason::TimedOut);
    }
}

/// The packet's number if `keys` open it, and whether none that opened was higher.
fn try_open(
    keys: &mut OpenKeys,
    now: Instant,
    keep: Duration,
    datagram: &mut [u8],
) -> Result<(u64, bool), Dropped> {
    keys.open(now, keep, &[], datagram).map(|opened| (opened.number, opened.newest))
}

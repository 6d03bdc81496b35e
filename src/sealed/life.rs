//! How a sealed session begins, ends and gives way to another, and what the application is told of it. The order
//! inside `go_live` matters: keys of the old session say their last word before they are wiped.
//! PROTOCOL.md, "Replacement" and "Close and idle".

use std::time::Instant;

use rand_core::TryCryptoRng;

use super::{
    Agreed, CODE_AEAD_LIMIT, CODE_REPLACED, CODE_VIOLATION, Carried, Drained, Failure, MAX_EVENTS, Sealed,
    dial::Why, live::Live, messages,
};
use crate::{
    delivery::MessageId,
    error::{CloseReason, Hint},
    event::Event,
};

impl Sealed {
    /// Begins a session under keys that no handshake agreed on, as if the peer had confirmed it by packet 0. For fuzz
    /// targets: most of their time would be handshakes.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn establish<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        (mut channel, side): (crate::crypto::Channel, crate::crypto::Side),
        path: Option<std::net::SocketAddr>,
    ) {
        let config = &self.config;
        let negotiated = crate::connection::Negotiated {
            idle_timeout: config.idle_timeout,
            max_datagram: config.max_datagram_bytes,
            max_fragments: config.max_fragments,
            max_message: config.max_message_bytes,
            overhead: messages::PACKET_OVERHEAD,
        };
        // The peer takes it that packet 0 was ours.
        channel.seal.skip_number();
        let (peer, prefix) = (self.local.credentials.known_peer(), super::Prefix::NONE);
        let agreed = Agreed { channel, side, peer, init: [0; 32], negotiated, cid: None, prefix };
        if let Some(path) = path {
            self.paths.get_or_insert_default().first = Some((path, true));
        }
        self.go_live(now, rng, agreed, 0, &[1]);
    }

    /// A confirmed session takes the place of whatever was there. `number` and `payload` are its first packet.
    pub(super) fn go_live<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        agreed: Agreed,
        number: u64,
        payload: &[u8],
    ) {
        // PROTOCOL.md, "Key confirmation": our own attempt and every other answer end with it.
        self.drop_dial(now);
        self.half_open.clear();
        self.connect_by = None;
        let live = match Live::begin(agreed, &self.config, now, rng) {
            Ok(live) => Box::new(live),
            Err(failure) => return self.fail(now, failure),
        };
        if let Some((code, reason)) = self.cancelled.take() {
            self.live = Some(live);
            // Nobody looks into the packet, so what it pays is counted here.
            let paid = self.paths.as_ref().map_or(0, |paths| paths.bytes);
            if let Err(failure) = self.begin_path(now, rng, paid) {
                return self.fail(now, failure);
            }
            self.say_close(code, &reason);
            self.drain(now);
            return;
        }
        let replaced = self.live.is_some() || self.carried.is_some();
        if self.live.is_some() {
            let reference = live.init;
            self.say_close(CODE_REPLACED, &reference);
        }
        if let Err(failure) = self.begin_path(now, rng, 0) {
            return self.fail(now, failure);
        }
        let handshake_hash = Some(live.channel.hash);
        if replaced {
            let mut undelivered = self.carried.take().map(|carried| carried.undelivered).unwrap_or_default();
            undelivered.append(&mut self.connection.end_session());
            self.push_reconnected(handshake_hash, undelivered);
        } else {
            self.push_event(Event::Connected { peer: live.peer, handshake_hash });
        }
        self.closed = None;
        self.drained = None;
        self.redirects.begin_session();
        self.connection.start(now, &live.negotiated, live.channel.seal.next_number());
        if let Some((messages, max_bytes)) = self.connection.take_refused() {
            self.push_event(Event::Refused { messages, max_bytes });
        }
        // The old session's keys are wiped here, all at once.
        self.live = Some(live);
        self.take_payload(now, rng, (number, true), payload);
    }

    /// `paid`: bytes that came by the path and are not counted when the first packet is looked into.
    fn begin_path<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        paid: usize,
    ) -> Result<(), Failure> {
        self.paths.as_mut().map_or(Ok(()), |paths| paths.begin_session(now, rng, paid))
    }

    /// Ends whatever there is and tells the application.
    pub(super) fn end(&mut self, now: Instant, reason: CloseReason) {
        self.drain(now);
        self.drop_dial(now);
        self.half_open.clear();
        self.connect_by = None;
        self.wanted = false;
        // After silence or a farewell the same peer may come again; after a fault the application decides.
        self.listening = matches!(
            reason,
            CloseReason::TimedOut
                | CloseReason::HandshakeTimeout(_)
                | CloseReason::ClosedByPeer { .. }
                | CloseReason::Replaced
        );
        let mut undelivered = Vec::new();
        let mut reason = reason;
        if let Some(mut carried) = self.carried.take() {
            undelivered.append(&mut carried.undelivered);
            // The attempt to renew it came to nothing: what counts is why the session ended.
            if matches!(reason, CloseReason::HandshakeTimeout(_)) {
                reason = carried.reason;
            }
        }
        undelivered.append(&mut self.connection.end_session());
        self.closed = Some(reason);
        self.push_event(Event::Closed { reason, undelivered });
    }

    /// The session is over, but our own attempt to renew it goes on.
    pub(super) fn end_but_dial(&mut self, now: Instant, reason: CloseReason) {
        self.drain(now);
        let undelivered = self.connection.end_session();
        self.carried = Some(Carried { undelivered, reason });
        self.connect_by.get_or_insert(now + self.config.connect_timeout);
        if let Some(dial) = &mut self.dial {
            dial.why = Why::Called;
        }
    }

    /// Sending keys go at once; receiving keys stay for three probe timeouts. PROTOCOL.md, "Close".
    pub(super) fn drain(&mut self, now: Instant) {
        if let Some(live) = self.live.take() {
            let until = now + self.connection.pto() * 3;
            self.drained = Some(Drained { keys: live.channel.open, until });
            if let Some(paths) = &mut self.paths {
                paths.end_session();
            }
        }
    }

    pub(super) fn fail(&mut self, now: Instant, failure: Failure) {
        match failure {
            Failure::Entropy => self.end(now, CloseReason::Entropy),
            Failure::Exhausted => self.end(now, CloseReason::KeysExhausted),
            Failure::Room => {}
        }
    }

    /// Closes because the peer, or somebody, did what must not be.
    pub(super) fn close_for(&mut self, now: Instant, reason: CloseReason) {
        let code = if reason == CloseReason::AeadLimit { CODE_AEAD_LIMIT } else { CODE_VIOLATION };
        self.say_close(code, &[]);
        self.end(now, reason);
    }

    /// Our own attempt ends here; its ephemeral key is remembered, so that its reflection is recognised.
    pub(super) fn drop_dial(&mut self, now: Instant) {
        if let Some(dial) = self.dial.take() {
            if let (Some(ephemeral), Some(id)) = (dial.ephemeral(), dial.id()) {
                self.attempts.note(now, *ephemeral, messages::reference(id));
            }
        }
    }

    pub(super) fn timeout_reason(&self) -> CloseReason {
        CloseReason::HandshakeTimeout(self.plain_seen.then_some(Hint::PeerSeemsPlain))
    }

    pub(super) fn push_event(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// A peer that reconnects again and again unheard makes one event, not many.
    pub(super) fn push_reconnected(&mut self, hash: Option<[u8; 32]>, mut more: Vec<MessageId>) {
        if let Some(Event::PeerReconnected { handshake_hash, undelivered }) = self.events.back_mut() {
            *handshake_hash = hash;
            undelivered.append(&mut more);
            return;
        }
        self.push_event(Event::PeerReconnected { handshake_hash: hash, undelivered: more });
    }
}

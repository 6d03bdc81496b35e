//! One peer of a plain session: the same frames and promises as a sealed one, behind a checksum instead of keys. Keeps
//! strays, corruption and the datagrams of earlier sessions out, and nothing else; `SECURITY.md` says so. One session
//! id is never used for the packets of two peers. PROTOCOL.md, "Plain endpoint".

mod dial;
mod listener;
mod live;
mod opening;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc, time::Instant};

use rand_core::TryCryptoRng;

pub use self::listener::Listener;
pub(crate) use self::listener::Peer as ServerPeer;
use self::{
    dial::{Dial, Phase},
    live::{Farewell, Live},
};
use crate::{
    config::Config,
    connection::{Connection, Negotiated},
    delivery::MessageId,
    error::{CloseReason, ConfigError, ConnectError, Dropped, Hint, Violation},
    event::Event,
    stats::{Drops, add},
    wire::{
        Malformed,
        frame::{self, Frame, Frames, MAX_CLOSE_REASON},
        plain::{Checksum, Datagram, HEADROOM, Step},
    },
};

/// Violations after which a session ends. PROTOCOL.md, "Violations".
const MAX_VIOLATIONS: u8 = 8;
/// Close codes from here on are the protocol's own. PROTOCOL.md, "Close".
const FIRST_OWN_CODE: u16 = 0xff00;
const CODE_VIOLATION: u16 = 0xfffe;
const CODE_FULL: u16 = 0xfffc;
/// Events that wait for an application that does not ask; then the oldest goes.
const MAX_EVENTS: usize = 16;
/// No sealed packet is shorter, so a shorter stray says nothing about who is at the other end.
const SHORTEST_SEALED: usize = 21;

/// The plain kind of session: no encryption, no authentication. See [`Endpoint`](crate::Endpoint).
#[derive(Debug)]
pub struct Plain {
    config: Arc<Config>,
    checksum: Checksum,
    connection: Connection,
    /// Our id in the session that comes next; made when first needed, given up with the session that used it.
    fresh: Option<u64>,
    live: Option<Live>,
    dial: Option<Dial>,
    /// The peer that is owed an answer to its hello.
    answer: Option<u64>,
    farewell: Option<Farewell>,
    closed: Option<CloseReason>,
    /// The application dials, so silence is answered by dialling again.
    dials: bool,
    /// What came while dialling: anything of ours, and anything that could be sealed.
    heard_plain: bool,
    heard_stranger: bool,
    events: VecDeque<Event>,
    drops: Drops,
    violations: u64,
}

impl Plain {
    pub(crate) fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        let config = Arc::new(config);
        Ok(Self {
            checksum: Checksum::new(&config.app_id),
            connection: Connection::new(&config),
            config,
            fresh: None,
            live: None,
            dial: None,
            answer: None,
            farewell: None,
            closed: None,
            dials: false,
            heard_plain: false,
            heard_stranger: false,
            events: VecDeque::new(),
            drops: Drops::default(),
            violations: 0,
        })
    }

    // ---- one datagram in ----

    pub(crate) fn handle_datagram<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        datagram: &mut [u8],
    ) {
        let result = match self.checksum.open(datagram, self.config.handshake_bytes) {
            Ok(opened) => {
                self.heard_plain = true;
                match opened {
                    Datagram::Opening(opening) => self.greeted(now, rng, &opening),
                    Datagram::Packet { session, truncated, payload } => {
                        self.packet(now, session, truncated, payload)
                    }
                }
            }
            Err(Malformed) => {
                self.heard_stranger |= datagram.len() >= SHORTEST_SEALED;
                Err(Dropped::Unopened)
            }
        };
        if let Err(why) = result {
            self.drops.count(why);
        }
    }

    /// A packet of the live session, or the first one of the session that we dialled.
    fn packet(&mut self, now: Instant, session: u64, truncated: u32, payload: &[u8]) -> Result<(), Dropped> {
        if self.live.as_ref().is_none_or(|live| live.own != session) {
            let phase = self.dial.as_ref().map(|dial| dial.phase);
            let (true, Some(Phase::Unconfirmed { peer, negotiated, .. })) =
                (self.fresh == Some(session), phase)
            else {
                return Err(Dropped::Unopened);
            };
            // A server that does not want us says so first. Nothing began, so nothing is told but the end.
            if let Some(code) = refusal(payload) {
                self.end(CloseReason::ClosedByPeer { code });
                return Ok(());
            }
            self.go_live(now, session, peer, &negotiated, true);
        }
        let Some(live) = &mut self.live else { return Err(Dropped::Unopened) };
        let number = live.accept(truncated)?;
        if self.dial.as_ref().is_some_and(Dial::only_doubts) {
            self.dial = None;
        }
        let taken = if is_foreign(payload) {
            Err(Violation::Malformed)
        } else {
            self.connection.receive(now, number, payload, HEADROOM)
        };
        match taken {
            Ok(received) => {
                if let Some(closing) = received.close {
                    self.end(CloseReason::ClosedByPeer { code: closing.code });
                }
            }
            Err(violation) => self.violated(violation),
        }
        Ok(())
    }

    fn violated(&mut self, violation: Violation) {
        add(&mut self.violations, 1);
        let Some(live) = &mut self.live else { return };
        live.violations += 1;
        if violation == Violation::ImpossibleAck || live.violations >= MAX_VIOLATIONS {
            self.farewell = Some(live.farewell(CODE_VIOLATION, &[]));
            self.end(CloseReason::ProtocolViolation);
        }
    }

    // ---- sessions begin and end ----

    fn go_live(&mut self, now: Instant, own: u64, peer: u64, negotiated: &Negotiated, initiated: bool) {
        if self.live.is_some() {
            let undelivered = self.connection.end_session();
            self.tell_reconnected(undelivered);
        } else {
            self.tell(Event::Connected { peer: None, handshake_hash: None });
        }
        self.connection.start(now, negotiated, 0);
        if let Some((messages, max_bytes)) = self.connection.take_refused() {
            self.tell(Event::Refused { messages, max_bytes });
        }
        // The initiator takes the session as live only when a packet of ours arrives.
        self.connection.ping(now);
        self.live = Some(Live::new(now, own, peer, negotiated, &self.config, initiated));
        self.fresh = None;
        self.dial = None;
        self.answer = None;
        self.farewell = None;
        self.closed = None;
    }

    fn end(&mut self, reason: CloseReason) {
        let undelivered = self.connection.end_session();
        self.live = None;
        self.dial = None;
        self.fresh = None;
        self.answer = None;
        self.dials = false;
        self.closed = Some(reason);
        self.tell(Event::Closed { reason, undelivered });
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// A peer that comes back again and again unheard makes one event, not many.
    fn tell_reconnected(&mut self, mut more: Vec<MessageId>) {
        if let Some(Event::PeerReconnected { undelivered, .. }) = self.events.back_mut() {
            undelivered.append(&mut more);
        } else {
            self.tell(Event::PeerReconnected { handshake_hash: None, undelivered: more });
        }
    }

    // ---- one datagram out ----

    pub(crate) fn poll_transmit<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        out: &mut [u8],
    ) -> usize {
        if let Some(farewell) = &mut self.farewell {
            if let Some(len) = farewell.write(&self.checksum, out) {
                return len;
            }
            self.farewell = None;
        }
        if let (Some(peer), Some(own)) = (self.answer.take(), self.fresh) {
            return self.open_with(own, Step::Answer(peer), out);
        }
        if let (Some(dial), Some(own)) = (&mut self.dial, self.fresh) {
            if let Some(step) = dial.take_due(now, rng) {
                return self.open_with(own, step, out);
            }
        }
        let Some(live) = &mut self.live else { return 0 };
        live.write(now, &mut self.connection, &self.checksum, out)
    }

    // ---- time ----

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let dial = self.dial.as_ref().map(Dial::deadline);
        let live = self.live.as_ref().map(|live| live.deadline(&self.connection, self.may_redial()));
        [dial, live, self.connection.deadline()].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R) {
        if let Some(live) = &mut self.live {
            if live.idle_until(&self.connection) <= now {
                return self.end(CloseReason::TimedOut);
            }
            self.connection.handle_timeout(now);
            live.keep_alive(now, &mut self.connection);
        }
        let silent = self.live.as_ref().and_then(|live| live.silent_at(&self.connection));
        if self.may_redial() && silent.is_some_and(|at| at <= now) && self.own_id(rng).is_some() {
            self.dial = Some(Dial::background(now));
        }
        let Some(dial) = &mut self.dial else { return };
        if dial.gave_up(now) {
            let hint = (self.heard_stranger && !self.heard_plain).then_some(Hint::PeerSeemsSealed);
            self.end(CloseReason::HandshakeTimeout(hint));
        } else if dial.unconfirmed_for_too_long(now) {
            self.redial(now, rng);
        } else {
            dial.tick(now);
        }
    }

    fn may_redial(&self) -> bool {
        self.dials && self.dial.is_none()
    }

    // ---- the application ----

    #[expect(clippy::unnecessary_wraps, reason = "the sealed core can refuse")]
    pub(crate) fn connect<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
    ) -> Result<(), ConnectError> {
        self.dials = true;
        if self.live.is_none() && self.dial.is_none() {
            self.closed = None;
            self.heard_plain = false;
            self.heard_stranger = false;
            match self.own_id(rng) {
                Some(_) => self.dial = Some(Dial::new(now, now + self.config.connect_timeout)),
                None => self.end(CloseReason::Entropy),
            }
        }
        Ok(())
    }

    pub(crate) fn close(&mut self, _now: Instant, code: u16, reason: &[u8]) {
        if self.closed.is_some() {
            return;
        }
        let reason = reason.get(..MAX_CLOSE_REASON).unwrap_or(reason);
        let code = code.min(FIRST_OWN_CODE - 1);
        self.farewell = self.live.as_ref().map(|live| live.farewell(code, reason));
        self.end(CloseReason::ClosedHere);
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.live.is_some()
    }

    pub(crate) fn closed(&self) -> Option<CloseReason> {
        self.closed
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    pub(crate) fn drops(&self) -> &Drops {
        &self.drops
    }

    pub(crate) fn violations(&self) -> u64 {
        self.violations
    }
}

/// The code of a CLOSE in the first packet of a session.
fn refusal(payload: &[u8]) -> Option<u16> {
    frame::check(payload).ok()?;
    Frames::new(payload).flatten().find_map(|frame| match frame {
        Frame::Close { code, .. } => Some(code),
        _ => None,
    })
}

/// Whether a packet holds frames that only sealed sessions know: they are malformed here. PROTOCOL.md, "Frames".
fn is_foreign(payload: &[u8]) -> bool {
    Frames::new(payload).flatten().any(|frame| frame.is_sealed_only())
}

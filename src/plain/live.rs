//! A live plain session: its two ids, its packet numbers, and what silence means for it. Every packet number is used
//! once and accepted once. PROTOCOL.md, "Plain endpoint".

use std::time::{Duration, Instant};

use crate::{
    config::Config,
    connection::{Connection, Negotiated},
    error::Dropped,
    window::{Seen, Window1024},
    wire::{
        codec::Writer,
        frame::{self, Frame, MAX_CLOSE_REASON},
        header::decode_number_32,
        message::Context,
        plain::{Checksum, HEADROOM},
    },
};

/// Copies of a CLOSE, each with its own number.
const FAREWELLS: u8 = 3;
/// Least silence that makes the side that dialled try again.
const SILENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Live {
    /// The id by which the peer addresses us, and the one by which we address it.
    pub(super) own: u64,
    pub(super) peer: u64,
    pub(super) violations: u8,
    /// Exactly one of the two sides did.
    pub(super) initiated: bool,
    next_number: u64,
    window: Window1024,
    max_datagram: usize,
    idle_timeout: Duration,
    keep_alive: Duration,
    last_ping: Instant,
}

impl Live {
    pub(super) fn new(
        now: Instant,
        own: u64,
        peer: u64,
        negotiated: &Negotiated,
        config: &Config,
        initiated: bool,
    ) -> Self {
        let keep_alive = config.keep_alive_for(negotiated.idle_timeout);
        Self {
            own,
            peer,
            violations: 0,
            initiated,
            next_number: 0,
            window: Window1024::new(),
            max_datagram: negotiated.max_datagram.into(),
            idle_timeout: negotiated.idle_timeout,
            // The side that answered waits a little longer: a ping and its acknowledgement keep both ways open, so one
            // side's is enough.
            keep_alive: if initiated { keep_alive } else { keep_alive + keep_alive / 4 },
            last_ping: now,
        }
    }

    /// The whole number of a packet, if it was not seen before.
    pub(super) fn accept(&mut self, truncated: u32) -> Result<u64, Dropped> {
        let expected = self.window.highest().map_or(0, |highest| highest + 1);
        let number = decode_number_32(truncated, expected).ok_or(Dropped::TooOld)?;
        self.window.check_and_set(number).map_err(|seen| match seen {
            Seen::Duplicate => Dropped::Duplicate,
            Seen::TooOld => Dropped::TooOld,
        })?;
        Ok(number)
    }

    /// Writes the next packet and returns its length; 0 = nothing to send.
    pub(super) fn write(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        checksum: &Checksum,
        out: &mut [u8],
    ) -> usize {
        let largest = self.max_datagram.min(out.len());
        let Some(room) = out.get_mut(HEADROOM..largest) else { return 0 };
        let frames = connection.transmit(now, self.next_number, room);
        if frames == 0 {
            return 0;
        }
        let len = HEADROOM + frames;
        let number = self.next_number;
        self.next_number += 1;
        match out.get_mut(..len).map(|datagram| checksum.seal(self.peer, number, datagram)) {
            Some(Ok(())) => len,
            _ => 0,
        }
    }

    pub(super) fn farewell(&self, code: u16, reason: &[u8]) -> Farewell {
        let mut farewell = Farewell {
            peer: self.peer,
            number: self.next_number,
            left: FAREWELLS,
            code,
            reason: [0; MAX_CLOSE_REASON],
            len: 0,
        };
        for (to, from) in farewell.reason.iter_mut().zip(reason) {
            *to = *from;
            farewell.len += 1;
        }
        farewell
    }

    pub(super) fn idle_until(&self, connection: &Connection) -> Instant {
        connection.last_received().unwrap_or(self.last_ping) + self.idle_timeout
    }

    /// Keeps the session and the NATs on its way alive when nothing else does.
    pub(super) fn keep_alive(&mut self, now: Instant, connection: &mut Connection) {
        if self.quiet_until(connection) <= now {
            self.last_ping = now;
            connection.ping(now);
        }
    }

    fn quiet_until(&self, connection: &Connection) -> Instant {
        connection.last_received().map_or(self.last_ping, |heard| heard.max(self.last_ping)) + self.keep_alive
    }

    /// When the silence is long enough to dial again. The session's initiator is first, so that the two sides seldom
    /// do it at once.
    pub(super) fn silent_at(&self, connection: &Connection) -> Option<Instant> {
        let wait = (connection.pto() * 3).max(SILENCE);
        connection.unanswered_since().map(|since| since + if self.initiated { wait } else { wait * 2 })
    }

    pub(super) fn deadline(&self, connection: &Connection, may_redial: bool) -> Instant {
        let next = self.idle_until(connection).min(self.quiet_until(connection));
        self.silent_at(connection).filter(|_| may_redial).map_or(next, |silent| silent.min(next))
    }
}

/// The CLOSE of a session that is over here.
#[derive(Debug)]
pub(super) struct Farewell {
    peer: u64,
    number: u64,
    left: u8,
    code: u16,
    reason: [u8; MAX_CLOSE_REASON],
    len: usize,
}

impl Farewell {
    /// Writes the next copy; `None` when all have left.
    pub(super) fn write(&mut self, checksum: &Checksum, out: &mut [u8]) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let close = Frame::Close { code: self.code, reason: self.reason.get(..self.len)? };
        let mut writer = Writer::new(out.get_mut(HEADROOM..)?);
        frame::encode(&close, &mut Context::default(), &mut writer).ok()?;
        let len = HEADROOM + writer.written();
        checksum.seal(self.peer, self.number, out.get_mut(..len)?).ok()?;
        self.number += 1;
        Some(len)
    }
}

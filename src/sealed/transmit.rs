//! The outgoing path, top to bottom: one datagram a call, the most urgent first. Every datagram gets a fresh number or a
//! fresh nonce; none is ever sent twice. PROTOCOL.md, "Packets".

use std::time::Instant;

use rand_core::TryCryptoRng;

use super::{
    Failure, Sealed,
    dial::Phase,
    messages::{self, CHALLENGE_DATAGRAM},
    roam::Roam,
    seal::{at_least, seal_frame},
};
use crate::{
    connection::BASE_DATAGRAM,
    crypto::Side,
    wire::{
        envelope::{Body, FIN_DATAGRAM, Kind},
        frame::Frame,
    },
};

impl Sealed {
    /// Writes the next datagram that is due into `out`, which has room for `max_datagram_bytes`; 0 if there is none.
    pub(crate) fn poll_transmit<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        out: &mut [u8],
    ) -> usize {
        match self.transmit(now, rng, out) {
            Ok(len) => len,
            Err(failure) => {
                self.fail(now, failure);
                0
            }
        }
    }

    fn transmit<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<usize, Failure> {
        if let Some(datagram) = self.closes.pop_front() {
            out.get_mut(..datagram.len()).ok_or(Failure::Room)?.copy_from_slice(&datagram);
            if let Some(paths) = &mut self.paths {
                paths.to = paths.closes_to;
            }
            return Ok(datagram.len());
        }
        let sent = self.transmit_answer(rng, out)?;
        if sent > 0 {
            return Ok(sent);
        }
        let sent = self.transmit_dial(now, rng, out)?;
        if sent > 0 {
            return Ok(sent);
        }
        self.transmit_packet(now, rng, out)
    }

    /// RESP, at most one for each INIT read, and no longer than the shortest INIT.
    fn transmit_answer<R: TryCryptoRng + ?Sized>(
        &mut self,
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<usize, Failure> {
        let Some(entry) = self.half_open.iter_mut().find(|entry| entry.reply_due) else { return Ok(0) };
        entry.reply_due = false;
        if let Some(paths) = &mut self.paths {
            paths.to = entry.source.to;
        }
        let reference = messages::reference(&entry.id);
        let body = Body { kind: Kind::Resp, cookie: [0; 16], reference, noise: entry.response.as_bytes() };
        let size = self.config.handshake_bytes.into();
        messages::seal(&self.local.envelope, rng, Side::Responder, &[], &body, size, out)
    }

    /// INIT; or FIN and CONFIRM together, as two datagrams.
    fn transmit_dial<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<usize, Failure> {
        match self.dial.as_mut().map(|dial| &mut dial.phase) {
            Some(Phase::Sent(attempt)) => {
                let due = match &mut self.paths {
                    Some(paths) => paths.next_init(attempt, now, rng)?,
                    None => attempt.take_due(now, rng)?,
                };
                let Some(cookie) = due else { return Ok(0) };
                let body =
                    Body { kind: Kind::Init, cookie, reference: [0; 16], noise: attempt.message.as_bytes() };
                let size = self.config.handshake_bytes.into();
                let route = self.local.front.as_bytes();
                messages::seal(&self.local.envelope, rng, Side::Initiator, route, &body, size, out)
            }
            Some(Phase::Unconfirmed(unconfirmed)) => {
                if unconfirmed.tick(now) {
                    self.connection.ping(now);
                }
                if let Some(paths) = &mut self.paths {
                    paths.head_to_answer();
                }
                if let (true, Some(fin)) = (unconfirmed.fin_due, &unconfirmed.fin) {
                    unconfirmed.fin_due = false;
                    let reference = messages::reference(&unconfirmed.response);
                    let body = Body { kind: Kind::Fin, cookie: [0; 16], reference, noise: fin.as_bytes() };
                    let (envelope, size) = (&self.local.envelope, FIN_DATAGRAM);
                    let front = unconfirmed.agreed.prefix.as_bytes();
                    return messages::seal(envelope, rng, Side::Initiator, front, &body, size, out);
                }
                if !unconfirmed.confirm_due {
                    return Ok(0);
                }
                unconfirmed.confirm_due = false;
                let max = unconfirmed.agreed.negotiated.max_datagram.min(BASE_DATAGRAM);
                // Nobody asks to be addressed by ids of ours, so CONFIRM names none.
                let confirm = Frame::Confirm { cid: None, ticket: self.local.credentials.ticket() };
                seal_frame(
                    &mut unconfirmed.agreed.channel.seal,
                    &unconfirmed.agreed.prefix,
                    &confirm,
                    // So much that it pays for a challenge to where it comes from.
                    at_least(self.config.padding, CHALLENGE_DATAGRAM),
                    max,
                    out,
                )
            }
            _ => Ok(0),
        }
    }

    fn transmit_packet<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<usize, Failure> {
        let Some(live) = &mut self.live else { return Ok(0) };
        let Some(paths) = &mut self.paths else {
            return live.transmit(now, &self.config, &mut self.connection, rng, out);
        };
        let Some(roam) = &mut paths.roam else { return Ok(0) };
        let (len, to) = live.transmit_on(roam, now, &self.config, &mut self.connection, rng, out)?;
        paths.to = Some(to);
        Ok(len)
    }

    /// Seals the CLOSE packets of the live session. Its sending keys are not used again.
    pub(super) fn say_close(&mut self, code: u16, reason: &[u8]) {
        let Some(live) = &mut self.live else { return };
        self.closes.clear();
        let mut roam = self.paths.as_mut().and_then(|paths| {
            paths.closes_to = paths.roam.as_ref().map(Roam::address);
            paths.roam.as_mut()
        });
        live.say_close(self.config.padding, code, reason, |close| {
            if roam.as_mut().is_none_or(|roam| roam.pay(roam.address(), close.len())) {
                self.closes.push_back(close);
            }
        });
    }
}

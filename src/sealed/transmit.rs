//! The outgoing path, top to bottom: one datagram a call, the most urgent first. Every datagram gets a fresh number or a
//! fresh nonce; none is ever sent twice. PROTOCOL.md, "Packets".

use std::time::Instant;

use rand_core::TryCryptoRng;

use super::{
    Failure, Sealed,
    dial::Phase,
    messages::{self, PACKET_OVERHEAD},
};
use crate::{
    config::Padding,
    connection::BASE_DATAGRAM,
    crypto::{SealError, SealKey, Side},
    wire::{
        codec::Writer,
        envelope::{Body, FIN_DATAGRAM, Kind},
        frame::{self, Frame, MAX_CLOSE_REASON},
        header::WORD_LEN,
        message::Context,
    },
};

/// How often CLOSE is sent, each time under its own number.
const CLOSES: usize = 3;
const TAG_LEN: usize = PACKET_OVERHEAD - WORD_LEN;

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
        let reference = messages::reference(&entry.id);
        let body = Body { kind: Kind::Resp, cookie: [0; 16], reference, noise: entry.response.as_bytes() };
        let size = self.config.handshake_bytes.into();
        messages::seal(&self.envelope, rng, Side::Responder, &body, size, out)
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
                let Some(cookie) = attempt.take_due(now, rng)? else { return Ok(0) };
                let body =
                    Body { kind: Kind::Init, cookie, reference: [0; 16], noise: attempt.message.as_bytes() };
                let size = self.config.handshake_bytes.into();
                messages::seal(&self.envelope, rng, Side::Initiator, &body, size, out)
            }
            Some(Phase::Unconfirmed(unconfirmed)) => {
                unconfirmed.tick(now);
                if let (true, Some(fin)) = (unconfirmed.fin_due, &unconfirmed.fin) {
                    unconfirmed.fin_due = false;
                    let reference = messages::reference(&unconfirmed.response);
                    let body = Body { kind: Kind::Fin, cookie: [0; 16], reference, noise: fin.as_bytes() };
                    return messages::seal(&self.envelope, rng, Side::Initiator, &body, FIN_DATAGRAM, out);
                }
                if !unconfirmed.confirm_due {
                    return Ok(0);
                }
                unconfirmed.confirm_due = false;
                let max = unconfirmed.agreed.negotiated.max_datagram.min(BASE_DATAGRAM);
                let confirm = Frame::Confirm { cid: None, ticket: &[] };
                seal_frame(&mut unconfirmed.agreed.channel.seal, &confirm, self.config.padding, max, out)
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
        if !live.may_send(&self.connection) {
            return Ok(0);
        }
        live.tick(now, &self.config, &mut self.connection, rng)?;
        live.skip(now, &mut self.connection, rng)?;
        let max = live.negotiated.max_datagram;
        let out_len = out.len();
        let out = out.get_mut(..out_len.min(max.into())).ok_or(Failure::Room)?;
        let end = out.len().saturating_sub(TAG_LEN);
        let room = out.get_mut(WORD_LEN..end).ok_or(Failure::Room)?;
        let written = self.connection.transmit(now, live.channel.seal.next_number(), room);
        if written == 0 {
            return Ok(0);
        }
        // Padding must not make it larger than the path is known to take.
        let largest = usize::from(self.connection.mtu()).max(written + PACKET_OVERHEAD).min(out.len());
        let out = out.get_mut(..largest).ok_or(Failure::Room)?;
        seal_packet(&mut live.channel.seal, written, self.config.padding, out)
    }

    /// Seals the CLOSE packets of the live session. Its sending keys are not used again.
    pub(super) fn say_close(&mut self, code: u16, reason: &[u8]) {
        let Some(live) = &mut self.live else { return };
        let max = live.negotiated.max_datagram.min(BASE_DATAGRAM);
        let reason = reason.get(..MAX_CLOSE_REASON).unwrap_or(reason);
        self.closes.clear();
        for _ in 0..CLOSES {
            let mut datagram = vec![0; max.into()];
            let frame = Frame::Close { code, reason };
            let seal = &mut live.channel.seal;
            // Without numbers left there is no farewell; the peer will time out.
            let Ok(len) = seal_frame(seal, &frame, self.config.padding, max, &mut datagram) else { return };
            datagram.truncate(len);
            self.closes.push_back(datagram);
        }
    }
}

/// Seals a packet of one frame into the front of `out`.
fn seal_frame(
    key: &mut SealKey,
    frame: &Frame<'_>,
    padding: Padding,
    max_datagram: u16,
    out: &mut [u8],
) -> Result<usize, Failure> {
    let out_len = out.len();
    let out = out.get_mut(..out_len.min(max_datagram.into())).ok_or(Failure::Room)?;
    let end = out.len().saturating_sub(TAG_LEN);
    let mut writer = Writer::new(out.get_mut(WORD_LEN..end).ok_or(Failure::Room)?);
    frame::encode(frame, &mut Context::default(), &mut writer).map_err(|_| Failure::Room)?;
    let written = writer.written();
    seal_packet(key, written, padding, out)
}

/// Pads and seals the packet whose first `written` bytes of frames stand behind the word. `out` ends where the longest
/// datagram ends.
pub(super) fn seal_packet(
    key: &mut SealKey,
    written: usize,
    padding: Padding,
    out: &mut [u8],
) -> Result<usize, Failure> {
    let bare = written + PACKET_OVERHEAD;
    let len = match padding {
        Padding::None => bare,
        Padding::Bucket(size) => bare.next_multiple_of(size.max(1).into()),
        Padding::ToSize(size) => bare.max(size.into()),
    };
    let len = len.min(out.len()).max(bare);
    let packet = out.get_mut(..len).ok_or(Failure::Room)?;
    // Zero bytes are PADDING; the buffer may hold anything.
    packet.get_mut(WORD_LEN + written..).ok_or(Failure::Room)?.fill(0);
    key.seal(&[], packet).map_err(|error| match error {
        SealError::Exhausted => Failure::Exhausted,
        SealError::Length => Failure::Room,
    })?;
    Ok(len)
}

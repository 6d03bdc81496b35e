//! The incoming path, top to bottom: what one authenticated packet changes. Nothing here runs before a packet was
//! opened; every number in it is the peer's word and is bounded where it is used.

use std::time::{Duration, Instant};

use super::{Awake, MAX_REPLIES, Reply};
use crate::{
    delivery::{
        ack::{Arrived, Call},
        recovery::{Content, Fate},
        recv::Answer,
    },
    error::Violation,
    wire::{
        ack::AckFrame,
        frame::{Checked, Frame},
    },
};

/// What a packet says that concerns the session itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received<'p> {
    /// The ticket of a CONFIRM, which may be empty.
    pub(crate) confirm: Option<&'p [u8]>,
    /// It carried CLOSE.
    pub(crate) close: Option<Closing>,
    /// It carried at least one NEW_CID.
    pub(crate) new_cids: bool,
    /// The ticket of a REDIRECT.
    pub(crate) redirect: Option<&'p [u8]>,
    /// The first PATH_CHALLENGE: one answer a packet, so that nobody gets more of them than packets he sent.
    pub(crate) challenge: Option<[u8; 8]>,
    /// The first PATH_RESPONSE.
    pub(crate) response: Option<[u8; 8]>,
    /// It carried nothing that says where the peer is.
    pub(crate) probing: bool,
}

/// The content of a CLOSE frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) code: u16,
    /// The first 16 bytes of the reason, if it has as many: names the attempt that replaced this session.
    pub(crate) reference: Option<[u8; 16]>,
}

impl Awake {
    /// Takes the payload of an authenticated packet, which stands at `at` in the datagram buffer.
    ///
    /// # Errors
    /// [`Violation`]: the peer broke the protocol. `Malformed` and `ImpossibleAck` are found before anything but the
    /// liveness timers has changed; the packet is then not acknowledged.
    pub(crate) fn receive<'p>(
        &mut self,
        now: Instant,
        number: u64,
        payload: &'p [u8],
        at: usize,
    ) -> Result<Received<'p>, Violation> {
        // 1. The peer lives. After a silence that is news: what waits is not repeated by turns but sent.
        let heeded = self.send.has_heeded();
        let silent = heeded && self.last_received.is_none_or(|last| now >= last + self.sent.overdue(now) * 2);
        self.last_received = Some(now);
        self.unanswered = None;
        self.send.tick(now);
        // 2. The whole payload must decode before any of it counts.
        let frames = Checked::new(payload).map_err(|_| Violation::Malformed)?;
        // 3. Frame by frame.
        let mut received = Received { probing: true, ..Received::default() };
        let (duplicates, unneeded) = (self.recv.counters().duplicates, self.recv.parity_counts().1);
        let (mut call, mut messages) = (Call::No, 0);
        for (frame, left) in frames {
            call = call.max(self.call_of(now, &frame));
            received.probing &= frame.is_probing();
            match frame {
                Frame::Message(message) => {
                    // A message's bytes are the last of its frame.
                    let end = payload.len().saturating_sub(left);
                    let start = at + end.saturating_sub(message.bytes.len());
                    (self.busy_at, self.in_use) = (Some(now), true);
                    messages += 1;
                    self.recv.insert(now, &message, start)?;
                }
                Frame::Parity(parity) => {
                    (self.busy_at, self.in_use) = (Some(now), true);
                    messages += 1;
                    self.recv.insert_parity(now, &parity)?;
                }
                Frame::Ack(ack) => self.on_ack(now, &ack)?,
                Frame::Window { lane: None, limit } => self.send.raise_window(limit),
                Frame::Skipped { lane, index } => self.send.on_skip_answer(lane, index, false),
                Frame::Have { lane, index } => self.send.on_skip_answer(lane, index, true),
                Frame::Skip { lane, index, charge } => {
                    let answer = self.recv.skip(now, lane, index, charge)?;
                    self.reply(match answer {
                        Answer::Skipped => Reply::Skipped { lane, index },
                        Answer::Have => Reply::Have { lane, index },
                    });
                }
                Frame::PathChallenge(data) => received.challenge = received.challenge.or(Some(data)),
                Frame::PathResponse(data) => received.response = received.response.or(Some(data)),
                Frame::Confirm { ticket, .. } => received.confirm = Some(ticket),
                Frame::NewCid { .. } => received.new_cids = true,
                Frame::Redirect { ticket } => received.redirect = Some(ticket),
                Frame::Close { code, reason } => {
                    received.close = Some(Closing { code, reference: reason.first_chunk().copied() });
                }
                Frame::Padding { .. } | Frame::Ping | Frame::Window { lane: Some(_), .. } => {}
            }
        }
        self.seen.note(number);
        if let Some(bound) = now.checked_sub(self.sent.overdue(now)).filter(|_| silent) {
            self.send.hurry_repeats(bound);
        }
        // 4. Only what was taken is acknowledged. What comes a second time may say that acknowledgements are lost.
        let again = self.recv.counters().duplicates.saturating_sub(duplicates);
        if again > 0 {
            self.acks.on_again(now);
        }
        let unneeded = self.recv.parity_counts().1.saturating_sub(unneeded);
        let new = messages == 0 || again + unneeded < messages;
        let arrived = Arrived { number, call, new, bytes: payload.len() };
        self.acks.on_packet(now, &arrived, self.config.ack_delay);
        if received.confirm.is_some() {
            self.acks.hurry(now);
        }
        Ok(received)
    }

    fn on_ack(&mut self, now: Instant, ack: &AckFrame<'_>) -> Result<(), Violation> {
        let delay = Duration::from_micros(ack.delay_us);
        let Self { sent, send, acks, control, mtu, .. } = self;
        let newly =
            sent.on_ack(now, ack.ranges(), delay, |content, fate, carrier| match (content, fate) {
                (Content::Part { .. } | Content::Skip { .. }, _) => send.on_fate(content, fate, carrier),
                (Content::Ack { largest }, Fate::Acked) => acks.forget_up_to(largest),
                (Content::Window, Fate::Lost) => control.window_due = true,
                (Content::NewCid { sequence }, fate) => control.gifts.on_cid_fate(sequence, fate),
                (Content::Redirect, fate) => control.gifts.on_redirect_fate(fate),
                (Content::Probe { size }, Fate::Acked) => mtu.on_probe_acked(size),
                (Content::Probe { size }, Fate::Lost) => mtu.on_probe_lost(size),
                (Content::Ack { .. } | Content::Probe { .. }, Fate::Lost | Fate::Overdue)
                | (Content::Window, Fate::Acked | Fate::Overdue) => {}
            })?;
        if newly && send.has_heeded() {
            if let Some(bound) = sent.known_until(now) {
                send.hurry_repeats(bound);
            }
        }
        sent.owed = send.owes();
        if newly {
            mtu.on_acked();
        }
        self.heed_progress(now);
        Ok(())
    }

    /// Answers a PATH_CHALLENGE that came by the path in use, with the next packet.
    pub(crate) fn answer_challenge(&mut self, data: [u8; 8]) {
        self.reply(Reply::PathResponse(data));
    }

    /// Which acknowledgement a frame calls for. Parities come behind their pieces: that a lane's messages have some is
    /// known from those before.
    fn call_of(&self, now: Instant, frame: &Frame<'_>) -> Call {
        match frame {
            frame if !frame.is_ack_eliciting() => Call::No,
            frame if frame.is_unrepeated() => Call::Later,
            Frame::Parity(_) => Call::Gathered,
            Frame::Message(message)
                if message.is_piece() && self.recv.expects_parities(now, message.lane) =>
            {
                Call::Gathered
            }
            _ => Call::Soon,
        }
    }

    fn reply(&mut self, reply: Reply) {
        if self.replies.len() < MAX_REPLIES {
            self.replies.push(reply);
        }
    }
}

//! The outgoing path, top to bottom: what one packet carries, in fixed order. Acknowledgements, control, lost parts,
//! new messages. The room above seals what this writes.

use std::time::Instant;

use super::{Awake, Reply};
use crate::{
    delivery::{ack::Call, recovery::Content},
    wire::{
        codec::Writer,
        frame::{self, Frame},
        message::Context,
    },
};

/// From so many separate ranges on, an ACK asks to be acknowledged itself, so that old ranges can be forgotten.
const RANGES_BEFORE_PING: usize = 4;

/// A packet with less room left than this is full: a larger one would be of use.
const FULL: usize = 64;

impl Awake {
    /// Whether the next call of `transmit` would have nothing to write; then that call is not needed.
    pub(crate) fn is_silent(&mut self) -> bool {
        let waits = self.send.has_unsent()
            || self.send.has_resends()
            || self.acks.is_pending()
            || self.has_control()
            || self.full;
        self.flush &= waits;
        !waits
    }

    /// Writes the frames of packet `number` into `room`. 0: there is nothing to send now.
    pub(crate) fn transmit(&mut self, now: Instant, number: u64, room: &mut [u8]) -> usize {
        if !self.started {
            return 0;
        }
        // 1. Is there a reason to send at all?
        if self.send.has_resends() || (self.flush && self.send.has_unsent()) {
            self.find_overdue(now);
        }
        let ack_due = self.acks.is_due(now, self.flush);
        let wanted = self.flush || self.probes > 0 || self.send.unsent_bytes() >= self.capacity;
        let waiting = self.send.has_resends() || (wanted && self.send.has_unsent());
        let times = (self.sent.silence(now), self.sent.rtt.smoothed());
        let open = self.probes > 0 || self.rate.may_send(now, self.sent.flight_bytes(), waiting, times);
        let fresh = open && wanted;
        let data = (open && self.send.has_resends()) || (fresh && self.send.has_unsent());
        let control = self.has_control();
        if !(ack_due || data || control) {
            self.flush = false;
            return 0;
        }
        if open && self.full {
            if let Some(written) = self.transmit_mtu_probe(now, number, room) {
                return written;
            }
        }
        self.sent.align(now, number);
        self.forget_oldest(now);
        let len = room.len().min(self.capacity);
        let mut writer = Writer::new(room.get_mut(..len).unwrap_or_default());
        let mut context = Context::default();
        let mut contents = 0;
        // 2. Acknowledgements go first: they never wait, and they ride on whatever leaves.
        let acked = if self.acks.is_pending() { self.acks.write(now, &mut writer) } else { Ok(None) };
        if let Ok(Some(largest)) = acked {
            self.sent.push_content(Content::Ack { largest });
            contents += 1;
            self.ping |= self.old_ranges_weigh(now);
        }
        // 3. Control.
        let (noted, asks) = self.write_control(&mut context, &mut writer);
        contents += noted;
        let mut call = if asks { Call::Soon } else { Call::No };
        let (mut awaited, mut parts) = (false, 0);
        // 4. Lost parts, then new messages.
        if open {
            let packed =
                self.send.pack(now, &mut writer, &mut context, &mut self.sent, (self.capacity, fresh));
            contents += packed.contents;
            call = call.max(packed.call);
            (awaited, parts) = (packed.awaited, packed.contents);
            self.in_use |= packed.frames > 0;
        }
        // 5. A PING where one was asked for, where a probe has nothing else to say, or where word is waited for that
        // would take its time.
        let ping = (self.ping || self.probes > 0 || awaited) && call <= Call::Later;
        if ping && frame::encode(&Frame::Ping, &mut context, &mut writer).is_ok() {
            call = Call::Soon;
        }
        self.ping &= call <= Call::Later;
        let written = writer.written();
        if written == 0 {
            self.flush = false;
            return 0;
        }
        // 6. Remember what it carried.
        self.probes = self.probes.saturating_sub(1);
        self.full = written + FULL >= self.capacity;
        self.sent.on_sent(now, written + self.overhead, (contents, parts), call);
        self.rate.on_sent(now, written + self.overhead, self.sent.rtt.smoothed());
        if call != Call::No {
            self.unanswered.get_or_insert(now);
            self.busy_at = Some(now);
        }
        // An acknowledgement takes memory too, if only to be noted.
        self.busy_at.get_or_insert(now);
        written
    }

    fn has_control(&self) -> bool {
        let asked = self.ping || self.probes > 0;
        asked || self.control.window_due || self.has_gift_due() || !self.replies.is_empty()
    }

    /// How many contents were noted, and whether anything was written.
    fn write_control(&mut self, context: &mut Context, writer: &mut Writer<'_>) -> (u32, bool) {
        let window = self.control.window_due && self.write_window(context, writer);
        let noted = u32::from(window) + self.write_gifts(context, writer);
        let replied = self.write_replies(context, writer);
        (noted, noted > 0 || replied)
    }

    fn write_replies(&mut self, context: &mut Context, writer: &mut Writer<'_>) -> bool {
        let mut any = false;
        while let Some(&reply) = self.replies.last() {
            let frame = match reply {
                Reply::Skipped { lane, index } => Frame::Skipped { lane, index },
                Reply::Have { lane, index } => Frame::Have { lane, index },
                Reply::PathResponse(data) => Frame::PathResponse(data),
            };
            if frame::encode(&frame, context, writer).is_err() {
                break;
            }
            if matches!(reply, Reply::PathResponse(_)) {
                // It says that we are here, so its packet must not be a probing one.
                let (Ok(()) | Err(_)) = frame::encode(&Frame::Ping, context, writer);
            }
            self.replies.pop();
            any = true;
        }
        any
    }

    fn write_window(&mut self, context: &mut Context, writer: &mut Writer<'_>) -> bool {
        let window = Frame::Window { lane: None, limit: self.recv.window_limit() };
        let written = frame::encode(&window, context, writer).is_ok();
        if written {
            self.control.window_due = false;
            self.sent.push_content(Content::Window);
        }
        written
    }

    /// Whether so many ranges are carried along that the peer should acknowledge an ACK, at most once a round trip.
    fn old_ranges_weigh(&mut self, now: Instant) -> bool {
        let rested = self.last_ack_ping.is_none_or(|last| now >= last + self.sent.rtt.smoothed());
        let weigh = self.acks.range_count() >= RANGES_BEFORE_PING && rested;
        if weigh {
            self.last_ack_ping = Some(now);
        }
        weigh
    }
}

"""A session: packets in both directions once the handshake gave its keys.

The sender is simple on purpose: a fixed window of packets, and what is not acknowledged after
200 ms is sent again. Rules of "Loss" and "Rate" are local, so a peer cannot tell.
"""

import random
from dataclasses import dataclass, field

import frames as fr
from ack import DELAY_UNIT, Ack, Received
from cids import Ids
from incoming import Incoming, Violation
from integers import Malformed
from keys import I2R, R2I
from messages import Context, Message
from outgoing import Out, Outgoing
from packet import OVERHEAD, Receiver, Sender
from rtt import Rtt

RESEND = 0.2
FLIGHT_PACKETS = 32
VIOLATIONS = 8
BROKEN = 0xFFFE
REPLACED = 0xFFFF


@dataclass
class Sent:
    at: float
    epoch: int
    elicits: bool
    parts: list
    frames: list
    lost: bool = False


@dataclass
class Payload:
    """A payload that is being filled; frames are measured by encoding them."""

    capacity: int
    data: bytes = b""
    frames: list = field(default_factory=list)
    parts: list = field(default_factory=list)
    context: Context = field(default_factory=Context)

    def room(self):
        return self.capacity - len(self.data)

    def add(self, frame, part=None):
        context = Context()
        context.lane, context.last = self.context.lane, self.context.last
        data = fr.encode_frame(frame, context)
        if len(data) > self.room():
            return False
        self.data += data
        self.context = context
        self.frames.append(frame)
        if part is not None:
            self.parts.append(part)
        return True


class Session:
    def __init__(self, keys, initiator, limits, now, route=b"", cid=b"", window=None):
        self.route, self.ids = route, Ids(cid, now)
        self.keys, self.initiator, self.limits = keys, initiator, limits
        out, in_ = (I2R, R2I) if initiator else (R2I, I2R)
        self.sender = Sender(keys, out, route + cid)
        self.receiver = Receiver(keys, in_)
        self.live = False
        self.ended = None  # (code, reason, "here" or "peer")
        self.events = []
        self.control = []  # frames that wait, each to be sent once
        self.datagrams = []  # sealed and ready to leave
        self.sent = {}
        self.received = Received()
        self.outgoing = Outgoing(limits.max_message)
        self.incoming = Incoming(limits.max_message, limits.max_fragments, window or 2 * (limits.max_message + 64))
        self.window_sent = limits.max_message + 64
        self.violations = 0
        self.blind = []
        self.blind_next = None
        self.rtt = Rtt()
        self.largest_acked = -1
        self.heard_at = self.pinged_at = now
        self.epoch_acked_at = None
        self.want_step = False
        self.ratchet_packets = None
        self.epoch_began = 0
        self.step_pinged_at = 0.0
        self.failed_opens = 0
        self.skips = []  # SKIP frames that were not answered
        self.challenged = False

    # Going live and ending

    def go_live(self, now):
        self.live = True
        self.heard_at = now
        # Blind acknowledgements: one number among the first 16 after going live stays unused.
        self.blind_next = self.sender.next_number + random.randrange(16)
        self.grant()

    def end(self, code, reason, who):
        if self.ended is None:
            self.ended = (code, reason, who)
            self.events.append(("closed", code, reason, who))

    def close(self, code, now, reason=b""):
        """CLOSE leaves three times with distinct numbers; then the sending keys are gone."""
        if self.ended is not None:
            return
        for _ in range(3):
            payload = Payload(self.capacity())
            payload.add(fr.Close(code, reason))
            self.seal(payload, now)
        self.sender = None
        self.end(code, reason, "here")

    # Sending

    def capacity(self):
        return min(self.limits.max_datagram, 1200) - OVERHEAD - len(self.sender.prefix)

    def send_set(self, messages):
        self.outgoing.add([Out(*m) for m in messages])

    def send(self, guarantee, lane, data, life=None):
        self.send_set([(guarantee, lane, data, life)])

    def ping(self):
        self.control.append(fr.Ping())

    def grant(self):
        """WINDOW when the limit has grown by a quarter of the window, and at the beginning."""
        limit = self.incoming.limit()
        if limit - self.window_sent >= self.incoming.window // 4:
            self.window_sent = limit
            self.control = [f for f in self.control if not isinstance(f, fr.Window)] + [fr.Window(0, limit)]

    def take_number(self):
        number = self.sender.take_number()
        if number == self.blind_next:
            self.blind = (self.blind + [number])[-16:]
            self.blind_next = number + random.randint(1024, 4096)
            number = self.sender.take_number()
        return number

    def seal(self, payload, now):
        if self.ids.must_change(now):
            self.change_id(now)
        self.ids.last_sent = now
        number = self.take_number()
        self.datagrams.append(self.sender.seal(number, payload.data))
        elicits = any(f.elicits for f in payload.frames)
        acks = [f for f in payload.frames if isinstance(f, Ack)]
        if acks:
            self.received.carried(number, acks[0])
        self.sent[number] = Sent(now, self.sender.epoch.number, elicits, payload.parts, payload.frames)
        return number

    def send_frames(self, frames, now):
        """A packet with just these frames (CONFIRM; and what the checks want to send)."""
        payload = Payload(self.capacity())
        for f in frames:
            assert payload.add(f)
        return self.seal(payload, now)

    def send_raw(self, data, now):
        """Any bytes as a payload, for checks of what a receiver refuses."""
        number = self.take_number()
        self.datagrams.append(self.sender.seal(number, data))
        return number

    def change_id(self, now):
        self.ids.change(now)
        self.sender.prefix = self.route + self.ids.cid

    def in_flight(self):
        return sum(1 for s in self.sent.values() if s.elicits and not s.lost)

    def poll(self, now):
        """Runs timers and builds what may leave; returns the datagrams."""
        if self.live and self.ended is None:
            self.timers(now)
        if self.live and self.ended is None:
            while self.build(now):
                pass
        out, self.datagrams = self.datagrams, []
        return out

    def build(self, now):
        payload = Payload(self.capacity())
        ack_due = self.received.due is not None and now >= self.received.due
        messages = Payload(self.capacity() - (400 if self.received.waiting else 0))
        if self.in_flight() < FLIGHT_PACKETS:
            self.outgoing.fill(messages)
        if not (ack_due or self.control or messages.frames):
            return False
        ack = self.received.take(now)
        if ack is not None:
            # 64 ranges take less than 400 bytes unless the gaps are wide; then the oldest go.
            while len(ack.encode()) > 380:
                ack.ranges.pop()
            payload.add(ack)
            if self.received.wants_word(now):
                self.control.append(fr.Ping())
        for frame, part in zip(messages.frames, messages.parts):
            assert payload.add(frame, part)
        while self.control and payload.add(self.control[0]):
            self.control.pop(0)
        self.seal(payload, now)
        return True

    def timers(self, now):
        silent = now - self.heard_at
        if silent > self.limits.idle_timeout / 1000:
            self.end(None, b"idle", "here")
            return
        if silent > min(self.limits.idle_timeout / 3000, 15) and now - self.pinged_at > 5:
            self.pinged_at = now
            self.ping()
        for number, s in list(self.sent.items()):
            if not s.lost and s.elicits and now - s.at >= RESEND:
                self.lose(s)
            elif (s.lost or not s.elicits) and now - s.at > 10:
                del self.sent[number]
        self.try_step(now)

    def lose(self, s):
        s.lost = True
        for part in s.parts:
            part.lost(self.outgoing)
        for f in s.frames:
            if isinstance(f, fr.Window):
                self.control.append(fr.Window(0, self.window_sent))  # with its value of now
            elif isinstance(f, fr.Skip) and f in self.skips:
                self.control.append(f)
        # A probe: if nothing of this epoch arrived, the peer may not have followed the step.
        if s.epoch == self.sender.epoch.number and self.epoch_acked_at is None and not self.control:
            self.ping()

    # Ratchet

    def ratchet(self):
        """Ask for a step; it happens as soon as the rule of "Packets", ratchet, allows it."""
        self.want_step = True

    def try_step(self, now):
        if self.ratchet_packets and self.sender.next_number - self.epoch_began >= self.ratchet_packets:
            self.want_step = True
        if not self.want_step:
            return
        if self.epoch_acked_at is None:
            if now - self.step_pinged_at > RESEND:
                self.step_pinged_at = now
                self.ping()
        elif now - self.epoch_acked_at >= max(3 * self.rtt.pto(), 1.25):
            self.want_step = False
            self.sender.step()
            self.epoch_began = self.sender.next_number
            self.epoch_acked_at = None
            self.ping()

    # Receiving

    def open(self, datagram, now):
        """None if the tag fails; True once the packet was dealt with."""
        opened = self.receiver.open(datagram, now, self.rtt.keep_previous())
        if opened is None:
            return None
        if self.ended is not None:
            return True
        if opened.fault == "epoch":
            self.violation(now)
        if opened.fault is not None:
            return True
        if not self.live:
            self.go_live(now)
        self.heard_at = now
        self.payload(opened, now)
        return True

    def violation(self, now):
        self.violations += 1
        if self.violations >= VIOLATIONS:
            self.close(BROKEN, now)

    def payload(self, opened, now):
        try:
            frames = fr.decode_payload(opened.payload)
        except Malformed:
            self.violation(now)
            return
        self.challenged = False
        fresh = False
        elicits = any(f.elicits for f in frames)
        for f in frames:
            try:
                fresh |= self.frame(f, now)
            except Violation:
                # The frames before this one stand; it and those after it are ignored.
                self.violation(now)
                if isinstance(f, fr.NewCid):
                    self.received.add(opened.number, now, elicits)
                return
            if self.ended is not None:
                return
        twice = any(isinstance(f, Message) for f in frames) and not fresh
        if twice:
            self.received.message_came_twice(now)
        at_once = any(isinstance(f, fr.Confirm) for f in frames)
        self.received.add(opened.number, now, elicits, at_once)
        self.grant()

    def frame(self, f, now):
        if isinstance(f, Message):
            fresh = self.incoming.accept(f, now)
            self.take_yielded()
            return fresh
        if isinstance(f, fr.Parity):
            self.incoming.parity(f, now)
            self.take_yielded()
        elif isinstance(f, Ack):
            self.on_ack(f, now)
        elif isinstance(f, fr.Close):
            self.sender = None
            self.end(f.code, f.reason, "peer")
        elif isinstance(f, fr.Window) and f.scope == 0:
            self.outgoing.heard_window(f.limit)
        elif isinstance(f, fr.Skip):
            have = self.incoming.skip(f.lane, f.index, f.charge, now)
            self.take_yielded()
            self.control.append((fr.Have if have else fr.Skipped)(f.lane, f.index))
        elif isinstance(f, (fr.Skipped, fr.Have)):
            self.events.append(("skip answered", f))
            self.skip_answered(f)
        elif isinstance(f, fr.PathChallenge) and not self.challenged:
            self.challenged = True  # the first of a packet only
            self.control.append(fr.PathResponse(f.data))
        elif isinstance(f, fr.PathResponse):
            self.events.append(("path response", f.data))
        elif isinstance(f, fr.NewCid):
            self.ids.given(f)
        elif isinstance(f, fr.Redirect) and self.initiator:
            self.events.append(("redirect", f.ticket))
        return False

    def take_yielded(self):
        self.events += [("message", y) for y in self.incoming.out]
        self.incoming.out.clear()

    def on_ack(self, ack, now):
        largest = ack.ranges[0][1]
        named_blind = any(low <= b <= high for b in self.blind for low, high in ack.ranges)
        if largest >= self.sender.next_number or named_blind:
            # An impossible ACK ends the session at the first.
            self.close(BROKEN, now)
            return
        for number in [n for n in self.sent if any(low <= n <= high for low, high in ack.ranges)]:
            s = self.sent.pop(number)
            if number == largest and s.elicits and not s.lost:
                self.rtt.sample(now - s.at, ack.delay * DELAY_UNIT)
            self.received.acknowledged(number)
            if s.epoch == self.sender.epoch.number and self.epoch_acked_at is None:
                self.epoch_acked_at = now
            for part in s.parts:
                part.acknowledged(self.outgoing)
        self.largest_acked = max(self.largest_acked, largest)

    # Skipping

    def skip(self, lane, index):
        """Gives up a Delivery that was packed."""
        m = self.outgoing.lanes[lane].unacked[index]
        m.skip = "asked"
        self.skips.append(fr.Skip(lane, index, len(m.data) + 64))
        self.control.append(self.skips[-1])

    def skip_answered(self, f):
        self.skips = [s for s in self.skips if (s.lane, s.index) != (f.lane, f.index)]
        lane = self.outgoing.lanes.get(f.lane)
        if lane and f.index in lane.unacked and lane.unacked[f.index].skip == "asked":
            lane.unacked[f.index].skip = "over"
            self.outgoing.delivered(lane.unacked[f.index])

"""The sender's side of messages: numbers ("Numbering"), parts, credit ("Flow control"), resending."""

from collections import deque

from messages import DELIVERY, Message, NONE

CUT_HEADER = 64  # more than any head of a fragment
SMALLEST_PART = 128


class Out:
    """A message on its way. `acked` are the ranges acknowledged in some packet that carried them."""

    def __init__(self, guarantee, lane, data, life=None):
        self.guarantee, self.lane, self.data, self.life = guarantee, lane, data, life
        self.set = self.base = self.index = self.id = None
        self.begun = False
        self.packed = 0  # bytes that left for the first time
        self.cut = False
        self.acked = []
        self.done = False
        self.skip = None  # None, "asked" or "over"

    def frame(self, start, end):
        cut = {"offset": start, "total": len(self.data)} if self.cut else {}
        return Message(self.guarantee, self.lane, self.data[start:end], self.set, self.base, self.index,
                       self.id, self.life, **cut)

    def ack(self, start, end):
        self.acked.append((start, end))
        at = 0
        for a, b in sorted(self.acked):
            if a <= at:
                at = max(at, b)
        self.done = at >= len(self.data)


class Part:
    """A range of a message in one packet; sent again, it is the same range under a new number."""

    def __init__(self, message, start, end):
        self.message, self.start, self.end = message, start, end

    def acknowledged(self, outgoing):
        m = self.message
        if m.skip is None:
            m.ack(self.start, self.end)
            if m.done and m.guarantee == DELIVERY:
                outgoing.delivered(m)

    def lost(self, outgoing):
        # Only Delivery is repeated; mending of None and Order is left out.
        if self.message.guarantee == DELIVERY and not self.message.done and self.message.skip is None:
            outgoing.again.append(self)


class Lane:
    def __init__(self):
        self.groups = deque()  # sets whose members have not all been packed
        self.next_set = self.next_index = self.next_id = 0
        self.set_open = None  # numbers of the set that is being packed
        self.unacked = {}  # index -> Out
        self.charges = {}  # index -> charge, from the lowest unacknowledged on

    def span(self):
        return sum(self.charges.values())


class Outgoing:
    def __init__(self, max_message):
        self.first_grant = max_message + 64
        self.max_message = max_message
        self.granted = self.first_grant
        self.used = 0
        self.window = self.first_grant  # the peer's, as far as it showed
        self.lanes = {}
        self.again = deque()

    def add(self, messages):
        """A set: messages of one lane that have no order among themselves."""
        assert len({m.lane for m in messages}) == 1
        assert all(len(m.data) <= self.max_message for m in messages)
        self.lanes.setdefault(messages[0].lane, Lane()).groups.append(deque(messages))

    def idle(self):
        return not self.again and all(not x.groups and not x.unacked for x in self.lanes.values())

    def heard_window(self, limit):
        """The window is never less than a limit less what was used when it was heard of."""
        if limit > self.granted:
            self.granted = limit
        self.window = max(self.window, limit - self.used)

    def delivered(self, m):
        lane = self.lanes[m.lane]
        lane.unacked.pop(m.index, None)
        lowest = min(lane.unacked, default=lane.next_index)
        lane.charges = {i: c for i, c in lane.charges.items() if i >= lowest}

    def may_begin(self, lane, m):
        if m.guarantee != DELIVERY:
            return True
        charge = len(m.data) + 64
        if self.used + charge > self.granted:
            return False
        lowest = min(lane.unacked, default=lane.next_index)
        if lane.next_index - lowest >= 512:
            return False
        return lane.span() + charge <= max(self.first_grant, self.window // 2)

    def begin(self, lane, m):
        """Numbers are given when a message is first packed."""
        m.begun = True
        if m.guarantee == NONE:
            return
        if lane.set_open is None:
            lane.set_open = (lane.next_set, lane.next_index)
            lane.next_set += 1
        m.set, m.base = lane.set_open
        if m.guarantee == DELIVERY:
            m.index = lane.next_index
            lane.next_index += 1
            lane.unacked[m.index] = m
            lane.charges[m.index] = len(m.data) + 64
            self.used += len(m.data) + 64

    def fill(self, payload):
        """Places parts into a payload: what was lost first, then lanes in turn."""
        for _ in range(len(self.again)):
            part = self.again.popleft()
            if part.message.done or part.message.skip is not None:
                continue
            if not payload.add(part.message.frame(part.start, part.end), part):
                self.again.appendleft(part)
                return
        for number in list(self.lanes):
            lane = self.lanes.pop(number)
            self.lanes[number] = lane  # turns
            while lane.groups and self.place(lane, payload):
                pass

    def place(self, lane, payload):
        """The next part of a lane's first message. False when it must wait."""
        group = lane.groups[0]
        m = group[0]
        if not m.begun:
            if not self.may_begin(lane, m):
                return False
            size = len(m.data)
            if size + CUT_HEADER > payload.room() and (payload.frames or size + CUT_HEADER <= payload.capacity):
                # Begun only where it fits whole, or where the first part has a datagram to itself.
                return False
            m.cut = size + CUT_HEADER > payload.capacity
            self.begin(lane, m)
            if m.cut and m.guarantee != DELIVERY:
                m.id = lane.next_id
                lane.next_id += 1
        end = len(m.data)
        if m.cut:
            room = payload.room() - CUT_HEADER
            if room < min(SMALLEST_PART, end - m.packed):
                return False
            end = min(end, m.packed + room)
        if not payload.add(m.frame(m.packed, end), Part(m, m.packed, end)):
            raise AssertionError("a part that was measured does not fit")
        m.packed = end
        if end == len(m.data):
            group.popleft()
            if not group:
                lane.groups.popleft()
                lane.set_open = None
        return True

"""ACK frames ("ACK") and what a receiver remembers of packets ("Acknowledgements")."""

from dataclasses import dataclass

from integers import Malformed, varint

MAX_RANGES = 64
MAX_DELAY = 2**24 - 1
DELAY_UNIT = 8e-6
ACK_DELAY = 0.025


@dataclass
class Ack:
    """`ranges` are (low, high), the highest range first; `delay` is in units of 8 microseconds."""

    ranges: list
    delay: int = 0

    elicits = False

    def encode(self):
        first = self.ranges[0]
        out = b"\x02" + varint(first[1]) + varint(self.delay) + varint(len(self.ranges) - 1)
        out += varint(first[1] - first[0])
        for (below, _), (low, high) in zip(self.ranges, self.ranges[1:]):
            out += varint(below - high - 2) + varint(high - low)
        return out


def decode_ack(r):
    """The frame behind its type byte."""
    high = r.varint()
    delay = r.varint(MAX_DELAY)
    more = r.varint(MAX_RANGES - 1)
    low = high - r.varint()
    ranges = [(low, high)]
    for _ in range(more):
        high = low - r.varint() - 2
        low = high - r.varint()
        ranges.append((low, high))
    if low < 0:
        raise Malformed("ACK below 0")
    return Ack(ranges, delay)


class Received:
    """Which packets came, and when the next ACK has to leave."""

    def __init__(self):
        self.ranges = []  # ascending [low, high]
        self.largest_at = 0.0
        self.waiting = 0  # packets that call for an acknowledgement
        self.due = None
        self.named = {}  # number of a packet of ours -> the largest its ACK named
        self.hasty_until = 0.0
        self.asked_at = 0.0

    def add(self, number, now, elicits, at_once=False):
        in_order = not self.ranges or number == self.ranges[-1][1] + 1
        if not self.ranges or number > self.ranges[-1][1]:
            self.largest_at = now
        self.insert(number)
        if not in_order:
            # For 3 s after a gap one packet is enough.
            self.hasty_until = max(self.hasty_until, now + 3)
        if not elicits:
            return
        self.waiting += 1
        hasty = at_once or self.waiting >= 2 or now < self.hasty_until
        self.due = now if hasty else min(self.due or now + ACK_DELAY, now + ACK_DELAY)

    def insert(self, number):
        ranges = self.ranges
        at = len(ranges)
        while at and ranges[at - 1][0] > number:
            at -= 1
        ranges.insert(at, [number, number])
        if at + 1 < len(ranges) and ranges[at + 1][0] == number + 1:
            ranges[at][1] = ranges.pop(at + 1)[1]
        if at and ranges[at - 1][1] == number - 1:
            ranges[at - 1][1] = ranges.pop(at)[1]
        if len(ranges) > MAX_RANGES:
            ranges.pop(0)

    def message_came_twice(self, now):
        self.hasty_until = max(self.hasty_until, now + 1)

    def take(self, now):
        """The ACK for a packet that leaves now, or None when nothing waits."""
        if not self.waiting or not self.ranges:
            return None
        self.waiting, self.due = 0, None
        delay = min(MAX_DELAY, int((now - self.largest_at) / DELAY_UNIT))
        return Ack([tuple(r) for r in reversed(self.ranges)], delay)

    def wants_word(self, now):
        """With 4 or more ranges a PING goes along, so that the ACK is acknowledged."""
        if len(self.ranges) >= 4 and now - self.asked_at > 0.1:
            self.asked_at = now
            return True
        return False

    def carried(self, packet_number, ack):
        self.named[packet_number] = ack.ranges[0][1]

    def acknowledged(self, packet_number):
        """Our packet with an ACK arrived: ranges at or below what it named go, never the newest."""
        largest = self.named.pop(packet_number, None)
        if largest is not None:
            self.ranges = [r for r in self.ranges[:-1] if r[1] > largest] + self.ranges[-1:]

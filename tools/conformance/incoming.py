"""The receiver's rules for messages ("Delivery"): fragments, order, skips, expiry, what it holds."""

from dataclasses import dataclass, field

from messages import DELIVERY, NONE, ORDER
from parity import restore

INCOMPLETE_LIFE = 2.0
IDS_REMEMBERED = 1023
INDEX_AHEAD = 65_535
SKIP_RUNS = 64
SKIPPED_REMEMBERED = 127


class Violation(Exception):
    """A bound that its sender knows ("Violations")."""


@dataclass
class Yielded:
    guarantee: int
    lane: int
    data: bytes


@dataclass
class Held:
    """A complete message that waits for its turn."""

    guarantee: int
    set: int
    base: int
    index: int
    data: bytes
    arrival: int
    ends: float


@dataclass
class Partial:
    """A message of which ranges came. The first bytes seen stand."""

    total: int
    numbers: tuple
    since: float
    ends: float
    data: bytearray = None
    ranges: list = field(default_factory=list)  # sorted, separate (start, end)
    parities: list = field(default_factory=list)

    def add(self, start, piece, max_ranges):
        gaps, at, end = [], start, start + len(piece)
        for a, b in self.ranges:
            if b <= at or a >= end:
                continue
            if a > at:
                gaps.append((at, a))
            at = max(at, b)
        if at < end:
            gaps.append((at, end))
        for a, b in gaps:
            self.data[a:b] = piece[a - start:b - start]
        merged = []
        for a, b in sorted(self.ranges + gaps):
            if merged and merged[-1][1] >= a:
                merged[-1] = (merged[-1][0], max(merged[-1][1], b))
            else:
                merged.append((a, b))
        if len(merged) > max_ranges:
            raise Violation("too many ranges")
        self.ranges = merged
        return bool(gaps)

    def complete(self):
        return self.ranges == [(0, self.total)]


class Lane:
    def __init__(self, number):
        self.number = number
        self.next_index = 0  # the lowest unsettled one
        self.above = {}  # settled indexes above it -> were they skipped
        self.skipped = []  # the newest skips, to answer a SKIP again
        self.held = []
        self.partial = {}
        self.over = set()
        self.highest_over = -1
        self.last_set = -1

    def settled(self, index):
        return index < self.next_index or index in self.above

    def settle(self, index, skipped):
        self.above[index] = skipped
        while self.next_index in self.above:
            del self.above[self.next_index]
            self.next_index += 1

    def skip_runs(self):
        skipped = {i for i, s in self.above.items() if s}
        return sum(1 for i in skipped if i - 1 not in skipped)

    def end_id(self, id_):
        if id_ is not None:
            self.over.add(id_)
            self.highest_over = max(self.highest_over, id_)
            self.over = {i for i in self.over if i >= self.highest_over - IDS_REMEMBERED}

    def id_is_over(self, id_):
        return id_ is not None and (id_ in self.over or id_ < self.highest_over - IDS_REMEMBERED)


class Incoming:
    """All lanes of a session. `out` collects what is yielded; consumption is at once ("Flow control")."""

    def __init__(self, max_message, max_fragments, window):
        self.max_message, self.max_fragments, self.window = max_message, max_fragments, window
        self.lanes = {}
        self.out = []
        self.consumed = 0
        self.arrivals = 0

    def lane(self, number):
        return self.lanes.setdefault(number, Lane(number))

    def limit(self):
        return self.consumed + self.window

    def holding(self, lane):
        """Charges (length or total + 64) of Delivery messages that are held or incomplete."""
        return (sum(len(h.data) + 64 for h in lane.held if h.guarantee == DELIVERY)
                + sum(p.total + 64 for key, p in lane.partial.items() if key[0] == "index"))

    def accept(self, m, now):
        """One message frame. False when it brought only what had come before."""
        if m.size() > self.max_message:
            raise Violation("message too long")
        lane = self.lane(m.lane)
        self.drop_incomplete(lane, now)
        if m.guarantee == DELIVERY:
            if m.index > lane.next_index + INDEX_AHEAD:
                raise Violation("index too far ahead")
            if lane.settled(m.index) or any(h.index == m.index for h in lane.held if h.guarantee == DELIVERY):
                return False
        elif lane.id_is_over(m.id):
            return False
        ends = now + m.life / 1000 if m.life is not None else float("inf")
        if m.offset is not None or self.key(m) in lane.partial:
            return self.fragment(lane, m, ends, now)
        self.check_window(m, m.size())
        self.complete(lane, m, m.data, ends, now)
        return True

    @staticmethod
    def key(m):
        return ("index", m.index) if m.guarantee == DELIVERY else ("id", m.id)

    def check_window(self, m, size):
        if m.guarantee != DELIVERY:
            return
        held = size + 64 + sum(self.holding(lane) for lane in self.lanes.values())
        if held > self.window:
            raise Violation("window")
        if self.holding(self.lane(m.lane)) + size + 64 > max(self.max_message + 64, self.window // 2):
            raise Violation("lane window")

    def partial(self, lane, m, ends, now):
        """What came of the message before; the first fragment or parity fixes total and numbers."""
        key, numbers = self.key(m), (m.guarantee, m.set, m.base, m.index)
        partial = lane.partial.get(key)
        if partial is not None and (m.offset is None or (partial.total, partial.numbers) != (m.total, numbers)):
            raise Violation("fragment that differs from the first")
        if partial is None:
            self.check_window(m, m.total)
            partial = lane.partial[key] = Partial(m.total, numbers, now, ends, bytearray(m.total))
        partial.ends = min(partial.ends, ends)
        return partial

    def fragment(self, lane, m, ends, now):
        partial = self.partial(lane, m, ends, now)
        most = min(m.total // 128 + 2, self.max_fragments)
        fresh = partial.add(m.offset, m.data, most)
        restore(partial)
        self.maybe_complete(lane, m, partial, now)
        return fresh

    def maybe_complete(self, lane, m, partial, now):
        if partial.complete():
            del lane.partial[self.key(m)]
            # Its whole life counts here: only a message that came whole is never late on arrival.
            self.complete(lane, m, bytes(partial.data), partial.ends, now)

    def parity(self, f, now):
        """A PARITY frame; what could not be of use is dropped."""
        m = f.message
        lane = self.lane(m.lane)
        self.drop_incomplete(lane, now)
        if m.total > self.max_message:
            raise Violation("message too long")
        if lane.id_is_over(m.id) or (m.guarantee == ORDER and m.set < lane.last_set):
            return
        partial = self.partial(lane, m, now + m.life / 1000 if m.life is not None else float("inf"), now)
        if any((p.step, len(p.message.data)) != (f.step, len(m.data)) for p in partial.parities):
            return
        if all(p.message.offset != m.offset for p in partial.parities):
            partial.parities.append(f)
        restore(partial)
        self.maybe_complete(lane, m, partial, now)

    def complete(self, lane, m, data, ends, now):
        lane.end_id(m.id)
        self.arrivals += 1
        if m.guarantee == NONE:
            if m.offset is None or now <= ends:
                self.out.append(Yielded(NONE, lane.number, data))
            return
        held = Held(m.guarantee, m.set, m.base, m.index, data, self.arrivals, ends)
        whole_in_turn = m.offset is None and m.base <= lane.next_index
        lane.held.append(held)
        self.yield_ready(lane, now, exempt=held if whole_in_turn else None)

    def yield_ready(self, lane, now, exempt=None):
        """Lower set first, then arrival; every index below the base must be settled."""
        while True:
            lane.held = [h for h in lane.held if not (h.guarantee == ORDER and h.set < lane.last_set)]
            ready = [h for h in lane.held if h.base <= lane.next_index]
            if not ready:
                return
            h = min(ready, key=lambda x: (x.set, x.arrival))
            lane.held.remove(h)
            if h is exempt or now <= h.ends:
                self.out.append(Yielded(h.guarantee, lane.number, h.data))
                lane.last_set = max(lane.last_set, h.set)
            if h.guarantee == DELIVERY:
                lane.settle(h.index, False)
                self.consumed += len(h.data) + 64

    def skip(self, lane_number, index, charge, now):
        """True for HAVE, False for SKIPPED."""
        lane = self.lane(lane_number)
        if index > lane.next_index + INDEX_AHEAD:
            raise Violation("index too far ahead")
        if lane.settled(index):
            return index not in lane.skipped
        if any(h.index == index for h in lane.held if h.guarantee == DELIVERY):
            return True
        lane.partial.pop(("index", index), None)
        lane.settle(index, True)
        if lane.skip_runs() > SKIP_RUNS:
            raise Violation("runs of skips")
        lane.skipped = (lane.skipped + [index])[-SKIPPED_REMEMBERED:]
        self.consumed += min(charge, self.max_message + 64)
        self.yield_ready(lane, now)
        return False

    def drop_incomplete(self, lane, now):
        for key, p in list(lane.partial.items()):
            if key[0] == "id" and now - p.since > INCOMPLETE_LIFE:
                del lane.partial[key]
                lane.end_id(key[1])

"""Connection ids as a client sees them ("Connection ids"): given by the server, used in their order."""

import random

from incoming import Violation

ALIVE = 4
REST = 30.0


class Ids:
    """`cid` is the id of the answer, with the sequence number 0; empty where the session has none."""

    def __init__(self, cid, now):
        self.sequence, self.cid = 0, cid
        self.known = {0: cid}  # every number that was ever named, to see contradictions
        self.spares = {}
        self.retire_below = 0
        self.begin(now)

    def begin(self, now):
        self.until = now + random.uniform(60, 120)
        self.last_sent = now

    def given(self, frame):
        """NEW_CID. A contradiction or a fifth id alive is a violation, yet its packet is acknowledged."""
        if not self.cid:
            return
        if frame.sequence < max(self.sequence, self.retire_below):
            return
        for number, cid in self.known.items():
            if (number == frame.sequence) != (cid == frame.cid):
                raise Violation("ids that contradict each other")
        self.retire_below = max(self.retire_below, frame.retire_below)
        if frame.sequence not in self.known:
            self.known[frame.sequence] = frame.cid
            self.spares[frame.sequence] = frame.cid
        if len(self.spares) + 1 > ALIVE:
            raise Violation("a fifth id")

    def must_change(self, now):
        if not self.cid or not self.spares:
            return False
        return self.sequence < self.retire_below or now >= self.until or now - self.last_sent >= REST

    def change(self, now):
        """The next id, in the order of the numbers, each only once."""
        self.sequence = min(self.spares)
        self.cid = self.spares.pop(self.sequence)
        self.spares = {n: c for n, c in self.spares.items() if n >= self.retire_below}
        self.begin(now)

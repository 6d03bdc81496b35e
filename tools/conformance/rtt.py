"""Round-trip time and the PTO that other rules are measured in ("Loss", "Timers")."""

MAX_PTO = 2.0
INITIAL = 0.1


class Rtt:
    def __init__(self):
        self.least = None
        self.smoothed, self.variance = INITIAL, INITIAL / 2

    def sample(self, rtt, delay):
        if self.least is None:
            self.smoothed = rtt - delay if rtt - delay >= 0.001 else min(rtt, 0.001)
            self.least, self.variance = self.smoothed, self.smoothed / 2
            return
        self.least = min(self.least, rtt)
        adjusted = max(rtt - delay, self.least)
        self.variance = (3 * self.variance + abs(self.smoothed - adjusted)) / 4
        self.smoothed = (7 * self.smoothed + adjusted) / 8

    def pto(self):
        return min(self.smoothed + max(4 * self.variance, 0.001) + 0.025, MAX_PTO)

    def keep_previous(self):
        """How long the previous epoch's keys live on ("Packets", ratchet)."""
        return min(max(3 * self.pto(), 1.0), 3.0)

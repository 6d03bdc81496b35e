"""Sealed packets ("Packets"): the masked word, the AEAD, epochs and the replay window."""

from integers import complete
from primitives import CryptoError, TAG, chacha20_prefix, open_, seal

OVERHEAD = 20
WINDOW = 1024


def seal_packet(epoch, hp, number, payload, prefix=b""):
    """word ⊕ mask, ciphertext, tag; without `prefix` (route and cid), which is only in the AAD."""
    word = ((epoch.number & 3) << 30 | number & (2**30 - 1)).to_bytes(4, "big")
    sealed = seal(epoch.key, epoch.nonce(number), prefix + word, payload)
    mask = chacha20_prefix(hp, sealed[-TAG:], 4)
    return bytes(a ^ b for a, b in zip(word, mask)) + sealed


def unmask(hp, packet):
    """(epoch bits, number bits, word) of a packet without its prefix."""
    mask = chacha20_prefix(hp, packet[-TAG:], 4)
    word = bytes(a ^ b for a, b in zip(packet[:4], mask))
    value = int.from_bytes(word, "big")
    return value >> 30, value & (2**30 - 1), word


class Replay:
    """The highest number opened and the 1,023 below it."""

    def __init__(self):
        self.highest = -1
        self.seen = set()

    def accept(self, number):
        if number in self.seen or number <= self.highest - WINDOW:
            return False
        self.seen.add(number)
        if number > self.highest:
            self.highest = number
            self.seen = {n for n in self.seen if n > number - WINDOW}
        return True


class Sender:
    """The sending direction: one key, numbers that never repeat, steps of the epoch."""

    def __init__(self, keys, direction, prefix=b""):
        self.epoch = keys.first[direction]
        self.hp = keys.hp[direction]
        self.prefix = prefix
        self.next_number = 0

    def take_number(self):
        number = self.next_number
        self.next_number += 1
        return number

    def seal(self, number, payload):
        return self.prefix + seal_packet(self.epoch, self.hp, number, payload, self.prefix)

    def step(self):
        self.epoch = self.epoch.next()


class Opened:
    """A packet that opened. `fault`: None, "old" (dropped in silence) or "epoch" (a violation)."""

    def __init__(self, number, payload, fault=None, stepped=False):
        self.number, self.payload, self.fault, self.stepped = number, payload, fault, stepped


class Receiver:
    """The receiving direction: previous, current and next epoch. `prefix` is only in the AAD."""

    def __init__(self, keys, direction, prefix=b""):
        self.prefix = prefix
        self.current = keys.first[direction]
        self.following = self.current.next()
        self.previous = None
        self.previous_until = 0.0
        self.stepped_at = None
        self.hp = keys.hp[direction]
        self.replay = Replay()
        self.expected = 0

    def choose(self, bits):
        for epoch in (self.current, self.following, self.previous):
            if epoch is not None and epoch.number & 3 == bits:
                return epoch
        return None

    def open(self, packet, now, keep_previous=1.0):
        """None when the tag fails; else what opened, after steps 3 to 5 of "Receiving"."""
        if len(packet) < OVERHEAD + 1:
            return None
        if self.previous is not None and now >= self.previous_until:
            self.previous = None
        bits, low, word = unmask(self.hp, packet)
        number = complete(low, 30, self.expected)
        if number is None:
            return None
        # Where no epoch fits, the current one is tried and fails, whatever the tag says.
        fits = self.choose(bits)
        epoch = fits or self.current
        try:
            payload = open_(epoch.key, epoch.nonce(number), self.prefix + word, packet[4:])
        except CryptoError:
            return None
        if fits is None:
            return None
        self.expected = max(self.expected, number + 1)
        if not self.replay.accept(number):
            return Opened(number, payload, "old")
        if not self.in_order(epoch, number, now):
            return Opened(number, payload, "epoch")
        stepped = epoch is self.following
        if stepped:
            self.previous, self.current = self.current, self.following
            self.following = self.current.next()
            self.previous_until = now + keep_previous
            self.stepped_at = now
        epoch.note(number)
        return Opened(number, payload, None, stepped)

    def in_order(self, epoch, number, now):
        """The epoch rule: numbers of a later epoch are above all of an earlier one."""
        current, previous = self.current, self.previous
        if epoch is previous:
            return current.low is None or number < current.low
        if epoch is self.following:
            if self.stepped_at is not None and now - self.stepped_at < 1.0:
                return False
            return current.high is None or number > current.high
        return previous is None or previous.high is None or number > previous.high

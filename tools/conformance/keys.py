"""Key schedule of a session ("Keys")."""

from primitives import hmac

I2R, R2I = 0, 1


class Epoch:
    """key_e and iv_e of one direction, and ts_e, from which the next epoch is made."""

    def __init__(self, number, secret):
        self.number = number
        self.secret = secret
        self.key = hmac(secret, b"key\x01")
        self.iv = hmac(secret, b"iv\x01")[:12]
        # Lowest and highest number authenticated under this epoch ("Packets", receiving 5).
        self.low = self.high = None

    def next(self):
        """`mix` is empty in this version."""
        return Epoch(self.number + 1, hmac(self.secret, b"next" + b"" + b"\x01"))

    def nonce(self, number):
        pad = bytes(4) + number.to_bytes(8, "big")
        return bytes(a ^ b for a, b in zip(self.iv, pad))

    def note(self, number):
        self.low = number if self.low is None else min(self.low, number)
        self.high = number if self.high is None else max(self.high, number)


class SessionKeys:
    """Everything that Split() and the handshake hash give."""

    def __init__(self, split, h):
        self.id = h
        self.exporter = hmac(split[0], b"exporter" + split[1] + h + b"\x01")
        self.first = [Epoch(0, hmac(k, b"sealgram/1 traffic" + h + b"\x01")) for k in split]
        self.hp = [hmac(e.secret, b"hp\x01") for e in self.first]

    def app_key(self, context):
        return hmac(self.exporter, b"app" + context + b"\x01")

"""Numbers on the wire ("Numbers"): varint, zigzag, truncated packet numbers."""

MAX = 2**62 - 1


class Malformed(Exception):
    """Bytes that are no encoding, or not the only one ("Frames")."""


def varint(value):
    if not 0 <= value <= MAX:
        raise Malformed("varint range")
    out = bytearray()
    while value > 0x7F:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    out.append(value)
    return bytes(out)


def zigzag(d):
    return 2 * d if d >= 0 else -2 * d - 1


def unzigzag(z):
    return z // 2 if z % 2 == 0 else -(z + 1) // 2


def complete(bits, b, expected):
    """The full number with the low `b` bits `bits`; None when it would pass 2^62 - 1."""
    low = max(0, expected + 1 - 2 ** (b - 1))
    number = low + (bits - low) % 2**b
    return number if number <= MAX else None


class Reader:
    """Reads the integers of a payload and refuses what runs over its end."""

    def __init__(self, data, at=0):
        self.data = data
        self.at = at

    def left(self):
        return len(self.data) - self.at

    def take(self, n):
        if n > self.left():
            raise Malformed("short")
        out = self.data[self.at:self.at + n]
        self.at += n
        return out

    def u8(self):
        return self.take(1)[0]

    def u16(self):
        return int.from_bytes(self.take(2), "little")

    def u32(self):
        return int.from_bytes(self.take(4), "little")

    def u64(self):
        return int.from_bytes(self.take(8), "little")

    def varint(self, limit=MAX):
        value = 0
        for i in range(9):
            byte = self.u8()
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                # The shortest form is the only one.
                if byte == 0 and i:
                    raise Malformed("varint not shortest")
                if value > limit:
                    raise Malformed("varint limit")
                return value
        raise Malformed("varint length")

"""Parities ("Parity"): what one missing piece is made from. Used by incoming.py."""


def pieces_under(m, step):
    """(start, end) of the pieces under a parity whose message frame is `m`."""
    size = len(m.data)
    pieces = -(-m.total // size)
    return [(i * size, min((i + 1) * size, m.total)) for i in range(m.offset // size, pieces, step)]


def missing(partial, start, end):
    """The ranges of start..end that have not come."""
    out, at = [], start
    for a, b in partial.ranges:
        if b <= at or a >= end:
            continue
        if a > at:
            out.append((at, a))
        at = max(at, b)
    return out + ([(at, end)] if at < end else [])


def restore(partial):
    """Fills what a kept parity can fill; True if anything came of it."""
    for parity in list(partial.parities):
        under = pieces_under(parity.message, parity.step)
        short = [p for p in under if missing(partial, *p)]
        if len(short) > 1:
            continue
        partial.parities.remove(parity)
        if not short:
            continue
        value = bytearray(parity.message.data)
        for start, end in under:
            if (start, end) != short[0]:
                for i, byte in enumerate(partial.data[start:end]):
                    value[i] ^= byte
        start, end = short[0]
        partial.add(start, bytes(value[:end - start]), 1 << 30)
        restore(partial)
        return True
    return False

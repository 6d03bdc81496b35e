"""Message frames ("Messages") and implied numbers ("Implied numbers")."""

from dataclasses import dataclass

from integers import MAX, Malformed, unzigzag, varint, zigzag

NONE, ORDER, DELIVERY = 0, 1, 2
GUARANTEES = {"none": NONE, "order": ORDER, "delivery": DELIVERY}
NAMES = {v: k for k, v in GUARANTEES.items()}
MAX_TOTAL = 2**24
EXPLICIT, NEXT_SET, SAME_SET = 0, 1, 2  # NN; the text calls them 00, 01 and 10


@dataclass
class Message:
    """A message frame, or the message frame inside PARITY. `offset` is None for a whole message."""

    guarantee: int
    lane: int
    data: bytes
    set: int = None
    base: int = None
    index: int = None
    id: int = None
    life: int = None
    offset: int = None
    total: int = None

    elicits = True

    def size(self):
        """The length of the whole message."""
        return len(self.data) if self.offset is None else self.total


class Context:
    """What sender and receiver keep through one payload: the lane, and the last numbers."""

    def __init__(self):
        self.lane = 0
        self.last = None  # (lane, set, base, next)

    def implied(self, form, lane, guarantee):
        """(set, base, index) of an implied form, or None when it is not allowed here."""
        if self.last is None or self.last[0] != lane:
            return None
        _, set_, base, next_ = self.last
        if form == NEXT_SET:
            set_, base = set_ + 1, next_
        index = next_ if guarantee == DELIVERY else None
        if max(set_, base, index or 0) > MAX:
            return None
        return set_, base, index

    def after(self, m):
        self.lane = m.lane
        if m.guarantee == DELIVERY:
            self.last = (m.lane, m.set, m.base, m.index + 1)
        elif m.guarantee == ORDER:
            if self.last is None or self.last[:3] != (m.lane, m.set, m.base):
                self.last = (m.lane, m.set, m.base, m.base)

    def form(self, m):
        """The implied form that fits; at most one does, because their sets differ."""
        for form in (SAME_SET, NEXT_SET):
            if self.implied(form, m.lane, m.guarantee) == (m.set, m.base, m.index):
                return form
        return EXPLICIT


def encode_message(m, context):
    numbers = b""
    form = EXPLICIT
    if m.guarantee != NONE:
        form = context.form(m)
        if form == EXPLICIT and m.guarantee == ORDER:
            numbers = varint(m.set) + varint(m.base)
        elif form == EXPLICIT:
            numbers = varint(m.index) + varint(m.index - m.base) + varint(zigzag(m.set - m.index))
    with_lane = m.lane != context.lane
    extras = (m.id is not None) | (m.life is not None) << 1
    cut = m.offset is not None
    kind = 0x80 | m.guarantee << 5 | cut << 4 | form << 2 | with_lane << 1 | bool(extras)
    out = bytes([kind]) + bytes([m.lane] if with_lane else []) + bytes([extras] if extras else []) + numbers
    if m.id is not None:
        out += varint(m.id)
    if m.life is not None:
        out += varint(m.life)
    if cut:
        out += varint(m.offset) + varint(m.total)
    context.after(m)
    return out + varint(len(m.data)) + m.data


def decode_message(r, context, kind):
    """The frame behind its type byte `kind`, in its one canonical form or not at all."""
    guarantee, cut, form = kind >> 5 & 3, kind >> 4 & 1, kind >> 2 & 3
    if guarantee == 3 or form == 3 or (guarantee == NONE and form):
        raise Malformed("message type")
    lane = context.lane
    if kind & 2:
        lane = r.u8()
        if lane == context.lane:
            raise Malformed("lane of the frame before")
    extras = 0
    if kind & 1:
        extras = r.u8()
        if not 1 <= extras <= 3:
            raise Malformed("extras")
    m = Message(guarantee, lane, b"")
    decode_numbers(r, context, m, form)
    if extras & 1:
        if guarantee == DELIVERY:
            raise Malformed("id of a Delivery")
        m.id = r.varint()
    elif cut and guarantee != DELIVERY:
        raise Malformed("fragment without id")
    if extras & 2:
        m.life = r.varint(2**32 - 1)
    if cut:
        m.offset, m.total = r.varint(), r.varint(MAX_TOTAL)
    m.data = r.take(r.varint())
    if cut:
        check_range(m)
    context.after(m)
    return m


def decode_numbers(r, context, m, form):
    if m.guarantee == NONE:
        return
    if form:
        found = context.implied(form, m.lane, m.guarantee)
        if found is None:
            raise Malformed("implied numbers without a last frame")
        m.set, m.base, m.index = found
        return
    if m.guarantee == ORDER:
        m.set, m.base = r.varint(), r.varint()
    else:
        m.index = r.varint()
        m.base = m.index - r.varint()
        m.set = m.index + unzigzag(r.varint())
        if m.base < 0 or not 0 <= m.set <= MAX:
            raise Malformed("numbers range")
    if context.form(m) != EXPLICIT:
        raise Malformed("explicit where implied fits")


def check_range(m):
    end = m.offset + len(m.data)
    if len(m.data) < 1 or end > m.total or len(m.data) == m.total:
        raise Malformed("fragment range")
    if end < m.total and len(m.data) < 128:
        raise Malformed("fragment too small")

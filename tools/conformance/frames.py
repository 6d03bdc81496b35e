"""The payload of a packet ("Frames"): one canonical encoding, refused otherwise."""

from dataclasses import dataclass

from ack import Ack, decode_ack
from integers import Malformed, Reader, varint
from messages import Context, DELIVERY, Message, decode_message, encode_message


@dataclass
class Frame:
    """Base of the small frames; `elicits` is the fourth column of the table."""

    elicits = True


@dataclass
class Padding(Frame):
    n: int
    elicits = False


@dataclass
class Ping(Frame):
    pass


@dataclass
class Close(Frame):
    code: int
    reason: bytes = b""
    elicits = False


@dataclass
class Confirm(Frame):
    cid: bytes = b""
    ticket: bytes = b""


@dataclass
class Window(Frame):
    scope: int
    limit: int


@dataclass
class Skip(Frame):
    lane: int
    index: int
    charge: int


@dataclass
class Skipped(Frame):
    lane: int
    index: int


@dataclass
class Have(Frame):
    lane: int
    index: int


@dataclass
class PathChallenge(Frame):
    data: bytes


@dataclass
class PathResponse(Frame):
    data: bytes


@dataclass
class NewCid(Frame):
    sequence: int
    retire_below: int
    cid: bytes


@dataclass
class Redirect(Frame):
    ticket: bytes


@dataclass
class Parity(Frame):
    step: int
    message: Message


PROBING = (PathChallenge, PathResponse, NewCid, Padding)


def encode_frame(f, context):
    if isinstance(f, Message):
        return encode_message(f, context)
    if isinstance(f, Ack):
        return f.encode()
    if isinstance(f, Padding):
        return bytes(f.n)
    if isinstance(f, Ping):
        return b"\x01"
    if isinstance(f, Close):
        return b"\x03" + f.code.to_bytes(2, "little") + bytes([len(f.reason)]) + f.reason
    if isinstance(f, Confirm):
        return b"\x04" + bytes([len(f.cid)]) + f.cid + varint(len(f.ticket)) + f.ticket
    if isinstance(f, Window):
        return b"\x05" + varint(f.scope) + varint(f.limit)
    if isinstance(f, Skip):
        return b"\x06" + bytes([f.lane]) + varint(f.index) + varint(f.charge)
    if isinstance(f, (Skipped, Have)):
        return (b"\x07" if isinstance(f, Skipped) else b"\x08") + bytes([f.lane]) + varint(f.index)
    if isinstance(f, (PathChallenge, PathResponse)):
        return (b"\x09" if isinstance(f, PathChallenge) else b"\x0a") + f.data
    if isinstance(f, NewCid):
        return b"\x0b" + varint(f.sequence) + varint(f.retire_below) + f.cid
    if isinstance(f, Redirect):
        return b"\x0c" + varint(len(f.ticket)) + f.ticket
    if isinstance(f, Parity):
        return b"\x0d" + varint(f.step) + encode_message(f.message, context)
    raise TypeError(f)


def encode_payload(frames):
    context = Context()
    return b"".join(encode_frame(f, context) for f in frames)


def decode_payload(data):
    """All frames, or Malformed for the payload as a whole."""
    r, context, frames = Reader(data), Context(), []
    while r.left():
        frames.append(decode_frame(r, context))
    if all(isinstance(f, Padding) for f in frames):
        raise Malformed("nothing but PADDING")
    if sum(isinstance(f, Ack) for f in frames) > 1:
        raise Malformed("two ACK frames")
    return frames


def decode_frame(r, context):
    kind = r.u8()
    if 0x80 <= kind <= 0xDF:
        return decode_message(r, context, kind)
    if kind == 0x00:
        rest = r.take(r.left())
        if any(rest):
            raise Malformed("PADDING")
        return Padding(1 + len(rest))
    if kind == 0x0D:
        return decode_parity(r, context)
    if kind not in READERS:
        raise Malformed(f"frame type {kind:#x}")
    return READERS[kind](r)


def read_close(r):
    code, n = r.u16(), r.u8()
    if n > 64:
        raise Malformed("reason")
    return Close(code, r.take(n))


def read_confirm(r):
    n = r.u8()
    if n not in (0, 8):
        raise Malformed("cid_len")
    cid = r.take(n)
    return Confirm(cid, r.take(r.varint(1024)))


def read_new_cid(r):
    sequence = r.varint()
    return NewCid(sequence, r.varint(sequence), r.take(8))


def read_redirect(r):
    n = r.varint(1024)
    if n == 0:
        raise Malformed("empty ticket")
    return Redirect(r.take(n))


def decode_parity(r, context):
    step = r.varint(2**32 - 1)
    kind = r.u8()
    if not 0x80 <= kind <= 0xDF or not kind & 0x10:
        raise Malformed("PARITY without a fragment")
    m = decode_message(r, context, kind)
    size = len(m.data)
    if step == 0 or m.guarantee == DELIVERY or m.offset % size:
        raise Malformed("PARITY")
    pieces = -(-m.total // size)
    first = m.offset // size
    under = len(range(first, pieces, step)) if first < step else 0
    if first >= min(step, pieces) or not 2 <= under <= 64:
        raise Malformed("PARITY pieces")
    return Parity(step, m)


READERS = {
    0x01: lambda r: Ping(),
    0x02: decode_ack,
    0x03: read_close,
    0x04: read_confirm,
    0x05: lambda r: Window(r.varint(256), r.varint()),
    0x06: lambda r: Skip(r.u8(), r.varint(), r.varint()),
    0x07: lambda r: Skipped(r.u8(), r.varint()),
    0x08: lambda r: Have(r.u8(), r.varint()),
    0x09: lambda r: PathChallenge(r.take(8)),
    0x0A: lambda r: PathResponse(r.take(8)),
    0x0B: read_new_cid,
    0x0C: read_redirect,
}

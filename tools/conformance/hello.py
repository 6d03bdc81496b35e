"""Payloads of the Noise messages ("Hello")."""

import struct
from dataclasses import dataclass, replace

from integers import Malformed

FORM = "<HBBHHIHI6s"


@dataclass(frozen=True)
class Hello:
    max_datagram: int = 1200
    idle_timeout: int = 30_000
    max_fragments: int = 0xFFFF
    max_message: int = 1 << 20
    flags: int = 0
    min_version: int = 1
    max_version: int = 1

    def encode(self):
        return struct.pack(FORM, 1, self.min_version, self.max_version, self.flags, self.max_datagram,
                           self.idle_timeout, self.max_fragments, self.max_message, bytes(6))


def decode_hello(data, handshake_bytes=1200):
    """Anything out of range makes its message one that failed to read; so does a byte too many."""
    if len(data) != 24:
        raise Malformed("Hello length")
    params, low, high, flags, datagram, idle, fragments, message, reserved = struct.unpack(FORM, data)
    decode_versions(bytes([low, high]))
    if params != 1 or datagram < handshake_bytes or not 1_000 <= idle <= 600_000:
        raise Malformed("Hello range")
    if fragments < 1 or not 1 <= message <= 2**24 or any(reserved):
        raise Malformed("Hello range")
    return Hello(datagram, idle, fragments, message, flags, low, high)


def decode_versions(data):
    """Message 1 of XX and XXpsk3: 1 <= min <= 1 <= max, which is min = 1 and max >= 1."""
    if len(data) != 2 or data[0] != 1 or data[1] < 1:
        raise Malformed("versions")
    return data[0], data[1]


def decode_answer(data, handshake_bytes=1200):
    """`Hello`, cid_len (0 or 8), cid; nothing follows."""
    if len(data) not in (25, 33) or data[24] != len(data) - 25:
        raise Malformed("answer length")
    return decode_hello(data[:24], handshake_bytes), data[25:]


def agree(a, b):
    """The limits of the session: the smaller of each, and the flags that both set."""
    return replace(a, max_datagram=min(a.max_datagram, b.max_datagram), flags=a.flags & b.flags,
                   idle_timeout=min(a.idle_timeout, b.idle_timeout),
                   max_fragments=min(a.max_fragments, b.max_fragments),
                   max_message=min(a.max_message, b.max_message))

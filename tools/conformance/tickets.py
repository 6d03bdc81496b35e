"""Tickets and their text ("Tickets"): as far as the vectors need, with every rule of form."""

import re
from dataclasses import dataclass, field

from integers import Malformed, Reader, varint
from primitives import CryptoError, blake2s, check_static, xopen, xseal

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PROFILE_BYTES = (0x01, 0x11, 0x03, 0x04, 0x05, 0x15)  # not Invite, InviteTofu
AD = b"sealgram/1 ticket"


@dataclass
class Grant:
    id: bytes
    issued: int
    player: bytes = b""
    user_data: bytes = b""

    def encode(self):
        return (self.id + self.issued.to_bytes(8, "little") + bytes([len(self.player)])
                + self.player + self.user_data)


@dataclass
class Public:
    sealed: int
    profile: int
    expires: int
    app_id: bytes
    route: bytes
    keys: list
    addresses: list = field(default_factory=list)  # (kind, host bytes, port)
    data: bytes = b""

    def encode(self):
        out = bytes([1, self.sealed, self.profile]) + self.expires.to_bytes(8, "little")
        out += bytes([len(self.app_id)]) + self.app_id + bytes([len(self.route)]) + self.route
        out += bytes([len(self.keys)]) + b"".join(self.keys) + bytes([len(self.addresses)])
        for kind, host, port in self.addresses:
            out += bytes([kind]) + (bytes([len(host)]) if kind == 1 else b"") + host + port.to_bytes(2, "little")
        return out + varint(len(self.data)) + self.data


def check_name(name):
    text = name.decode("ascii", "replace")
    labels = text.split(".")
    if not all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", x) for x in labels):
        raise Malformed("name")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        raise Malformed("name that looks like an address")


def read_address(r):
    kind = r.u8()
    if kind == 4:
        host = r.take(4)
    elif kind == 6:
        host = r.take(16)
        if host[:12] == bytes(10) + b"\xff\xff":
            raise Malformed("IPv4-mapped")
    elif kind == 1:
        host = r.take(r.u8())
        check_name(host)
    else:
        raise Malformed("address kind")
    port = r.u16()
    if port == 0:
        raise Malformed("port")
    return kind, host, port


def open_ticket(ticket, key=None):
    """(Public, Grant or None). Raises for bytes that are no ticket."""
    if len(ticket) > 1024:
        raise Malformed("ticket too long")
    r = Reader(ticket)
    if r.u8() != 1:
        raise Malformed("format")
    sealed, profile, expires = r.u8(), r.u8(), r.u64()
    if sealed > 1 or profile not in PROFILE_BYTES or (sealed and not expires):
        raise Malformed("ticket head")
    app_id = r.take(r.u8())
    route = r.take(r.u8())
    keys = [check_static(r.take(32)) for _ in range(r.u8())]
    addresses = [read_address(r) for _ in range(r.u8())]
    data = r.take(r.varint())
    if len(app_id) > 32 or len(route) > 20 or not 1 <= len(keys) <= 4 or len(addresses) > 8:
        raise Malformed("ticket lengths")
    if len(set(keys)) < len(keys) or len(set(addresses)) < len(addresses):
        raise Malformed("named twice")
    public = Public(sealed, profile, expires, app_id, route, keys, addresses, data)
    if not sealed:
        if r.left():
            raise Malformed("rest")
        return public, None
    if key is None:
        raise CryptoError("no ticket key")
    head = ticket[:r.at]
    nonce = r.take(24)
    return public, read_grant(Reader(xopen(key, nonce, AD + head, r.take(r.left()))))


def read_grant(r):
    id_, issued, n = r.take(16), r.u64(), r.u8()
    if n not in (0, 32):
        raise Malformed("player key")
    return Grant(id_, issued, r.take(n), r.take(r.left()))


def make_ticket(public, grant=None, key=None, nonce=None):
    head = public.encode()
    if grant is None:
        return head
    return head + nonce + xseal(key, nonce, AD + head, grant.encode())


def to_text(ticket):
    data = ticket + blake2s(b"sealgram/1 ticket text" + ticket)[:4]
    bits = "".join(f"{b:08b}" for b in data)
    bits += "0" * (-len(bits) % 5)
    return "sg1" + "".join(ALPHABET[int(bits[i:i + 5], 2)] for i in range(0, len(bits), 5))


def from_text(text):
    text = "".join(text.split()).lower().replace("o", "0").replace("i", "1").replace("l", "1")
    if not text.startswith("sg1"):
        raise Malformed("ticket text")
    bits = "".join(f"{ALPHABET.index(c):05b}" for c in text[3:])
    n = len(bits) // 8
    if "1" in bits[8 * n:] or len(bits) - 8 * n >= 5 or n < 4:
        raise Malformed("ticket text end")
    data = bytes(int(bits[8 * i:8 * i + 8], 2) for i in range(n))
    if blake2s(b"sealgram/1 ticket text" + data[:-4])[:4] != data[-4:]:
        raise Malformed("ticket checksum")
    return data[:-4]

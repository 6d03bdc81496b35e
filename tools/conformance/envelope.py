"""The envelope of handshake messages ("Envelope")."""

from dataclasses import dataclass

from integers import Malformed, Reader
from primitives import CryptoError, TAG, blake2s, random_bytes, xopen, xseal
from profiles import WIRE_VERSION

INIT, RESP, FIN, COOKIE = 1, 2, 3, 4
DIRECTION = {INIT: 0, FIN: 0, RESP: 1, COOKIE: 1}
SIZE_COOKIE, SIZE_FIN = 128, 256
OVERHEAD = 24 + TAG


@dataclass
class Body:
    kind: int
    cookie: bytes
    reference: bytes
    noise: bytes


def reference_of(noise_message):
    return blake2s(noise_message)[:16]


def encode_body(body, size):
    """The body padded so that the whole envelope has `size` bytes."""
    head = bytes([body.kind, WIRE_VERSION]) + body.cookie + body.reference
    text = head + len(body.noise).to_bytes(2, "little") + body.noise
    return text + bytes(size - OVERHEAD - len(text))


def seal_envelope(key, kind, size, noise=b"", reference=bytes(16), cookie=bytes(16), ad=b"", nonce=None):
    nonce = nonce or random_bytes(24)
    return nonce + xseal(key, nonce, ad, encode_body(Body(kind, cookie, reference, noise), size))


def open_envelope(key, direction, data, ad=b""):
    """The body, or None for whatever must be dropped: a wrong tag, kind, version, zero field, length or padding."""
    if len(data) < OVERHEAD + 36:
        return None
    try:
        r = Reader(xopen(key, data[:24], ad, data[24:]))
        kind, version, cookie, reference = r.u8(), r.u8(), r.take(16), r.take(16)
        noise = r.take(r.u16())
    except (CryptoError, Malformed):
        return None
    if DIRECTION.get(kind) != direction or version != WIRE_VERSION or any(r.take(r.left())):
        return None
    if kind not in (INIT, COOKIE) and any(cookie):
        return None
    if (kind == INIT and any(reference)) or (kind == COOKIE) != (len(noise) == 0):
        return None
    return Body(kind, cookie, reference, noise)

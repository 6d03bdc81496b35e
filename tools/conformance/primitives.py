"""Cryptographic primitives ("References" at the top of PROTOCOL.md).

Everything the protocol builds on: BLAKE2s-256, HMAC over it, X25519 with the contributory
check, ChaCha20-Poly1305, XChaCha20-Poly1305 and the single ChaCha20 block that masks a packet's word.
"""

import hashlib
import hmac as _hmac
import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

TAG = 16
P25519 = 2**255 - 19


class CryptoError(Exception):
    """A tag, a key or a DH result that must be refused."""


def blake2s(data, key=b"", size=32):
    """BLAKE2s, unkeyed and 32 bytes unless told (cookies use it keyed with 16)."""
    return hashlib.blake2s(data, key=key, digest_size=size).digest()


def hmac(key, data):
    """HMAC-BLAKE2s-256: the block is 64 bytes, which hashlib reports as `block_size`."""
    assert hashlib.blake2s().block_size == 64
    return _hmac.new(key, data, hashlib.blake2s).digest()


def equal(a, b):
    """Comparison in constant time."""
    return _hmac.compare_digest(a, b)


def random_bytes(n):
    return os.urandom(n)


def public_key(secret):
    """The X25519 public key of 32 secret bytes."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def dh(secret, public):
    """X25519. An all-zero result fails ("Profiles", static keys); the package raises for it too."""
    try:
        out = X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as e:
        raise CryptoError("DH is not contributory") from e
    if out == bytes(32):
        raise CryptoError("DH is not contributory")
    return out


def check_static(public):
    """The form of a peer's static key ("Profiles", static keys): canonical and not zero."""
    value = int.from_bytes(public, "little")
    if len(public) != 32 or value == 0 or value >= P25519:
        raise CryptoError("static key out of form")
    return public


def seal(key, nonce, ad, text):
    """ChaCha20-Poly1305, ciphertext followed by the tag."""
    return ChaCha20Poly1305(key).encrypt(nonce, text, ad)


def open_(key, nonce, ad, sealed):
    if len(sealed) < TAG:
        raise CryptoError("too short")
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed, ad)
    except InvalidTag as e:
        raise CryptoError("tag") from e


def chacha20_prefix(key, sample, n):
    """First `n` bytes of the block with counter LE32(sample[0..4]) and nonce sample[4..16].

    The package takes counter and nonce as one string of 16 bytes, which is exactly the sample.
    """
    return Cipher(ChaCha20(key, sample), mode=None).encryptor().update(bytes(n))


def _rotl(x, n):
    return ((x << n) | (x >> (32 - n))) & 0xFFFFFFFF


def _quarter(s, a, b, c, d):
    s[a] = (s[a] + s[b]) & 0xFFFFFFFF
    s[d] = _rotl(s[d] ^ s[a], 16)
    s[c] = (s[c] + s[d]) & 0xFFFFFFFF
    s[b] = _rotl(s[b] ^ s[c], 12)
    s[a] = (s[a] + s[b]) & 0xFFFFFFFF
    s[d] = _rotl(s[d] ^ s[a], 8)
    s[c] = (s[c] + s[d]) & 0xFFFFFFFF
    s[b] = _rotl(s[b] ^ s[c], 7)


def hchacha20(key, nonce16):
    """HChaCha20 of draft-irtf-cfrg-xchacha: the key of the inner ChaCha20-Poly1305."""
    s = list(struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", key) + struct.unpack("<4I", nonce16))
    for _ in range(10):
        for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                           (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            _quarter(s, a, b, c, d)
    return struct.pack("<8I", *(s[0:4] + s[12:16]))


def xseal(key, nonce24, ad, text):
    """XChaCha20-Poly1305."""
    return seal(hchacha20(key, nonce24[:16]), bytes(4) + nonce24[16:], ad, text)


def xopen(key, nonce24, ad, sealed):
    return open_(hchacha20(key, nonce24[:16]), bytes(4) + nonce24[16:], ad, sealed)

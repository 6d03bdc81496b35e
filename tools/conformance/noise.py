"""The Noise Protocol Framework, revision 34, for the patterns of "Profiles".

One suite only: 25519, ChaChaPoly, BLAKE2s. Nothing here knows of envelopes or of what payloads mean.
"""

import copy
import struct

from primitives import CryptoError, blake2s, check_static, dh, hmac, open_, public_key, random_bytes, seal

# pre-messages of the initiator and of the responder, then the tokens of each message
PATTERNS = {
    "KK": (("s",), ("s",), (("e", "es", "ss"), ("e", "ee", "se"))),
    "NK": ((), ("s",), (("e", "es"), ("e", "ee"))),
    "NN": ((), (), (("e",), ("e", "ee"))),
    "IK": ((), ("s",), (("e", "es", "s", "ss"), ("e", "ee", "se"))),
    "XX": ((), (), (("e",), ("e", "ee", "s", "es"), ("s", "se"))),
}


def pattern_tokens(name):
    """(initiator's pre, responder's pre, messages) of a name such as `XXpsk3`."""
    base, _, psk = name.partition("psk")
    pre_i, pre_r, messages = PATTERNS[base]
    messages = [list(m) for m in messages]
    if psk == "0":
        messages[0].insert(0, "psk")
    elif psk:
        messages[int(psk) - 1].append("psk")
    return pre_i, pre_r, messages


class Handshake:
    """A HandshakeState. `write` and `read` return (bytes, new state is kept) transactionally:
    a read that fails leaves everything as it was ("Noise messages")."""

    def __init__(self, pattern, initiator, prologue, s=None, rs=None, psk=None, e=None):
        self.initiator = initiator
        self.s, self.rs, self.psk = s, rs, psk
        self.e, self.re = e, None
        pre_i, pre_r, self.messages = pattern_tokens(pattern)
        self.uses_psk = "psk" in pattern
        name = f"Noise_{pattern}_25519_ChaChaPoly_BLAKE2s".encode()
        self.h = name + bytes(32 - len(name)) if len(name) <= 32 else blake2s(name)
        self.ck = self.h
        self.k, self.n = None, 0
        self.mix_hash(prologue)
        for own, keys in ((initiator, pre_i), (not initiator, pre_r)):
            for _ in keys:
                self.mix_hash(public_key(s) if own else rs)

    # SymmetricState

    def mix_hash(self, data):
        self.h = blake2s(self.h + data)

    def hkdf(self, material, outputs):
        temp = hmac(self.ck, material)
        out, last = [], b""
        for i in range(1, outputs + 1):
            last = hmac(temp, last + bytes([i]))
            out.append(last)
        return out

    def mix_key(self, material):
        self.ck, self.k = self.hkdf(material, 2)
        self.n = 0

    def nonce(self):
        nonce = bytes(4) + struct.pack("<Q", self.n)
        self.n += 1
        return nonce

    def encrypt(self, text):
        out = text if self.k is None else seal(self.k, self.nonce(), self.h, text)
        self.mix_hash(out)
        return out

    def decrypt(self, data):
        text = data if self.k is None else open_(self.k, self.nonce(), self.h, data)
        self.mix_hash(data)
        return text

    # HandshakeState

    def token_dh(self, token):
        """`es`, `se`, `ee`, `ss`: the first letter is the initiator's key."""
        mine, theirs = token if self.initiator else token[::-1]
        return dh(self.e if mine == "e" else self.s, self.re if theirs == "e" else self.rs)

    def mix_public_e(self, e):
        self.mix_hash(e)
        if self.uses_psk:
            # With a psk the ephemeral is mixed into the key too (Noise, 9.2).
            self.mix_key(e)

    def mix_psk(self):
        self.ck, temp, self.k = self.hkdf(self.psk, 3)
        self.mix_hash(temp)
        self.n = 0

    def write(self, payload):
        out = b""
        for token in self.messages.pop(0):
            if token == "e":
                self.e = self.e or random_bytes(32)
                out += public_key(self.e)
                self.mix_public_e(public_key(self.e))
            elif token == "s":
                out += self.encrypt(public_key(self.s))
            elif token == "psk":
                self.mix_psk()
            else:
                self.mix_key(self.token_dh(token))
        return out + self.encrypt(payload)

    def read(self, message):
        """The payload, and the state after it; self is unchanged, so a failure costs nothing."""
        new = copy.copy(self)
        new.messages = list(self.messages)
        at = 0

        def take(n):
            nonlocal at
            if at + n > len(message):
                raise CryptoError("short Noise message")
            at += n
            return message[at - n:at]

        for token in new.messages.pop(0):
            if token == "e":
                new.re = take(32)
                new.mix_public_e(new.re)
            elif token == "s":
                new.rs = check_static(new.decrypt(take(48 if new.k else 32)))
            elif token == "psk":
                new.mix_psk()
            else:
                new.mix_key(new.token_dh(token))
        return new.decrypt(message[at:]), new

    def done(self):
        return not self.messages

    def split(self):
        """(k_i2r, k_r2i)."""
        return tuple(self.hkdf(b"", 2))

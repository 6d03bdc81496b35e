"""The two ends of one handshake ("Handshake"): an attempt, and a half-open entry.

They hold Noise states, cached messages and timers. Which of them may exist, and what follows from
a message, is decided in endpoint.py.
"""

import random

from envelope import FIN, INIT, RESP, SIZE_FIN, reference_of, seal_envelope
from frames import Confirm
from hello import agree, decode_answer, decode_hello, decode_versions
from integers import Malformed
from keys import SessionKeys
from noise import Handshake
from primitives import CryptoError, public_key
from session import Session

ATTEMPT_TIMEOUT = 12.0
CONNECT_TIMEOUT = 30.0
UNCONFIRMED = 6.0
HALF_OPEN_LIFE = 5.0
CONFIRM_EVERY = 0.25
READS_PER_SECOND = 16
INIT_AGAIN = (0.25, 0.5, 1.0, 2.0, 4.0)


class Untrusted(Exception):
    """The static key of the peer is not the one that is wanted."""


def is_xx(cred):
    return cred.profile.pattern.startswith("XX")


def noise_state(cred, initiator):
    base = cred.profile.pattern[:2]
    knows_peer = base == "KK" or (base in ("NK", "IK") and initiator)
    return Handshake(cred.profile.pattern, initiator, cred.prologue(), s=cred.own_secret,
                     rs=cred.peer_public if knows_peer else None, psk=cred.noise_psk())


def trust(cred, public, only=None):
    """A configured key of the peer must be the one proven; without one whoever comes is taken (Tofu).
    Our own key is a reflection ("Simultaneous open", rule 1)."""
    if public is None:
        return
    if cred.own_secret and public == public_key(cred.own_secret):
        raise Untrusted("our own key")
    if any(key is not None and key != public for key in (cred.peer_public, only)):
        raise Untrusted("another key")


class Reads:
    """At most 16 reads in a second for one attempt or entry ("Noise messages")."""

    def __init__(self):
        self.at = []

    def allow(self, now):
        self.at = [t for t in self.at if now - t < 1.0]
        if len(self.at) >= READS_PER_SECOND:
            return False
        self.at.append(now)
        return True


class Attempt:
    def __init__(self, cred, hello, now, handshake_bytes):
        self.cred, self.hello, self.began, self.size = cred, hello, now, handshake_bytes
        self.state = noise_state(cred, True)
        self.message1 = self.state.write(b"\x01\x01" if is_xx(cred) else hello.encode())
        self.ephemeral = self.message1[:32]
        responder = cred.responder_public(True)
        self.key_out, self.key_in = cred.envelope_key(0, responder), cred.envelope_key(1, responder)
        self.cookies, self.cookie_at, self.cookie_turn, self.cookies_taken = [], [], 0, 0
        self.inits = 0
        self.next_init = now
        self.extra_at = float("-inf")
        self.reads = Reads()
        self.resp = self.fin = self.session = None
        self.resp_at = None
        self.next_confirm = None

    def init(self):
        """The same Noise bytes in a new envelope; the last cookies in turn, newest first."""
        cookie = bytes(16)
        if self.cookies:
            cookie = self.cookies[-1 - self.cookie_turn % len(self.cookies)]
            self.cookie_turn += 1
        return cookie, seal_envelope(self.key_out, INIT, self.size, self.message1, cookie=cookie,
                                     ad=self.cred.route)

    def send_init(self):
        return self.cred.route + self.init()[1]

    def take_cookie(self, body, now):
        """True when INIT has to leave again at once."""
        self.cookie_at = [t for t in self.cookie_at if now - t < 1.0]
        new = body.cookie not in self.cookies and len(self.cookie_at) < 4
        if self.resp is not None or not new or self.cookies_taken >= 16:
            return False
        self.cookie_at.append(now)
        self.cookies_taken += 1
        self.cookies = (self.cookies + [body.cookie])[-4:]
        self.cookie_turn = 0
        return True

    def read_resp(self, noise, now):
        """True when the RESP was accepted; a failed read leaves everything as it was."""
        try:
            payload, state = self.state.read(noise)
            theirs, cid = decode_answer(payload, self.size)
            trust(self.cred, state.rs)
        except (CryptoError, Malformed, Untrusted):
            return False
        self.prefix = self.cred.route + cid
        if is_xx(self.cred):
            message3 = state.write(self.hello.encode())
            self.fin = (message3, reference_of(noise))
        self.state, self.resp, self.resp_at = state, noise, now
        self.session = Session(SessionKeys(state.split(), state.h), True, agree(self.hello, theirs), now,
                               self.cred.route, cid)
        self.next_confirm = now
        return True

    def last_flight(self, now):
        """[FIN,] CONFIRM: each FIN with its own envelope, each packet with its own number."""
        out = []
        if self.fin is not None:
            noise, reference = self.fin
            out.append(self.prefix + seal_envelope(self.key_out, FIN, SIZE_FIN, noise, reference, ad=self.prefix))
        self.session.send_frames([Confirm()], now)
        return out + self.session.poll(now)

    def poll(self, now):
        if self.session is None:
            if now < self.next_init:
                return []
            wait = INIT_AGAIN[min(self.inits, len(INIT_AGAIN) - 1)]
            self.inits += 1
            self.next_init = now + wait * random.randint(750, 1250) / 1000
            return [self.send_init()]
        if now < self.next_confirm:
            return []
        self.next_confirm = now + CONFIRM_EVERY
        return self.last_flight(now)

    def extra(self, now):
        """INIT or the last flight at once, at most once in 100 ms and beside the timers."""
        if now - self.extra_at < 0.1:
            return []
        self.extra_at = now
        return [self.send_init()] if self.session is None else self.last_flight(now)

    def over(self, now):
        if self.session is None:
            return now - self.began > ATTEMPT_TIMEOUT
        return now - self.resp_at > UNCONFIRMED


class HalfOpen:
    """An INIT that was answered. Raises when message 1 fails to read. `only`: while a session lives,
    its peer's key is the only one that may replace it."""

    def __init__(self, cred, hello, message1, address, now, handshake_bytes, only=None):
        self.cred, self.hello, self.size = cred, hello, handshake_bytes
        self.message1, self.ephemeral, self.address, self.created = message1, message1[:32], address, now
        payload, state = noise_state(cred, False).read(message1)
        self.theirs = None
        if is_xx(cred):
            decode_versions(payload)
        else:
            self.theirs = decode_hello(payload, handshake_bytes)
        trust(cred, state.rs, only)
        self.message2 = state.write(hello.encode() + b"\x00")
        self.reference = reference_of(self.message2)
        self.state, self.session = state, None
        self.reads = Reads()
        if state.done():
            self.make_session(now)

    def make_session(self, now):
        keys = SessionKeys(self.state.split(), self.state.h)
        self.session = Session(keys, False, agree(self.hello, self.theirs), now)

    def resp(self):
        key = self.cred.envelope_key(1, self.cred.responder_public(False))
        return seal_envelope(key, RESP, self.size, self.message2, reference_of(self.message1))

    def read_fin(self, noise, now, only=None):
        try:
            payload, state = self.state.read(noise)
            theirs = decode_hello(payload, self.size)
            trust(self.cred, state.rs, only)
        except (CryptoError, Malformed, Untrusted):
            return False
        self.theirs, self.state = theirs, state
        self.make_session(now)
        return True

    def over(self, now):
        return now - self.created > HALF_OPEN_LIFE

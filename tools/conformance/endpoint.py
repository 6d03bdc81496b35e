"""An endpoint with one peer: dials, answers, replaces ("Handshake", "Packets", receiving)."""

from envelope import COOKIE, FIN, INIT, open_envelope, reference_of
from handshake import CONNECT_TIMEOUT, Attempt, HalfOpen, Untrusted
from hello import Hello
from integers import Malformed
from primitives import CryptoError, equal
from session import BROKEN, REPLACED

HALF_OPEN = 16
EVICT_AGE = 1.0
OWN_EPHEMERALS = 16


class Endpoint:
    """`send(datagram, address)` puts a datagram on the wire."""

    def __init__(self, cred, send, hello=None, handshake_bytes=1200):
        self.cred, self.send, self.size = cred, send, handshake_bytes
        self.hello = hello or Hello()
        self.address = None  # where the session's packets go
        self.attempt = self.session = None
        self.half_open = []
        self.closed = []  # (session, until): what their keys open is dropped in silence
        self.answers = True
        self.dialling_until = None
        self.dial_address = None
        self.ended_ephemerals = []
        self.events = []
        self.session_message1 = self.session_key = None
        self.glare = None  # (since, hashes of INITs read) while we decide
        self.giving_way_until = None
        self.asked_silence = None
        self.dropped = 0
        # The responder's keys exist wherever this end can answer at all.
        self.can_answer = not cred.profile.responder_static or cred.own_secret is not None
        self.key_answer = cred.envelope_key(0, cred.responder_public(False)) if self.can_answer else None

    # The application's side

    def connect(self, address, now):
        self.answers = self.cred.profile.symmetric
        self.dial_address, self.dialling_until = address, now + CONNECT_TIMEOUT
        self.begin_attempt(now)

    def close(self, code, now):
        self.dialling_until = None
        self.answers = False
        if self.session is not None:
            self.session.close(code, now)
            self.flush(now)

    # Attempts

    def begin_attempt(self, now):
        self.end_attempt()
        self.attempt = Attempt(self.cred, self.hello, now, self.size)
        # Rule 2: entries with a larger ephemeral go when an attempt begins.
        self.half_open = [h for h in self.half_open if h.ephemeral <= self.attempt.ephemeral]
        self.glare = None

    def end_attempt(self):
        if self.attempt is not None:
            self.ended_ephemerals = (self.ended_ephemerals + [self.attempt.ephemeral])[-OWN_EPHEMERALS:]
            self.attempt = None

    def expire(self, now):
        self.half_open = [h for h in self.half_open if not h.over(now)]
        self.closed = [(s, until) for s, until in self.closed if now < until]
        if self.attempt is not None and self.attempt.over(now):
            self.end_attempt()

    def poll(self, now):
        self.expire(now)
        waiting = self.giving_way_until is not None and now < self.giving_way_until
        if self.attempt is None and self.session is None and self.dialling_until is not None and not waiting:
            if now < self.dialling_until:
                self.begin_attempt(now)
            else:
                self.dialling_until = None
                self.events.append(("timeout",))
        if self.attempt is not None:
            for datagram in self.attempt.poll(now):
                self.send(datagram, self.dial_address)
        self.flush(now)

    def flush(self, now):
        s = self.session
        if s is None:
            return
        for datagram in s.poll(now):
            self.send(datagram, self.address)
        self.events += s.events
        s.events = []
        if s.ended is not None:
            code, reason, who = s.ended
            self.closed.append((s, now + 3 * s.rtt.pto()))
            self.session = None
            if code == BROKEN or (who == "here" and code is not None):
                self.answers = False
            if code == REPLACED:
                self.events.append(("replaced", reason))

    # Receiving

    def receive(self, data, address, now):
        """Keys in the order of "Packets", receiving 2; then the datagram may be an envelope."""
        if len(data) < 21 or len(data) > self.hello.max_datagram:
            return
        # Due timers run before a datagram is read (rule 5 of "Simultaneous open").
        self.expire(now)
        if self.session is not None and self.session.open(data, now):
            self.half_open = [h for h in self.half_open if self.asked_silence is None]
            self.asked_silence = None
            self.flush(now)
            return
        a = self.attempt
        if a is not None and a.session is not None and a.session.open(data, now):
            self.promote(a.session, self.dial_address, a.message1, a.state.rs, now)
            return
        for h in [h for h in reversed(self.half_open) if h.session is not None][:3]:
            if h.session.open(data, now):
                self.promote(h.session, address, h.message1, h.state.rs, now)
                return
        if any(s.open(data, now) for s, _ in self.closed):
            return
        if self.session is not None:
            self.session.failed_opens += 1
        if len(data) >= self.size or self.attempt is not None or self.half_open:
            self.envelope(data, address, now)
        else:
            self.dropped += 1

    def promote(self, session, address, message1, peer_key, now):
        """Going live erases the own attempt and every half-open entry, and displaces a live session."""
        refused = session.initiator and session.ended is not None and session.ended[2] == "peer" \
            and session.ended[0] != REPLACED
        old = self.session
        if old is not None and not refused:
            old.close(REPLACED, now, reference_of(message1))
            self.flush(now)
            self.answers = True
        self.end_attempt()
        self.half_open = []
        self.giving_way_until = None
        if refused:
            self.dialling_until = None
            self.events.append(("refused", session.ended[0]))
            return
        self.session, self.address = session, address
        self.session_message1, self.session_key = message1, peer_key
        self.dialling_until = None
        self.events.append(("connected", session.initiator))
        self.flush(now)

    def envelope(self, data, address, now):
        body = open_envelope(self.key_answer, 0, data) if self.can_answer and self.answers else None
        if body is not None:
            if body.kind == INIT and len(data) >= self.size:
                self.on_init(body, address, now)
            elif body.kind == FIN:
                self.on_fin(body, now)
            return
        a = self.attempt
        body = open_envelope(a.key_in, 1, data) if a is not None else None
        if body is None or not equal(body.reference, reference_of(a.message1)):
            self.dropped += 1
        elif body.kind == COOKIE:
            if a.take_cookie(body, now):
                self.send(a.send_init(), address)
        elif a.resp is not None:
            # The RESP that was accepted: our last flight again; any other is dropped.
            if body.noise == a.resp:
                self.send_all(a.extra(now), self.dial_address)
        elif a.reads.allow(now) and a.read_resp(body.noise, now):
            self.send_all(a.poll(now), self.dial_address)

    def send_all(self, datagrams, address):
        for datagram in datagrams:
            self.send(datagram, address)

    def on_fin(self, body, now):
        for h in self.half_open:
            if equal(h.reference, body.reference):
                if h.session is None and h.reads.allow(now):
                    h.read_fin(body.noise, now, self.session_key if self.session else None)
                return

    def on_init(self, body, address, now):
        if self.session is not None and body.noise == self.session_message1:
            return
        known = next((h for h in self.half_open if h.message1 == body.noise), None)
        if known is not None:
            # A repetition: the cached RESP, one for each INIT.
            self.send(known.resp(), address)
            return
        ephemeral = body.noise[:32]
        if ephemeral in self.ended_ephemerals or (self.attempt and ephemeral == self.attempt.ephemeral):
            return
        if self.session is not None and self.session_key is None:
            # Nobody can prove to be the same peer: ask the session whether its peer is there.
            if not self.silent(now):
                return
        try:
            entry = HalfOpen(self.cred, self.hello, body.noise, address, now, self.size, self.session_key if self.session else None)
        except (CryptoError, Malformed, Untrusted):
            return
        if self.attempt is not None and ephemeral > self.attempt.ephemeral and not self.give_way(body.noise, now):
            # We decide: no answer, our INIT (or last flight) once more.
            self.send_all(self.attempt.extra(now), self.dial_address)
            return
        if len(self.half_open) >= HALF_OPEN:
            oldest = min(self.half_open, key=lambda h: h.created)
            if now - oldest.created < EVICT_AGE:
                return
            self.half_open.remove(oldest)
        self.half_open.append(entry)
        self.send(entry.resp(), address)

    def silent(self, now):
        """Replacement where no key is proven: after max(3 PTO, 3 s) without a word on a PING."""
        if self.asked_silence is None:
            self.asked_silence = now
            self.last_asked = now
            self.session.ping()
        elif now - self.last_asked >= 1.0:
            self.last_asked = now
            self.session.ping()
        return now - self.asked_silence >= max(3 * self.session.rtt.pto(), 3.0)

    def give_way(self, noise, now):
        """Rule 4: a decider whose own INIT brings no RESP answers after all."""
        if self.attempt.resp is not None:
            return False
        if self.glare is None:
            self.glare = (now, 0)
        since, count = self.glare
        self.glare = (since, count + 1)
        if count + 1 < 2 or now - since < max(3.0, (now - self.attempt.began) / 2):
            return False
        self.end_attempt()
        self.giving_way_until = now + 3.0
        return True

    def idle(self):
        return self.session is None or self.session.outgoing.idle()

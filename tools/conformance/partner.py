"""The other side of the live checks: a process with the `conformance_peer` interface.

    conformance_peer --role connect|accept --profile NAME --bind 127.0.0.1:0 --peer HOST:PORT --app-id HEX
                     [--own-key HEX] [--peer-key HEX] [--psk HEX] [--network-key HEX] [--route HEX]
                     [--server] [--ratchet-packets N]

`--own-key` is a static secret, `--peer-key` a public key, `--psk` the psk or the invite; what a
profile does not need is left out. It prints `listening HOST:PORT`, then one JSON event a line, and
reads one JSON command a line.
"""

import json
import subprocess
import threading
import time

from endpoint import Endpoint
from peer import credentials, option_name, split_address
from primitives import public_key

from messages import DELIVERY
from profiles import PROFILES
from udp import Link, now, turn

SECRETS = [bytes([n]) + bytes(range(31)) for n in (0x31, 0x52)]
PSK = bytes(range(0x80, 0xA0))
APP_ID = b"conform"

class Failed(Exception):
    """A check that did not hold."""


class Unsupported(Exception):
    """The partner has no such option (the Python one is no server)."""


def require(condition, what):
    if not condition:
        raise Failed(what)

def has_static(profile, role):
    base = profile.pattern[:2]
    return base in ("KK", "IK", "XX") or (base == "NK" and role == "accept")

def needs_peer(profile, role):
    base = profile.pattern[:2]
    return base == "KK" or (base in ("NK", "IK") and role == "connect")

class Partner:
    """Starts the process, collects its events in the background."""

    def __init__(self, command, role, profile, peer, more=()):
        args = ["--role", role, "--profile", option_name(profile), "--bind", "127.0.0.1:0",
                "--peer", "%s:%d" % peer, "--app-id", APP_ID.hex(), *more]
        for name, value in (("--own-key", SECRETS[1] if has_static(profile, role) else b""),
                            ("--peer-key", public_key(SECRETS[0]) if needs_peer(profile, role) else b""),
                            ("--psk", PSK if "psk" in profile.pattern else b"")):
            if value:
                args += [name, value.hex()]
        self.process = subprocess.Popen(command + args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = []
        self.ended_at = None
        threading.Thread(target=self.read, daemon=True).start()
        deadline = now() + 30
        while not self.lines:
            if self.process.poll() is not None or now() > deadline:
                raise Failed("the partner did not say where it listens")
            time.sleep(0.005)
        word, _, where = self.lines[0].partition(" ")
        if word != "listening":
            raise Failed(f"the partner began with {self.lines[0]!r:.80}")
        self.address = split_address(where)

    def read(self):
        for line in self.process.stdout:
            if line.strip():
                self.lines.append(line.strip())

    def events(self):
        return [json.loads(x) for x in self.lines[1:]]

    def command(self, **c):
        self.process.stdin.write(json.dumps(c) + "\n")
        self.process.stdin.flush()

    def ended_for(self, seconds):
        """Whether the process ended by itself that long ago: what it printed has been read by then."""
        if self.process.poll() is None:
            return False
        self.ended_at = self.ended_at or now()
        return now() - self.ended_at > seconds

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

class Table:
    """Our endpoint, its socket and a partner; runs the loop until something holds."""

    def __init__(self, command, profile, we_dial, drop=0, app_id=APP_ID, partner_dials=None, more=(),
                 network_key=b"", route=b"", dial=True):
        self.command, self.profile = command, PROFILES[profile]
        self.link = Link(drop_out=drop, drop_in=drop)
        self.link.keep_tap = True
        self.events = []
        self.network_key, self.route = network_key, route
        role = "connect" if (partner_dials if partner_dials is not None else not we_dial) else "accept"
        self.endpoint = self.make_endpoint(self.link, "connect" if we_dial else "accept", app_id)
        try:
            self.partner = Partner(command, role, self.profile, self.link.address, more)
        except Exception:
            self.link.close()
            raise
        if we_dial and dial:
            self.endpoint.connect(self.partner.address, now())

    def make_endpoint(self, link, role, app_id=APP_ID):
        p = self.profile
        return Endpoint(credentials(
            p, SECRETS[0] if has_static(p, role) else b"", public_key(SECRETS[1]) if needs_peer(p, role) else b"",
            PSK if "psk" in p.pattern else b"", app_id, self.network_key, self.route), link.send)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.partner.stop()
        self.link.close()

    @staticmethod
    def now():
        return now()

    @property
    def session(self):
        return self.endpoint.session

    def step(self):
        turn([(self.endpoint, self.link)])
        self.events += self.endpoint.events
        self.endpoint.events = []

    def until(self, condition, what, timeout=20):
        deadline = now() + timeout
        while not condition():
            if self.partner.ended_for(1.0):
                raise Failed(f"{what}: the partner ended with {self.partner.process.returncode}")
            if now() > deadline:
                raise Failed(what)
            self.step()

    def rest(self, seconds):
        """Runs the loop for a while, for things that must not happen."""
        deadline = now() + seconds
        while now() < deadline:
            self.step()

    def theirs(self, kind):
        return [e for e in self.partner.events() if e.get("event") == kind]

    def ours(self, kind):
        return [e for e in self.events if e[0] == kind]

    def connected(self, timeout=30):
        self.until(lambda: self.ours("connected") and self.session is not None, "our side is not live", timeout)
        self.until(lambda: self.theirs("connected"), "the partner is not live", timeout)
        event = self.theirs("connected")[-1]
        if "hash" in event:
            require(event["hash"] == self.session.keys.id.hex(), "the handshake hashes differ")

    def got(self):
        """Messages that reached us: (guarantee, lane, bytes)."""
        return [(e[1].guarantee, e[1].lane, e[1].data) for e in self.ours("message")]

    def their_messages(self):
        return [(m["guarantee"], m["lane"], bytes.fromhex(m["hex"])) for m in self.theirs("message")]


def echo_once(t, data, timeout=10):
    before = len(t.got())
    t.session.send(DELIVERY, 0, data)
    t.until(lambda: len(t.got()) > before, "no echo", timeout)
    require(t.got()[before:] == [(DELIVERY, 0, data)], "another echo")

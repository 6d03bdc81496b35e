"""A peer on the command line with the interface of `conformance_peer`: arguments, commands, events.

Here it is the Python implementation behind that interface, so that the suite can be tried, and
both roles checked against each other over real sockets, without any other implementation.
"""

import argparse
import json
import os
import re
import sys

from endpoint import Endpoint
from messages import GUARANTEES, NAMES
from profiles import Credentials, PROFILES
from udp import Link, now, turn


def option_name(profile):
    """`client-auth` for ClientAuth."""
    return re.sub("(?<!^)([A-Z])", r"-\1", profile.name).lower()


BY_OPTION = {option_name(p): p for p in PROFILES.values()}


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--role", choices=("connect", "accept"), required=True)
    p.add_argument("--profile", choices=BY_OPTION, required=True)
    p.add_argument("--bind", default="127.0.0.1:0")
    p.add_argument("--ratchet-packets", type=int, help="an epoch is over after so many packets")
    for name in ("--peer", "--own-key", "--peer-key", "--psk", "--network-key", "--app-id"):
        p.add_argument(name, default="")
    return p.parse_args()


def split_address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def credentials(profile, own, peer, psk, app_id, network_key=b"", route=b""):
    """`psk` is the invite S where the profile has one."""
    invite = profile.base == "invite"
    return Credentials(profile, app_id, route, own_secret=own or None, peer_public=peer or None,
                       psk=None if invite else psk or None, invite=psk if invite else None,
                       network_key=network_key or None)


def say(value):
    print(json.dumps(value) if isinstance(value, dict) else value, flush=True)


class Peer:
    def __init__(self, args):
        self.link = Link(split_address(args.bind))
        cred = credentials(BY_OPTION[args.profile], *(bytes.fromhex(x) for x in (
            args.own_key, args.peer_key, args.psk, args.app_id, args.network_key)))
        self.endpoint = Endpoint(cred, self.link.send)
        self.ratchet_packets = args.ratchet_packets
        self.echo = False
        self.waiting = []  # commands that wait for the session
        self.running = True
        say("listening %s:%d" % self.link.address)
        if args.role == "connect":
            self.endpoint.connect(split_address(args.peer), now())

    def command(self, c):
        session = self.endpoint.session
        if "echo" in c:
            self.echo = c["echo"]
        elif session is None:
            self.waiting.append(c)
        elif "send" in c:
            m = c["send"]
            data = bytes.fromhex(m["hex"])
            if len(data) > session.limits.max_message:
                say({"event": "refused", "error": "too long"})
            else:
                session.send(GUARANTEES[m["guarantee"]], m["lane"], data)
        elif "close" in c:
            self.endpoint.close(c["close"], now())

    def event(self, e):
        session = self.endpoint.session
        if e[0] == "connected":
            session.ratchet_packets = self.ratchet_packets
            say({"event": "connected", "hash": session.keys.id.hex()})
            waiting, self.waiting = self.waiting, []
            for c in waiting:
                self.command(c)
        elif e[0] == "message":
            m = e[1]
            say({"event": "message", "guarantee": NAMES[m.guarantee], "lane": m.lane, "hex": m.data.hex()})
            if self.echo and session is not None:
                session.send(m.guarantee, m.lane, m.data)
        elif e[0] == "closed":
            say({"event": "closed", "code": e[1]})
        elif e[0] == "refused":
            say({"event": "closed", "code": e[1]})

    def run(self):
        buffered = b""
        stdin = sys.stdin.fileno()
        while self.running:
            if stdin in turn([(self.endpoint, self.link)], also=[stdin]):
                data = os.read(stdin, 1 << 20)
                self.running = bool(data)
                *lines, buffered = (buffered + data).split(b"\n")
                for line in lines:
                    if line.strip():
                        self.command(json.loads(line))
            events, self.endpoint.events = self.endpoint.events, []
            for e in events:
                self.event(e)


if __name__ == "__main__":
    Peer(arguments()).run()

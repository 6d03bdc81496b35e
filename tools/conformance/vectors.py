"""The frozen vectors ("Vectors"): each output is made again from its inputs, then opened.

A value that comes out otherwise is a failure; so is a key of a file that nothing here looked at,
or a new field would pass unseen.
"""

import ipaddress
import json

import tickets
from envelope import FIN, INIT, RESP, open_envelope, reference_of, seal_envelope, SIZE_FIN
from frames import Confirm, decode_payload, encode_payload
from hello import Hello, decode_answer, decode_hello, decode_versions
from keys import SessionKeys
from noise import Handshake
from packet import Receiver, Sender, seal_packet
from primitives import public_key
from profiles import Credentials, PROFILES

ROLES = ("initiator", "responder")
HELLO = Hello().encode()
KINDS = (INIT, RESP, FIN)


class Checker:
    """Counts values that were made again and compared, per file."""

    def __init__(self, name):
        self.name, self.passed, self.failures, self.used = name, 0, [], set()

    def same(self, what, got, expected):
        got = got.hex() if isinstance(got, bytes) else got
        if got == expected:
            self.passed += 1
        else:
            self.failures.append(f"{self.name}: {what}: {got!r:.80} is not {expected!r:.80}")

    def covered(self, what, entry, keys):
        unknown = set(entry) - set(keys)
        if unknown:
            self.failures.append(f"{self.name}: {what}: fields nothing checks: {sorted(unknown)}")


def load(folder, name):
    return json.loads((folder / name).read_text())


def unhex(entry, *names):
    return [bytes.fromhex(entry[n]) for n in names]


INPUTS = ("app_id", "initiator_static_secret", "responder_static_secret", "initiator_ephemeral_secret",
          "responder_ephemeral_secret", "psk", "invite")


class Whole:
    """One handshake of a file: both ends from the inputs, message by message."""

    def __init__(self, checker, file, entry):
        self.c, self.entry = checker, entry
        self.profile = PROFILES[entry["profile"]]
        app_id, s_i, s_r, e_i, e_r, psk, invite = unhex(file, *INPUTS)
        self.route = bytes.fromhex(file.get("route", ""))
        self.cid = bytes.fromhex(file.get("cid", ""))
        common = dict(app_id=app_id, route=self.route, psk=psk, invite=invite)
        self.ends = [Credentials(self.profile, own_secret=s_i, peer_public=public_key(s_r), **common),
                     Credentials(self.profile, own_secret=s_r, peer_public=public_key(s_i), **common)]
        self.states = [self.state(0, e_i), self.state(1, e_r)]

    def state(self, who, e):
        """What an end may know: XX learns both keys, IK and NK the initiator's (if any)."""
        end, base = self.ends[who], self.profile.pattern[:2]
        known = base == "KK" or (base in ("IK", "NK") and who == 0)
        return Handshake(self.profile.pattern, who == 0, end.prologue(), s=end.own_secret,
                         rs=end.peer_public if known else None, psk=end.noise_psk(), e=e)

    def payload(self, i):
        if i == 1:
            return HELLO + bytes([len(self.cid)]) + self.cid
        return b"\x01\x01" if self.profile.pattern.startswith("XX") and i == 0 else HELLO

    def read_payload(self, i, data):
        """The payload decoders accept what was sent, so they are part of opening."""
        if i == 1:
            return decode_answer(data, 512)[1] == self.cid
        return bool(decode_versions(data) if len(data) == 2 else decode_hello(data, 512))

    def run(self):
        c, entry, name = self.c, self.entry, self.entry["profile"]
        c.same(f"{name} byte", self.profile.byte, entry["profile_byte"])
        c.same(f"{name} Noise name", f"Noise_{self.profile.pattern}_25519_ChaChaPoly_BLAKE2s", entry["noise_name"])
        for who in (0, 1):
            end, responder = self.ends[who], self.ends[who].responder_public(who == 0)
            c.same(f"{name} prologue", end.prologue(), entry["prologue"])
            c.same(f"{name} base", end.envelope_base(), entry["envelope_base"])
            c.same(f"{name} key 0", end.envelope_key(0, responder), entry["envelope_key_initiator_to_responder"])
            c.same(f"{name} key 1", end.envelope_key(1, responder), entry["envelope_key_responder_to_initiator"])
        sent = [self.message(i, m) for i, m in enumerate(entry["messages"])]
        c.same(f"{name} messages", len(sent), 2 + self.profile.pattern.startswith("XX"))
        for state in self.states:
            c.same(f"{name} complete", state.done(), True)
            c.same(f"{name} hash", state.h, entry["handshake_hash"])
            for got, key in zip(state.split(), ("initiator_to_responder", "responder_to_initiator")):
                c.same(f"{name} split", got, entry["split_" + key])
        if "confirm" in entry:
            self.confirm()
        c.covered(name, entry, ("confirm", "envelope_base", "envelope_key_initiator_to_responder", "noise_name",
                                "envelope_key_responder_to_initiator", "handshake_hash", "messages", "profile",
                                "profile_byte", "prologue", "split_initiator_to_responder",
                                "split_responder_to_initiator", "ticket"))

    def message(self, i, entry):
        c, who = self.c, i % 2
        label = f"{self.entry['profile']} message {i + 1}"
        c.same(f"{label} from", ROLES[who], entry["from"])
        c.same(f"{label} payload", self.payload(i), entry["payload"])
        noise = self.states[who].write(self.payload(i))
        c.same(f"{label} Noise", noise, entry["noise_message"])
        before = (self.route, b"", self.route + self.cid)[i]
        size = SIZE_FIN if i == 2 else 512
        reference = reference_of(self.previous) if i else bytes(16)
        self.previous = noise
        key = self.ends[who].envelope_key(who, self.ends[who].responder_public(who == 0))
        nonce = bytes.fromhex(entry["envelope_nonce"])
        datagram = before + seal_envelope(key, KINDS[i], size, noise, reference, ad=before, nonce=nonce)
        c.same(f"{label} datagram", datagram, entry["datagram"])
        c.same(f"{label} size", size, entry["envelope_size"])
        reader = 1 - who
        key = self.ends[reader].envelope_key(who, self.ends[reader].responder_public(reader == 0))
        given = bytes.fromhex(entry["datagram"])
        body = open_envelope(key, who, given[len(before):], ad=given[:len(before)])
        c.same(f"{label} opens", body is not None and (body.kind, body.reference) == (KINDS[i], reference), True)
        payload, self.states[reader] = self.states[reader].read(body.noise)
        c.same(f"{label} reads", self.read_payload(i, payload), True)
        c.covered(label, entry, ("datagram", "envelope_nonce", "envelope_size", "from", "noise_message", "payload"))
        return noise

    def confirm(self):
        """Packet 0 of the client: CONFIRM with the ticket, behind route and cid."""
        ticket = bytes.fromhex(self.entry["ticket"])
        keys = SessionKeys(self.states[0].split(), self.states[0].h)
        prefix = self.route + self.cid
        datagram = Sender(keys, 0, prefix).seal(0, encode_payload([Confirm(b"", ticket)]))
        self.c.same(f"{self.profile.name} confirm", datagram, self.entry["confirm"])
        opened = Receiver(keys, 0, prefix).open(bytes.fromhex(self.entry["confirm"])[len(prefix):], 0.0)
        self.c.same(f"{self.profile.name} confirm opens", decode_payload(opened.payload) == [Confirm(b"", ticket)], True)


def check_handshakes(c, file):
    for entry in file["profiles"]:
        Whole(c, file, entry).run()
    c.covered("file", file, INPUTS + ("about", "profiles", "route", "cid"))


def check_packets(c, file):
    """Both directions over three epochs; the plaintexts are no frames."""
    session = file["session"]
    split = unhex(session, "split_initiator_to_responder", "split_responder_to_initiator")
    keys = SessionKeys(split, bytes.fromhex(session["handshake_hash"]))
    c.same("exporter", keys.exporter, file["exporter"])
    now = 0.0
    for d, entry in enumerate(file["directions"]):
        prefix = bytes.fromhex(entry["prefix"])
        c.same("from", ROLES[d], entry["from"])
        c.same("hp", keys.hp[d], entry["header_key"])
        sender, receiver = Sender(keys, d, prefix), Receiver(keys, d, prefix)
        for e in entry["epochs"]:
            now += 2.0
            c.same("epoch", sender.epoch.number, e["epoch"])
            for name, got in (("traffic_secret", sender.epoch.secret), ("key", sender.epoch.key), ("iv", sender.epoch.iv)):
                c.same(f"epoch {name}", got, e[name])
            for p in e["packets"]:
                text = bytes.fromhex(p["plaintext"])
                packet = seal_packet(sender.epoch, sender.hp, p["number"], text, prefix)
                c.same(f"packet {p['number']}", packet, p["packet"])
                opened = receiver.open(bytes.fromhex(p["packet"]), now)
                got = opened and (opened.number, opened.payload, opened.fault)
                c.same(f"packet {p['number']} opens", got == (p["number"], text, None), True)
                c.covered("packet", p, ("number", "packet", "plaintext"))
            c.covered("epoch", e, ("epoch", "iv", "key", "packets", "traffic_secret"))
            sender.step()
        c.covered("direction", entry, ("epochs", "from", "header_key", "prefix"))
    c.covered("file", file, ("about", "directions", "exporter", "session"))


def address(text):
    host, _, port = text.rpartition(":")
    try:
        ip = ipaddress.ip_address(host.strip("[]"))
        return (ip.version, ip.packed, int(port))
    except ValueError:
        return (1, host.encode(), int(port))


def check_tickets(c, file):
    key = bytes.fromhex(file["ticket_key"])
    for t in file["tickets"]:
        sealed = t.get("sealed")
        public = tickets.Public(int(sealed is not None), t["profile_byte"], t["expires"],
                                *unhex(t, "app_id", "route"), [bytes.fromhex(k) for k in t["server_keys"]],
                                [address(a) for a in t["addresses"]], bytes.fromhex(t["public_data"]))
        grant = nonce = None
        if sealed:
            id_, nonce, data = unhex(sealed, "id", "nonce", "user_data")
            grant = tickets.Grant(id_, sealed["issued"], bytes.fromhex(sealed["player"] or ""), data)
            c.covered("sealed", sealed, ("id", "issued", "nonce", "player", "user_data"))
        made = tickets.make_ticket(public, grant, key, nonce)
        c.same("ticket", made, t["ticket"])
        c.same("ticket text", tickets.to_text(made), t["text"])
        c.same("ticket opens", tickets.open_ticket(bytes.fromhex(t["ticket"]), key) == (public, grant), True)
        spoken = " ".join(t["text"].upper().replace("0", "O").replace("1", "L"))
        c.same("ticket text reads", tickets.from_text(spoken.replace("SGL", "SG1")), t["ticket"])
        c.covered("ticket", t, ("addresses", "app_id", "expires", "profile_byte", "public_data", "route", "sealed",
                                "server_keys", "text", "ticket"))
    c.covered("file", file, ("about", "ticket_key", "tickets"))


FILES = (("handshakes.json", check_handshakes), ("served.json", check_handshakes),
         ("packets.json", check_packets), ("tickets.json", check_tickets))


def run(folder):
    """[(file, values reproduced, failures)]; every file of the folder must be known here."""
    results = []
    for name, check in FILES:
        c = Checker(name)
        try:
            check(c, load(folder, name))
        except Exception as e:  # a vector that breaks the code is a failure, not the end of the suite
            c.failures.append(f"{name}: {type(e).__name__}: {e}")
        results.append((name, c.passed, c.failures))
    unknown = {p.name for p in folder.glob("*.json")} - {name for name, _ in FILES}
    results += [(name, 0, [f"{name}: no check for this file"]) for name in sorted(unknown)]
    return results

#!/usr/bin/env python3
"""Makes the frozen vectors, and the examples in PROTOCOL.md, a second time from its text alone, and compares.

Needs Python 3.9 and the `cryptography` package (X25519 and ChaCha20-Poly1305; all else is written out here).
Shares no code with the crate: what both agree on was understood twice. Run it as `python3 vectors/check.py`.
"""

import hashlib
import hmac as python_hmac
import ipaddress
import json
import pathlib
import struct

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

HERE = pathlib.Path(__file__).parent
checked = 0


def same(what, ours, frozen):
    global checked
    ours = ours.hex() if isinstance(ours, bytes) else ours
    if ours != frozen:
        raise SystemExit(f"{what}: computed {ours}, frozen {frozen}")
    checked += 1


def blake2s(*parts):
    return hashlib.blake2s(b"".join(parts)).digest()


def hmac(key, *parts):
    return python_hmac.new(key, b"".join(parts), hashlib.blake2s).digest()


def expand(key, *parts):
    return hmac(key, *parts, b"\x01")


def public(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def agree(secret, other):
    return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(other))


def rounds(state):
    def quarter(a, b, c, d):
        for x, y, z, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[x] = (state[x] + state[y]) & 0xFFFFFFFF
            mixed = state[z] ^ state[x]
            state[z] = (mixed << bits | mixed >> (32 - bits)) & 0xFFFFFFFF

    for _ in range(10):
        for i in range(4):
            quarter(i, i + 4, i + 8, i + 12)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return state


def chacha_state(key, last_row):
    return list(struct.unpack("<16I", b"expand 32-byte k" + key + last_row))


def chacha_block(key, sample):
    start = chacha_state(key, sample)
    end = rounds(list(start))
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(start, end)))


def seal_wide(key, nonce, aad, text):
    """XChaCha20-Poly1305: HChaCha20 makes the key, the rest of the nonce stays."""
    end = rounds(chacha_state(key, nonce[:16]))
    subkey = struct.pack("<8I", *end[:4], *end[12:])
    return ChaCha20Poly1305(subkey).encrypt(bytes(4) + nonce[16:], text, aad)


PATTERNS = {
    # known beforehand (i: the initiator's static, r: the responder's), then the messages
    "NNpsk0": ("", ["psk e", "e ee"]),
    "NK": ("r", ["e es", "e ee"]),
    "KK": ("ir", ["e es ss", "e ee se"]),
    "KKpsk2": ("ir", ["e es ss", "e ee se psk"]),
    "IK": ("r", ["e es s ss", "e ee se"]),
    "IKpsk2": ("r", ["e es s ss", "e ee se psk"]),
    "XX": ("", ["e", "e ee s es", "s se"]),
    "XXpsk3": ("", ["e", "e ee s es", "s se psk"]),
}


class Noise:
    """Both ends at once: the writer of each message knows all secrets, which is enough to make every byte."""

    def __init__(self, name, prologue, statics, ephemerals, psk):
        known, messages = PATTERNS[name]
        self.messages = [message.split() for message in messages]
        self.statics, self.ephemerals, self.psk = statics, ephemerals, psk
        self.has_psk = "psk" in name
        self.h = self.ck = blake2s(f"Noise_{name}_25519_ChaChaPoly_BLAKE2s".encode())
        self.k, self.n = None, 0
        self.mix_hash(prologue)
        for side in known:
            self.mix_hash(public(statics[side]))

    def mix_hash(self, data):
        self.h = blake2s(self.h, data)

    def hkdf(self, data):
        temp = hmac(self.ck, data)
        first = hmac(temp, b"\x01")
        second = hmac(temp, first, b"\x02")
        return first, second, hmac(temp, second, b"\x03")

    def mix_key(self, data):
        self.ck, self.k, _ = self.hkdf(data)
        self.n = 0

    def encrypt_and_hash(self, text):
        if self.k is not None:
            text = ChaCha20Poly1305(self.k).encrypt(bytes(4) + struct.pack("<Q", self.n), text, self.h)
            self.n += 1
        self.mix_hash(text)
        return text

    def write(self, turn, payload):
        side = "ir"[turn % 2]
        out = b""
        for token in self.messages[turn]:
            if token == "e":
                key = public(self.ephemerals[side])
                out += key
                self.mix_hash(key)
                if self.has_psk:
                    self.mix_key(key)
            elif token == "s":
                out += self.encrypt_and_hash(public(self.statics[side]))
            elif token == "psk":
                self.ck, temp, self.k = self.hkdf(self.psk)
                self.mix_hash(temp)
                self.n = 0
            else:
                # The first letter is the initiator's key, the second the responder's.
                pick = {"e": self.ephemerals, "s": self.statics}
                self.mix_key(agree(pick[token[0]]["i"], public(pick[token[1]]["r"])))
        return out + self.encrypt_and_hash(payload)

    def split(self):
        return self.hkdf(b"")[:2]


def hello(responder, cid=b""):
    fixed = struct.pack("<HBBHHIHI6x", 1, 1, 1, 0, 1200, 30_000, 65_535, 1 << 20)
    return fixed + (bytes([len(cid)]) + cid if responder else b"")


PROFILES = {
    # profile byte, pattern, where the envelope base comes from, whether the responder's static is bound
    "Paired": (0x01, "KK", "statics", False),
    "PairedPsk": (0x11, "KKpsk2", "statics", False),
    "Invite": (0x02, "NNpsk0", "invite", False),
    "InviteTofu": (0x12, "XXpsk3", "invite", False),
    "Tofu": (0x03, "XX", "zero", False),
    "Client": (0x04, "NK", "zero", True),
    "ClientAuth": (0x05, "IK", "zero", True),
    "ClientAuthPsk": (0x15, "IKpsk2", "zero", True),
}


def check_profile(file, frozen):
    name = frozen["profile"]
    byte, pattern, base_from, bound = PROFILES[name]
    raw = {key: bytes.fromhex(value) for key, value in file.items() if isinstance(value, str) and key != "about"}
    statics = {"i": raw["initiator_static_secret"], "r": raw["responder_static_secret"]}
    ephemerals = {"i": raw["initiator_ephemeral_secret"], "r": raw["responder_ephemeral_secret"]}
    app, route, cid = raw["app_id"], raw["route"], raw.get("cid", b"")
    prologue = b"sealgram/1" + bytes([1, byte, len(app)]) + app + bytes([len(route)]) + route
    same(f"{name} byte", byte, frozen["profile_byte"])
    same(f"{name} prologue", prologue, frozen["prologue"])

    psk = expand(raw["invite"], b"sealgram/1 psk") if base_from == "invite" else raw["psk"]
    base = {
        "statics": expand(agree(statics["i"], public(statics["r"])), b"sealgram/1 env"),
        "invite": expand(raw["invite"], b"sealgram/1 env"),
        "zero": bytes(32),
    }[base_from]
    same(f"{name} envelope base", base, frozen["envelope_base"])
    responder = public(statics["r"]) if bound else b""
    keys = [
        hmac(base, b"sealgram/1 envelope", bytes([byte, direction, len(app)]), app, responder) for direction in (0, 1)
    ]
    same(f"{name} envelope key", keys[0], frozen["envelope_key_initiator_to_responder"])
    same(f"{name} envelope key", keys[1], frozen["envelope_key_responder_to_initiator"])

    noise = Noise(pattern, prologue, statics, ephemerals, psk)
    same(f"{name} messages", len(noise.messages), len(frozen["messages"]))
    reference = bytes(16)
    for turn, message in enumerate(frozen["messages"]):
        versions_only = len(noise.messages) == 3 and turn == 0
        payload = b"\x01\x01" if versions_only else hello(turn == 1, cid)
        same(f"{name} payload {turn}", payload, message["payload"])
        text = noise.write(turn, payload)
        same(f"{name} noise message {turn}", text, message["noise_message"])
        size = 256 if turn == 2 else 512
        same(f"{name} size {turn}", size, message["envelope_size"])
        body = bytes([turn + 1, 1]) + bytes(16) + reference + struct.pack("<H", len(text)) + text
        body = body.ljust(size - 40, b"\x00")
        nonce = bytes.fromhex(message["envelope_nonce"])
        # INIT stands behind the route, FIN behind route and id, an answer behind nothing; each is bound to just that.
        clear = (route, b"", route + cid)[turn]
        sealed = nonce + seal_wide(keys[turn % 2], nonce, clear, body)
        same(f"{name} datagram {turn}", clear + sealed, message["datagram"])
        reference = blake2s(text)[:16]
    i2r, r2i = noise.split()
    same(f"{name} hash", noise.h, frozen["handshake_hash"])
    same(f"{name} split", i2r, frozen["split_initiator_to_responder"])
    same(f"{name} split", r2i, frozen["split_responder_to_initiator"])
    if "confirm" in frozen:
        check_confirm(i2r, noise.h, route + cid, bytes.fromhex(frozen["ticket"]), frozen["confirm"])


def check_confirm(key, h, prefix, ticket, frozen):
    """Packet 0 of a client: CONFIRM without an id of its own, with a ticket."""
    secret = expand(key, b"sealgram/1 traffic", h)
    packet_key, iv = expand(secret, b"key"), expand(secret, b"iv")[:12]
    frames = b"\x04\x00" + bytes([len(ticket)]) + ticket
    word = bytes(4)
    sealed = ChaCha20Poly1305(packet_key).encrypt(iv, frames, prefix + word)
    mask = chacha_block(expand(secret, b"hp"), sealed[-16:])[:4]
    same("CONFIRM", prefix + bytes(a ^ b for a, b in zip(word, mask)) + sealed, frozen)


def check_packets(file):
    session = {key: bytes.fromhex(value) for key, value in file["session"].items()}
    i2r, r2i = session["split_initiator_to_responder"], session["split_responder_to_initiator"]
    h = session["handshake_hash"]
    same("exporter", expand(i2r, b"exporter", r2i, h), file["exporter"])
    for direction, key in zip(file["directions"], (i2r, r2i)):
        secret = expand(key, b"sealgram/1 traffic", h)
        header_key = expand(secret, b"hp")
        same("header key", header_key, direction["header_key"])
        prefix = bytes.fromhex(direction["prefix"])
        same("epochs", [0, 1, 2], [epoch["epoch"] for epoch in direction["epochs"]])
        for number_of_epoch, epoch in enumerate(direction["epochs"]):
            packet_key, iv = expand(secret, b"key"), expand(secret, b"iv")[:12]
            same("traffic secret", secret, epoch["traffic_secret"])
            same("key", packet_key, epoch["key"])
            same("iv", iv, epoch["iv"])
            same("packets", 20, len(epoch["packets"]))
            for packet in epoch["packets"]:
                number = packet["number"]
                word = struct.pack(">I", (number_of_epoch & 3) << 30 | number & (1 << 30) - 1)
                nonce = bytes(a ^ b for a, b in zip(iv, struct.pack(">IQ", 0, number)))
                sealed = ChaCha20Poly1305(packet_key).encrypt(nonce, bytes.fromhex(packet["plaintext"]), prefix + word)
                mask = chacha_block(header_key, sealed[-16:])[:4]
                masked = bytes(a ^ b for a, b in zip(word, mask))
                same(f"packet {number}", masked + sealed, packet["packet"])
            secret = expand(secret, b"next")


ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def ticket_address(text):
    host, port = text.rsplit(":", 1)
    if host.startswith("["):
        place = b"\x06" + ipaddress.IPv6Address(host[1:-1]).packed
    elif host.replace(".", "").isdigit():
        place = b"\x04" + ipaddress.IPv4Address(host).packed
    else:
        place = b"\x01" + short(host.encode())
    return place + struct.pack("<H", int(port))


def short(data):
    return bytes([len(data)]) + data


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def ticket_text(ticket):
    data = ticket + blake2s(b"sealgram/1 ticket text", ticket)[:4]
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    return "sg1" + "".join(ALPHABET[int(bits[at:at + 5], 2)] for at in range(0, len(bits), 5))


def check_tickets(file):
    key = bytes.fromhex(file["ticket_key"])
    for number, frozen in enumerate(file["tickets"]):
        sealed, data = frozen.get("sealed"), bytes.fromhex(frozen["public_data"])
        ticket = bytes([1, sealed is not None, frozen["profile_byte"]]) + struct.pack("<Q", frozen["expires"])
        ticket += short(bytes.fromhex(frozen["app_id"])) + short(bytes.fromhex(frozen["route"]))
        ticket += bytes([len(frozen["server_keys"])]) + b"".join(map(bytes.fromhex, frozen["server_keys"]))
        ticket += bytes([len(frozen["addresses"])]) + b"".join(map(ticket_address, frozen["addresses"]))
        ticket += varint(len(data)) + data
        if sealed is not None:
            nonce = bytes.fromhex(sealed["nonce"])
            grant = bytes.fromhex(sealed["id"]) + struct.pack("<Q", sealed["issued"])
            grant += short(bytes.fromhex(sealed["player"] or "")) + bytes.fromhex(sealed["user_data"])
            ticket += nonce + seal_wide(key, nonce, b"sealgram/1 ticket" + ticket, grant)
        same(f"ticket {number}", ticket, frozen["ticket"])
        same(f"text of ticket {number}", ticket_text(ticket), frozen["text"])


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def plain_datagrams():
    """The four examples of "Plain endpoint"."""
    caller, called = 0x1112131415161718, 0x2122232425262728
    opening = [(1, caller, 0), (2, called, caller), (3, caller, called)]
    rests = [struct.pack("<QBBQQ", 0, kind, 1, own, peer) + hello(False) for kind, own, peer in opening]
    rests.append(struct.pack("<QI", called, 7) + b"\x01")
    label = b"sealgram/1 plain" + bytes([4]) + b"game"
    return [struct.pack("<I", crc32c(label + rest)) + rest for rest in rests]


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, length):
        part = self.data[self.at : self.at + length]
        if len(part) != length:
            raise ValueError("too short")
        self.at += length
        return part

    def u8(self):
        return self.take(1)[0]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                if (byte == 0 and shift > 7) or value > (1 << 62) - 1:
                    raise ValueError("not the shortest form, or too large")
                return value


def read_message(kind, cursor, state):
    """One message frame: (guarantee, lane, set, base, index, id, offset, total, bytes)."""
    guarantee = ("None", "Order", "Delivery")[kind >> 5 & 3]
    lane = cursor.u8() if kind & 2 else state["lane"]
    extras = cursor.u8() if kind & 1 else 0
    last = state["last"] if state["last"] and state["last"][0] == lane else None
    form = kind >> 2 & 3
    number = base = index = None
    if guarantee == "Order" and form == 0:
        number, base = cursor.varint(), cursor.varint()
    elif guarantee == "Delivery" and form == 0:
        index = cursor.varint()
        base = index - cursor.varint()
        zigzag = cursor.varint()
        number = index + (zigzag >> 1 if zigzag % 2 == 0 else -(zigzag + 1 >> 1))
    elif guarantee != "None":
        number, base = (last[1], last[2]) if form == 2 else (last[1] + 1, last[3])
        index = last[3] if guarantee == "Delivery" else None
    name = cursor.varint() if extras & 1 else None
    if extras & 2:
        cursor.varint()
    offset, total = (cursor.varint(), cursor.varint()) if kind & 16 else (None, None)
    data = cursor.take(cursor.varint())
    state["lane"] = lane
    if guarantee != "None":
        same = last and last[1:3] == (number, base)
        following = index + 1 if guarantee == "Delivery" else last[3] if same else base
        state["last"] = (lane, number, base, following)
    return guarantee, lane, number, base, index, name, offset, total, data


def read_parity(cursor, state):
    """One PARITY behind its type: (step, the message frame, the numbers of the pieces under it)."""
    step, kind = cursor.varint(), cursor.u8()
    frame = read_message(kind, cursor, state)
    guarantee, offset, total, size = frame[0], frame[6], frame[7], len(frame[8])
    count = -(-total // size)
    pieces = list(range(offset // size, count, step))
    if guarantee == "Delivery" or offset % size or not offset // size < step or not 2 <= len(pieces) <= 64:
        raise ValueError("malformed parity")
    return step, frame, pieces


def read_ack(cursor):
    high, delay, more = cursor.varint(), cursor.varint(), cursor.varint()
    low = high - cursor.varint()
    ranges = [(low, high)]
    for _ in range(more):
        high = low - cursor.varint() - 2
        low = high - cursor.varint()
        ranges.append((low, high))
    return delay * 8, ranges


def check_text(text):
    """The examples with bytes in PROTOCOL.md."""
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    columns = "".join(text.split())
    for datagram in plain_datagrams():
        same("plain example in the text", datagram.hex() in columns, True)

    at = text.index("One payload, frame by frame:")
    frames = []
    for line in text[at:].split("\n\n")[1].splitlines():
        frames.append(bytes.fromhex(line.strip().split("  ")[0]))
    cursor, state, read = Cursor(b"".join(frames)), {"lane": 0, "last": None}, []
    while cursor.at < len(cursor.data):
        kind = cursor.u8()
        if kind == 0:
            same("padding", cursor.take(len(cursor.data) - cursor.at).strip(b"\x00"), "")
        elif kind >= 0x80:
            read.append(read_message(kind, cursor, state))
    same("message examples", read, [
        ("Order", 0, 70, 20, None, None, None, None, b"x"),
        ("Order", 0, 71, 20, None, None, None, None, b"y"),
        ("Delivery", 0, 72, 20, 20, None, None, None, b"z"),
        ("Delivery", 0, 72, 20, 21, None, None, None, b"{"),
        ("None", 5, None, None, None, 9, None, None, b"|"),
        ("Delivery", 5, 0, 0, 0, None, None, None, b"}"),
        ("Delivery", 0, 73, 22, 22, None, 1000, 1002, b"\x01\x02"),
    ])
    parity = next(line for line in lines if line.startswith("0d 02 b1")).replace("5a .. 5a", "5a " * 128)
    cursor = Cursor(bytes.fromhex(parity)[1:])
    step, frame, pieces = read_parity(cursor, {"lane": 0, "last": None})
    same("PARITY example", (step, frame[:8], pieces, cursor.at == len(cursor.data)),
         (2, ("Order", 0, 70, 20, None, 9, 128, 600), [1, 3], True))
    ack = next(line for line in lines if line.startswith("02 e8 07"))
    same("ACK example", read_ack(Cursor(bytes.fromhex(ack)[1:])), (800, [(900, 1000), (500, 600), (0, 3)]))


handshakes = json.loads((HERE / "handshakes.json").read_text())
packets = json.loads((HERE / "packets.json").read_text())
same("profiles", sorted(PROFILES), sorted(entry["profile"] for entry in handshakes["profiles"]))
for entry in handshakes["profiles"]:
    check_profile(handshakes, entry)
served = json.loads((HERE / "served.json").read_text())
of_servers = ["Client", "ClientAuth", "ClientAuthPsk", "InviteTofu", "Tofu"]
same("profiles", of_servers, sorted(entry["profile"] for entry in served["profiles"]))
for entry in served["profiles"]:
    check_profile(served, entry)
paired = next(entry for entry in handshakes["profiles"] if entry["profile"] == "Paired")
for field, value in packets["session"].items():
    same(field, paired[field], value)
check_packets(packets)
check_tickets(json.loads((HERE / "tickets.json").read_text()))
text = (HERE.parent / "PROTOCOL.md").read_text(encoding="utf-8")
check_text(text)
responder = packets["directions"][1]
epoch = responder["epochs"][2]
for value in (responder["header_key"], epoch["key"], epoch["iv"], epoch["packets"][0]["packet"]):
    same("packet example in the text", value in "".join(text.split()), True)
print(f"{checked} values agree")
